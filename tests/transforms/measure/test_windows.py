"""Windows and the frames sampled in them: the reference's numbers, and what holds for all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finecut.io.records import Window
from finecut.transforms.caption.windows import (
    LEAST_FRAMES,
    Windowing,
    sampled_in_window,
    windows_of,
)


@pytest.mark.parametrize(
    ("total", "expected"),
    [
        (0, []),
        (3, []),
        (4, [(0, 3)]),
        (256, [(0, 255)]),
        (257, [(0, 256)]),
        (383, [(0, 382)]),
        (384, [(0, 255), (256, 383)]),
        (600, [(0, 255), (256, 599)]),
        (640, [(0, 255), (256, 511), (512, 639)]),
        (700, [(0, 255), (256, 511), (512, 699)]),
        (1000, [(0, 255), (256, 511), (512, 767), (768, 999)]),
    ],
)
def test_windows_are_those_of_the_reference(total: int, expected: list[tuple[int, int]]) -> None:
    windows = windows_of(total, Windowing(256, 128))
    assert [(w.start_frame, w.end_frame) for w in windows] == expected


def test_a_smaller_window() -> None:
    windows = windows_of(300, Windowing(128, 64))
    assert [(w.start_frame, w.end_frame) for w in windows] == [(0, 127), (128, 299)]
    windows = windows_of(12, Windowing(5, 1))
    assert [(w.start_frame, w.end_frame) for w in windows] == [(0, 4), (5, 9), (10, 11)]


@given(st.integers(LEAST_FRAMES, 5000), st.integers(1, 600), st.integers(1, 600))
def test_every_frame_is_in_exactly_one_window(total: int, size: int, remainder: int) -> None:
    counted = [0] * total
    for window in windows_of(total, Windowing(size, remainder)):
        for frame in range(window.start_frame, window.end_frame + 1):
            counted[frame] += 1
    assert counted == [1] * total


@pytest.mark.parametrize(
    ("rate", "total", "framerate", "expected"),
    [
        (2, 256, 30, 18),
        (2, 300, 30, 20),
        (2, 256, 24, 22),
        (2, 4, 30, 4),
        (2, 5, 30, 4),
        (1, 256, 29.97, 8),
        (30, 256, 30, 256),
    ],
)
def test_as_many_frames_are_sampled_as_the_reference_samples(
    rate: float, total: int, framerate: float, expected: int
) -> None:
    indices = sampled_in_window(Window(0, total - 1), framerate, rate)
    assert len(indices) == expected
    assert indices[0] == 0
    assert indices[-1] == total - 1


def test_the_frames_themselves() -> None:
    assert sampled_in_window(Window(0, 255), 30.0, 2.0) == [15 * i for i in range(18)]
    assert sampled_in_window(Window(256, 511), 30.0, 2.0) == [256 + 15 * i for i in range(18)]


def test_a_window_of_one_frame_is_that_frame_twice() -> None:
    """The reference refuses it, and loses the clip."""
    assert sampled_in_window(Window(7, 7), 30.0, 2.0) == [7, 7]
    assert sampled_in_window(Window(7, 8), 30.0, 2.0) == [7, 8]
