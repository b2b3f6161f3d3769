"""``homeport tokens``: the named tokens of a served folder; makes them, and removes them.

It works on the state folder, as the page of logins and tokens does: with and without a running server, which notices within seconds.
"""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from homeport.commands.arguments import Parser
from homeport.errors import BadRequest, NotFound
from homeport.write_behind import WriteBehind

if TYPE_CHECKING:
    from homeport.auth.scopes import Scope
    from homeport.auth.tokens import Token, Tokens
    from homeport.folders import Folders

COLUMNS = ("NAME", "GOOD FOR", "CREATED", "EXPIRES", "LAST USED")
LIFETIME = "30d"


def make_parser() -> Parser:
    """The command's own command line."""
    parser = Parser(
        "homeport tokens",
        "Show the named tokens that let programs in; or make one, 'homeport tokens create NAME', or 'homeport tokens remove NAME…'.\n"
        "A token is shown once, by the command that creates it, on standard output: TOKEN=$(homeport tokens create ci). Only its hash\n"
        "is kept.",
        "A program sends it as 'Authorization: token hp_…'. A running server takes a new token at once; the open links of one that is\n"
        "removed end within seconds. Who is shown to have used a token, and when, is in the audit log.",
    )
    parser.add_argument("action", nargs="?", choices=("list", "create", "remove"), metavar="list|create|remove", help="list by default")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of the token")
    parser.add_argument("--scope", metavar="all|read", help="create: good for everything, or for looking only [all]")
    parser.add_argument("--folder", metavar="FOLDER", help="create: good for the files of this folder only, which lies in the served one")
    parser.add_argument("--expires", metavar="DURATION", help=f"create: until when, from now on; 'never' for no end [{LIFETIME}]")
    parser.add_argument("--root-dir", metavar="FOLDER", help="of the server that serves this folder; by default the one that runs")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Show tokens, make one or remove some.

    Raises:
        BadRequest: the command line does not say what is wanted.
        Conflict: there is a token of that name.
        NotFound: there is none of that name, or no such folder.
        StoreFailed: the state folder cannot be written.
    """
    given = make_parser().parse(arguments)
    action = given.action or "list"
    _check(given, action)

    from homeport.auth.tokens import Tokens, tokens_file
    from homeport.folders import Folders

    folders = Folders.from_environment()
    root = served_folder(given.root_dir, folders)
    tokens = Tokens(tokens_file(folders, root), time.time, WriteBehind())
    if action == "list":
        _show(tokens, root)
    elif action == "create":
        _create(tokens, root, given, _Recorded(folders))
    else:
        _remove(tokens, root, given.names, _Recorded(folders))
    return 0


def _check(given: Namespace, action: str) -> None:
    if action == "list" and given.names:
        raise BadRequest("'homeport tokens list' takes no name.")
    if action == "create" and len(given.names) != 1:
        raise BadRequest("Give the new token one name: 'homeport tokens create NAME'.")
    if action == "remove" and not given.names:
        raise BadRequest("Which tokens? 'homeport tokens remove NAME'; 'homeport tokens' shows their names.")
    if action != "create" and (given.scope or given.folder or given.expires):
        raise BadRequest("--scope, --folder and --expires belong to 'homeport tokens create'.")
    if given.scope not in (None, "all", "read"):
        raise BadRequest(f"--scope is all or read, not {given.scope}; --folder=FOLDER is for the files of one folder.")
    if given.scope and given.folder:
        raise BadRequest("--folder is a scope of its own: leave --scope out.")


def served_folder(named: str | None, folders: Folders) -> Path:
    """The folder whose tokens are meant: the one that is named, that of the only server that runs, or what ``homeport`` would serve.

    Raises:
        BadRequest: several servers run.
        NotFound: there is no such folder.
    """
    from homeport.commands.running import running_servers
    from homeport.option_values import read_folder

    if named is None:
        running = sorted({server.root_dir for server in running_servers(folders.runtime) if server.is_homeport})
        if len(running) > 1:
            raise BadRequest("Several servers run; name the folder of one: " + ", ".join(f"--root-dir={root}" for root in running))
        if running:
            return Path(running[0])

        from homeport.commands.command_line import read_command_line

        return read_command_line([]).settings.root_dir
    root = read_folder(named)
    if not root.is_dir():
        raise NotFound(f"There is no folder {root}.")
    return root


class _Recorded:
    """Tells the audit log what becomes of tokens."""

    def __init__(self, folders: Folders) -> None:
        from homeport.auth.audit import Audit

        self._audit = Audit(folders.state / "audit" / "audit.jsonl", time.time, WriteBehind())

    def made(self, token: Token) -> None:
        self._tell("token made", token, scope=token.scope, folder=token.folder, expires=token.expires)

    def removed(self, token: Token) -> None:
        self._tell("token removed", token)

    def _tell(self, event: str, token: Token, **more: str | float | None) -> None:
        from homeport.auth.identity import user_name

        self._audit.record(event, user=user_name(), address="", by="command", token=token.id, name=token.name, **more)


def _show(tokens: Tokens, root: Path) -> None:
    there = sorted(tokens.all.values(), key=lambda token: token.created)
    if not there:
        print(f"There are no tokens for {root}. 'homeport tokens create NAME' makes one.")
        return
    rows = [COLUMNS, *(_row(token) for token in there)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _row(token: Token) -> tuple[str, ...]:
    expires = _day(token.expires) if token.expires is not None else "never"
    return token.name, _good_for(token.covers), _day(token.created), expires, _day(token.last_used) if token.last_used else "never"


def _day(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC).astimezone():%Y-%m-%d %H:%M}"


def _good_for(scope: Scope) -> str:
    return {"all": "everything", "read": "reading"}.get(scope.kind, f"files in {scope.folder}")


def _create(tokens: Tokens, root: Path, given: Namespace, recorded: _Recorded) -> None:
    from homeport.auth.scopes import Scope
    from homeport.option_values import read_duration

    try:
        lifetime = read_duration(given.expires or LIFETIME)
    except ValueError as error:
        raise BadRequest(f"--expires={given.expires}: {error}") from None
    scope = _one_folder(root, given.folder) if given.folder else Scope(given.scope or "all")
    token, text = tokens.make(given.names[0], scope, lifetime)
    recorded.made(token)
    until = f"until {_day(token.expires)}" if token.expires is not None else "without an end"
    print(f"Token “{token.name}” for {root}: {_good_for(scope)}, {until}. It is shown this once:", file=sys.stderr)
    print(text)


def _one_folder(root: Path, named: str) -> Scope:
    from homeport.auth.tokens import folder_scope

    path = Path(named).expanduser()
    if path.is_absolute():
        if not path.resolve().is_relative_to(root.resolve()):
            raise BadRequest(f"{named} is not in the served folder {root}.")
        path = path.resolve().relative_to(root.resolve())
    scope = folder_scope(path.as_posix())
    if not (root / scope.folder).is_dir():
        raise NotFound(f"There is no folder {scope.folder} in {root}.")
    return scope


def _remove(tokens: Tokens, root: Path, names: Sequence[str], recorded: _Recorded) -> None:
    by_name = {token.name: token for token in tokens.all.values()}
    missing = [name for name in names if name not in by_name]
    if missing:
        raise NotFound(f"There is no token “{missing[0]}” for {root}; 'homeport tokens' shows those that there are.")
    for name in dict.fromkeys(names):
        recorded.removed(tokens.remove(by_name[name].id))
        print(f"{name}: removed")
