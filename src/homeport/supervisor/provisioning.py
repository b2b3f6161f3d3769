"""Kernelspecs, and how a kernel is started from one.

Everything here goes through jupyter_client's provisioner interface. Kernels of this host use :class:`LocalKernel`, which differs from
jupyter_client's own in what decides whether a kernel outlives us: nothing ties it to its parent (``JPY_PARENT_PID``), its stdout and
stderr are a file and not a pipe, and it listens on Unix sockets in a folder of its own. A kernelspec that names another provisioner
gets that one, with a KernelManager as its parent as it expects.

ipykernel binds one more socket by itself, on a random port of 127.0.0.1, for what its forked children print; nothing that it can be
told keeps it from that.

jupyter_client is imported when it is first needed: a supervisor without kernels is 8 MB smaller for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import msgspec

from homeport.errors import KernelFailed, NotFound
from homeport.protocol.supervisor import Kernelspec, Kernelspecs
from homeport.supervisor.channels import Connection
from homeport.systemd import KERNELS_SLICE, scope

if TYPE_CHECKING:
    from jupyter_client.connect import KernelConnectionInfo
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager

log = logging.getLogger(__name__)

# Seconds that systemd-run has to make a unit.
_WRAPPER_PATIENCE = 10.0

# Seconds between two questions to a provisioner whether its kernel lives.
_POLL = 1.0

_PYTHONS = {"python", "python3", f"python3.{sys.version_info[1]}"}

# What a kernel must not inherit: it would die with the process named there.
_SCRUBBED = ("JPY_PARENT_PID", "JPY_INTERRUPT_EVENT", "IPY_INTERRUPT_EVENT")


class Origin(msgspec.Struct, frozen=True):
    """Whose kernelspecs: those of the environment of ``python``, in ``kernel_dirs``. Empty: the supervisor's own."""

    python: str = ""
    kernel_dirs: list[str] = []


class Launch(msgspec.Struct, frozen=True):
    """Everything that a start needs to know, so that a restart after years is the same start."""

    name: str
    cwd: str
    env: dict[str, str]
    origin: Origin
    ipython_arguments: list[str] = []


class Launched(msgspec.Struct, frozen=True):
    """A kernel that has been started. ``pid`` is ``None`` when it is not a process of this host; then ``provisioner`` is what its
    provisioner wants to be told to find it again (a JSON object)."""

    connection: Connection
    pid: int | None
    interrupt_mode: str
    display_name: str
    language: str
    provisioner: dict[str, object] | None = None


class _Provisioner(Protocol):
    """What we use of jupyter_client's KernelProvisionerBase."""

    async def poll(self) -> int | None: ...
    async def wait(self) -> int | None: ...
    async def send_signal(self, signum: int) -> None: ...
    async def kill(self) -> None: ...
    async def cleanup(self) -> None: ...
    async def get_provisioner_info(self) -> dict[str, object]: ...
    async def load_provisioner_info(self, provisioner_info: dict[str, object]) -> None: ...


class _KernelManager(Protocol):
    """What we use of jupyter_client's AsyncKernelManager."""

    provisioner: _Provisioner | None

    async def start_kernel(self, *, env: dict[str, str], cwd: str, extra_arguments: list[str] = ...) -> None: ...
    def get_connection_info(self) -> dict[str, object]: ...


class ForeignKernel:
    """A kernel that lives wherever its provisioner put it."""

    def __init__(self, provisioner: _Provisioner) -> None:
        self._provisioner = provisioner

    async def signal(self, number: int) -> None:
        """Have a signal sent to it."""
        await self._provisioner.send_signal(number)

    async def kill(self) -> None:
        """End it without ado."""
        await self._provisioner.kill()
        await self._provisioner.wait()
        await self._provisioner.cleanup()

    async def wait(self) -> int:
        """Its exit status, once it has ended."""
        while True:
            status = await self._provisioner.poll()
            if status is not None:
                return status
            await asyncio.sleep(_POLL)


def kernelspecs(origin: Origin) -> Kernelspecs:
    """All kernelspecs that can be read; broken ones are left out (and logged by jupyter_client)."""
    found: dict[str, Kernelspec] = {}
    for name, facts in _finder(origin).get_all_specs().items():
        spec = cast("dict[str, object]", facts["spec"])
        found[name] = Kernelspec(name, spec, _resources(Path(cast(str, facts["resource_dir"]))))
    default = "python3" if "python3" in found or not found else min(found)
    return Kernelspecs(default, found)


def kernelspec_file(origin: Origin, name: str, file: str) -> bytes:
    """The content of a file of a kernelspec (a logo, ``kernel.js``).

    Raises:
        NotFound: there is no such kernelspec, or no such file directly in its folder.
    """
    folder = Path(_spec(origin, name).resource_dir).resolve()
    path = (folder / file).resolve()
    if "\0" in file or path.parent != folder or not path.is_file():
        raise NotFound(f"The kernelspec {name!r} has no file {file!r}", name=name)
    return path.read_bytes()


