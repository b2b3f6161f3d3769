"""A store in a folder of this machine.

Everything that touches the disk runs in threads. Links are resolved before a file is touched, and what lies outside the
root is refused, unless the store was made to follow such links.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import stat as modes
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from homeport.core import paths
from homeport.errors import BadRequest, Conflict, Forbidden, HomeportError, NotFound, StoreFailed, TooLarge
from homeport.stores.base import Kind, Stat

_MARGIN = 64 * 1024
"""Bytes that stay free beyond what is written, for the folder and the file system's own needs."""
_PIECE = 1024 * 1024
_TEMPORARY = ".~homeport-"
_LEFT_BEHIND = 3600.0
"""Seconds after which nobody writes a temporary file any more."""
_SPECIAL = ((modes.S_ISFIFO, "Named pipe"), (modes.S_ISSOCK, "Socket"), (modes.S_ISCHR, "Device"), (modes.S_ISBLK, "Device"))


class FileStore:
    """See :class:`homeport.stores.base.Store`.

    Args:
        root: the served folder.
        trash: where deleted files go when the desktop's trash cannot take them; made when needed; a hidden folder in the root by default.
        outside_links: whether links that lead out of the root are followed.
        private: folders that are not served although they lie in the root: those with Homeport's own secrets. One that holds the root
            itself was meant to be served.
    """

    def __init__(self, root: Path, *, trash: Path | None = None, outside_links: bool = False, private: Sequence[Path] = ()) -> None:
        self.root = Path(os.path.realpath(root))
        resolved = (os.path.realpath(folder) for folder in private)
        self._private = tuple(folder for folder in resolved if not paths.contains(folder, str(self.root)))
        self._trash = trash or self.root / ".Trash-homeport"
        self._outside_links = outside_links
        self._tidied: set[Path] = set()

    # ---- reading --------------------------------------------------------------------------------------------------

    async def stat(self, path: str) -> Stat:
        """One entry."""
        return await asyncio.to_thread(self._stat, paths.parse(path))

    async def list(self, path: str) -> list[Stat]:
        """The entries of a folder: one ``scandir``; links are resolved, and nothing is told of what lies outside."""
        return await asyncio.to_thread(self._list, paths.parse(path))

    async def read(self, path: str, *, limit: int | None = None) -> tuple[bytes, str]:
        """Content and sha256 (hex)."""
        return await asyncio.to_thread(self._read, paths.parse(path), limit)

    async def hash(self, path: str) -> str:
        """The sha256 (hex) of the content, without holding it in memory."""

        def digest() -> str:
            with _told(path, "read"), _opened(self.absolute(path), path) as (descriptor, _), open(descriptor, "rb", closefd=False) as file:
                return hashlib.file_digest(file, "sha256").hexdigest()

        path = paths.parse(path)
        return await asyncio.to_thread(digest)

    def absolute(self, path: str) -> Path:
        """The resolved path.

        Raises:
            Forbidden: it leads out of the root.
        """
        path = paths.parse(path)
        return self._contained(os.path.realpath(self.root / path), path)

    def _contained(self, real: str, path: str) -> Path:
        if not self._outside_links and not paths.contains(str(self.root), real):
            raise Forbidden(f"“{path}” is a link that leads out of the served folder; it is not followed.", path=path)
        if any(paths.contains(folder, real) for folder in self._private):
            raise Forbidden(f"“{path}” belongs to Homeport itself and is not served: it may hold secrets.", path=path)
        return Path(real)

    def _entry(self, path: str) -> Path:
        """The entry itself: the folder is resolved, a link at the end is not."""
        if not path:
            raise Forbidden("The served folder itself cannot be renamed, replaced or deleted.")
        return self._contained(os.path.realpath(self.root / paths.parent(path)), path) / paths.name(path)

    def _stat(self, path: str) -> Stat:
        with _told(path, "read"):
            real = self.absolute(path)
            return _as_stat(path, os.stat(real), os.access(real, os.W_OK))

    def _list(self, path: str) -> list[Stat]:
        with _told(path, "list"):
            folder = self.absolute(path)
            if not folder.is_dir():
                os.stat(folder)
                raise BadRequest(f"“{path}” is not a folder.", path=path)
            with os.scandir(folder) as entries:
                return [self._entry_stat(path, entry) for entry in entries]

    def _entry_stat(self, folder: str, entry: os.DirEntry[str]) -> Stat:
        path = paths.join(folder, entry.name)
        why = "Broken link"
        try:
            if entry.is_symlink():
                self._contained(os.path.realpath(entry.path), path)
            path.encode()
            return _as_stat(path, entry.stat(), os.access(entry.path, os.W_OK))
        except Forbidden:
            why = "Link out of the folder"
        except UnicodeEncodeError:
            why = "Name is not Unicode"
        except OSError:
            pass
        facts: os.stat_result | None = None
        with contextlib.suppress(OSError):
            facts = entry.stat(follow_symlinks=False)
        return _broken(path, why, facts)

    def _read(self, path: str, limit: int | None) -> tuple[bytes, str]:
        with _told(path, "read"), _opened(self.absolute(path), path) as (descriptor, facts):
            if limit is not None and facts.st_size > limit:
                raise TooLarge(f"“{path}” has {facts.st_size} bytes; at most {limit} are read.", path=path, size=facts.st_size, limit=limit)
            with open(descriptor, "rb", closefd=False) as file:
                content = file.read()
            return content, hashlib.sha256(content).hexdigest()

    # ---- writing --------------------------------------------------------------------------------------------------

    async def write(
        self, path: str, data: bytes | Iterable[bytes], *, size: int | None = None, if_match: str | None = None, create_only: bool = False
    ) -> str:
        """Write beside the target, flush to the disk, compare, rename, flush the folder."""
        pieces = [data] if isinstance(data, bytes) else data
        size = len(data) if isinstance(data, bytes) else size
        return await asyncio.to_thread(self._write, paths.parse(path), pieces, size or 0, if_match, create_only)

    def _write(self, path: str, pieces: Iterable[bytes], size: int, if_match: str | None, create_only: bool) -> str:
        with _told(path, "write"):
            if not path:
                raise BadRequest("A file needs a name.")
            target = self.absolute(path)
            old = _facts(target)
            if old is not None:
                regular(old, path)
            if old is not None and not os.access(target, os.W_OK):
                read_only = os.statvfs(target).f_flag & os.ST_RDONLY
                raise (
                    OSError(errno.EROFS, os.strerror(errno.EROFS)) if read_only else PermissionError(errno.EACCES, "the file is read-only")
                )
            if target.parent not in self._tidied and _tidy(target.parent):
                self._tidied.add(target.parent)
            _need_room(target.parent, size)
            with _beside(target.parent) as (temporary, descriptor):
                digest = hashlib.sha256()
                for piece in pieces:
                    digest.update(piece)
                    _write_all(descriptor, piece)
                _dress(descriptor, target, old)
                os.fsync(descriptor)
                if if_match is not None:
                    self._match(path, target, if_match)
                if create_only:
                    _create(temporary, target, path)
                else:
                    os.rename(temporary, target)
            _flush_folder(target.parent)
            return digest.hexdigest()

    def _match(self, path: str, target: Path, wanted: str) -> None:
        before = _facts(target)
        if before is None:
            raise Conflict(f"“{path}” was deleted or moved by another program.", path=path, gone=True)
        regular(before, path)
        now = _hash(target)
        after = _facts(target)
        # Between this look and the rename there are microseconds; between the first look and here was a whole hash.
        if now != wanted or after is None or (before.st_ino, before.st_ctime_ns) != (after.st_ino, after.st_ctime_ns):
            raise Conflict(f"“{path}” was changed by another program.", path=path, gone=False)

    async def make_folder(self, path: str) -> None:
        """Create a folder."""

        def make() -> None:
            with _told(path, "create"):
                os.mkdir(self._entry(path))

        path = paths.parse(path)
        await asyncio.to_thread(make)

    async def rename(self, old: str, new: str) -> None:
        """Move a file or folder; a link is moved, not what it leads to."""
        old, new = paths.parse(old), paths.parse(new)

        def move() -> None:
            with _told(old, "rename"):
                source, target = self._entry(old), self._entry(new)
                facts = os.lstat(source)
                if os.path.lexists(target) and not os.path.samefile(source, target):
                    raise Conflict(f"“{new}” exists already.", path=new)
                if modes.S_ISDIR(facts.st_mode) or os.path.lexists(target):
                    os.rename(source, target)
                else:
                    _create(source, target, new, move=True)

        await asyncio.to_thread(move)

    async def delete(self, path: str) -> str:
        """Put it into the trash of the desktop; when that cannot be, into the trash folder of this store."""
        return await asyncio.to_thread(self._delete, paths.parse(path))

    def _delete(self, path: str) -> str:
        from send2trash import send2trash

        with _told(path, "delete"):
            entry = self._entry(path)
            facts = os.lstat(entry)
            if modes.S_ISLNK(facts.st_mode):
                # What it leads to stays; a link alone is not worth the trash.
                entry.unlink()
                return "removed (it was a link)"
            try:
                send2trash(str(entry))
            except OSError:
                self._trash.mkdir(mode=0o700, parents=True, exist_ok=True)
                kept = self._trash / f"{secrets.token_hex(4)}-{entry.name}"
                shutil.move(entry, kept)
                return str(kept)
            return "the trash"

    async def copy(self, source: str, target: str) -> None:
        """Copy a file, with its mode."""
        source, target = paths.parse(source), paths.parse(target)

        def copy() -> None:
            with _told(source, "copy"), _opened(self.absolute(source), source) as (descriptor, facts):
                pieces = iter(lambda: os.read(descriptor, _PIECE), b"")
                self._write(target, pieces, facts.st_size, None, True)
                os.chmod(self.absolute(target), modes.S_IMODE(facts.st_mode))

        await asyncio.to_thread(copy)


