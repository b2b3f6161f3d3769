"""core/comms.py: what is open, what it holds, and what an Output widget captures."""

from __future__ import annotations

from typing import Any

from homeport.core.comms import CAPTURED, MOST_CAPTURED, Comms, widget_models


def opened(comms: Comms, comm_id: str, buffers: list[bytes] | None = None, paths: list[list[str]] | None = None, **state: Any) -> None:
    data = {"state": state, "buffer_paths": paths or []}
    comms.handle("comm_open", {"comm_id": comm_id, "target_name": "jupyter.widget", "data": data}, buffers or [])


def changed(comms: Comms, comm_id: str, buffers: list[bytes] | None = None, paths: list[list[str]] | None = None, **state: Any) -> None:
    data = {"method": "update", "state": state, "buffer_paths": paths or []}
    comms.handle("comm_msg", {"comm_id": comm_id, "data": data}, buffers or [])


def test_what_changed_is_taken_once() -> None:
    comms = Comms()
    opened(comms, "a", [b"1"], [["value"]], width=1, value=None)
    opened(comms, "b")
    assert [*comms.take()] == ["a", "b"]
    assert comms.take() == {}
    changed(comms, "a", width=2)
    changed(comms, "unknown", width=2)
    comms.handle("comm_close", {"comm_id": "b"}, [])
    comms.handle("comm_close", {"comm_id": "unknown"}, [])
    taken = comms.take()
    assert taken["b"] is None
    assert [*taken] == ["a", "b"]
    [a] = comms
    assert (a.state["width"], a.buffers) == (2, {("value",): b"1"})
    changed(comms, "a", value=None)
    assert a.buffers == {}
    comms.clear()
    assert comms.take() == {"a": None}


def test_output_widgets_capture_what_their_request_puts_out() -> None:
    comms = Comms()
    opened(comms, "o", _model_name="OutputModel", _model_module="@jupyter-widgets/output", msg_id="", outputs=())
    opened(comms, "no", _model_name="IntSliderModel", _model_module="@jupyter-widgets/controls", msg_id="m")
    assert comms.capturing("") == []
    assert comms.capturing("m") == []
    changed(comms, "o", msg_id="m")
    [output] = comms.capturing("m")
    for text in ("a", "b"):
        comms.capture(output, {"output_type": "stream", "name": "stdout", "text": text})
    comms.capture(output, {"output_type": "stream", "name": "stderr", "text": "c"})
    assert [(each["name"], each["text"]) for each in output.state["outputs"]] == [("stdout", "ab"), ("stderr", "c")]
    comms.capture(output, None, wait=True)
    assert len(output.state["outputs"]) == 2
    comms.capture(output, {"output_type": "stream", "name": "stderr", "text": "d"})
    assert [each["text"] for each in output.state["outputs"]] == ["d"]
    comms.capture(output, None)
    assert output.state["outputs"] == []
    changed(comms, "o", msg_id="")
    assert comms.capturing("m") == []


def test_an_output_widget_keeps_what_is_newest() -> None:
    comms = Comms()
    opened(comms, "o", _model_name="OutputModel", _model_module="@jupyter-widgets/output", msg_id="m")
    [output] = comms.capturing("m")
    comms.capture(output, {"output_type": "display_data", "data": {"text/plain": "early"}})
    for number in range(40):
        comms.capture(output, {"output_type": "stream", "name": "stdout", "text": f"{number} " + "x" * 50_000 + "\n"})
    [text] = output.state["outputs"]
    assert CAPTURED - 100 <= len(text["text"]) <= CAPTURED
    assert text["text"].endswith("39 " + "x" * 50_000 + "\n")
    picture = {"output_type": "display_data", "data": {"image/png": "y" * 2 * CAPTURED}}
    comms.capture(output, picture)
    assert output.state["outputs"] == [picture]
    for number in range(2 * MOST_CAPTURED):
        comms.capture(output, {"output_type": "display_data", "data": {"text/plain": str(number)}})
    assert len(output.state["outputs"]) == MOST_CAPTURED
    assert output.state["outputs"][-1]["data"] == {"text/plain": str(2 * MOST_CAPTURED - 1)}


def test_only_widgets_are_in_the_state_of_widgets() -> None:
    comms = Comms()
    comms.handle("comm_open", {"comm_id": "mine", "target_name": "my.target", "data": {"state": {"x": 1}}}, [])
    opened(comms, "w", [b"\xff"], [["value"]], _model_name="ImageModel", _model_module="m", _model_module_version="2")
    model = {
        "model_name": "ImageModel",
        "model_module": "m",
        "model_module_version": "2",
        "state": {"_model_name": "ImageModel", "_model_module": "m", "_model_module_version": "2"},
        "buffers": [{"encoding": "base64", "path": ["value"], "data": "/w=="}],
    }
    assert dict(widget_models(comms)) == {"w": model}
