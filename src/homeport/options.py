"""The one table of options: default, flags, environment, configuration keys, type and help of each.

The command line, configuration files, the reference in the documentation and the tests read this table; nothing else
lists options. Parsing a command line is ``cli.py``'s, reading configuration files is not done here either: both hand
plain values to :func:`resolve`, which checks them and says where each came from.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TypeVar

from homeport.errors import BadRequest
from homeport.option_values import (
    LOG_LEVELS,
    one_of,
    read_base_url,
    read_count,
    read_duration,
    read_file,
    read_folder,
    read_ip,
    read_log_level,
    read_names,
    read_page,
    read_password_hash,
    read_port,
    read_proxies,
    read_size,
    read_text,
    read_yes_no,
)

T = TypeVar("T")

GROUPS = {
    "network": "where it listens",
    "access": "who may come in",
    "files": "folders and notebooks",
    "browser": "the browser",
    "lifecycle": "kernels, and how it ends",
    "log": "the log",
}
"""Groups of options in the order of ``--help``, with their headings."""


class BadOption(BadRequest):
    """An option has a value that it cannot have; ``data`` has ``option`` and ``source``."""

    code = "bad_option"


@dataclass(frozen=True)
class Option:
    """One row of the table.

    ``read`` takes what a command line, an environment variable or a configuration file holds (a ``str``, or the
    Python value itself) and gives the value of the setting, or raises ``ValueError`` with a sentence that says what is wanted.
    """

    name: str
    """The attribute of :class:`Settings`, and the key ``Homeport.<name>`` in configuration files."""
    default: object
    group: str
    help: str
    read: Callable[[object], object]
    flags: tuple[str, ...]
    off_flags: tuple[str, ...]
    """Flags that say no to a yes-or-no option, such as ``--no-browser``."""
    metavar: str | None
    choices: tuple[str, ...]
    server_app: tuple[str, ...]
    """Names under ``ServerApp`` (and its parts) in Jupyter's configuration, as ``Section.name``."""
    notebook_app: tuple[str, ...]
    """The same for the classic notebook's ``NotebookApp``."""
    environment: tuple[str, ...]
    is_switch: bool
    is_secret: bool

    @property
    def config_keys(self) -> tuple[str, ...]:
        """Every key that sets this option in a configuration file; the first is Homeport's own.

        What the classic notebook has, JupyterLab's first versions inherited.
        """
        lab = [f"LabApp.{key.removeprefix('NotebookApp.')}" for key in self.notebook_app if key.startswith("NotebookApp.")]
        return (f"Homeport.{self.name}", *self.server_app, *self.notebook_app, *lab)


# -- The table -------------------------------------------------------------------------------------------------------


def _row(
    default: T,
    read: Callable[[object], object],
    *flags: str,
    group: str,
    help: str,
    off_flags: tuple[str, ...] = (),
    metavar: str | None = None,
    choices: tuple[str, ...] = (),
    server_app: tuple[str, ...] = (),
    notebook_app: tuple[str, ...] = (),
    environment: tuple[str, ...] = (),
    is_secret: bool = False,
) -> T:
    facts = {
        "default": default,
        "group": group,
        "help": help,
        "read": read,
        "flags": flags,
        "off_flags": off_flags,
        "metavar": metavar,
        "choices": choices,
        "server_app": server_app,
        "notebook_app": notebook_app,
        "environment": environment,
        "is_switch": read is read_yes_no,
        "is_secret": is_secret,
    }
    return field(default=default, metadata={"option": facts})


ON_STOP = ("auto", "keep", "shutdown")


