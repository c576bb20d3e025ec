"""What is measured: painted films, and real ones where there are any.

    films.py pan FILE SECONDS NUMBER      a 720p film in which everything moves
    films.py small FILE SECONDS RATE      160x90, with few key frames

A film of hours is a short one whose packets are copied one after the other, so it is made quickly.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from finecut.io.media.testfilm.paint import Scene, paint

SUFFIXES = (".mp4", ".mov", ".mkv", ".webm")
#: Frames between key frames of the film that is copied: not a divisor of a clip's length, or no cut
#: would ever lie between two.
PAN_GOP = 61
PAN_RATE = 30


@dataclass(frozen=True)
class Film:
    path: Path
    seconds: float


def pan(path: Path, seconds: int, number: int = 0) -> None:
    """A film in which everything moves, as a camera that pans over rough ground."""
    sign = -1 if number % 2 else 1
    speeds = [sign * speed for speed in (120, -180, 60, -240, 90, 150)]
    paint(
        path,
        width=1280,
        height=720,
        rate=PAN_RATE,
        seconds=seconds,
        # A scene begins with a key frame: never where a clip begins, or smart would have no work.
        cuts=[seconds * n / 6 + 0.37 for n in range(1, 6)],
        scenes=[Scene(n + 6 * number, (90, 40), speeds[n], texture=24) for n in range(6)],
        gop=PAN_GOP,
        sound="aac",
        codec_options={"preset": "medium", "crf": "20"},
    )


def small(path: Path, seconds: int, rate: int) -> None:
    """A film that is decoded and encoded in no time, so that what remains is overhead."""
    paint(path, width=160, height=90, rate=rate, seconds=seconds, gop=20 * rate)


def lengthened(film: Path, target: Path, times: int) -> Path:
    """The film so many times over, by copying its packets."""
    if times == 1:
        shutil.copyfile(film, target)
        return target
    with av.open(str(target), "w") as written:
        offset = 0.0
        tracks: dict[int, Any] = {}
        lasts: dict[int, int] = {}
        for _ in range(times):
            with av.open(str(film)) as source:
                for stream in () if tracks else source.streams:
                    tracks[stream.index] = written.add_stream_from_template(stream)
                for packet in source.demux():
                    _again(packet, offset, tracks, lasts, written)
                offset += seconds_of(source)
    return target


def _again(
    packet: Any, offset: float, tracks: dict[int, Any], lasts: dict[int, int], written: Any
) -> None:
    """Write a packet later; what sound has too much at a seam is left out."""
    if packet.dts is None:
        return
    index, later = packet.stream.index, round(offset / packet.time_base)
    packet.pts, packet.dts = packet.pts + later, packet.dts + later
    if packet.dts > lasts.get(index, packet.dts - 1):
        lasts[index] = packet.dts
        packet.stream = tracks[index]
        written.mux(packet)


def seconds_of(source: Any) -> float:
    """How long the pictures last."""
    video = source.streams.video[0]
    if video.duration:
        return float(video.duration * video.time_base)
    return float((source.duration or 0) / av.time_base)


def films_in(folder: Path) -> list[Film]:
    """The videos of a folder, as finecut finds them."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return [film for film in map(_measured, paths) if film]


def _measured(path: Path) -> Film | None:
    """The film, if ffmpeg, told no more than it has to be, makes the same clips of it as finecut.

    A film that is turned, or whose pixels are not square, has to be scaled; of several tracks each
    may choose another; and one of some seconds is not worth a process.
    """
    try:
        with av.open(str(path)) as source:
            video, frame = source.streams.video[0], next(source.decode(video=0))
            plain = video.sample_aspect_ratio in (None, 0, 1) and len(source.streams.video) == 1
            seconds = seconds_of(source)
    except (av.error.FFmpegError, IndexError, StopIteration):
        return None
    return Film(path, seconds) if plain and not frame.rotation and seconds >= 9 else None


def shared() -> list[Film]:
    """Real films, from ``$FINECUT_SHARED/videos`` or ``shared/videos`` beside the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("FINECUT_SHARED", beside)) / "videos"
    # Those that tests break are in a folder of their own.
    return [film for film in films_in(folder) if film.path.parent == folder]


def copies(film: Path, folder: Path, number: int) -> None:
    """The same film under so many names."""
    folder.mkdir(parents=True)
    for count in range(number):
        shutil.copyfile(film, folder / f"{count:05}{film.suffix}")


def linked(films: Sequence[Film], folder: Path) -> list[Film]:
    """One folder with all of them, as an input."""
    folder.mkdir(parents=True)
    for film in films:
        (folder / film.path.name).symlink_to(film.path.resolve())
    return [Film(folder / film.path.name, film.seconds) for film in films]


PAINTERS: dict[str, Callable[..., None]] = {"pan": pan, "small": small}

if __name__ == "__main__":
    PAINTERS[sys.argv[1]](Path(sys.argv[2]), *map(int, sys.argv[3:]))
