"""A store that is away for longer than anybody waits, and waiting that is over soon."""

from __future__ import annotations

import re
import time

import pytest

from finecut.io.storage import files as shelf
from finecut.io.storage import retry

#: How much shorter a store is waited for in these tests, and how long that is.
SHORTER = 300.0
DEADLINE = retry.DEADLINE_SECONDS / SHORTER


def wait_shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    """(Decoders in children would still wait for two minutes.)"""
    monkeypatch.setattr(shelf, "STORE_SECONDS", DEADLINE)
    for pause in ("FIRST_PAUSE", "LONGEST_PAUSE"):
        monkeypatch.setattr(retry, pause, getattr(retry, pause) / SHORTER)


class Away:
    """A store that answers 503 from the first request of a kind on, for so long; to requests of all
    kinds, or of this one ``only``.
    """

    def __init__(self, kind: str, seconds: float, only: bool = False) -> None:
        self.kind, self.seconds, self.only = re.compile(kind), seconds, only
        self.began: float | None = None
        self.refused = 0

    def __call__(self, method: str, path: str) -> str:
        is_meant = self.kind.match(f"{method} {path}") is not None
        if self.began is None and is_meant:
            self.began = time.monotonic()
        away = self.began is not None and time.monotonic() < self.began + self.seconds
        away = away and (is_meant or not self.only)
        self.refused += away
        return "503" if away else ""