@dataclass(frozen=True)
class Settings:
    """What is in force. Made by :func:`resolve`; every field but ``sources`` is a row of the table."""

    ip: str = _row(
        "127.0.0.1", read_ip, "--ip", group="network", metavar="ADDRESS",
        help="the address to listen on; '*' for all addresses",
        server_app=("ServerApp.ip",), notebook_app=("NotebookApp.ip",),
    )  # fmt: skip
    port: int = _row(
        8888, read_port, "--port", "-p", group="network", metavar="PORT",
        help="the port to listen on; 0 lets the system choose one; a port that was asked for and is taken is an error, "
        "otherwise the next free one is used",
        server_app=("ServerApp.port",), notebook_app=("NotebookApp.port",), environment=("JUPYTER_PORT",),
    )  # fmt: skip
    port_retries: int = _row(
        50, read_count, "--port-retries", group="network", metavar="N",
        help="how many ports after the first are tried when it is taken",
        server_app=("ServerApp.port_retries",), notebook_app=("NotebookApp.port_retries",), environment=("JUPYTER_PORT_RETRIES",),
    )  # fmt: skip
    base_url: str = _row(
        "/", read_base_url, "--base-url", group="network", metavar="PATH",
        help="the URL path below which everything is served, such as /jupyter/",
        server_app=("ServerApp.base_url",), notebook_app=("NotebookApp.base_url",),
    )  # fmt: skip
    trusted_proxies: tuple[str, ...] = _row(
        ("127.0.0.1", "::1"), read_proxies, "--trusted-proxies", group="network", metavar="ADDRESSES",
        help="addresses or networks of the proxies whose X-Forwarded headers count, with commas between them; when this is given and "
        "nothing else encrypts, requests from elsewhere are refused",
    )  # fmt: skip
    public: bool = _row(
        False, read_yes_no, "--public", group="network",
        help="serve to everybody who knows the password, safely: asks for a password once, makes a certificate, listens on all addresses",
    )  # fmt: skip
    names: tuple[str, ...] = _row(
        (), read_names, "--names", group="network", metavar="NAMES",
        help="host names and addresses under which others know this machine, the main one first, with commas between them: for printed "
        "addresses, and for the certificate of --public; found out when none are given",
    )  # fmt: skip
    certfile: Path | None = _row(  # noqa: RUF009  # a Path cannot be changed
        None, read_file, "--certfile", group="network", metavar="FILE",
        help="serve https with this certificate (PEM); a renewed file is picked up while the server runs",
        server_app=("ServerApp.certfile",), notebook_app=("NotebookApp.certfile",),
    )  # fmt: skip
    keyfile: Path | None = _row(  # noqa: RUF009  # a Path cannot be changed
        None, read_file, "--keyfile", group="network", metavar="FILE",
        help="the certificate's private key; not needed when it stands in the same file",
        server_app=("ServerApp.keyfile",), notebook_app=("NotebookApp.keyfile",),
    )  # fmt: skip
    insecure: bool = _row(
        False, read_yes_no, "--insecure", group="network",
        help="listen beyond this machine although nothing encrypts: everybody on the way can read passwords and notebooks",
    )  # fmt: skip
    token: str | None = _row(
        None, read_text, "--token", group="access", metavar="TOKEN", is_secret=True,
        help="the token that lets a browser in; made at random when none is given; better given in the variable JUPYTER_TOKEN, "
        "since other users of this machine can read command lines; an empty one asks for no token",
        server_app=("IdentityProvider.token", "ServerApp.token"), notebook_app=("NotebookApp.token",),
        environment=("HOMEPORT_TOKEN", "JUPYTER_TOKEN"),
    )  # fmt: skip
    password: str = _row(
        "", read_password_hash, group="access", is_secret=True, metavar="HASH",
        help="the hash of the password that lets in, as 'homeport passwd' prints it; 'homeport password' writes it to a configuration file",
        server_app=("PasswordIdentityProvider.hashed_password", "ServerApp.password"), notebook_app=("NotebookApp.password",),
        environment=("HOMEPORT_PASSWORD_HASH",),
    )  # fmt: skip
    password_file: Path | None = _row(  # noqa: RUF009  # a Path cannot be changed
        None, read_file, "--password-file", group="access", metavar="FILE", environment=("HOMEPORT_PASSWORD_FILE",),
        help="a file that holds the hash of the password, such as a container's secret; counts before a hash in a configuration file",
    )  # fmt: skip
    login_idle: float | None = _row(
        7 * 86400.0, read_duration, "--login-idle", group="access", metavar="DURATION",
        help="a browser has to log in again when it has not been seen for so long",
    )  # fmt: skip
    login_lifetime: float | None = _row(
        30 * 86400.0, read_duration, "--login-lifetime", group="access", metavar="DURATION",
        help="a browser has to log in again after so long, however much it is used",
    )  # fmt: skip
    allow_origin: str = _row(
        "", read_text, "--allow-origin", group="access", metavar="ORIGIN",
        help="one more origin, such as https://example.org, whose pages may use this server",
        server_app=("ServerApp.allow_origin",), notebook_app=("NotebookApp.allow_origin",),
    )  # fmt: skip
    local_hostnames: tuple[str, ...] = _row(
        ("localhost",), read_names, "--local-hostnames", group="access", metavar="NAMES",
        help="host names that count as this machine when only a loopback address is listened on, with commas between them",
        server_app=("ServerApp.local_hostnames",), notebook_app=("NotebookApp.local_hostnames",),
    )  # fmt: skip
    allow_remote_access: bool = _row(
        False, read_yes_no, "--allow-remote-access", group="access",
        help="answer to any Host name also when only a loopback address is listened on",
        server_app=("ServerApp.allow_remote_access",), notebook_app=("NotebookApp.allow_remote_access",),
    )  # fmt: skip
    allow_root: bool = _row(
        False, read_yes_no, "--allow-root", group="access",
        help="run as root, although every notebook then can do anything to this machine",
        server_app=("ServerApp.allow_root",), notebook_app=("NotebookApp.allow_root",),
    )  # fmt: skip
    root_dir: Path = _row(  # noqa: RUF009  # a Path cannot be changed
        Path(), read_folder, "--root-dir", "--notebook-dir", group="files", metavar="FOLDER",
        help="the folder whose notebooks are served; the current one when none is given",
        server_app=("ServerApp.root_dir", "ServerApp.notebook_dir", "FileContentsManager.root_dir"),
        notebook_app=("NotebookApp.notebook_dir", "NotebookManager.notebook_dir"),
    )  # fmt: skip
    stream_limit: int = _row(
        10 * 1024 * 1024, read_size, "--stream-limit", group="files", metavar="SIZE",
        help="how much text a cell's stream keeps, in the file too; what is over is left out and the output says so",
    )  # fmt: skip
    notebook_limit: int = _row(
        90 * 1024 * 1024, read_size, "--notebook-limit", group="files", metavar="SIZE",
        help="the largest notebook file that is opened",
    )  # fmt: skip
    output_limit: int = _row(
        1000, read_count, "--output-limit", group="files", metavar="N",
        help="how many outputs of a cell are kept from the beginning, beside the last 24; an output between says how many were left out",
    )  # fmt: skip
    history_count: int = _row(
        100, read_count, "--history-count", group="files", metavar="N",
        help="how many saved states are kept of each notebook, to look at and go back to; 0 keeps none",
    )  # fmt: skip
    history_size: int = _row(
        200 * 1024 * 1024, read_size, "--history-size", group="files", metavar="SIZE",
        help="how much disk the saved states of one notebook may take; the oldest go first",
    )  # fmt: skip
    default_url: str = _row(
        "/tree", read_page, "--default-url", group="browser", metavar="PATH",
        help="the page below base_url that is shown first",
        server_app=("ServerApp.default_url",), notebook_app=("NotebookApp.default_url",),
    )  # fmt: skip
    open_browser: bool = _row(
        True, read_yes_no, group="browser", off_flags=("--no-browser",),
        help="do not open a browser; it is never opened without a display",
        server_app=("ServerApp.open_browser",), notebook_app=("NotebookApp.open_browser",),
    )  # fmt: skip
    browser: str = _row(
        "", read_text, "--browser", group="browser", metavar="NAME",
        help="the browser to open, as Python's webbrowser module names it, or a command in which %s stands for the URL",
        server_app=("ServerApp.browser",), notebook_app=("NotebookApp.browser",),
    )  # fmt: skip
    on_stop: str = _row(
        "auto", one_of(*ON_STOP), "--on-stop", group="lifecycle", metavar="WHAT", choices=ON_STOP,
        help="what a stop by SIGTERM does to kernels: keep them running, shut them down, or auto: "
        "shut down where the server is what a container runs, keep everywhere else",
    )  # fmt: skip
    idle_shutdown: float | None = _row(
        None, read_duration, "--idle-shutdown", group="lifecycle", metavar="DURATION",
        help="stop kernels that have neither run nor been looked at for so long, such as 12h",
    )  # fmt: skip
    log_level: str = _row(
        "info", read_log_level, "--log-level", group="log", metavar="LEVEL", choices=LOG_LEVELS,
        help="how much is said on the terminal",
        server_app=("Application.log_level", "ServerApp.log_level"), notebook_app=("NotebookApp.log_level",),
    )  # fmt: skip

    profile: str = _row(
        "", read_text, "--profile", group="lifecycle", metavar="NAME",
        help="an IPython profile, as IPython's own notebook server had it: read ipython_notebook_config.py there too, and start IPython's "
        "kernels with this profile and with that file's settings of IPKernelApp",
    )  # fmt: skip
    config_file: Path | None = _row(  # noqa: RUF009  # a Path cannot be changed
        None, read_folder, "--config", "-f", group="files", metavar="FILE",
        help="read this configuration file instead of those in Jupyter's configuration folders",
    )  # fmt: skip

    sources: Mapping[str, str] = field(default_factory=dict[str, str], compare=False)
    """Where each value that is not the default came from: field name to words such as ``"command line"``."""

    def given(self, name: str) -> bool:
        """True when somebody asked for this value, rather than it being the default."""
        return name in self.sources

    @property
    def port_tries(self) -> int:
        """How many ports may be tried: one when a port was asked for, unless retries were asked for as well."""
        return 1 if self.given("port") and not self.given("port_retries") else 1 + self.port_retries


