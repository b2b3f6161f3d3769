"""A direct ZeroMQ client with a kernel of its own: what no server can be faster than."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import zmq
from jupyter_client.session import Session

_CHANNELS = ("shell", "iopub", "stdin", "control", "hb")


class DirectKernel:
    """A kernel over ``ipc://`` and two sockets to it, read in turn without any framework. Use it as a context manager."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="hpb-")
        self._session = Session(key=uuid.uuid4().hex.encode(), signature_scheme="hmac-sha256")
        self._context = zmq.Context()
        self._process: subprocess.Popen[bytes] | None = None
        self._poller = zmq.Poller()

    def __enter__(self) -> DirectKernel:
        file = Path(self._folder.name, "kernel.json")
        ports = {f"{name}_port": number for number, name in enumerate(_CHANNELS, 1)}
        ip = str(Path(self._folder.name, "k"))
        scheme = {"transport": "ipc", "ip": ip, "key": self._session.key.decode(), "signature_scheme": "hmac-sha256"}
        file.write_text(json.dumps({**ports, **scheme}))
        environment = {**os.environ, "HOME": self._folder.name}
        self._process = subprocess.Popen(
            [sys.executable, "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", str(file)],
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._shell = self._context.socket(zmq.DEALER)
        self._iopub = self._context.socket(zmq.SUB)
        self._iopub.rcvhwm = 0
        self._iopub.subscribe(b"")
        for socket, name in ((self._shell, "shell"), (self._iopub, "iopub")):
            socket.linger = 0
            socket.connect(f"ipc://{ip}-{ports[f'{name}_port']}")
            self._poller.register(socket, zmq.POLLIN)
        self._wait_until_iopub_is_there()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._context.destroy(linger=0)
        self._folder.cleanup()

    def _wait_until_iopub_is_there(self) -> None:
        # A subscription takes effect some time after connect, and nothing tells when: ask until an answer shows on iopub.
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            self._session.send(self._shell, "kernel_info_request", {})
            if self._iopub.poll(500):
                while self._iopub.poll(200):
                    self._iopub.recv_multipart()
                while self._shell.poll(200):
                    self._shell.recv_multipart()
                return
        raise RuntimeError("the kernel of the direct client gave no answer")

    def execute(self, code: str, count: Callable[[str], None] = lambda _: None) -> None:
        """Run ``code`` and wait for its reply and for idle, as :meth:`bench.kernel_socket.KernelSocket.execute`."""
        request = self._session.send(self._shell, "execute_request", {
            "code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False, "stop_on_error": True,
        })  # fmt: skip
        mine = request["header"]["msg_id"].encode()
        replied = idle = False
        while not (replied and idle):
            for socket, _ in self._poller.poll(60_000):
                _, parts = self._session.feed_identities(socket.recv_multipart())
                if mine not in parts[2]:
                    continue
                kind = json.loads(parts[1])["msg_type"]
                if socket is self._iopub:
                    count(kind)
                    idle = idle or (kind == "status" and json.loads(parts[4])["execution_state"] == "idle")
                elif kind == "execute_reply":
                    replied = True
