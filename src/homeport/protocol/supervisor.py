"""What a server and a supervisor say to each other, whatever carries it.

A frame is a length (u32, big-endian) and that many bytes of msgpack: one struct of this module, as an array whose
first item is its tag. The server opens with :class:`Hello`, the supervisor answers :class:`Welcome` or
:class:`Refused` and hangs up. Afterwards the server sends :data:`Request`s and the supervisor :data:`Event`s.

How it grows: fields are added at the end, with a default; new structs get new tags; anything else is a new number in
:data:`VERSIONS`. Both ends speak this version and the one before. The handshake itself never changes.

Journal entries are encoded once, by :func:`encode_item`; segments on disk and frames on the socket carry those same
bytes, which is why :class:`Batch` has a twin that takes them ready-made.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cached_property
from typing import Final, Literal, TypeVar

import msgspec

from homeport.errors import HomeportError, ProtocolError
from homeport.protocol.jupyter import Header, Parts, header_of

_T = TypeVar("_T")

VERSIONS: Final = (1,)
"""The versions that this code speaks, newest first."""

MAX_FRAME: Final = 1 << 30
"""Bytes in one frame. A larger one is a sign of garbage, and ends the link."""

MAX_GREETING: Final = 1 << 16
"""Bytes in the first frame each way."""

TAIL: Final = -1
RUNNING: Final = -2
BACK: Final = -3
"""Values of :attr:`Attach.after` that are not a seq."""

Channel = Literal["iopub", "shell", "control", "stdin"]

KernelState = Literal["starting", "idle", "busy", "restarting", "dead"]

SUPERVISOR_SESSION: Final = "homeport-supervisor"
"""The ``session`` in headers of messages that the supervisor makes itself.

After the death of a supervisor the next one may find a request whose end it cannot know. It then writes the missing
reply (``status: error``, ``ename:`` :data:`RESULT_UNKNOWN`) and the missing ``idle`` into the journal, with this session.
"""

RESULT_UNKNOWN: Final = "ResultUnknown"

MACHINE_RESTARTED: Final = "ended when this machine was restarted"
"""The reason of a kernel that runs no more because its host was booted again."""

UNCOUNTED: Final = "this kernel does not number its messages, so nobody knows whether it said something while no supervisor was there"
"""The reason in a :class:`Truncated` of one seq that stands for any number of messages, also none."""

UNANSWERED: Final = "nothing shows that the last answer reached the kernel before its supervisor ended"
"""The reason in a :class:`Truncated` of one seq that stands for no message: the kernel has said nothing since it was sent that answer to
an ``input_request``."""

NOT_THERE: Final = "is not there any more"
"""The reason in the :class:`Ended` of a generation of which nothing is known: how it ended is not, either."""


# --- what both ends know -----------------------------------------------------------------------------------------


class KernelInfo(msgspec.Struct, frozen=True, array_like=True):
    """One kernel, as it is now. Times are seconds since the epoch."""

    kernel_id: str
    name: str
    """The kernelspec's."""
    generation: int
    """Counts the kernel's lives from 1; a restart begins the next."""
    state: KernelState
    pid: int | None
    started: float
    last_activity: float
    cwd: str
    reason: str = ""
    """Why it is dead: ``exited with status 1``, ``killed by SIGKILL``, ``out of memory``, ``idle for 2 h``; "" otherwise."""
    stderr: str = ""
    """The last lines of its stdout and stderr when it is dead, at most 4 KiB."""
    display_name: str = ""
    language: str = ""
    lost: bool = False
    """Adopted from a supervisor that died: some of this generation's messages are missing, or may be."""


class Kernelspec(msgspec.Struct, frozen=True, array_like=True):
    """One kernelspec. ``spec`` is its ``kernel.json``; ``resources`` names its files by use (``logo-64x64`` to ``logo-64x64.png``)."""

    name: str
    spec: dict[str, object]
    resources: dict[str, str]


