"""Running cells against real kernels: every output type, the queue, inputs, and how kernels end."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio
from pycrdt import Array, Doc

from harness.desk import PATH, Desk, code
from harness.server import stop_supervisor
from homeport.core.output_buffer import STREAM_KEY
from homeport.documents import kept_comms
from homeport.documents.blobs import BLOB, Blobs, Inline
from homeport.documents.limits import Limits
from homeport.documents.peer import Peer
from homeport.documents.schema import new_cell
from homeport.errors import NotFound
from homeport.protocol.document import JSON
from homeport.protocol.supervisor import Truncated


@pytest_asyncio.fixture(autouse=True)
async def no_supervisor_left(home: object) -> AsyncIterator[None]:
    yield
    await stop_supervisor()


OUTPUTS = """
import sys
from IPython.display import display, clear_output, HTML
print("out"); print("err", file=sys.stderr); print("out again")
handle = display({"text/plain": "first"}, raw=True, display_id="d")
handle.update({"text/plain": "second"}, raw=True)
print("10%", end=""); sys.stdout.flush(); print("\\r20%", end=""); sys.stdout.flush(); print("\\r30%")
40 + 2
"""


PICTURES = """
import base64, os
from IPython.display import display
for number in range(3):
    print("before", number, flush=True)
    handle = display({"image/png": base64.b64encode(bytes([number]) * 100_000).decode()}, raw=True, display_id=True)
    print("behind", number, flush=True)
handle.update({"image/png": base64.b64encode(b"x" * 100_000).decode()}, raw=True)
"""


async def test_big_outputs_wait_for_a_slow_disk_and_nobody_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[threading.Thread] = set()
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    externalise = Blobs.externalise

    def slow(self: Blobs, output: Mapping[str, JSON], inline: Inline) -> dict[str, JSON]:
        threads.add(threading.current_thread())
        loop.call_soon_threadsafe(begun.set)
        time.sleep(0.2)
        return externalise(self, output, inline)

    monkeypatch.setattr(Blobs, "externalise", slow)
    async with Desk(code("a", PICTURES), code("b", PICTURES)) as desk:
        first = desk.run("a")
        await begun.wait()
        second = desk.run("b")
        await desk.room.committed()
        assert await desk.results([*first, *second]) == ["ok", "ok"]
        for cell in "ab":
            # What is finished is there: all of it, in its order.
            texts = [output.get("text") or output["data"][BLOB]["size"] for output in desk.outputs(cell)]
            expected = [word for number in range(3) for word in (f"before {number}\n", 100_000, f"behind {number}\n")]
            assert "".join(map(str, texts)) == "".join(map(str, expected))
            (name,) = {desk.outputs(cell)[-2]["data"][BLOB]["sha256"]}
            assert base64.b64decode(str(desk.blobs.value(name))) == b"x" * 100_000
        assert threads
        assert threading.current_thread() not in threads, "the loop waited for the disk"


NESTED = """
from IPython.display import display
value = "x" * 20_000
for _ in range(600):
    value = [value]
