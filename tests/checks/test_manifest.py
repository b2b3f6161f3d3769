"""The manifest names tests that exist, and each promise has at least one."""

from harness import manifest

PROMISES = {"runs-stay", "kernels-outlive", "any-link", "secure", "plain-files", "your-things"}


def test_every_named_test_exists() -> None:
    problems = [f"{row.key}: {why}" for row in manifest.rows() for test in row.tests if (why := manifest.missing(test))]
    assert not problems, "\n".join(problems)


def test_every_promise_and_capability_has_a_test() -> None:
    assert {row.key for row in manifest.rows() if row.kind == "promise"} == PROMISES
    assert not [row.key for row in manifest.rows() if not row.tests]


def test_every_layer_file_is_named() -> None:
    """A test file that shows nothing a user can name is either misplaced or the manifest lacks a capability."""
    named = {test.partition("::")[0] for row in manifest.rows() for test in row.tests}
    there = {
        path.relative_to(manifest.TESTS).as_posix()
        for layer in ("integration", "journeys", "faults", "systems")
        for path in (manifest.TESTS / layer).glob("test_*.py")
    }
    assert there <= named, f"not in tests/manifest.toml: {sorted(there - named)}"
