"""What is imported late is imported in a thread, and whoever opens a notebook meanwhile waits for it there, not on the event loop."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from homeport.documents import registry

begun, go_on = threading.Event(), threading.Event()


def test_a_module_that_another_thread_imports_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_to_import.py").write_text(f"import sys\nhere = sys.modules[{__name__!r}]\nhere.begun.set()\nhere.go_on.wait()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_LATE", ("slow_to_import",))
    monkeypatch.setattr(registry.gc, "freeze", lambda: None)
    import_late = registry._import_late  # pyright: ignore[reportPrivateUsage]
    done: list[int] = []
    threads = [threading.Thread(target=lambda n=n: (import_late(), done.append(n))) for n in range(2)]
    try:
        threads[0].start()
        assert begun.wait(10)
        threads[1].start()
        threads[1].join(0.2)
        assert threads[1].is_alive(), "its caller would import the half of it on the loop"
    finally:
        go_on.set()
        for thread in threads:
            thread.join(10)
        sys.modules.pop("slow_to_import", None)
    assert sorted(done) == [0, 1]