def _as_stat(path: str, facts: os.stat_result, writable: bool) -> Stat:
    special = next((what for is_one, what in _SPECIAL if is_one(facts.st_mode)), None)
    if special is not None:
        return _broken(path, special, facts)
    kind: Kind = "directory" if modes.S_ISDIR(facts.st_mode) else "notebook" if paths.is_notebook(path) else "file"
    size = None if kind == "directory" else facts.st_size
    return Stat(path, kind, size, facts.st_mtime, facts.st_ctime, writable, paths.is_hidden(path))


def _broken(path: str, why: str, facts: os.stat_result | None) -> Stat:
    shown = path.encode("utf-8", "replace").decode()
    modified, created = (facts.st_mtime, facts.st_ctime) if facts is not None else (0.0, 0.0)
    return Stat(shown, "broken", None, modified, created, False, paths.is_hidden(path), why)


def pieces_of(file: Path) -> Iterator[bytes]:
    """The content of ``file``, 1 MiB at a time."""
    with open(file, "rb") as source:
        while piece := source.read(1 << 20):
            yield piece


@contextmanager
def _told(path: str, verb: str) -> Generator[None]:
    """Turn an ``OSError`` into one of ours, which names the API path only."""
    try:
        yield
    except OSError as error:
        raise as_error(error, path, verb) from error


