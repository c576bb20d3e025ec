"""Quality: each score follows its own fault and leaves the others alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from places import SHARED

from finecut.io.media.testfilm.paint import Scene
from finecut.io.media.testfilm.scenery import Scenery
from finecut.transforms.measure.quality import QualityMeter
from finecut.transforms.steps.quality import QUALITY_RULES

Array = npt.NDArray[Any]
Fault = Callable[[Array, float], Array]

NAMES = {"sharpness", "exposure", "blockiness", "blackness", "letterbox", "frozen"}
VIDEOS = SHARED / "videos"


def pictures(
    width: int = 640, height: int = 360, palette: int = 1, texture: float = 24.0, count: int = 4
) -> list[Array]:
    """Luma of a painted scene, half a second apart."""
    scene = Scene(palette, (width / 5, height / 9), width / 40, texture)
    scenery = Scenery(scene, 0, (width, height), 2, False)
    drawn = []
    for index in range(count):
        planes = [np.zeros((height // s, width // s), np.uint8) for s in (1, 2, 2)]
        scenery.draw(planes, index, index / 2)
        # Without the strip that counts the frames, in which cells make blocks of their own.
        drawn.append(planes[0][: height * 15 // 16])
    return drawn


def scores(frames: list[Array]) -> dict[str, float]:
    meter = QualityMeter()
    for frame in frames:
        meter.see(frame)
    return meter.scores()


def in_bytes(plane: Array) -> Array:
    return np.clip(np.rint(plane), 0, 255).astype(np.uint8)


def blurred(luma: Array, sigma: float) -> Array:
    reach = int(4 * sigma) + 1
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma * sigma))
    plane = luma.astype(np.float64)
    for _ in range(2):
        padded = np.pad(plane, ((reach, reach), (0, 0)), mode="edge")
        rows = plane.shape[0]
        plane = sum(w * padded[i : i + rows] for i, w in enumerate(weights / weights.sum()))
        plane = plane.T
    return in_bytes(plane)


def darkened(luma: Array, share: float) -> Array:
    return in_bytes(16 + (luma.astype(np.float64) - 16) * (1 - share))


def brightened(luma: Array, share: float) -> Array:
    return in_bytes(235 - (235 - luma.astype(np.float64)) * (1 - share))


def noisy(luma: Array, sigma: float) -> Array:
    return in_bytes(luma + np.random.default_rng(int(luma[0, 0])).normal(0, sigma, luma.shape))


def in_blocks(luma: Array, strength: float) -> Array:
    """Each 8x8 block nearer to its own mean, as coarse quantisers leave it."""
    rows, columns = (side // 8 * 8 for side in luma.shape)
    blocks = luma[:rows, :columns].reshape(rows // 8, 8, columns // 8, 8).astype(np.float64)
    means = blocks.mean(axis=(1, 3), keepdims=True)
    coarse = luma.copy()
    coarse[:rows, :columns] = in_bytes(means + (blocks - means) * (1 - strength)).reshape(
        rows, columns
    )
    return coarse


def boxed(luma: Array, share: float) -> Array:
    bar = round(luma.shape[0] * share / 2)
    covered = luma.copy()
    covered[:bar] = 16
    covered[covered.shape[0] - bar :] = 16
    return covered


# Fault, how strong, the score that follows it, and whether that rises.
FAULTS: list[tuple[Fault, list[float], str, bool]] = [
    (blurred, [0.6, 1.0, 1.5, 2.0, 3.0], "sharpness", False),
    (darkened, [0.5, 0.7, 0.85, 0.95], "exposure", False),
    (brightened, [0.5, 0.7, 0.85, 0.95], "exposure", False),
    (in_blocks, [0.3, 0.6, 0.9, 1.0], "blockiness", True),
    (darkened, [0.6, 0.9, 0.95, 1.0], "blackness", True),
    (boxed, [0.1, 0.2, 0.3, 0.5], "letterbox", True),
]


@pytest.mark.parametrize(("fault", "strengths", "name", "rises"), FAULTS)
@pytest.mark.parametrize(
    "palette", [1, *(pytest.param(palette, marks=pytest.mark.slow) for palette in (0, 5))]
)
def test_each_score_follows_its_own_fault(
    fault: Fault, strengths: list[float], name: str, rises: bool, palette: int
) -> None:
    sound = pictures(palette=palette)
    row = [sound, *([fault(p, strength) for p in sound] for strength in strengths)]
    marks = [scores(frames)[name] for frames in row]
    steps = [after - before for before, after in pairwise(marks)]
    # The brightest spots of a scene may gain a little by darkening.
    assert all(step >= -0.01 if rises else step <= 0.01 for step in steps), marks
    assert abs(marks[-1] - marks[0]) > 0.3, marks


@pytest.mark.parametrize(
    ("fault", "strength", "own"),
    [
        (blurred, 2.0, {"sharpness"}),
        (noisy, 3.0, set()),
        (darkened, 0.3, {"exposure", "sharpness"}),
        (boxed, 0.25, {"letterbox"}),
        (in_blocks, 0.5, {"blockiness", "sharpness"}),
    ],
)
def test_other_scores_stay(fault: Fault, strength: float, own: set[str]) -> None:
    sound = pictures()
    before, after = scores(sound), scores([fault(p, strength) for p in sound])
    for name in NAMES - own:
        assert after[name] == pytest.approx(before[name], abs=0.12), name


@pytest.mark.parametrize(
    ("palette", "texture"),
    [
        pytest.param(palette, texture, marks=() if palette in (0, 3) else pytest.mark.slow)
        for palette in range(6)
        for texture in (0.0, 24.0)
    ],
)
def test_a_sharp_film_is_told_from_the_same_out_of_focus(palette: int, texture: float) -> None:
    sound = pictures(1280, 720, palette, texture, count=1)
    sharp, soft = scores(sound), scores([blurred(p, 2.0) for p in sound])
    assert sharp["sharpness"] > 0.2
    assert soft["sharpness"] < 0.17
    assert sharp["sharpness"] > 2 * soft["sharpness"]


def test_noise_does_not_make_a_blurred_film_sharp() -> None:
    sound = pictures(1280, 720, count=2)
    soft = scores([noisy(blurred(p, 2.0), 5.0) for p in sound])["sharpness"]
    assert scores([noisy(p, 5.0) for p in sound])["sharpness"] > 2 * soft


def test_sizes_can_be_compared() -> None:
    marks = [
        scores(pictures(w, h, count=1))["sharpness"]
        for w, h in ((640, 360), (1280, 720), (1920, 1080))
    ]
    assert max(marks) < 1.5 * min(marks), marks


def test_a_dark_film_can_be_sharp() -> None:
    sound = [darkened(p, 0.5) for p in pictures(palette=4)]
    assert scores(sound)["sharpness"] > 0.25


def test_frozen_is_the_share_of_pairs_that_are_alike() -> None:
    a, b, c, d = pictures()
    assert scores([a, b, c, d])["frozen"] == 0
    assert scores([a, a, b, c])["frozen"] == pytest.approx(1 / 3)
    assert scores([a, a, a, in_bytes(a + 1.0)])["frozen"] == 1
    assert scores([a])["frozen"] == 0


def test_what_moves_in_one_place_is_not_frozen() -> None:
    still = pictures(texture=24.0, count=1)[0]
    other = still.copy()
    other[100:124, 200:224] = 200
    assert scores([still, other, still])["frozen"] == 0


def test_a_bar_is_flat_straight_and_permanent() -> None:
    sound = pictures()
    barred = [boxed(p, 0.2) for p in sound]
    height = sound[0].shape[0]
    assert scores(barred)["letterbox"] == pytest.approx(2 * round(height * 0.1) / height)
    # In one frame the picture was there.
    assert scores([*barred, sound[0]])["letterbox"] == 0
    pillars = [np.pad(p, ((0, 0), (80, 80)), constant_values=16) for p in sound]
    assert scores(pillars)["letterbox"] == pytest.approx(160 / 800)
    # A night over hills is as dark as a bar, and ends where the hills do.
    x = np.arange(640)
    ridge = 120 + 60 * np.sin(x / 90)
    night = [np.where(np.arange(337)[:, None] < ridge, 16, p).astype(np.uint8) for p in sound]
    assert scores(night)["letterbox"] == 0
    black = [np.full_like(p, 16) for p in sound]
    assert scores(black) == {
        **dict.fromkeys(NAMES, 0.0),
        "blackness": 1.0,
        "frozen": 1.0,
    }


def test_an_arrangement_in_memory_changes_nothing_and_nothing_is_changed() -> None:
    frame = pictures(count=1)[0]
    padded = np.zeros((frame.shape[0], frame.shape[1] + 32), np.uint8)
    padded[:, : frame.shape[1]] = frame
    view = padded[:, : frame.shape[1]]
    view.flags.writeable = False
    assert scores([view, view]) == scores([frame.copy(), frame.copy()])


@settings(max_examples=80, deadline=None)
@given(
    st.integers(2, 60),
    st.integers(2, 60),
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 2, 20, 256]),
    st.integers(1, 4),
)
def test_scores_lie_between_zero_and_one(
    height: int, width: int, seed: int, levels: int, count: int
) -> None:
    random = np.random.default_rng(seed)
    low = int(random.integers(0, 257 - levels))
    frames = [
        random.integers(low, low + levels, (height, width)).astype(np.uint8) for _ in range(count)
    ]
    marks = scores(frames)
    assert set(marks) == NAMES
    assert all(0 <= mark <= 1 for mark in marks.values()), marks


def test_nothing_seen_is_nothing_said() -> None:
    assert QualityMeter().scores() == {}


@pytest.mark.parametrize("shape", [(1, 9), (9, 1), (9, 9, 3)])
def test_what_is_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="cannot be measured"):
        QualityMeter().see(np.zeros(shape, np.uint8))


def test_pictures_of_two_sizes_are_not_mixed() -> None:
    meter = QualityMeter()
    meter.see(np.zeros((9, 16), np.uint8))
    with pytest.raises(ValueError, match="another size"):
        meter.see(np.zeros((9, 18), np.uint8))
    assert meter.scores()["frozen"] == 0


# ── the rules ────────────────────────────────────────────────────────────────────────────────────


def broken(marks: dict[str, float]) -> list[str]:
    """The rules that these scores break."""
    found = []
    for rule in QUALITY_RULES:
        match = re.fullmatch(r"(\w+)(<=|>=)([\d.]+)", rule)
        assert match, rule
        name, sign, bound = match.groups()
        if not (marks[name] <= float(bound) if sign == "<=" else marks[name] >= float(bound)):
            found.append(name)
    return found


@pytest.mark.parametrize("palette", range(6))
def test_painted_films_pass_the_rules(palette: int) -> None:
    for texture in (0.0, 24.0):
        assert broken(scores(pictures(palette=palette, texture=texture))) == []


@pytest.mark.parametrize(
    ("fault", "strength", "name"),
    [
        (blurred, 8.0, "sharpness"),
        (darkened, 0.98, "exposure"),
        (brightened, 0.98, "exposure"),
        (in_blocks, 1.0, "blockiness"),
        (darkened, 0.98, "blackness"),
        (boxed, 0.6, "letterbox"),
        (lambda luma, _: pictures(count=1)[0], 0.0, "frozen"),
    ],
)
def test_what_is_of_no_use_breaks_its_rule(fault: Fault, strength: float, name: str) -> None:
    assert name in broken(scores([fault(p, strength) for p in pictures()]))


@pytest.mark.skipif(not VIDEOS.is_dir(), reason="the real films are not here")
def test_real_films_pass_the_rules() -> None:
    films = [p for p in sorted(VIDEOS.iterdir()) if p.suffix in (".mp4", ".mkv", ".webm")]
    assert len(films) >= 8
    for path in films:
        meter, due = QualityMeter(), 0.0
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                if frame.time >= due and due < 5:
                    due += 1
                    plane: Any = frame.reformat(format="yuv420p").planes[0]
                    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
                    rows = rows[:, : plane.width]
                    meter.see(rows[: plane.height])
                if due >= 5:
                    break
        assert broken(meter.scores()) == [], path.name
