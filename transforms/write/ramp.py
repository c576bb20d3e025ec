"""Ramping up: a writer of many begins with few requests at a time, and has more of them bit by bit.

    among others on a cluster   1 ▁▁ 2 ▂▂ 4 ▄▄ 8 ████   twice as many every two minutes
    alone                       32 ████                  as many as there are threads, usually

A store deals what it holds to more of its own machines as the requests grow, and refuses what comes
before. Google's asks everybody to begin with at most 1,000 writes a second to a bucket. One process
does not come near that; a thousand that begin in the same minute do.
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, TypeVar

T = TypeVar("T")

#: Requests at a time at the beginning, of one process among many and of one alone: of 50 ms each,
#: a thousand processes write 20,000 times a second, and one alone 640 times.
AMONG_MANY, ALONE = 1, 32
#: Seconds after which it is twice as many.
DOUBLED_AFTER: Final = 120.0


def allowed(seconds: float, first: int, most: int) -> int:
    """How many requests may be under way so long after the beginning.

    >>> [allowed(seconds, first=1, most=6) for seconds in (0, 119, 120, 240, 360, 1e9)]
    [1, 1, 2, 4, 6, 6]
    """
    doublings = min(int(seconds / DOUBLED_AFTER), most.bit_length())
    return min(most, first * 2**doublings)


class Ramp:
    """Gives turns to the threads of a process; whoever comes too early waits."""

    def __init__(self, first: int, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._first, self._most, self._clock = first, most, clock
        self._began = clock()
        self._changed = threading.Condition()
        self.under_way = 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Within, one request more is under way."""
        with self._changed:
            while not self.is_free():
                self._changed.wait(self._until_more())
            self.under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self.under_way -= 1
                self._changed.notify()

    def is_free(self) -> bool:
        return self.under_way < allowed(self._clock() - self._began, self._first, self._most)

    def _until_more(self) -> float:
        return DOUBLED_AFTER - (self._clock() - self._began) % DOUBLED_AFTER


class Threads:
    """The threads that write, each of which waits for its turn before it does anything."""

    def __init__(self, first: int, most: int) -> None:
        self._ramp = Ramp(first, most)
        self._pool = ThreadPoolExecutor(most, thread_name_prefix="finecut-write")

    def submit(self, work: Callable[[], T]) -> Future[T]:
        return self._pool.submit(self._in_turn, work)

    def _in_turn(self, work: Callable[[], T]) -> T:
        with self._ramp.turn():
            return work()
