"""After a day's work on a notebook its store is small, what is not referred to is collected, and it opens like a fresh one."""

from __future__ import annotations

import json
import shutil
import signal
import statistics
import time
from pathlib import Path
from typing import Any

from harness import notebooks
from harness.document_client import DocumentClient, OpenDocument
from harness.faults import LONG, Count, RecordFault, Story
from harness.rest import rest
from harness.server import MakeServer, Server
from homeport.documents.blob_sweep import sweep
from homeport.documents.blobs import Blobs
from homeport.documents.save_history import SaveHistory

EDITS, RUNS = (10_000, 1_000) if LONG else (1_000, 60)
CELLS = 8
PICTURE = """\
import base64, os
from IPython.display import display
display({"image/png": base64.b64encode(os.urandom(100_000)).decode()}, raw=True)
for number in range(100): print(f"{number:05} " + "x" * 700)
"""
"""Some 200 kB of outputs, other ones each time."""
TEXT = "## Notes\n" + "Everything that was found on that day.\n" * 40
GRACE = 3600.0


def size_of(*places: Path) -> int:
    files = [file for place in places for file in (place.rglob("*") if place.is_dir() else [place])]
    return sum(file.stat().st_size for file in files if file.is_file())


class Store:
    """What a server keeps of its notebooks, while it is not running."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "state" / "homeport"
        self.blobs = Blobs(self.folder / "blobs")
        self.history = SaveHistory(self.folder / "history", self.blobs, count=3, size=10**9)

    def collect(self) -> int:
        """Sweep as a server does, with the grace period over; returns how many blobs went."""
        file, now = self.folder / "state.db", time.time()
        return sum(sweep(file, self.blobs, kept=self.history.blobs_referred_to, grace=GRACE, now=at) for at in (now, now + 2 * GRACE))

    @property
    def kept_history(self) -> int:
        """Bytes of kept states, with their blobs."""
        return size_of(self.folder / "history", *(self.blobs.file(name) for name in self.history.blobs_referred_to()))

    @property
    def size(self) -> int:
        """Bytes of the database and the blobs."""
        return size_of(*self.folder.glob("state.db*"), self.folder / "blobs", self.folder / "history")


async def a_day(page: DocumentClient, story: Story) -> None:
    """Edit and run, in turns."""
    edits = 0
    for run in range(RUNS):
        await page.run(f"cell-{run % CELLS}")
        while edits * RUNS < EDITS * (run + 1):
            edit(page, story)
            edits += 1
        await page.committed()
        await page.idle()
    story.say(f"{edits} edits, {RUNS} runs")


def edit(page: DocumentClient, story: Story) -> None:
    """Type or delete a little somewhere in the notes; now and then move a cell."""
    draw = story.random.random()
    cell = page.cell(f"cell-{story.random.randrange(CELLS, 2 * CELLS)}")
    source = cell["source"]
    place = story.random.randrange(len(source))
    if draw < 0.01:
        page.move(cell["id"], story.random.randrange(len(page.cells)))
    elif draw < 0.4 and len(source) > 200:
        del source[place : min(len(source), place + 3)]
    else:
        source.insert(place, story.random.choice(("a", "word ", "\n")))


def pictures(notebook: dict[str, Any]) -> list[str]:
    return [output["data"]["image/png"] for cell in notebook["cells"] for output in cell.get("outputs", []) if "data" in output]


async def seconds_to_open(server: Server, path: str, open_document: OpenDocument) -> float:
    began = time.perf_counter()
    page = await open_document(server, path)
    seconds = time.perf_counter() - began
    await page.close()
    return seconds


async def test_a_days_work(home: Path, make_server: MakeServer, open_document: OpenDocument, record_fault: RecordFault) -> None:
    server = make_server(options=("--history-count=3",))
    await server.start()
    story = Story(f"{EDITS} edits, {RUNS} runs, {RUNS * 0.2:.0f} MB of outputs")
    file = server.root / "day.ipynb"
    notebooks.write(file, *[PICTURE] * CELLS, *[("markdown", TEXT)] * CELLS)
    page = await open_document(server, "day.ipynb")
    await a_day(page, story)
    await page.operate("save")
    wanted = notebooks.read(file)
    assert len(pictures(wanted)) == CELLS

    # A crash, and a collection before anybody has opened the notebook again: everything that it shows is there.
    await page.close()
    await server.kill()
    store = Store(home)
    story.say(f"before: notebook {file.stat().st_size:,} bytes, store {store.size:,}, of it history {store.kept_history:,}")
    gone = store.collect()
    story.say(f"{gone} blobs were collected")
    await server.start()
    page = await open_document(server, "day.ipynb")
    model = (await rest(server, "GET", "api/contents/day.ipynb")).json()["content"]
    expected = [f"{place} {picture[:40]}" for place, picture in enumerate(pictures(wanted))]
    found = [f"{place} {picture.rstrip()[:40]}" for place, picture in enumerate(pictures(model))]
    counts = Count.of_items([f"{place} {picture[:40]}" for place, picture in enumerate(pictures(notebooks.read(file)))], expected)
    record_fault("compaction", f"{EDITS:,} edits, {RUNS:,} runs, then killed", disk=counts, page=Count.of_items(found, expected))
    assert counts.whole
    assert found == expected
    assert [picture.rstrip() for picture in pictures(model)] == [picture.rstrip() for picture in pictures(wanted)]
    for entry in (await rest(server, "GET", "api/history/day.ipynb")).json():
        kept = (await rest(server, "GET", f"api/history/day.ipynb/versions/{entry['id']}")).json()
        assert len(json.dumps(kept)) > entry["size"] * 0.8

    await page.close()
    await server.kill(signal.SIGTERM)
    story.say(f"{store.collect()} more blobs were collected")
    there = len([*(store.folder / "blobs").glob("??/*")])
    assert there <= 2 * CELLS + len(store.history.blobs_referred_to()), "nothing that nobody refers to is left"
    size, history = store.size, store.kept_history
    story.say(f"after: notebook {file.stat().st_size:,} bytes, store {size:,}, of it history {history:,}")
    assert size <= 3 * file.stat().st_size + history

    # Opening: from what the store has, and the same file under another name, each with a server that has just started.
    times: dict[str, list[float]] = {"day.ipynb": [], "fresh": []}
    for number in range(5):
        fresh = f"fresh-{number}.ipynb"
        shutil.copyfile(file, server.root / fresh)
        notebooks.write(server.root / f"first-{number}.ipynb", "x = 1")
        await server.start()
        await seconds_to_open(server, f"first-{number}.ipynb", open_document)
        for name in ("day.ipynb", fresh) if number % 2 else (fresh, "day.ipynb"):
            times[name if name == "day.ipynb" else "fresh"].append(await seconds_to_open(server, name, open_document))
        await server.kill(signal.SIGTERM)
    worked, new = (statistics.median(each) for each in times.values())
    story.say(f"opening: {worked * 1000:.0f} ms after the work, {new * 1000:.0f} ms fresh")
    assert worked <= new * 1.2 + 0.05
