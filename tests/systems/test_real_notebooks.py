"""Every notebook of HOMEPORT_NOTEBOOKS: it opens, and "Run all" gives what nbclient gives, with nobody looking."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from harness import notebooks
from harness.browser import OpenPage
from harness.notebook_page import NotebookPage
from harness.server import MakeServer

FOLDER = Path(os.environ.get("HOMEPORT_NOTEBOOKS") or "/nonexistent")
NAMES = sorted(path.name for path in FOLDER.glob("*.ipynb")) or ["none"]
MOST = 600.0
"""Seconds for one notebook: two of the well-known ones compute for four minutes."""
UNSTEADY = {"Countdown.ipynb"}
"""It goes through sets of functions. Those are hashed by their addresses, so every process finds other expressions of the same value."""

pytestmark = [pytest.mark.needs("real-notebooks", "chromium"), pytest.mark.timeout(3 * MOST)]


# Some show pictures of the web, which tests do not reach, or of files that do not lie beside them here.
@pytest.mark.expect_console(r"Failed to load resource: .*\((https?://(?!127\.0\.0\.1)|http://127\.0\.0\.1:\d+/files/)")
@pytest.mark.parametrize("name", NAMES)
async def test_run_all_gives_what_nbclient_gives(name: str, make_server: MakeServer, open_page: OpenPage, tmp_path: Path) -> None:
    server = make_server(environment={"PYTHONHASHSEED": "0"})
    shutil.copyfile(FOLDER / name, server.root / name)
    await server.start()
    page = await NotebookPage(await open_page(server, f"notebooks/{name}")).loaded()
    await page.press("Run all cells")
    await page.state(waiting="0")
    await page.page.close()
    elsewhere = tmp_path / "nbclient"
    elsewhere.mkdir()
    # Both compute at the same time, on a core each.
    reference = await asyncio.to_thread(notebooks.nbclient_run, FOLDER / name, elsewhere, seconds=MOST)
    ours = await notebooks.finished_on_disk(server.root / name, MOST)
    if name in UNSTEADY:
        problems = notebooks.differences(ours, reference, unsteady=True)
        assert not problems, "\n".join(problems)
    elif notebooks.differences(ours, reference):
        again = await asyncio.to_thread(notebooks.nbclient_run, FOLDER / name, elsewhere, seconds=MOST)
        problems = notebooks.differences(ours, reference, again)
        assert not problems, "\n".join(problems)
