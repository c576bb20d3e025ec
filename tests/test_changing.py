"""Films that change on their way, or are locked: their clips are what they say, or are refused."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from cutting_room import QUICK, frames_of, shots_at
from hostile import STBL, edited

from finecut.io.film.copying import COPY, SMART, transcode
from finecut.io.film.cutting import CutShot
from finecut.io.film.paint import paint, read_index
from finecut.io.film.source import probe
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


def made(how: str, path: Path, folder: Path, *spans: tuple[float, float]) -> list[CutShot]:
    folder.mkdir(parents=True, exist_ok=True)
    done = transcode(how, str(path), video_at(path), shots_at(*spans), QUICK, folder)
    return sorted(done, key=lambda result: result.shot.index)


def is_what_it_says(result: CutShot) -> None:
    """Every frame has the size that is said of the clip; there are as many as it says, in order."""
    assert result.file is not None, (result.error, result.empty)
    assert result.file.transcoded is not None
    shown = list(frames_of(result.path))
    assert {(frame.width, frame.height) for frame in shown} == {
        (result.file.width, result.file.height)
    }
    span = result.file.transcoded.span or result.shot.span
    wanted = [n % COUNT for n in range(2 * COUNT) if span.start <= (n + 0.01) / RATE < span.end]
    assert len(shown) == result.file.num_frames
    assert [read_index(frame) for frame in shown] == wanted
    assert result.damage is None


@pytest.mark.parametrize("how", [COPY, SMART])
@pytest.mark.parametrize("name", CHANGING)
def test_a_film_that_changes_its_size(name: str, how: str, tmp_path: Path) -> None:
    path = CHANGING[name](tmp_path)
    together = made(how, path, tmp_path / "clips", *SPANS)
    alone = [made(how, path, tmp_path / f"{n}", span)[0] for n, span in enumerate(SPANS)]
    for result in (*together, *alone):
        is_what_it_says(result)
    if how == COPY and name != "h264 with two headers":
        assert told(together[0]) == "copied"


def told(result: CutShot) -> Any:
    assert result.file is not None
    assert result.file.transcoded is not None
    return result.file.transcoded.how
