"""Time: what is exact in the film stays exact, and what a container rounded is put right."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from finecut.io.media.clock import Clock, earliest

RATES = st.sampled_from(
    [Fraction(24), Fraction(25), Fraction(30), Fraction(60), Fraction(24000, 1001), Fraction(25, 2)]
)


@given(rate=RATES, index=st.integers(0, 500_000), first=st.integers(-5000, 5000))
def test_rounded_milliseconds_come_back_as_the_frame_grid(
    rate: Fraction, index: int, first: int
) -> None:
    clock = Clock(Fraction(1, 1000), first, rate)
    assert clock.seconds(first + round(index / rate * 1000)) == index / rate
    assert clock.seconds(first + int(index / rate * 1000)) == index / rate


@given(rate=RATES, index=st.integers(0, 500_000))
def test_every_frame_belongs_to_one_of_two_neighbouring_spans(rate: Fraction, index: int) -> None:
    """Borders are floats made of frame numbers; no frame may fall through or count twice."""
    fps = float(rate)
    seconds = index / rate
    border, following = Fraction(index / fps), Fraction((index + 1) / fps)
    assert earliest(border) <= seconds < earliest(following)


@given(ticks=st.lists(st.integers(0, 10**7), min_size=2, max_size=2, unique=True))
def test_without_a_grid_ticks_are_taken_as_they_are(ticks: list[int]) -> None:
    clock = Clock(Fraction(1, 90_000), 0, None)
    first, second = (clock.seconds(tick) for tick in ticks)
    assert second - first == Fraction(ticks[1] - ticks[0], 90_000)


@given(rate=RATES)
def test_clips_can_say_every_time_exactly(rate: Fraction) -> None:
    base = Clock(Fraction(1, 12800), 0, rate).clip_time_base
    assert (1 / rate / base).denominator == 1
    assert 1 / base >= 10_000


def test_absurd_time_bases_are_tamed() -> None:
    assert Clock(Fraction(1, 10**9), 0, None).clip_time_base == Fraction(1, 90_000)


def test_a_frame_far_from_the_grid_keeps_its_own_time() -> None:
    clock = Clock(Fraction(1, 1000), 0, Fraction(25))
    assert clock.seconds(53) == Fraction(53, 1000)
