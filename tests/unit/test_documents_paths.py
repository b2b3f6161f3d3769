"""API paths: what is refused, what is normal, containment by component."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.core import paths
from homeport.errors import BadRequest, Forbidden


@pytest.mark.parametrize(
    ("given", "normal"),
    [("", ""), ("/", ""), ("a//b/", "a/b"), ("./a/./b", "a/b"), ("a b/ü.ipynb", "a b/ü.ipynb"), ("...", "..."), ("a\\b", "a\\b")],
)
def test_normal_form(given: str, normal: str) -> None:
    assert paths.parse(given) == normal


@pytest.mark.parametrize("path", ["..", "a/../..", "/../etc/passwd", "a/.."])
def test_above_the_root_is_refused(path: str) -> None:
    with pytest.raises(Forbidden):
        paths.parse(path)


@pytest.mark.parametrize("path", ["a\0b", "x" * 256, "ü" * 128, "a/\ud800"])
def test_names_that_cannot_be_are_refused(path: str) -> None:
    with pytest.raises(BadRequest):
        paths.parse(path)


@given(st.text(alphabet="ab./\0é"))
def test_what_is_accepted_is_normal_and_stays_inside(path: str) -> None:
    try:
        normal = paths.parse(path)
    except (BadRequest, Forbidden):
        return
    assert paths.parse(normal) == normal
    assert not normal.startswith("/")
    assert ".." not in normal.split("/")
    assert paths.contains("/srv/a", f"/srv/a/{normal}".rstrip("/"))


def test_containment_is_by_component() -> None:
    assert paths.contains("/srv/a", "/srv/a")
    assert paths.contains("/srv/a", "/srv/a/b")
    assert not paths.contains("/srv/a", "/srv/ab")
    assert not paths.contains("/srv/a", "/srv")
    assert paths.contains("/", "/etc")


def test_where_things_are_after_a_move() -> None:
    assert paths.moved("a/b", "a", "c") == "c/b"
    assert paths.moved("a", "a", "c") == "c"
    assert paths.moved("ab", "a", "c") is None


def test_hidden_by_any_component() -> None:
    assert paths.is_hidden("a/.b/c")
    assert not paths.is_hidden("a/b.c")
