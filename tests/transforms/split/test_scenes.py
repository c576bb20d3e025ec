"""Scenes from marks: the reference's vectors, and counting as the oracle."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finecut.transforms.split.scenes import Frames, Trimming, scenes_of, trimmed, trimmed_in_time


def marked(text: str) -> list[bool]:
    return [letter == "1" for letter in text]


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        ("000000", [(0, 6)]),
        ("001000", [(0, 2), (3, 5)]),
        ("0010", [(0, 2), (3, 3)]),
        ("1000", [(0, 4)]),
        ("0001", [(0, 3)]),
        ("0110010", [(0, 1), (3, 5), (6, 6)]),
        ("111", [(0, 3)]),
        ("1001000", [(1, 3), (4, 6)]),
        ("1", [(0, 1)]),
        ("", []),
    ],
)
def test_scenes_are_those_of_the_reference(marks: str, expected: list[Frames]) -> None:
    assert list(scenes_of(marked(marks), entire=True)) == expected


@pytest.mark.parametrize("marks", ["000000", "1000", "111", "0", "1"])
def test_without_a_transition_there_is_no_scene_unless_the_whole_is_one(marks: str) -> None:
    assert list(scenes_of(marked(marks), entire=False)) == []


@given(st.lists(st.booleans(), max_size=60))
def test_scenes_hold_no_marked_frame_and_lose_no_other(marks: list[bool]) -> None:
    scenes = list(scenes_of(marks, entire=False))
    held = {frame for start, end in scenes for frame in range(start, end)}
    assert not any(marks[frame] for frame in held)
    # Lost are: a beginning that no mark ends, and the very last frame.
    if scenes:
        free = {frame for frame, mark in enumerate(marks) if not mark}
        assert free - held <= {len(marks) - 1}


@pytest.mark.parametrize(
    ("scene", "mode", "expected"),
    [
        ((0, 900), "stride", [(15, 285), (315, 585), (615, 885)]),
        ((0, 900), "truncate", [(15, 285)]),
        ((0, 730), "stride", [(15, 285), (315, 585), (615, 715)]),
        ((0, 690), "stride", [(15, 285), (315, 585), (615, 675)]),
        ((0, 660), "stride", [(15, 285), (315, 585)]),
        ((0, 80), "stride", []),
        ((100, 190), "stride", [(115, 175)]),
    ],
)
def test_cropping_every_piece_is_what_the_reference_does(
    scene: Frames, mode: str, expected: list[Frames]
) -> None:
    trimming = Trimming(2.0, 10.0, mode, 0.5, crop_pieces=True)
    assert list(trimmed(scene, 30.0, trimming)) == expected


@pytest.mark.parametrize(
    ("scene", "mode", "expected"),
    [
        ((0, 900), "stride", [(15, 315), (315, 615), (615, 885)]),
        ((0, 900), "truncate", [(15, 315)]),
        ((0, 690), "stride", [(15, 315), (315, 615), (615, 675)]),
        ((0, 660), "stride", [(15, 315), (315, 615)]),
        ((0, 80), "stride", []),
        ((100, 190), "stride", [(115, 175)]),
    ],
)
def test_cropping_the_scenes_ends(scene: Frames, mode: str, expected: list[Frames]) -> None:
    assert list(trimmed(scene, 30.0, Trimming(2.0, 10.0, mode, 0.5))) == expected


seconds = st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0, 2.5])


@given(
    st.integers(0, 100),
    st.integers(0, 400),
    st.sampled_from([10.0, 24.0, 29.97]),
    seconds,
    seconds,
    seconds,
    st.sampled_from(["stride", "truncate"]),
    st.booleans(),
)
def test_trimming_against_marking_frames(
    start: int,
    length: int,
    rate: float,
    least: float,
    most: float,
    crop: float,
    mode: str,
    all_: bool,
) -> None:
    """The stupid way: write down of every frame which piece it belongs to, and rub out the ends."""
    scene = (start, start + length)
    found = list(trimmed(scene, rate, Trimming(least, most, mode, crop, all_)))
    shortest, margin = int(least * rate), int(crop * rate)
    longest = max(1, int(most * rate)) if most else None
    frames = list(range(*scene))
    if not all_:
        frames = frames[margin : len(frames) - margin] if len(frames) > 2 * margin else []
    pieces = [frames]
    if longest and mode == "truncate":
        pieces = [frames[:longest]]
    elif longest:
        pieces = [frames[i : i + longest] for i in range(0, len(frames), longest)]
        pieces = [piece for piece in pieces if len(piece) >= shortest]
    if all_:
        pieces = [p[margin : len(p) - margin] if len(p) > 2 * margin else [] for p in pieces]
    expected = [(p[0], p[-1] + 1) for p in pieces if p and len(p) >= shortest]
    assert found == expected


@given(
    st.integers(0, 60),
    st.integers(0, 300),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from([0.0, 1.0, 2.5]),
    st.sampled_from([0.0, 0.5]),
    st.sampled_from(["stride", "truncate"]),
    st.booleans(),
)
def test_on_an_even_clock_both_ways_agree(
    start: int, length: int, least: float, most: float, crop: float, mode: str, all_: bool
) -> None:
    rate = 10.0
    times = [frame / rate for frame in range(start + length)]
    trimming = Trimming(least, most, mode, crop, all_)
    scene = (start, start + length)
    in_time = list(trimmed_in_time(scene, times, (start + length) / rate, trimming))
    assert in_time == list(trimmed(scene, rate, trimming))


def test_on_an_uneven_clock_lengths_are_seconds() -> None:
    """A screen recording: 3 s at 30 frames a second, then one every 2 s, then 3 s at 30 again."""
    times = [i / 30 for i in range(90)] + [3.0 + 2 * i for i in range(60)]
    times += [123 + i / 30 for i in range(90)]
    pieces = list(trimmed_in_time((0, len(times)), times, 126.0, Trimming(2, 10, "stride", 0.5)))
    ends = [*times, 126.0]
    spans = [(ends[first], ends[end]) for first, end in pieces]
    assert spans[0][0] == 0.5
    assert spans[-1][1] == pytest.approx(125.5)
    assert all(2 <= end - start <= 12 for start, end in spans)
    assert all(one[1] == other[0] for one, other in pairwise(spans))


def test_on_an_uneven_clock_a_piece_has_a_frame_at_least() -> None:
    pieces = list(trimmed_in_time((0, 3), [0.0, 50.0, 100.0], 150.0, Trimming(0, 1, "stride", 0)))
    assert pieces == [(0, 1), (1, 2), (2, 3)]
    assert list(trimmed_in_time((2, 2), [0.0, 1.0], 2.0, Trimming())) == []