class Kernelspecs(msgspec.Struct, frozen=True, array_like=True):
    """All kernelspecs of the host, by name, and the name of the default one."""

    default: str
    specs: dict[str, Kernelspec]


# --- items of a journal -------------------------------------------------------------------------------------------


class Entry(msgspec.Struct, array_like=True, tag=0, dict=True):
    """One message of a kernel, as the bytes that the kernel wrote."""

    seq: int
    channel: Channel
    parts: Parts

    @cached_property
    def header(self) -> Header:
        """The message's own header."""
        return header_of(self.parts[0])

    @cached_property
    def parent(self) -> Header:
        """The header of the request that it belongs to; empty fields when there is none."""
        return header_of(self.parts[1])


class Truncated(msgspec.Struct, array_like=True, tag=1, frozen=True):
    """The messages ``first`` to ``last`` (inclusive) are not there, for ``reason``."""

    first: int
    last: int
    reason: str


class Ended(msgspec.Struct, array_like=True, tag=2, frozen=True):
    """The generation is over (died, restarted, shut down); nothing follows."""

    generation: int
    reason: str
    stderr: str = ""
    died: bool = False
    """By itself, or killed by somebody else; not because somebody asked for a restart or a shutdown."""


Item = Entry | Truncated | Ended


# --- from the server -----------------------------------------------------------------------------------------------


class Hello(msgspec.Struct, array_like=True, tag=10, frozen=True):
    """The first frame of a server. ``python`` and ``kernel_dirs`` say where the server's kernelspecs come from: the supervisor may
    have been started long ago from another environment. Empty: the supervisor's own."""

    versions: list[int]
    build: str
    """The server's release; an idle supervisor of another release makes room for one of this release."""
    python: str = ""
    kernel_dirs: list[str] = []


class GetKernelspecs(msgspec.Struct, array_like=True, tag=11, frozen=True):
    """Answered by :class:`SpecsReply`."""

    call: int


class GetKernelspecFile(msgspec.Struct, array_like=True, tag=12, frozen=True):
    """Answered by :class:`FileReply`."""

    call: int
    name: str
    file: str


class Start(msgspec.Struct, array_like=True, tag=13, frozen=True):
    """Start a kernel, or return the one that has this id. Answered by :class:`KernelReply` when it is ready or dead."""

    call: int
    kernel_id: str
    name: str
    cwd: str
    env: dict[str, str]
    ipython_arguments: list[str] = []
    """Added to the command line, if it is one of IPython's kernels."""


class Interrupt(msgspec.Struct, array_like=True, tag=14, frozen=True):
    """Interrupt what the kernel runs, in the way that its kernelspec says."""

    call: int
    kernel_id: str


class Restart(msgspec.Struct, array_like=True, tag=15, frozen=True):
    """End ``generation`` and begin the next. Idempotent: when another generation runs already, that one is the answer."""

    call: int
    kernel_id: str
    generation: int


class Shutdown(msgspec.Struct, array_like=True, tag=16, frozen=True):
    """End the kernel and forget it. A kernel that is not there is no error."""

    call: int
    kernel_id: str


class Submit(msgspec.Struct, array_like=True, tag=17, frozen=True):
    """Send a message to a kernel, once by (kernel, generation, msg_id)."""

    call: int
    kernel_id: str
    generation: int
    channel: Channel
    parts: Parts


class Attach(msgspec.Struct, array_like=True, tag=18, frozen=True):
    """Read a generation's journal from the item behind ``after``, :data:`TAIL`, :data:`RUNNING` or :data:`BACK`.

    ``BACK``: from where the last reader of that ``session`` had come, by its :class:`Reached`; ``RUNNING`` when that is not known.

    ``window`` is how many bytes may be on their way; :class:`Credit` gives bytes back.
    """

    reader: int
    kernel_id: str
    generation: int
    after: int
    session: str | None
    window: int


class Detach(msgspec.Struct, array_like=True, tag=19, frozen=True):
    """The reader wants no more."""

    reader: int


