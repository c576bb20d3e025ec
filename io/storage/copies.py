"""Copies: files of this machine, for a while, of what cannot be read in parts where it lies.

A server that knows no ranges sends all of a video or nothing, and a compressed member of an archive
begins at its beginning. So these are written to a temporary file once, and read from there as often
as they are needed, by every child of this process.

The copies lie in a temporary folder of this process (``staging.py``): it goes with the process,
and if that is killed, the next one sweeps it. Together they take as much room as one of them may
at most, and the oldest make room for new ones. Who reads one has it open, so it may go meanwhile.
"""

import atexit
import fcntl
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from finecut.io.process.child import beat
from finecut.io.storage.staging import temporary_folder

#: Seconds between two looks whether another process has finished its copy.
PAUSE: Final = 0.05
#: Of the room on the disk, the part that copies may take.
OF_DISK: Final = 0.9
PART: Final = ".part"


class TooLarge(OSError):
    """A file that is larger than one may be."""


class _Here:
    """Where the copies of this process lie."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.folder = ""
        self.owned, self.owner = ExitStack(), 0


_HERE = _Here()


def place() -> str:
    """The folder, made when it is first needed."""
    with _HERE.lock:
        if not _HERE.folder:
            _HERE.folder = _HERE.owned.enter_context(temporary_folder())
            _HERE.owner = os.getpid()
        return _HERE.folder


@contextmanager
def lying_in(folder: str) -> Iterator[None]:
    """Within, copies lie in this folder of another process; nowhere else, if it has none."""
    before, _HERE.folder = _HERE.folder, folder or _HERE.folder
    try:
        yield
    finally:
        _HERE.folder = before


def sweep() -> None:
    """Remove all copies that this process made."""
    if _HERE.owner != os.getpid():
        return  # nothing was made, or by the process that this one is a copy of
    with _HERE.lock:
        _HERE.folder, _HERE.owner = "", 0
        _HERE.owned.close()


atexit.register(sweep)


class Copy:
    """A copy that is open, to be read in ranges."""

    is_copied = True

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = os.fstat(file.fileno()).st_size

    def fetch(self, start: int, length: int) -> bytes:
        return os.pread(self._file.fileno(), length, start)

    def close(self) -> None:
        self._file.close()


def copy_of(
    what: str, version: str, fill: Callable[[BinaryIO], None], *, size: int, most: int
) -> Copy:
    """The copy of what has this name and version; ``fill`` writes it, if there is none.

    ``size``: its bytes, or -1 if nobody knows before. Work of several processes and threads on the
    same video makes one copy: the others wait for it.
    """
    path = Path(place()) / _file_of(what, version)
    with _alone(path.with_suffix(".lock")):
        # Whoever makes room next takes the oldest.
        with suppress(FileNotFoundError):
            file = path.open("rb")
            os.utime(path)
            return Copy(file)
        _make_room(path.parent, max(size, 0), most)
        part = path.with_suffix(PART)
        try:
            with part.open("wb") as out:
                fill(out)
            part.rename(path)
        finally:
            part.unlink(missing_ok=True)
        return Copy(path.open("rb"))


def was_copied(what: str) -> bool:
    """Whether there is a copy of some version of it."""
    beginning = _file_of(what, "").partition("-")[0]
    return bool(_HERE.folder) and any(Path(_HERE.folder).glob(f"{beginning}-*"))


def copy_there(what: str, version: str) -> Copy | None:
    """The copy of what has this name and version, if there is one."""
    with suppress(OSError):
        return Copy((Path(_HERE.folder) / _file_of(what, version)).open("rb"))
    return None


def _file_of(what: str, version: str) -> str:
    texts = (text.encode(errors="surrogatepass") for text in (what, version))
    return "-".join(hashlib.sha256(text).hexdigest()[:32] for text in texts)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Within, nobody else makes this copy."""
    with path.open("a") as lock:
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            beat()
            time.sleep(PAUSE)
        yield


def _make_room(folder: Path, needed: int, most: int) -> None:
    copies = [path for path in folder.iterdir() if not path.suffix]
    found = sorted((path.stat().st_mtime_ns, path.stat().st_size, path) for path in copies)
    held = sum(size for _, size, _ in found)
    room = min(most, held + int(shutil.disk_usage(folder).free * OF_DISK)) - needed
    for _, size, path in found:
        if held <= max(0, room):
            break
        path.unlink(missing_ok=True)
        held -= size


def poured(parts: Iterator[bytes], out: BinaryIO, most: int, named: str) -> int:
    """Write these parts, and no more than a file may have; how many bytes they were."""
    written = 0
    for part in parts:
        beat()
        written += len(part)
        if written > most:
            raise TooLarge(too_large(named, most))
        out.write(part)
    return written


def too_large(named: str, most: int) -> str:
    return (
        f"{named} has more than {most // 1_000_000:,} MB, which is the limit for one file. Leave "
        "it out, or raise --max-download-mb"
    )
