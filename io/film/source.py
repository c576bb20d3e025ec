"""Opening and probing: what a file is, without reading more of it than needed.

Only real container formats are opened. FFmpeg would happily treat a text file called ``x.mp4`` as
a playlist and open other files it names; the whitelist below stops that before it starts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import BinaryIO

import av
from av.container import InputContainer
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from finecut.io.records import Source, Video

FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg"

#: What the reference assumes when the stream does not say (usual for Matroska).
UNKNOWN_BIT_RATE_K = 2000

#: Frames decoded ahead in parallel. More threads gain nothing once encoding is the limit, and each
#: one holds a frame.
DECODE_THREADS = 2


class FilmError(Exception):
    """A file that cannot be cut; the message says what it is and what usually made it so."""


@contextmanager
def open_film(source: str | BinaryIO) -> Iterator[InputContainer]:
    """The opened container; FFmpeg's errors come out as sentences."""
    try:
        container = av.open(
            source,
            mode="r",
            options={"format_whitelist": FORMATS},
            metadata_errors="replace",  # titles are in any encoding, and nobody reads them here
        )
    except av.error.FFmpegError as error:
        raise FilmError(
            f"no video container could be opened ({error.strerror}). The file is empty, cut off "
            "before its index, encrypted, or not a video at all; try to play it, and copy or "
            "export it again."
        ) from error
    with container:
        try:
            yield container
        except av.error.FFmpegError as error:
            raise FilmError(
                f"FFmpeg gave up on it ({error.strerror}). Usually its codec is unknown here, or "
                "the file is damaged; re-encode it with a common codec."
            ) from error


def video_stream(container: InputContainer) -> VideoStream:
    """The first moving picture: a cover image is a video stream too, but not a film."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    raise FilmError(
        "the file has no video track: it is sound only, or its only picture is a cover image. "
        "Leave it out of the input."
    )


def ignore_other_streams(container: InputContainer, wanted: set[int]) -> None:
    """Tell the demuxer not even to read subtitles, data, further tracks and attachments."""
    for stream in container.streams:
        if stream.index not in wanted:
            stream.discard = Discard.all


def probe(file: str | BinaryIO, source: Source, size: int) -> Video:
    """The record of this file, after its first frame has really been decoded."""
    with open_film(file) as container:
        stream = video_stream(container)
        ignore_other_streams(container, {stream.index})
        framerate = _framerate(stream)
        audio = next(iter(container.streams.audio), None)
        first_pts, pixel_format = _first_frame(container, stream)
        duration = _duration(container, stream, first_pts)
        _check_length(duration * framerate, size)
        return Video(
            source=source,
            size=size,
            stream_index=stream.index,
            width=stream.codec_context.width,
            height=stream.codec_context.height,
            framerate=framerate,
            # Truncated as the reference does: the ids of the last clips depend on it.
            num_frames=int(duration * framerate),
            duration=duration,
            video_codec=stream.codec_context.codec.canonical_name,
            pixel_format=pixel_format,
            audio_codec=None if audio is None else audio.codec_context.codec.canonical_name,
            bit_rate_k=int((stream.bit_rate or UNKNOWN_BIT_RATE_K * 1024) / 1024),
            first_pts=first_pts,
        )


def constant_rate(stream: VideoStream) -> Fraction | None:
    """The frame rate when all frames lie on one grid, else ``None`` (variable frame rate)."""
    rate = stream.average_rate
    return rate if rate and rate == stream.base_rate else None


def _framerate(stream: VideoStream) -> float:
    rate = stream.average_rate or stream.base_rate
    if not rate:
        raise FilmError(
            "the video track has no frame rate, so no span of it can be named. Usually the file "
            "holds one picture or was cut off while recording; re-mux it with a constant rate."
        )
    return rate.numerator / rate.denominator


def _duration(container: InputContainer, stream: VideoStream, first_pts: int) -> float:
    base = stream.time_base or Fraction(1)
    if stream.duration is not None:
        seconds = stream.duration * base.numerator / base.denominator
    elif container.duration is not None:
        seconds = container.duration / av.time_base
        if container.format.name.startswith("matroska"):
            # Matroska counts from 0, also when its first picture is shown later.
            seconds -= max(0.0, float(first_pts * base))
    else:
        raise FilmError(
            "neither the video track nor the container says how long it is. Usually a recording "
            "was interrupted; re-mux the file so that it gets an index."
        )
    # Six decimals, because that is what the reference reads; the frame count depends on it.
    return float(f"{seconds:.6f}")


def _check_length(frames: float, size: int) -> None:
    """A frame takes a byte at the least, so a longer film is a broken header."""
    if frames > size:
        raise FilmError(
            f"the header promises {frames:.0f} frames in {size} bytes, which is impossible. It is "
            "damaged; re-mux the file so that its length is measured anew."
        )


def stamp(container: InputContainer, frame: av.VideoFrame) -> int | None:
    """The tick at which a frame is shown. AVI only has times for decoding, in order of showing."""
    return frame.dts if container.format.name == "avi" else frame.pts


def _first_frame(container: InputContainer, stream: VideoStream) -> tuple[int, str]:
    for packet in container.demux(stream):
        for frame in decode(packet) or ():
            pts = stamp(container, frame)
            if pts is not None:
                return pts, frame.format.name
    raise FilmError(
        "not one frame of the video track could be decoded. Usually the file is damaged from its "
        "start or its codec is unknown here; re-encode it."
    )


def decode(packet: av.Packet[VideoStream]) -> list[av.VideoFrame] | None:
    """The frames a packet gives, or ``None`` when its data is damaged (players go on there too)."""
    try:
        return packet.decode()
    except av.error.InvalidDataError:
        return None
