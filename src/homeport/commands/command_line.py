"""What the command line of ``homeport [FOLDER]`` asks for, together with configuration files and the environment.

Options are ``options.py``'s, parsers ``arguments.py``'s, files ``config_files.py``'s; here they become one :class:`Wanted`, which
``serve.py`` carries out and ``homeport config`` shows.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from homeport import __version__
from homeport.commands import COMMANDS
from homeport.commands.arguments import COMMAND_LINE, Parser, add_options, class_options, layer
from homeport.commands.daemon import fixed_port
from homeport.commands.names import HOMEPORT, Name
from homeport.commands.password_files import with_password_file
from homeport.commands.profiles import kernel_arguments, profile_folder
from homeport.errors import NotFound
from homeport.options import BEFORE_FILES, BadOption, Layer, Settings, environment_layers, options, resolve


@dataclass(frozen=True)
class Wanted:
    """What a command line asks for."""

    settings: Settings
    page: str
    """An API path to open first: a notebook below the root, or the empty text."""
    welcome: bool
    notes: tuple[str, ...] = ()
    """Sentences about configuration that counts for nothing."""
    files: tuple[Path, ...] = ()
    """The configuration files that were read, the weakest first."""
    kernel_arguments: tuple[str, ...] = ()
    """What IPython's kernels are started with, beside what their kernelspec says."""
    daemon: bool = False
    generate_config: bool = False
    yes: bool = False
    name: Name = HOMEPORT


def make_parser(name: Name = HOMEPORT) -> Parser:
    """The command line of ``homeport [FOLDER]``, made from the table of options."""
    words = "\n".join(f"  {word:<12}{command.summary}" for word, command in COMMANDS.items())
    if name is not HOMEPORT:
        words = "  list        the servers that are running\n  stop        stop one\n  password    ask for a password, and keep its hash"
    parser = Parser(
        name.program,
        "Serve the notebooks of a folder. Kernels, outputs and edits outlive the browser, the link and this server.",
        f"commands, each with its own --help:\n{words}\n",
    )
    parser.usage = f"{name.program} [FOLDER] [options]\n       {name.program} COMMAND [options]"
    parser.add_argument("folder", nargs="?", metavar="FOLDER", help="the folder to serve, or one notebook; the current folder by default")
    parser.add_argument("--welcome", action="store_true", help="put a notebook into the folder that shows what Homeport does")
    parser.add_argument(
        "--daemon",
        action="store_true",
        help="serve in the background, with a log file; returns when the server answers; 'homeport stop' ends it",
    )
    parser.add_argument("-V", "--version", action="version", version=f"homeport {__version__}", help="show the version and leave")
    parser.add_argument(
        "--generate-config", action="store_true", help="write a configuration file with every option commented out, and leave"
    )
    parser.add_argument("-y", "--yes", action="store_true", help="overwrite without asking")
    add_options(parser, options())
    return parser


def read_command_line(arguments: Sequence[str], name: Name = HOMEPORT) -> Wanted:
    """Settings from configuration files, the environment and the command line, the last the strongest.

    Args:
        name: under which name Homeport was started.

    Raises:
        BadOption: an option is unknown or has a bad value.
        BadConfiguration: a configuration file cannot be read.
        NotFound: there is no such folder, or no such configuration file.
    """
    from jupyter_core.paths import jupyter_config_path

    from homeport.commands.config_files import read_configuration, read_keys

    flags, keys = class_options(arguments)
    given = make_parser(name).parse(flags)
    # A flag of its own says more than a Section.name key, as it does in Jupyter.
    traits, about = read_keys(keys, COMMAND_LINE)
    asked = Layer(COMMAND_LINE, {**traits.values, **layer(given, options()).values})
    # These two say which files are read, so they count on the command line alone.
    reading = resolve([Layer(COMMAND_LINE, {name: asked.values[name] for name in BEFORE_FILES if name in asked.values})])
    profile = profile_folder(reading.profile, os.environ) if reading.profile else None
    configuration = read_configuration(map(Path, jupyter_config_path()), reading.config_file, profile)
    layers = [Layer(name.program, name.defaults), *configuration.layers, *environment_layers(os.environ), asked]
    page = ""
    if given.folder is not None:
        folder, page = _folder_and_page(given.folder, asked)
        layers.append(Layer(COMMAND_LINE, {"root_dir": folder}))
    settings = with_password_file(resolve(layers))
    if given.daemon:
        settings = fixed_port(settings)
    if not settings.root_dir.is_dir():
        raise NotFound(f"There is no folder {settings.root_dir}.")
    return Wanted(
        settings,
        page,
        given.welcome,
        daemon=given.daemon,
        notes=(*configuration.notes, *about),
        files=tuple(configuration.files),
        kernel_arguments=tuple(kernel_arguments(reading.profile, configuration.profile)) if profile else (),
        generate_config=given.generate_config,
        yes=given.yes,
        name=name,
    )


def _folder_and_page(word: str, asked: Layer) -> tuple[Path, str]:
    """What ``FOLDER`` means: a folder to serve, or a notebook whose folder is served and that is opened first."""
    path = Path(os.path.abspath(os.path.expanduser(word)))
    root = asked.values.get("root_dir")
    if path.is_dir():
        if root is not None and resolve([asked]).root_dir != path:
            raise BadOption(f"Two folders are given, {word} and --root-dir {root}; leave one out", source=COMMAND_LINE)
        return path, ""
    if path.is_file():
        folder = resolve([asked]).root_dir if root is not None else path.parent
        if not path.is_relative_to(folder):
            raise BadOption(f"{word} is not in the folder {folder} that is to be served", source=COMMAND_LINE)
        return folder, path.relative_to(folder).as_posix()
    near = get_close_matches(word, COMMANDS, n=1, cutoff=0.6)
    advice = f"did you mean the command '{near[0]}'?" if near else "'homeport --help' shows the commands."
    raise NotFound(f"There is no folder {word}, and no command of that name; {advice}", path=word)
