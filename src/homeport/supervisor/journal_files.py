"""A journal's segments and the list of its requests, on disk.

Appends go to the page cache at once: what has been written outlives the supervisor, though not a power cut. Every method that
writes says whether it could; a full or failing disk is never an exception, because a kernel's messages must go on all the same.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Iterable
from pathlib import Path

import msgspec

from homeport.core.journal import (
    LANES,
    Command,
    Delete,
    Event,
    Journal,
    Limits,
    MakeRoom,
    Mark,
    Scanned,
    SegmentName,
    Write,
    WriteFailed,
    scan,
)
from homeport.core.requests import REMEMBERED, Request
from homeport.protocol.jupyter import header_of
from homeport.protocol.supervisor import MAX_FRAME, Channel, Ended, FrameReader, frame

_OPEN = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
_DIGITS = 20


class JournalFiles:
    """The files of one kernel generation: ``LANE-FIRST.segment`` and ``mark``, a number that says since when writing fails."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._writing: dict[int, tuple[SegmentName, int]] = {}
        # Written while there is room, so that the number can be changed when there is none.
        self._mark = os.open(folder / "mark", _OPEN, 0o600)
        if os.fstat(self._mark).st_size == 0:
            self._note(0)

    def recover(self, limits: Limits, ended: Ended | None) -> Journal:
        """The journal that a supervisor before us kept here; an empty one if there was none."""
        found: list[Scanned] = []
        for file in self._folder.glob("*.segment"):
            lane, _, first = file.stem.partition("-")
            name = SegmentName(LANES[int(lane)], int(first))
            data = file.read_bytes()
            scanned = scan(name, data)
            whole = scanned.ends[-1] if scanned.ends else 0
            if whole < len(data):
                os.truncate(file, whole)
            found.append(scanned)
        noted = os.pread(self._mark, _DIGITS, 0)
        journal, commands = Journal.recovered(limits, found, reached=int(noted) if noted.isdigit() else 0, ended=ended)
        self.carry_out(journal, commands)
        return journal

    def carry_out(self, journal: Journal, commands: Iterable[Command]) -> None:
        """Do what the journal wants done, and what that leads to."""
        waiting = deque(commands)
        while waiting:
            event = self._do(waiting.popleft())
            if event is not None:
                waiting.extend(journal.handle(event))
        for command in journal.handle(MakeRoom()):
            self._do(command)

    def _do(self, command: Command) -> Event | None:
        match command:
            case Write():
                return None if self._write(command) else WriteFailed(command.name, command.offset)
            case Delete():
                self._close(command.name)
                with contextlib.suppress(OSError):
                    self._path(command.name).unlink()
            case Mark():
                self._note(command.reached)
        return None

    def _note(self, reached: int) -> None:
        with contextlib.suppress(OSError):
            os.pwrite(self._mark, b"%0*d" % (_DIGITS, reached), 0)

    def _write(self, command: Write) -> bool:
        try:
            descriptor = self._descriptor(command.name)
            if os.pwrite(descriptor, command.data, command.offset) == len(command.data):
                return True
            os.ftruncate(descriptor, command.offset)
        except OSError:
            pass
        return False

    def _descriptor(self, name: SegmentName) -> int:
        current = self._writing.get(name.lane)
        if current is not None and current[0] == name:
            return current[1]
        descriptor = os.open(self._path(name), _OPEN, 0o600)
        if current is not None:
            os.close(current[1])
        self._writing[name.lane] = (name, descriptor)
        return descriptor

    def _close(self, name: SegmentName) -> None:
        current = self._writing.get(name.lane)
        if current is not None and current[0] == name:
            del self._writing[name.lane]
            os.close(current[1])

    def read(self, name: SegmentName, offset: int, size: int) -> bytes | None:
        """Bytes of a segment; ``None`` when they cannot be read, or not all of them."""
        try:
            descriptor = os.open(self._path(name), os.O_RDONLY | os.O_CLOEXEC)
            try:
                data = os.pread(descriptor, size, offset)
            finally:
                os.close(descriptor)
        except OSError:
            return None
        return data if len(data) == size else None

    def _path(self, name: SegmentName) -> Path:
        return self._folder / f"{name.lane}-{name.first}.segment"

    def close(self) -> None:
        """Close the files; nothing is deleted."""
        for _, descriptor in self._writing.values():
            os.close(descriptor)
        self._writing.clear()
        os.close(self._mark)


class _Sent(msgspec.Struct, array_like=True, tag=0):
    msg_id: str
    channel: Channel
    after: int
    header: bytes


class _Over(msgspec.Struct, array_like=True, tag=1):
    msg_id: str


_Record = _Sent | _Over
_records = msgspec.msgpack.Decoder(_Record)


class RequestFile:
    """Which requests were sent, and which of them are over: what an adopting supervisor must know."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._size = 0
        self._descriptor = os.open(file, _OPEN | os.O_APPEND, 0o600)

    def recover(self) -> tuple[list[Request], list[str]]:
        """The requests in the order of their sending, and the msg_ids of those that are over."""
        data = self._file.read_bytes()
        requests: list[Request] = []
        finished: list[str] = []
        payloads = FrameReader(MAX_FRAME).feed(data)
        # A record that was cut off by the death of its writer would garble those behind it.
        os.ftruncate(self._descriptor, sum(len(payload) + 4 for payload in payloads))
        for payload in payloads:
            match _records.decode(payload):
                case _Sent(msg_id, channel, after, header):
                    facts = header_of(header)
                    requests.append(Request(msg_id, facts.msg_type, channel, header, after, facts.subshell_id is None))
                case _Over(msg_id):
                    finished.append(msg_id)
        self._size = len(requests)
        return requests, finished

    def sent(self, request: Request) -> bool:
        """Write down that the request is about to be sent; whether that worked."""
        self._size += 1
        return self._append(frame(_Sent(request.msg_id, request.channel, request.after, request.header)))

    def over(self, request: Request) -> bool:
        """Write down that the request is over; whether that worked."""
        return self._append(frame(_Over(request.msg_id)))

    @property
    def long(self) -> bool:
        """Whether most of it is about requests that are forgotten."""
        return self._size >= 2 * REMEMBERED

    def compact(self, open_requests: list[Request], remembered: list[str]) -> None:
        """Write the file anew, without those that are forgotten."""
        running = {request.msg_id: request for request in open_requests}
        new = self._file.with_suffix(".new")
        try:
            with new.open("wb") as stream:
                for msg_id in remembered:
                    request = running.get(msg_id)
                    stream.write(
                        frame(
                            _Sent(msg_id, request.channel, request.after, request.header) if request else _Sent(msg_id, "shell", 0, b"{}")
                        )
                    )
                    if request is None:
                        stream.write(frame(_Over(msg_id)))
            new.replace(self._file)
        except OSError:
            new.unlink(missing_ok=True)
            return
        os.close(self._descriptor)
        self._descriptor = os.open(self._file, _OPEN | os.O_APPEND, 0o600)
        self._size = len(remembered)

    def _append(self, data: bytes) -> bool:
        try:
            written = os.write(self._descriptor, data)
            if written == len(data):
                return True
            os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - written)
        except OSError:
            pass
        return False

    def close(self) -> None:
        """Close the file; nothing is deleted."""
        os.close(self._descriptor)
