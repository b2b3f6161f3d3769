"""What is compared: Homeport, Jupyter's server as it comes, the same with TCP_NODELAY on, and a direct ZeroMQ client as the limit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Subject:
    """One column of the table."""

    name: str
    is_server: bool = True


HOMEPORT = Subject("homeport")
JUPYTER = Subject("jupyter")
NODELAY = Subject("jupyter+nodelay")
DIRECT = Subject("direct", is_server=False)

ALL = (HOMEPORT, JUPYTER, NODELAY, DIRECT)
SERVERS = (HOMEPORT, JUPYTER, NODELAY)
"""Those with an HTTP API."""
DEFAULTS = (HOMEPORT, JUPYTER)
"""For what TCP_NODELAY does not change."""
