"""``homeport service``: how words stand in a unit, what a unit takes along, and what is refused before anything is written."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from homeport.commands import service
from homeport.commands.command_line import read_command_line
from homeport.commands.unit_file import quoted, unit_text
from homeport.errors import BadRequest
from homeport.folders import Folders
from homeport.options import BadOption
from homeport.systemd import Notifier, scope


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("--port=8888", "--port=8888"),
        ("/home/jane/my work", '"/home/jane/my work"'),
        ("100%", "100%%"),
        ("$HOME", "$$HOME"),
        ('a "b" \\c', '"a \\"b\\" \\\\c"'),
        ("line\nline", '"line\\nline"'),
        (";", '";"'),
        ("", '""'),
        ("Größe", "Größe"),
    ],
)
def test_words_of_a_command(word: str, written: str) -> None:
    assert quoted(word, variables=True) == written


def test_a_unit_has_one_line_for_each_thing() -> None:
    text = unit_text(["/bin/homeport", "a b"], Path("/home/jane/50% done"), {"PATH": "/bin:/home/$x", "LANG": "C"})
    lines = text.splitlines()
    assert 'ExecStart=/bin/homeport "a b"' in lines
    assert "WorkingDirectory=/home/jane/50%% done" in lines
    assert "Environment=PATH=/bin:/home/$x" in lines, "there are no variables in variables"
    assert "Environment=LANG=C" in lines


@pytest.mark.parametrize("name", ["a\nExecStartPre=/bin/false", "ends with a blank "])
def test_a_folder_that_no_unit_can_name(name: str) -> None:
    with pytest.raises(BadRequest, match="from another one"):
        unit_text(["/bin/homeport"], Path("/home") / name, {})


def test_it_never_looks_for_another_port() -> None:
    words = ["--port=9000"]
    assert service.command(words, read_command_line(words)) == [
        *(sys.executable, "-P", "-m", "homeport", "--port=9000"),
        *("--no-browser", "--port-retries=0"),
    ]
    words = ["--port-retries=3"]
    assert service.command(words, read_command_line(words))[-1] == "--no-browser"


def test_secrets_of_the_shell_stay_there() -> None:
    environment = {
        "PATH": "/bin",
        "JUPYTER_TOKEN": "s",
        "HOMEPORT_PASSWORD_HASH": "h",
        "JUPYTER_PORT": "9000",
        "AWS_SECRET_ACCESS_KEY": "k",
    }
    assert service.carried(environment) == {"PATH": "/bin", "JUPYTER_PORT": "9000"}


@pytest.mark.parametrize("words", [["--daemon"], ["--generate-config"], ["--token=hidden"]])
def test_what_a_service_cannot_have(words: list[str]) -> None:
    with pytest.raises(BadOption) as refused:
        service.run(["install", *words])
    assert "hidden" not in refused.value.message


def test_a_secret_in_a_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_TOKEN", "hidden")
    with pytest.raises(BadOption, match="JUPYTER_TOKEN is this shell's") as refused:
        service.run(["install"])
    assert "hidden" not in refused.value.message


def test_a_mistyped_option_is_refused_at_once() -> None:
    with pytest.raises(BadOption, match="did you mean --port"):
        service.run(["install", "--prot=8888"])


def test_the_unit_lies_where_systemd_looks() -> None:
    assert service.unit_file({"XDG_CONFIG_HOME": "/c"}) == Path("/c/systemd/user/homeport.service")
    assert service.unit_file({"XDG_CONFIG_HOME": "relative"}) == Path.home() / ".config/systemd/user/homeport.service"


def test_whether_it_goes_on_after_a_logout_is_said() -> None:
    assert "starts with the machine" in service.about_linger(True, "jane")
    assert "loginctl enable-linger jane" in service.about_linger(False, "jane")


def test_word_to_the_service_manager_is_for_this_process_alone() -> None:
    environment = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid()), "PATH": "/bin"}
    notifier = Notifier.take(environment)
    assert notifier is not None
    assert notifier.watchdog == 30.0
    assert environment == {"PATH": "/bin"}
    assert Notifier.take(environment) is None
    somebody_elses = Notifier.take({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"})
    assert somebody_elses is not None
    assert somebody_elses.watchdog is None


@pytest.mark.needs("linux")
def test_an_abstract_socket(home: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(f"\0{home}")
        Notifier(f"@{home}").ready("Serves")
        assert line.recv(1000) == b"READY=1\nSTATUS=Serves"


def test_a_manager_that_is_gone_takes_nobody_along() -> None:
    Notifier("/nowhere/at/all").stopping("Leaves")


def test_without_a_systemd_of_this_user_nothing_changes() -> None:
    assert scope("homeport-supervisor", "…", environment=os.environ) == [], "XDG_RUNTIME_DIR is the test's own"


def test_sockets_never_lie_where_a_logout_removes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", os.environ["XDG_RUNTIME_DIR"] + "/jupyter")
    folders = Folders.from_environment()
    assert not folders.sockets.is_relative_to(os.environ["XDG_RUNTIME_DIR"])
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", f"/run/user/{os.getuid()}/jupyter")
    assert not Folders.from_environment().sockets.is_relative_to("/run")
