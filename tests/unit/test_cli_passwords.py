"""``homeport passwd`` and ``homeport password``, as somebody types them."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from ptyprocess import PtyProcessUnicode

from homeport.auth.passwords import check_password, hash_password
from homeport.commands.command_line import read_command_line
from homeport.commands.password_files import read_password_file
from homeport.errors import HomeportError, NotFound


def on_terminal(word: str, *answers: str) -> tuple[str, int]:
    """What a command, or Python code, prints when somebody types ``answers``, and its exit status."""
    program = ["-c", word] if " " in word else ["-m", "homeport", word]
    process = PtyProcessUnicode.spawn([sys.executable, *program], env=dict(os.environ), dimensions=(24, 500))
    text = ""
    for answer in answers:
        while not text.endswith("password: "):
            text += process.read(1)
        process.waitnoecho()
        process.write(answer + "\n")
        text += process.read(1)
    while True:
        try:
            text += process.read(1000)
        except EOFError:
            break
    process.wait()
    return text.replace("\r\n", "\n"), process.exitstatus or 0


def from_pipe(word: str, given: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "homeport", word], input=given, capture_output=True, text=True, check=False)


def test_passwd_asks_twice_and_prints_the_hash() -> None:
    text, status = on_terminal("passwd", "geheim", "geheim")
    assert status == 0
    assert text.count("geheim") == 0
    assert text.splitlines()[:2] == ["Enter password: ", "Verify password: "]
    assert check_password(text.split()[-1], "geheim").right


def test_two_different_passwords_change_nothing(home: Path) -> None:
    text, status = on_terminal("password", "one", "two", "one", "three", "one", "four")
    assert status == 1
    assert "The two passwords differ. Once more:" in text
    assert "The two passwords differ; nothing was changed." in text
    assert not (home / "jupyter").exists()


def test_a_public_server_asks_again_for_a_password_that_is_too_short(home: Path) -> None:
    ask = "from homeport.commands.password import set_public_password; set_public_password()"
    text, status = on_terminal(ask, "short", "long enough", "not the same", "long enough", "long enough")
    assert status == 0
    assert "That is too short: 8 characters are the least. Once more:" in text
    assert "The two passwords differ. Once more:" in text
    written = json.loads((home / "jupyter" / "jupyter_notebook_config.json").read_text())
    assert check_password(written["NotebookApp"]["password"], "long enough").right


def test_password_writes_where_jupyter_does_and_says_so(home: Path) -> None:
    file = home / "jupyter" / "jupyter_notebook_config.json"
    file.parent.mkdir()
    file.write_text('{"NotebookApp": {"port": 9999}, "Other": {"x": 1}}')
    text, status = on_terminal("password", "geheim", "geheim")
    assert status == 0
    assert text.splitlines()[2:] == [f"[NotebookPasswordApp] Wrote hashed password to {file}"]
    content = json.loads(file.read_text())
    hashed = content["NotebookApp"].pop("password")
    assert content == {"NotebookApp": {"port": 9999}, "Other": {"x": 1}}
    assert check_password(hashed, "geheim").right
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    settings = read_command_line([]).settings
    assert (settings.password, settings.sources["password"]) == (hashed, str(file))


def test_a_program_gives_the_password_as_standard_input(home: Path) -> None:
    done = from_pipe("passwd", "geheim\n")
    assert check_password(done.stdout.strip(), "geheim").right
    refused = from_pipe("password", "\n")
    assert refused.returncode == 1
    assert "empty password" in refused.stderr


def test_a_stronger_password_elsewhere_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMEPORT_PASSWORD_HASH", hash_password("other"))
    done = from_pipe("password", "geheim\n")
    assert "does not count as long as another password is set: environment variable HOMEPORT_PASSWORD_HASH" in done.stdout


def test_a_password_in_the_place_of_its_hash_is_refused_and_not_shown(home: Path) -> None:
    (home / "jupyter").mkdir()
    (home / "jupyter" / "jupyter_notebook_config.py").write_text("c.NotebookApp.password = 'geheim'\n")
    done = subprocess.run([sys.executable, "-m", "homeport", "config"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "not the password itself" in done.stderr
    assert "geheim" not in done.stderr + done.stdout


def test_a_password_file(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, hashed = tmp_path / "secret", hash_password("geheim")
    file.write_text(f"\n{hashed}\n")
    settings = read_command_line([f"--password-file={file}"]).settings
    assert (settings.password, settings.sources["password"]) == (hashed, str(file))
    monkeypatch.setenv("HOMEPORT_PASSWORD_FILE", str(file))
    assert read_command_line([]).settings.password == hashed
    file.write_text("geheim")
    with pytest.raises(HomeportError, match="not the password itself"):
        read_password_file(file)
    with pytest.raises(NotFound, match="homeport passwd >"):
        read_password_file(tmp_path / "none")