class Credit(msgspec.Struct, array_like=True, tag=20, frozen=True):
    """``size`` bytes of parts have been read by the reader."""

    reader: int
    size: int


class Reached(msgspec.Struct, array_like=True, tag=24, frozen=True):
    """Everything up to ``seq`` has arrived at the client that the reader reads for. Kept for its ``session``, also when the server
    dies; only the newest reader of a session is listened to."""

    reader: int
    seq: int


class Touch(msgspec.Struct, array_like=True, tag=21, frozen=True):
    """Somebody looks at the kernel."""

    call: int
    kernel_id: str


class Configure(msgspec.Struct, array_like=True, tag=22, frozen=True):
    """Settings of the whole supervisor. ``idle_shutdown`` is in seconds; ``None``: never."""

    call: int
    idle_shutdown: float | None


class Stop(msgspec.Struct, array_like=True, tag=23, frozen=True):
    """Leave, with the kernels or without them."""

    call: int
    kernels: bool


Request = (
    GetKernelspecs
    | GetKernelspecFile
    | Start
    | Interrupt
    | Restart
    | Shutdown
    | Submit
    | Attach
    | Detach
    | Credit
    | Reached
    | Touch
    | Configure
    | Stop
)


# --- from the supervisor -------------------------------------------------------------------------------------------


class Welcome(msgspec.Struct, array_like=True, tag=40, frozen=True):
    """The first frame of a supervisor that speaks ``version``, with everything that it has."""

    version: int
    build: str
    pid: int
    kernels: list[KernelInfo]


class Refused(msgspec.Struct, array_like=True, tag=41, frozen=True):
    """The link ends here, for ``reason``. ``again``: this supervisor leaves, so try again."""

    reason: str
    versions: list[int]
    build: str
    again: bool


class Done(msgspec.Struct, array_like=True, tag=42, frozen=True):
    """The call is done, and there is nothing to tell."""

    call: int


class Failed(msgspec.Struct, array_like=True, tag=43, frozen=True):
    """The call failed; ``code`` names the error of errors.py."""

    call: int
    code: str
    message: str
    data: dict[str, str | int | float | bool | None]


class KernelReply(msgspec.Struct, array_like=True, tag=44, frozen=True):
    """The kernel that the call was about."""

    call: int
    kernel: KernelInfo


class SpecsReply(msgspec.Struct, array_like=True, tag=45, frozen=True):
    """Answers :class:`GetKernelspecs`."""

    call: int
    kernelspecs: Kernelspecs


class FileReply(msgspec.Struct, array_like=True, tag=46, frozen=True):
    """Answers :class:`GetKernelspecFile`."""

    call: int
    content: bytes


class Changed(msgspec.Struct, array_like=True, tag=47, frozen=True):
    """A kernel appeared or changed."""

    kernel: KernelInfo


class Removed(msgspec.Struct, array_like=True, tag=48, frozen=True):
    """A kernel was shut down and forgotten."""

    kernel_id: str


class Attached(msgspec.Struct, array_like=True, tag=49, frozen=True):
    """The reader reads from behind ``after``, now a seq. From here on it can be attached again without losing its place."""

    reader: int
    after: int


class Batch(msgspec.Struct, array_like=True, tag=50, frozen=True):
    """Items for one reader, in the order of their seqs."""

    reader: int
    items: list[Item]


class _EncodedBatch(msgspec.Struct, array_like=True, tag=50, frozen=True):
    reader: int
    items: msgspec.Raw


Event = Done | Failed | KernelReply | SpecsReply | FileReply | Changed | Removed | Attached | Batch | Refused
Greeting = Welcome | Refused
Reply = Done | Failed | KernelReply | SpecsReply | FileReply


# --- bytes -----------------------------------------------------------------------------------------------------------