display({"application/json": value, "text/plain": "nested"}, raw=True)
print("behind")
"""


@pytest.mark.expect_log("An output cannot be kept")
async def test_an_output_that_cannot_be_kept_holds_up_no_other() -> None:
    async with Desk(code("a", NESTED), code("b", "print('next')")) as desk:
        assert await desk.done("a", "b") == ["ok", "ok"]
        assert desk.text("a") == "behind\n"
        assert "cannot be kept" in desk.outputs("a")[0]["data"]["text/plain"]
        assert desk.text("b") == "next\n"


async def test_every_output_type_and_what_jupyterlab_records() -> None:
    cells = [
        code("a", OUTPUTS),
        code("b", "from IPython.display import update_display\nupdate_display({'text/plain': 'third'}, raw=True, display_id='d')"),
        code("c", "1/0", tags=["raises-exception"]),
        code("d", "print('gone'); clear_output(wait=True); print('kept')"),
        code("e", "print('gone'); clear_output(); print('also kept')"),
        code("f", "len?"),
        code("g", "get_ipython().set_next_input('x = 1')"),
        {"id": "m", "cell_type": "markdown", "source": "# hi", "metadata": {}},
        code("n", "  \n"),
    ]
    async with Desk(*cells) as desk:
        assert await desk.done(*"abcdefgmn") == ["ok", "ok", "error", "ok", "ok", "ok", "ok", "ok", "ok"]
        a = desk.outputs("a")
        kinds = [(output["output_type"], output.get("name")) for output in a]
        streams = [output for output in a if output["output_type"] == "stream"]
        assert "".join(output["text"] for output in streams if output["name"] == "stdout").split("\n") == ["out", "out again", "30%", ""]
        assert "".join(output["text"] for output in streams if output["name"] == "stderr") == "err\n"
        assert all(one != other or one[0] != "stream" for one, other in itertools.pairwise(kinds))
        shown = next(output for output in a if output["output_type"] == "display_data")
        assert shown == {"output_type": "display_data", "data": {"text/plain": "third"}, "metadata": {}}
        assert a[-1] == {"output_type": "execute_result", "data": {"text/plain": "42"}, "metadata": {}, "execution_count": 1}
        error = desk.outputs("c")[0]
        assert (error["output_type"], error["ename"], error["evalue"]) == ("error", "ZeroDivisionError", "division by zero")
        assert "\x1b[" in error["traceback"][0]
        assert [output["text"] for output in desk.outputs("d")] == ["kept\n"]
        assert [output["text"] for output in desk.outputs("e")] == ["also kept\n"]
        assert "Return the number of items" in desk.outputs("f")[0]["data"]["text/plain"]
        ids = desk.room.cell_ids()
        assert desk.cell(ids[ids.index("g") + 1])["source"] == "x = 1"
        cell = desk.cell("a")
        assert (cell["execution_count"], cell["execution_state"]) == (1, "idle")
        assert sorted(cell["metadata"]["execution"]) == [
            "iopub.execute_input",
            "iopub.status.busy",
            "iopub.status.idle",
            "shell.execute_reply",
            "shell.execute_reply.started",
        ]
        assert all(date.endswith("Z") and date[10] == "T" for date in cell["metadata"]["execution"].values())
        assert desk.cell("n")["execution_count"] is None
        metadata: Any = desk.room.meta["metadata"].to_py()  # type: ignore[attr-defined]
        assert metadata["kernelspec"]["name"] == "python3"
        assert metadata["kernelspec"]["language"] == "python"
        assert metadata["language_info"]["file_extension"] == ".py"
        assert desk.room.state["queue"] == []
        await desk.until(lambda: desk.room.state["kernel"]["state"] == "idle")  # type: ignore[index,call-overload]


async def test_a_failure_stops_what_waits_unless_it_is_tolerated() -> None:
    cells = [code("a", "1/0"), code("b", "print('b')"), code("t", "1/0", tags=["raises-exception"])]
    async with Desk(*cells) as desk:
        assert await desk.done("a", "b") == ["error", "aborted"]
        assert desk.outputs("b") == []
        assert desk.cell("b")["execution_state"] == "idle"
        notice = {"key": "stopped", "level": "warning", "text": "Stopped at cell 1: ZeroDivisionError. 1 cell was not run."}
        assert desk.room.state["notices"] == [{**notice, "action": {"label": "Go to the cell", "cell": "a"}}]
        assert await desk.done("t", "b") == ["error", "ok"]
        assert desk.room.state["notices"] == []
        assert await desk.results(desk.run("a", "b", stop_on_error=False)) == ["error", "ok"]


async def test_the_queue_is_shown_and_can_be_cancelled_and_interrupted() -> None:
    cells = [code("a", "import time\nprint('on', flush=True)\ntime.sleep(60)"), code("b", "print('b')"), code("c", "print('c')")]
    async with Desk(*cells) as desk:
        a, b, c = desk.run("a", "b", "c")
        desk.runner.run([(a, "a"), (b, "b")])
        await desk.until(lambda: desk.text("a") == "on\n")
        queue: Any = desk.room.state["queue"]
        assert [(entry["run"], entry["cell"], entry["state"]) for entry in queue] == [
            (a, "a", "running"),
            (b, "b", "queued"),
            (c, "c", "queued"),
        ]
        assert [desk.cell(cell)["execution_state"] for cell in "abc"] == ["running", "queued", "queued"]
        desk.runner.cancel(b)
        assert await desk.results([b]) == ["cancelled"]
        await desk.runner.interrupt()
        assert await desk.results([a, c]) == ["error", "aborted"]
        assert desk.outputs("a")[-1]["ename"] == "KeyboardInterrupt"
        await desk.until(lambda: desk.room.state["notices"])
        notices: Any = desk.room.state["notices"]
        assert [notice["text"] for notice in notices] == ["Interrupted at cell 1. 1 cell was not run."]


async def test_a_kernel_that_is_not_installed_is_said_until_there_is_another() -> None:
    async with Desk(code("a", "print('on')"), kernel="lost") as desk:
        await desk.until(lambda: desk.room.state.get("notices"))
        notices: Any = desk.room.state["notices"]
        assert [notice["text"] for notice in notices] == [
            "The kernel 'lost', which this notebook wants, is not installed on this machine. Choose another to run it."
        ]
        # Another client starts one.
        await desk.sessions.create(path=desk.runner.path, name="x", kernel_name="python3")
        await desk.until(lambda: not desk.room.state["notices"])
        assert await desk.done("a") == ["ok"]


async def test_inputs_are_answered_once_and_interrupted() -> None:
    cells = [
        code("a", "import getpass\nname = input('Name: ')\nword = getpass.getpass('Word: ')\nprint(name, len(word))"),
        code("b", "input()"),
    ]
    async with Desk(*cells) as desk:
        (a,) = desk.run("a")
        await desk.until(lambda: desk.room.state.get("inputs"))
        asked: Any = desk.room.state["inputs"]
        assert [(one["cell"], one["prompt"], one["password"]) for one in asked] == [("a", "Name: ", False)]
        answers = await asyncio.gather(
            *(desk.runner.answer_input(asked[0]["request"], name) for name in ("Ada", "Grace")), return_exceptions=True
        )
        assert answers[0] is None
        assert isinstance(answers[1], NotFound)
        await desk.until(lambda: any(one["password"] for one in desk.room.state["inputs"]))  # type: ignore[union-attr,index,call-overload]
        asked = desk.room.state["inputs"]
        await desk.runner.answer_input(asked[0]["request"], "secret")
        assert await desk.results([a]) == ["ok"]
        assert desk.text("a") == "Name: Ada\nWord: ········\nAda 6\n"
        (b,) = desk.run("b")
        await desk.until(lambda: desk.room.state.get("inputs"))
        await desk.runner.interrupt()
        assert await desk.results([b]) == ["error"]
        assert desk.room.state["inputs"] == []


async def test_restart_and_run_all() -> None:
    cells = [code("a", "import time\nprint('x' in globals(), flush=True)\nx = 1\nif wait: time.sleep(60)"), code("w", "wait = True")]
    async with Desk(code("s", "wait = 'wait' in globals() and wait"), *cells) as desk:
        assert await desk.done("s", "a", "w") == ["ok"] * 3
        (a,) = desk.run("a")
        await desk.until(lambda: desk.text("a") == "True\n")
        b, c = desk.run("s", "w")
        await desk.runner.restart(run_all="asked once")
        await desk.runner.restart(run_all="asked once")
        interrupted, *waiting = await desk.results([a, b, c])
        assert interrupted in ("aborted", "error"), "whichever comes first: the reply of the cell that is interrupted, or the kernel's end"
        assert waiting == ["aborted"] * 2
        await desk.until(lambda: not desk.runner.busy and desk.cell("w")["execution_count"] == 3)
        assert desk.text("a") == "False\n"
        assert [output["output_type"] for output in desk.outputs("a")] == ["stream"]
        assert desk.room.state["kernel"]["generation"] == 2  # type: ignore[index,call-overload]


async def test_a_kernel_that_dies_says_why_and_stops_the_queue() -> None:
    dying = "import os, time\nprint('last words', flush=True)\nos.write(2, b'cannot go on\\n')\nwhile True: time.sleep(0.01)"
    async with Desk(code("a", dying), code("b", "print('b')")) as desk:
        done = asyncio.create_task(desk.done("a", "b"))
        # ZeroMQ sends in a thread of its own: what a process printed just before its end may die with it.
        await desk.until(lambda: bool(desk.outputs("a")))
        (running,) = desk.supervisor.kernels.values()
        os.kill(running.pid or 0, signal.SIGKILL)
        assert await done == ["error", "aborted"]
        stream, error = desk.outputs("a")
        assert stream["text"] == "last words\n"
        assert (error["output_type"], error["ename"]) == ("error", "KernelDied")
        assert "SIGKILL" in error["evalue"]
        assert "cannot go on" in error["traceback"]
        await desk.until(lambda: desk.room.state["kernel"]["state"] == "dead")  # type: ignore[index,call-overload]
        kernel: Any = desk.room.state["kernel"]
        assert "SIGKILL" in kernel["reason"]
        assert await desk.done("b") == ["ok"]
        assert desk.room.state["kernel"]["generation"] == 2  # type: ignore[index,call-overload]


COMMS = """
from comm import create_comm
small, large = (
    create_comm(target_name="test", data={"method": "update", "state": {"n": n}, "buffer_paths": [["b"]]}, buffers=[b"x" * size])
    for n, size in enumerate((1000, 300_000))
)
"""


@pytest.mark.expect_log("is not kept")
async def test_comms_that_are_too_large_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_comms, "LARGEST", 200_000)
    async with Desk(code("a", COMMS)) as desk:
        assert await desk.done("a") == ["ok"]
        await desk.until(lambda: [(comm.state["n"], len(comm.buffers["b",])) for comm in desk.runner.comms] == [(0, 1000)])


@pytest.mark.expect_log("not installed")
async def test_an_unknown_kernelspec_gives_a_choice() -> None:
    async with Desk(code("a", "print(1)"), kernel="lost") as desk:
        assert await desk.done("a") == ["aborted"]
        kernel: Any = desk.room.state["kernel"]
        assert kernel["state"] == "dead"
        assert "'lost'" in kernel["reason"]
        notices: Any = desk.room.state["notices"]
        assert notices[0]["action"]["op"] == "start_kernel"
        assert "python3" in [choice["name"] for choice in notices[0]["action"]["choices"]]
        await desk.runner.start_kernel("python3")
        assert await desk.done("a") == ["ok"]
        assert desk.room.state["notices"] == []
        assert desk.room.meta["metadata"].to_py()["kernelspec"]["name"] == "python3"  # type: ignore[attr-defined]


async def test_the_default_kernel_and_shutdown() -> None:
    async with Desk(code("a", "print(1)"), kernel=None) as desk:
        assert await desk.done("a") == ["ok"]
        await desk.runner.shutdown_kernel()
        await desk.until(lambda: not desk.supervisor.kernels)
        assert desk.room.state["kernel"] is None
        assert await desk.done("a") == ["ok"]


async def sealed(desk: Desk, cell_id: str) -> dict[str, Any]:
    """The entry of the cell's only output, a long stream, once its text is in the blob store."""
    await desk.until(lambda: "sha256" in desk.outputs(cell_id)[0][STREAM_KEY])
    (output,) = desk.outputs(cell_id)
    return output[STREAM_KEY]