def as_error(error: OSError, path: str, verb: str) -> HomeportError:
    """Our error for an ``OSError`` met when one wanted to ``verb`` (read, write, ...) ``path``."""
    name = errno.errorcode.get(error.errno or 0, "EIO")
    words = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return NotFound(f"“{path}” does not exist.", path=path)
    if error.errno == errno.ELOOP:
        return NotFound(f"“{path}” is a link that goes round in a circle.", path=path)
    if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
        return Conflict(f"“{path}” exists already.", path=path)
    if error.errno in (errno.ENAMETOOLONG, errno.EISDIR, errno.EINVAL):
        return BadRequest(f"Cannot {verb} “{path}”: {words}.", path=path)
    if error.errno in (errno.EACCES, errno.EPERM) and verb != "write":
        return Forbidden(f"Cannot {verb} “{path}”: the system does not permit it ({words}).", path=path)
    return StoreFailed(f"Cannot {verb} “{path}”: {words} ({name}).", path=path, errno=name)


def _facts(path: Path) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def regular(facts: os.stat_result, path: str) -> None:
    """Raises BadRequest for what is no regular file, by its kind."""
    if not modes.S_ISREG(facts.st_mode):
        special = next((what.lower() for is_one, what in _SPECIAL if is_one(facts.st_mode)), "folder")
        raise BadRequest(f"“{path}” is a {special}.", path=path)


