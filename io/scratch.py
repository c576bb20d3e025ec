"""Scratch: a machine-local place for what can be made again, with a limit on its bytes.

    scratch = Scratch(budget=1 << 30)
    scratch.put("sheet-1", data)
    scratch.get("sheet-1")       # the data, or None: it may have had to make room

Nothing may depend on finding something here. All processes of one user on one machine share the
folder and the budget, and the oldest files make room for new ones; so what a killed run left behind
goes by itself.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PART = ".part"
#: Names are made of these and of letters and digits, so that none leaves the folder.
PLAIN = "-_."


@dataclass(frozen=True)
class Scratch:
    """``folder``: where; the machine's own place for temporary files unless it is said."""

    budget: int
    folder: str = ""

    def put(self, name: str, data: bytes) -> bool:
        """Keep these bytes if there is room for them; whether they were kept."""
        if len(data) > self.budget:
            return False
        path = self._path(name)
        part = path.with_name(f"{uuid.uuid4().hex}{PART}")
        try:
            self._make_room(len(data))
            part.write_bytes(data)
            part.replace(path)
        except OSError:
            # A full disk is no accident here: who looks for this later makes it again.
            with contextlib.suppress(OSError):
                part.unlink()
            return False
        return True

    def get(self, name: str) -> bytes | None:
        try:
            return self._path(name).read_bytes()
        except OSError:
            return None

    def drop(self, name: str) -> None:
        """What is not needed any more need not wait until something else needs its room."""
        with contextlib.suppress(OSError):
            self._path(name).unlink()

    def _path(self, name: str) -> Path:
        if not name or name.startswith(".") or not all(c.isalnum() or c in PLAIN for c in name):
            raise ValueError(f"{name!r} is no name for a file in the scratch folder")
        folder = Path(self.folder) if self.folder else Path(_own_folder())
        return folder / name

    def _make_room(self, needed: int) -> None:
        folder = Path(self.folder) if self.folder else Path(_own_folder())
        folder.mkdir(parents=True, exist_ok=True)
        files = sorted(_files(folder))
        held = sum(size for _, size, _ in files)
        for _, size, path in files:
            if held + needed <= self.budget:
                return
            with contextlib.suppress(OSError):
                path.unlink()
            held -= size


def _files(folder: Path) -> Iterator[tuple[int, int, Path]]:
    """Age, size and path of what lies here; others add and remove at the same time."""
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                found = entry.stat()
                yield found.st_mtime_ns, found.st_size, Path(entry.path)


@cache
def _own_folder() -> str:
    """A folder only this user can look into; a fresh one where somebody else took the name."""
    folder = Path(tempfile.gettempdir()) / f"finecut-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if folder.is_dir() and not folder.is_symlink() and found.st_uid == os.getuid():
            return str(folder)
    except OSError:
        pass
    return tempfile.mkdtemp(prefix="finecut-")