def _resources(folder: Path) -> dict[str, str]:
    """Jupyter's rule: ``kernel.js``, ``kernel.css`` under their names, logos under theirs without the extension."""
    found: dict[str, str] = {}
    for name in sorted(os.listdir(folder)) if folder.is_dir() else ():
        if name in ("kernel.js", "kernel.css"):
            found[name] = name
        elif name.startswith("logo-"):
            found[name.rpartition(".")[0] or name] = name
    return found


def _finder(origin: Origin) -> KernelSpecManager:
    from jupyter_client.kernelspec import KernelSpecManager

    return KernelSpecManager(kernel_dirs=origin.kernel_dirs) if origin.kernel_dirs else KernelSpecManager()


def _spec(origin: Origin, name: str) -> KernelSpec:
    from jupyter_client.kernelspec import NoSuchKernel

    finder = _finder(origin)
    try:
        return finder.get_kernel_spec(name)
    except (NoSuchKernel, OSError, ValueError) as error:
        known = ", ".join(sorted(finder.find_kernel_specs())) or "none"
        raise NotFound(f"There is no kernel {name!r} here that can be used ({error}); there are: {known}", name=name) from None


async def launch(
    request: Launch, kernel_id: str, ipc_folder: Path, connection_file: Path, output: Path
) -> tuple[Launched, subprocess.Popen[bytes] | ForeignKernel]:
    """Start a kernel. The Popen is to be kept: when one is collected, subprocess takes the exit status for itself.

    Args:
        ipc_folder: where its sockets go; exists, is empty and private.
        connection_file: is written, mode 0600, with the key.
        output: its stdout and stderr are appended to this file.

    Raises:
        NotFound: there is no such kernelspec.
        KernelFailed: its command cannot be run.
    """
    spec = _spec(request.origin, request.name)
    environment = {name: value for name, value in request.env.items() if name not in _SCRUBBED}
    if request.origin.python and spec.argv and spec.argv[0] in _PYTHONS:
        # "python" means the Python that the kernelspec was found by, which need not be the one that runs this supervisor.
        spec.argv = [request.origin.python, *spec.argv[1:]]
    try:
        if _provisioner_name(spec) != "local-provisioner":
            return await _launch_foreign(spec, request, kernel_id, environment, connection_file)
        connection = _connection(ipc_folder, request.name, environment.get("JPY_SESSION_NAME", ""))
        _write_private(connection_file, msgspec.json.encode(connection))
        process = await _launch_local(spec, request, kernel_id, environment, connection_file, output)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        reason = f"could not be started: {error}"
        raise KernelFailed(f"The kernel {spec.display_name or request.name!r} {reason}", reason=reason, stderr=str(error)) from error
    return Launched(connection, process.pid, spec.interrupt_mode, spec.display_name, spec.language), process


def _connection(ipc_folder: Path, name: str, session: str) -> Connection:
    return Connection(
        ip=str(ipc_folder / "k"),
        shell_port=1,
        iopub_port=2,
        stdin_port=3,
        control_port=4,
        hb_port=5,
        key=secrets.token_hex(32),
        kernel_name=name,
        jupyter_session=session,
    )


def _write_private(file: Path, data: bytes) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)


def _provisioner_name(spec: KernelSpec) -> str:
    from jupyter_client.provisioning.factory import KernelProvisionerFactory

    metadata = cast("Mapping[str, Mapping[str, str]]", spec.metadata)
    return metadata.get("kernel_provisioner", {}).get("provisioner_name") or KernelProvisionerFactory.instance().default_provisioner_name


async def _launch_local(
    spec: KernelSpec, request: Launch, kernel_id: str, environment: dict[str, str], connection_file: Path, output: Path
) -> subprocess.Popen[bytes]:
    from jupyter_client.provisioning.local_provisioner import LocalProvisioner

    class LocalKernel(LocalProvisioner):
        """Starts a kernel that belongs to nobody."""

        async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
            with output.open("ab") as stream:
                return await super().launch_kernel(
                    cmd, independent=True, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, **kwargs
                )

    provisioner = LocalKernel(kernel_spec=spec, kernel_id=kernel_id)
    arguments = await provisioner.pre_launch(env=environment, cwd=request.cwd)
    argv: Sequence[str] = [*spec.argv, *_more_arguments(spec, request)]
    if _is_ipython(spec):
        argv = _without_pause(argv)
    command = _format(argv, connection_file, spec.resource_dir, request.origin)
    arguments.pop("cmd", None)

    async def begin(*apart: str) -> subprocess.Popen[bytes]:
        await provisioner.launch_kernel([*apart, *command], **arguments)
        return cast("subprocess.Popen[bytes]", cast(object, provisioner.process))  # pyright: ignore[reportUnknownMemberType]

    what = environment.get("JPY_SESSION_NAME", "")
    description = f"Homeport's kernel {request.name}{what and ' of '}{what}"
    # Under systemd each kernel is a unit of its own, so that one which runs out of memory takes nobody along.
    apart = scope(f"homeport-kernel-{kernel_id[:8]}", description, slice_=KERNELS_SLICE, environment=environment)
    if apart:
        process = await begin(*apart)
        if await _became(process, apart):
            return process
        log.warning("The kernel %s cannot be a unit of its own, and is started without; %s has the reason", kernel_id, output)
    return await begin()


