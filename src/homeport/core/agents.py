"""What a browser calls itself, in words that its owner knows: "Firefox on Linux". Pure; for lists only, never for decisions."""

from __future__ import annotations

# In this order: Edge and Opera call themselves Chrome too, and Chrome calls itself Safari.
_PROGRAMS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
    ("python", "a Python program"),
    ("node", "a Node program"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def agent_name(agent: str) -> str:
    """A short name for a ``User-Agent`` header."""
    program = next((name for mark, name in _PROGRAMS if mark in agent), agent.split("/", maxsplit=1)[0][:40] or "An unknown program")
    system = next((name for mark, name in _SYSTEMS if mark in agent), "")
    return f"{program} on {system}" if system else program
