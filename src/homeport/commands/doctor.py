"""``homeport doctor URL``: look at a server from outside, and say what the proxy before it does wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from homeport.commands.arguments import Parser
from homeport.options import BadOption

if TYPE_CHECKING:
    from homeport.web.outside import Look


def make_parser() -> Parser:
    """The command's own command line."""
    parser = Parser(
        "homeport doctor",
        "Look at a server as browsers do, through every proxy on the way, and say what gets lost: WebSockets, the prefix, Host,\n"
        "https, streams, large uploads, quiet links. Changes nothing, needs no login. To be run where the browser is.",
    )
    parser.add_argument("url", metavar="URL", help="the address that browsers use, such as https://example.org/jupyter/")
    parser.add_argument("--quick", action="store_true", help="leave out the half minute that shows whether quiet links stay open")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Print what was found; exit status 1 when something is wrong.

    Raises:
        BadOption: the URL is none.
    """
    given = make_parser().parse(arguments)

    from homeport.web.outside import Look, cleaned

    try:
        look = Look(cleaned(given.url), quick=given.quick)
    except ValueError as error:
        raise BadOption(f"{given.url!r} cannot be looked at: {error}", option="url") from None
    return asyncio.run(_print(look))


async def _print(look: Look) -> int:
    bad = 0
    async for finding in look.findings():
        print(f"{finding.level:<8} {finding.what}", flush=True)
        if finding.advice:
            print(f"         {finding.advice}", flush=True)
        bad += finding.level == "problem"
    print("Nothing is wrong." if not bad else f"{bad} thing{'' if bad == 1 else 's'} to mend.")
    return 1 if bad else 0
