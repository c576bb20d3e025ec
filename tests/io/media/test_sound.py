"""The sound of clips: in sync, whole, and copied where MP4 allows.

Sound of many channels: mixed down to what AAC holds, copied, or left out, and never a crash.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from channel_beeps import BETWEEN, RATE, film_of
from cutting_room import QUICK, clips_of, indices_and_times, planned_at, remux
from painted import hear_beeps

from finecut.io.layout import Layout
from finecut.io.media.cutting import CutClip, Recipe, cut
from finecut.io.media.remux.copying import COPY, transcode
from finecut.io.media.sound import (
    AAC_LAYOUTS,
    aac_layout,
    heard_in,
    matrix,
    mixing,
    places_of,
    samples_of,
)
from finecut.io.media.source import probe
from finecut.io.media.testfilm.paint import Painting, paint
from finecut.io.records import Chunk, Clip, Source, Video
from finecut.transforms.write.documents import clip_document

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


# ── channels ─────────────────────────────────────────────────────────────────────────────────────


def video_at(path: Path) -> Video:
    return probe(str(path), Source(str(path), str(path), path.name), 10**6)


def clip_of(path: Path, folder: Path, audio: str, span: tuple[float, float]) -> CutClip:
    folder.mkdir(exist_ok=True)
    encoding = dataclasses.replace(QUICK, audio=audio)
    [clip] = cut(str(path), video_at(path), planned_at(span), Recipe(folder, encoding))
    assert clip.error is None
    assert clip.damage is None
    return clip


def heard(clip: CutClip) -> tuple[str, str, np.ndarray]:
    """Its codec, its layout, and how loud each channel is in each hundredth of a second."""
    name, layout, samples = sound_of(clip)
    blocks = samples[:, : samples.shape[1] // 480 * 480].reshape(len(samples), -1, 480)
    return name, layout, np.sqrt((blocks**2).mean(axis=2))


def sound_of(clip: CutClip) -> tuple[str, str, np.ndarray]:
    with av.open(str(clip.path)) as film:
        context = film.streams.audio[0].codec_context
        parts = []
        for frame in film.decode(audio=0):
            [plain] = av.AudioResampler("flt", frame.layout, frame.sample_rate).resample(frame)
            parts.append(np.asarray(samples_of(plain), np.float32))
        name, layout = context.codec.canonical_name, context.layout.name
    return name, layout, np.concatenate(parts, axis=1)


#: The container, the codec and the layout of the film; what its clip has, and what is said of it.
FILMS = [
    ("x.mkv", "pcm_s16le", "5.1(side)", "5.1", ""),
    ("x.mov", "pcm_s16le", "quad", "5.0", ""),
    ("x.mov", "pcm_s16le", "6.1", "7.1", ""),
    ("x.mkv", "pcm_s16le", "7.0", "7.1", ""),
    ("x.mov", "pcm_s16le", "7.1", "7.1", ""),
    ("x.mkv", "pcm_s16le", "7.1", "7.1", ""),
    ("x.avi", "pcm_s16le", "7.1", "7.1", ""),
    ("x.mov", "pcm_s16le", "octagonal", "7.1", "mixed down from 8 channels (octagonal) to 7.1"),
    ("x.mov", "pcm_s16le", "hexadecagonal", "7.1", "mixed down from 16 channels"),
    ("x.mov", "pcm_s16le", "22.2", "mono", "mixed down from 24 channels"),
    ("x.mkv", "pcm_s16le", "16 channels", "mono", "mixed down from 16 channels"),
    ("x.mkv", "flac", "6.1", "7.1", ""),
    ("x.mkv", "flac", "7.1", "7.1", ""),
    ("x.mkv", "libopus", "6.1", "7.1", ""),
    ("y.mkv", "libopus", "7.1", "7.1", ""),
    ("y.mkv", "libopus", "16 channels", "mono", "mixed down from 16 channels"),
]


@pytest.mark.parametrize(("name", "codec", "layout", "wanted", "said"), FILMS)
def test_every_channel_is_heard_when_it_should_be(
    name: str, codec: str, layout: str, wanted: str, said: str, tmp_path: Path
) -> None:
    path = film_of(tmp_path / name, codec, layout)
    count = av.AudioLayout(layout).nb_channels
    clip = clip_of(path, tmp_path / "clips", "aac", (0.0, 0.3 + BETWEEN * count))
    assert clip.file is not None
    assert said in clip.file.sound
    assert bool(said) == bool(clip.file.sound)
    made, has, loud = heard(clip)
    assert (made, has) == ("aac", wanted)
    together = loud.max(axis=0)
    with av.open(str(path)) as film:
        places = places_of(film.streams.audio[0].layout) or ("unsaid",) * count
    for channel, place in enumerate(places):
        at = round(100 * (0.1 + BETWEEN * channel))
        # AAC keeps little of a tone in the channel for deep sounds.
        if not place.startswith("LFE"):
            assert together[at + 1 : at + 4].min() > 0.5 * 0.35 / count, place
        assert together[at + 7 : at + 9].max() < 0.1 * together.max(), place


def test_what_is_mixed_down_is_where_it_belongs(tmp_path: Path) -> None:
    path = film_of(tmp_path / "x.mov", "pcm_s16le", "hexadecagonal")
    clip = clip_of(path, tmp_path / "clips", "aac", (0.0, 1.9))
    places = [channel.name for channel in av.AudioLayout("7.1").channels]
    film = [channel.name for channel in av.AudioLayout("hexadecagonal").channels]
    _, _, loud = heard(clip)
    for channel, place in enumerate(film):
        at = round(100 * (0.1 + BETWEEN * channel))
        level = loud[:, at + 1 : at + 4].mean(axis=1)
        audible = {places[row] for row in np.flatnonzero(level > level.max() / 3)}
        assert audible == set(heard_in(place, places)), place
    # A second 0 that is not the film's: the beeps move with it, to the sample.
    later = clip_of(path, tmp_path / "later", "aac", (0.65, 1.9))
    loud_from = np.flatnonzero(np.abs(sound_of(later)[2]).max(axis=0) > 0.03)
    assert loud_from[0] / RATE == pytest.approx(0.05, abs=0.006)


@pytest.mark.parametrize(
    ("name", "codec", "layout"),
    [("x.mkv", "flac", "7.1"), ("x.mkv", "libopus", "7.1"), ("y.mkv", "libopus", "16 channels")],
)
def test_what_mp4_holds_is_copied_with_all_channels(
    name: str, codec: str, layout: str, tmp_path: Path
) -> None:
    path = film_of(tmp_path / name, codec, layout)
    clip = clip_of(path, tmp_path / "clips", "copy", (0.0, 1.0))
    assert clip.file is not None
    assert clip.file.sound == ""
    made, _, loud = heard(clip)
    assert made == codec.removeprefix("lib")
    assert len(loud) == av.AudioLayout(layout).nb_channels
    assert [int(loud[:, 100 * n // 10 + 12].argmax()) for n in range(3)] == [0, 1, 2]


def test_a_mixed_down_clip_is_valid_and_its_document_says_so(tmp_path: Path) -> None:
    path = film_of(tmp_path / "x.mkv", "pcm_s16le", "16 channels")
    video = video_at(path)
    made = clip_of(path, tmp_path / "clips", "copy", (0.0, 1.0))
    clip = Clip(video, Chunk("c", 0, 1, 1, 1), made.planned, made.file)
    document = clip_document(clip, Layout(str(tmp_path)))
    assert document["valid"] is True
    assert document["sound"] == ("mixed down from 16 channels with no layout, to mono")
    assert "errors" not in document


@pytest.mark.parametrize("how", ["encode", COPY])
def test_what_cannot_be_heard_is_left_out_with_the_reason(how: str, tmp_path: Path) -> None:
    path = film_of(tmp_path / "x.mov", "pcm_s16le", "stereo")
    film = path.read_bytes()
    at = film.index(b"sowt", film.index(b"smhd"))
    path.write_bytes(film[:at] + b"XXXX" + film[at + 4 :])
    video = video_at(path)
    [made] = transcode(str(path), video, planned_at((0.0, 0.5)), Recipe(tmp_path, QUICK, mode=how))
    assert made.file is not None
    assert made.error is None
    assert made.damage is None
    assert made.file.sound.startswith("left out: its codec is unknown here")
    with av.open(str(made.path)) as clip:
        assert not clip.streams.audio
    mute = dataclasses.replace(QUICK, audio="none")
    [unwanted] = transcode(
        str(path), video, planned_at((0.0, 0.5)), Recipe(tmp_path, mute, mode=how)
    )
    assert unwanted.file is not None
    assert unwanted.file.sound == ""


# ── layouts ──────────────────────────────────────────────────────────────────────────────────────

#: What FFmpeg gives names to, and what has none.
LAYOUTS = (
    *("mono", "stereo", "2.1", "3.0", "3.0(back)", "4.0", "quad", "quad(side)", "3.1", "5.0"),
    *("5.0(side)", "4.1", "5.1", "5.1(side)", "6.0", "6.0(front)", "hexagonal", "6.1"),
    *("6.1(back)", "6.1(front)", "7.0", "7.0(front)", "7.1", "7.1(wide)", "7.1(wide-side)"),
    *("octagonal", "hexadecagonal", "downmix", "22.2", "5.1.4", "7.1.4", "9.1.6", "cube"),
    *("7 channels", "8 channels", "9 channels", "16 channels", "64 channels"),
    *("ambisonic 1", "ambisonic 3", "ambisonic 1+stereo", "FL+LFE"),
)


@pytest.mark.parametrize("name", LAYOUTS)
def test_nothing_of_any_layout_but_deep_sounds_is_lost_or_louder_than_it_was(name: str) -> None:
    layout = av.AudioLayout(name)
    wanted = aac_layout(layout)
    assert wanted in AAC_LAYOUTS.values()
    mix = mixing(layout, wanted)
    count = av.AudioLayout(wanted).nb_channels
    samples = np.eye(layout.nb_channels, dtype=np.float32)
    made = mix(samples)
    assert made.shape == (count, layout.nb_channels)
    assert made.sum(axis=1).max() <= 1.0001
    for column, channel in enumerate(layout.channels):
        if not channel.name.startswith(("LFE", "AMBI")):
            assert made[:, column].max() > 0.01, channel.name
    if len(set(map(tuple, made.T.tolist()))) < layout.nb_channels:
        assert mix.note.startswith("mixed down from")


def test_places_go_to_the_nearest() -> None:
    assert heard_in("SL", ("FL", "FR", "FC", "LFE", "BL", "BR")) == ("BL",)
    assert heard_in("BC", ("FL", "FR")) == ("FL", "FR")
    assert heard_in("LFE", ("FL", "FR")) == ()
    assert matrix(("FC",), ("FL", "FR"))[0, 0] == pytest.approx(math.sqrt(0.5))
    assert mixing(av.AudioLayout("stereo"), "stereo").matrix is None
    # Of a sphere, what is heard from everywhere.
    [row] = mixing(av.AudioLayout("ambisonic 1"), "mono")(np.eye(4, dtype=np.float32))
    assert row.tolist() == [1, 0, 0, 0]
