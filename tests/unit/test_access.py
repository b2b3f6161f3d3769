"""Passwords, named tokens, scopes and guesses: what lets in, what it is good for, and when it ends."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import stat
from pathlib import Path

import pytest

from homeport.auth import audit
from homeport.auth.access import Access
from homeport.auth.identity import Caller, Identity, Presented
from homeport.auth.kept_password import KeptPassword
from homeport.auth.passwords import hash_password
from homeport.auth.scopes import Scope
from homeport.commands.password_files import reread
from homeport.core.login_limit import PER_MINUTE
from homeport.errors import Conflict, TooManyTries
from homeport.folders import Folders
from homeport.options import Settings
from homeport.write_behind import WriteBehind

NOW = 1_800_000_000.0
SHA1 = "sha1:67c9e60bb8b6:" + hashlib.sha1(b"secret67c9e60bb8b6").hexdigest()


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(state=tmp_path / "state", config=tmp_path / "config", runtime=tmp_path / "run", sockets=tmp_path / "s")


def access_of(folders: Folders, clock: Clock | None = None, *, password: str = "", source: str = "test", **settings: object) -> Access:
    chosen = Settings(root_dir=folders.state.parent, password=password, sources={"password": source}, **settings)  # type: ignore[arg-type]
    access = Access(chosen, folders, clock=clock or Clock(), reread=reread)
    access.listening_on(8888)
    return access


def try_to_log_in(access: Access, secret: str, address: str = "1.2.3.4") -> Presented | None:
    cookie = asyncio.run(access.log_in(secret, agent="Firefox", address=address))
    return Presented(None, cookie) if cookie is not None else None


def events(access: Access) -> list[dict[str, object]]:
    return [json.loads(line) for line in access.audit.file.read_text().splitlines()]


def test_the_password_lets_in_and_so_does_the_token(folders: Folders) -> None:
    access = access_of(folders, password=hash_password(" geheim ☃ "))
    for secret in (" geheim ☃ ", access.token):
        presented = try_to_log_in(access, secret)
        assert presented is not None
        assert access.identify(presented) is not None
    assert try_to_log_in(access, "geheim ☃") is None


def test_a_password_is_no_token(folders: Folders) -> None:
    access = access_of(folders, password=hash_password("geheim"))
    assert access.identify(Presented.read("token geheim", None, None)) is None


def test_a_password_alone_is_enough_and_the_start_up_token_can_be_turned_off(folders: Folders) -> None:
    access = access_of(folders, password=hash_password("geheim"), token="")
    assert access.asks
    assert access.identify(Presented(None, None)) is None
    assert try_to_log_in(access, "geheim") is not None


def test_wrong_tries_are_counted_by_address_and_after_a_restart_too(folders: Folders) -> None:
    clock, hashed = Clock(), hash_password("geheim")
    access = access_of(folders, clock, password=hashed)
    for _ in range(PER_MINUTE):
        assert try_to_log_in(access, "wrong") is None
        clock.now += 2
    for again in (access, access_of(folders, clock, password=hashed)):
        with pytest.raises(TooManyTries, match=r"try again in 5\d seconds") as caught:
            try_to_log_in(again, "geheim")
        assert 50 < caught.value.data["retry_after"] <= 60
    assert try_to_log_in(access, "geheim", "5.6.7.8") is not None, "from elsewhere"
    assert try_to_log_in(access, access.token) is not None, "the random token is not guessed, and so not held up"
    clock.now += 60
    assert try_to_log_in(access, "geheim") is not None
    told = [event["event"] for event in events(access)]
    assert told == ["login refused", "login refused", "login held up", "login held up", "login", "login", "login"]
    assert {event["from"] for event in events(access)} == {"1.2.3.4", "5.6.7.8"}
    assert "geheim" not in access.audit.file.read_text()
    assert stat.S_IMODE(access.audit.file.stat().st_mode) == 0o600


def test_a_short_token_that_somebody_chose_is_guarded_like_a_password(folders: Folders) -> None:
    access = access_of(folders, token="abc")
    assert access.identify(Presented("abc", None, "1.2.3.4")) is not None
    for guess in ("a", "a", "a"):
        assert access.identify(Presented(guess, None, "6.6.6.6")) is None, "one wrong token again and again is no guessing"
    with pytest.raises(TooManyTries):
        access.identify(Presented("ab", None, "6.6.6.6"))
    with pytest.raises(TooManyTries):
        access.identify(Presented("abc", None, "6.6.6.6"))
    assert access.identify(Presented("abc", None, "1.2.3.4")) is not None


async def test_a_hundred_guesses_at_once_are_one(folders: Folders) -> None:
    access = access_of(folders, password=hash_password("geheim"))
    results = await asyncio.gather(*(access.log_in("wrong", agent="", address="::1") for _ in range(100)), return_exceptions=True)
    assert results.count(None) == 1
    assert sum(isinstance(result, TooManyTries) for result in results) == 99


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("jupyter_notebook_config.json", '{{"NotebookApp": {{"password": "{}", "port": 1}}}}'),
        ("jupyter_notebook_config.py", "c = get_config()\nc.NotebookApp.password = u'{}'  # mine\n"),
        ("password", "{}\n"),
    ],
)
def test_an_old_hash_is_replaced_in_the_file_it_came_from(folders: Folders, tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.write_text(text.format(SHA1))
    file.chmod(0o640)
    access = access_of(folders, password=SHA1, source=str(file))
    by_token = try_to_log_in(access, access.token)
    presented = try_to_log_in(access, "secret")
    assert presented is not None
    assert by_token is not None
    hashed = reread(file)
    assert hashed is not None
    assert hashed.startswith("argon2:$argon2id$")
    assert file.read_text() == text.format(hashed)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    for each in (access, access_of(folders, password=hashed, source=str(file))):
        assert each.identify(presented) is not None, "the same password: nobody has to log in again"
        assert each.identify(by_token) is not None
    assert try_to_log_in(access, "secret") is not None


@pytest.mark.expect_log("'homeport passwd' prints a new one")
def test_an_old_hash_that_cannot_be_replaced_is_told(folders: Folders, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    composed = tmp_path / "jupyter_notebook_config.py"
    composed.write_text(f"c = get_config()\nc.NotebookApp.password = 'sha1:' + {SHA1[5:]!r}\n")
    for source, reason in (("environment variable HOMEPORT_PASSWORD_HASH", "not read from a file"), (str(composed), "as one text")):
        caplog.clear()
        access = access_of(folders, password=SHA1, source=source)
        assert try_to_log_in(access, "secret") is not None
        assert reason in caplog.text
        assert try_to_log_in(access, "secret") is not None, "and it goes on to let in"


def test_a_change_of_the_password_ends_all_logins_at_once(folders: Folders, tmp_path: Path) -> None:
    clock, file = Clock(), tmp_path / "password"
    file.write_text(hash_password("one"))
    access = access_of(folders, clock, password=file.read_text(), source=str(file))
    by_password, by_token = try_to_log_in(access, "one"), try_to_log_in(access, access.token)
    assert by_password is not None
    assert by_token is not None
    ended: list[str] = []
    access.logins.watch(ended.append)
    file.write_text(hash_password("two") + "\n")
    clock.now += 2
    access.sweep(access.logins.all)
    assert len(ended) == 2
    assert access.identify(by_password) is None
    assert access.identify(by_token) is None
    assert try_to_log_in(access, "one") is None
    clock.now += 2
    assert try_to_log_in(access, "two") is not None
    assert [event["event"] for event in events(access)][2] == "password changed"


@pytest.mark.expect_log("stays as it was")
def test_a_file_that_loses_its_password_opens_nothing(tmp_path: Path) -> None:
    clock, file = Clock(), tmp_path / "a.json"
    file.write_text(json.dumps({"NotebookApp": {"password": SHA1}}))
    kept = KeptPassword(SHA1, file, reread, clock)
    for text in ("{}", "not json", '{"NotebookApp": {"password": "plain"}}', '{"NotebookApp": {"password": ""}}'):
        file.write_text(text)
        clock.now += 2
        assert kept.hashed == SHA1
    os.unlink(file)
    clock.now += 2
    assert kept.hashed == SHA1


def test_a_named_token_is_shown_once_and_kept_as_a_hash(folders: Folders) -> None:
    access = access_of(folders)
    token, text = access.tokens.make("CI", Scope("read"), None)
    caller = access_of(folders).identify(Presented(text, None))
    assert caller is not None
    assert caller.scope == Scope("read")
    assert all(text not in file.read_text() for file in folders.state.rglob("*") if file.is_file())
    with pytest.raises(Conflict, match="already"):
        access.tokens.make("CI", Scope(), None)
    access.tokens.remove(token.id)
    assert access.identify(Presented(text, None)) is None
    assert access_of(folders).identify(Presented(text, None)) is None


def test_a_token_is_over_when_it_says_so_and_its_logins_too(folders: Folders) -> None:
    clock = Clock()
    access = access_of(folders, clock)
    _, text = access.tokens.make("guest", Scope(), 3600)
    presented = try_to_log_in(access, text)
    assert presented is not None
    caller = access.identify(presented)
    assert caller is not None
    ticket = access.ticket(caller)
    clock.now += 3590
    assert access.identify(presented) is not None
    clock.now += 20
    assert access.identify(Presented(text, None)) is None
    assert access.identify(presented) is None
    assert access.caller_of_ticket(ticket) is None


def test_a_scope_cannot_be_widened_by_a_login_or_a_ticket(folders: Folders) -> None:
    """GHSA-9x4q-3gxw-849f: scope escalation."""
    access = access_of(folders)
    for scope in (Scope("read"), Scope("folder", "a/b")):
        _, text = access.tokens.make(scope.kind, scope, None)
        direct = access.identify(Presented(text, None))
        cookie = try_to_log_in(access, text)
        assert direct is not None
        assert cookie is not None
        logged_in = access.identify(cookie)
        assert logged_in is not None
        for caller in (direct, logged_in):
            by_ticket = access.caller_of_ticket(access.ticket(caller))
            assert by_ticket is not None
            for each in (caller, by_ticket):
                assert each.scope == scope
                permits = access.authorizer.permits
                assert not permits(each, "execute", "kernels")
                assert not permits(each, "write", "tokens")
                assert not permits(each, "read", "tokens")
                assert not permits(each, "write", "contents", "a")


@pytest.mark.parametrize(
    ("path", "covered"),
    [("a/b", True), ("a/b/c", True), ("a/b/c/d.ipynb", True), ("a/bc", False), ("a", False), ("", False), ("c", False), (None, False)],
)
def test_one_folder_is_one_folder(path: str | None, covered: bool) -> None:
    assert Scope("folder", "a/b").permits("write", "contents", path) is covered
    assert not Scope("folder", "a/b").permits("read", "sessions", path)


def test_another_way_in_is_one_class(folders: Folders) -> None:
    """What a proxy's header, JupyterHub or a second factor need: no handler knows about it."""

    class ProxyHeader:
        def identify(self, presented: Presented) -> Caller | None:
            name = presented.headers.get("X-Remote-User", "") if presented.address == "10.0.0.1" else ""
            return Caller(Identity.of(name), "proxy", f"proxy:{name}") if name else None

        def of_login(self, login: str) -> Caller | None:
            return Caller(Identity.of(login[6:]), "ticket", login) if login.startswith("proxy:") else None

    access = Access(Settings(root_dir=folders.state.parent), folders, providers=[ProxyHeader()])
    caller = access.identify(Presented(None, None, "10.0.0.1", {"X-Remote-User": "ann"}))
    assert caller is not None
    assert caller.identity.username == "ann"
    assert not caller.explicit, "a browser can be made to send it"
    by_ticket = access.caller_of_ticket(access.ticket(caller))
    assert by_ticket is not None
    assert by_ticket.identity.username == "ann"
    assert access.identify(Presented(None, None, "6.6.6.6", {"X-Remote-User": "ann"})) is None


