"""Halting: a run that is given up writes nothing more and begins no work, wherever its threads are.

A run is known by its staging folder, which no other has. Others in this process go on.
"""

import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


class _Halted:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.runs: set[str] = set()
        #: What to do when a run is halted.
        self.then: defaultdict[str, list[Callable[[], object]]] = defaultdict(list)


_HERE = _Halted()


def _in_a_copy() -> None:
    """A lock that another thread held when this process was copied is never let go here."""
    _HERE.lock, _HERE.then = threading.Lock(), defaultdict(list)


os.register_at_fork(after_in_child=_in_a_copy)


def halt(run: str) -> None:
    """From now on, and for good; from any thread."""
    with _HERE.lock:
        _HERE.runs.add(run)
        then = list(_HERE.then[run])
    for do in then:
        do()


def is_halted(run: str) -> bool:
    return run in _HERE.runs


@contextmanager
def when_halted(run: str, do: Callable[[], object]) -> Iterator[None]:
    """Within, ``do`` is done when the run is halted; at once, if it was before."""
    with _HERE.lock:
        _HERE.then[run].append(do)
        late = run in _HERE.runs
    try:
        if late:
            do()
        yield
    finally:
        # In a copy of the process nothing waits.
        with _HERE.lock, suppress(ValueError):
            _HERE.then[run].remove(do)