@contextmanager
def _opened(real: Path, path: str) -> Generator[tuple[int, os.stat_result]]:
    """A regular file, open for reading. Not blocking at the open: a named pipe would wait for its writer for ever."""
    regular(os.stat(real), path)  # opening a device may do something
    descriptor = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        facts = os.fstat(descriptor)
        regular(facts, path)
        yield descriptor, facts
    finally:
        os.close(descriptor)


def _hash(real: Path) -> str:
    with open(real, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _need_room(folder: Path, size: int) -> None:
    """Look before the target's folder is touched, so that a full disk is said before a partial file is made."""
    free = os.statvfs(folder)
    if free.f_bavail * free.f_frsize < size + _MARGIN or (free.f_files > 0 and free.f_favail < 2):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _tidy(folder: Path) -> bool:
    """Take away what a server left that was killed while it wrote; whether nothing is left of that.

    What is young may be another server's, at work.
    """
    tidy = True
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(_TEMPORARY) and entry.name.endswith(".tmp"):
                with contextlib.suppress(OSError):
                    if time.time() - entry.stat(follow_symlinks=False).st_mtime > _LEFT_BEHIND:
                        os.unlink(entry.path)
                    else:
                        tidy = False
    return tidy


@contextmanager
def _beside(folder: Path) -> Generator[tuple[Path, int]]:
    """A new file in ``folder`` for writing; gone at the end unless it was renamed."""
    temporary = folder / f"{_TEMPORARY}{secrets.token_hex(6)}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        yield temporary, descriptor
    finally:
        os.close(descriptor)
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def _write_all(descriptor: int, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(descriptor, view) :]


def _dress(descriptor: int, target: Path, old: os.stat_result | None) -> None:
    """Give the new file the mode, owner and extended attributes of the one it replaces, as far as the system lets us."""
    if old is None:
        # The umask can be read only by setting it, which is not safe among threads: a file made as usual shows it.
        os.fchmod(descriptor, 0o666 & ~_umask())
        return
    if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
        for owner in ((old.st_uid, old.st_gid), (-1, old.st_gid)):
            try:
                os.fchown(descriptor, *owner)
            except PermissionError:
                continue
            break
    os.fchmod(descriptor, modes.S_IMODE(old.st_mode))
    if hasattr(os, "listxattr"):
        with contextlib.suppress(OSError):
            for name in os.listxattr(target):
                with contextlib.suppress(OSError):
                    os.setxattr(descriptor, name, os.getxattr(target, name))


def _umask() -> int:
    with contextlib.suppress(OSError, ValueError, StopIteration), open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith("Umask:")).split()[1], 8)
    return 0o022


def _create(source: Path, target: Path, path: str, *, move: bool = False) -> None:
    """Give ``source`` the name ``target``, which must be free. A hard link does not replace what is there; a rename does."""
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError as error:
        raise Conflict(f"“{path}” exists already.", path=path) from error
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV):
            raise
        if os.path.lexists(target):
            raise Conflict(f"“{path}” exists already.", path=path) from error
        os.rename(source, target)
        return
    if move:
        os.unlink(source)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot flush a folder; the rename stands.
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
