"""``homeport service``: a systemd user unit that starts the server with the machine, and again when it fails.

Kernels and their supervisor are units of their own (``homeport.systemd``), so that nothing that happens to the server's unit ends them.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from homeport.commands.arguments import COMMAND_LINE, Parser
from homeport.commands.stop import in_words
from homeport.commands.unit_file import MARK, UNIT, unit_text
from homeport.commands.user_systemd import LOG_COMMAND, UserSystemd
from homeport.errors import Conflict, HomeportError, NotFound, StoreFailed
from homeport.options import BadOption, options
from homeport.systemd import lingers

if TYPE_CHECKING:
    from homeport.commands.command_line import Wanted
    from homeport.commands.running import RunningServer
    from homeport.folders import Folders

_CARRIED = (
    *("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV"),
    *("JUPYTER_CONFIG_DIR", "JUPYTER_CONFIG_PATH", "JUPYTER_DATA_DIR", "JUPYTER_PATH", "JUPYTER_PREFER_ENV_PATH", "JUPYTER_RUNTIME_DIR"),
    *("IPYTHONDIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"),
)
"""What a unit takes along of the shell's variables: systemd gives its services next to none, and kernels want to be found."""


def make_parser() -> Parser:
    """The command's own command line."""
    parser = Parser(
        "homeport service",
        "Let systemd run the server: it starts with the machine, and again when it fails; kernels run on meanwhile.\n"
        "'homeport service install [FOLDER] [options of homeport]' writes a user unit with these options, and starts it; done again,\n"
        "it replaces them. 'homeport service status' says how it is, and 'homeport service uninstall' stops it and removes the unit.",
    )
    parser.usage = "homeport service install [FOLDER] [options of homeport]\n       homeport service status | uninstall [--kernels]"
    parser.add_argument("action", choices=("install", "status", "uninstall"), metavar="install|status|uninstall", help="what to do")
    parser.add_argument("--kernels", action="store_true", help="uninstall: shut its kernels down as well, without asking")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Install, show or remove the unit. The exit status of ``status`` is 0 while the server runs, and 3 when it does not.

    Raises:
        HomeportError: it cannot be done; the message says why and what to do.
    """
    if arguments and arguments[0] == "install" and not {"-h", "--help"} & set(arguments):
        return _install(list(arguments[1:]))
    given = make_parser().parse(arguments)
    if given.kernels and given.action != "uninstall":
        raise BadOption("--kernels belongs to 'homeport service uninstall'", source=COMMAND_LINE)
    return _status() if given.action == "status" else _uninstall(kernels=given.kernels)


# --- install ----------------------------------------------------------------------------------------------------------


def _install(words: list[str]) -> int:
    from homeport.commands.command_line import read_command_line
    from homeport.commands.listening import as_public, can_ask_for_password, check_exposure
    from homeport.commands.password import set_public_password
    from homeport.commands.serve import refuse_root
    from homeport.folders import Folders

    wanted = read_command_line(words)
    _refuse(wanted)
    refuse_root(wanted.settings)
    systemd = UserSystemd()
    # What a terminal is needed for, and what a start would refuse, comes before anything is written.
    settings = as_public(wanted.settings, set_public_password if can_ask_for_password() else None)
    for note in (*wanted.notes, *check_exposure(settings)):
        print(f"homeport: {note}", file=sys.stderr)
    folders = Folders.from_environment()
    _refuse_taken_port(folders, settings.port, systemd.server_pid)
    file = unit_file(os.environ)
    text = unit_text(command(words, wanted), Path.cwd(), carried(os.environ))
    _start(systemd, file, text)
    print(f"Wrote {file}, and started it.")
    _tell_address(folders, systemd.server_pid)
    print(
        f"\n  its log     {LOG_COMMAND} -f\n  how it is   homeport service status\n"
        "  restart     systemctl --user restart homeport   (kernels run on)\n"
        "  stop        systemctl --user stop homeport      (kernels run on)\n"
        "  undo        homeport service uninstall\n"
    )
    print(about_linger(systemd.make_linger(), getpass.getuser()))
    return 0


def _refuse(wanted: Wanted) -> None:
    """Raises BadOption for what a service cannot have."""
    for given, flag in ((wanted.daemon, "--daemon"), (wanted.generate_config, "--generate-config")):
        if given:
            raise BadOption(f"{flag} means nothing to a service; leave it out", source=COMMAND_LINE)
    for option in options():
        source = wanted.settings.sources.get(option.name, "")
        if not option.is_secret or not getattr(wanted.settings, option.name):
            continue
        better = "'homeport password' writes a password's hash where the service finds it; 'homeport list' shows its token"
        if source == COMMAND_LINE:
            raise BadOption(f"{option.flags[0]} would stand in the unit, and in the list of processes for all to see. {better}")
        if source.startswith("environment"):
            raise BadOption(f"The {source} is this shell's: a service does not see it, and a secret has no place in a unit. {better}")


def _refuse_taken_port(folders: Folders, port: int, service: int) -> None:
    from homeport.commands.running import running_servers

    for server in running_servers(folders.runtime):
        if server.port == port and server.pid != service:
            raise Conflict(
                f"A server for {server.root_dir} runs on port {port} already. 'homeport stop {port}' stops it, and its kernels run on; "
                "then try again. Or give the service another port, with --port."
            )


def unit_file(environment: Mapping[str, str]) -> Path:
    """Where the unit is, or will be (systemd.unit(5))."""
    given = environment.get("XDG_CONFIG_HOME", "")
    return (Path(given) if os.path.isabs(given) else Path.home() / ".config") / "systemd" / "user" / UNIT


def command(words: Sequence[str], wanted: Wanted) -> list[str]:
    """The server's command line. It never takes another port than the one where people look for it."""
    one_port = [] if wanted.settings.given("port_retries") else ["--port-retries=0"]
    # -P: a file random.py in the served folder is not Python's module.
    return [sys.executable, "-P", "-m", "homeport", *words, "--no-browser", *one_port]


