"""Files made to hurt, and what becomes of each: the corpus of ``test_hostile.py``.

``write_all(folder)`` writes one file for each case. What is true of it afterwards:

    done     every planned clip exists, and nothing is said against it
    marked   every planned clip exists, and one at least says what is missing in it
    empty    it is a film, too short for a clip
    failed   it, or a part of it, became a failure; the message contains ``says``
    unseen   it is not taken for a video in the first place
"""

from __future__ import annotations

import json
import os
import random
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
from choir import film_of
from cutting_room import QUICK
from locks import locked, locked_matroska
from odd_films import emptied_at_the_end, held, with_gaps, wrapped

from finecut.io.media.memory import prepare_process
from finecut.io.media.source import FilmError
from finecut.io.media.testfilm.paint import paint
from finecut.io.records import Clip, Failure, Source
from finecut.io.storage.publishing import Shelf
from finecut.transforms.cut.reel import Cutting, cut_reel
from finecut.transforms.find.probe import probe_source
from finecut.transforms.split.spans import FixedStride, Splitting, reels_of

State = Literal["done", "marked", "empty", "failed", "unseen"]
Write = Callable[[Path, "Studio"], None]

#: Clips of a second, every second.
SPLITTING = Splitting(FixedStride(1.0, 1.0, 0.5))
CANARY = "canary.ts"
NO_CONTAINER = "no video container could be opened"
NO_FRAME = "not one frame of the video track could be decoded"
TOO_LARGE = "--max-pixels"
LOCKED = "its pictures are encrypted"


