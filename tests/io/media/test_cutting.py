"""The cut, proved on painted films: every frame says which one it is.

A clip has to hold exactly the frames with ``start <= t < end``, in order, the first of them at
time 0 and the others at their own distance from it, whatever the source does.
"""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from cutting_room import (
    QUICK,
    clips_of,
    frames_of,
    indices_and_times,
    planned_at,
    remux,
    video_of,
)
from footage import CASES

from finecut.io.media.codecs import (
    PROFILES,
    EncoderMissing,
    Encoding,
    encoder_options,
    require_encoder,
    why_unusable,
)
from finecut.io.media.cutting import Recipe, cut
from finecut.io.media.limits import FilmError
from finecut.io.media.source import probe
from finecut.io.media.testfilm.paint import Painting, paint
from finecut.io.records import ClipFile, Source

Film = Callable[[str], Painting]


def facts_by_probe(path: Path) -> tuple[object, ...]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        rate = stream.average_rate
        assert rate is not None
        return (
            stream.codec_context.width,
            stream.codec_context.height,
            rate.numerator / rate.denominator,
            stream.frames,
            stream.codec_context.codec.canonical_name,
            path.stat().st_size,
        )


def facts_recorded(file: ClipFile) -> tuple[object, ...]:
    return dataclasses.astuple(file)[:6]


#: Consecutive, overlapping, on a frame, between frames, and the end of every film.
SPANS = ((0.0, 1.2), (1.2, 2.4), (0.5, 2.0), (0.51, 0.77), (2.4, 99.0))
#: Each way to find the middle of a film: by its clock, its key frames, its container.
SOUGHT = ("vfr", "vfr_mkv", "late_start", "ts", "avi_h264", "webm", "mjpeg", "open_gop", "long_gop")
#: Each way to be turned, stretched, or stored in other colours.
TURNED = (
    *("ten_bit", "yuv422", "yuv444", "odd_size", "tiny", "portrait", "rotated_90"),
    *("rotated_270", "wide_pixels", "tall_pixels", "mjpeg", "full_range", "one_frame"),
)


def quick_for(quick: tuple[str, ...]) -> list[Any]:
    """All cases, of which these are not slow."""
    return [
        pytest.param(case, marks=() if case in quick else pytest.mark.slow)
        for case in CASES
        if case != "one_frame" or case in quick
    ]


@pytest.mark.parametrize("case", [name for name in CASES if name != "one_frame"])
def test_a_clip_holds_exactly_the_frames_of_its_span(case: str, film: Film, tmp_path: Path) -> None:
    painting = film(case)
    clips = clips_of(painting, tmp_path, *SPANS)
    assert set(clips) == set(SPANS)
    for span, clip in clips.items():
        wanted = list(painting.indices_between(*span))
        assert len(wanted) > 1, "the case proves nothing"
        indices, times = indices_and_times(clip.path)
        assert indices == wanted, span
        offsets = [painting.times[index] - painting.times[wanted[0]] for index in wanted]
        # Matroska rounds both ends of a distance to milliseconds.
        assert [float(time) for time in times] == pytest.approx(
            [float(offset) for offset in offsets], abs=0.0011
        )
        assert times[0] == 0


@pytest.mark.parametrize("case", quick_for(SOUGHT))
def test_a_cut_that_begins_late_seeks_to_the_same_frames(
    case: str, film: Film, tmp_path: Path
) -> None:
    """Without the shots before it, the reader has to find its way to the middle of the film."""
    painting = film(case)
    for span in ((1.2, 2.0), (2.9, 3.3)):
        [clip] = clips_of(painting, tmp_path, span).values()
        indices, _ = indices_and_times(clip.path)
        assert indices == list(painting.indices_between(*span))


@pytest.mark.parametrize(
    ("case", "preset"),
    [
        ("cfr", "veryfast"),
        ("vfr", "ultrafast"),
        ("vfr_bframes", "veryfast"),
        ("webm", "ultrafast"),
        *(
            pytest.param(case, preset, marks=pytest.mark.slow)
            for case in ("ntsc", "mkv", "avi", "rotated_90", "av1")
            for preset in ("ultrafast", "veryfast")
        ),
    ],
)
def test_the_facts_are_those_of_the_file(
    case: str, preset: str, film: Film, tmp_path: Path
) -> None:
    """With the second preset, the picture shown last is not the one decoded last."""
    painting = film(case)
    mute = Encoding(preset=preset, audio="none")
    for span, clip in clips_of(painting, tmp_path, *SPANS, encoding=mute).items():
        assert clip.path is not None
        assert clip.file is not None
        recorded, probed = facts_recorded(clip.file), facts_by_probe(clip.path)
        assert recorded[2] == pytest.approx(probed[2], rel=1e-5)
        assert recorded[:2] + recorded[3:] == probed[:2] + probed[3:]
        with av.open(str(clip.path)) as container:
            assert container.duration is not None
            length = container.duration / av.time_base
        assert length == pytest.approx(clip.file.num_frames / clip.file.framerate, abs=0.0015)
        last = float(painting.times[painting.indices_between(*span)[-1]])
        first = float(painting.times[painting.indices_between(*span)[0]])
        assert length > last - first


