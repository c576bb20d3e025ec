"""A disk that is soon full, or that refuses."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class NoDisk(Exception):
    """No disk of its own can be mounted here: usually only root may."""


@contextmanager
def small_disk(folder: Path, num_bytes: int) -> Iterator[Path]:
    """A disk of so many bytes, in memory."""
    folder.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={num_bytes // 4096 * 4096}", "finecut", str(folder))
    try:
        yield folder
    finally:
        # Lazily: an error that is still being looked at may hold a file open.
        subprocess.run(["umount", "-l", folder], check=True)


def remount(folder: Path, options: str) -> None:
    """Change a disk: ``size=64m``, or ``ro``, after which nothing can be written."""
    _mount("-o", f"remount,{options}", str(folder))


def _mount(*arguments: str) -> None:
    if shutil.which("mount") is None:
        raise NoDisk("there is no program called mount")
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoDisk(done.stderr)
