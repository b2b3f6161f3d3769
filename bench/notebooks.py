"""Test notebooks: 30 cells, 1,000 cells, 20 MB and 30 MB, always the same bytes."""

from __future__ import annotations

import base64
import json
import random
from functools import cache

SIZES = {"cells-30": (30, 0), "cells-1000": (1000, 0), "mb-20": (60, 20_000_000), "mb-30": (90, 30_000_000)}
"""Name: (cells, bytes of image outputs)."""


def _markdown(number: int) -> dict[str, object]:
    text = f"## Step {number}\n\nWhat follows depends on **step {number - 1}** and on $x_{{{number}}} = \\sqrt{{{number}}}$."
    return {"cell_type": "markdown", "id": f"md-{number}", "metadata": {}, "source": text.splitlines(keepends=True)}


def _code(number: int, outputs: list[dict[str, object]]) -> dict[str, object]:
    source = f"values = [n ** 2 for n in range({number})]\nprint(f'step {number}: {{sum(values)}}')"
    return {
        "cell_type": "code", "execution_count": number, "id": f"code-{number}", "metadata": {}, "outputs": outputs,
        "source": source.splitlines(keepends=True),
    }  # fmt: skip


def _stream(number: int) -> dict[str, object]:
    return {"name": "stdout", "output_type": "stream", "text": [f"step {number}: {number**3}\n"]}


def _image(size: int, seed: int) -> dict[str, object]:
    # Random bytes: like a real picture, they cannot be compressed.
    data = base64.b64encode(b"\x89PNG\r\n\x1a\n" + random.Random(seed).randbytes(size * 3 // 4)).decode()
    return {
        "data": {"image/png": data + "\n", "text/plain": ["<Figure size 640x480 with 1 Axes>"]},
        "metadata": {},
        "output_type": "display_data",
    }


@cache
def make(name: str, kernel: str) -> bytes:
    """The notebook ``name`` (a key of ``SIZES``) for the kernelspec ``kernel``. Its first cell is an empty code cell."""
    count, size = SIZES[name]
    cells: list[dict[str, object]] = [
        {"cell_type": "code", "execution_count": None, "id": "first", "metadata": {}, "outputs": [], "source": []}
    ]
    codes = (count - 1) * 2 // 3
    for number in range(1, count):
        if number % 3 == 0:
            cells.append(_markdown(number))
        else:
            cells.append(_code(number, [_stream(number), *([_image(size // codes, number)] if size else [])]))
    metadata = {"kernelspec": {"display_name": "Bench", "language": "python", "name": kernel}, "language_info": {"name": "python"}}
    notebook = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return (json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()
