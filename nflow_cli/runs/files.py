"""Safe file access in untrusted directories: plain files only.

Links are never followed, FIFOs and devices never opened. The folder itself may be a link, and so
may the output that a user names.
"""

import errno
import hashlib
import io
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from nflow_cli.errors import RunDirectoryError

_TEMPORARY = ".nflow-"  # prefix of unfinished files
_UNFINISHED = re.compile(rf"{re.escape(_TEMPORARY)}[a-z0-9_]{{8}}(\.\w+)?")
# Windows has neither: `is_file` alone refuses other files there.
_CAREFULLY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an OSError into a RunDirectoryError that names ``path``, not its temporary file."""
    try:
        yield
    except OSError as error:
        raise RunDirectoryError(f"{path}: {error.strerror or error}") from None


def is_file(path: Path) -> bool:
    """Whether ``path`` is a plain file; anything else is refused."""
    return _is_there(path, stat.S_IFREG, "a plain file")


def is_folder(path: Path) -> bool:
    """Whether ``path`` is a folder; anything else, such as a link, is refused."""
    return _is_there(path, stat.S_IFDIR, "a folder")


def _is_there(path: Path, form: int, expected: str) -> bool:
    with explained(path):
        try:
            received = stat.S_IFMT(path.lstat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False
    if received != form:
        name = _FORMS.get(received, "no file")
        raise RunDirectoryError(f"{path}: {name}; expected {expected}")
    return True


_FORMS = {
    stat.S_IFLNK: "a link",
    stat.S_IFDIR: "a folder",
    stat.S_IFREG: "a file",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@contextmanager
def opened(path: Path, mode: str) -> Iterator[Any]:
    """Open a plain file unbuffered; errors of the block itself pass through."""
    with explained(path):
        is_file(path)
        file = io.FileIO(path, mode, opener=_open_carefully)
    try:
        yield file
    finally:
        with explained(path):  # a network file system may report only now that it is full
            file.close()


def _open_carefully(path: str, flags: int) -> int:
    return os.open(path, flags | _CAREFULLY, 0o666)


def read(path: Path, limit: int) -> bytes:
    """Content of a plain file of at most ``limit`` bytes."""
    with opened(path, "rb") as file, explained(path):
        if os.fstat(file.fileno()).st_size > limit:
            raise RunDirectoryError(f"{path}: damaged: expected at most {limit:,} bytes")
        return file.readall()


def sha256(path: Path) -> str:
    """SHA-256 of a plain file."""
    with opened(path, "rb") as file, explained(path):
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yield a temporary path; the file replaces the old one if the block succeeds.

    It keeps the permissions of a plain file, or has those of the umask; until then it is private.
    """
    temporary = path.with_name(f"{_TEMPORARY}{secrets.token_hex(4)}{path.suffix}")
    with explained(path):
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL, 0o666))
        try:
            like = path if path.is_file() and not path.is_symlink() else temporary
            mode = stat.S_IMODE(like.stat().st_mode)
            os.chmod(temporary, 0o600)
            yield temporary
            sync(temporary)
            os.chmod(temporary, mode)
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):  # the first error matters more
                os.unlink(temporary)
            raise
        sync(path.parent)


def followed(path: Path) -> Path:
    """The plain file, or the new one, that a user's output is; of a link the file it leads to."""
    with explained(path):
        target = Path(os.path.realpath(path, strict=True)) if path.is_symlink() else path
    is_file(target)
    return target


def stamp(path: Path) -> tuple[int, ...]:
    """Identity, size and time of a file, by which a change is noticed; empty if it is gone."""
    with suppress(OSError, ValueError):  # an invalid name: "\0"
        status = path.stat()
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
    return ()


def is_unfinished(name: str) -> bool:
    """Whether this is the name of a temporary file."""
    return _UNFINISHED.fullmatch(name) is not None


def remove(folder: Path, unwanted: Callable[[str], bool]) -> None:
    """Remove the plain files of a folder whose names are ``unwanted``."""
    with suppress(OSError, RunDirectoryError):  # a file that cannot be removed does no harm
        if not is_folder(folder):
            return
        for entry in list(os.scandir(folder)):
            if unwanted(entry.name) and entry.is_file(follow_symlinks=False):
                os.unlink(entry.path)


def lock(file: Any, path: Path) -> bool:
    """Lock an open file until it is closed or the process ends; False if another process has."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return True  # the system or file system has no locks: train without
    with suppress(OSError):  # the last holder may have removed the file since it was opened
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    return False


def is_locked(path: Path) -> bool:
    """Whether another process holds the lock of a file."""
    if not is_file(path):
        return False
    with opened(path, "ab") as file:
        return not lock(file, path)


def append(file: Any, content: bytes) -> None:
    """Append all of ``content`` to an unbuffered file, or leave the file unchanged."""
    start, rest = file.seek(0, os.SEEK_END), memoryview(content)
    try:
        while rest:  # a full disk accepts a part first
            rest = rest[file.write(rest) :]
    except BaseException:
        with suppress(OSError):
            file.truncate(start)
        raise


def sync(path: str | Path) -> None:
    """Sync a file, or the names in a folder, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # an unsupported operation
            raise
    finally:
        os.close(handle)
