"""Tending: jobs that last for weeks say that they live, and streams sweep what dead runs left.

    .staging/<run>/at-work      written once a day by each process of a job on other machines

A batch sweeps at its end (``TidyUp``), and whoever waits for a job when that begins. A stream has
no end, and when it begins, those whose place it takes have not been dead for long: so it looks once
a day. What a living run stages is younger than a week, or it has said that it lives
(:mod:`finecut.io.storage.remains`).
"""

import threading
import time
from functools import lru_cache
from typing import Final

from finecut.io.storage.publishing import Shelf
from finecut.io.storage.staging import sweep_dead
from finecut.transforms.beam.guard import attempted
from finecut.transforms.beam.metrics import LOG
from finecut.transforms.write.writing import Writing

EVERY: Final = 86400.0
AT_WORK: Final = "at-work"


def tend(writing: Writing) -> None:
    """What is due; trouble with it is nobody's, and it is tried again the next day."""
    if not (writing.streams or writing.weather.retries):
        return
    # A stream may be started anew each day, and a batch sweeps at its end.
    if _turns(writing.shelf.staging, at_once=writing.streams).is_due(time.time()):
        wrong = attempted(lambda: _tended(writing.shelf, writing.streams))
        if isinstance(wrong, Exception):
            LOG.warning(
                "%s was not swept (%s); the next try is in a day", writing.shelf.root, wrong
            )


def _tended(own: Shelf, sweeps: bool) -> None:
    own.write(f"{own.staging}/{AT_WORK}", b"")
    if sweeps:
        sweep_dead(own)


class _Turns:
    """When something was done last that is done once a day, whoever asks."""

    def __init__(self, at_once: bool) -> None:
        self._lock = threading.Lock()
        self._last = 0.0 if at_once else time.time()

    def is_due(self, now: float) -> bool:
        with self._lock:
            due = now - self._last >= EVERY
            if due:
                self._last = now
            return due


@lru_cache(maxsize=8)
def _turns(_staging: str, at_once: bool) -> _Turns:
    return _Turns(at_once)
