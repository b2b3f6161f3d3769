"""The table of options: complete, without doubles, and readable from every source."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from homeport.option_values import read_base_url, read_duration, read_folder, read_ip, read_names, read_size, read_yes_no, show_duration
from homeport.options import GROUPS, BadOption, Layer, Settings, environment_layers, options, resolve


def test_every_field_of_settings_is_a_row() -> None:
    names = {field.name for field in dataclasses.fields(Settings)} - {"sources"}
    assert {option.name for option in options()} == names


def test_every_row_has_help_a_group_and_a_flag() -> None:
    for option in options():
        assert option.help, option.name
        assert not option.help.endswith("."), option.name
        assert option.group in GROUPS, option.name
        assert option.flags or option.off_flags or option.is_secret, option.name
        assert option.is_switch or option.metavar, option.name


def test_flags_and_config_keys_are_unique() -> None:
    flags = [flag for option in options() for flag in option.flags + option.off_flags]
    assert len(flags) == len(set(flags))
    keys = [key for option in options() for key in option.config_keys]
    assert len(keys) == len(set(keys))


def test_every_default_is_what_its_own_reader_gives() -> None:
    for option in options():
        if option.default is not None and option.name != "root_dir":
            assert option.read(option.default) == option.default, option.name


def test_defaults() -> None:
    settings = resolve([])
    assert (settings.ip, settings.port, settings.base_url, settings.on_stop) == ("127.0.0.1", 8888, "/", "auto")
    assert settings.root_dir == Path.cwd()
    assert not settings.given("root_dir")
    assert settings.port_tries == 51


def test_the_last_layer_wins_and_is_named() -> None:
    settings = resolve([Layer("a file", {"port": 1, "ip": "*"}), Layer("command line", {"port": "9999"})])
    assert settings.port == 9999
    assert settings.ip == ""
    assert settings.sources == {"port": "command line", "ip": "a file"}
    assert settings.port_tries == 1


def test_retries_that_were_asked_for_hold_for_a_port_that_was_asked_for() -> None:
    assert resolve([Layer("x", {"port": 1, "port_retries": 3})]).port_tries == 4


def test_environment_is_read_and_the_own_variable_is_stronger() -> None:
    settings = resolve(environment_layers({"JUPYTER_TOKEN": "a", "HOMEPORT_TOKEN": "b", "JUPYTER_PORT": "9"}))
    assert settings.token == "b"
    assert settings.port == 9
    assert settings.sources["token"] == "environment variable HOMEPORT_TOKEN"


def test_a_bad_value_is_named_with_its_source() -> None:
    with pytest.raises(BadOption) as caught:
        resolve([Layer("command line", {"port": "70000"})])
    assert "--port" in caught.value.message
    assert "70000" in caught.value.message
    assert "command line" in caught.value.message


def test_a_bad_secret_is_not_repeated() -> None:
    with pytest.raises(BadOption) as caught:
        resolve([Layer("command line", {"token": 12345678})])
    assert "12345678" not in caught.value.message


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("90", 90.0),
        (90, 90.0),
        ("30min", 1800.0),
        ("2h", 7200.0),
        ("1h30m", 5400.0),
        ("1.5d", 129600.0),
        ("off", None),
        ("0", None),
        (None, None),
    ],
)
def test_durations(given: object, seconds: float | None) -> None:
    assert read_duration(given) == seconds
    if seconds is not None:
        assert read_duration(show_duration(seconds)) == seconds


def test_durations_are_shown_as_one_types_them() -> None:
    assert [show_duration(seconds) for seconds in (604800.0, 7200.0, 90.0, 129600.0)] == ["7d", "2h", "90s", "36h"]


@pytest.mark.parametrize(
    ("given", "size"), [("500", 500), (500, 500), ("64k", 65536), ("10M", 10 << 20), ("10 MiB", 10 << 20), ("1.5GB", 3 << 29)]
)
def test_sizes(given: object, size: int) -> None:
    assert read_size(given) == size


@pytest.mark.parametrize(
    ("given", "path"), [("", "/"), ("/", "/"), ("ipython", "/ipython/"), ("/a//b", "/a/b/"), ("/user/me@x.org/", "/user/me@x.org/")]
)
def test_base_urls(given: str, path: str) -> None:
    assert read_base_url(given) == path


@pytest.mark.parametrize("given", ["/a b", "http://x?y", "/../x", 3])
def test_bad_base_urls(given: object) -> None:
    with pytest.raises(ValueError, match="wanted"):
        read_base_url(given)


@pytest.mark.parametrize("given", ["2 parsecs", "h", "-1", "1h x", True])
def test_bad_durations(given: object) -> None:
    with pytest.raises(ValueError, match="wanted"):
        read_duration(given)


def test_paths_are_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    monkeypatch.setenv("USER", "ann")
    assert read_folder("~/x") == Path("/somewhere/x")
    assert read_folder("/home/$USER") == Path("/home/ann")
    with pytest.raises(ValueError, match="NUL"):
        read_folder("a\0b")


def test_lists_and_yes_no_and_addresses() -> None:
    assert read_names("a, b,") == ("a", "b")
    assert read_names(["a"]) == ("a",)
    assert read_yes_no("Off") is False
    assert read_yes_no(True) is True
    assert read_ip("*") == ""
    with pytest.raises(ValueError, match="wanted"):
        read_yes_no("perhaps")
