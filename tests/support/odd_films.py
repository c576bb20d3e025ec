"""Films whose times, ends and colours are not what their containers promise, painted with care."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from finecut.io.media.testfilm.paint import Painting, paint

Colour = tuple[int, int, int]

#: Of matrices by FFmpeg's number: the weights of red and blue in the brightness.
WEIGHTS = {
    1: (0.2126, 0.0722),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
UNSAID, YCGCO = 2, 8


def with_gaps(target: Path, keeps: Callable[[int], bool], **settings: Any) -> Painting:
    """A film of which only some pictures are kept; AVI writes an entry without data for others.

    Its truth has the kept pictures only, so ``read_index`` gives numbers of the whole film.
    """
    whole = paint(target.with_name(f"whole_{target.stem}.mp4"), **settings)
    codec = "mpeg4" if target.suffix == ".avi" else "libx264"
    with av.open(whole.path) as film, av.open(str(target), "w") as copy:
        out = copy.add_stream(codec, rate=whole.rate)
        assert isinstance(out, av.VideoStream)
        out.width, out.height, out.pix_fmt = whole.width, whole.height, "yuv420p"
        out.codec_context.bit_rate, out.codec_context.max_b_frames = 2_000_000, 0
        for number, picture in enumerate(film.decode(video=0)):
            if keeps(number):
                picture.pts, picture.time_base = number, 1 / whole.rate
                picture.pict_type = 0
                copy.mux(out.encode(picture))
        copy.mux(out.encode(None))
    return dataclasses.replace(whole, path=str(target))


def held(source: Painting, target: Path, seconds: float) -> Painting:
    """The film, whose last picture is shown for so long, as far as its container can say that."""
    with av.open(source.path) as film, av.open(str(target), "w") as copy:
        streams = {s.index: copy.add_stream_from_template(s) for s in film.streams}
        packets = [packet for packet in film.demux() if packet.size]
        pictures = [packet for packet in packets if packet.stream.type == "video"]
        last = max(pictures, key=lambda packet: packet.pts or 0)
        last.duration = int(seconds / last.time_base)
        for packet in packets:
            packet.stream = streams[packet.stream_index]
            copy.mux(packet)
    return dataclasses.replace(source, path=str(target))


def emptied_at_the_end(source: Path, target: Path, number: int) -> None:
    """An AVI whose last entries say "no new frame": of so many, the data becomes junk."""
    data = bytearray(source.read_bytes())
    index = data.rindex(b"idx1")
    entries = int.from_bytes(data[index + 4 : index + 8], "little") // 16
    movi = data.index(b"movi")
    for entry in range(entries - number, entries):
        place = index + 8 + 16 * entry
        start = movi + int.from_bytes(data[place + 8 : place + 12], "little")
        size = int.from_bytes(data[start + 4 : start + 8], "little")
        size += size % 2
        assert size >= 8, "no room for junk"
        data[start + 4 : start + 8] = bytes(4)
        data[start + 8 : start + 16] = b"JUNK" + (size - 8).to_bytes(4, "little")
        data[place + 12 : place + 16] = bytes(4)
    target.write_bytes(data)


def wrapped(source: Painting, target: Path, after: float) -> Painting:
    """The film as MPEG-TS whose clock of 33 bits begins anew so many seconds after its start."""
    with (
        av.open(source.path) as film,
        av.open(str(target), "w", format="mpegts", options={"mpegts_copyts": "1"}) as copy,
    ):
        streams = {s.index: copy.add_stream_from_template(s) for s in film.streams}
        start = film.streams.video[0].start_time
        assert start is not None
        for packet in film.demux():
            if not packet.size:
                continue
            shift = Fraction(2**33 - start, 90_000) - Fraction(after)
            ticks = round(shift / packet.time_base)
            packet.pts, packet.dts = (packet.pts or 0) + ticks, (packet.dts or 0) + ticks
            packet.stream = streams[packet.stream_index]
            copy.mux(packet)
    return dataclasses.replace(source, path=str(target))


def flat(
    target: Path,
    colour: Colour,
    matrix: int,
    full: bool = False,
    size: tuple[int, int] = (320, 180),
    frames: int = 30,
) -> Path:
    """A film of one colour, stored by this matrix, at 30 frames a second."""
    with av.open(str(target), "w") as film:
        options = {"crf": "8", "preset": "ultrafast"}
        stream = film.add_stream("libx264", rate=30, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.colorspace, context.color_range, context.max_b_frames = matrix, 1 + full, 0
        for number in range(frames):
            frame = av.VideoFrame(*size, "yuv420p")
            for plane, value in zip(frame.planes, _stored(colour, matrix, full), strict=True):
                plane.update(bytes([value]) * plane.buffer_size)
            frame.colorspace, frame.color_range = matrix, 1 + full
            frame.pts, frame.time_base = number, Fraction(1, 30)
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))
    return target


def _stored(colour: Colour, matrix: int, full: bool) -> list[int]:
    red, green, blue = (value / 255 for value in colour)
    if matrix == YCGCO:
        bright = red / 4 + green / 2 + blue / 4
        first, second = green / 2 - red / 4 - blue / 4, red / 2 - blue / 2
    else:
        of_red, of_blue = WEIGHTS.get(matrix, WEIGHTS[6])
        bright = of_red * red + (1 - of_red - of_blue) * green + of_blue * blue
        first, second = (blue - bright) / 2 / (1 - of_blue), (red - bright) / 2 / (1 - of_red)
    if full:
        return [round(255 * bright), round(128 + 255 * first), round(128 + 255 * second)]
    return [round(16 + 219 * bright), round(128 + 224 * first), round(128 + 224 * second)]


def joined(target: Path, sources: Sequence[Path]) -> Path:
    """The pictures of films in MPEG-TS one after the other, each with its own parameter sets."""
    with av.open(str(target), "w", format="mpegts") as film:
        stream, number = None, 0
        for source in sources:
            with av.open(str(source)) as part:
                if stream is None:
                    stream = film.add_stream_from_template(part.streams.video[0])
                for packet in part.demux(video=0):
                    if packet.size:
                        packet.stream, packet.time_base = stream, Fraction(1, 30)
                        packet.pts = packet.dts = number
                        number += 1
                        film.mux(packet)
    return target