def carried(environment: Mapping[str, str]) -> dict[str, str]:
    """What of the shell's variables goes into the unit; no secrets."""
    settings = {variable for option in options() if not option.is_secret for variable in option.environment}
    return {name: value for name, value in environment.items() if name in settings or name in _CARRIED}


def _start(systemd: UserSystemd, file: Path, text: str) -> None:
    """Write the unit and start it. When that fails, what was there before is in force again."""
    before = file.read_text() if file.exists() else None
    if before is not None and MARK not in before:
        raise Conflict(f"{file} was not written by Homeport. Move it away, and try again.", path=str(file))
    _write(file, text)
    began = time.time()
    try:
        systemd.tell("daemon-reload")
        systemd.tell("enable", "--quiet", UNIT)
        systemd.ask("reset-failed", UNIT)  # what was tried before does not count
        systemd.tell("restart", UNIT)
    except HomeportError as error:
        why = systemd.last_words(began) or f"{error.message}\n'{LOG_COMMAND}' may say more."
        if before is None:
            _remove(systemd, file)
            after = "Nothing of it is left; mend that and try again."
        else:
            _write(file, before)
            systemd.tell("daemon-reload")
            systemd.ask("restart", UNIT)
            after = "The unit of before is in force again."
        raise HomeportError(f"The service could not be started.\n{why}\n{after}") from None


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name(f".{file.name}.{os.getpid()}")
        new.write_text(text)
        new.replace(file)
    except OSError as error:
        raise StoreFailed(f"{file} cannot be written: {error.strerror}.", path=str(file)) from None


def _remove(systemd: UserSystemd, file: Path) -> None:
    systemd.ask("disable", "--now", "--quiet", UNIT)
    file.unlink(missing_ok=True)
    systemd.tell("daemon-reload")
    systemd.ask("reset-failed", UNIT)


