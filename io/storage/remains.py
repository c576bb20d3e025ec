"""Remains: what runs that are dead have left in the staging folder of a store.

A store has no locks, so nobody knows whether a run lives that is not one's own. One that wrote
nothing there for a week is dead: those that last longer say once a day that they live
(``transforms/write/tending.py``).
"""

from itertools import islice
from typing import Final

from finecut.io.storage import files as shelf
from finecut.io.storage.stores import MANY

LONG_AGO: Final = 7 * 86400.0


def sweep_store(staging: str, own: str, now: float) -> None:
    """Remove the objects of runs below ``staging`` that wrote nothing for a week, but for those of
    the ``own`` one.
    """
    youngest: dict[str, float] = {}
    for path, written in shelf.written_below(staging):
        folder = f"{staging}/{path[len(staging) + 1 :].split('/')[0]}"
        youngest[folder] = max(written, youngest.get(folder, 0.0))
    for folder, written in youngest.items():
        if folder != own and _is_old(written, now):
            _remove(folder, now)


def _remove(folder: str, now: float) -> None:
    """Listed again, because there may be more objects than can be remembered; what was written in
    the meantime stays.
    """
    old = (path for path, written in shelf.written_below(folder) if _is_old(written, now))
    while some := list(islice(old, MANY)):
        shelf.delete(some)


def _is_old(written: float, now: float) -> bool:
    return now - written > LONG_AGO
