"""Small parts of the command line: runtime files of servers, the browser, the welcoming notebook, the log, the table of kernels."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import webbrowser
from pathlib import Path

import nbformat
import pytest

from homeport.commands import browser, kernels, question, welcome
from homeport.commands.list import run as run_list
from homeport.commands.listening import who_is_there
from homeport.commands.log import OneLine
from homeport.commands.running import RunningServer, running_servers
from homeport.commands.stop import choose
from homeport.errors import BadRequest, Conflict, NotFound


def write_server(runtime: Path, pid: int, port: int, **more: object) -> Path:
    file = runtime / f"jpserver-{pid}.json"
    url = f"http://localhost:{port}/"
    file.write_text(json.dumps({"pid": pid, "port": port, "url": url, "token": "abc", "root_dir": "/x", "homeport": "0.1.0", **more}))
    return file


@pytest.fixture
def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_running_servers_are_found_and_stale_files_go(tmp_path: Path, dead_pid: int) -> None:
    mine = write_server(tmp_path, os.getpid(), 9001)
    stale = write_server(tmp_path, dead_pid, 9000)
    page = tmp_path / f"jpserver-{dead_pid}-open.html"
    page.touch()
    broken = tmp_path / "jpserver-1.json"
    broken.write_text("{")
    found = running_servers(tmp_path)
    assert [(server.port, server.link, server.is_homeport) for server in found] == [(9001, "http://localhost:9001/?token=abc", True)]
    assert mine.exists()
    assert not stale.exists()
    assert not page.exists()
    assert broken.exists()


def test_a_process_that_got_the_number_of_a_dead_server_is_not_a_server(tmp_path: Path) -> None:
    file = write_server(tmp_path, os.getpid(), 9001)
    os.utime(file, (1, 1))  # written long before this process was started
    assert running_servers(tmp_path) == []
    assert not file.exists()


def test_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    assert run_list([]) == 0
    assert "No server is running" in capsys.readouterr().out
    write_server(tmp_path, os.getpid(), 9001)
    run_list([])
    assert capsys.readouterr().out == "http://localhost:9001/?token=abc  ::  /x\n"
    run_list(["--json"])
    assert json.loads(capsys.readouterr().out)["port"] == 9001
    run_list(["--jsonlist"])
    assert [each["port"] for each in json.loads(capsys.readouterr().out)] == [9001]


@pytest.mark.parametrize(
    ("port", "facts", "let_in", "words"),
    [
        (9001, {}, True, "Your own Homeport serves /x there:\n    http://localhost:9001/?token=abc\n'homeport stop 9001' stops it."),
        (9001, {}, False, "Your own Homeport serves /x there:\n    http://localhost:9001/   ('homeport list' shows the link"),
        (9001, {"token": ""}, False, "Your own Homeport serves /x there:\n    http://localhost:9001/\n"),
        (9001, {"homeport": ""}, True, "Your own Jupyter server serves /x there:\n    http://localhost:9001/?token=abc\n"),
        (9002, {}, True, ""),
    ],
)
def test_who_has_a_port(tmp_path: Path, port: int, facts: dict[str, str], let_in: bool, words: str) -> None:
    write_server(tmp_path, os.getpid(), port, **facts)
    said = who_is_there(9001, running_servers(tmp_path), let_in=let_in)
    assert said.startswith(words)
    assert bool(said) == bool(words)


def server(port: int) -> RunningServer:
    return RunningServer(pid=port, port=port, url="", token="", root_dir="", facts={})


def test_which_server_is_meant() -> None:
    assert choose([server(1)], None).port == 1
    assert choose([server(1), server(2)], 2).port == 2
    with pytest.raises(NotFound, match="No server is running"):
        choose([], None)
    with pytest.raises(NotFound, match="1, 2"):
        choose([server(1), server(2)], None)
    with pytest.raises(NotFound, match="there is one on 1"):
        choose([server(1)], 5)


@pytest.mark.parametrize(
    ("environment", "platform", "display"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ""}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "w"}, "linux", True),
        ({}, "darwin", True),
    ],
)
def test_display(environment: dict[str, str], platform: str, display: bool) -> None:
    assert browser.has_display(environment, platform) is display


@pytest.mark.parametrize("name", ["w3m", "/usr/bin/lynx", "www-browser"])
def test_a_text_browser_is_never_opened(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = webbrowser.GenericBrowser(name)
    monkeypatch.setattr(webbrowser, "get", lambda using=None: found)
    assert browser.find_browser("") is None


def test_the_token_is_not_on_the_browsers_command_line(tmp_path: Path) -> None:
    record = tmp_path / "record"
    opener = tmp_path / "open.html"
    opener.write_text("of before")
    command = f"{sys.executable} -c \"import sys; open('{record}', 'w').write(sys.argv[1])\" %s"
    assert browser.open_browser("http://localhost:1/?token=geheim&x=<y>", command, opener)
    assert record.read_text() == opener.as_uri()
    assert "http://localhost:1/?token=geheim&amp;x=&lt;y&gt;" in opener.read_text()
    assert opener.stat().st_mode & 0o777 == 0o600


def test_no_such_browser(tmp_path: Path) -> None:
    assert not browser.open_browser("http://localhost/", "no-such-browser", tmp_path / "open.html")


def test_the_welcoming_notebook_is_valid_and_is_not_written_over(tmp_path: Path) -> None:
    assert not welcome.has_notebook(tmp_path)
    path = welcome.put_welcome(tmp_path)
    nbformat.validate(nbformat.read(path, as_version=4))
    assert welcome.has_notebook(tmp_path)
    path.write_text("mine")
    with pytest.raises(Conflict):
        welcome.put_welcome(tmp_path)
    assert path.read_text() == "mine"


def test_a_notebook_in_a_folder_below_counts(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.ipynb").touch()
    assert welcome.has_notebook(tmp_path)


def test_the_offer_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = tmp_path / "state" / "refused"
    folder = tmp_path / "work"
    folder.mkdir()
    asked: list[str] = []
    monkeypatch.setattr(welcome, "can_ask", lambda: True)

    answers: list[bool | None] = [None, False, True]

    async def answer(place: Path) -> bool | None:
        asked.append(str(place))
        return answers.pop(0)

    monkeypatch.setattr(welcome, "ask_for_welcome", answer)
    assert welcome.offer_welcome(folder, memory=memory) is None  # no answer came: the question may be asked again
    assert welcome.offer_welcome(folder, memory=memory) is None
    assert welcome.offer_welcome(folder, memory=memory) is None
    assert len(asked) == 2
    memory.unlink()
    assert welcome.offer_welcome(folder, memory=memory) == folder / welcome.NAME


def test_no_offer_without_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(welcome, "can_ask", lambda: False)
    assert welcome.offer_welcome(tmp_path, memory=tmp_path / "refused") is None
    assert list(tmp_path.iterdir()) == []


def test_a_record_cannot_be_forged() -> None:
    record = logging.LogRecord("web", logging.INFO, "", 1, "GET %s", ("/x\r\n2030-01-01 00:00:00 INFO web: all is well",), None)
    assert len(OneLine().format(record).splitlines()) == 1


def test_kernels_stop_needs_to_know_which() -> None:
    with pytest.raises(BadRequest, match="Which kernels"):
        kernels.run(["stop"])
    with pytest.raises(BadRequest, match="--all"):
        kernels.run(["--all"])


def test_memory_counts_children() -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'x = b\"1\" * 80_000_000; print(1, flush=True); input()'])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert kernels.memory_of(process.pid) > 80_000_000
        process.communicate(b"\n")
    assert kernels.memory_of(process.pid) == 0


def test_shown_sizes_and_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert [kernels.show_memory(size) for size in (0, 310_000_000, 1_400_000_000)] == ["", "310 MB", "1.4 GB"]
    assert kernels.shorten_home("/home/ann/x.ipynb") == "~/x.ipynb"
    assert kernels.shorten_home("/home/anna/x.ipynb") == "/home/anna/x.ipynb"


@pytest.mark.parametrize(("typed", "wanted"), [(b"\n", True), (b"y\n", True), (b"no\n", False), (b"", None)])
async def test_enter_alone_is_yes_and_silence_is_no_answer(
    typed: bytes, wanted: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(question, "QUESTION_TIMEOUT", 10.0 if typed else 0.05)
    reading, writing = os.pipe()
    with os.fdopen(reading) as terminal, os.fdopen(writing, "wb") as person:
        monkeypatch.setattr("sys.stdin", terminal)
        person.write(typed)
        person.flush()
        assert await welcome.ask_for_welcome(tmp_path) is wanted
    assert ("homeport --welcome" in capsys.readouterr().out) is (wanted is None)
