"""A clock that nobody has to wait for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from finecut.io.storage.retry import retried

T = TypeVar("T")


class Clock:
    """A clock that is put forward by those who wait, so that nobody does."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(seconds)

    def retried(self, work: Callable[[], T], deadline_seconds: float = 120.0) -> T:
        return retried(work, deadline_seconds, clock=self.monotonic, sleep=self.sleep)
