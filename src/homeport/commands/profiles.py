"""IPython's old way to set up a notebook server: a profile that holds the server's configuration and its kernels' settings.

``ipython profile create NAME`` makes the profile, which IPython still does. Of the server's file in it,
``ipython_notebook_config.py``, IPython's kernels read nothing any more: what it says about them goes onto their command line.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

from homeport.errors import NotFound
from homeport.options import BadOption

CONFIG_NAME = "ipython_notebook_config"
"""The base name of the server's file in a profile."""
KERNEL_SECTION = "IPKernelApp"


def profile_folder(profile: str, environment: Mapping[str, str]) -> Path:
    """The folder of an IPython profile, where IPython itself looks for it: below ``IPYTHONDIR``, or ``~/.ipython``.

    Raises:
        BadOption: it cannot be the name of a profile.
        NotFound: it was not made yet.
    """
    if not re.fullmatch(r"[\w.-]+", profile):
        raise BadOption(f"--profile cannot be {profile!r}: the name of an IPython profile is wanted", option="profile")
    home = Path(os.path.abspath(os.path.expanduser(environment.get("IPYTHONDIR") or "~/.ipython")))
    folder = home / f"profile_{profile}"
    if not folder.is_dir():
        raise NotFound(f"There is no IPython profile '{profile}' in {home}; 'ipython profile create {profile}' makes it.", path=str(folder))
    return folder


def kernel_arguments(profile: str, keys: Iterable[tuple[str, object]]) -> list[str]:
    """What IPython's kernels are to be started with, for the server of a profile.

    Args:
        keys: ``Section.name`` and value of everything in the profile's server file; only what is about kernels counts.
    """
    settings = dict(key for key in keys if key[0].startswith(f"{KERNEL_SECTION}."))
    return [f"--profile={profile}", *(f"--{key}={word}" for key, value in settings.items() for word in _words(value))]


def _words(value: object) -> Sequence[str]:
    """A value as traitlets reads it from a command line, where containers are said item by item."""
    if isinstance(value, Mapping):
        return [f"{key}={item}" for key, item in cast("Mapping[object, object]", value).items()]
    if isinstance(value, (list, tuple, set, frozenset)):
        return [str(item) for item in cast("Iterable[object]", value)]
    return [str(value)]
