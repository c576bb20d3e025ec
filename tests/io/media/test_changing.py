"""Films that change on their way, or are locked: their clips are what they say, or are refused."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import hypothesis
import hypothesis.strategies as st
import pytest
from container_bytes import STBL, box, edited
from cutting_room import QUICK, frames_of, planned_at
from encrypted_films import locked, locked_matroska
from painted import read_index

from finecut.io.media import containers
from finecut.io.media.cutting import CutClip, Recipe
from finecut.io.media.limits import FilmError
from finecut.io.media.remux.copying import COPY, SMART, transcode
from finecut.io.media.remux.h264 import BadUnits
from finecut.io.media.remux.steady import (
    FRAME,
    SEQUENCE,
    SETS_CHANGE,
    Vp9,
    av1_sequence,
    av1_units,
    has_own_size,
    hevc_sets,
    steady,
)
from finecut.io.media.source import probe
from finecut.io.media.testfilm.paint import paint
from finecut.io.records import Source, Video

#: Pictures of each part, and its key frames: one every second.
RATE, COUNT = 15, 45
SIZES = ((160, 90), (192, 108))
Make = Callable[[Path], Path]

#: In the first part, across the border, in the second part; and what the film shows there.
SPANS = ((0.4, 2.4), (2.0, 4.0), (3.4, 5.4))


def parts(folder: Path, suffix: str, codec: str, sizes: Sequence[tuple[int, int]]) -> list[str]:
    """Films of three seconds, of these sizes, alike in all else."""
    made = []
    for number, (width, height) in enumerate(sizes):
        options = {"preset": "8"} if codec == "libsvtav1" else {}
        painting = paint(
            folder / f"part{number}{suffix}",
            seconds=COUNT // RATE,
            rate=RATE,
            width=width,
            height=height,
            codec=codec,
            gop=RATE,
            b_frames=0,
            codec_options=options,
        )
        made.append(painting.path)
    return made


def joined(suffix: str, codec: str, inside: str) -> Make:
    """Two sizes in one track: ``inside`` is the container in which sets travel with the packets."""

    def make(folder: Path) -> Path:
        film = folder / f"film{suffix}"
        join(parts(folder, inside, codec, SIZES), film)
        return film

    return make


def join(
    sources: Sequence[str],
    target: Path,
    change: Callable[[int, bytes], bytes] = lambda _, data: data,
) -> None:
    """The pictures of several films in one track, whose header is that of the first."""
    options = {"movflags": "+faststart"} if target.suffix == ".mp4" else {}
    with av.open(str(target), "w", options=options) as joined:
        stream, number = None, 0
        for source in sources:
            with av.open(source) as film:
                if stream is None:
                    stream = joined.add_stream_from_template(film.streams.video[0], opaque=True)
                for packet in film.demux(video=0):
                    if packet.size:
                        own = av.Packet(change(number, bytes(packet)))
                        own.stream, own.time_base = stream, Fraction(1, RATE)
                        own.pts = own.dts = number
                        own.duration, own.is_keyframe = 1, packet.is_keyframe
                        number += 1
                        joined.mux(own)


def told_once(folder: Path) -> Path:
    """New parameter sets before the first picture of the second part, and never again."""

    def change(number: int, data: bytes) -> bytes:
        if number == COUNT:
            return data
        units = [unit.rstrip(b"\0") for unit in data.split(b"\0\0\1")[1:]]
        return b"".join(b"\0\0\0\1" + unit for unit in units if unit[0] & 31 not in (7, 8))

    film = folder / "film.mkv"
    join(parts(folder, ".ts", "libx264", SIZES), film, change)
    return film


def two_headers(folder: Path) -> Path:
    """An MP4 whose track has two descriptions of its samples, one for each part."""
    one, other = parts(folder, ".mp4", "libx264", SIZES)
    film = folder / "film.mp4"
    join([one, other], film)
    second = box_body(Path(other).read_bytes(), "moov/trak/mdia/minf/stbl/stsd")
    with av.open(str(film)) as container:
        sizes = [packet.size for packet in container.demux(video=0) if packet.size]
    return described(film, second[8:], sum(sizes[:COUNT]))


def described(film: Path, entry: bytes, before: int) -> Path:
    """The film with one description more, which is that of the samples after so many bytes."""
    data = film.read_bytes()
    data = edited(data, f"{STBL}/stsd", lambda b: b[:4] + struct.pack(">I", 2) + b[8:] + entry)
    rows = struct.pack(">IIIIIIII", 0, 2, 1, COUNT, 1, 2, COUNT, 2)
    data = edited(data, f"{STBL}/stsc", lambda _: rows)
    first = struct.unpack_from(">I", box_body(data, f"{STBL}/stco"), 8)[0]
    chunks = struct.pack(">IIII", 0, 2, first, first + before)
    film.write_bytes(edited(data, f"{STBL}/stco", lambda _: chunks))
    return film


def box_body(data: bytes, path: str) -> bytes:
    found: list[bytes] = []

    def keep(body: bytes) -> bytes:
        found.append(body)
        return body

    edited(data, path, keep)
    return found[0]


CHANGING: dict[str, Make] = {
    "h264 in ts": joined(".ts", "libx264", ".ts"),
    "h264 in mp4": joined(".mp4", "libx264", ".ts"),
    "h264 in mkv": joined(".mkv", "libx264", ".ts"),
    "h264 told once": told_once,
    "h264 with two headers": two_headers,
    "hevc in ts": joined(".ts", "libx265", ".ts"),
    "hevc in mp4": joined(".mp4", "libx265", ".ts"),
    "hevc in mkv": joined(".mkv", "libx265", ".ts"),
    "vp9 in webm": joined(".webm", "libvpx-vp9", ".webm"),
    "vp9 in mp4": joined(".mp4", "libvpx-vp9", ".webm"),
    "av1 in mkv": joined(".mkv", "libsvtav1", ".mkv"),
    "av1 in mp4": joined(".mp4", "libsvtav1", ".mkv"),
    "mpeg4 in mkv": joined(".mkv", "mpeg4", ".avi"),
}


def video_at(path: Path) -> Video:
    return probe(str(path), Source(str(path), str(path), path.name), path.stat().st_size)


def made(how: str, path: Path, folder: Path, *spans: tuple[float, float]) -> list[CutClip]:
    folder.mkdir(parents=True, exist_ok=True)
    done = transcode(str(path), video_at(path), planned_at(*spans), Recipe(folder, QUICK, mode=how))
    return sorted(done, key=lambda result: result.planned.index)


def is_what_it_says(result: CutClip) -> None:
    """Every frame has the size that is said of the clip; there are as many as it says, in order."""
    assert result.file is not None, (result.error, result.empty)
    assert result.file.transcoded is not None
    shown = list(frames_of(result.path))
    assert {(frame.width, frame.height) for frame in shown} == {
        (result.file.width, result.file.height)
    }
    span = result.file.transcoded.span or result.planned.span
    wanted = [n % COUNT for n in range(2 * COUNT) if span.start <= (n + 0.01) / RATE < span.end]
    assert len(shown) == result.file.num_frames
    assert [read_index(frame) for frame in shown] == wanted
    assert result.damage is None


#: Each way in which a film says that it changes; only H.264 is joined from copied and new parts.
QUICK_CHANGES = {
    *(("h264 in mp4", COPY), ("h264 in ts", SMART), ("h264 told once", COPY)),
    *(("h264 told once", SMART), ("h264 with two headers", SMART), ("hevc in mp4", COPY)),
    *(("vp9 in webm", COPY), ("av1 in mkv", COPY), ("mpeg4 in mkv", SMART)),
}


@pytest.mark.parametrize(
    ("name", "how"),
    [
        pytest.param(name, how, marks=() if (name, how) in QUICK_CHANGES else pytest.mark.slow)
        for name in CHANGING
        for how in (COPY, SMART)
    ],
)
def test_a_film_that_changes_its_size(name: str, how: str, tmp_path: Path) -> None:
    path = CHANGING[name](tmp_path)
    together = made(how, path, tmp_path / "clips", *SPANS)
    alone = [made(how, path, tmp_path / f"{n}", span)[0] for n, span in enumerate(SPANS)]
    for result in (*together, *alone):
        is_what_it_says(result)
    if how == COPY and name != "h264 with two headers":
        assert told(together[0]) == "copied"


def told(result: CutClip) -> Any:
    assert result.file is not None
    assert result.file.transcoded is not None
    return result.file.transcoded.how


# ── locked films ─────────────────────────────────────────────────────────────────────────────────


def clear_first(folder: Path) -> Path:
    """An MP4 that is encrypted from its second part on: two descriptions of its samples."""
    one, other = parts(folder, ".mp4", "libx264", [SIZES[0], SIZES[0]])
    film = folder / "film.mp4"
    join([one, other], film)
    entry = bytearray(box_body(Path(other).read_bytes(), f"{STBL}/stsd")[8:])
    tenc = box(b"tenc", bytes(4) + b"\0\0\1\x08" + b"\x11" * 16)
    schm = box(b"schm", bytes(4) + b"cenc" + struct.pack(">I", 0x10000))
    sinf = box(b"sinf", box(b"frma", b"avc1") + schm + box(b"schi", tenc))
    entry[4:8] = b"encv"
    entry += sinf
    entry[:4] = struct.pack(">I", len(entry))
    with av.open(str(film)) as container:
        sizes = [packet.size for packet in container.demux(video=0) if packet.size]
    return described(film, bytes(entry), sum(sizes[:COUNT]))


@pytest.mark.parametrize(
    "make",
    [
        locked,
        lambda folder: locked(folder, b"cbcs"),
        lambda folder: locked(folder, b"cens"),
        locked_matroska,
        clear_first,
    ],
    ids=["cenc", "cbcs", "cens", "matroska", "clear first"],
)
def test_a_locked_film_is_refused_as_one(make: Make, tmp_path: Path) -> None:
    path = make(tmp_path)
    with pytest.raises(FilmError, match="its video is encrypted"):
        video_at(path)
    with path.open("rb") as file, pytest.raises(FilmError, match="its video is encrypted"):
        probe(file, Source(str(path), str(path), path.name), path.stat().st_size)


@pytest.mark.parametrize("how", ["encode", COPY, SMART])
def test_locked_sound_is_left_out_and_the_pictures_are_not(how: str, tmp_path: Path) -> None:
    path = locked(tmp_path)
    # As if its pictures had never been encrypted: those of another film, in their place.
    plain = tmp_path / "plain.mp4"
    with av.open(str(tmp_path / "unlocked.mkv")) as source, av.open(str(plain), "w") as copy:
        streams = {s.index: copy.add_stream_from_template(s, opaque=True) for s in source.streams}
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                copy.mux(packet)
    data = plain.read_bytes()
    path.write_bytes(data.replace(b"mp4a", b"enca", 1))
    [result] = made(how, path, tmp_path / "clips", (0.4, 2.4))
    assert result.file is not None
    assert result.damage is None
    assert result.file.sound == "left out: it is encrypted"
    with av.open(str(result.path)) as clip:
        assert not clip.streams.audio


# ── what bytes say ───────────────────────────────────────────────────────────────────────────────


def test_descriptions_of_samples_are_read_and_nothing_else(tmp_path: Path) -> None:
    film = two_headers(tmp_path)
    assert containers.descriptions(str(film)) == {1: (b"avc1", b"avc1")}
    assert containers.has_several(containers.descriptions(str(film)), 1)
    assert containers.descriptions(str(tmp_path / "nowhere.mp4")) == {}
    with film.open("rb") as file:
        file.seek(5)
        assert containers.descriptions(file) == {1: (b"avc1", b"avc1")}
        assert file.tell() == 5
    long = struct.pack(">I4sQ", 1, b"free", 1 << 63)
    assert containers.descriptions(io.BytesIO(box(b"moov", b"") + long)) == {}


@hypothesis.given(st.binary(max_size=80))
def test_bytes_that_are_no_film_are_refused_or_read(data: bytes) -> None:
    assert isinstance(containers.descriptions(io.BytesIO(data)), dict)
    assert isinstance(containers.descriptions(io.BytesIO(box(b"moov", box(b"trak", data)))), dict)
    for codec in ("h264", "hevc", "vp9", "av1", "mpeg4"):
        try:
            watch = steady(codec, b"\x01" + data, (16, 16))
        except BadUnits:
            continue
        assert watch is not None
        said = watch(data)
        assert said is None or said


def packets_of(path: str) -> list[bytes]:
    with av.open(path) as film:
        return [bytes(packet) for packet in film.demux(video=0) if packet.size]


def test_the_sizes_of_vp9_are_those_that_it_shows(tmp_path: Path) -> None:
    for size, path in zip(SIZES, parts(tmp_path, ".webm", "libvpx-vp9", SIZES), strict=True):
        sizes = Vp9(size)
        shown = [sizes.shown(packet) for packet in packets_of(path)]
        # Each packet shows one picture, whatever else it has for later.
        assert shown == [[size]] * COUNT


def test_the_header_of_av1_says_the_size_and_frames_keep_to_it(tmp_path: Path) -> None:
    for size, path in zip(SIZES, parts(tmp_path, ".mkv", "libsvtav1", SIZES), strict=True):
        units = [unit for packet in packets_of(path) for unit in av1_units(packet)]
        headers = {body for kind, body in units if kind == SEQUENCE}
        [said] = map(av1_sequence, headers)
        assert (said.size, said.is_still, said.form) == (size, False, (0, 0, 0, 0))
        frames = [body for kind, body in units if kind == FRAME]
        assert len(frames) >= COUNT
        assert not any(has_own_size(body, said) for body in frames)


def test_what_changes_back_is_as_the_header_says_again_where_bytes_tell() -> None:
    layers = [b"\0\0\1\x20first", b"\0\0\1\x20second", b"\0\0\1\x20first"]
    watch = steady("mpeg4", layers[0], (16, 16))
    assert watch is not None
    picture = b"\0\0\1\xb6picture"
    said = [watch(packet) for layer in layers for packet in (layer + picture, picture)]
    assert said == [None, None, SETS_CHANGE, SETS_CHANGE, None, None]


def test_hevc_sets_are_found_in_both_kinds_of_headers(tmp_path: Path) -> None:
    [stream] = parts(tmp_path, ".ts", "libx265", SIZES[:1])
    [index] = parts(tmp_path, ".mp4", "libx265", SIZES[:1])
    for path, length_size in ((stream, None), (index, 4)):
        with av.open(path) as film:
            known, found = hevc_sets(film.streams.video[0].codec_context.extradata or b"")
        assert found == length_size
        assert {unit[0] >> 1 & 63 for unit in known} >= {32, 33, 34}
    with pytest.raises(BadUnits):
        hevc_sets(b"\x01short")
