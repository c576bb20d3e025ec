"""Reading frames of a clip: those that are asked for come out, and they are the clip's own."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from painted import read_index

from finecut.io.media.frames.training_frames import Pictures, TooFew, chosen, read_frames
from finecut.io.media.limits import FilmError
from finecut.io.media.testfilm.paint import Painting, paint


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Painting:
    """With B-frames and several key frames, as clips have them."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return paint(path, width=160, height=90, rate=24, seconds=5, b_frames=3, gop=24)


WISHES = {
    "all": Pictures(),
    "eight": Pictures(frames=8),
    "more than there are": Pictures(frames=125, pad=True),
    "all there are": Pictures(frames=120),
    "four a second": Pictures(fps=4),
    "six at twelve a second": Pictures(frames=6, fps=12),
    "longer than the clip": Pictures(frames=10, fps=1, pad=True),
    "as long as the clip": Pictures(frames=6, fps=1),
    "one": Pictures(frames=1),
}
NUMBERS: Mapping[str, list[int]] = {
    "all": list(range(120)),
    "eight": [7, 22, 37, 52, 67, 82, 97, 112],
    "more than there are": [*range(120), *[119] * 5],
    "all there are": list(range(120)),
    "four a second": [*range(0, 120, 6), 119],
    "six at twelve a second": [54, 56, 58, 60, 62, 64],
    "longer than the clip": [0, 24, 48, 72, 96, 119, *[119] * 4],
    "as long as the clip": [0, 24, 48, 72, 96, 119],
    "one": [60],
}


@pytest.mark.parametrize("name", WISHES)
def test_the_frames_that_are_asked_for_come_out(film: Painting, name: str) -> None:
    frames = read_frames(film.path, WISHES[name])
    assert frames.pictures.dtype == np.uint8
    numbers = [read_index(picture) for picture in frames.pictures]
    assert numbers == NUMBERS[name]
    assert frames.real == len(set(numbers))
    assert frames.seconds == tuple(float(film.times[number]) for number in numbers)


@pytest.mark.parametrize("threads", [1, 2])
def test_frames_are_those_that_decoding_everything_gives(film: Painting, threads: int) -> None:
    everything = read_frames(film.path, Pictures()).pictures
    for wish in (Pictures(frames=5), Pictures(frames=3, fps=12), Pictures(fps=2)):
        some = read_frames(film.path, wish, threads)
        for picture in some.pictures:
            assert np.array_equal(picture, everything[read_index(picture)])


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=40),
    st.integers(1, 12),
    st.sampled_from([None, 0.3, 1, 2.5]),
)
def test_so_many_frames_are_so_many_and_none_comes_twice(
    gaps: list[int], frames: int, fps: float | None
) -> None:
    """Whatever the times are: a frame that is shown for long is not shown again for that."""
    times = [Fraction(place, 10) for place in itertools.accumulate(gaps)]
    times = [time - times[0] for time in times]
    numbers = chosen(times, Pictures(frames=frames, fps=fps))
    assert numbers == sorted(set(numbers))
    assert 0 <= numbers[0] <= numbers[-1] < len(times)
    if fps is None:
        assert len(numbers) == min(frames, len(times))
    else:
        # Of equal steps that begin at the first frame, those until half a step past the last.
        step = 1 / Fraction(fps)
        assert len(numbers) <= min(frames, len(times), math.ceil(times[-1] / step + Fraction(1, 2)))
        if times[-1] >= (frames - 1) * step and step > Fraction(max(gaps), 10):
            assert len(numbers) == frames


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (Pictures(frames=121), "it has only 120 frames, but frames=121 were requested"),
        (Pictures(frames=7, fps=1), r"frames=7 at fps=1 .* 120 frames \(4\.958 s .* 6 of these"),
        (
            Pictures(frames=6, fps=60),
            r"frames=6 at fps=60 .* only 3 of these: the clip is too short, or",
        ),
    ],
)
def test_too_few_frames_are_an_error_that_says_so(
    film: Painting, wish: Pictures, said: str
) -> None:
    with pytest.raises(TooFew, match=said):
        read_frames(film.path, wish)


def test_pictures_have_the_size_that_is_asked_for(film: Painting) -> None:
    def shape(size: int | tuple[int, int] | None) -> tuple[int, ...]:
        return read_frames(film.path, Pictures(frames=1, size=size)).pictures.shape[1:]

    assert shape(None) == (90, 160, 3)
    assert shape(45) == (45, 80, 3)
    assert shape(1000) == (90, 160, 3)
    assert shape((45, 45)) == (45, 45, 3)
    assert shape((200, 100)) == (200, 100, 3)


def test_a_shape_is_cut_out_of_the_middle(film: Painting) -> None:
    whole = read_frames(film.path, Pictures(frames=1)).pictures[0]
    middle = read_frames(film.path, Pictures(frames=1, size=(90, 90))).pictures[0]
    assert np.array_equal(middle, whole[:, 35:125])


@pytest.mark.parametrize(
    "bad", [{"frames": 0}, {"fps": 0}, {"fps": float("nan")}, {"size": (9, 0)}]
)
def test_a_wish_for_nothing_is_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Pictures(**bad)


def test_frames_that_are_missing_are_an_error(film: Painting, tmp_path: Path) -> None:
    """The index comes first, so a copy that was cut short still opens."""
    data = Path(film.path).read_bytes()
    torn = tmp_path / "torn.mp4"
    moved = data.index(b"mdat")
    torn.write_bytes(data[: moved + (len(data) - moved) // 2])
    with pytest.raises(FilmError):
        read_frames(str(torn), Pictures(frames=16))


def test_a_frame_in_the_middle_that_is_damaged_is_an_error(film: Painting, tmp_path: Path) -> None:
    data = bytearray(Path(film.path).read_bytes())
    middle = data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 2
    data[middle : middle + 2000] = bytes(2000)
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(data)
    with pytest.raises(FilmError):
        read_frames(str(damaged), Pictures())
