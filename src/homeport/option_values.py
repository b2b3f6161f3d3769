"""What the value of an option may be: readers that take what a command line, a variable or a configuration file holds.

Each gives the value of the setting, or raises ``ValueError`` with a sentence that says what is wanted. Which option has which
reader stands in the table (``options.py``).
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable
from pathlib import Path


def read_text(value: object) -> str:
    """Any text."""
    if not isinstance(value, str):
        raise ValueError("a text is wanted")  # readers have one kind of error
    return value


def read_yes_no(value: object) -> bool:
    """True or false, or one of the words people use for them."""
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in words:
        return words[value.strip().lower()]
    raise ValueError("yes or no is wanted")


def _integer(value: object, low: int, high: int | None = None) -> int:
    try:
        number = int(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else None
    except ValueError:
        number = None
    if number is None or number < low or (high is not None and number > high):
        raise ValueError(f"a whole number from {low} {'up' if high is None else f'to {high}'} is wanted")
    return number


def read_port(value: object) -> int:
    """A TCP port; 0 lets the system choose."""
    return _integer(value, 0, 65535)


def read_count(value: object) -> int:
    """A whole number, 0 or more."""
    return _integer(value, 0)


_DURATION_UNITS = {"": 1.0, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")


def read_duration(value: object) -> float | None:
    """Seconds, from ``90``, ``30min``, ``2h``, ``1h30m`` or ``1d``; None for ``off``, ``none`` and 0."""
    if value is None:
        return None
    text = str(value).strip().lower()
    if text in {"off", "none", "never", ""}:
        return None
    parts = _DURATION.findall(text)
    if isinstance(value, bool) or _DURATION.sub("", text).strip() or not parts or any(unit not in _DURATION_UNITS for _, unit in parts):
        raise ValueError("a duration such as 90, 30min, 2h or 1d is wanted, or off")
    return sum(float(number) * _DURATION_UNITS[unit] for number, unit in parts) or None


def show_duration(seconds: float) -> str:
    """The shortest text that :func:`read_duration` reads as that: ``7d``, ``90s``."""
    unit = next((unit for unit in ("d", "h", "min") if seconds >= _DURATION_UNITS[unit] and seconds % _DURATION_UNITS[unit] == 0), "s")
    return f"{seconds / _DURATION_UNITS[unit]:g}{unit}"


_SIZE_UNITS = {"": 1, "b": 1} | {letter + tail: 1024 ** (power + 1) for power, letter in enumerate("kmgt") for tail in ("", "b", "ib")}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")


def read_size(value: object) -> int:
    """Bytes, from ``500000``, ``64k``, ``10M``, ``10MiB`` or ``1GB``; each unit is 1,024 of the one before."""
    match = _SIZE.fullmatch(str(value).strip().lower())
    if isinstance(value, bool) or not match or match[2] not in _SIZE_UNITS:
        raise ValueError("a size such as 500000, 64k or 10MiB is wanted")
    return int(float(match[1]) * _SIZE_UNITS[match[2]])


def show_size(size: int) -> str:
    """The shortest text that :func:`read_size` reads as that: ``10MiB``, ``1500``."""
    unit, factor = next(((unit, factor) for unit, factor in _SHOWN_UNITS if size >= factor and size % factor == 0), ("", 1))
    return f"{size // factor}{unit}"


_SHOWN_UNITS = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]


def read_folder(value: object) -> Path:
    """A path; ``~`` and environment variables are filled in, and it is made absolute."""
    if not isinstance(value, (str, Path)) or not str(value):
        raise ValueError("a folder is wanted")
    if "\0" in str(value):
        raise ValueError("a path cannot hold a NUL character")
    return Path(os.path.abspath(os.path.expanduser(os.path.expandvars(str(value)))))


def read_file(value: object) -> Path | None:
    """As :func:`read_folder`; the empty text means no file."""
    return read_folder(value) if value else None


def read_base_url(value: object) -> str:
    """A URL path, given back with one slash at both ends."""
    if not isinstance(value, str) or not re.fullmatch(r"[\w/.~%@:+-]*", value) or ".." in value.split("/"):
        raise ValueError("a path such as /jupyter/ is wanted")
    inner = "/".join(part for part in value.split("/") if part)
    return f"/{inner}/" if inner else "/"


def read_page(value: object) -> str:
    """The path of a page of this server, given back with a slash at its beginning."""
    if not isinstance(value, str) or "\\" in value or "//" in value or ":" in value.partition("/")[0]:
        raise ValueError("the path of a page, such as /tree/projects, is wanted")
    return "/" + value.lstrip("/")


def read_names(value: object) -> tuple[str, ...]:
    """Several names: a list, or one text with commas between them."""
    if isinstance(value, str):
        return tuple(name.strip() for name in value.split(",") if name.strip())
    if isinstance(value, (list, tuple, set, frozenset)):
        return tuple(str(name) for name in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    raise ValueError("a list of names is wanted")


def read_proxies(value: object) -> tuple[str, ...]:
    """Addresses and networks."""
    names = read_names(value)
    for name in names:
        try:
            ipaddress.ip_network(name, strict=False)
        except ValueError:
            raise ValueError(f"addresses or networks such as 10.0.0.5 or 10.0.0.0/8 are wanted, not {name!r}") from None
    return names


HEX_DIGITS = {"md5": 32, "sha1": 40, "sha224": 56, "sha256": 64, "sha384": 96, "sha512": 128}
"""Digests of the older servers' password hashes, with their lengths."""
_OLD_HASH = re.compile(r"(\w+):[^:]*:([0-9a-fA-F]+)")


def read_password_hash(value: object) -> str:
    """A password hash in one of the forms of ``auth/passwords.py``, or the empty text."""
    text = read_text(value).strip()
    old = _OLD_HASH.fullmatch(text)
    if not text or text.startswith("argon2:$argon2") or (old and len(old[2]) == HEX_DIGITS.get(old[1])):
        return text
    raise ValueError("the hash of a password is wanted, as 'homeport passwd' prints it, not the password itself")


def read_ip(value: object) -> str:
    """An address or host name to listen on; ``*`` and the empty text mean all addresses, given back as ``""``."""
    text = read_text(value).strip()
    return "" if text == "*" else text


def one_of(*words: str) -> Callable[[object], str]:
    """A reader that takes one of ``words``, whatever its case."""

    def read(value: object) -> str:
        text = str(value).strip().lower()
        if text not in words:
            raise ValueError(f"one of {', '.join(words)} is wanted")
        return text

    return read


LOG_LEVELS = ("debug", "info", "warning", "error")


def read_log_level(value: object) -> str:
    """One of :data:`LOG_LEVELS`, or the number that Python's logging has for it."""
    numbers = {"0": "debug", "10": "debug", "20": "info", "30": "warning", "40": "error", "50": "error", "critical": "error"}
    text = str(value).strip().lower()
    return one_of(*LOG_LEVELS)(numbers.get(text, text))
