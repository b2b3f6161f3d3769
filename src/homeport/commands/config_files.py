"""Configuration files: Homeport's own and the ones people have for Jupyter's servers, mapped onto the table of options.

Files are found where Jupyter looks (``jupyter_core.paths.jupyter_config_path``) and read by traitlets' own loaders, so that
``c = get_config()``, ``load_subconfig`` and JSON files mean what they meant. What the keys mean is ``options.py``'s; this
module finds the files, turns each into a :class:`~homeport.options.Layer`, and says which keys count for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, cast

from homeport.commands.profiles import CONFIG_NAME
from homeport.errors import BadRequest, NotFound
from homeport.foreign_options import FOREIGN_SECTIONS, WITHOUT_MEANING
from homeport.options import BEFORE_FILES, Layer, Option, options

if TYPE_CHECKING:
    from traitlets.config import Config

SHARED_NAME = "jupyter_config"
NAMES = ("jupyter_notebook_config", "jupyter_server_config", "jupyter_lab_config", "homeport_config")
"""Base names of the files, the weakest first; what all of Jupyter's programs share is weaker than each."""


class BadConfiguration(BadRequest):
    """A configuration file cannot be read; the message names it and, where Python says it, the line."""

    code = "bad_configuration"


@dataclass(frozen=True)
class Configuration:
    """What configuration files say."""

    layers: Sequence[Layer]
    """One for each file that sets something, the weakest first."""
    notes: Sequence[str]
    """Sentences about keys that count for nothing here."""
    files: Sequence[Path]
    """Every file that was read, the weakest first."""
    profile: Sequence[tuple[str, object]] = ()
    """Every ``Section.name`` key of the profile's files, with its value."""


def read_configuration(folders: Iterable[Path], only: Path | None = None, profile: Path | None = None) -> Configuration:
    """Read all configuration files.

    Args:
        folders: where to look, the strongest first, as ``jupyter_config_path()`` gives them.
        only: the file of ``--config``: read instead of those of :data:`NAMES`.
        profile: the folder of an IPython profile, whose server file is stronger than those of :data:`NAMES`.

    Raises:
        NotFound: ``only`` is not there.
        BadConfiguration: a file cannot be read or is not what its ending says.
    """
    if only is not None and not only.is_file():
        raise NotFound(f"There is no configuration file {only}.", path=str(only))
    weakest_first = list(reversed(list(folders)))
    names = (SHARED_NAME,) if only is not None else (SHARED_NAME, *NAMES)
    files = [file for name in names for folder in weakest_first for file in _files_of(folder, name)]
    of_profile = [] if profile is None else list(_files_of(profile, CONFIG_NAME))
    files += of_profile
    if only is not None:
        files.append(only)
    layers: list[Layer] = []
    notes: list[str] = []
    profile_keys: list[tuple[str, object]] = []
    for file in files:
        keys = list(_flat(_load(file)))
        profile_keys += keys if file in of_profile else []
        layer, about = read_keys(keys, str(file))
        too_late = [name for name in BEFORE_FILES if name in layer.values]
        about += [f"{file}: Homeport.{name} counts on the command line only, since it says which files are read." for name in too_late]
        layer = Layer(layer.source, {name: value for name, value in layer.values.items() if name not in too_late})
        # Files in .d folders are put there by packages: nobody can do anything about their keys.
        notes += about if file.parent.suffix != ".d" else []
        if layer.values:
            layers.append(layer)
    return Configuration(layers, notes, files, profile_keys)


def read_file(file: Path) -> Layer:
    """What one configuration file sets.

    Raises:
        BadConfiguration: it cannot be read.
    """
    return read_keys(_flat(_load(file)), str(file))[0]


def read_keys(keys: Iterable[tuple[str, object]], source: str) -> tuple[Layer, list[str]]:
    """Map ``Section.name`` keys onto options; the second part says what counts for nothing, and why.

    When several keys of one source set the same option, the one that stands first in the option's row counts.
    """
    rows = {key: option for option in options() for key in option.config_keys}
    found: dict[str, tuple[int, object]] = {}
    notes: list[str] = []
    for key, value in keys:
        option = rows.get(key)
        if option is None:
            note = _about(key, rows)
            if note:
                notes.append(f"{source}: {note}")
            continue
        rank = option.config_keys.index(key)
        if option.name not in found or rank < found[option.name][0]:
            found[option.name] = (rank, value)
    return Layer(source, {name: value for name, (_, value) in found.items()}), notes


def _about(key: str, rows: Mapping[str, Option]) -> str:
    """Why ``key`` counts for nothing; empty when it belongs to another program that reads it itself."""
    section, _, name = key.partition(".")
    if key in WITHOUT_MEANING:
        return f"{key} has no meaning here: {WITHOUT_MEANING[key]}."
    if section in FOREIGN_SECTIONS:
        return ""
    known = {*rows, *WITHOUT_MEANING}
    # The name counts more than the section: c.NotebookApp.prot is not meant to be c.NotebookApp.ip.
    near = get_close_matches(key, known, n=1, cutoff=0.75) or [
        other for other in sorted(known) if other.partition(".")[2] == name and other in rows
    ]
    return f"there is no option {key}" + (f"; did you mean {near[0]}?" if near else ".")


def _files_of(folder: Path, name: str) -> Iterator[Path]:
    """The files of one base name in one folder, the weakest first: packages' drop-ins, then ``.py``, then ``.json``."""
    drop_ins = folder / f"{name}.d"
    if drop_ins.is_dir():
        yield from sorted(drop_ins.glob("*.json"))
    for ending in (".py", ".json"):
        file = folder / (name + ending)
        if file.is_file():
            yield file


def _load(file: Path) -> Config:
    from traitlets.config.loader import JSONFileConfigLoader, PyFileConfigLoader

    loader = (JSONFileConfigLoader if file.suffix == ".json" else PyFileConfigLoader)(file.name, path=str(file.parent))
    try:
        return loader.load_config()
    except Exception as error:
        raise BadConfiguration(f"The configuration file {file} cannot be read: {_where(error, file)}", path=str(file)) from error


def _where(error: Exception, file: Path) -> str:
    line = getattr(error, "lineno", None)
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(file):
            line = trace.tb_lineno
        trace = trace.tb_next
    what = f"{type(error).__name__}: {error}"
    return f"line {line}: {what}" if line is not None else what


def _flat(config: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """The ``Section.name`` keys of a configuration with their values."""
    for section, names in config.items():
        if isinstance(names, Mapping):
            for name, value in cast("Mapping[str, object]", names).items():
                yield f"{section}.{name}", _plain(value)


def _plain(value: object) -> object:
    """A value as written; ``c.X.y.append(...)`` and its like are applied to an empty list."""
    from traitlets.config.loader import LazyConfigValue

    if not isinstance(value, LazyConfigValue):
        return value
    return cast("object", value.get_value([]))  # pyright: ignore[reportUnknownMemberType]
