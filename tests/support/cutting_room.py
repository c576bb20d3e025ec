"""How tests cut films: painted film in, clips and what is in them out."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
from painted import read_index

from finecut.io.media.codecs import Encoding
from finecut.io.media.cutting import CutClip, Recipe, cut
from finecut.io.media.source import probe
from finecut.io.media.testfilm.paint import Painting
from finecut.io.records import PlannedClip, Source, Span, Video

#: Fast, and good enough for the pattern to be read.
QUICK = Encoding(preset="ultrafast")


def video_of(painting: Painting) -> Video:
    path = str(painting.path)
    return probe(path, Source(path, path, Path(path).name), Path(path).stat().st_size)


def planned_at(*spans: tuple[float, float]) -> list[PlannedClip]:
    return [PlannedClip(f"shot{i}", i, Span(*span)) for i, span in enumerate(spans)]


def clips_of(
    painting: Painting, folder: Path, *spans: tuple[float, float], encoding: Encoding = QUICK
) -> dict[tuple[float, float], CutClip]:
    folder.mkdir(exist_ok=True)
    done = cut(str(painting.path), video_of(painting), planned_at(*spans), Recipe(folder, encoding))
    return {(result.planned.span.start, result.planned.span.end): result for result in done}


def frames_of(path: Path | None) -> Iterator[av.VideoFrame]:
    assert path is not None
    with av.open(str(path)) as container:
        yield from container.decode(video=0)


def indices_and_times(path: Path | None) -> tuple[list[int], list[Fraction]]:
    indices, times = [], []
    for frame in frames_of(path):
        assert frame.pts is not None
        assert frame.time_base is not None
        indices.append(read_index(frame))
        times.append(frame.pts * frame.time_base)
    return indices, times


def remux(
    source: str, target: Path, pictures_until: float = 99, title: str = "", order: int = 1
) -> None:
    """The same packets in another file: fewer pictures, a title, or its tracks reversed."""
    with (
        av.open(source) as film,
        av.open(str(target), "w", metadata_errors="surrogateescape") as copy,
    ):
        copy.metadata["title"] = title
        streams = {s.index: copy.add_stream_from_template(s) for s in list(film.streams)[::order]}
        for packet in film.demux():
            time = (packet.pts or 0) * packet.time_base
            if packet.size and (packet.stream.type != "video" or time < pictures_until):
                packet.stream = streams[packet.stream_index]
                copy.mux(packet)


def freeze(source: str, target: Path, frames: int, rate: int = 30) -> None:
    """The film, and then its last picture again and again for so many frames.

    (A painted film never stands still: every frame carries its number.)
    """
    with av.open(source) as film, av.open(str(target), "w") as copy:
        out = copy.add_stream("libx264", rate=rate, options={"crf": "18"})
        assert isinstance(out, av.VideoStream)
        pictures = list(film.decode(video=0))
        out.width, out.height, out.pix_fmt = pictures[0].width, pictures[0].height, "yuv420p"
        for number in range(len(pictures) + frames):
            picture = pictures[min(number, len(pictures) - 1)]
            picture.pts, picture.time_base, picture.pict_type = number, Fraction(1, rate), 0
            copy.mux(out.encode(picture))
        copy.mux(out.encode(None))


def turned_over(source: str, target: Path) -> None:
    """The film with a display matrix that shows it upside down (written into the file's bytes)."""
    data = bytearray(Path(source).read_bytes())
    plain = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    header = data.index(b"tkhd")
    place = data.index(plain, header)
    data[place : place + len(plain)] = struct.pack(
        ">9i", 1 << 16, 0, 0, 0, -(1 << 16), 0, 0, 180 << 16, 1 << 30
    )
    target.write_bytes(data)


def join(sources: Sequence[str], target: Path, rate: int = 30) -> None:
    """The pictures of several films in one file, one after the other, whatever their sizes."""
    with av.open(str(target), "w") as joined:
        stream, number = None, 0
        for source in sources:
            with av.open(source) as film:
                if stream is None:
                    stream = joined.add_stream_from_template(film.streams.video[0])
                for packet in film.demux(video=0):
                    if packet.size:
                        packet.stream = stream
                        packet.time_base = Fraction(1, rate)
                        packet.pts = packet.dts = number
                        number += 1
                        joined.mux(packet)
