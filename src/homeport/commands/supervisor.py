"""``homeport supervisor``: run the supervisor in the foreground, for a look at it, or for systemd. Servers start one by themselves."""

from __future__ import annotations

from collections.abc import Sequence

from homeport.commands.arguments import Parser
from homeport.option_values import read_duration
from homeport.options import BadOption

_LINGER = 60.0


def make_parser() -> Parser:
    """The command's own command line."""
    parser = Parser(
        "homeport supervisor",
        "Run the process that owns the kernels of this user on this machine, in the foreground. A server starts one in the\n"
        "background when it needs it; when one runs already, this says so and leaves.",
    )
    parser.add_argument(
        "--linger", metavar="DURATION", help=f"leave after so long without kernels and servers, or 'off' to stay [{_LINGER:.0f}s]"
    )
    parser.add_argument("--stop-kernels", action="store_true", help="shut the kernels down on SIGTERM, instead of leaving them running")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Be the supervisor until it has nothing to do any more, or is stopped.

    Raises:
        BadOption: the duration cannot be read.
    """
    given = make_parser().parse(arguments)
    try:
        linger = _LINGER if given.linger is None else read_duration(given.linger)
    except ValueError as error:
        raise BadOption(f"--linger cannot be {given.linger!r}: {error}", option="linger") from None

    from homeport.commands.log import set_up_log
    from homeport.folders import Folders
    from homeport.supervisor.process import run as serve

    set_up_log("info")
    return serve(Folders.from_environment(), linger=float("inf") if linger is None else linger, stop_kernels=given.stop_kernels)