@pytest.mark.parametrize("case", quick_for(TURNED))
def test_every_clip_is_upright_even_square_yuv420p_in_video_range(
    case: str, film: Film, tmp_path: Path
) -> None:
    painting = film(case)
    [clip] = clips_of(painting, tmp_path, (0.0, 0.5)).values()
    width, height = painting.upright_size
    ratio = painting.sample_aspect_ratio
    if painting.rotation % 180:
        ratio = 1 / ratio
    wide, tall = max(Fraction(1), ratio), max(Fraction(1), 1 / ratio)
    wanted = (round(width * wide), round(height * tall))
    frame = next(frames_of(clip.path))
    assert (frame.width, frame.height) == (wanted[0] // 2 * 2, wanted[1] // 2 * 2)
    assert frame.format.name == "yuv420p"
    assert frame.rotation == 0
    with av.open(str(clip.path)) as container:
        assert container.streams.video[0].sample_aspect_ratio in (None, 1)
        assert container.streams.video[0].start_time == 0


def test_full_range_is_converted_not_relabelled(film: Film, tmp_path: Path) -> None:
    """The same scenery painted in both ranges has to look the same afterwards."""
    full = clips_of(film("full_range"), tmp_path / "full", (0.0, 1.0))
    video = clips_of(film("cfr"), tmp_path / "video", (0.0, 1.0))
    brightness = [
        float(next(frames_of(clip.path)).to_ndarray(format="gray")[20:80].mean())
        for clips in (full, video)
        for clip in clips.values()
    ]
    assert brightness[0] == pytest.approx(brightness[1], abs=3)


@pytest.mark.parametrize("encoder", ["libx264", "libx265", "libsvtav1", "libvpx-vp9"])
def test_every_encoder_is_frame_exact(encoder: str, film: Film, tmp_path: Path) -> None:
    painting = film("bframes")
    clips = clips_of(painting, tmp_path, (0.4, 1.6), (1.0, 2.0), encoding=Encoding(encoder))
    for span, clip in clips.items():
        indices, times = indices_and_times(clip.path)
        assert indices == list(painting.indices_between(*span))
        assert times[0] == 0


@pytest.mark.parametrize("encoder", ["libx264", "libx265", "libsvtav1", "libvpx-vp9"])
def test_the_same_film_gives_the_same_bytes(encoder: str, film: Film, tmp_path: Path) -> None:
    digests = set()
    for attempt in range(3):
        clips = clips_of(
            film("cfr"), tmp_path / str(attempt), (0.0, 1.0), encoding=Encoding(encoder)
        )
        digests |= {clip.file.sha256 for clip in clips.values() if clip.file}
    assert len(digests) == 1


def test_bit_rate_and_quality_are_obeyed(film: Film, tmp_path: Path) -> None:
    def size(name: str, encoding: Encoding) -> int:
        [clip] = clips_of(film("cfr"), tmp_path / name, (0.0, 3.0), encoding=encoding).values()
        assert clip.file is not None
        return clip.file.num_bytes

    silent = Encoding(audio="none")
    assert size("low", dataclasses.replace(silent, crf=40)) < size("high", silent) / 1.5
    slow = size("rate", dataclasses.replace(silent, bit_rate=100_000))
    assert slow == pytest.approx(3 * 100_000 / 8, rel=0.5)


def test_the_index_comes_first(film: Film, tmp_path: Path) -> None:
    [clip] = clips_of(film("cfr"), tmp_path, (0.0, 2.0)).values()
    assert clip.path is not None
    data = clip.path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_clips_come_out_while_the_film_is_still_being_read(film: Film, tmp_path: Path) -> None:
    """Memory holds the clips in progress: the first is finished before the second begins."""
    painting = film("cfr")
    results = cut(
        str(painting.path),
        video_of(painting),
        planned_at((0.0, 1.0), (2.0, 3.0)),
        Recipe(tmp_path, QUICK),
    )
    assert next(results).planned.id == "shot0"
    assert [path.name for path in tmp_path.iterdir()] == ["shot0.mp4"]
    results.close()  # type: ignore[attr-defined]


def test_a_cut_that_is_given_up_leaves_no_half_clip(film: Film, tmp_path: Path) -> None:
    painting = film("cfr")
    results = cut(
        str(painting.path),
        video_of(painting),
        planned_at((0.0, 1.0), (0.0, 3.5)),
        Recipe(tmp_path, QUICK),
    )
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert [path.name for path in tmp_path.iterdir()] == ["shot0.mp4"]


def test_a_span_without_frames_says_so(film: Film, tmp_path: Path) -> None:
    [nothing] = clips_of(film("cfr"), tmp_path, (50.0, 60.0)).values()
    assert nothing.path is None
    assert "no frame between 50 s and 60 s" in str(nothing.error)


def test_a_truncated_film_gives_what_is_left_and_says_what_is_missing(
    film: Film, tmp_path: Path
) -> None:
    whole = film("long_gop")
    video = video_of(whole)
    torn = tmp_path / "torn.mp4"
    data = Path(whole.path).read_bytes()
    torn.write_bytes(data[: len(data) * 6 // 10])
    results = list(
        cut(
            str(torn),
            video,
            planned_at((0.0, 1.0), (1.0, 2.0), (3.0, 3.6)),
            Recipe(tmp_path, QUICK),
        )
    )
    assert [result.path is not None for result in results] == [True, True, False]
    assert indices_and_times(results[0].path)[0] == list(whole.indices_between(0.0, 1.0))


def test_a_frame_held_for_long_ends_with_its_clip(tmp_path: Path) -> None:
    """Screen recordings stand still for minutes: the clip must not last as long as that."""
    times = [*(Fraction(i, 9) for i in range(30)), Fraction(20), Fraction(21)]
    painting = paint(tmp_path / "still.mp4", times=times, b_frames=0)
    clips = clips_of(painting, tmp_path / "clips", (0.0, 5.0), (5.0, 10.0), (18.0, 22.0))
    first, gap, last = clips.values()
    assert first.file is not None
    assert first.file.num_frames / first.file.framerate == pytest.approx(5.0, abs=0.01)
    with av.open(str(first.path)) as container:
        assert container.duration == pytest.approx(5e6, abs=10_000)
    assert (gap.path, gap.error) == (None, None)
    assert "no new frame between 5 s and 10 s" in str(gap.empty)
    assert indices_and_times(last.path)[0] == [30, 31]


def test_sound_that_outlasts_the_pictures_is_no_damage(tmp_path: Path) -> None:
    """Matroska is as long as its longest track, so spans are planned where nothing is shown."""
    painting = paint(tmp_path / "whole.mkv", seconds=5, sound="aac", b_frames=0)
    remux(painting.path, tmp_path / "long.mkv", pictures_until=2)
    path = str(tmp_path / "long.mkv")
    video = probe(path, Source(path, path, "x.mkv"), 10**6)
    assert video.duration == pytest.approx(5, abs=0.1)
    clips = planned_at((0.0, 1.5), (1.5, 3.0), (3.0, 4.5))
    whole, partial, beyond = cut(path, video, clips, Recipe(tmp_path, QUICK))
    assert whole.damage is None
    assert partial.damage is None
    assert partial.file is not None
    assert partial.file.num_frames == 15
    assert (beyond.error, beyond.empty is None) == (None, False)


def test_a_film_that_breaks_off_is_damaged(film: Film, tmp_path: Path) -> None:
    whole = film("mkv")
    torn = tmp_path / "torn.mkv"
    data = Path(whole.path).read_bytes()
    torn.write_bytes(data[: len(data) // 2])
    results = list(cut(str(torn), video_of(whole), planned_at((0.0, 3.6)), Recipe(tmp_path, QUICK)))
    assert results[0].damage is not None
    assert "frames could be decoded" in results[0].damage


def test_titles_in_any_encoding_are_no_obstacle(tmp_path: Path) -> None:
    painting = paint(tmp_path / "plain.mkv", seconds=1, b_frames=0)
    remux(painting.path, tmp_path / "latin.mkv", title="caf\udce9")
    path = str(tmp_path / "latin.mkv")
    assert b"caf\xe9" in Path(path).read_bytes()
    assert probe(path, Source(path, path, "x.mkv"), 10**6).width == 320


def test_an_impossible_length_is_refused(film: Film) -> None:
    path = str(film("cfr").path)
    with pytest.raises(FilmError, match="promises 108 frames in 100 bytes"):
        probe(path, Source(path, path, "x.mp4"), 100)


#: Run in a process of its own, because a limit on file sizes cannot be lifted again.
LIMITED = """
import resource, signal, sys
from pathlib import Path
from finecut.io.media.cutting import cut, Recipe
from finecut.io.media.codecs import Encoding
from finecut.io.media.source import probe
from finecut.io.records import PlannedClip, Source, Span
film, folder = sys.argv[1:]
video = probe(film, Source(film, film, "x"), 10**6)
spans = [Span(0, .2), Span(0, 3.6), Span(3, 3.2)]
planned = [PlannedClip(f"s{i}", i, span) for i, span in enumerate(spans)]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
for result in cut(film, video, planned, Recipe(Path(folder), Encoding(crf=10, audio="none"))):
    print(result.planned.id, result.path is not None, "could not be encoded" in str(result.error))
"""


def test_a_clip_that_cannot_be_written_costs_no_other(film: Film, tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-c", LIMITED, str(film("cfr").path), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert sorted(told.stdout.splitlines()) == [
        "s0 True False",
        "s1 False True",
        "s2 True False",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s0.mp4", "s2.mp4"]


def test_x264_is_kept_from_code_that_gives_other_bytes_each_time() -> None:
    options = encoder_options(Encoding("libx264"))
    cpu = Path("/proc/cpuinfo")
    if not (cpu.exists() and "avx512" in cpu.read_text()):
        assert "x264-params" not in options
    else:
        assert options["x264-params"] == "asm=avx2"


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        (Encoding("libopenh264"), "Encoders that work here: libx264"),
        (Encoding("libx264", preset="bogus"), "--preset bogus is unknown: libx264 has"),
        (Encoding("libsvtav1", preset="99"), "--preset 99 is unknown"),
        (Encoding("libopenh264", preset="fast"), "has no presets"),
        (Encoding("libx264", crf=99), "accepts 0 (best) to 51"),
    ],
)
def test_settings_an_encoder_does_not_know_are_refused(encoding: Encoding, words: str) -> None:
    with pytest.raises(EncoderMissing, match=re.escape(words)):
        require_encoder(encoding)


@pytest.mark.parametrize("encoder", ["libx264", "libx265", "libsvtav1", "libvpx-vp9"])
def test_every_preset_of_an_encoder_starts(encoder: str) -> None:
    for preset in (PROFILES[encoder].presets[0], PROFILES[encoder].presets[-1]):
        assert why_unusable(Encoding(encoder, preset=preset)) is None


@pytest.mark.parametrize(
    ("matrix", "size", "form"),
    [
        ("bt709", (320, 180), "yuv420p10le"),
        ("smpte170m", (321, 181), "yuv444p"),
        ("bt2020nc", (320, 180), "yuv422p"),
    ],
)
def test_colours_stay_what_they_are(
    matrix: str, size: tuple[int, int], form: str, tmp_path: Path
) -> None:
    painting = paint(
        tmp_path / "film.mp4",
        seconds=1,
        width=size[0],
        height=size[1],
        pix_fmt=form,
        b_frames=0,
        codec_options={"colorspace": matrix, "crf": "1"},
    )
    sharp = Encoding(crf=1, audio="none")
    [clip] = clips_of(painting, tmp_path / "clips", (0.0, 0.5), encoding=sharp).values()
    with av.open(painting.path) as container:
        stored = next(container.decode(video=0))
        shift = 2 if "10" in form else 0
        wanted = [float(_plane(stored, plane).mean()) / 2**shift for plane in range(3)]
    kept = next(frames_of(clip.path))
    assert kept.colorspace == stored.colorspace != 2
    assert [float(_plane(kept, plane).mean()) for plane in range(3)] == pytest.approx(wanted, abs=1)


def _plane(frame: av.VideoFrame, index: int) -> npt.NDArray[np.uint16]:
    plane = frame.planes[index]
    kind: type[np.unsignedinteger[Any]] = np.uint16 if "10" in frame.format.name else np.uint8
    lines = np.frombuffer(bytes(plane), dtype=kind).reshape(plane.height, -1)
    # The strip at the foot is black and white, and ringing there says nothing about colours.
    return lines[: plane.height * 3 // 4, : plane.width].astype(np.uint16)


@pytest.mark.parametrize(("ratio", "wanted"), [(1000, (160, 90)), (2, (320, 90))])
def test_absurd_pixels_are_taken_for_square(
    ratio: int, wanted: tuple[int, int], tmp_path: Path
) -> None:
    painting = paint(
        tmp_path / "film.mp4", seconds=1, width=160, height=90, sample_aspect_ratio=ratio
    )
    [clip] = clips_of(painting, tmp_path / "clips", (0.0, 1.0)).values()
    assert clip.file is not None
    assert (clip.file.width, clip.file.height) == wanted
