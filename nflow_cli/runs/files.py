"""Files in a folder that a stranger may have filled: plain ones alone are opened. No Keras here.

No link is followed, whatever it leads to, and no FIFO or device is waited for: the rule of every
file of a run. The folder that the user names may itself be a link.
"""

import errno
import hashlib
import io
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from nflow_cli.errors import RunDirectoryError

_TEMPORARY = ".nflow-"  # what the name of an unfinished file begins with, and nobody else's does
_UNFINISHED = re.compile(rf"{re.escape(_TEMPORARY)}[a-z0-9_]{{8}}(\.\w+)?")
# Windows has neither; what is no plain file is refused there by `is_file` alone.
_CAREFULLY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an OSError into one line that names ``path``, not a temporary file on the way to it."""
    try:
        yield
    except OSError as error:
        raise RunDirectoryError(f"{path}: {error.strerror or error}") from None


def is_file(path: Path) -> bool:
    """Return whether there is a plain file at ``path``.

    Raises:
        RunDirectoryError: If there is anything else: a link, a folder, a FIFO, a device.
    """
    return _is_there(path, stat.S_IFREG, "a plain file")


def is_folder(path: Path) -> bool:
    """Return whether there is a folder at ``path``.

    Raises:
        RunDirectoryError: If there is anything else, such as a link to one.
    """
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
    """Open a plain file unbuffered; only opening and closing it are explained, not the block."""
    with explained(path):
        is_file(path)
        file = io.FileIO(path, mode, opener=_open_carefully)
    try:
        yield file
    finally:
        with explained(path):  # a network file system may say only now that it is full
            file.close()


def _open_carefully(path: str, flags: int) -> int:
    return os.open(path, flags | _CAREFULLY, 0o666)


def read(path: Path, limit: int) -> bytes:
    """Return the content of a plain file of at most ``limit`` bytes."""
    with opened(path, "rb") as file, explained(path):
        if os.fstat(file.fileno()).st_size > limit:
            raise RunDirectoryError(f"{path}: damaged: expected at most {limit:,} bytes")
        return file.readall()


def sha256(path: Path) -> str:
    """Return the SHA-256 of a plain file, of any size."""
    with opened(path, "rb") as file, explained(path):
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yield a temporary name, of a file that replaces the old one when the block ends well."""
    with explained(path):
        handle, temporary = tempfile.mkstemp(path.suffix, _TEMPORARY, path.parent)
        try:
            os.close(handle)
            yield Path(temporary)
            sync(temporary)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):  # what went wrong first matters more
                os.unlink(temporary)
            raise
        sync(path.parent)


def is_unfinished(name: str) -> bool:
    """Return whether that is what a file is called before it is written to its end."""
    return _UNFINISHED.fullmatch(name) is not None


def remove(folder: Path, unwanted: Callable[[str], bool]) -> None:
    """Remove the plain files in a folder, if it is one, whose names are ``unwanted``."""
    with suppress(OSError, RunDirectoryError):  # what cannot be removed does no harm
        for entry in list(os.scandir(folder)) if is_folder(folder) else []:
            if unwanted(entry.name) and entry.is_file(follow_symlinks=False):
                os.unlink(entry.path)


def lock(file: Any, path: Path) -> bool:
    """Lock an open file unless another process has; closing it or any end of ours unlocks it."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return True  # this system or file system has no locks: train without one
    with suppress(OSError):  # the last holder may have removed the file since it was opened
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    return False


def is_locked(path: Path) -> bool:
    """Return whether another process has the lock of a file, if there is one of that name."""
    if not is_file(path):
        return False
    with opened(path, "ab") as file:
        return not lock(file, path)


def append(file: Any, content: bytes) -> None:
    """Append all of ``content`` to an unbuffered file, or leave it as it was."""
    start, rest = file.seek(0, os.SEEK_END), memoryview(content)
    try:
        while rest:  # a disk that fills up takes a part first
            rest = rest[file.write(rest) :]
    except BaseException:
        with suppress(OSError):
            file.truncate(start)
        raise


def sync(path: str | Path) -> None:
    """Make a file, or the names in a folder, outlast a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that cannot
            raise
    finally:
        os.close(handle)
