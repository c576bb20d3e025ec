"""Text is found where it was drawn, as much as was drawn, and nowhere else."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from finecut.io.media.testfilm.paint import paint
from finecut.transforms.models import scorers
from finecut.transforms.models.scorers import TextScorer, heights
from finecut.transforms.models.weights.naming import TEXT_MODEL, package_file

pytest.importorskip("onnxruntime")
drawing = pytest.importorskip("PIL.ImageDraw")
fonts = pytest.importorskip("PIL.ImageFont")
images = pytest.importorskip("PIL.Image")
if package_file(*TEXT_MODEL.place) is None:
    pytest.skip(f"needs {TEXT_MODEL.install}", allow_module_level=True)

Frame = NDArray[np.uint8]
#: Where, how high and what is written; places and heights as for a picture 640 wide.
Line = tuple[int, int, int, str]

SUBTITLE: Line = (120, 310, 22, "I never thought we would come back here")
WATERMARK: Line = (520, 20, 16, "example.com")
SLIDE: list[Line] = [(40, 20 + 32 * i, 20, f"{i}. A line that says something") for i in range(10)]


@cache
def scorer() -> TextScorer:
    return TextScorer()


def background(width: int = 640, height: int = 360, seed: int = 0) -> Frame:
    """Soft colours and some grain."""
    y, x = np.mgrid[0:height, 0:width] * (640 / width)
    waves = [np.sin(x / 97 + seed) + np.cos(y / (53 + 20 * i) + i + seed) for i in range(3)]
    grain = np.random.default_rng(seed).normal(0, 3, (height, width, 3))
    picture: Frame = (110 + 35 * np.stack(waves, -1) + grain).clip(0, 255).astype(np.uint8)
    return picture


def written(frame: Frame, *lines: Line, colour: str = "white") -> tuple[Frame, float]:
    """The frame with text on it, and the share of it that lies in the boxes of the lines."""
    image, scale = images.fromarray(frame), frame.shape[1] / 640
    pen, covered = drawing.Draw(image), 0.0
    for x, y, size, words in lines:
        font, place = fonts.load_default(size * scale), (x * scale, y * scale)
        pen.text(place, words, fill=colour, font=font)
        left, top, right, bottom = pen.textbbox(place, words, font=font)
        covered += (right - left) * (bottom - top)
    return np.asarray(image), covered / (frame.shape[0] * frame.shape[1])


def test_pictures_are_prepared_as_the_detector_was_published() -> None:
    """Blue first, mean and deviation 0.5 (of 1), sides that are multiples of 32."""
    frame, _ = written(background(500, 300), SUBTITLE, colour="yellow")
    image = images.fromarray(frame).resize((512, 288), images.BILINEAR)
    red, green, blue = (np.array(channel, dtype=float) / 255 for channel in image.split())
    values = (np.stack([blue, green, red])[None] - 0.5) / 0.5
    [[[plain]]] = scorer()._session.run(None, {"x": values.astype(np.float32)})
    assert scorer()._probability(frame, 500) == pytest.approx(plain, abs=1e-4)
    assert plain.max() > 0.9


@pytest.mark.parametrize("seed", range(3))
def test_a_picture_without_text_has_none(seed: int) -> None:
    assert scorer().of(background(seed=seed)) < 0.005


@pytest.mark.parametrize(
    "lines", [[SUBTITLE], [WATERMARK], SLIDE, [(60, 120, 80, "THE TITLE")]], ids=len
)
@pytest.mark.parametrize("width", [640, 1280, 480])
def test_as_much_is_found_as_was_written(lines: list[Line], width: int) -> None:
    frame, share = written(background(width, width * 9 // 16), *lines)
    assert 0.75 * share < scorer().of(frame) < 1.45 * share


def test_a_watermark_is_found_where_it_is() -> None:
    frame, _ = written(background(), WATERMARK)
    rows, columns = np.nonzero(scorer().cores(frame))
    assert rows.size
    assert 15 < rows.min() <= rows.max() < 40
    assert 515 < columns.min() <= columns.max() < 620


def test_dark_text_and_upright_pictures_count_too() -> None:
    page, share = written(
        np.full((640, 360, 3), 230, np.uint8), (20, 300, 60, "NOTICE"), colour="black"
    )
    assert 0.7 * share < scorer().of(page) < 1.4 * share


def test_a_clip_has_the_mean_and_the_largest_share() -> None:
    plain, (line, _), (slide, _) = (
        background(),
        written(background(), SUBTITLE),
        written(background(), *SLIDE),
    )
    shares = [scorer().of(frame) for frame in (plain, line, slide)]
    assert shares[0] < shares[1] < shares[2]
    scores = scorer()([line, slide, plain])
    assert scores == {"text_coverage": pytest.approx(sum(shares) / 3), "text_max": shares[2]}
    assert {type(score) for score in scores.values()} == {float}
    assert scores == scorer()([plain, line, slide])
    assert scorer()([]) == {}


@pytest.mark.parametrize(("height", "width"), [(16, 16), (16, 900), (900, 16), (33, 47)])
def test_any_size_is_scored(height: int, width: int) -> None:
    frame = np.full((height, width, 3), 90, np.uint8)
    assert scorer()([frame, frame]) == {"text_coverage": 0.0, "text_max": 0.0}


def test_what_is_looked_at_is_bounded() -> None:
    for height, width in ((1350, 2400), (100, 2400)):
        cores = scorer().cores(np.full((height, width, 3), 90, np.uint8))
        assert max(cores.shape) == 640


def frames_of(path: Path, every: int) -> list[Frame]:
    with av.open(str(path)) as film:
        pictures: list[Any] = list(film.decode(video=0))
    return [picture.to_ndarray(format="rgb24") for picture in pictures[::every]]


def test_painted_landscapes_and_their_number_strips_are_not_text(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    paint(film, width=640, height=360, rate=5, seconds=8, cuts=[2, 4, 6])
    frames = frames_of(film, 4)
    assert len(frames) == 10
    assert scorer()(frames)["text_max"] < 0.015
    # They would be, to one look: large smooth shapes look like letters.
    looks = [scorer()._probability(frame, 640) > scorers.LIKELY for frame in frames]
    assert max(look.mean() for look in looks) > 0.04
    strip = 352 - 352 // 20 - 2
    assert not any(look[strip:].any() for look in looks), "the strip never is, to either look"


def test_a_core_that_fills_the_picture_is_not_text() -> None:
    """A detector that takes a disc and a line for text, at both sizes."""

    class Detector(TextScorer):
        def _probability(self, frame: Frame, longest: float) -> NDArray[np.float32]:
            y, x = np.mgrid[0:320, 0:640]
            disc = (x - 300) ** 2 + (y - 150) ** 2 < 90**2
            line = (abs(y - 290) < 8) & (abs(x - 300) < 250)
            return (disc | line).astype(np.float32)

    cores = Detector().cores(background())
    assert cores[283:298, 60:540].all()
    assert cores[:270].sum() < 0.1 * np.pi * 90**2


@given(arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9))))
@settings(max_examples=60, deadline=None)
def test_heights_are_those_of_counting(mask: NDArray[np.bool_]) -> None:
    expected = np.zeros(mask.shape, int)
    for column in range(mask.shape[1]):
        start = 0
        for row in range(mask.shape[0] + 1):
            if row == mask.shape[0] or not mask[row, column]:
                expected[start:row, column] = row - start
                start = row + 1
    assert (heights(mask) == expected).all()
