"""What the steps of a run share in a process, for as long as one of them is at work in it.

    kept = of_run(writing.shelf.staging)      # in a DoFn's setup; its teardown lets go of it
    kept.once("pool", make_pool)              # made by the first of them, shared by all

Runs that follow each other in one process, or are at work at once, do not meet.
"""

import threading
from collections.abc import Callable, Hashable
from typing import Any, Final, TypeVar, cast
from weakref import WeakValueDictionary

from finecut.transforms.beam.tally import keep_tally

T = TypeVar("T")


class OfRun:
    """Things by name, each made once."""

    def __init__(self, run: str) -> None:
        keep_tally(run, self)
        self._lock = threading.Lock()
        self._things: dict[Hashable, Any] = {}

    def once(self, name: Hashable, make: Callable[[], T]) -> T:
        with self._lock:
            if name not in self._things:
                self._things[name] = make()
            return cast(T, self._things[name])


_RUNS: Final[WeakValueDictionary[str, OfRun]] = WeakValueDictionary()
_FINDING: Final = threading.Lock()


def of_run(run: str) -> OfRun:
    """What is kept of a run, which is known by its staging folder."""
    with _FINDING:
        return _RUNS.get(run) or _RUNS.setdefault(run, OfRun(run))
