"""What a run leaves in the file and on the page, and that a flood is nobody else's trouble: a real server, as pages use it."""

from __future__ import annotations

import asyncio
import base64

import requests

from harness import notebooks
from harness.document_client import OpenDocument
from harness.rest import rest
from harness.server import MakeServer, Server

# A million lines, and more until it is told that it is enough: a fast machine must not be done before the others were served.
FLOOD = """
import itertools, os
for n in itertools.count(1):
    print(f"line {n}")
    if n >= 1_000_000 and n % 1000 == 0 and os.path.exists("enough"):
        break
"""
PICTURE = "from IPython.display import Image\nImage(data=b'\\x89PNG\\r\\n\\x1a\\n' + bytes(range(256)) * 100, format='png')"


async def get(server: Server, path: str) -> bytes:
    """What the server answers to a GET."""
    answer = await asyncio.to_thread(requests.get, server.url + path, headers=server.headers, timeout=60)
    answer.raise_for_status()
    return answer.content


async def test_limits_of_the_command_line_hold_on_the_page_and_in_the_file(make_server: MakeServer, open_document: OpenDocument) -> None:
    server = make_server(options=("--stream-limit=100KiB", "--output-limit=10"))
    file = server.root / "a.ipynb"
    notebooks.write(file, "for n in range(50_000): print(n)", "for n in range(100): display({'text/plain': str(n)}, raw=True)")
    await server.start()
    page = await open_document(server, "a.ipynb")
    await page.ran("cell-0", "cell-1", seconds=120)
    await page.operate("save")
    (output,) = page.outputs("cell-0")
    assert output["text"].startswith("0\n1\n2\n")
    assert output["text"].endswith("49998\n49999\n")
    assert len(output["text"]) < 70_000
    long = output["application/vnd.homeport.stream+json"]
    assert long["lines"] == 50_000
    streams, displays = (cell["outputs"] for cell in notebooks.read(file)["cells"])
    text = notebooks.joined(streams[0]["text"])
    kept, _, rest = text.partition("[... ")
    assert len(kept) in range(100 * 1024 - 8, 100 * 1024 + 2)
    assert "left out: limit of 100 KiB a cell, option --stream-limit ...]\n" in rest
    assert text.endswith("49998\n49999\n")
    assert list(streams[0]) == ["name", "output_type", "text"]
    assert (await get(server, long["url"])).decode() == text
    assert len(displays) == 10 + 1 + 24
    assert "66 outputs left out: limit of 10 a cell, option --output-limit" in notebooks.joined(displays[10]["data"]["text/plain"])


async def test_a_large_output_is_fetched_apart_and_whole_in_the_file(server: Server, open_document: OpenDocument) -> None:
    file = server.root / "a.ipynb"
    notebooks.write(file, PICTURE)
    page = await open_document(server, "a.ipynb")
    await page.ran("cell-0")
    await page.operate("save")
    data = page.outputs("cell-0")[0]["data"]
    assert "image/png" not in data
    blob = data["application/vnd.homeport.blob+json"]
    picture = await get(server, blob["url"])
    assert (len(picture), blob["size"], blob["mime"]) == (25_608, 25_608, "image/png")
    saved = notebooks.read(file)["cells"][0]["outputs"][0]["data"]
    assert base64.b64decode(notebooks.joined(saved["image/png"])) == picture
    assert sorted(saved) == ["image/png", "text/plain"]


def last_line(text: str) -> int:
    """The number in the last whole line."""
    return int(text.rpartition("line ")[2]) if text.endswith("\n") else 1


async def test_others_work_on_while_a_cell_floods(server: Server, open_document: OpenDocument) -> None:
    notebooks.write(server.root / "flood.ipynb", "1", FLOOD)
    notebooks.write(server.root / "quiet.ipynb", "x = 0", "x += 1; print(x)")
    flood, quiet = await open_document(server, "flood.ipynb"), await open_document(server, "quiet.ipynb")
    await flood.ran("cell-0")
    await quiet.ran("cell-0")
    await flood.run("cell-1")
    await flood.until(lambda: bool(flood.outputs("cell-1")), "the first lines")
    for count in range(1, 4):
        await quiet.ran("cell-1")
        assert quiet.text("cell-1") == f"{count}\n"
        assert b"quiet.ipynb" in await get(server, "api/contents?content=1")
    assert [entry["cell"] for entry in flood.state["queue"]] == ["cell-1"]
    (server.root / "enough").touch()
    await flood.idle(seconds=120)
    # The queue is told at once; text follows when the link has taken what was sent before.
    await flood.until(lambda: last_line(flood.text("cell-1")) >= 1_000_000, "the last line")


async def test_an_open_notebook_reads_over_rest_as_a_closed_one(server: Server, open_document: OpenDocument) -> None:
    file = server.root / "a.ipynb"
    notebooks.write(file, "print('one')\nprint('two')")
    page = await open_document(server, "a.ipynb")
    await page.ran("cell-0")
    model = (await rest(server, "GET", "api/contents/a.ipynb")).json()
    (cell,) = model["content"]["cells"]
    # Text is one string, as jupyter_server gives it; files have lists of lines, and so have copies and downloads.
    assert cell["source"] == "print('one')\nprint('two')"
    assert cell["outputs"][0]["text"] == "one\ntwo\n"
    await page.operate("save")
    await rest(server, "POST", "api/contents", json={"copy_from": "a.ipynb"})
    assert (server.root / "a-Copy1.ipynb").read_bytes() == file.read_bytes() == await get(server, "files/a.ipynb?download=1")
