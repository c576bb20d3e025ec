"""A writer among many begins with few requests at a time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import pytest

from finecut.io.layout import Layout
from finecut.io.storage.publishing import Shelf
from finecut.transforms.beam.weather import Weather
from finecut.transforms.write.ramp import ALONE, AMONG_MANY, DOUBLED_AFTER, Ramp, allowed
from finecut.transforms.write.writing import Writing


def test_it_doubles_until_all_threads_are_at_work() -> None:
    after = [allowed(turn * DOUBLED_AFTER, first=1, most=6) for turn in range(5)]
    assert after == [1, 2, 4, 6, 6]
    assert allowed(0.0, ALONE, most=6) == 6
    assert allowed(0.0, ALONE, most=512) == ALONE


def test_so_many_turns_are_free_as_the_clock_says() -> None:
    now = [0.0]
    ramp = Ramp(AMONG_MANY, 6, clock=lambda: now[0])
    with ExitStack() as turns:
        for minutes, more in ((0, 1), (2, 1), (4, 2), (6, 2), (60, 0)):
            now[0] = minutes * 60.0
            for _ in range(more):
                assert ramp.is_free()
                turns.enter_context(ramp.turn())
            assert not ramp.is_free()
        assert ramp.under_way == 6
    assert ramp.under_way == 0


def test_a_turn_that_breaks_is_given_back() -> None:
    ramp = Ramp(AMONG_MANY, 6, clock=lambda: 0.0)
    for _ in range(3):
        with pytest.raises(OSError, match="full"), ramp.turn():
            raise OSError("full")
    assert ramp.under_way == 0


def test_whoever_waits_has_the_next_turn() -> None:
    """However many threads there are, so many are in a turn at once, and all have theirs."""
    ramp, most, lock = Ramp(2, 8, clock=lambda: 0.0), 0, threading.Lock()

    def work(number: int) -> int:
        nonlocal most
        with ramp.turn():
            with lock:
                most = max(most, ramp.under_way)
            return number

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(work, range(500))) == list(range(500))
    assert 1 <= most <= 2


@pytest.mark.parametrize(
    ("root", "retries", "many"),
    [("gs://b/out", True, True), ("gs://b/out", False, False), ("/out", True, False)],
)
def test_only_writers_on_a_cluster_and_to_a_store_are_many(
    root: str, retries: bool, many: bool
) -> None:
    writing = Writing(Layout(root), Shelf(root, f"{root}/.staging/x"))
    assert replace(writing, weather=Weather(retries)).among_many is many
