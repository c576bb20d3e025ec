"""MPEG-TS counts to 2^33 and begins anew: a recorder that runs for a day has films across that."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import pytest
from cutting_room import QUICK, clips_of, indices_and_times, planned_at, video_of
from odd_films import wrapped
from painted import hear_beeps

from finecut.io.media.codecs import Encoding
from finecut.io.media.cutting import Recipe
from finecut.io.media.frames.small_pictures import watch
from finecut.io.media.remux.copying import SMART, transcode
from finecut.io.media.testfilm.paint import Painting, paint
from finecut.io.records import Video
from finecut.transforms.split.scenes import CONTENT, Detection, Trimming
from finecut.transforms.split.spans import Cutter, FixedStride, GivenCuts

#: Seconds until the clock wraps; FFmpeg counts from below 0 when it begins within a minute of that.
AFTER = (2.0, 5.5, 30.0)
WHOLE_SCENES = Trimming(least=0.5, most=0, crop=0)

CUTTERS: dict[str, Callable[[Painting], Cutter]] = {
    "fixed_stride": lambda _: FixedStride(2, 2, 0.5),
    "content": lambda _: Detection(CONTENT, trimming=WHOLE_SCENES),
    "given": lambda film: GivenCuts({Path(film.path).name: (3.0, 5.5)}),
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> dict[float, Painting]:
    folder = tmp_path_factory.mktemp("wrapped")
    whole = paint(folder / "whole.ts", seconds=8, cuts=(3, 5.5), sound="aac", gop=30, b_frames=2)
    return {after: wrapped(whole, folder / f"{after}.ts", after) for after in AFTER}


@pytest.mark.parametrize("after", AFTER)
def test_the_clock_really_wraps(after: float, recorded: dict[float, Painting]) -> None:
    with av.open(recorded[after].path) as film:
        start = film.streams.video[0].start_time
    assert start == -round(after * 90_000)
    video = video_of(recorded[after])
    assert (video.framerate, video.num_frames, video.duration) == (30, 240, 8)


@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize(
    "spans",
    [((0, 2), (2, 4), (4, 6), (6, 8)), ((1, 3),), ((0.1, 1.5),), ((2.5, 3.5),), ((6.5, 7),)],
)
def test_clips_hold_their_frames_and_their_sound(
    after: float,
    spans: tuple[tuple[float, float], ...],
    recorded: dict[float, Painting],
    tmp_path: Path,
) -> None:
    painting = recorded[after]
    for span, clip in clips_of(painting, tmp_path / "clips", *spans).items():
        assert (clip.error, clip.empty, clip.damage) == (None, None, None)
        wanted = list(painting.indices_between(*span))
        assert indices_and_times(clip.path) == (
            wanted,
            [Fraction(index - wanted[0], 30) for index in wanted],
        )
        beeps = [beep - span[0] for beep in painting.beeps if span[0] <= beep < span[1]]
        assert hear_beeps(str(clip.path)) == pytest.approx(beeps, abs=0.002)


@pytest.mark.parametrize(
    ("cutter", "after"),
    [
        pytest.param(cutter, after, marks=() if n == m else pytest.mark.slow)
        for n, cutter in enumerate(CUTTERS)
        for m, after in enumerate(AFTER)
    ],
)
def test_every_splitter_finds_its_pieces(
    cutter: str, after: float, recorded: dict[float, Painting], tmp_path: Path
) -> None:
    painting = recorded[after]
    video = video_of(painting)
    spans = [(p.span.start, p.span.end) for p in CUTTERS[cutter](painting).pieces(video)]
    expected = [(0, 2), (2, 4), (4, 6), (6, 8)] if cutter == "fixed_stride" else None
    assert [start for start, _ in spans] == [0, *((2, 4, 6) if expected else (3, 5.5))]
    assert spans[-1][1] == pytest.approx(8, abs=0.04)
    for span, clip in clips_of(painting, tmp_path / "clips", *spans).items():
        assert indices_and_times(clip.path)[0] == list(painting.indices_between(*span))
    # One alone has to be sought.
    [clip] = clips_of(painting, tmp_path / "clips", spans[0]).values()
    assert indices_and_times(clip.path)[0] == list(painting.indices_between(*spans[0]))


@pytest.mark.parametrize("after", AFTER)
def test_who_watches_sees_every_frame(after: float, recorded: dict[float, Painting]) -> None:
    """(The way of TransNetV2, which is shown what any detector is.)"""
    video = video_of(recorded[after])
    assert [round(30 * s) for s, _ in watch(recorded[after].path, video)] == list(range(240))


@pytest.mark.parametrize("after", AFTER)
def test_a_film_that_may_be_copied_is_read_from_its_beginning_too(
    after: float, recorded: dict[float, Painting], tmp_path: Path
) -> None:
    painting = recorded[after]
    video: Video = video_of(painting)
    quick = Encoding(preset="ultrafast", audio=QUICK.audio)
    clips = planned_at((0.5, 2.5), (5, 7))
    for clip in transcode(painting.path, video, clips, Recipe(tmp_path, quick, mode=SMART)):
        span = clip.planned.span
        assert indices_and_times(clip.path)[0] == list(
            painting.indices_between(span.start, span.end)
        )