async def test_a_flood_stays_small_and_is_kept() -> None:
    async with Desk(code("a", "for n in range(1_000_000): print(f'line {n}')")) as desk:
        (a,) = desk.run("a")
        await desk.until(lambda: desk.outputs("a") and STREAM_KEY in desk.outputs("a")[0])
        key = desk.outputs("a")[0][STREAM_KEY]["key"]
        assert (await desk.log.chunks(key)).startswith(b"line 0\nline 1\n")
        assert await desk.results([a], 60) == ["ok"]
        long = await sealed(desk, "a")
        text = desk.text("a")
        assert long["lines"] == 1_000_000
        assert len(text) < desk.limits.stream_head + desk.limits.stream_tail + 1000
        assert text.startswith("line 0\n")
        assert text.endswith("line 999999\n")
        whole: Any = desk.blobs.value(long["sha256"])
        kept, _, tail = whole.partition("[... ")
        assert len(kept) == desk.limits.stream
        assert kept.startswith("line 0\nline 1\n")
        assert "left out: limit of 10 MiB a cell, option --stream-limit ...]\n" in tail
        assert tail.endswith("line 999999\n")
        assert await desk.log.chunks(key) == b""


async def test_a_long_stream_is_kept_whole_and_goes_with_the_next_run() -> None:
    source = "import time\nfor n in range(20_000): print(n)\nif n: time.sleep(wait)"
    async with Desk(code("a", source), code("w", "wait = 0"), code("x", "wait = 60")) as desk:
        assert await desk.done("w", "a", "x") == ["ok"] * 3
        long = await sealed(desk, "a")
        assert desk.blobs.value(long["sha256"]) == "".join(f"{n}\n" for n in range(20_000))
        desk.run("a")
        await desk.until(lambda: "19999\n" in desk.text("a") and "key" in desk.outputs("a")[0][STREAM_KEY])
        key = desk.outputs("a")[0][STREAM_KEY]["key"]
        assert (await desk.log.chunks(key)).decode() == "".join(f"{n}\n" for n in range(20_000))
        await desk.runner.interrupt()
        await desk.until(lambda: not desk.runner.busy)
        assert await desk.done("w", "a") == ["ok", "ok"]
        await sealed(desk, "a")
        assert await desk.log.chunks(key) == b""


