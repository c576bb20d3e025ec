"""Looking on while a clip is cut: every frame once, and what is taken from it is true."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from cutting_room import QUICK, frames_of, indices_and_times, planned_at, video_of
from measuring import MOTION, QUALITY
from painted import read_index

from finecut.io.media.cutting import CutClip, Recipe, cut
from finecut.io.media.frame_view import FrameView
from finecut.io.media.frames.contact_sheet import (
    NoSheet,
    Sheet,
    SheetForm,
    SheetMaker,
    sampled_indices,
    sheet_from_file,
)
from finecut.io.media.frames.small_pictures import turned, watch
from finecut.io.media.source import probe
from finecut.io.media.testfilm.paint import Painting, Scene, paint
from finecut.io.records import Chunk, Clip, PlannedClip
from finecut.io.storage.staging import Scratch
from finecut.transforms.measure.looking import ClipLook, Looking, keep_sheet, sheet_of
from finecut.transforms.measure.motion import small_size

WHOLE = SheetForm(rates=(5,), height=10_000)
SPANS = ((0.5, 2.0), (1.0, 3.0))


def cut_with(
    painting: Painting,
    folder: Path,
    make: Callable[[PlannedClip], Any],
    spans: tuple[tuple[float, float], ...] = SPANS,
) -> list[CutClip]:
    folder.mkdir(exist_ok=True)
    video, clips = video_of(painting), planned_at(*spans)
    recipe = Recipe(folder, QUICK, observer=make, vectors=True)
    return list(cut(painting.path, video, clips, recipe))


def sheets_of(painting: Painting, folder: Path, form: SheetForm) -> list[tuple[CutClip, Sheet]]:
    makers: dict[str, SheetMaker] = {}
    done = cut_with(painting, folder, lambda clip: makers.setdefault(clip.id, SheetMaker(form)))
    return [(result, makers[result.planned.id].sheet()) for result in done]


def numbers_on(sheet: Sheet) -> list[int]:
    pictures = [av.VideoFrame.from_ndarray(p, format="yuv420p") for p in sheet.frames]
    return [read_index(picture) for picture in pictures]


def whole(sheet: Sheet) -> bytes:
    return b"".join(bytes(part) for part in sheet.to_parts())


class Diary:
    """An observer that writes down what it saw."""

    def __init__(self) -> None:
        self.seconds: list[Fraction] = []
        self.kinds: list[str] = []

    def see(self, view: FrameView, seconds: Fraction) -> None:
        self.seconds.append(seconds)
        self.kinds.append(view.kind)

    def end(self) -> None:
        self.ended = True


@pytest.mark.parametrize(
    "case",
    [
        *("vfr", "bframes", "webm"),
        *(pytest.param(case, marks=pytest.mark.slow) for case in ("cfr", "hevc", "ten_bit", "avi")),
    ],
)
def test_the_observer_sees_every_frame_of_its_clip_once(
    case: str, film: Callable[[str], Painting], tmp_path: Path
) -> None:
    painting = film(case)
    diaries: dict[str, Diary] = {}
    done = cut_with(painting, tmp_path, lambda clip: diaries.setdefault(clip.id, Diary()))
    assert len(done) == len(SPANS)
    for result in done:
        seen = diaries[result.planned.id].seconds
        held = indices_and_times(result.path)[1]
        assert len(seen) == len(held) > 20
        assert max(abs(a - b) for a, b in zip(seen, held, strict=True)) < 0.002


def test_the_kinds_of_pictures_are_the_sources(
    film: Callable[[str], Painting], tmp_path: Path
) -> None:
    """(The encoder overwrites them on the frame, so they have to be read before.)"""
    diary = Diary()
    cut_with(film("bframes"), tmp_path, lambda clip: diary, ((0.0, 3.0),))
    assert set(diary.kinds) == {"I", "P", "B"}
    assert diary.kinds.count("B") > diary.kinds.count("P") > diary.kinds.count("I")


@pytest.mark.parametrize(
    "case",
    [
        *("vfr", "rotated_90", "ten_bit"),
        *(
            pytest.param(case, marks=pytest.mark.slow)
            for case in ("cfr", "odd_size", "wide_pixels")
        ),
    ],
)
def test_the_sheet_shows_the_frames_it_names(
    case: str, film: Callable[[str], Painting], tmp_path: Path
) -> None:
    painting = film(case)
    for result, sheet in sheets_of(painting, tmp_path, WHOLE):
        span = result.planned.span
        frames = list(painting.indices_between(span.start, span.end))
        times = [painting.times[i] - painting.times[frames[0]] for i in frames]
        assert list(sheet.indices) == sampled_indices(times, WHOLE.rates[0])
        assert numbers_on(sheet) == [frames[i] for i in sheet.indices]
        assert sheet.seconds == pytest.approx([times[i] for i in sheet.indices], abs=1e-6)
        assert result.file is not None
        assert (sheet.width, sheet.height) == (result.file.width, result.file.height)


@pytest.mark.parametrize(
    "case",
    [
        *("rotated_90", "full_range"),
        *(pytest.param(case, marks=pytest.mark.slow) for case in ("cfr", "vfr")),
    ],
)
def test_a_sheet_drawn_again_from_the_clip_is_the_same_but_for_the_encoding(
    case: str, film: Callable[[str], Painting], tmp_path: Path
) -> None:
    form = SheetForm(rates=(4,), height=120)
    for result, sheet in sheets_of(film(case), tmp_path, form):
        again = sheet_from_file(str(result.path), form)
        assert again.indices == sheet.indices
        assert again.seconds == pytest.approx(sheet.seconds, abs=0.001)
        one, other = (np.stack(s.frames).astype(int) for s in (sheet, again))
        difference = np.abs(other - one).mean()
        assert difference < 4
        # And the test could tell one frame from the next.
        shifted = np.abs(other[1:] - one[:-1]).mean()
        assert shifted > 2 * difference or shifted > 4


def test_a_sheet_survives_being_put_away(film: Callable[[str], Painting], tmp_path: Path) -> None:
    [(_, sheet), *_] = sheets_of(film("cfr"), tmp_path, SheetForm((2,), side=64))
    again = Sheet.from_bytes(whole(sheet))
    assert (np.stack(again.frames) == np.stack(sheet.frames)).all()
    assert again.indices == sheet.indices
    assert again.seconds == sheet.seconds
    assert again.matrix == sheet.matrix


@pytest.mark.parametrize(
    ("form", "size", "expected"),
    [
        (SheetForm((1,), height=240), (1280, 720), (426, 240)),
        (SheetForm((1,), height=240), (720, 1280), (136, 240)),
        (SheetForm((1,), height=240, side=224), (720, 1280), (224, 398)),
        (SheetForm((1,), side=256), (1920, 1080), (456, 256)),
        (SheetForm((1,), height=240), (160, 90), (160, 90)),
        (SheetForm((1,), height=2), (4000, 3), (2666, 2)),
    ],
)
def test_pictures_are_as_large_as_needed_and_never_enlarged(
    form: SheetForm, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert form.size(*size) == expected


def test_the_colours_of_a_sheet(film: Callable[[str], Painting], tmp_path: Path) -> None:
    [(result, sheet), *_] = sheets_of(film("cfr"), tmp_path, WHOLE)
    frames = list(frames_of(result.path))
    for number, index in enumerate(sheet.indices):
        shown = frames[index].to_ndarray(format="rgb24").astype(int)
        assert np.abs(sheet.rgb(number).astype(int) - shown).mean() < 5


def test_frames_nearest_to_a_slower_rate(film: Callable[[str], Painting], tmp_path: Path) -> None:
    [(_, sheet), *_] = sheets_of(film("cfr"), tmp_path, SheetForm((10,), side=32))
    taken = [round(sheet.seconds[i], 6) for i in sheet.at_rate(2)]
    assert taken == [0.0, 0.5, 1.0, 1.466667]
    assert sheet.at_rate(1000) == list(range(len(sheet)))


def test_whoever_looks_finds_his_own_frames(
    film: Callable[[str], Painting], tmp_path: Path
) -> None:
    """What one step is shown does not depend on what others want."""
    painting = film("vfr")
    times = [at - painting.times[0] for at in painting.times if at < 3]
    for rates in ((2.0,), (1.4, 2.0), (2.0, 3.0, 7.3)):
        spans = ((0.0, 3.0),)
        makers: list[SheetMaker] = []
        form = SheetForm(rates, side=32)
        cut_with(painting, tmp_path, partial(_made, makers, form), spans)
        sheet = makers[0].sheet()
        for rate in rates:
            shown = [sheet.indices[i] for i in sheet.at_rate(rate)]
            assert shown == sampled_indices(times, rate)


def _made(makers: list[SheetMaker], form: SheetForm, clip: PlannedClip) -> SheetMaker:
    makers.append(SheetMaker(form))
    return makers[-1]


def test_no_frame_no_sheet() -> None:
    with pytest.raises(NoSheet):
        SheetMaker(WHOLE).sheet()


class Blind:
    """An observer that breaks down."""

    def see(self, view: FrameView, seconds: Fraction) -> None:
        raise ValueError("too dark in here")

    def end(self) -> None:
        raise AssertionError("it had gone already")


def test_an_observers_trouble_is_not_the_clips(
    film: Callable[[str], Painting], tmp_path: Path
) -> None:
    painting = film("cfr")
    seeing, blind = cut_with(painting, tmp_path, lambda clip: Blind() if clip.index else Diary())
    assert seeing.unseen is None
    assert blind.unseen is not None
    assert "too dark in here" in blind.unseen
    assert blind.file is not None
    assert blind.file.num_frames == len(painting.indices_between(1.0, 3.0))


@pytest.mark.parametrize(
    "case", ["cfr", "bframes", "hevc", "webm", "mjpeg", "rotated_90", "one_frame", "avi", "ts"]
)
def test_every_clip_gets_all_scores(
    case: str, film: Callable[[str], Painting], tmp_path: Path
) -> None:
    looks: dict[str, ClipLook] = {}
    looking = Looking((MOTION, QUALITY))
    done = cut_with(
        film(case), tmp_path, lambda s: looks.setdefault(s.id, ClipLook(looking)), ((0.0, 3.0),)
    )
    [result] = done
    assert result.unseen is None
    scores = looks[result.planned.id].scores
    assert {"motion_global_mean", "motion_per_patch_min_256", "sharpness", "frozen"} <= set(scores)
    if case != "one_frame":
        assert scores["motion_global_mean"] > 0
        assert scores["frozen"] < 0.5
    assert scores["sharpness"] > 0.1


def sheet_in(look: ClipLook) -> Sheet:
    assert look.sheet is not None
    return look.sheet


def clip_of(result: CutClip, painting: Painting) -> Clip:
    return Clip(
        video=video_of(painting),
        chunk=Chunk("c", 0, 1, 1, 1),
        planned=result.planned,
        file=result.file,
        staged=str(result.path),
    )


def test_a_sheet_is_found_in_scratch_or_drawn_again(
    film: Callable[[str], Painting], tmp_path: Path
) -> None:
    painting, form = film("cfr"), SheetForm((2,), height=60)
    scratch = Scratch(1_000_000, str(tmp_path / "scratch"))
    looking = Looking(sheet=form, scratch=scratch)
    looks: dict[str, ClipLook] = {}
    results = cut_with(
        painting, tmp_path / "clips", lambda s: looks.setdefault(s.id, ClipLook(looking))
    )
    for result in results:
        clip = clip_of(result, painting)
        keep_sheet(clip.id, sheet_in(looks[clip.id]), looking)
        kept = scratch.get(looking.name(clip.id))
        assert kept is not None
        assert whole(sheet_of(clip, looking)) == kept
        scratch.drop(looking.name(clip.id))
        again = sheet_of(clip, looking)
        assert whole(again) != kept
        assert again.indices == Sheet.from_bytes(kept).indices
        # It lies there again for who comes next.
        assert scratch.get(looking.name(clip.id)) == whole(again)


def test_without_scratch_and_without_a_file_there_is_no_sheet(
    film: Callable[[str], Painting], tmp_path: Path
) -> None:
    looking = Looking(sheet=WHOLE, scratch=Scratch(0, str(tmp_path)))
    [result, _] = cut_with(film("cfr"), tmp_path, lambda clip: Diary())
    with pytest.raises(NoSheet, match="no file from which to sample frames"):
        sheet_of(clip_of(result, film("cfr")).replace(staged=None), looking)


def test_small_pictures_keep_their_shape() -> None:
    assert small_size(1280, 720) == (320, 180)
    assert small_size(720, 1280) == (180, 320)
    assert small_size(100, 3) == (100, 3)
    assert small_size(5000, 2) == (320, 1)


@pytest.mark.parametrize("case", ["cfr", "vfr", "rotated_90", "rotated_180", "rotated_270", "avi"])
def test_watching_shows_every_frame_upright(
    case: str, film: Callable[[str], Painting], tmp_path: Path
) -> None:
    painting = film(case)
    video = video_of(painting)
    watched = list(watch(painting.path, video))
    assert [float(seconds) for seconds, _ in watched] == pytest.approx(
        [float(t) for t in painting.times], abs=0.002
    )
    assert {picture.shape for _, picture in watched} == {(27, 48, 3)}
    [whole] = cut(painting.path, video, planned_at((0.0, 100.0)), Recipe(tmp_path, QUICK))
    upright = next(frames_of(whole.path)).to_ndarray(
        width=48, height=27, format="rgb24", interpolation="AREA"
    )
    assert np.abs(watched[0][1].astype(int) - upright.astype(int)).mean() < 4
    assert np.abs(watched[0][1][:, ::-1].astype(int) - upright.astype(int)).mean() > 4


def test_turning_twice_by_a_quarter_is_turning_by_half() -> None:
    picture = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    quarter = (0, 1, -1, 0)
    assert (turned(picture, quarter) == np.rot90(picture, -1)).all()
    assert (turned(turned(picture, quarter), quarter) == turned(picture, (-1, 0, 0, -1))).all()


def test_the_probe_and_the_watch_agree_on_the_length(film: Callable[[str], Painting]) -> None:
    painting = film("cfr")
    video = probe(painting.path, video_of(painting).source, 1_000_000)
    assert sum(1 for _ in watch(painting.path, video)) == video.num_frames


def _this(look: ClipLook, clip: PlannedClip) -> ClipLook:
    return look


SPEEDS = (60, 120, 240, 480)
CODECS: dict[str, dict[str, Any]] = {
    "libx264": {"b_frames": 2},
    "libx265": {},
    "libvpx-vp9": {},
    "libsvtav1": {},
}


@pytest.fixture(scope="module")
def pans(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[float]]:
    """The motion scores of pans of all speeds in all codecs, as a run finds them."""
    folder = tmp_path_factory.mktemp("pans")
    found: dict[str, list[float]] = {codec: [] for codec in CODECS}
    for codec, settings in CODECS.items():
        for speed in SPEEDS:
            painting = paint(
                folder / f"{codec}-{speed}.mp4",
                width=480,
                height=272,
                seconds=1.5,
                scenes=[Scene(0, (0, 0), speed, texture=64)],
                codec=codec,
                **settings,
            )
            look = ClipLook(Looking((MOTION,)))
            cut_with(painting, folder / "clips", partial(_this, look), ((0.0, 1.5),))
            found[codec].append(look.scores["motion_global_mean"])
    return found


@pytest.mark.parametrize("codec", CODECS)
def test_motion_is_linear_in_speed(codec: str, pans: dict[str, list[float]]) -> None:
    found = pans[codec]
    assert found == sorted(found)
    assert float(np.corrcoef(SPEEDS, found)[0, 1]) ** 2 >= 0.98


def test_codecs_agree_on_motion(pans: dict[str, list[float]]) -> None:
    for scores in zip(*pans.values(), strict=True):
        assert max(scores) <= 1.25 * min(scores)
    for speed, scores in zip(SPEEDS, zip(*pans.values(), strict=True), strict=True):
        # The strip with the frame's number stands still: a tenth of the picture.
        true = speed / 30 / (480 + 272)
        assert 0.7 * true < min(scores) <= max(scores) < 1.1 * true
