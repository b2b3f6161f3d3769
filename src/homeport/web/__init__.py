"""The web edge: Tornado handlers, one file per resource."""