async def _became(process: subprocess.Popen[bytes], wrapper: Sequence[str]) -> bool:
    """Whether a process that was started with ``wrapper`` before its command has become the command. One that has not is gone."""
    words = set(map(os.fsencode, wrapper))
    deadline = time.monotonic() + _WRAPPER_PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            now = set(Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0"))
            if len(now) > 1 and not words <= now:
                return True
        await asyncio.sleep(0.005)  # nobody tells that a process has become another program
    process.kill()
    await asyncio.to_thread(process.wait)
    return False


def _is_ipython(spec: KernelSpec) -> bool:
    argv = cast("Sequence[str]", spec.argv)
    return any(Path(word).name == "ipykernel_launcher.py" for word in argv) or any(
        option == "-m" and module in ("ipykernel", "ipykernel_launcher") for option, module in pairwise(argv)
    )


def _more_arguments(spec: KernelSpec, request: Launch) -> Sequence[str]:
    """Other kernels do not know IPython's arguments, and would not start with them."""
    return request.ipython_arguments if _is_ipython(spec) else ()


def _without_pause(argv: Sequence[str]) -> Sequence[str]:
    """Have an IPython kernel not wait for half a millisecond before each reply, which is to let clients get the outputs first. They do:
    see :mod:`homeport.core.reply_order`. ``c.IPythonKernel._execute_sleep`` in a user's configuration wins over this."""
    # Given twice, it would keep the kernel from starting.
    return argv if any("_execute_sleep" in word for word in argv) else [*argv, "--Kernel._execute_sleep=0"]


def _format(argv: Sequence[str], connection_file: Path, resource_dir: str, origin: Origin) -> list[str]:
    """Fill in ``{connection_file}``, ``{resource_dir}`` and ``{prefix}``, as jupyter_client's KernelManager does."""
    command = list(argv)
    if command and command[0] in _PYTHONS:
        command[0] = sys.executable
    prefix = str(Path(origin.python).parent.parent) if origin.python else sys.prefix
    names = {"connection_file": str(connection_file), "resource_dir": resource_dir, "prefix": prefix}
    return [re.sub(r"\{([A-Za-z0-9_]+)\}", lambda found: names.get(found[1], found[0]), argument) for argument in command]


async def _launch_foreign(
    spec: KernelSpec, request: Launch, kernel_id: str, environment: dict[str, str], connection_file: Path
) -> tuple[Launched, ForeignKernel]:
    manager = _manager(request, kernel_id, connection_file)
    more = list(_more_arguments(spec, request))
    # Not every provisioner knows the word, so it is said only when there is something to say.
    await manager.start_kernel(env=environment, cwd=request.cwd, **({"extra_arguments": more} if more else {}))
    assert manager.provisioner is not None
    info = json.loads(json.dumps(await manager.provisioner.get_provisioner_info(), default=_text))
    launched = Launched(_as_connection(manager), None, spec.interrupt_mode, spec.display_name, spec.language, info)
    return launched, ForeignKernel(manager.provisioner)


async def reattach(request: Launch, kernel_id: str, connection_file: Path, launched: Launched) -> ForeignKernel:
    """A kernel of another provisioner, after the supervisor that started it has died."""
    from jupyter_client.provisioning.factory import KernelProvisionerFactory

    manager = _manager(request, kernel_id, connection_file)
    spec = _spec(request.origin, request.name)
    made: object = KernelProvisionerFactory.instance().create_provisioner_instance(kernel_id, spec, manager)
    provisioner = cast(_Provisioner, made)
    await provisioner.load_provisioner_info(launched.provisioner or {})
    manager.provisioner = provisioner
    return ForeignKernel(provisioner)


def _manager(request: Launch, kernel_id: str, connection_file: Path) -> _KernelManager:
    from jupyter_client.manager import AsyncKernelManager

    made: object = AsyncKernelManager(
        kernel_name=request.name,
        kernel_id=kernel_id,
        kernel_spec_manager=_finder(request.origin),
        connection_file=str(connection_file),
    )
    return cast(_KernelManager, made)


def _as_connection(manager: _KernelManager) -> Connection:
    info = json.loads(json.dumps(manager.get_connection_info(), default=_text))
    return msgspec.convert(info, Connection)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
