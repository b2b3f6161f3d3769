"""The notebook that shows what Homeport does; whoever wants it gets a copy in a folder of theirs."""

from __future__ import annotations

from importlib.resources import files

NAME = "Welcome to Homeport.ipynb"


def welcome_notebook() -> bytes:
    """The file."""
    return (files("homeport") / "sample" / NAME).read_bytes()