def test_the_audit_log_is_appended_to_and_rotated(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "LARGEST", 500)
    monkeypatch.setattr(audit, "KEPT", 2)
    one, other = (audit.Audit(folders.state / "audit.jsonl", Clock(), WriteBehind()) for _ in range(2))  # two servers of one user
    for number in range(40):
        (one if number % 2 else other).record("login", user="ann\n", address="::1", number=number)
    files = [folders.state / name for name in ("audit.jsonl.2", "audit.jsonl.1", "audit.jsonl")]
    assert sorted(files) == sorted(folders.state.iterdir())
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    numbers = [line["number"] for line in lines]
    assert numbers == list(range(numbers[0], 40)), "in order, none twice, none lost but the oldest"
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 and file.stat().st_size <= 500 for file in files)
    assert lines[0]["time"].startswith("2027-01-15T08:00:00")


@pytest.mark.expect_log("audit log")
def test_an_audit_log_that_cannot_be_written_stops_nobody(folders: Folders, caplog: pytest.LogCaptureFixture) -> None:
    folders.state.mkdir()
    (folders.state / "audit").write_text("a file is in the way")
    access = access_of(folders, password=hash_password("geheim"))
    for _ in range(3):
        assert try_to_log_in(access, "geheim") is not None
    assert caplog.text.count("cannot be written") == 1
