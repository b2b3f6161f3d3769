"""Widgets of a real kernel: their state and buffers are the server's, also after it was killed, and long after they were made."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from harness import notebooks
from harness.document_client import DocumentClient, OpenDocument
from harness.rest import rest
from harness.server import MakeServer, Server

MAKE = """
import ipywidgets as widgets
from IPython.display import display
slider = widgets.IntSlider(value=3, description='how many')
image = widgets.Image(value=b'first picture', format='raw', width=2, height=2)
gone = widgets.Text('gone')
gone.close()
output = widgets.Output()
display(slider)
with output:
    print('cap', end='')
    print('tured')
    display({'text/plain': 'shown'}, raw=True)
"""
CHANGE = """
slider.value = 7
image.value = bytes(range(256)) * 1000
"""
# Much more than a journal keeps in memory, and then more of what is not about comms.
FLOOD = "for n in range(200_000): print('x' * 100)"
WAIT = "import time\nwhile slider.value == 7: time.sleep(600)"


async def widgets(server: Server) -> dict[str, Any]:
    """The widgets by the name of their model, without layouts and styles."""
    found = (await rest(server, "GET", "api/documents/widgets/w.ipynb")).json()
    assert (found["version_major"], found["version_minor"]) == (2, 0)
    models = found["state"].values()
    return {model["model_name"]: model for model in models if not model["model_name"].endswith(("LayoutModel", "StyleModel"))}


def check(found: dict[str, Any], value: int, picture: bytes) -> None:
    assert sorted(found) == ["ImageModel", "IntSliderModel", "OutputModel"]
    slider, image, output = found["IntSliderModel"], found["ImageModel"], found["OutputModel"]
    assert slider["model_module"] == "@jupyter-widgets/controls"
    assert (slider["state"]["value"], slider["state"]["description"]) == (value, "how many")
    [buffer] = image["buffers"]
    assert (buffer["path"], buffer["encoding"], base64.b64decode(buffer["data"])) == (["value"], "base64", picture)
    stream, shown = output["state"]["outputs"]
    assert (stream["output_type"], stream["text"]) == ("stream", "captured\n")
    assert shown["data"] == {"text/plain": "shown"}


async def known(server: Server, value: int) -> dict[str, Any]:
    """The widgets, as soon as the slider has that value: a reply may be known before the messages of a thread."""
    async with asyncio.timeout(60):
        while True:
            found = await widgets(server)
            if found["IntSliderModel"]["state"]["value"] == value:
                return found


@pytest.mark.timeout(240)
async def test_widgets_are_known_after_the_server_was_killed(make_server: MakeServer, open_document: OpenDocument) -> None:
    server = make_server(options=("--on-stop=keep",))
    await server.start()
    notebooks.write(server.root / "w.ipynb", MAKE, FLOOD, CHANGE, WAIT)
    page = await open_document(server, "w.ipynb")
    await page.ran("cell-0")
    # A page without widgets shows what they captured, and their text.
    assert "captured" in page.text(0) or "captured" in str(page.outputs(0))
    assert any("IntSlider" in str(output["data"].get("text/plain")) for output in page.outputs(0) if "data" in output)
    check(await widgets(server), 3, b"first picture")
    await page.run("cell-1")
    await killed_while_it_runs(server, page, "cell-1")
    check(await widgets(server), 3, b"first picture")
    await page.run("cell-2", "cell-3")
    await page.until(lambda: [entry["cell"] for entry in page.state["queue"]] == ["cell-3"], "the last cell")
    check(await known(server, 7), 7, bytes(range(256)) * 1000)
    await server.kill()
    await server.start()
    check(await known(server, 7), 7, bytes(range(256)) * 1000)
    await page.until(lambda: page.links >= 3, "the link")
    await page.operate("restart")
    assert (await rest(server, "GET", "api/documents/widgets/w.ipynb")).json()["state"] == {}


async def killed_while_it_runs(server: Server, page: DocumentClient, cell: str) -> None:
    await page.until(lambda: len(page.outputs(cell)) > 0, "the flood")
    await server.kill()
    await server.start()
    await page.idle(seconds=90)
