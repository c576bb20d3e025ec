"""The plainest program that makes clips: what finecut is measured against where no ffmpeg is.

    plain.py cut SETTINGS FOLDER SECONDS FILM…     decode each film once, encode all its clips
    plain.py clip SETTINGS FILE START END FILM     seek, decode and encode one clip
    plain.py decode FILM…                          decode every picture and do nothing with it

One loop, one encoder at a time, the sound's packets copied, no checks, no documents, no safety.
The settings are JSON: the encoder, its options, its threads and those of the decoder. Nothing of
finecut is imported: what the two share is PyAV.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av


@dataclass(frozen=True)
class Settings:
    encoder: str
    options: dict[str, str]
    threads: int
    decode_threads: int
    suffix: str = ".mp4"


class Clip:
    """One file being written."""

    def __init__(self, path: Path, settings: Settings, start: float, video: Any, sound: Any):
        self.container = av.open(str(path), "w", options={"movflags": "+faststart"})
        self.start = start
        track: Any = self.container.add_stream(
            settings.encoder, rate=video.average_rate, options=settings.options
        )
        self.video = track
        self.video.width, self.video.height = video.width, video.height
        self.video.pix_fmt = "yuv420p"
        # The encoder's own clock, too: frames of a film without a constant rate come as they come.
        self.video.time_base = self.video.codec_context.time_base = video.time_base
        self.video.codec_context.thread_count = settings.threads
        self.video.codec_context.thread_type = "FRAME"  # as ffmpeg has it; PyAV would cut slices
        self.sound = self.container.add_stream_from_template(sound) if sound else None

    def show(self, frame: Any) -> None:
        frame.pts -= round(self.start / frame.time_base)
        frame.pict_type = 0
        if frame.format.name != "yuv420p":
            frame = frame.reformat(format="yuv420p")
        self.container.mux(self.video.encode(frame))

    def hear(self, packet: Any) -> None:
        offset = round(self.start / packet.time_base)
        packet.pts, packet.dts, packet.stream = packet.pts - offset, packet.dts - offset, self.sound
        self.container.mux(packet)

    def close(self) -> None:
        self.container.mux(self.video.encode(None))
        self.container.close()


def cut(settings: Settings, folder: Path, length: float, film: str) -> None:
    """Decode the film once, and encode one clip after the other."""
    folder.mkdir(parents=True, exist_ok=True)
    clip, number, waiting, origin = None, -1, [], None
    with av.open(film) as source:
        video, sound = _streams(source, settings)
        for kind, piece in _pieces(source, video, sound):
            if kind == "sound":
                waiting.append(piece)
                continue
            origin = piece.time if origin is None else origin
            if clip is None or piece.time - origin >= (number + 1) * length:
                number += 1
                if clip:
                    clip.close()
                path = folder / f"{Path(film).stem}-{number:05}{settings.suffix}"
                clip = Clip(path, settings, origin + number * length, video, sound)
            clip.show(piece)
            waiting = _heard(clip, waiting, origin + (number + 1) * length)
    if clip:
        clip.close()


def one(settings: Settings, path: Path, start: float, end: float, film: str) -> None:
    """Seek to the clip, and encode it alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(film) as source:
        video, sound = _streams(source, settings)
        origin = (video.start_time or 0) * video.time_base
        source.seek(int((origin + start) / video.time_base), stream=video)
        clip = Clip(path, settings, float(origin + start), video, sound)
        for kind, piece in _pieces(source, video, sound):
            at = float((piece.time if kind == "picture" else piece.pts * piece.time_base) - origin)
            if start <= at < end:
                (clip.show if kind == "picture" else clip.hear)(piece)
            elif kind == "picture" and at >= end:
                break
        clip.close()


def decode(film: str, threads: int = 1) -> int:
    """Decode every picture; how many there are."""
    with av.open(film) as source:
        source.streams.video[0].codec_context.thread_count = threads
        return sum(1 for _ in source.decode(video=0))


def _streams(source: Any, settings: Settings) -> tuple[Any, Any]:
    video = source.streams.video[0]
    video.thread_type, video.codec_context.thread_count = "AUTO", settings.decode_threads
    # AAC goes into MP4 as it is.
    sound = next((one for one in source.streams.audio if one.codec_context.name == "aac"), None)
    return video, sound


def _pieces(source: Any, video: Any, sound: Any) -> Iterator[tuple[str, Any]]:
    """Pictures, and packets of sound, as they come."""
    for packet in source.demux([video, sound] if sound else [video]):
        if packet.stream is not video:
            if packet.dts is not None:
                yield "sound", packet
            continue
        for frame in packet.decode():
            yield "picture", frame


def _heard(clip: Clip, waiting: list[Any], until: float) -> list[Any]:
    """Hand the clip the sound that is its own; what is left belongs to the next."""
    later = []
    for packet in waiting:
        at = float(packet.pts * packet.time_base)
        if at >= until:
            later.append(packet)
        elif at >= clip.start:
            clip.hear(packet)
    return later


def main(arguments: list[str]) -> None:
    verb, *rest = arguments
    if verb == "decode":
        for film in rest:
            decode(film)
        return
    settings = Settings(**json.loads(rest[0]))
    if verb == "cut":
        for film in rest[3:]:
            cut(settings, Path(rest[1]), float(rest[2]), film)
    else:
        one(settings, Path(rest[1]), float(rest[2]), float(rest[3]), rest[4])


if __name__ == "__main__":
    main(sys.argv[1:])
