"""Opening a browser on the started server: only where there is a display, and never a browser that is text."""

from __future__ import annotations

import html
import os
import sys
import webbrowser
from collections.abc import Mapping
from pathlib import Path

_TEXT_BROWSERS = {"www-browser", "links", "elinks", "lynx", "w3m"}


def has_display(environment: Mapping[str, str], platform: str = sys.platform) -> bool:
    """True when a window can be opened: always on macOS, elsewhere when X11 or Wayland is there."""
    return platform == "darwin" or bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))


def find_browser(name: str) -> webbrowser.BaseBrowser | None:
    """The browser called ``name``, or the user's own for an empty name; None when there is none, or when it is a text browser.

    ``name`` is a name or a command as :func:`webbrowser.get` takes it.
    """
    try:
        browser = webbrowser.get(name or None)
    except webbrowser.Error:
        return None
    program = os.path.basename(getattr(browser, "name", "") or "")
    return None if program in _TEXT_BROWSERS else browser


def write_opener(url: str, file: Path) -> str:
    """Write a page, for its owner only, that goes to ``url``; returns the page's own URL.

    A browser's command line is readable by every user of the machine, so the token must not stand there.
    """
    escaped = html.escape(url)
    page = (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Opening Homeport</title>'
        f'<meta http-equiv="refresh" content="0;url={escaped}"></head><body><p><a href="{escaped}">Open Homeport</a></p></body></html>\n'
    )
    file.unlink(missing_ok=True)
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(handle, "w", encoding="utf-8") as stream:
        stream.write(page)
    return file.as_uri()


def open_browser(url: str, name: str, opener: Path) -> bool:
    """Open ``url`` in the browser ``name`` by way of the page ``opener``; False when there is no such browser or it does not start."""
    browser = find_browser(name)
    if browser is None:
        return False
    try:
        return browser.open(write_opener(url, opener), new=2)
    except (OSError, webbrowser.Error):
        return False
