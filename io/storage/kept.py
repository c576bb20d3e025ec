"""What a process keeps on its own machine until it is published to a store.

    bench ──▶ a clip that is whole ──▶ written once, under its final name

A store cannot rename: what is staged there is sent, copied and removed, where sending would do. So
where the same process cuts and writes, files wait in a temporary folder of that process, which does
not outlive it (:mod:`staging`). It lasts as long as somebody in the process holds it.
"""

import os
import threading
import uuid
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

from finecut.io.storage.publishing import Shelf
from finecut.io.storage.staging import temporary_folder


class Kept:
    """A process's folder for what one run is about to publish."""

    def __init__(self) -> None:
        stack = ExitStack()
        self.folder = stack.enter_context(temporary_folder())
        weakref.finalize(self, _close, stack, os.getpid())

    def shelf(self, own: Shelf) -> Shelf:
        """The shelf, which keeps files here."""
        return replace(own, kept_in=self.folder)

    @contextmanager
    def apart(self, own: Shelf) -> Iterator[tuple[Shelf, set[str]]]:
        """The shelf with a folder of its own to keep files in, and a set of those that are wanted:
        in the end the others are removed, and all of them if nobody waits for the rest.
        """
        folder, wanted = Path(self.folder, uuid.uuid4().hex), set[str]()
        folder.mkdir()
        try:
            yield replace(own, kept_in=str(folder)), wanted
        except GeneratorExit:  # the bundle is given up, and what it has made so far with it
            wanted.clear()
            raise
        finally:
            _tidy(folder, wanted)


#: By the staging folder of the run.
_KEPT: Final[WeakValueDictionary[str, Kept]] = WeakValueDictionary()
_FINDING: Final = threading.Lock()


def kept_of(own: Shelf) -> Kept | None:
    """Where this process keeps what the run of this shelf stages, if it keeps that here."""
    if not own.keeps:
        return None
    with _FINDING:
        return _KEPT.get(own.staging) or _KEPT.setdefault(own.staging, Kept())


def sweep_kept(staging: str) -> None:
    """Remove what this process still keeps for a run."""
    if (kept := _KEPT.get(staging)) is not None:
        _tidy(Path(kept.folder), set(), itself=False)


def _close(stack: ExitStack, process: int) -> None:
    if os.getpid() == process:  # a copy of it does not end it
        stack.close()


def _tidy(folder: Path, wanted: set[str], itself: bool = True) -> None:
    """Remove the files that nobody wants, and folders in which nothing is left."""
    for here, _, names in os.walk(folder, topdown=False):
        for name in names:
            if f"{here}/{name}" not in wanted:
                Path(here, name).unlink(missing_ok=True)
        if itself or Path(here) != folder:
            _remove_empty(Path(here))


def _remove_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return
