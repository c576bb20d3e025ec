"""Sampling: the reference's counts, and the streaming way against the plain one."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finecut.io.media.frames.contact_sheet import Moments, Ticker, nearest_indices, sampled_indices

TEN_SECONDS = [Fraction(i, 30) for i in range(300)]


@pytest.mark.parametrize(
    ("rate", "count", "last"),
    [(1, 11, 299), (2, 21, 299), (4, 41, 299), (20, 200, None), (60, 300, 299)],
)
def test_ten_seconds_at_thirty_frames(rate: int, count: int, last: int | None) -> None:
    """(At 60 the reference repeats frames, 599 in all; a frame is looked at once here.)"""
    indices = sampled_indices(TEN_SECONDS, rate)
    assert len(indices) == count
    assert last is None or indices[-1] == last


def test_nothing_and_one_frame() -> None:
    assert sampled_indices([], 2) == []
    assert sampled_indices([Fraction(3)], 2) == [0]


def test_the_earlier_of_two_equally_near() -> None:
    assert sampled_indices(
        [Fraction(0), Fraction(1), Fraction(3), Fraction(9)], Fraction(1, 2)
    ) == [
        0,
        1,
        2,
        3,
    ]


@given(
    st.lists(st.integers(1, 5000), min_size=0, max_size=60),
    st.fractions(Fraction(1, 20), 100, max_denominator=50),
    st.integers(-3000, 3000),
)
def test_seeing_frames_one_by_one_takes_the_same(
    steps: list[int], rate: Fraction, begin: int
) -> None:
    times = [Fraction(begin, 1000)]
    for step in steps:
        times.append(times[-1] + Fraction(step, 1000))
    ticker, taken = Ticker(rate), []
    for index, seconds in enumerate(times):
        if ticker.passed(seconds):
            taken.append(index - 1)
    if ticker.ended():
        taken.append(len(times) - 1)
    assert taken == sampled_indices(times, rate)


@given(
    st.lists(st.integers(1, 400), min_size=1, max_size=40),
    st.fractions(Fraction(1, 2), 30, max_denominator=10),
)
def test_each_target_gets_its_nearest_frame(steps: list[int], rate: Fraction) -> None:
    """The stupid way: try every frame for every target."""
    times = [Fraction(0)]
    for step in steps:
        times.append(times[-1] + Fraction(step, 100))
    expected: list[int] = []
    target = Fraction(0)
    while target < times[-1] + 1 / rate / 2:
        distances = [abs(seconds - target) for seconds in times]
        nearest = distances.index(min(distances))
        if nearest not in expected:
            expected.append(nearest)
        target += 1 / rate
    assert sampled_indices(times, rate) == expected


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="rate above 0"):
        Ticker(0)


@given(
    st.lists(st.integers(1, 400), min_size=0, max_size=40),
    st.lists(st.fractions(-1, 200, max_denominator=20), max_size=12),
)
def test_moments_get_their_nearest_frames(steps: list[int], moments: list[Fraction]) -> None:
    """Trying every frame, and one by one as they come."""
    times = [Fraction(0)]
    for step in steps:
        times.append(times[-1] + Fraction(step, 100))
    expected = []
    for moment in moments:
        distances = [abs(seconds - moment) for seconds in times]
        expected.append(distances.index(min(distances)))
    assert nearest_indices(times, moments) == expected
    watcher, taken = Moments(moments), set()
    for index, seconds in enumerate(times):
        if watcher.passed(seconds):
            taken.add(index - 1)
    if watcher.ended():
        taken.add(len(times) - 1)
    assert taken == set(expected)
