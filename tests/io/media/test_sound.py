"""The sound of clips: in sync, whole, and copied where MP4 allows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from cutting_room import QUICK, clips_of, indices_and_times, planned_at, remux
from painted import hear_beeps

from finecut.io.media.cutting import Recipe, cut
from finecut.io.media.source import probe
from finecut.io.media.testfilm.paint import Painting, paint
from finecut.io.records import Source

Film = Callable[[str], Painting]


CASES = (
    "cfr",
    "ntsc",
    "vfr_mkv",
    "late_start",
    "nonzero_start",
    "audio_late",
    "mkv",
    "mkv_vorbis",
    "mp4_mp3",
    "webm",
    "avi",
    "avi_mp3",
    "mjpeg",
    "ts",
    "av1",
)
#: Those whose sound is made anew, and kept, in the quick suite.
AAC = ("late_start", "audio_late", "ts")
KEPT = (
    "cfr",
    "vfr_mkv",
    "nonzero_start",
    "audio_late",
    "mkv",
    "mkv_vorbis",
    "webm",
    "avi_mp3",
    "ts",
)


@pytest.mark.parametrize(
    ("case", "audio"),
    [
        pytest.param(case, audio, marks=() if case in quick else pytest.mark.slow)
        for audio, quick in (("copy", KEPT), ("aac", AAC))
        for case in CASES
    ],
)
def test_sound_stays_with_the_picture(case: str, audio: str, film: Film, tmp_path: Path) -> None:
    painting = film(case)
    spans = ((0.0, 1.9), (1.0, 3.2), (2.2, 3.5))
    clips = clips_of(painting, tmp_path, *spans, encoding=dataclasses.replace(QUICK, audio=audio))
    for span, clip in clips.items():
        assert clip.path is not None
        first = float(painting.times[painting.indices_between(*span)[0]])
        wanted = [beep - first for beep in painting.beeps if span[0] <= beep < span[1] - 0.1]
        assert wanted, "the case proves nothing"
        heard = [beep for beep in hear_beeps(clip.path) if beep < span[1] - first - 0.1]
        assert heard == pytest.approx(wanted, abs=0.006), (case, span)


def test_sound_is_copied_where_mp4_allows(film: Film, tmp_path: Path) -> None:
    codecs = {}
    for case in ("cfr", "mkv", "webm", "avi", "mkv_vorbis"):
        [clip] = clips_of(film(case), tmp_path / case, (0.0, 2.0)).values()
        with av.open(str(clip.path)) as container:
            codecs[case] = container.streams.audio[0].codec_context.name
    assert codecs == {
        "cfr": "aac",
        "mkv": "mp3float",
        "webm": "opus",
        "avi": "aac",
        "mkv_vorbis": "aac",
    }


def test_no_sound_when_none_is_wanted_or_there(film: Film, tmp_path: Path) -> None:
    mute = dataclasses.replace(QUICK, audio="none")
    [muted] = clips_of(film("cfr"), tmp_path / "muted", (0.0, 1.0), encoding=mute).values()
    [without] = clips_of(film("ten_bit"), tmp_path / "without", (0.0, 1.0)).values()
    for clip in (muted, without):
        with av.open(str(clip.path)) as container:
            assert not container.streams.audio


def make_sound(path: Path, rate: int, layout: str, codec: str = "pcm_s16le") -> Path:
    """A film of two seconds with a quiet sound track of this kind."""
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("libx264", rate=25)
        assert isinstance(pictures, av.VideoStream)
        pictures.width, pictures.height = 160, 90
        sound = container.add_stream(codec, rate=rate, layout=layout)
        assert isinstance(sound, av.AudioStream)
        for index in range(50):
            frame = av.VideoFrame(160, 90, "yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(pictures.encode(frame))
            samples = np.zeros((1, rate // 25 * av.AudioLayout(layout).nb_channels), np.int16)
            noise = av.AudioFrame.from_ndarray(samples, format="s16", layout=layout)
            noise.sample_rate, noise.pts = rate, index * (rate // 25)
            noise.time_base = Fraction(1, rate)
            for piece in av.AudioResampler(sound.codec_context.format, layout, rate).resample(
                noise
            ):
                container.mux(sound.encode(piece))
        container.mux(pictures.encode(None))
        container.mux(sound.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "rate", "layout", "wanted"),
    [
        ("surround.mkv", 48000, "5.1(side)", ("aac", 48000, 6)),
        ("mono.mov", 11025, "mono", ("aac", 11025, 1)),
        ("odd rate.mkv", 7000, "stereo", ("aac", 48000, 2)),
        ("high.mkv", 96000, "stereo", ("aac", 96000, 2)),
    ],
)
def test_sound_of_every_kind_keeps_its_channels(
    name: str, rate: int, layout: str, wanted: tuple[str, int, int], tmp_path: Path
) -> None:
    path = str(make_sound(tmp_path / name, rate, layout))
    video = probe(path, Source(path, path, name), 10**6)
    [clip] = cut(path, video, planned_at((0.0, 2.0)), Recipe(tmp_path, QUICK))
    with av.open(str(clip.path)) as container:
        heard = container.streams.audio[0].codec_context
        assert (heard.name, heard.sample_rate, heard.layout.nb_channels) == wanted
        length = sum(frame.samples for frame in container.decode(audio=0)) / heard.sample_rate
    assert length == pytest.approx(2.0, abs=0.05)


def test_sound_that_changes_its_channels_costs_nothing(tmp_path: Path) -> None:
    """As broadcasts do between programme and advertisement."""
    parts = [
        make_sound(tmp_path / f"{i}.ts", 48000, kind, "aac")
        for i, kind in enumerate(("stereo", "mono"))
    ]
    film = tmp_path / "film.ts"
    film.write_bytes(b"".join(part.read_bytes() for part in parts))
    path = str(film)
    video = probe(path, Source(path, path, "x.ts"), 10**6)
    clips = list(cut(path, video, planned_at((0.0, 0.9), (1.0, 1.8)), Recipe(tmp_path, QUICK)))
    assert [clip.error for clip in clips] == [None, None]


@pytest.mark.parametrize("sound", ["aac", "mp3", "libopus"])
@pytest.mark.parametrize("audio", ["copy", "aac"])
def test_the_order_of_the_tracks_does_not_matter(sound: str, audio: str, tmp_path: Path) -> None:
    """What the decoders still hold at the end of the file comes out, of both tracks."""
    painting = paint(tmp_path / "video first.mkv", seconds=3, sound=sound, b_frames=0)
    remux(painting.path, tmp_path / "sound first.mkv", order=-1)
    path = str(tmp_path / "sound first.mkv")
    with av.open(path) as container:
        assert container.streams[0].type == "audio"
    video = probe(path, Source(path, path, "x.mkv"), 10**6)
    spans = ((0.0, 1.5), (1.5, 3.0))
    encoding = dataclasses.replace(QUICK, audio=audio)
    for clip in cut(path, video, planned_at(*spans), Recipe(tmp_path, encoding)):
        span = (clip.planned.span.start, clip.planned.span.end)
        assert indices_and_times(clip.path)[0] == list(painting.indices_between(*span))
