"""Let the file operations of this process fail, one at a time.

One error stands for all: nflow looks at its number where it syncs, Python where it makes folders,
and nowhere else.
"""

import errno
import io
import os

CALLS = ["open", "mkdir", "fsync", "replace", "chmod"]


class Disk:
    """Counts the file operations from now on, and fails the one whose turn is given.

    A write that fails has written half of its bytes before, as on a disk that fills up.
    """

    def __init__(self, monkeypatch, turn, number=errno.ENOSPC):
        self.number, self.turn, self.done = number, turn, []
        for name in CALLS:
            monkeypatch.setattr(os, name, self._counted(name, getattr(os, name)))
        monkeypatch.setattr(io, "open", self._counted("io.open", self._open))
        monkeypatch.setattr(io, "FileIO", self._file_class())

    def fails(self, name):
        self.done.append(name)
        return len(self.done) == self.turn

    def error(self):
        return OSError(self.number, os.strerror(self.number), "/some/temporary/name")

    @property
    def failed(self):
        return len(self.done) >= self.turn

    def _counted(self, name, call):
        def counted(*args, **kwargs):
            if self.fails(name):
                raise self.error()
            return call(*args, **kwargs)

        return counted

    def _file_class(self):
        disk = self

        class Unbuffered(File):  # a class, as NumPy asks what is one
            def __init__(self, file, mode, opener=None):
                if disk.fails("io.FileIO"):
                    raise disk.error()
                super().__init__(file, mode, disk, opener)

        return Unbuffered

    def _open(self, file, mode, *_):
        assert "b" in mode
        raw = File(file, mode, self)
        return io.BufferedReader(raw) if "r" in mode else io.BufferedWriter(raw)


class File(io.FileIO):
    def __init__(self, file, mode, disk, opener=None):
        super().__init__(file, mode.replace("b", ""), opener=opener)
        self.disk = disk

    def write(self, data):
        if self.disk.fails("write"):
            super().write(memoryview(data)[: len(data) // 2])
            raise self.disk.error()
        return super().write(data)

    def readall(self):
        if self.disk.fails("read"):
            raise self.disk.error()
        return super().readall()

    def close(self):
        failed = not self.closed and self.disk.fails("close")
        super().close()
        if failed:
            raise self.disk.error()