@pytest.mark.expect_log("The whole text of an output stays in the log for now")
async def test_a_defect_in_sealing_is_told_and_nobody_elses_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    source = "for n in range(20_000): print(n)"
    async with Desk(code("a", source), code("b", source)) as desk:
        put = desk.blobs.put

        def broken(*arguments: Any) -> Any:
            monkeypatch.setattr(desk.blobs, "put", put)
            raise ZeroDivisionError

        monkeypatch.setattr(desk.blobs, "put", broken)
        assert await desk.done("a", "b") == ["ok", "ok"]
        await sealed(desk, "b")
        assert "key" in desk.outputs("a")[0][STREAM_KEY]
        await desk.runner.close()


async def test_a_closed_notebook_looks_for_nothing_that_is_missing() -> None:
    async with Desk(code("a", "import time\ntime.sleep(600)")) as desk:
        desk.run("a")
        await desk.until(lambda: desk.cell("a")["execution_state"] == "running")
        desk.runner._on_gap(Truncated(1, 2, "a test"))  # pyright: ignore[reportPrivateUsage]
        timer = desk.runner._gap  # pyright: ignore[reportPrivateUsage]
        assert timer is not None
        assert not timer.cancelled()
        await desk.runner.close()
        assert timer.cancelled()


async def test_nobody_sees_what_a_page_may_not_do() -> None:
    async with Desk(code("a", "print('kept')"), *(code(f"c{number}", "") for number in range(150))) as desk:
        assert await desk.done("a") == ["ok"]
        page: Doc[Any] = Doc()
        page.apply_update(desk.room.snapshot())
        cells = page.get("cells", type=Array)
        before = page.get_state()
        with page.transaction():
            moved = [new_cell({**each.to_py(), "outputs": []}) for each in cells]
            del cells[:]
            cells.extend(moved)
        peer = Peer(desk.room, lambda frame: None, user="a", path=lambda: PATH, limit=1, longest=1, control=_nothing, stale=_nothing)
        desk.room.apply(peer, page.get_update(before))
        # In the same turn of the loop: many cells are looked through in the next one, unless somebody looks before.
        assert desk.text("a") == "kept\n"
        peer.close()