def about_linger(lingers: bool, user: str) -> str:
    """Whether it goes on after a logout; and if not, what to do."""
    if lingers:
        return f"It goes on when you log out, and starts with the machine: lingering is enabled for {user}."
    return (
        "It ENDS WHEN YOU LOG OUT, and its kernels with it: systemd ends everything of a user at the last logout, unless lingering is\n"
        f"enabled, which this account may not do by itself here. Have an administrator run:  loginctl enable-linger {user}"
    )


# --- status and uninstall -----------------------------------------------------------------------------------------------


def _server(folders: Folders, pid: int) -> RunningServer | None:
    from homeport.commands.running import running_servers

    return next((server for server in running_servers(folders.runtime) if pid and server.pid == pid), None)


def _tell_address(folders: Folders, pid: int) -> None:
    server = _server(folders, pid)
    if server is not None:
        link = f"{server.url}   (with your password)" if server.facts.get("password") else server.link
        print(f"Homeport serves {server.root_dir}\n\n    {link}")
        if server.certificate:
            print("\n'homeport cert' shows the fingerprint of its certificate, and how a device trusts it for good.")


def _installed() -> Path:
    file = unit_file(os.environ)
    if not file.exists():
        raise NotFound("The service is not installed. 'homeport service install [FOLDER]' does it.", path=str(file))
    return file


def _status() -> int:
    from homeport.folders import Folders

    file = _installed()
    systemd = UserSystemd()
    folders = Folders.from_environment()
    state, since, restarts = systemd.unit("ActiveState"), systemd.unit("ActiveEnterTimestamp"), systemd.unit("NRestarts")
    more = {"active": f" since {since}", "failed": f" ({systemd.unit('Result')})"}.get(state, "")
    print(f"{UNIT} is {state}{more}.")
    if restarts not in ("", "0"):
        print(f"systemd has restarted it {restarts} times since it was started.")
    _tell_address(folders, systemd.server_pid)
    kernels = asyncio.run(_count_kernels(folders))
    print(
        f"\n  unit        {file}\n  its log     {LOG_COMMAND} -f\n  kernels     {in_words(kernels) if kernels else 'none is running'}"
        + ("   ('homeport kernels' lists them)\n" if kernels else "\n")
    )
    print(about_linger(lingers(), getpass.getuser()))
    if state != "active":
        print(f"'systemctl --user start homeport' starts it. The end of its log:\n{systemd.log(5)}")
    return 0 if state == "active" else 3


async def _count_kernels(folders: Folders) -> int:
    from homeport.commands.reach import the_supervisor

    async with the_supervisor(folders) as supervisor:
        return 0 if supervisor is None else sum(info.state != "dead" for info in supervisor.kernels.values())


def _uninstall(*, kernels: bool) -> int:
    from homeport.commands.running import running_servers
    from homeport.commands.stop import shut_all_down, shut_kernels_down
    from homeport.folders import Folders

    file = _installed()
    systemd = UserSystemd()
    folders = Folders.from_environment()
    server = _server(folders, systemd.server_pid)
    _remove(systemd, file)
    print(f"Stopped the server, and removed {file}.")
    alone = not any(each.is_homeport for each in running_servers(folders.runtime))
    count = asyncio.run(_count_kernels(folders)) if alone or server is not None else 0
    if count and not kernels and alone:
        kernels = _agreed(f"{in_words(count)} still running. Shut down? [y/N] ")
    if count and not kernels:
        print(f"{in_words(count)} still running; 'homeport kernels' lists them, 'homeport kernels stop --all' ends them.")
    elif count:
        ended = asyncio.run(shut_all_down(folders) if alone or server is None else shut_kernels_down(folders, server, every=False))
        print(f"Shut down {in_words(ended)}.")
    if lingers():
        user = getpass.getuser()
        print(f"Lingering stays enabled for {user}; 'loginctl disable-linger' ends it, when nothing else of yours is to outlive a logout.")
    return 0


def _agreed(question: str) -> bool:
    try:
        return sys.stdin.isatty() and sys.stdout.isatty() and input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False