@dataclass(frozen=True)
class Case:
    """One file: how it is called, what is wrong with it, how it is made, what becomes of it."""

    name: str
    what: str
    write: Write
    state: State
    says: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a file, and what was said of it."""

    state: State
    said: str = ""


# ── what cases are made of ───────────────────────────────────────────────────────────────────────
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


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def edited(boxes: bytes, path: str, change: Callable[[bytes], bytes]) -> bytes:
    """A film in MP4 in which the body of the first box at ``moov/trak/…`` is another.

    Sizes above it follow, and where samples lie (the index stands before them).
    """
    changed = _edited(boxes, path, change)
    moved, place, shift = bytearray(changed), -1, len(changed) - len(boxes)
    while shift and (place := moved.find(b"stco", place + 1)) >= 0:
        number = struct.unpack_from(">I", moved, place + 8)[0]
        for entry in range(place + 12, place + 12 + 4 * number, 4):
            where = struct.unpack_from(">I", moved, entry)[0]
            struct.pack_into(">I", moved, entry, where + shift)
    return bytes(moved)


def _edited(boxes: bytes, path: str, change: Callable[[bytes], bytes]) -> bytes:
    wanted, _, below = path.partition("/")
    out, place, found = b"", 0, False
    while place + 8 <= len(boxes):
        size, kind = struct.unpack_from(">I4s", boxes, place)
        size = size or len(boxes) - place
        body = boxes[place + 8 : place + size]
        if kind == wanted.encode() and not found:
            found = True
            body = _edited(body, below, change) if below else change(body)
        out += box(kind, body)
        place += size
    assert found, path
    return out


def put(place: int, new: bytes) -> Callable[[bytes], bytes]:
    return lambda body: body[:place] + new + body[place + len(new) :]


def patched(film: bytes, mark: bytes, place: int, new: bytes) -> bytes:
    """``new`` at ``place`` bytes after the first ``mark`` begins."""
    at = film.index(mark) + place
    return film[:at] + new + film[at + len(new) :]


def png(width: int, height: int) -> bytes:
    """A flat grey picture, which is a thousandth of its pixels."""
    packer = zlib.compressobj(1)
    row, rows = bytes(width + 1), 64
    pixels = b"".join(packer.compress(row * min(rows, height - y)) for y in range(0, height, rows))
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", pixels + packer.flush()),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    )


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


def edit_list(*entries: tuple[int, int]) -> Callable[[bytes], bytes]:
    """A track that shows so many milliseconds from a tick on, and then others."""
    rows = b"".join(struct.pack(">Iii", length, tick, 1 << 16) for length, tick in entries)
    elst = box(b"edts", box(b"elst", struct.pack(">II", 0, len(entries)) + rows))

    def change(trak: bytes) -> bytes:
        header = struct.unpack_from(">I", trak)[0]
        rest = trak[header:]
        if rest[4:8] == b"edts":
            rest = rest[struct.unpack_from(">I", rest)[0] :]
        return trak[:header] + elst + rest

    return change


#: How the size of a JPEG begins.
SOF = b"\xff\xc0\x00\x11\x08"
STBL = "moov/trak/mdia/minf/stbl"


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


STILL: dict[str, Any] = {"width": 160, "height": 90, "rate": 15, "seconds": 4}


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


FTYP = box(b"ftyp", b"isom\0\0\0\0isom")
HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{canary}\n#EXT-X-ENDLIST\n"
MPD = (
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT3S"><Period><AdaptationSet mimeType="video/mp2t">'
    '<Representation id="1"><BaseURL>file:{canary}</BaseURL></Representation></AdaptationSet>'
    "</Period></MPD>"
)
SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"


def _ts(studio: Studio) -> bytes:
    return studio.canary.read_bytes()


#: What is left of films after 10, 50 and 90 %.
HALVED: tuple[tuple[str, Callable[[Studio], bytes], tuple[State, State, State]], ...] = (
    (".mp4", lambda s: s.mp4, ("failed", "failed", "marked")),
    (".mov", lambda s: s.mov, ("failed", "failed", "marked")),
    (".mkv", lambda s: s.mkv, ("failed", "failed", "marked")),
    (".webm", lambda s: s.webm, ("failed", "failed", "marked")),
    # Their length is that of what is there.
    (".avi", lambda s: s.avi, ("empty", "done", "done")),
    (".ts.mp4", _ts, ("empty", "done", "done")),
)

CASES: tuple[Case, ...] = (
    # Scripts that name other files.
    *(
        Case(f"hls{suffix}", "an HLS playlist", text(HLS), "failed", NO_CONTAINER)
        for suffix in (".mp4", ".mov", ".mkv", ".avi", ".webm")
    ),
    Case(
        "concat.mp4",
        "an ffconcat script",
        text("ffconcat version 1.0\nfile '{canary}'\n"),
        "failed",
        NO_CONTAINER,
    ),
    Case("dash.mp4", "a DASH manifest", text(MPD), "failed", NO_CONTAINER),
    Case("sdp.mov", "a description of a network stream", text(SDP), "failed", NO_CONTAINER),
    Case(
        "shot%03d.mp4", "a video named like a sequence of pictures", data(lambda s: s.mp4), "done"
    ),
    Case("concat:a|b.mp4", "a video named like a protocol", data(lambda s: s.mp4), "done"),
    Case(
        "external.mov",
        "an index that says the pictures are in another file",
        data(external),
        "failed",
        NO_FRAME,
    ),
    # Tracks that are no pictures or sound, and films without a film.
    Case(
        "attached.mkv",
        "a font and a page attached",
        muxed(lambda s: s.mkv, form="matroska", also=attached),
        "done",
    ),
    Case(
        "subtitles.mkv",
        "a track of subtitles",
        muxed(lambda s: s.mkv, form="matroska", also=with_subtitles("ass")),
        "done",
    ),
    Case(
        "timed_text.mp4",
        "a track of timed text",
        muxed(lambda s: s.mp4, form="mp4", also=with_subtitles("mov_text")),
        "done",
    ),
    Case(
        "timecode.mov",
        "a track of time codes",
        data(lambda s: patched(s.mov, b"soun", 0, b"tmcd")),
        "done",
    ),
    Case(
        "cover_first.mp4",
        "a cover image before the video",
        data(lambda s: edited(s.mp4, "moov", cover(True))),
        "done",
    ),
    Case(
        "cover_last.mp4",
        "a cover image after the video",
        data(lambda s: edited(s.mp4, "moov", cover(False))),
        "done",
    ),
    Case(
        "cover_only.mp4",
        "sound and a cover image",
        data(lambda s: edited(sound_only(s), "moov", cover(False))),
        "failed",
        "no video track",
    ),
    Case("sound.mp4", "sound only", data(sound_only), "failed", "no video track"),
    Case(
        "two_films.mp4",
        "two video tracks; the first counts",
        muxed(lambda s: s.mp4, lambda s: s.mp4, form="mp4"),
        "done",
    ),
    Case("pcm.mov", "PCM sound", data(lambda s: s.mov), "done"),
    Case("pcm.mkv", "PCM sound", data(lambda s: s.film("pcm.mkv", sound="pcm_s16le")), "done"),
    Case("pcm.avi", "PCM sound", data(lambda s: s.avi), "done"),
    Case(
        "channels16.mkv",
        "16 channels of sound in unknown places",
        channels("16 channels"),
        "done",
    ),
    Case(
        "channels7.1.mov",
        "eight channels of sound",
        channels("7.1"),
        "done",
    ),
    Case("tracks65.mkv", "65 tracks", many_tracks(65), "failed", "--max-streams"),
    Case("tracks900.mkv", "900 tracks", many_tracks(900), "failed", "--max-streams"),
    # Clocks.
    Case("no_rate.avi", "0 frames a second in both headers", data(no_rate_avi), "done"),
    Case("no_rate.mkv", "no frame rate in the header", data(no_rate_matroska), "done"),
    Case(
        "negative.mp4",
        "times before 0",
        data(lambda s: edited(s.mp4, "moov/trak", edit_list((2000, 15360)))),
        "done",
    ),
    Case(
        "far.mkv",
        "a start after eleven days",
        data(lambda s: s.film("far.mkv", start=1_000_000)),
        "done",
    ),
    Case(
        "edits.mp4",
        "an edit list of 3,000 entries",
        data(lambda s: edited(s.mp4, "moov/trak", edit_list(*[(500, 0), (500, 7680)] * 1500))),
        "done",
    ),
    Case("years.mp4", "pictures of three weeks each", data(long_header), "failed", "--max-seconds"),
    Case(
        "years.mkv",
        "a header that claims a hundred years",
        data(long_matroska),
        "failed",
        "impossible",
    ),
    Case("uneven.mkv", "a rate that its pictures do not keep", uneven_matroska, "done"),
    Case("gaps.avi", "entries that hold no frame", avi_with_gaps, "done"),
    Case("still.avi", "the same at its end", avi_that_stands_still, "marked", "no new frame"),
    Case("still.mp4", "a last picture of three seconds", stands_still, "marked", "no new frame"),
    Case("still.mkv", "a last picture of three seconds", stands_still, "marked", "no new frame"),
    Case("wraps.mp4", "MPEG-TS whose clock begins anew", wraps, "done"),
    # Colours.
    Case("ycgco.mp4", "colours in YCgCo", coloured("YCgCo"), "done"),
    Case(
        "constant_luminance.mp4",
        "colours in BT.2020 with constant luminance",
        coloured("bt2020c"),
        "failed",
        "BT.2020 with constant luminance",
    ),
    Case("ictcp.mp4", "colours in ICtCp", coloured("ICtCp"), "failed", "ICtCp"),
    # Numbers in headers.
    Case(
        "frames.mp4", "an index of a billion frames", data(promised_frames(10**9, 1)), "failed", ""
    ),
    Case(
        "entries.mp4",
        "an index of 2^32 - 1 entries",
        data(lambda s: edited(s.mp4, f"{STBL}/stsz", put(4, struct.pack(">II", 0, 0xFFFFFFFF)))),
        "failed",
        "",
    ),
    Case(
        "chunks.mp4",
        "a table of 2^32 - 1 chunks",
        data(lambda s: edited(s.mp4, f"{STBL}/stco", put(4, b"\xff" * 4))),
        "done",
    ),
    Case(
        "wide.mp4",
        "65535 by 65535 in the header",
        data(lambda s: edited(s.mp4, f"{STBL}/stsd", put(40, b"\xff" * 4))),
        "done",
    ),
    Case(
        "wide.mkv",
        "65535 by 65535 in the header",
        data(
            lambda s: patched(
                patched(s.mkv, b"\xb0\x81\xa0", 0, b"\xb0\x81\xff"),
                b"\xba\x81\x5a",
                0,
                b"\xba\x81\xff",
            )
        ),
        "done",
    ),
    Case(
        "wide.avi",
        "65535 by 65535 in the header",
        data(lambda s: patched(s.avi, b"strf", 12, struct.pack("<II", 65535, 65535))),
        "done",
    ),
    # Bombs.
    Case(
        "bomb.mov",
        "tiny pictures of 16000 by 16000",
        png_film(16000, 16000, 16000),
        "failed",
        TOO_LARGE,
    ),
    Case(
        "hidden.mov",
        "the same, claiming 160 by 160",
        png_film(160, 16000, 16000),
        "failed",
        TOO_LARGE,
    ),
    Case(
        "large.mov",
        "pictures of 4096 by 4096, within the limits",
        png_film(4096, 4096, 4096),
        "done",
    ),
    Case(
        "grows.mov",
        "16000 by 16000 after three seconds of 160 by 160",
        png_film(160, *[160] * 45, *[16000] * 3, rate=15),
        "failed",
        TOO_LARGE,
    ),
    Case(
        "jpegs.avi",
        "JPEGs that claim 16000 by 16000 after two seconds",
        data(large_jpegs),
        "failed",
        "shows no frame",
    ),
    # Half files.
    *(
        Case(
            f"cut{percent}{suffix}", f"cut off after {percent} %", data(part(film, percent)), state
        )
        for suffix, film, states in HALVED
        for percent, state in zip((10, 50, 90), states, strict=True)
    ),
    Case("ts.mp4", "MPEG-TS under another name", data(_ts), "done"),
    # Bytes.
    Case("nothing.mp4", "no byte", data(lambda s: b""), "failed", NO_CONTAINER),
    Case("byte.mp4", "one byte", data(lambda s: b"\0"), "failed", NO_CONTAINER),
    Case("zeros.mp4", "zeros", data(lambda s: bytes(100_000)), "failed", NO_CONTAINER),
    Case(
        "random.mp4",
        "random bytes",
        data(lambda s: random.Random(1).randbytes(100_000)),
        "failed",
        NO_CONTAINER,
    ),
    Case(
        "random.mkv",
        "random bytes",
        data(lambda s: random.Random(2).randbytes(100_000)),
        "failed",
        NO_CONTAINER,
    ),
    Case("text.mp4", "a text", text("This is not a film.\n" * 100), "failed", NO_CONTAINER),
    Case(
        "page.mp4",
        "a web page",
        text("<!doctype html><video src=x.mp4></video>\n" * 50),
        "failed",
        NO_CONTAINER,
    ),
    Case(
        "image.mp4",
        "a JPEG",
        data(lambda s: b"\xff\xd8" + s.mjpeg.split(b"\xff\xd8")[1]),
        "failed",
        NO_CONTAINER,
    ),
    Case("png.mp4", "a PNG", data(lambda s: png(64, 64)), "failed", NO_CONTAINER),
    Case(
        "gif.mp4",
        "a GIF",
        data(lambda s: b"GIF89a\1\0\1\0\x80\0\0" + bytes(6) + b",\0\0\0\0\1\0\1\0\0\2\2D\1\0;"),
        "failed",
        NO_CONTAINER,
    ),
    Case(
        "wav.mp4",
        "a WAV",
        data(
            lambda s: (
                b"RIFF\x24\x10\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0"
                b"\x10\0data\0\x10\0\0" + bytes(4096)
            )
        ),
        "failed",
        NO_CONTAINER,
    ),
    Case("zip.mp4", "a ZIP", zipped, "failed", NO_CONTAINER),
    # Boxes.
    Case(
        "encrypted.mp4",
        "a claim that the pictures are encrypted",
        data(lambda s: patched(s.mp4, b"avc1\0\0\0\0\0\0", 0, b"encv")),
        "failed",
        LOCKED,
    ),
    Case(
        "cenc.mp4",
        "encrypted pictures and sound",
        data(lambda s: locked(s.folder).read_bytes()),
        "failed",
        LOCKED,
    ),
    Case(
        "locked.mkv",
        "the claim in Matroska that the pictures are encrypted",
        data(lambda s: locked_matroska(s.folder).read_bytes()),
        "failed",
        LOCKED,
    ),
    Case("nested.mp4", "10,000 boxes, each in another", data(lambda s: nested(10_000)), "failed"),
    Case(
        "overlap.mp4",
        "boxes longer than those around them",
        data(lambda s: patched(s.mp4, b"mdia", -4, b"\x7f\0\0\0")),
        "done",
    ),
    Case(
        "size0.mp4",
        "a box of size 0 in front",
        data(lambda s: FTYP + struct.pack(">I4s", 0, b"free") + s.mp4),
        "failed",
    ),
    Case(
        "size1.mp4",
        "a box of 2^63 bytes in front",
        data(lambda s: FTYP + struct.pack(">I4sQ", 1, b"free", 1 << 63) + s.mp4),
        "failed",
    ),
    Case(
        "no_mdat.mp4",
        "an index without what it points to",
        data(lambda s: FTYP + s.mp4[s.mp4.index(b"moov") - 4 :] + box(b"mdat", b"")),
        "failed",
    ),
    # What is no file.
    Case("fifo.mp4", "a pipe", fifo, "failed", "is a folder, pipe or device"),
    Case("folder.mp4", "a folder", folder, "unseen"),
    Case("dangling.mp4", "a link to nothing", link_to("nowhere.mp4"), "failed"),
    Case("circle.mp4", "a link to itself", link_to("{own}"), "failed"),
)


# ── what becomes of them ─────────────────────────────────────────────────────────────────────────
def write_all(folder: Path, studio: Studio) -> None:
    """One file for each case."""
    folder.mkdir(parents=True, exist_ok=True)
    for case in CASES:
        case.write(folder / case.name, studio)


def outcome(path: Path, work: Path) -> Outcome:
    """What the plain functions make of a file: probed, split, cut."""
    if path.is_dir():
        return Outcome("unseen")
    cutting = Cutting(Shelf(str(work / "out"), str(work / "out/.staging/x")), QUICK)
    try:
        video = probe_source(Source(str(path), str(path), path.name))
        made: list[Clip | Failure] = []
        reels = reels_of(video, SPLITTING)
        for reel in reels:
            made.extend(cut_reel(reel, cutting))
    except (FilmError, OSError) as error:
        return Outcome("failed", f"{type(error).__name__}: {error}")
    if not any(reel.shots for reel in reels):
        return Outcome("empty")
    failed = [one.message for one in made if isinstance(one, Failure)]
    if failed:
        return Outcome("failed", failed[0])
    marks = [said for one in made if isinstance(one, Clip) for said in one.errors.values()]
    return Outcome("marked", marks[0]) if marks else Outcome("done")


#: The broken films that are shared beside the repository, and what becomes of them.
BAD_FILMS: dict[str, tuple[str, State]] = {
    "UPPER.MP4": ("a video with a suffix in capitals", "done"),
    "audio_only.mp4": ("sound only", "failed"),
    "corrupt_middle_h264.mp4": ("damaged in the middle", "marked"),
    "image_png_renamed.mp4": ("a PNG", "failed"),
    "odd_321x241_yuv444p.mp4": ("an odd size", "done"),
    "one_frame.mp4": ("one picture", "empty"),
    "raw_annexb_renamed.mp4": ("H.264 without a container", "failed"),
    "rotation_270.mp4": ("rotated", "done"),
    "rotation_garbage_matrix.mp4": ("rotated by 45 degrees", "done"),
    "short_0.2s.mp4": ("a fifth of a second", "empty"),
    "text_renamed.mp4": ("a text", "failed"),
    "truncated_moov_first.mp4": ("cut off", "failed"),
    "truncated_no_moov.mp4": ("cut off before its index", "failed"),
    "zero_byte.mp4": ("no byte", "failed"),
}


def table() -> str:
    """What becomes of each case and of each broken film, as Markdown."""
    rows = [
        f"| `{case.name.replace('|', chr(92) + '|')}` | {case.what} | {case.state} |"
        for case in CASES
    ]
    rows += [f"| `bad/{name}` | {what} | {state} |" for name, (what, state) in BAD_FILMS.items()]
    return "\n".join(["| case | what | state |", "| --- | --- | --- |", *rows])


def peak_mb() -> int:
    """The most memory this program had. (What getrusage says begins with its parent's.)"""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    [peak] = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(peak) // 1024


def main(work: str, *paths: str) -> None:
    """What becomes of these files, one line of JSON each: for a process of its own."""
    prepare_process()
    for path in paths:
        began = time.monotonic()
        ended = outcome(Path(path), Path(work))
        peak = peak_mb()
        told = {"path": path, "state": ended.state, "said": ended.said, "mb": peak}
        print(json.dumps({**told, "seconds": time.monotonic() - began}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