async def _nothing(*arguments: object) -> None: ...


async def test_a_thread_that_prints_after_a_long_stream() -> None:
    source = "import threading\nfor n in range(20_000): print(n)\nthreading.Timer(1, lambda: print('late')).start()"
    async with Desk(code("a", source)) as desk:
        assert await desk.done("a") == ["ok"]
        await sealed(desk, "a")
        await desk.until(lambda: len(desk.outputs("a")) == 3)
        assert "after the cell had ended" in desk.outputs("a")[1]["data"]["text/plain"]
        assert desk.outputs("a")[2]["text"] == "late\n"


async def test_many_and_large_rich_outputs() -> None:
    source = "for n in range(1500): display({'text/plain': str(n)}, raw=True)\ndisplay({'text/html': 'x' * 10_000}, raw=True)"
    async with Desk(code("a", source), limits=Limits(outputs=100)) as desk:
        assert await desk.done("a") == ["ok"]
        outputs = desk.outputs("a")
        assert len(outputs) == 100 + 1 + 24
        assert "1,377 outputs left out: limit of 100 a cell" in outputs[100]["data"]["text/plain"]
        assert outputs[-1]["data"][BLOB]["size"] == 10_000


async def test_other_clients_may_update_our_displays_and_nothing_else() -> None:
    from homeport.protocol import jupyter
    from homeport.protocol.execution import execute_request

    async with Desk(code("a", "from IPython.display import display\nh = display('old', display_id='d')")) as desk:
        assert await desk.done("a") == ["ok"]
        info = next(iter(desk.supervisor.kernels.values()))
        content = execute_request("print('noise'); h.update('new')", stop_on_error=True)
        parts = jupyter.make("execute_request", content, session="other", msg_id="other-1", date="2026-01-01T00:00:00Z")
        await desk.supervisor.submit(info.kernel_id, info.generation, "shell", parts)
        await desk.until(lambda: desk.outputs("a")[0]["data"]["text/plain"] == "'new'")
        assert len(desk.outputs("a")) == 1


