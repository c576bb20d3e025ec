"""How files made to hurt are written: good films, and what is done to them."""

from __future__ import annotations

import os
import random
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
from channel_beeps import film_of
from container_bytes import STBL, box, edit_list, edited, patched, png, put
from odd_films import emptied_at_the_end, held, with_gaps, wrapped

from finecut.io.media.testfilm.paint import paint

State = Literal["done", "marked", "empty", "failed", "unseen"]
Write = Callable[[Path, "Studio"], None]
CANARY = "canary.ts"
#: How the size of a JPEG begins.
SOF = b"\xff\xc0\x00\x11\x08"
STILL: dict[str, Any] = {"width": 160, "height": 90, "rate": 15, "seconds": 4}


@dataclass(frozen=True)
class Case:
    """One file: how it is called, what is wrong with it, how it is made, what becomes of it."""

    name: str
    what: str
    write: Write
    state: State
    says: str = ""


class Studio:
    """Good films, painted once, and the file that nobody may open."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.canary = folder / CANARY
        if not self.canary.exists():
            self.film(CANARY, codec="mpeg2video")

    def film(self, name: str, **settings: Any) -> bytes:
        """The bytes of a film of three seconds."""
        path = self.folder / name
        if not path.exists():
            usual = {"width": 160, "height": 90, "rate": 15, "seconds": 3}
            if settings.get("codec", "libx264") == "libx264":
                usual["codec_options"] = {"preset": "ultrafast"}  # type: ignore[assignment]
            paint(path, **{**usual, **settings})
        return path.read_bytes()

    @property
    def mp4(self) -> bytes:
        return self.film("plain.mp4", sound="aac")

    @property
    def mov(self) -> bytes:
        return self.film("plain.mov", sound="pcm_s16le")

    @property
    def mkv(self) -> bytes:
        return self.film("plain.mkv", sound="aac")

    @property
    def avi(self) -> bytes:
        return self.film("plain.avi", codec="mpeg4", sound="pcm_s16le")

    @property
    def webm(self) -> bytes:
        return self.film("plain.webm", codec="libvpx", sound="libopus")

    @property
    def mjpeg(self) -> bytes:
        return self.film("mjpeg.avi", codec="mjpeg", pix_fmt="yuvj420p")


def text(words: str) -> Write:
    """A text file; ``{canary}`` stands for the path of the file that nobody may open."""

    def write(path: Path, studio: Studio) -> None:
        path.write_text(words.format(canary=studio.canary), encoding="utf-8")

    return write


def data(make: Callable[[Studio], bytes]) -> Write:
    def write(path: Path, studio: Studio) -> None:
        path.write_bytes(make(studio))

    return write


def png_film(said: int, *real: int, rate: int = 1) -> Write:
    """Square pictures in a MOV whose header says one size, and they others."""

    def write(path: Path, studio: Studio) -> None:
        with av.open(str(path), "w", format="mov") as film:
            stream = film.add_stream("png", rate=rate)
            assert isinstance(stream, av.VideoStream)
            stream.width = stream.height = said
            stream.pix_fmt, stream.time_base = "gray", Fraction(1, rate)
            pictures = {size: png(size, size) for size in set(real)}
            for number, size in enumerate(real):
                packet = av.Packet(pictures[size])
                packet.stream, packet.time_base = stream, Fraction(1, rate)
                packet.pts = packet.dts = number
                packet.duration, packet.is_keyframe = 1, True
                film.mux(packet)

    return write


def muxed(
    *films: Callable[[Studio], bytes], form: str, also: Callable[[Any], None] | None = None
) -> Write:
    """All tracks of these films in one file, and what ``also`` adds to the container."""

    def write(path: Path, studio: Studio) -> None:
        parts = []
        for number, film in enumerate(films):
            part = path.with_name(f".{path.name}.{number}")
            part.write_bytes(film(studio))
            parts.append(part)
        with av.open(str(path), "w", format=form) as target:
            opened = [av.open(str(part)) for part in parts]
            streams = [
                [target.add_stream_from_template(s) for s in source.streams] for source in opened
            ]
            if also is not None:
                also(target)
            for source, own in zip(opened, streams, strict=True):
                for packet in source.demux():
                    if packet.size:
                        packet.stream = own[packet.stream_index]
                        target.mux(packet)
                source.close()
        for part in parts:
            part.unlink()

    return write


def attached(target: Any) -> None:
    target.add_attachment("font.ttf", "application/x-truetype-font", bytes(1000))
    target.add_attachment("page.html", "text/html", b"<script>1</script>")


def with_subtitles(codec: str) -> Callable[[Any], None]:
    def add(target: Any) -> None:
        stream = target.add_mux_stream(codec)
        if codec == "tmcd":
            return
        target.start_encoding()
        said = b"\x00\x02hi" if codec == "mov_text" else b"0,0,Default,,0,0,0,,{\\p1}m 0 0 l 9 9"
        for second in range(3):
            packet = av.Packet(said)
            packet.stream, packet.time_base = stream, Fraction(1, 1000)
            packet.pts = packet.dts = 1000 * second
            packet.duration = 900
            target.mux(packet)

    return add


def channels(layout: str) -> Write:
    def write(path: Path, studio: Studio) -> None:
        film_of(path, "pcm_s16le", layout)

    return write


def many_tracks(number: int) -> Write:
    def write(path: Path, studio: Studio) -> None:
        with av.open(str(path), "w", format="matroska") as film:
            streams = [film.add_stream("mpeg4", rate=15) for _ in range(number)]
            for stream in streams:
                assert isinstance(stream, av.VideoStream)
                stream.width = stream.height = 16
                stream.pix_fmt = "yuv420p"
            frame = av.VideoFrame(16, 16, "yuv420p")
            for stream in streams:
                frame.pts, frame.time_base = 0, Fraction(1, 15)
                film.mux(stream.encode(frame))

    return write


def sound_only(studio: Studio) -> bytes:
    path = studio.folder / "sound.mp4"
    with av.open(str(path), "w") as film, av.open(str(studio.folder / "plain.mp4")) as source:
        own = film.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.size:
                packet.stream = own
                film.mux(packet)
    return path.read_bytes()


def cover(first: bool) -> Callable[[bytes], bytes]:
    """A movie box with a cover image, before its tracks or after them."""
    image = box(b"covr", box(b"data", struct.pack(">II", 14, 0) + png(64, 64)))
    handler = box(b"hdlr", bytes(8) + b"mdirappl" + bytes(9))
    art = box(b"udta", box(b"meta", bytes(4) + handler + box(b"ilst", image)))

    def change(moov: bytes) -> bytes:
        header = struct.unpack_from(">I", moov)[0]
        return moov[:header] + art + moov[header:] if first else moov + art

    return change


def external(studio: Studio) -> bytes:
    """A QuickTime alias that says the pictures lie in the canary."""
    path = str(studio.canary).encode()
    path += b"\0" * (len(path) % 2)
    name = CANARY.encode()
    alias = b"\0" * 10 + bytes([1]) + b"/".ljust(27, b"\0") + b"\0" * 12
    alias += bytes([len(name)]) + name.ljust(63, b"\0") + b"\0" * 16
    alias += struct.pack(">hh", 1, 1) + b"\0" * 16
    alias += struct.pack(">hh", 2, len(path)) + path
    alias += struct.pack(">hh", 18, len(path)) + path + struct.pack(">hh", -1, 0)
    entry = box(b"alis", bytes(4) + alias)
    return edited(
        studio.mov, "moov/trak/mdia/minf/dinf/dref", lambda _: struct.pack(">II", 0, 1) + entry
    )


def promised_frames(number: int, sample_size: int) -> Callable[[Studio], bytes]:
    """An index that says so many samples of one size in few bytes."""

    def make(studio: Studio) -> bytes:
        film = edited(studio.mp4, f"{STBL}/stsz", put(4, struct.pack(">II", sample_size, number)))
        film = edited(film, f"{STBL}/stts", lambda _: struct.pack(">IIII", 0, 1, number, 1))
        return edited(
            film, f"{STBL}/stsc", lambda _: struct.pack(">IIIII", 0, 1, 1, number & 0x7FFFFFFF, 1)
        )

    return make


def long_header(studio: Studio) -> bytes:
    """A clock of one tick a second, and pictures of three weeks each."""
    film = edited(studio.mp4, "moov/trak", edit_list((2**31 - 1, 0)))
    film = edited(film, "moov/trak/mdia/mdhd", put(12, struct.pack(">II", 1, 90_000_000)))
    return edited(film, f"{STBL}/stts", lambda _: struct.pack(">IIII", 0, 1, 45, 2_000_000))


def long_matroska(studio: Studio) -> bytes:
    """Duration, a float of milliseconds."""
    return patched(studio.mkv, b"\x44\x89\x88", 3, struct.pack(">d", 3.2e12))


def no_rate_avi(studio: Studio) -> bytes:
    film = patched(studio.avi, b"avih", 8, struct.pack("<I", 0))
    return patched(film, b"strh", 28, struct.pack("<II", 0, 0))


def no_rate_matroska(studio: Studio) -> bytes:
    """The length of a picture becomes a void."""
    film = studio.mkv
    at = film.index(b"\x23\xe3\x83")
    length = 4 + film[at + 3] - 0x80
    void = bytes([0xEC, 0x80 + length - 2]) + bytes(length - 2)
    return film[:at] + void + film[at + length :]


def large_jpegs(studio: Studio) -> bytes:
    """From the middle of the film on, the JPEGs say that they are 16000 by 16000."""
    parts = studio.mjpeg.split(SOF)
    size = struct.pack(">HH", 16000, 16000)
    return SOF.join(part if n <= 30 else size + part[4:] for n, part in enumerate(parts))


def uneven_matroska(path: Path, studio: Studio) -> None:
    """A second of even pictures, then five a second."""
    times = (*(Fraction(i, 15) for i in range(15)), *(1 + Fraction(i, 5) for i in range(10)))
    paint(path, times=times, width=160, height=90, rate=15)


def avi_with_gaps(path: Path, studio: Studio) -> None:
    with_gaps(path, lambda number: number < 15 or number % 5 == 4, **STILL)
    _without_whole(path)


def avi_that_stands_still(path: Path, studio: Studio) -> None:
    with_gaps(path, lambda _: True, **STILL)
    emptied_at_the_end(path, path, 30)
    _without_whole(path)


def _without_whole(path: Path) -> None:
    path.with_name(f"whole_{path.stem}.mp4").unlink()


def stands_still(path: Path, studio: Studio) -> None:
    """The last picture is shown for three seconds more."""
    whole = paint(studio.folder / f"to_hold{path.suffix}", **STILL, b_frames=0)
    held(whole, path, 3)


def wraps(path: Path, studio: Studio) -> None:
    wrapped(paint(studio.folder / "to_wrap.ts", **STILL, sound="aac"), path, 1.5)


def coloured(matrix: str) -> Write:
    """A film that says that its colours are stored by this matrix, by x264's name."""

    def write(path: Path, studio: Studio) -> None:
        name = f"{matrix}.mp4"
        options = {"preset": "ultrafast", "x264-params": f"colormatrix={matrix}"}
        path.write_bytes(studio.film(name, codec_options=options))

    return write


def nested(depth: int) -> bytes:
    body = b""
    for _ in range(depth):
        body = box(b"moov", body)
    return box(b"ftyp", b"isom\0\0\0\0isom") + body


def part(film: Callable[[Studio], bytes], percent: int) -> Callable[[Studio], bytes]:
    def make(studio: Studio) -> bytes:
        whole = film(studio)
        return whole[: len(whole) * percent // 100]

    return make


def flipped(film: bytes, seed: int) -> bytes:
    """One to four bits of the film are wrong."""
    dice, changed = random.Random(seed), bytearray(film)
    for _ in range(dice.randint(1, 4)):
        changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def zipped(path: Path, studio: Studio) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("film.mp4", studio.mp4)


def fifo(path: Path, studio: Studio) -> None:
    os.mkfifo(path)


def folder(path: Path, studio: Studio) -> None:
    path.mkdir()


def link_to(target: str) -> Write:
    return lambda path, studio: path.symlink_to(target.format(own=path.name))
