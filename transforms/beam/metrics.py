"""Counting: what every step did, for the progress line, ``--log-stats`` and the runner's own pages.

A step counts once, here; the number reaches Beam's metrics (which know all workers of a cluster)
and the :class:`Board` of this process (which a live progress line can read).
"""

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from apache_beam.metrics import Metrics

from finecut.io.records import Failure

T = TypeVar("T")

NAMESPACE = "finecut"

#: What is being done; shown with ``--verbose``.
LOG = logging.getLogger(NAMESPACE)


class Board:
    """Running totals of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def add(self, name: str, amount: int) -> None:
        with self._lock:
            self._counts[name] += amount

    def read(self) -> dict[str, int]:
        with self._lock:
            return dict(self._counts)

    def since(self) -> Callable[[], dict[str, int]]:
        """What reads what was counted from now on, by all that is at work in this process."""
        before = self.read()

        def read() -> dict[str, int]:
            return {name: count - before.get(name, 0) for name, count in self.read().items()}

        return read

    def forget(self) -> None:
        """In a copy of this process, where nobody lets go of a lock that another thread held."""
        self._lock, self._counts = threading.Lock(), Counter()


BOARD = Board()
os.register_at_fork(after_in_child=BOARD.forget)


def count(name: str, amount: int = 1) -> None:
    """Add to a counter, everywhere it is shown."""
    BOARD.add(name, amount)
    Metrics.counter(NAMESPACE, name).inc(amount)


@contextmanager
def timed(step: str, items: int) -> Iterator[None]:
    """Counts the items that are done inside, and the time they take together."""
    began = time.perf_counter()
    try:
        yield
    finally:
        count(f"{step}/microseconds", int((time.perf_counter() - began) * 1e6))
        count(f"{step}/items", items)


def metered(step: str, items: Iterable[T]) -> Iterator[T]:
    """The same items; counts them, and the time it took to make (not to use) them."""
    iterator = iter(items)
    while True:
        began = time.perf_counter()
        try:
            item = next(iterator)
        except StopIteration:
            return
        finally:
            count(f"{step}/microseconds", int((time.perf_counter() - began) * 1e6))
        if not isinstance(item, Failure):
            count(f"{step}/items")
        yield item
