"""auth/: signed texts, tickets, logins, tokens and safe redirects."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.auth.access import Access
from homeport.auth.identity import Presented
from homeport.auth.logins import MOST, Logins
from homeport.auth.redirects import safe_next
from homeport.auth.signing import kept_text, sign, verify
from homeport.auth.tickets import check_ticket, make_ticket
from homeport.folders import Folders
from homeport.options import Settings
from homeport.write_behind import WriteBehind

NOW = 1_800_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(state=tmp_path / "state", config=tmp_path / "config", runtime=tmp_path / "run", sockets=tmp_path / "s")


def access_of(folders: Folders, *, token: str | None = None, clock: Clock | None = None, port: int = 8888) -> Access:
    access = Access(Settings(token=token, root_dir=folders.state.parent), folders, clock=clock or Clock())
    access.listening_on(port)
    return access


def log_in(access: Access) -> Presented:
    cookie = asyncio.run(access.log_in(access.token, agent="Firefox", address="1.2.3.4"))
    assert cookie is not None
    return Presented(None, cookie)


@given(st.text(), st.text(max_size=5))
def test_what_was_signed_is_read_and_nothing_else(payload: str, purpose: str) -> None:
    text = sign("secret", purpose, payload)
    assert verify("secret", purpose, text) == payload
    assert verify("other", purpose, text) is None
    assert verify("secret", purpose + "x", text) is None


@given(st.text(max_size=60))
def test_nobody_else_can_sign(text: str) -> None:
    assert verify("secret", "p", text) is None


@given(st.integers(0, 200), st.integers(0, 255))
def test_a_changed_ticket_is_refused(index: int, value: int) -> None:
    ticket = make_ticket("secret", "login", NOW)
    index %= len(ticket)
    changed = ticket[:index] + chr(value) + ticket[index + 1 :]
    assert changed == ticket or check_ticket("secret", changed, NOW) is None


def test_a_ticket_is_good_for_a_minute() -> None:
    ticket = make_ticket("secret", "a:b", NOW)
    assert check_ticket("secret", ticket, NOW + 59) == "a:b"
    assert check_ticket("secret", ticket, NOW + 61) is None
    assert check_ticket("secret", ticket, NOW - 600) is None


def test_a_kept_secret_is_private_and_stays(tmp_path: Path) -> None:
    file = tmp_path / "auth" / "cookie_secret"
    text = kept_text(file)
    assert len(text) == 64
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert kept_text(file) == text
    file.write_text("")
    replaced = kept_text(file)
    assert replaced not in ("", text)
    assert kept_text(file) == replaced
    assert list(file.parent.iterdir()) == [file]


def test_a_secret_that_cannot_be_kept_is_made_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "auth").write_text("a file is in the way")
    assert len(kept_text(tmp_path / "auth" / "cookie_secret")) == 64


def test_a_generated_token_survives_a_restart(folders: Folders) -> None:
    token = access_of(folders).token
    assert len(token) == 48
    assert access_of(folders).token == token


def test_the_token_lets_in_and_a_wrong_one_does_not(folders: Folders) -> None:
    access = access_of(folders, token="right-and-long-enough")
    caller = access.identify(Presented.read("token right-and-long-enough", None, None))
    assert caller is not None
    assert caller.explicit
    assert access.identify(Presented.read("Bearer right-and-long-enough", None, None)) is not None
    assert access.identify(Presented.read("", "right-and-long-enough", None)) is not None
    for wrong in (
        Presented.read("token wrong", None, None),
        Presented.read("Basic right-and-long-enough", None, None),
        Presented.read("", "wröng", None),
    ):
        assert access.identify(wrong) is None


def test_a_wrong_token_is_refused_although_the_cookie_is_right(folders: Folders) -> None:
    access = access_of(folders, token="right")
    cookie = log_in(access).cookie
    assert access.identify(Presented("wrong", cookie)) is None


def test_a_login_survives_a_restart_and_ends_by_logout(folders: Folders) -> None:
    presented = log_in(access_of(folders))
    access = access_of(folders)
    caller = access.identify(presented)
    assert caller is not None
    assert not caller.explicit
    ended: list[str] = []
    access.logins.watch(ended.append)
    ticket = access.ticket(caller)
    assert access.caller_of_ticket(ticket) is not None
    access.log_out(caller)
    assert ended == [caller.login]
    assert access.identify(presented) is None
    assert access.caller_of_ticket(ticket) is None
    assert access_of(folders).identify(presented) is None


def test_a_login_ends_with_the_token_it_was_made_with(folders: Folders) -> None:
    presented = log_in(access_of(folders, token="one"))
    assert access_of(folders, token="one").identify(presented) is not None
    assert access_of(folders, token="two").identify(presented) is None


def test_a_login_ends_by_age(folders: Folders) -> None:
    clock = Clock()
    access = access_of(folders, clock=clock)
    presented = log_in(access)
    for _day in range(29):
        clock.now += 86400
        assert access.identify(presented) is not None, "used every day"
    clock.now += 86401
    assert access.identify(presented) is None
    assert access.logins.all == {}


def test_a_login_ends_when_it_is_not_used_and_an_open_page_is_use(folders: Folders) -> None:
    clock = Clock()
    access = access_of(folders, clock=clock)
    presented = log_in(access)
    (login,) = access.logins.all
    ended: list[str] = []
    access.logins.watch(ended.append)
    for _day in range(8):
        clock.now += 86400
        access.sweep({login})
    assert access.identify(presented) is not None
    clock.now += 7 * 86400 + 1
    access.sweep(())
    assert ended == [login]
    assert access.identify(presented) is None


def test_logins_are_bounded(tmp_path: Path) -> None:
    clock = Clock()
    logins = Logins(tmp_path / "auth" / "logins.json", clock, WriteBehind())
    first = logins.begin(user="u", credential="c", agent="", address="")
    for _ in range(MOST):
        clock.now += 1
        last = logins.begin(user="u", credential="c", agent="", address="")
    assert len(logins.all) == MOST
    assert first.id not in logins.all
    assert last.id in logins.all


def test_an_empty_token_lets_everybody_in(folders: Folders) -> None:
    access = access_of(folders, token="")
    caller = access.identify(Presented(None, None))
    assert caller is not None
    assert not caller.explicit
    assert access.caller_of_ticket(access.ticket(caller)) is not None
    assert asyncio.run(access.log_in("", agent="", address="")) is None


def test_the_ticket_of_an_open_server_is_nothing_once_a_token_is_asked_for(folders: Folders) -> None:
    access = access_of(folders, token="")
    caller = access.identify(Presented(None, None))
    assert caller is not None
    assert access_of(folders, token="t").caller_of_ticket(access.ticket(caller)) is None


def test_nothing_in_the_state_folder_tells_the_given_token(folders: Folders) -> None:
    access = access_of(folders, token="a-very-secret-token")
    log_in(access)
    for file in (folders.state / "auth").iterdir():
        assert "a-very-secret-token" not in file.read_text()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("path", ["/base/", "/base/tree/a%20b", "/base/notebooks/a.ipynb?x=1#y", "/base"])
def test_safe_redirects(path: str) -> None:
    assert safe_next(path, "/base/") == path


@pytest.mark.parametrize(
    "path",
    [
        None, "", "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "https://evil.example/base/",
        "http:/base/", "/base/%0d%0aSet-Cookie:x", "/base/\r\nx", "/base/ x", "/base/../other", "/base/%2e%2e/other", "/base//evil.example",
        "/base/%2F/evil", "/other/", "javascript:alert(1)", "/base\\evil", "/base/%5cevil", "/%09/evil.example", " /base/", "/based/",
    ],
)  # fmt: skip
def test_unsafe_redirects(path: str | None) -> None:
    assert safe_next(path, "/base/") == "/base/"


@given(st.text(max_size=30))
def test_every_redirect_is_local(wanted: str) -> None:
    for text in (wanted, "/" + wanted, "/base/" + wanted):
        result = safe_next(text, "/base/")
        assert result.startswith("/base")
        assert "\\" not in result
        assert "\n" not in result
