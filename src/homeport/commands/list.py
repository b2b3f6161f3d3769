"""``homeport list``: the servers that are running."""

from __future__ import annotations

import json
from collections.abc import Sequence

from homeport.commands.arguments import Parser


def make_parser() -> Parser:
    """The command's own command line."""
    parser = Parser("homeport list", "Show the servers of this user on this machine, with the link that lets a browser in.")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="one JSON object a line, as 'jupyter server list --json' prints them")
    shape.add_argument("--jsonlist", action="store_true", help="one JSON list of all of them")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Print the servers; exit status 0 also when there are none."""
    given = make_parser().parse(arguments)

    from homeport.commands.running import running_servers
    from homeport.folders import Folders

    servers = running_servers(Folders.from_environment().runtime)
    if given.jsonlist:
        print(json.dumps([server.facts for server in servers], indent=2))
    elif given.json:
        for server in servers:
            print(json.dumps(server.facts))
    elif not servers:
        print("No server is running. 'homeport' starts one.")
    else:
        for server in servers:
            print(f"{server.link}  ::  {server.root_dir}" + ("" if server.is_homeport else "  (Jupyter)"))
    return 0