@cache
def options() -> tuple[Option, ...]:
    """The rows of the table, in the order of :class:`Settings`."""
    return tuple(Option(name=row.name, **row.metadata["option"]) for row in dataclasses.fields(Settings) if "option" in row.metadata)


BEFORE_FILES = ("config_file", "profile")
"""Options that say which configuration files are read; so they count on the command line alone."""


@dataclass(frozen=True)
class Layer:
    """Values from one place, by field name. ``source`` is how that place is called: ``"command line"``, a file's path."""

    source: str
    values: Mapping[str, object]


def environment_layers(environment: Mapping[str, str]) -> list[Layer]:
    """What environment variables set, one layer a variable, the stronger ones last."""
    return [
        Layer(f"environment variable {variable}", {option.name: environment[variable]})
        for option in options()
        for variable in reversed(option.environment)
        if variable in environment
    ]


def resolve(layers: Iterable[Layer]) -> Settings:
    """Settings from layers, the strongest last.

    Raises:
        BadOption: a value cannot be read; the message names the option, its source and what is wanted.
    """
    rows = {option.name: option for option in options()}
    values: dict[str, object] = {}
    sources: dict[str, str] = {}
    for layer in layers:
        for name, given in layer.values.items():
            option = rows[name]
            if given is None and option.default is None:
                continue  # a generated file with its comment signs removed says so of every option
            try:
                values[name] = option.read(given)
            except ValueError as error:
                shown = "" if option.is_secret else f" {given!r}"
                flag = (*option.flags, *option.off_flags, option.config_keys[0])[0]
                message = f"{flag} cannot be{shown}: {error} ({layer.source})"
                raise BadOption(message, option=option.name, source=layer.source) from None
            sources[name] = layer.source
    values.setdefault("root_dir", Path.cwd())
    return Settings(**values, sources=sources)  # pyright: ignore[reportArgumentType]  # each row's reader gives its field's type
