"""What may listen where: refusals, warnings, ``--public`` and ``homeport cert``."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from homeport.auth.addresses import machine_names, reachable_names
from homeport.auth.passwords import hash_password
from homeport.commands import cert
from homeport.commands.command_line import read_command_line
from homeport.commands.listening import as_public, check_exposure
from homeport.commands.names import NOTEBOOK
from homeport.core.forwarded import networks
from homeport.errors import Forbidden
from homeport.options import Settings
from homeport.web.gate import Rules, check_peer


def settings_of(*arguments: str) -> Settings:
    return read_command_line(arguments).settings


@pytest.mark.parametrize("ip", ["127.0.0.1", "localhost", "::1"])
def test_loopback_needs_nothing(ip: str) -> None:
    assert check_exposure(settings_of(f"--ip={ip}", "--token=")) == ()


@pytest.mark.parametrize("ip", ["*", "0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_beyond_loopback_something_has_to_be_asked_for_and_to_encrypt(ip: str, tmp_path: Path) -> None:
    with pytest.raises(Forbidden, match="without a password or a token"):
        check_exposure(settings_of(f"--ip={ip}", "--token=", "--insecure"))
    with pytest.raises(Forbidden, match=r"--public .* --certfile=FILE .* --trusted-proxies=ADDRESS .* SSH tunnel .* --insecure"):
        check_exposure(settings_of(f"--ip={ip}"))
    assert check_exposure(settings_of(f"--ip={ip}", f"--certfile={tmp_path}")) == ()
    assert "everybody on the way" in check_exposure(settings_of(f"--ip={ip}", "--insecure"))[0]
    assert "only they encrypt" in check_exposure(settings_of(f"--ip={ip}", "--trusted-proxies=10.0.0.0/8"))[0]


def test_under_the_guides_names_a_public_address_is_warned_about() -> None:
    settings = read_command_line(["--ip=0.0.0.0"], NOTEBOOK).settings
    assert "without TLS" in check_exposure(settings)[0]


def test_public_listens_everywhere_and_asks_for_a_password_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def ask() -> Path:
        asked.append("password")
        file = home / "jupyter" / "jupyter_notebook_config.json"
        file.parent.mkdir()
        file.write_text(json.dumps({"NotebookApp": {"password": hash_password("geheim")}}))
        return file

    settings = as_public(settings_of("--public"), ask)
    assert settings.ip == ""
    assert settings.password.startswith("argon2:")
    assert check_exposure(settings) == ()
    again = as_public(settings_of("--public"), ask)
    assert again.password == settings.password
    assert asked == ["password"]
    assert as_public(settings_of("--public", "--ip=10.0.0.5"), ask).ip == "10.0.0.5"


def test_public_without_a_terminal_takes_a_hash_from_a_variable(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Forbidden, match="HOMEPORT_PASSWORD_HASH"):
        as_public(settings_of("--public"), None)
    with pytest.raises(Forbidden, match="HOMEPORT_PASSWORD_HASH"):
        as_public(settings_of("--public", "--token="), None)
    monkeypatch.setenv("HOMEPORT_PASSWORD_HASH", hash_password("geheim"))
    assert as_public(settings_of("--public"), None).password


def test_cert_shows_the_fingerprint_and_how_to_trust_it(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cert.run(["--names=nb.example.org,203.0.113.5"]) == 0
    text = capsys.readouterr().out
    assert "nb.example.org, 203.0.113.5, " in text
    assert text.count("Its fingerprint (SHA-256)") == 2
    for platform in ("Debian, Ubuntu", "Fedora", "Firefox", "macOS", "Windows", "iPhone", "Android"):
        assert platform in text
    assert cert.run([]) == 0
    assert "nb.example.org" in capsys.readouterr().out, "without names it shows the one there is"
    assert cert.run(["--print"]) == 0
    assert capsys.readouterr().out.startswith("-----BEGIN CERTIFICATE-----")


def test_names() -> None:
    assert machine_names(("nb.example.org", "localhost")) == ["nb.example.org", "localhost", "127.0.0.1", "::1"]
    assert machine_names(()).count("localhost") == 1
    assert reachable_names("127.0.0.1", (), ()) == ["localhost"]
    assert reachable_names("", ("a", "b"), ("c",)) == ["a", "b"]
    assert reachable_names("", (), ("*.example.org", "localhost", "nb.example.org", "x"))[0] == "nb.example.org"
    assert reachable_names("10.0.0.5", (), ()) == ["10.0.0.5"]


@pytest.mark.parametrize(
    ("peer", "let"), [("127.0.0.1", True), ("::1", True), ("", True), ("10.1.2.3", True), ("11.1.2.3", False), ("x", False)]
)
def test_where_a_proxy_is_what_encrypts_nobody_comes_past_it(peer: str, let: bool) -> None:
    rules = Rules(None, settings_of(), False, networks(["10.0.0.0/8"]), proxies_only=True)  # type: ignore[arg-type]
    with contextlib.nullcontext() if let else pytest.raises(Forbidden, match="through its proxy only"):
        check_peer(peer, rules)
