"""The state's database gives back what it does not need any more, also while it is in use."""

from __future__ import annotations

from pathlib import Path

from homeport.documents.log import Chunk, Commit, Drop, Log


async def test_free_pages_are_given_back_while_a_document_is_open(home: Path) -> None:
    log = Log(home / "state.db")
    assert await log.open() is None
    row = await log.document("/a.ipynb", "a", "epoch")
    for number in range(40):
        log.append(Commit(row.id, chunks=[Chunk("stream", number, b"x" * 100_000)]))
    await log.committed()
    grown = await log.call(lambda db: db.execute("PRAGMA page_count").fetchone()[0])
    log.append(Commit(row.id, chunks=[Drop("stream")]))
    log.append(Commit(row.id, update=b"all of it", snapshot=True))
    await log.committed()
    free, pages = await log.call(lambda db: [db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_count")])
    await log.close()
    assert free == 0
    assert pages < grown / 10
