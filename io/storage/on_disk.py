"""A file on a disk, read in parts, and what is none although it has a name there."""

import errno
import os
import stat


class NotAFile(OSError):
    """Something of that name is there, and is no file whose bytes could be read."""


class OnDisk:
    """One version of a file: what replaces it is another one."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "rb", opener=without_waiting)  # noqa: SIM115
        found = os.fstat(self._file.fileno())
        if not stat.S_ISREG(found.st_mode):
            self._file.close()
            raise NotAFile(errno.EINVAL, "is a pipe or device, not a file", path)
        self.size = found.st_size

    def fetch(self, start: int, length: int) -> bytes:
        return os.pread(self._file.fileno(), length, start)

    def close(self) -> None:
        self._file.close()


def without_waiting(path: str, flags: int) -> int:
    """Opening a pipe as usual waits until somebody writes to it."""
    return os.open(path, flags | os.O_NONBLOCK)
