"""Clips that are copied, or copied but for their ends: exactly what they say, at what cost."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from av.codec.context import Flags2
from browser import CHROMIUM, frames_seen
from cutting_room import (
    QUICK,
    frames_of,
    indices_and_times,
    join,
    planned_at,
    remux,
    video_of,
)
from measuring import MOTION, QUALITY
from numpy.typing import NDArray
from painted import hear_beeps, read_index
from places import SHARED

from finecut.io.media.clock import Clock
from finecut.io.media.codecs import Encoding
from finecut.io.media.cutting import CutClip, Recipe
from finecut.io.media.frame_view import FrameView, Scalers
from finecut.io.media.frames.cheap_frames import show_cheap_frames
from finecut.io.media.frames.contact_sheet import Sheet, SheetForm, SheetMaker
from finecut.io.media.remux import h264
from finecut.io.media.remux.copying import COPY, SMART, transcode
from finecut.io.media.remux.h264 import BadUnits
from finecut.io.media.remux.sections import Refused, Section, copied_part, exact_part
from finecut.io.media.source import probe
from finecut.io.media.testfilm.paint import Painting, Scene, paint
from finecut.io.records import Chunk, Clip, ClipFile, PlannedClip, Source, Transcoded, Video
from finecut.io.storage.staging import Scratch
from finecut.io.summary import Summary
from finecut.pipeline.cli.final_words import final_words
from finecut.pipeline.options import OptionError, Options
from finecut.pipeline.running import run
from finecut.transforms.measure.looking import ClipLook, Looking, sheet_of

Film = Callable[[str], Painting]

REAL = SHARED / "videos"

PYRAMID = {"preset": "medium", "sc_threshold": "0"}
STEADY = {"sc_threshold": "0"}
CASES: dict[str, dict[str, Any]] = {
    "without B-frames": {"b_frames": 0, "gop": 7},
    "three B-frames": {"b_frames": 3, "gop": 15, "sound": "aac"},
    "a pyramid": {"b_frames": 3, "gop": 24, "codec_options": PYRAMID},
    "one B-frame": {
        "b_frames": 1,
        "gop": 10,
        "codec_options": STEADY,
        "rate": Fraction(30000, 1001),
    },
    "baseline": {"gop": 12, "b_frames": 0, "codec_options": {"profile": "baseline"}},
    "mkv": {"suffix": ".mkv", "b_frames": 2, "gop": 12, "sound": "libopus"},
    "ts": {
        "suffix": ".ts",
        "b_frames": 2,
        "gop": 12,
        "start": 10,
        "sound_start": 10,
        "sound": "aac",
    },
    "uneven": {
        "times": [Fraction(i * 40 + 7 * (i % 3), 1000) for i in range(75)],
        "b_frames": 3,
        "gop": 20,
    },
    "starts late": {"b_frames": 2, "gop": 20, "start": Fraction(3, 2), "sound": "aac"},
}
QUICK_CASES = ("without B-frames", "a pyramid", "ts", "uneven")
SPANS = ((0.0, 1.0), (0.3, 1.7), (0.3, 1.7001), (1.0, 2.0), (0.93, 2.8), (1.5, 3.0), (2.0, 2.6))


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Film:
    folder, done = tmp_path_factory.mktemp("films"), dict[str, Painting]()

    def one(name: str) -> Painting:
        if name not in done:
            settings: dict[str, Any] = {"width": 160, "height": 90, **CASES[name]}
            path = folder / (name.replace(" ", "_") + settings.pop("suffix", ".mp4"))
            if "times" not in settings:
                settings["seconds"] = 3
            done[name] = paint(path, **settings)
        return done[name]

    return one


def made(
    how: str,
    painting: Painting,
    folder: Path,
    *spans: tuple[float, float],
    encoding: Encoding = QUICK,
    **others: Any,
) -> list[CutClip]:
    folder.mkdir(exist_ok=True)
    video, clips = video_of(painting), planned_at(*spans)
    done = transcode(painting.path, video, clips, Recipe(folder, encoding, mode=how, **others))
    return sorted(done, key=lambda result: result.planned.index)


def told(result: CutClip) -> Transcoded:
    assert result.file is not None
    assert result.file.transcoded is not None
    return result.file.transcoded


def is_exactly(result: CutClip, painting: Painting, wanted: Sequence[int]) -> None:
    """The clip shows these frames of the film, each once, at the right times, and says so."""
    assert result.file is not None, (result.error, result.empty)
    indices, times = indices_and_times(result.path)
    assert indices == list(wanted)
    assert result.file.num_frames == len(wanted)
    first = painting.times[wanted[0]]
    off = [abs(at - (painting.times[i] - first)) for i, at in zip(wanted, times, strict=True)]
    # Matroska rounds to milliseconds, and clips are put back on the grid.
    assert max(off) <= (
        Fraction(1, 1000) if painting.path.endswith((".mkv", ".webm")) else Fraction(1, 9000)
    )
    assert result.damage is None


# ── exactness ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", CASES)
def test_smart_cuts_hold_exactly_their_frames(name: str, painted: Film, tmp_path: Path) -> None:
    painting = painted(name)
    encoded = frames = 0
    for result in made(SMART, painting, tmp_path, *SPANS):
        span = result.planned.span
        is_exactly(result, painting, painting.indices_between(span.start, span.end))
        if told(result).how == "smart":
            assert result.file is not None
            encoded, frames = encoded + told(result).frames_encoded, frames + result.file.num_frames
        else:
            assert told(result).reason == "no key frame lies within the clip"
    # Most of it was copied, or this would show nothing.
    assert 0 < encoded < frames / 2


@pytest.mark.parametrize("name", ["three B-frames", "a pyramid", "one B-frame", "uneven"])
def test_smart_clips_are_as_long_as_encoded_ones(name: str, painted: Film, tmp_path: Path) -> None:
    """Also where they end among B-frames, and between two pictures."""
    spans = [(0.3, 1.61 + 0.0317 * step) for step in range(10)] + [(0.3, 4.0)]
    smart, encoded = (made(how, painted(name), tmp_path / how, *spans) for how in (SMART, "encode"))
    assert all(told(result).how == "smart" for result in smart)
    for one, other in zip(smart, encoded, strict=True):
        # Edit lists count milliseconds.
        assert length(one) == pytest.approx(length(other), abs=0.0011), one.planned.span


def length(result: CutClip) -> float:
    """Of the track, as players take it."""
    with av.open(str(result.path)) as container:
        stream = container.streams.video[0]
        assert stream.duration is not None
        assert stream.time_base is not None
        return float(stream.duration * stream.time_base)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK_CASES else pytest.mark.slow) for name in CASES],
)
def test_copied_clips_say_what_they_show(name: str, painted: Film, tmp_path: Path) -> None:
    painting = painted(name)
    keys = key_times(painting)
    longer = 0
    for result in made(COPY, painting, tmp_path, *SPANS):
        clip, span = result.planned.span, told(result).span
        assert told(result).how == "copied"
        assert span is not None
        assert span.start <= clip.start + 1e-3
        assert clip.end - 1e-3 <= span.end or span.end == pytest.approx(
            float(painting.duration), abs=0.05
        )
        assert min(abs(span.start - key) for key in keys) < 1e-3
        is_exactly(result, painting, painting.indices_between(span.start, span.end))
        longer += span.length > clip.length + 0.01
    assert longer


def key_times(painting: Painting) -> list[float]:
    with av.open(painting.path) as container:
        stream = container.streams.video[0]
        shown = [
            float(packet.pts * packet.time_base)
            for packet in container.demux(stream)
            if packet.is_keyframe and packet.pts is not None
        ]
    return [at - shown[0] for at in shown]


def test_the_picture_shown_last_is_shown_although_others_are_decoded_later(tmp_path: Path) -> None:
    rate = Fraction(24000, 1001)
    painting = paint(
        tmp_path / "film.mp4",
        seconds=6,
        rate=rate,
        cuts=(1.3, 2.9, 3.4, 5.1),
        width=192,
        height=108,
        sound="aac",
        codec_options={"preset": "medium", "x264-params": "keyint=24"},
    )
    for first in (86, 96):
        [result] = made(
            COPY, painting, tmp_path, (float((first + 0.5) / rate), float(143.5 / rate))
        )
        is_exactly(result, painting, range(82, 144))


@hypothesis.settings(max_examples=15, derandomize=True)
@hypothesis.given(
    name=st.sampled_from(["without B-frames", "three B-frames", "a pyramid", "uneven"]),
    first=st.integers(0, 70),
    count=st.integers(1, 60),
)
def test_any_span_is_exact(
    name: str,
    first: int,
    count: int,
    painted: Film,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    painting = painted(name)
    first = min(first, len(painting.times) - 1)
    last = min(first + count, len(painting.times) - 1)
    span = (float(painting.times[first]), float(painting.times[last]) + (first == last) * 0.01)
    [result] = made(SMART, painting, tmp_path_factory.mktemp("any"), span)
    is_exactly(result, painting, range(first, max(last, first + 1)))


#: What encoders are told elsewhere, and what each makes of a track.
ENCODINGS = (
    "keyint=20:min-keyint=3",
    "keyint=30:bframes=5:b-adapt=2:ref=6",
    "keyint=24:slices=4:aud=1",
    "keyint=25:cabac=0:weightp=2:bframes=2",
    "keyint=18:bframes=8:b-pyramid=strict:ref=8",
    "keyint=40:nal-hrd=vbr:vbv-maxrate=900:vbv-bufsize=900:repeat-headers=1",
    "keyint=24:colorprim=bt709:transfer=bt709:colormatrix=bt709:sar=1/1",
    "keyint=24:sps-id=1",
    "keyint=15:bframes=3:b-pyramid=none:ref=1",
    "keyint=1",
    "keyint=24:open-gop=1:bframes=3",
    "keyint=20:interlaced=1",
)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize("told_encoder", ENCODINGS)
def test_films_of_all_makes(told_encoder: str, suffix: str, tmp_path: Path) -> None:
    painting = paint(
        tmp_path / f"film{suffix}",
        seconds=6,
        rate=Fraction(24000, 1001),
        cuts=(1.3, 2.9, 3.4, 5.1),
        width=192,
        height=108,
        sound="aac",
        codec_options={"preset": "medium", "x264-params": told_encoder},
    )
    random = np.random.default_rng(len(told_encoder))
    # Half-way between frames: some of these containers round their times.
    starts = random.integers(0, 100, 12)
    ends = [min(143, at + int(random.integers(5, 120))) for at in starts]
    spans = [
        (float((at + 0.5) / painting.rate), float((end + 0.5) / painting.rate))
        for at, end in zip(starts.tolist(), ends, strict=True)
    ]
    smart = 0
    for how in (SMART, COPY):
        for result in made(how, painting, tmp_path / how, *spans):
            span = told(result).span or result.planned.span
            # What was copied begins and ends with frames, whose times are rounded in some of these.
            wanted = painting.indices_between(span.start - 0.001, span.end - 0.001)
            is_exactly(result, painting, wanted)
            smart += told(result).how == "smart"
    assert smart or "open-gop" in told_encoder or "interlaced" in told_encoder


def test_what_is_copied_is_the_source_bit_by_bit(painted: Film, tmp_path: Path) -> None:
    painting = painted("a pyramid")
    source = [pixels(frame) for frame in frames_of(Path(painting.path))]
    [result] = made(SMART, painting, tmp_path, (0.5, 2.5), encoding=Encoding(crf=10))
    same = []
    for index, frame in zip(range(15, 75), frames_of(result.path), strict=True):
        shown = pixels(frame)
        same.append(bool((shown == source[index]).all()))
        assert psnr(shown, source[index]) > 35
    assert same.count(False) == told(result).frames_encoded
    # The ends are encoded, what lies between is not.
    assert not same[0]
    assert all(same[9:57])


def pixels(frame: av.VideoFrame) -> NDArray[np.uint8]:
    return np.asarray(frame.to_ndarray(), np.uint8)


def psnr(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    off = one.astype(np.float32) - other
    return float(10 * np.log10(255**2 / max(1e-6, float((off * off).mean()))))


@pytest.mark.parametrize("how", [COPY, SMART])
def test_sound_stays_beside_its_pictures(how: str, painted: Film, tmp_path: Path) -> None:
    painting = painted("three B-frames")
    [beep] = painting.beeps
    for audio in ("copy", "aac"):
        encoding = dataclasses.replace(QUICK, audio=audio)
        spans = ((0.3, 2.4), (1.0, 2.0))
        for result in made(how, painting, tmp_path / audio, *spans, encoding=encoding):
            span = told(result).span or result.planned.span
            heard = hear_beeps(str(result.path))
            assert heard == pytest.approx([beep - span.start], abs=0.03)
            with av.open(str(result.path)) as container:
                sound = container.streams.audio[0]
                assert sound.duration is not None
                assert sound.time_base is not None
                assert float(sound.duration * sound.time_base) == pytest.approx(
                    span.length, abs=0.06
                )


def test_the_same_film_gives_the_same_bytes_and_overlapping_clips_share_packets(
    painted: Film, tmp_path: Path
) -> None:
    painting = painted("three B-frames")
    spans = ((0.3, 1.7), (0.4, 1.7), (0.4, 2.9), (1.0, 2.0))
    for how in (COPY, SMART):
        together = made(how, painting, tmp_path / how, *spans)
        for number, span in enumerate(spans):
            [alone] = made(how, painting, tmp_path / f"{how}{number}", span)
            assert alone.file == together[number].file


def test_a_film_may_be_read_through_python(painted: Film, tmp_path: Path) -> None:
    """As those in buckets are; the last shot cannot be copied, so the film is opened twice."""
    painting = painted("a pyramid")
    clips = planned_at((0.3, 1.7), (1.0, 1.3))
    with Path(painting.path).open("rb") as file:
        done = list(transcode(file, video_of(painting), clips, Recipe(tmp_path, QUICK, mode=SMART)))
    assert [told(result).how for result in done] == ["smart", "encoded"]
    for result in done:
        span = result.planned.span
        is_exactly(result, painting, painting.indices_between(span.start, span.end))


# ── what cannot be copied ────────────────────────────────────────────────────────────────────────

OPEN = {"b_frames": 3, "gop": 24, "open_gop": True, "codec_options": PYRAMID}
#: The film, what is said of it when it is cut smartly, and when copied (``None``: it is copied).
REFUSED: dict[str, tuple[dict[str, Any], str, str | None]] = {
    "open groups": (OPEN, "groups of pictures are open", None),
    "hevc": ({"codec": "libx265", "gop": 20}, "its video is hevc", None),
    "vp9": ({"suffix": ".webm", "codec": "libvpx-vp9"}, "its video is vp9", None),
    "ten bits": ({"pix_fmt": "yuv420p10le"}, "its H.264 profile", None),
    "turned": ({"rotation": 90}, "its frames are rotated", None),
    "wide pixels": ({"sample_aspect_ratio": 2}, "have non-square pixels", None),
    "full range": ({"full_range": True}, "have a range or format", None),
    "avi": ({"suffix": ".avi", "b_frames": 0}, "AVI does not record", "AVI does not record"),
    "mjpeg": (
        {"suffix": ".mov", "codec": "mjpeg", "pix_fmt": "yuvj420p"},
        "players do not expect",
        "players do not expect",
    ),
    "intra refresh": (
        {"codec_options": {"x264-params": "intra-refresh=1:keyint=20"}, "b_frames": 0},
        "no key frame lies within|open",
        None,
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_copied_is_encoded_and_says_why(name: str, tmp_path: Path) -> None:
    settings, smart, copied = REFUSED[name]
    settings = dict(settings)
    path = tmp_path / ("film" + settings.pop("suffix", ".mp4"))
    painting = paint(path, seconds=2.4, width=160, height=90, **settings)
    for how, reason in ((SMART, smart), (COPY, copied)):
        results = made(how, painting, tmp_path / how, (0.9, 1.5))
        [result] = results
        if reason is None:
            span = told(result).span
            assert span is not None
            assert (told(result).how, told(result).reason) == ("copied", "")
            wanted = painting.indices_between(span.start, span.end)
        else:
            assert told(result).how == "encoded"
            assert re.search(reason, told(result).reason)
            wanted = painting.indices_between(0.9, 1.5)
        if name == "turned" and how == COPY:
            assert result.file is not None
            assert result.file.num_frames == len(wanted)
            # It stays as it is stored, and says how it is to be turned.
            assert (result.file.width, result.file.height) == (160, 90)
            assert next(frames_of(result.path)).rotation == 90
        else:
            is_exactly(result, painting, wanted)


def test_a_film_whose_size_changes_is_not_joined(tmp_path: Path) -> None:
    one = paint(tmp_path / "one.ts", seconds=1.5, width=160, height=90, b_frames=0, gop=15)
    other = paint(tmp_path / "two.ts", seconds=1.5, width=192, height=108, b_frames=0, gop=15)
    join([one.path, other.path], tmp_path / "both.ts")
    path = str(tmp_path / "both.ts")
    video = probe(path, Source(path, path, "both.ts"), 10**6)
    clips = planned_at((0.2, 1.2), (1.0, 2.2))
    done = list(transcode(path, video, clips, Recipe(tmp_path, QUICK, mode=SMART)))
    assert [told(result).how for result in done] == ["smart", "encoded"]
    assert told(done[1]).reason == "its parameter sets change partway"


@pytest.mark.parametrize("how", [COPY, SMART])
def test_key_frames_that_are_far_apart(how: str, tmp_path: Path) -> None:
    """A film of one section is not copied as a whole for every shot of it."""
    painting = paint(
        tmp_path / "film.mp4",
        seconds=50,
        rate=5,
        width=64,
        height=36,
        gop=10_000,
        b_frames=2,
        codec_options=STEADY,
    )
    [result] = made(how, painting, tmp_path, (8.0, 10.0))
    assert told(result).how == "encoded"
    assert told(result).reason == "its key frames are more than 30 s or 128 MB apart"
    is_exactly(result, painting, painting.indices_between(8.0, 10.0))


def test_a_span_without_frames_says_so(painted: Film, tmp_path: Path) -> None:
    for how in (COPY, SMART):
        [nothing] = made(how, painted("a pyramid"), tmp_path, (50.0, 60.0))
        assert nothing.path is None
        assert "no frame between 50 s and 60 s" in str(nothing.error)


def test_a_film_that_breaks_off_is_damaged(painted: Film, tmp_path: Path) -> None:
    whole = painted("mkv")
    torn = tmp_path / "torn.mkv"
    data = Path(whole.path).read_bytes()
    torn.write_bytes(data[: len(data) // 2])
    for how in (COPY, SMART):
        clips = planned_at((0.2, 2.9))
        [result] = transcode(str(torn), video_of(whole), clips, Recipe(tmp_path, QUICK, mode=how))
        assert result.damage is not None


def test_sound_that_outlasts_the_pictures_is_no_damage(tmp_path: Path) -> None:
    painting = paint(tmp_path / "whole.mkv", seconds=3, width=160, height=90, gop=10, sound="aac")
    remux(painting.path, tmp_path / "long.mkv", pictures_until=2)
    path = str(tmp_path / "long.mkv")
    video = probe(path, Source(path, path, "long.mkv"), 10**6)
    for how in (COPY, SMART):
        [result] = transcode(path, video, planned_at((0.5, 2.9)), Recipe(tmp_path, QUICK, mode=how))
        assert result.damage is None


# ── the parts ────────────────────────────────────────────────────────────────────────────────────


def section(shown: Sequence[int], ends: int | None = None) -> Section:
    packets: list[Any] = [None] * len(shown)
    return Section(shown[0], True, packets, list(shown), following=ends, ends=ends)


@hypothesis.given(st.permutations(range(1, 7)), st.integers(1, 8))
def test_what_is_copied_of_the_last_section_is_all_that_can_be(order: list[int], end: int) -> None:
    """Against trying every prefix."""
    shown = [0, *order]
    part = exact_part(section(shown, 7), 0, end)
    prefixes = [
        count
        for count in range(len(shown) + 1)
        if sorted(shown[:count]) == list(range(count)) and count <= end
    ]
    assert part.copied == max(prefixes)
    assert part.encoded == ((part.copied, end) if part.copied < min(end, 7) else None)
    assert part.last == (end <= 7)


def test_a_shot_without_a_key_frame_is_refused() -> None:
    with pytest.raises(Refused, match="no key frame"):
        exact_part(section([0, 1, 2, 3], 4), 1, 4)
    assert exact_part(section([0, 1, 2, 3], 4), 1, 5).encoded == (1, 4)
    # Between a start and the next key frame there may be no picture.
    assert exact_part(section([0, 1, 2, 3], 9), 5, 12).encoded is None
    # The last picture is shown until the clip ends, if the next one comes later.
    assert exact_part(section([0, 1, 2, 3], 9), 0, 6).ends == 6
    assert copied_part(section([0, 1, 2, 3], 4), 4).last
    assert not copied_part(section([0, 1, 2, 3], 4), 5).last


@hypothesis.given(
    base=st.sampled_from([Fraction(1, 1000), Fraction(1, 90_000), Fraction(1, 15_360)]),
    rate=st.sampled_from([None, Fraction(25), Fraction(30_000, 1001), Fraction(24)]),
    first=st.integers(-1000, 1000),
    pts=st.integers(-2000, 10**7),
)
def test_ticks_in_whole_numbers_are_the_same_ticks(
    base: Fraction, rate: Fraction | None, first: int, pts: int
) -> None:
    clock = Clock(base, first, rate)
    assert clock.ticker()(pts) == round(clock.seconds(pts) / clock.clip_time_base)


def test_parameter_sets_are_read_and_changed(painted: Film) -> None:
    with av.open(painted("a pyramid").path) as container:
        context = container.streams.video[0].codec_context
        found = h264.header(context.extradata)
        said = h264.picture_set(found.sps[0])
        assert (said.profile, said.depth, said.chroma, said.whole_frames) == (100, 8, 1, True)
        assert said.size == (10, 6)
        assert (said.reorder, said.number) == (context.reorder_depth, 0)
    changed = h264.picture_set(h264.with_order(found.sps[0], 3, 7))
    assert (changed.reorder, changed.kept) == (3, 7)
    assert dataclasses.replace(changed, reorder=said.reorder, kept=said.kept) == said
    assert found.free_number() == 1
    both = h264.header(found.joined(found))
    assert both.sps == found.sps * 2


@hypothesis.given(st.binary(max_size=60))
def test_bytes_that_are_no_h264_are_refused_or_read(data: bytes) -> None:
    for read in (
        lambda: h264.header(data),
        lambda: h264.header(b"\x01" + data),
        lambda: h264.units(data, 4),
        lambda: h264.picture_set(b"\x67" + data),
        lambda: h264.may_begin([b"\x06" + data]),
    ):
        try:
            read()
        except BadUnits:
            continue


# ── looking ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def panned(tmp_path_factory: pytest.TempPathFactory) -> Painting:
    """Two seconds from key frame to key frame, as films of the web have them."""
    folder = tmp_path_factory.mktemp("panned")
    return paint(
        folder / "film.mp4",
        seconds=8,
        rate=24,
        gop=48,
        b_frames=3,
        codec_options=STEADY,
        scenes=[Scene(pan=60)],
    )


def looks_of(
    how: str, painting: Painting, folder: Path, looking: Looking, span: tuple[float, float]
) -> tuple[CutClip, ClipLook]:
    looks: list[ClipLook] = []
    video = video_of(painting)

    def look_at(clip: PlannedClip) -> ClipLook:
        looks.append(ClipLook(looking, looking.expected(video, clip)))
        return looks[-1]

    def sample(clip: PlannedClip, file: ClipFile) -> ClipLook:
        looks.append(ClipLook(looking, looking.wanted_in(clip, file)))
        return looks[-1]

    [result] = made(how, painting, folder, span, observer=look_at, sampler=sample, vectors=True)
    assert result.unseen is None
    [look] = looks
    return result, look


@pytest.mark.parametrize("how", [COPY, SMART])
def test_a_glance_at_a_copied_clip_says_what_it_saw(
    how: str, panned: Painting, tmp_path: Path
) -> None:
    looking = Looking((MOTION, QUALITY), SheetForm((1.0, 2.0), height=180), even=(8,), captions=2.0)
    result, look = looks_of(how, panned, tmp_path, looking, (0.5, 7.2))
    sheet = look.sheet
    assert sheet is not None
    span = told(result).span or result.planned.span
    first = panned.indices_between(span.start, span.end)[0]
    shown = [read_index(av.VideoFrame.from_ndarray(p, format="yuv420p")) for p in sheet.frames]
    # Every picture has its true number and time, although not all frames were seen.
    assert shown == [first + number for number in sheet.indices]
    assert sheet.seconds == pytest.approx([number / 24 for number in sheet.indices])
    assert not sheet.exact
    assert result.file is not None
    assert 8 <= len(sheet) <= result.file.num_frames / 4
    # What is wanted is there, or something a second from it at the most.
    for moment in (0.4, 2.5, 5.8):
        [place] = sheet.near([moment])
        assert abs(sheet.seconds[place] - moment) < 1
    for number, place in zip([0, 40, 150], sheet.numbered([0, 40, 150]), strict=True):
        assert abs(sheet.indices[place] - number) < 24
    assert Sheet.from_bytes(b"".join(bytes(part) for part in sheet.to_parts())).exact is False


def test_what_is_measured_at_a_glance_is_what_is_measured(panned: Painting, tmp_path: Path) -> None:
    looking = Looking((MOTION, QUALITY))
    scores = {
        how: looks_of(how, panned, tmp_path / how, looking, (0.0, 8.0))[1].scores
        for how in ("encode", COPY)
    }
    assert scores[COPY].keys() == scores["encode"].keys()
    exact, glanced = (scores[how]["motion_global_mean"] for how in ("encode", COPY))
    assert exact > 0.001
    assert glanced == pytest.approx(exact, rel=0.35)
    assert scores[COPY]["sharpness"] == pytest.approx(scores["encode"]["sharpness"], abs=0.05)


def test_motion_without_vectors_is_found_in_neighbours(tmp_path: Path) -> None:
    painting = paint(
        tmp_path / "film.mp4",
        seconds=4,
        rate=24,
        codec="libx265",
        gop=24,
        scenes=[Scene(pan=60)],
    )
    looking = Looking((MOTION,))
    scores = [
        looks_of(how, painting, tmp_path / how, looking, (0.0, 4.0))[1].scores["motion_global_mean"]
        for how in ("encode", COPY)
    ]
    assert scores[0] > 0.001
    assert scores[1] == pytest.approx(scores[0], rel=0.5)


def test_a_sheet_that_was_lost_is_drawn_as_it_was(panned: Painting, tmp_path: Path) -> None:
    looking = Looking(
        sheet=SheetForm((2.0,), height=90),
        scratch=Scratch(10**8, str(tmp_path / "scratch")),
        captions=2.0,
    )
    result, look = looks_of(COPY, panned, tmp_path / "clips", looking, (0.5, 7.2))
    chunk = Chunk("chunk", 0, 1, 1, 1)
    staged = str(result.path)
    clip = Clip(video_of(panned), chunk, result.planned, result.file, staged=staged)
    again, sheet = sheet_of(clip, looking), look.sheet
    assert sheet is not None
    assert (again.indices, again.seconds, again.exact) == (sheet.indices, sheet.seconds, False)
    assert (np.stack(again.frames) == np.stack(sheet.frames)).all()


class Counter(SheetMaker):
    def __init__(self, form: SheetForm) -> None:
        super().__init__(form)
        self.shown = 0

    def see(self, view: Any, seconds: Fraction) -> None:
        self.shown += 1
        super().see(view, seconds)


def test_most_frames_are_never_decoded(panned: Painting, tmp_path: Path) -> None:
    counters: list[Counter] = []

    def count(_: PlannedClip, __: ClipFile) -> Counter:
        counters.append(Counter(SheetForm((30.0,), height=36)))
        return counters[-1]

    [result] = made(COPY, panned, tmp_path, (0.0, 8.0), sampler=count)
    assert result.file is not None
    assert 8 <= counters[0].shown <= result.file.num_frames / 5


class Shown(ClipLook):
    """Counts what it is shown."""

    shown = 0

    def see(self, view: FrameView, seconds: Fraction) -> None:
        self.shown += 1
        super().see(view, seconds)


class Greedy(Shown):
    def more(self, times: Sequence[Fraction]) -> int:
        return len(times)


def test_motion_alone_sees_fewer_frames_and_measures_the_same(
    panned: Painting, tmp_path: Path
) -> None:
    """It looks at one frame of each turn; of the others one would be as good."""

    [result] = made(COPY, panned, tmp_path, (0.0, 8.0))
    looking = Looking((MOTION,))
    frugal, greedy = Shown(looking), Greedy(looking)
    for look in (frugal, greedy):
        show_cheap_frames(str(result.path), look, vectors=True)
    assert frugal.shown < greedy.shown
    assert frugal.scores == greedy.scores
    assert frugal.scores["motion_global_mean"] > 0.001
    # Four sections: a key frame and one more of each.
    assert frugal.shown >= 4 * 2


@pytest.mark.parametrize("codec", ["mpeg4", "libx265", "libvpx-vp9"])
def test_where_nobody_knows_what_is_left_out_motion_sees_all_there_is(
    codec: str, tmp_path: Path
) -> None:
    """MPEG-4 leaves B-frames out that count as needed here: what is left would tell nothing."""
    painting = paint(
        tmp_path / "film.mp4",
        codec=codec,
        seconds=3,
        rate=30,
        b_frames=1 if codec == "mpeg4" else 0,
        gop=90,
        width=160,
        height=90,
        scenes=[Scene(pan=60)],
    )
    [result] = made(COPY, painting, tmp_path, (0.0, 3.0))
    frugal, greedy = Shown(Looking((MOTION,))), Greedy(Looking((MOTION,)))
    for look in (frugal, greedy):
        show_cheap_frames(str(result.path), look, vectors=True)
    assert frugal.scores["motion_global_mean"] > 0.001
    assert frugal.scores == greedy.scores


@pytest.mark.parametrize(
    "looking", [Looking((MOTION, QUALITY)), Looking((MOTION,), sheet=SheetForm((1.0,)))]
)
def test_quality_and_sheets_see_every_frame_there_is(looking: Looking) -> None:
    times = [Fraction(number, 24) for number in range(48)]
    look = ClipLook(looking)
    look.wants(times)
    assert look.more(times[2:5]) == 3
    alone = ClipLook(Looking((MOTION,)))
    alone.wants(times)
    # Up to the one that begins the next half second.
    assert [alone.more(times[2:5]), alone.more(times[2:12]), alone.more(times[2:15])] == [1, 1, 11]
    assert alone.more([]) == 0


# ── the whole ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    size: dict[str, Any] = {"width": 160, "height": 90, "rate": 20}
    paint(folder / "a.mp4", seconds=6, gop=15, b_frames=2, sound="aac", **size)
    paint(folder / "b.mkv", seconds=3, codec="libvpx-vp9", **size)
    return folder


def options(films: Path, output: Path, **others: Any) -> Options:
    return Options(
        input=(str(films),),
        output=str(output),
        clip_length=2.0,
        no_generate_embeddings=True,
        motion_filter="score-only",
        **others,
    )


class Ran(NamedTuple):
    options: Options
    summary: Summary
    #: What is in it, whatever the output is called.
    files: dict[str, bytes]


def ran(asked: Options) -> Ran:
    summary = run(asked).summary
    assert summary.imbalances() == []
    output = Path(asked.output)
    written = [*(output / "clips").iterdir(), *(output / "metas" / "v0").iterdir()]
    files = {path.name: path.read_bytes().replace(bytes(output), b"OUTPUT") for path in written}
    return Ran(asked, summary, files)


def documents(files: dict[str, bytes]) -> dict[str, Any]:
    return {name: json.loads(data) for name, data in files.items() if name.endswith(".json")}


@pytest.fixture(scope="module")
def smart(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    output = tmp_path_factory.mktemp("smart") / "output"
    return ran(options(films, output, workers=2, transcode=SMART))


def test_documents_and_last_words_say_how_clips_were_made(smart: Ran) -> None:
    assert smart.summary.transcoded == {"smart": 3, "encoded": 1}
    words = final_words(smart.options, smart.summary, 1.0, "")
    assert "3 smart, 1 encoded; see transcode_reason in metas/v0/" in words
    metas = documents(smart.files)
    of_video = {meta["source_video"].rsplit("/", 1)[-1]: meta for meta in metas.values()}
    assert of_video["a.mp4"]["transcode"] == "smart"
    assert "transcode_reason" not in of_video["a.mp4"]
    assert of_video["b.mkv"]["transcode"] == "encoded"
    assert "vp9" in of_video["b.mkv"]["transcode_reason"]
    assert all(meta["valid"] and meta["motion_score"] for meta in metas.values())
    assert len(smart.files) == 8


def test_a_copied_dataset(films: Path, smart: Ran, tmp_path: Path) -> None:
    copied = ran(options(films, tmp_path / "output", transcode=COPY))
    assert copied.summary.transcoded == {"copied": 4}
    for meta in documents(copied.files).values():
        start, end = meta["copied_span"]
        assert start <= meta["duration_span"][0]
        assert end - start == pytest.approx(meta["num_frames"] / meta["framerate"], abs=0.01)
    # Ids are of what was asked for.
    assert copied.files.keys() == smart.files.keys()


@pytest.mark.slow
def test_other_workers_and_no_children_write_the_same(
    films: Path, smart: Ran, tmp_path: Path
) -> None:
    alone = options(films, tmp_path / "alone", workers=1, transcode=SMART, no_isolation=True)
    assert ran(alone).files == smart.files
    usual = ran(options(films, tmp_path / "usual"))
    assert usual.summary.transcoded == {}
    assert usual.files.keys() == smart.files.keys()
    keys = {key for meta in documents(usual.files).values() for key in meta}
    assert not any(key.startswith(("transcode", "copied", "frames_encoded")) for key in keys)


def test_pictures_beside_copied_ones_are_encoded_by_one_encoder() -> None:
    asked = Options(input=("a",), output="b", transcode=SMART, encoder="libx265")
    with pytest.raises(OptionError, match="leave --encoder libx265 out"):
        asked.check()
    dataclasses.replace(asked, transcode=COPY).check()


# ── players, real films, and what it costs ───────────────────────────────────────────────────────


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_browser_shows_every_frame(painted: Film, tmp_path: Path) -> None:
    films: dict[str, tuple[Path, list[float]]] = {}
    wanted: dict[str, list[int]] = {}
    for name in ("without B-frames", "three B-frames", "a pyramid", "baseline", "ts", "uneven"):
        for result in made(SMART, painted(name), tmp_path / name, (0.3, 1.7), (1.0, 2.61)):
            indices, times = indices_and_times(result.path)
            assert result.path is not None
            key = f"{name.replace(' ', '_')}{result.planned.index}"
            films[key] = (result.path, [float(at) + 0.005 for at in times])
            wanted[key] = indices
    seen = frames_seen(films, tmp_path)
    assert seen.keys() == wanted.keys()
    for key, pictures in seen.items():
        assert [read_index(picture) for picture in pictures] == wanted[key], key


def real(name: str) -> tuple[str, Video]:
    path = str(REAL / name)
    return path, probe(path, Source(path, path, name), Path(path).stat().st_size)


@pytest.mark.slow
@pytest.mark.skipif(not REAL.exists(), reason="the shared films are not here")
@pytest.mark.parametrize(
    "name",
    [
        "bbb_480p24_30s.mp4",
        "intel_car_12.5fps_aac.mp4",
        "decord_pancake_h264_opus.mkv",
        "psd_testvideo_720p2997_cuts.mp4",
        "psd_vfr_drop3.mp4",
        "tc_nasa_multistream.mp4",
    ],
)
def test_real_films_are_cut_exactly(name: str, tmp_path: Path) -> None:
    path, video = real(name)
    end = video.duration
    spans = ((0.0, end / 2), (end / 5, end * 0.95), (end / 3, end))
    clips = planned_at(*spans)
    with av.open(path) as container:
        stream = container.streams[video.stream_index]
        assert isinstance(stream, av.VideoStream)
        clock = Clock(stream.time_base or Fraction(1), video.first_pts, None)
        source = [
            (clock.seconds(frame.pts or 0), pixels(frame)) for frame in container.decode(stream)
        ]
    for result in transcode(path, video, clips, Recipe(tmp_path, Encoding(crf=16), mode=SMART)):
        span = result.planned.span
        wanted = [p for at, p in source if span.start - 1e-3 <= at < span.end - 1e-3]
        shown = [pixels(frame) for frame in frames_of(result.path)]
        assert len(shown) == len(wanted)
        differing = 0
        for one, other in zip(shown, wanted, strict=True):
            if (one != other).any():
                differing += 1
                assert psnr(one, other) > 32
        if told(result).how == "smart":
            assert differing <= told(result).frames_encoded < len(shown)


@pytest.mark.slow
def test_what_copying_and_looking_cost(tmp_path: Path) -> None:
    """Generous floors: 470 to 780 times real time, and 0.21 to 0.26 of encoding were measured."""
    painting = paint(
        tmp_path / "film.mp4",
        width=640,
        height=360,
        rate=24,
        seconds=40,
        gop=48,
        b_frames=3,
        sound="aac",
        codec_options=STEADY,
    )
    spans = [(at + 0.5, at + 8.5) for at in range(0, 30, 8)]
    seconds = sum(end - start for start, end in spans)

    def cost(how: str, times: int = 1, **others: Any) -> float:
        made(how, painting, tmp_path / how, spans[0], encoding=Encoding())
        began = time.process_time()
        for _ in range(times):
            made(how, painting, tmp_path / how, *spans, encoding=Encoding(), **others)
        return (time.process_time() - began) / times

    copied, smart, encoded = cost(COPY, 10), cost(SMART), cost("encode")
    print(f"{seconds / copied:.0f} times real time; smart {smart / encoded:.2f} of encoding")
    assert seconds / copied > 200
    assert smart < encoded / 2


@pytest.mark.slow
@pytest.mark.skipif(not REAL.exists(), reason="the shared films are not here")
def test_a_glance_costs_a_third_of_decoding(tmp_path: Path) -> None:
    """On a film with two seconds from key frame to key frame; half is the limit of the test."""
    path, rate = tmp_path / "film.mp4", 24
    with av.open(str(REAL / "bbb_480p24_30s.mp4")) as film, av.open(str(path), "w") as copy:
        out = copy.add_stream("libx264", rate=rate, options={"x264-params": "keyint=48:scenecut=0"})
        assert isinstance(out, av.VideoStream)
        source = film.streams.video[0]
        out.width, out.height, out.pix_fmt = source.width, source.height, "yuv420p"
        for frame in film.decode(source):
            frame.pict_type = 0
            copy.mux(out.encode(frame))
        copy.mux(out.encode(None))
    looking = Looking((MOTION, QUALITY), sheet=SheetForm((1.0,), height=240))
    plain = cpu(lambda: [frame.pts for frame in frames_of(path)])
    counter = Counter(SheetForm((2.0,), height=36))
    glanced = cpu(lambda: show_cheap_frames(str(path), counter))
    every = cpu(lambda: look_at_all(path, looking))
    some = cpu(lambda: show_cheap_frames(str(path), ClipLook(looking), True))
    print(f"decoding for a glance {glanced / plain:.2f} of all; with looking {some / every:.2f}")
    assert counter.shown < 720 / 10
    assert glanced < plain / 2
    assert some < every / 2


def cpu(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def look_at_all(path: Path, looking: Looking) -> None:
    look, scalers = ClipLook(looking), Scalers()
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.flags2 |= Flags2.export_mvs
        for frame in container.decode(stream):
            look.see(
                FrameView(frame, frame, scalers), (frame.pts or 0) * Fraction(frame.time_base or 1)
            )
    look.end()
