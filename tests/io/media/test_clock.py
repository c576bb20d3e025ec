"""Time: what is exact in the film stays exact, and what a container rounded is put right.

The rate of a film is what its packets say, and a clip holds what they show: no more, no less.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from cutting_room import clips_of, indices_and_times, video_of
from hypothesis import given
from hypothesis import strategies as st
from odd_films import with_gaps

from finecut.io.media import clock
from finecut.io.media.clock import Clock, earliest, is_even
from finecut.io.media.frames.small_pictures import watch
from finecut.io.media.source import probe
from finecut.io.media.testfilm.paint import Painting, paint
from finecut.io.records import Source

RATES = st.sampled_from(
    [Fraction(24), Fraction(25), Fraction(30), Fraction(60), Fraction(24000, 1001), Fraction(25, 2)]
)


@given(rate=RATES, index=st.integers(0, 500_000), first=st.integers(-5000, 5000))
def test_rounded_milliseconds_come_back_as_the_frame_grid(
    rate: Fraction, index: int, first: int
) -> None:
    clock = Clock(Fraction(1, 1000), first, rate)
    assert clock.seconds(first + round(index / rate * 1000)) == index / rate
    assert clock.seconds(first + int(index / rate * 1000)) == index / rate


@given(rate=RATES, index=st.integers(0, 500_000))
def test_every_frame_belongs_to_one_of_two_neighbouring_spans(rate: Fraction, index: int) -> None:
    """Borders are floats made of frame numbers; no frame may fall through or count twice."""
    fps = float(rate)
    seconds = index / rate
    border, following = Fraction(index / fps), Fraction((index + 1) / fps)
    assert earliest(border) <= seconds < earliest(following)


@given(ticks=st.lists(st.integers(0, 10**7), min_size=2, max_size=2, unique=True))
def test_without_a_grid_ticks_are_taken_as_they_are(ticks: list[int]) -> None:
    clock = Clock(Fraction(1, 90_000), 0, None)
    first, second = (clock.seconds(tick) for tick in ticks)
    assert second - first == Fraction(ticks[1] - ticks[0], 90_000)


@given(rate=RATES)
def test_clips_can_say_every_time_exactly(rate: Fraction) -> None:
    base = Clock(Fraction(1, 12800), 0, rate).clip_time_base
    assert (1 / rate / base).denominator == 1
    assert 1 / base >= 10_000


def test_absurd_time_bases_are_tamed() -> None:
    assert Clock(Fraction(1, 10**9), 0, None).clip_time_base == Fraction(1, 90_000)


def test_a_frame_far_from_the_grid_keeps_its_own_time() -> None:
    clock = Clock(Fraction(1, 1000), 0, Fraction(25))
    assert clock.seconds(53) == Fraction(53, 1000)


# ── how often a film shows a picture ─────────────────────────────────────────────────────────────


#: Even for three seconds, so that whoever looks at the beginning sees a constant rate.
EVEN_FIRST = (*(Fraction(i, 30) for i in range(90)), *(3 + Fraction(i, 5) for i in range(20)))
SPANS = ((0.0, 2.0), (2.5, 4.5), (4.1, 4.15), (5.0, 7.0))


@pytest.mark.parametrize(("suffix", "codec"), [(".mkv", "libx264"), (".webm", "libvpx-vp9")])
def test_a_matroska_that_looks_constant_has_the_rate_of_its_packets(
    suffix: str, codec: str, tmp_path: Path
) -> None:
    painting = paint(tmp_path / f"recorded{suffix}", times=EVEN_FIRST, codec=codec)
    with av.open(painting.path) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == stream.base_rate == 30, "the case proves nothing"
    video = video_of(painting)
    assert video.num_frames == len(EVEN_FIRST)
    assert video.framerate == pytest.approx(len(EVEN_FIRST) / video.duration)
    assert video.framerate == pytest.approx(110 / 7, rel=0.01)
    _holds_what_is_shown(painting, tmp_path)


def _holds_what_is_shown(painting: Painting, folder: Path) -> None:
    for span, clip in clips_of(painting, folder / "clips", *SPANS).items():
        wanted = list(painting.indices_between(*span))
        if not wanted:
            assert "no new frame" in str(clip.empty)
            continue
        assert (clip.error, clip.damage) == (None, None)
        indices, times = indices_and_times(clip.path)
        assert indices == wanted
        offsets = [float(painting.times[i] - painting.times[wanted[0]]) for i in wanted]
        assert [float(time) for time in times] == pytest.approx(offsets, abs=0.0011)
        assert clip.file is not None
        length = clip.file.num_frames / clip.file.framerate
        until = min(span[1], float(painting.duration))
        assert length == pytest.approx(until - float(painting.times[wanted[0]]), abs=0.2)


def test_an_avi_with_entries_that_hold_no_frame_has_the_rate_of_the_others(
    tmp_path: Path,
) -> None:
    painting = with_gaps(tmp_path / "gaps.avi", lambda i: i < 60 or i % 6 == 5, seconds=6, rate=30)
    kept = [i for i in range(180) if i < 60 or i % 6 == 5]
    video = video_of(painting)
    assert video.duration == 6
    assert video.num_frames == len(kept)
    assert video.framerate == pytest.approx(len(kept) / 6)
    for span, clip in clips_of(painting, tmp_path / "clips", (0, 2), (1.5, 4), (3.2, 6)).items():
        assert (clip.error, clip.damage) == (None, None), span
        indices, times = indices_and_times(clip.path)
        assert indices == [i for i in kept if span[0] <= i / 30 < span[1]]
        assert times == [Fraction(i - indices[0], 30) for i in indices]
    watched = [round(seconds * 30) for seconds, _ in watch(painting.path, video)]
    assert watched == kept


@pytest.mark.parametrize(
    "case", ["mkv", "webm", "odd_size_mkv", "nonzero_start", "mkv_vorbis", "avi", "avi_h264"]
)
def test_honest_films_keep_the_rate_of_their_header(
    case: str, film: Callable[[str], Painting]
) -> None:
    painting = film(case)
    video = video_of(painting)
    assert (video.framerate, video.uneven) == (float(painting.rate), False)
    assert video.num_frames == int(video.duration * video.framerate)


def test_pictures_that_are_never_shown_are_not_counted(tmp_path: Path) -> None:
    """VP8 has packets of pictures that others are made of, between those that are shown."""
    painting = paint(tmp_path / "shown.webm", codec="libvpx")
    with av.open(painting.path) as film, av.open(str(tmp_path / "hidden.webm"), "w") as copy:
        stream = copy.add_stream_from_template(film.streams.video[0])
        packets = [packet for packet in film.demux(video=0) if packet.size]
        for number, packet in enumerate(packets):
            if number % 15 == 14:
                data = bytearray(bytes(packet))
                data[0] &= ~0x10
                hidden = av.Packet(bytes(data))
                hidden.time_base = packet.time_base
                hidden.pts = hidden.dts = (packet.pts or 0) - 5
                hidden.stream = stream
                copy.mux(hidden)
            packet.stream = stream
            copy.mux(packet)
    with av.open(str(tmp_path / "hidden.webm")) as film:
        assert sum(packet.size > 0 for packet in film.demux(video=0)) == 128
    video = video_of(dataclasses.replace(painting, path=str(tmp_path / "hidden.webm")))
    assert (video.framerate, video.uneven) == (30, False)


def test_a_hole_in_the_file_is_damage_and_no_change_of_rate(tmp_path: Path) -> None:
    """Else a damaged film would be called sound: what is missing looks like a long picture."""
    painting = paint(tmp_path / "whole.mkv", seconds=12, gop=15)
    data = bytearray(Path(painting.path).read_bytes())
    with av.open(painting.path) as container:
        places = [packet.pos or 0 for packet in container.demux(video=0) if packet.size]
    data[places[100] : places[140]] = bytes(places[140] - places[100])
    Path(painting.path).write_bytes(data)
    video = video_of(painting)
    assert (video.framerate, video.uneven) == (30, False)
    damaged, sound = clips_of(painting, tmp_path / "clips", (2, 6), (0, 2)).values()
    damages = {damaged.planned.span.start: damaged.damage, sound.planned.span.start: sound.damage}
    assert damages[0] is None
    assert "are missing" in str(damages[2])


def test_a_film_that_has_to_be_fetched_is_not_fetched_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = (
        *(Fraction(i, 30) for i in range(0, 90, 3)),
        *(3 + Fraction(i, 30) for i in range(900)),
    )
    painting = paint(tmp_path / "far.mkv", times=times, gop=30, b_frames=0)
    data = Path(painting.path).read_bytes()
    monkeypatch.setattr(clock, "MOST_FETCHED", len(data) // 10)
    file = _Counted(data)
    video = probe(file, Source("x", "x", "far.mkv"), len(data))
    assert file.read_bytes < len(data) / 2
    # Nobody counted to the end, so what was read speaks for all.
    assert video.uneven
    assert 10 < video.framerate < 30
    assert video.num_frames == int(video.duration * video.framerate)


class _Counted(io.BytesIO):
    read_bytes = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.read_bytes += len(data)
        return data


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(25), Fraction(60), Fraction(240)])
def test_rounded_times_of_a_constant_rate_are_even(rate: Fraction) -> None:
    ticks = np.array([round(1000 * i / rate) for i in range(5000)])
    assert is_even(ticks, Fraction(1, 1000), rate)
    assert not is_even(np.delete(ticks, 4000), Fraction(1, 1000), rate)
    assert not is_even(ticks, Fraction(1, 1000), rate * Fraction(1001, 1000))
