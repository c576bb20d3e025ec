"""Sound of many channels: mixed down to what AAC holds, copied, or left out, and never a crash."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import av
import numpy as np
import pytest
from channel_beeps import BETWEEN, RATE, film_of
from cutting_room import QUICK, planned_at

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
from finecut.io.records import Chunk, Clip, Source, Video
from finecut.transforms.write.documents import clip_document


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