_pack = msgspec.msgpack.Encoder()
_hello = msgspec.msgpack.Decoder(Hello)
_greeting = msgspec.msgpack.Decoder(Greeting)
_request = msgspec.msgpack.Decoder(Request)
_event = msgspec.msgpack.Decoder(Event)
_item = msgspec.msgpack.Decoder(Item)


def frame(message: msgspec.Struct) -> bytes:
    """One frame with ``message`` in it."""
    data = _pack.encode(message)
    return struct.pack(">I", len(data)) + data


def batch_frame(reader: int, count: int, items: bytes) -> bytes:
    """One frame with a :class:`Batch` of ``count`` items that :func:`encode_item` wrote one behind the other."""
    return frame(_EncodedBatch(reader, msgspec.Raw(b"\xdd" + struct.pack(">I", count) + items)))


def encode_item(item: Item) -> bytes:
    """A journal item as it stands in segments and frames."""
    return _pack.encode(item)


def decode_item(data: bytes | memoryview) -> Item:
    """The inverse of :func:`encode_item`.

    Raises:
        ProtocolError: it is no item.
    """
    return _decoded(_item, data, "a journal item")


def decode_hello(data: bytes) -> Hello:
    """Raises ProtocolError when ``data`` is no :class:`Hello`."""
    return _decoded(_hello, data, "a greeting")


def decode_greeting(data: bytes) -> Greeting:
    """Raises ProtocolError when ``data`` is no :data:`Greeting`."""
    return _decoded(_greeting, data, "a greeting")


def decode_request(data: bytes) -> Request:
    """Raises ProtocolError when ``data`` is no :data:`Request`."""
    return _decoded(_request, data, "a request")


def decode_event(data: bytes) -> Event:
    """Raises ProtocolError when ``data`` is no :data:`Event`."""
    return _decoded(_event, data, "an event")


def _decoded(decoder: msgspec.msgpack.Decoder[_T], data: bytes | memoryview, what: str) -> _T:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProtocolError(f"The other end of the supervisor's socket sent what is not {what}: {error}") from None


class FrameReader:
    """Cuts a stream of bytes into frames.

    Args:
        limit: bytes in a frame; may be changed between frames (:data:`MAX_GREETING` first, :data:`MAX_FRAME` then).
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._buffer = bytearray()
        self._wanted = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take what came in, return the payloads of the frames that it completes.

        Raises:
            ProtocolError: a frame announces more than ``limit`` bytes.
        """
        # Nearly always whole frames arrive: then nothing is copied through the buffer. A long frame gathers there untouched
        # until it is whole, or each piece of it would copy all the pieces before.
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._wanted:
                return []
            data = bytes(self._buffer)
            self._buffer.clear()
        payloads: list[bytes] = []
        at, end = 0, len(data)
        self._wanted = 4
        while end - at >= 4:
            size = int.from_bytes(data[at : at + 4], "big")
            if size > self.limit:
                raise ProtocolError(f"A frame of {size} bytes was announced; at most {self.limit} are allowed here")
            if end - at - 4 < size:
                self._wanted = size + 4
                break
            payloads.append(data[at + 4 : at + 4 + size])
            at += 4 + size
        self._buffer += data[at:]
        return payloads


# --- errors on the wire ------------------------------------------------------------------------------------------------


def failed(call: int, error: HomeportError) -> Failed:
    """``error`` as the answer to ``call``; of its data, what is a scalar."""
    data = {key: value for key, value in error.data.items() if isinstance(value, str | int | float | bool | None)}
    return Failed(call, error.code, error.message, data)


def raised(answer: Failed) -> HomeportError:
    """The error that :func:`failed` wrote down; one with an unknown code becomes a :class:`HomeportError`."""
    for kind in _subclasses(HomeportError):
        if kind.code == answer.code:
            return kind(answer.message, **answer.data)
    return HomeportError(answer.message, **answer.data)


def _subclasses(kind: type[HomeportError]) -> Sequence[type[HomeportError]]:
    return [each for child in kind.__subclasses__() for each in (child, *_subclasses(child))]
