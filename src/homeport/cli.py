"""The ``homeport`` command: finds out what was asked for and hands over.

Without a command word it serves a folder (``commands/serve.py``, the composition root). Each command is a module of
``homeport.commands`` with a function ``run(arguments) -> exit status``, imported only when it is the one asked for, so that
``homeport --version`` and ``--help`` answer at once. Nothing heavy is imported here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from homeport.commands import COMMANDS
from homeport.commands.names import LAB, NOTEBOOK, Name
from homeport.errors import HomeportError
from homeport.options import BadOption

USAGE_ERROR = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line ``arguments`` (those of this process by default) and return the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    word = given[0] if given else ""
    module, rest = (COMMANDS[word].module, given[1:]) if word in COMMANDS else ("serve", given)
    return _reported("homeport", lambda: import_module(f"homeport.commands.{module}").run(rest))


def jupyter_notebook(arguments: Sequence[str] | None = None) -> int:
    """The command ``jupyter-notebook``, which ``jupyter notebook`` calls; as :func:`main`."""
    return _jupyter(NOTEBOOK, arguments)


def jupyter_lab(arguments: Sequence[str] | None = None) -> int:
    """The command ``jupyter-lab``, which ``jupyter lab`` calls; as :func:`main`."""
    return _jupyter(LAB, arguments)


def _jupyter(name: Name, arguments: Sequence[str] | None) -> int:
    from homeport.commands import jupyter

    given = list(sys.argv[1:] if arguments is None else arguments)
    return _reported(name.program, lambda: jupyter.run(name, given))


def _reported(program: str, run: Callable[[], int]) -> int:
    """The exit status of ``run``; what goes wrong on purpose is said on stderr."""
    try:
        status = run()
        sys.stdout.flush()
    except BadOption as error:
        print(f"{program}: {error.message}", file=sys.stderr)
        return USAGE_ERROR
    except HomeportError as error:
        print(f"{program}: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # `homeport list | head -1`: nobody reads on. The interpreter must not complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status
