"""Loaded by a server's Python when this folder is in its path: writes down which files its event loop's own thread touches.

The list begins when the server has said where it listens (``jpserver-*.json``) with the line ``listening``, and goes to ``$DISK_WATCH``,
a line for each touch. What the audit events of Python do not tell of (``stat``, reads and writes of open files) is not seen; nor is what
compiled code does.
"""

import asyncio
import os
import sys
import traceback

EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.utime", "os.chmod"}
EVENTS |= {"os.listdir", "os.scandir", "fcntl.flock", "sqlite3.connect"}
SYSTEM = ("/proc/", "/sys/", "/dev/")


def watch(output: int) -> None:
    """Report to the descriptor ``output``."""
    listening = False

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal listening
        if event not in EVENTS:
            return
        names = [str(argument) for argument in arguments[:2]]
        if event == "os.rename" and os.path.basename(names[1]).startswith("jpserver-"):
            listening = True
            os.write(output, b"listening\n")
        elif listening and asyncio._get_running_loop() is not None and not names[0].startswith(SYSTEM):
            # Not by traceback.extract_stack: that reads the sources.
            frames = list(traceback.walk_stack(sys._getframe(1)))
            if not any("importlib" in frame.f_code.co_filename for frame, _ in frames):
                where = " < ".join(f"{os.path.basename(frame.f_code.co_filename)}:{line}" for frame, line in frames[:6])
                os.write(output, f"{event} {names[0]} | {where}\n".encode())

    sys.addaudithook(hook)


if os.environ.get("DISK_WATCH") and sys.orig_argv[1:3] == ["-m", "homeport"]:
    watch(os.open(os.environ["DISK_WATCH"], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600))
