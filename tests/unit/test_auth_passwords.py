"""Password hashes of ours and of the older servers."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.profiles import examples
from homeport.auth.passwords import Verdict, check_password, hash_password, is_hash


def test_a_new_hash_is_argon2id_and_salted() -> None:
    first, second = hash_password("geheim ☃"), hash_password("geheim ☃")
    assert first.startswith("argon2:$argon2id$")
    assert first != second
    assert is_hash(first)
    assert check_password(first, "geheim ☃") == Verdict(True, outdated=False)
    assert check_password(first, "geheim") == Verdict(False)


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
def test_the_older_servers_hashes_let_in_and_are_outdated(algorithm: str) -> None:
    digest = hashlib.new(algorithm, b"pass:word" + b"67c9e60bb8b6").hexdigest()
    hashed = f"{algorithm}:67c9e60bb8b6:{digest}"
    assert is_hash(hashed)
    assert check_password(hashed, "pass:word") == Verdict(True, outdated=True)
    assert not check_password(hashed, "password").right


def test_the_guides_hash_is_a_hash() -> None:
    assert is_hash("sha1:67c9e60bb8b6:9ffede0825894254b2e042ea597d771089e11aed")


def test_weaker_argon2_parameters_are_outdated() -> None:
    from argon2 import PasswordHasher

    weak = "argon2:" + PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash("x")
    assert check_password(weak, "x") == Verdict(True, outdated=True)


@settings(max_examples=examples(200))
@given(st.text())
def test_nothing_else_lets_anybody_in(text: str) -> None:
    assert not check_password(text, text).right or is_hash(text)


@pytest.mark.parametrize("text", ["", "secret", "sha1:x", "sha1:salt:abc", "argon2:secret", "none:a:b", "sha1::"])
def test_what_is_no_hash(text: str) -> None:
    assert not is_hash(text)
    assert not check_password(text, "").right
