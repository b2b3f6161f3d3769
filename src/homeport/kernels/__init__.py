"""The server's side of a supervisor: its client, and sessions."""
