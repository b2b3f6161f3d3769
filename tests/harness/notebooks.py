"""Notebooks as files: small ones to start from, and what is in one, in a form that two runs can be compared in."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

VENDORED = Path(__file__).parents[1] / "notebooks"

Notebook = dict[str, Any]
Output = dict[str, Any]

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_ADDRESS = re.compile(r"0x[0-9a-f]{6,}")
_OVERWRITTEN = re.compile(r"[^\n]*\r(?!\n)")


def write(path: Path, *cells: str | tuple[str, str], kernel: str = "python3") -> list[str]:
    """Write a notebook of code cells, or of ``(type, source)``; returns the cells' ids."""
    made: list[dict[str, Any]] = []
    for number, cell in enumerate(cells):
        cell_type, source = ("code", cell) if isinstance(cell, str) else cell
        entry: dict[str, Any] = {"cell_type": cell_type, "id": f"cell-{number}", "metadata": {}, "source": source.splitlines(keepends=True)}
        if cell_type == "code":
            entry |= {"execution_count": None, "outputs": []}
        made.append(entry)
    notebook = {
        "cells": made,
        "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": kernel}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    save(path, notebook)
    return [entry["id"] for entry in made]


def save(path: Path, notebook: Notebook) -> None:
    """Write a notebook as nbformat does."""
    path.write_text(json.dumps(notebook, indent=1, sort_keys=True) + "\n")


def read(path: Path) -> Notebook:
    """The notebook in a file."""
    return json.loads(path.read_bytes())


def sources(path: Path) -> list[str]:
    """The source of each cell of the notebook in a file."""
    return [joined(cell["source"]) for cell in read(path)["cells"]]


def joined(text: str | Sequence[str]) -> str:
    """nbformat's multi-line strings, which may be lists of lines."""
    return text if isinstance(text, str) else "".join(text)


def stream_text(cell: Notebook) -> str:
    """All that a cell printed."""
    return "".join(joined(output["text"]) for output in cell["outputs"] if output["output_type"] == "stream")


def all_text(cell: Notebook) -> str:
    """All that a cell shows as plain text, each output that is no stream on a line of its own: also what stands where something is
    missing."""
    text = ""
    for output in cell["outputs"]:
        if output["output_type"] == "stream":
            text += joined(output["text"])
        elif output["output_type"] == "error":
            text += f"{output['ename']}: {output['evalue']}\n"
        else:
            text += joined(output["data"].get("text/plain", "")) + "\n"
    return text


def code_cells(notebook: Notebook) -> list[Notebook]:
    """The code cells that have something to run."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and joined(cell["source"]).strip()]


def finished(notebook: Notebook) -> bool:
    """Whether every cell has run to its end, or the run stopped at an error: told from what is in the file alone."""
    cells = code_cells(notebook)
    if any(output["output_type"] == "error" for cell in cells for output in cell["outputs"]):
        return True
    return all("shell.execute_reply" in cell["metadata"].get("execution", {}) for cell in cells)


async def finished_on_disk(path: Path, seconds: float) -> Notebook:
    """Wait until the file says that all of it has run; nobody needs to look at a page meanwhile.

    Raises:
        AssertionError: not within ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while not finished(notebook := await asyncio.to_thread(read, path)):
        assert time.monotonic() < deadline, f"{path.name} was not finished within {seconds} s"
        await asyncio.sleep(0.1)  # a file tells nobody that it changed
    return notebook


def comparable(cell: Notebook) -> list[Output]:
    """A cell's outputs without what differs from run to run for reasons of its own (addresses in memory, colours, counts)."""
    result: list[Output] = []
    for output in cell["outputs"]:
        kind = output["output_type"]
        if kind == "stream":
            text = joined(output["text"])
            if result and result[-1].get("name") == output["name"]:
                result[-1]["text"] += text
            else:
                result.append({"output_type": kind, "name": output["name"], "text": text})
        elif kind == "error":
            result.append({"output_type": kind, "ename": output["ename"], "evalue": _ADDRESS.sub("0x", _ANSI.sub("", output["evalue"]))})
        else:
            data = {mime: value if mime.endswith("json") else _ADDRESS.sub("0x", joined(value)) for mime, value in output["data"].items()}
            result.append({"output_type": kind, "data": data})
    for output in result:
        if "text" in output:
            output["text"] = _ADDRESS.sub("0x", _OVERWRITTEN.sub("", output["text"]))
    return result


def nbclient_run(path: Path, folder: Path, *, seconds: float) -> Notebook:
    """What nbclient makes of a notebook: run in ``folder`` by a process of its own, up to its first error."""
    target = folder / f"nbclient-{path.name}"
    program = (
        "import sys, nbformat\n"
        "from nbclient import NotebookClient\n"
        "from nbclient.exceptions import CellExecutionError\n"
        "notebook = nbformat.read(sys.argv[1], 4)\n"
        "try:\n"
        "    NotebookClient(notebook, timeout=None, resources={'metadata': {'path': sys.argv[3]}}).execute()\n"
        "except CellExecutionError:\n"
        "    pass\n"
        "nbformat.write(notebook, sys.argv[2])\n"
    )
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(path), str(target), str(folder)],
        env={**os.environ, "PYTHONHASHSEED": "0"}, check=True, timeout=seconds, capture_output=True,
    )  # fmt: skip
    notebook = read(target)
    target.unlink()
    return notebook


def differences(ours: Notebook, *references: Notebook, unsteady: bool = False) -> list[str]:
    """The code cells whose outputs differ from the references where those agree with each other.

    A cell that gives another answer each time (random numbers, clocks) is compared in the kinds of its outputs only; with
    ``unsteady``, every cell that differs.
    """
    found: list[str] = []
    theirs = [[comparable(cell) for cell in code_cells(reference)] for reference in references]
    for number, cell in enumerate(code_cells(ours)):
        mine = comparable(cell)
        wanted = [reference[number] for reference in theirs]
        if any(mine == outputs for outputs in wanted):
            continue
        steady = all(outputs == wanted[0] for outputs in wanted)
        kinds = [_kinds(outputs) for outputs in wanted]
        if (steady and not unsteady) or _kinds(mine) not in kinds:
            found.append(f"code cell {number}: {_short(mine)}\n  nbclient: {_short(wanted[0])}")
    return found


def _kinds(outputs: list[Output]) -> list[Any]:
    return [(output["output_type"], output.get("name"), sorted(output.get("data", ()))) for output in outputs]


def _short(outputs: list[Output]) -> str:
    text = json.dumps(outputs)
    return text if len(text) < 600 else f"{text[:400]} … {text[-150:]} ({len(text)} characters)"
