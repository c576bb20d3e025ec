"""Scratch: a machine-local place for what can be made again, with a limit on its bytes.

    scratch = Scratch(budget=1 << 30)
    scratch.put("sheet-1", [head, data])
    scratch.get("sheet-1")       # the data, or None: it may have had to make room

Nothing may depend on finding something here. All processes of one user on one machine share the
folder and the budget, and files older than ten minutes make room for new ones; so what a killed run
left behind goes by itself, and no run takes another's away while it is needed. It is a folder of
its own wherever it lies (``finecut-<user>``, for its owner only), and nothing else is ever touched.
"""

import contextlib
import os
import stat
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

#: Bytes, or anything whose memory can be read as such.
Buffer: TypeAlias = Any

PART = ".part"
#: Seconds for which a file is let alone: somebody may be about to need it.
FRESH = 600
#: Names are made of these and of letters and digits, so that none leaves the folder.
PLAIN = "-_."


@dataclass(frozen=True)
class Scratch:
    """``place``: where its folder lies, if not where the machine has temporary files."""

    budget: int
    place: str = ""

    def put(self, name: str, parts: Sequence[Buffer]) -> bool:
        """Keep these bytes, one after the other, if there is room; whether they were kept."""
        needed = sum(memoryview(part).nbytes for part in parts)
        # A full disk is no accident here: what is not found later is made again.
        with contextlib.suppress(OSError):
            folder = _own_folder(self.place)
            if needed > self.budget or not _make_room(folder, self.budget - needed):
                return False
            _write(folder / _checked(name), parts)
            return True
        return False

    def is_usable(self) -> bool:
        """Whether anything can be written there at all, be it full or not."""
        with contextlib.suppress(OSError):
            path = _own_folder(self.place) / f"try-{uuid.uuid4().hex}"
            _write(path, [])
            path.unlink()
            return True
        return False

    def get(self, name: str) -> bytes | None:
        try:
            return (_own_folder(self.place) / _checked(name)).read_bytes()
        except OSError:
            return None

    def drop(self, name: str) -> None:
        """What is not needed any more need not wait until something else needs its room."""
        with contextlib.suppress(OSError):
            (_own_folder(self.place) / _checked(name)).unlink()

    def sweep(self, beginning: str) -> None:
        """Drop everything whose name begins so."""
        with contextlib.suppress(OSError):
            for path in list(_own_folder(self.place).glob(f"{beginning}*")):
                path.unlink(missing_ok=True)


def _write(path: Path, parts: Sequence[Buffer]) -> None:
    """Whole or not at all; the part is called like the whole, so that it is swept with it."""
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}{PART}")
    try:
        with part.open("wb") as file:
            file.writelines(parts)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _checked(name: str) -> str:
    if not name or name.startswith(".") or not all(c.isalnum() or c in PLAIN for c in name):
        raise ValueError(f"{name!r} is not a valid name for a file in the scratch folder")
    return name


def _make_room(folder: Path, left: int) -> bool:
    """Remove the oldest files until at most ``left`` bytes are left, if they are old enough."""
    files = sorted(_files(folder))
    held = sum(size for _, size, _ in files)
    for written, size, path in files:
        if held <= left or time.time_ns() - written < FRESH * 10**9:
            break
        with contextlib.suppress(OSError):
            path.unlink()
            held -= size
    return held <= left


def _files(folder: Path) -> Iterator[tuple[int, int, Path]]:
    """Age, size and path of what lies here; others add and remove at the same time."""
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                found = entry.stat(follow_symlinks=False)
                yield found.st_mtime_ns, found.st_size, Path(entry.path)


def _own_folder(place: str) -> Path:
    return own_folder(place, "finecut")


def own_folder(root: str, name: str) -> Path:
    """A folder only this user can look into; an error if it is somebody else's."""
    folder = Path(root or tempfile.gettempdir()) / f"{name}-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(
            f"{folder} belongs to another user, so finecut writes nothing there: remove it, or "
            "set TMPDIR to another folder for temporary files"
        )
    folder.chmod(0o700)
    return folder