async def test_output_of_a_thread_after_the_end() -> None:
    source = "import threading\nthreading.Timer(0.3, lambda: print('late')).start(); print('now')"
    async with Desk(code("a", source)) as desk:
        assert await desk.done("a") == ["ok"]
        assert desk.text("a") == "now\n"
        await desk.until(lambda: desk.text("a") == "now\nlate\n")


async def test_a_cell_that_is_deleted_or_moved_while_it_runs() -> None:
    source = "import time\nfor n in range(6):\n    print(n, flush=True); time.sleep(0.1)"
    async with Desk(code("a", source), code("b", source)) as desk:
        a, b = desk.run("a", "b")
        await desk.until(lambda: "1" in desk.text("a"))
        with desk.room.transaction("test"):
            del desk.room.cells[0]
        await desk.until(lambda: "1" in desk.text("b"))
        before = desk.cell("b")
        before["outputs"][0]["text"] = "0\n"
        from homeport.documents.schema import new_cell

        with desk.room.transaction("test"):
            del desk.room.cells[0]
            desk.room.cells.append(new_cell(before))
        assert await desk.results([a, b]) == ["ok", "ok"]
        assert desk.text("b") == "0\n1\n2\n3\n4\n5\n"


async def test_a_restart_of_the_server_keeps_questions_queue_and_state(home: object) -> None:
    cells = [code("a", "print('x\\r', end='', flush=True); v = input('? '); print('y')"), code("b", "print(v)")]
    async with Desk(*cells) as desk:
        a, b = desk.run("a", "b")
        await desk.until(lambda: desk.room.state.get("inputs"))
    async with Desk() as desk:
        asked: Any = desk.room.state["inputs"]
        assert [(one["cell"], one["prompt"]) for one in asked] == [("a", "? ")]
        assert desk.cell("b")["execution_state"] == "queued"
        await desk.runner.answer_input(asked[0]["request"], "42")
        assert await desk.results([a, b]) == ["ok", "ok"]
        assert desk.text("b") == "42\n"
        assert desk.text("a") == "? 42\ny\n"


async def test_a_kernel_that_dies_while_no_server_is_there() -> None:
    async with Desk(code("a", "import time; time.sleep(60)"), code("b", "1")) as desk:
        a, b = desk.run("a", "b")
        await desk.until(lambda: desk.room.state["kernel"] and desk.room.state["kernel"]["state"] == "busy")  # type: ignore[index,call-overload]
        (info,) = desk.supervisor.kernels.values()
    assert info.pid is not None
    os.kill(info.pid, signal.SIGKILL)
    async with Desk() as desk:
        assert await desk.results([a, b]) == ["error", "aborted"]
        assert desk.outputs("a")[0]["ename"] == "KernelDied"


async def test_a_kernel_that_is_nowhere_leaves_the_result_unknown() -> None:
    async with Desk(code("a", "import time; time.sleep(60)"), code("b", "1")) as desk:
        a, b = desk.run("a", "b")
        await desk.until(lambda: desk.room.state["kernel"] and desk.room.state["kernel"]["state"] == "busy")  # type: ignore[index,call-overload]
    await stop_supervisor()
    async with Desk() as desk:
        assert await desk.results([a, b]) == ["unknown", "aborted"]
        assert desk.outputs("a")[0]["ename"] == "ResultUnknown"
        assert await desk.done("b") == ["ok"]


@pytest.mark.expect_log("the queue was stopped")
async def test_an_error_of_the_server_stops_the_queue_and_not_what_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*arguments: object) -> None:
        raise RuntimeError("a defect")

    async with Desk(code("a", "print('a')"), code("b", "print('b')")) as desk:
        with monkeypatch.context() as patch:
            patch.setattr("homeport.documents.kernel_link.KernelLink.ensure", broken)
            assert await desk.done("a", "b") == ["aborted", "aborted"]
            assert [notice["key"] for notice in desk.room.state["notices"]] == ["runs"]
        assert await desk.done("b") == ["ok"]
        with monkeypatch.context() as patch:
            patch.setattr("homeport.documents.runner.Runner._send", broken)
            runs = desk.run("a", "b")
            assert await desk.results(runs[1:]) == ["aborted"]
        await desk.runner.restart()
        assert await desk.done("b") == ["ok"]
