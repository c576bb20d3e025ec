"""Opening and probing: what a file is, without reading more of it than needed.

Only real container formats are opened. FFmpeg would happily treat a text file called ``x.mp4`` as
a playlist and open other files it names; the whitelists below stop that before it starts. They also
keep FFmpeg from looking into subtitles, data and attachments, and from making pictures larger than
the limits say (it decodes while it opens, so a bomb would go off before anybody had asked for it).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from functools import cache
from typing import Any, BinaryIO, Final

import av
from av.stream import Discard, Disposition, Stream

from finecut.io.media.clock import Clock, Times, pace_of
from finecut.io.media.codecs import NVDEC, SOFTWARE, DecoderMissing, hardware
from finecut.io.media.containers import descriptions, is_locked
from finecut.io.media.frame_view import refuse_matrix
from finecut.io.media.limits import USUAL_LIMITS, FilmError, Limits
from finecut.io.process.child import beat
from finecut.io.records import Source, Video

FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg"

#: What the reference assumes when the stream does not say (usual for Matroska).
UNKNOWN_BIT_RATE_K = 2000

#: Frames decoded ahead in parallel. More threads gain nothing once encoding is the limit, and each
#: one holds a frame.
DECODE_THREADS = 2


#: What decoders say of data that is damaged, or that only damage could make.
DAMAGED = (
    av.error.InvalidDataError,
    av.error.PatchWelcomeError,
    av.error.ArgumentError,
    av.error.ExternalError,
    av.error.UnknownError,
    av.error.BugError,
)


#: What the container adds to a packet whose bytes are locked.
ENCRYPTED: Final = "encryption_info"


#: Where FFmpeg says with which key a track of Matroska is encrypted.
MATROSKA_KEY = "enc_key_id"


#: What a GPU says of itself, and not of what it was given.
NOT_THE_DATA = (av.error.ExternalError, av.error.UnknownError)


@contextmanager
def open_film(
    source: str | BinaryIO,
    limits: Limits = USUAL_LIMITS,
    own: bool = False,
    decoder: str = SOFTWARE,
) -> Iterator[av.container.InputContainer]:
    """The opened container; FFmpeg's errors come out as sentences.

    FFmpeg decodes a picture of H.264 only to see what the header says already, which is most of
    the cost of opening it. In a clip of our ``own`` it believes the header, until it has to decode.
    """
    try:
        container = av.open(
            # Whatever its name looks like, it is a file: not concat:, not pipe:, not http:.
            f"file:{source}" if isinstance(source, str) else source,
            mode="r",
            options={
                "format_whitelist": FORMATS,
                # Nothing else is opened, not even a file, when it is read through Python.
                "protocol_whitelist": "file" if isinstance(source, str) else "none",
                "codec_whitelist": _decoders("h264" if own else None),
                # A QuickTime track may lie in another file; it is never followed there.
                "enable_drefs": "0",
                "max_pixels": str(limits.decoder_pixels),
                # One more, so that those which drop what is too much are caught, too.
                "max_streams": str(limits.streams + 1),
            },
            metadata_errors="replace",  # titles are in any encoding, and nobody reads them here
            hwaccel=hardware(decoder),
        )
    except av.error.FFmpegError as error:
        if isinstance(error, av.error.MemoryError):
            # FFmpeg does not say which of the two it was.
            raise FilmError(
                f"the file has more than {limits.streams} tracks, or asks for more memory than "
                "there is. Usually its header is damaged, or it was made to exhaust memory; copy "
                "the tracks that matter into a new file, or raise --max-streams."
            ) from error
        raise FilmError(
            f"it could not be opened as a video container ({error.strerror}). The file is empty, "
            "cut off before its index, encrypted, or not a video at all. Try to play it, and "
            "copy or export it again."
        ) from error
    with container:
        try:
            if len(container.streams) > limits.streams:
                raise FilmError(
                    f"the file has {len(container.streams)} tracks or more, and {limits.streams} "
                    "are the limit. Usually its header is damaged, or it was made to exhaust "
                    "memory; copy the tracks that matter into a new file, or raise --max-streams."
                )
            for stream in container.streams.video:
                if has_decoder(stream):
                    stream.codec_context.options = {"max_pixels": str(limits.decoder_pixels)}
            yield container
        except av.error.MemoryError:
            raise  # not the file's fault alone: whoever limited the memory explains it
        except av.error.FFmpegError as error:
            raise FilmError(
                f"FFmpeg gave up on it ({error.strerror}). Usually its codec is unknown here, or "
                "the file is damaged. Re-encode it with a common codec."
            ) from error


@cache
def _decoders(without: str | None) -> str:
    """The names of all decoders of pictures and sound but one; subtitles are left alone."""
    names = []
    for name in sorted(av.codecs_available):
        with suppress(ValueError):  # it only encodes
            if name != without and av.Codec(name, "r").type in ("video", "audio"):
                names.append(name)
    return ",".join(names)


def video_stream(container: av.container.InputContainer) -> av.VideoStream:
    """The first moving picture: a cover image is a video stream too, but not a film."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    raise FilmError(
        "the file has no video track: it has only sound, or its only picture is a cover image. "
        "Leave it out of the input."
    )


def track_of(container: av.container.InputContainer, video: Video) -> av.VideoStream:
    """The moving picture of a film that was probed."""
    stream = container.streams[video.stream_index]
    assert isinstance(stream, av.VideoStream)
    return stream


def has_decoder(stream: Stream) -> bool:
    """Whether FFmpeg knows how to decode it; PyAV gives it no context otherwise."""
    context: Any = stream.codec_context
    return context is not None


def ignore_other_streams(container: av.container.InputContainer, wanted: set[int]) -> None:
    """Tell the demuxer not even to read subtitles, data, further tracks and attachments."""
    for stream in container.streams:
        if stream.index not in wanted:
            stream.discard = Discard.all


def probe(file: str | BinaryIO, source: Source, size: int, limits: Limits = USUAL_LIMITS) -> Video:
    """The record of this file, after its first frame has really been decoded."""
    described = descriptions(file)
    with open_film(file, limits) as container:
        stream = video_stream(container)
        if is_locked(described, stream.id) or MATROSKA_KEY in stream.metadata:
            # Decoders make something of it all the same, which nobody should take for the film.
            raise FilmError(
                "its video is encrypted, and finecut has no keys. Usually it was downloaded from a "
                "service with copy protection. Get an unencrypted copy, or leave it out of the "
                "input."
            )
        if not has_decoder(stream):
            raise FilmError(
                "its video codec is unknown here. Usually the file is encrypted, damaged or in a "
                "rare format. Re-encode it with a common codec."
            )
        ignore_other_streams(container, {stream.index})
        limits.refuse_pixels(stream.codec_context.width, stream.codec_context.height)
        rate = stream.average_rate or stream.base_rate
        if not rate:
            raise FilmError(
                "the video track has no frame rate, so it cannot be divided into spans. Usually "
                "the file contains one picture, or the recording was cut off. Remux it with a "
                "constant rate."
            )
        framerate = rate.numerator / rate.denominator
        if not _counts_from_zero(container):
            _check_length(_duration(container, stream, 0), framerate, size, limits)
        times, feed = Times(container, stream, limits), packets(container, stream)
        first_pts, pixel_format = _first_frame(container, times.noted(feed), limits)
        duration = _duration(container, stream, first_pts)
        # One of the rates that FFmpeg found may be far too high.
        slowest = min(rate for rate in (stream.average_rate, stream.base_rate) if rate)
        _check_length(duration, float(slowest), size, limits)
        # Truncated as the reference does: the ids of the last clips depend on it.
        paced = pace_of(file, times, feed, first_pts, seconds=duration)
        framerate, counted, uneven = paced or (framerate, None, False)
        sound = next(iter(container.streams.audio), None)
        return Video(
            source=source,
            size=size,
            stream_index=stream.index,
            width=stream.codec_context.width,
            height=stream.codec_context.height,
            framerate=framerate,
            num_frames=counted or int(duration * framerate),
            duration=duration,
            video_codec=stream.codec_context.codec.canonical_name,
            pixel_format=pixel_format,
            audio_codec=(
                sound.codec_context.codec.canonical_name
                if sound is not None and has_decoder(sound)
                else None
            ),
            bit_rate_k=int((stream.bit_rate or UNKNOWN_BIT_RATE_K * 1024) / 1024),
            first_pts=first_pts,
            uneven=uneven,
        )


@contextmanager
def open_clip(
    file: str | BinaryIO,
    limits: Limits = USUAL_LIMITS,
    threads: int = DECODE_THREADS,
    own: bool = False,
    of: Video | None = None,
) -> Iterator[tuple[av.container.InputContainer, av.VideoStream, Clock]]:
    """The pictures of a clip, or of a video, and their clock; ``own`` as in :func:`open_film`."""
    with open_film(file, limits, own) as container:
        stream = video_stream(container) if of is None else track_of(container, of)
        if not has_decoder(stream):
            raise FilmError("its video codec is unknown here: usually the file is damaged")
        ignore_other_streams(container, {stream.index})
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
        yield container, stream, clock_of(stream, of)


def clock_of(stream: av.VideoStream, video: Video | None, first_pts: int = 0) -> Clock:
    """The time of a video that was probed, or of a clip of ours, whose header says the truth."""
    rate = stream.average_rate
    # All frames lie on one grid; of other files, what a header calls a constant rate may be none.
    even = rate and rate == stream.base_rate and not (video and video.uneven)
    return Clock(
        stream.time_base or Fraction(1),
        video.first_pts if video else first_pts,
        rate if even else None,
    )


def _duration(
    container: av.container.InputContainer, stream: av.VideoStream, first_pts: int
) -> float:
    base = stream.time_base or Fraction(1)
    if stream.duration is not None:
        seconds = stream.duration * base.numerator / base.denominator
    elif container.duration is not None:
        seconds = container.duration / av.time_base
        if _counts_from_zero(container):
            seconds -= max(0.0, float(first_pts * base))
    else:
        raise FilmError(
            "neither the video track nor the container states its duration. Usually a recording "
            "was interrupted. Remux the file so that it gets an index."
        )
    # Six decimals, because that is what the reference reads; the frame count depends on it.
    return float(f"{seconds:.6f}")


def _counts_from_zero(container: av.container.InputContainer) -> bool:
    """Matroska's length counts from 0, also when its first picture is shown later."""
    return container.format.name.startswith("matroska")


def _check_length(seconds: float, framerate: float, size: int, limits: Limits) -> None:
    """A frame takes a byte at the least, so a longer film is a broken header."""
    frames = seconds * framerate
    if frames > size:
        raise FilmError(
            f"the header promises {frames:.0f} frames in {size} bytes, which is impossible. The "
            "header is damaged: remux the file so that its length is measured again."
        )
    if seconds > limits.seconds:
        raise FilmError(
            f"the video is {seconds:,.0f} s long; the limit is {limits.seconds:,.0f} s. Usually "
            "its header is damaged or its timestamps jump. Remux the file so that its length is "
            "measured again, split it, or raise --max-seconds."
        )
    limits.refuse_frames(frames)


def stamp(container: av.container.InputContainer, frame: av.VideoFrame) -> int | None:
    """The tick at which a frame is shown. AVI only has times for decoding, in order of showing."""
    return frame.dts if container.format.name == "avi" else frame.pts


def _first_frame(
    container: av.container.InputContainer, feed: Iterator[av.Packet[Any]], limits: Limits
) -> tuple[int, str]:
    for packet in feed:
        for frame in decode(packet, limits) or ():
            pts = stamp(container, frame)
            if pts is not None:
                refuse_matrix(frame.colorspace)
                return pts, frame.format.name
    raise FilmError(
        "not one frame of the video track could be decoded. Usually the file is damaged from the "
        "start, or its codec is unknown here. Re-encode it."
    )


def packets(container: av.container.InputContainer, *streams: Stream) -> Iterator[av.Packet[Any]]:
    """The packets of these streams, each a sign of life."""
    for packet in container.demux(*streams):
        beat()
        yield packet


def decoded(
    container: av.container.InputContainer, stream: av.VideoStream, limits: Limits = USUAL_LIMITS
) -> Iterator[av.VideoFrame]:
    """All frames of this track that are not damaged."""
    for packet in packets(container, stream):
        yield from decode(packet, limits) or ()


def timed(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    clock: Clock,
    limits: Limits = USUAL_LIMITS,
) -> Iterator[tuple[Fraction, av.VideoFrame]]:
    """The same, each with the time at which it is shown, if it has one."""
    for frame in decoded(container, stream, limits):
        pts = stamp(container, frame)
        if pts is not None:
            yield clock.seconds(pts), frame


def decode(
    packet: av.Packet[av.VideoStream], limits: Limits = USUAL_LIMITS
) -> list[av.VideoFrame] | None:
    """The frames a packet gives, or ``None`` when its data is damaged (players go on there too)."""
    try:
        frames = packet.decode()
    except DAMAGED as error:
        # Decoders take no picture beyond the limit; they keep its size in mind, or none at all.
        context = packet.stream.codec_context
        limits.refuse_pixels(context.width, context.height)
        if context.is_hwaccel and isinstance(error, NOT_THE_DATA):
            raise DecoderMissing.because(
                NVDEC, f"the GPU could not decode a frame ({error})"
            ) from error
        if isinstance(error, av.error.ArgumentError) and not context.width:
            # The decoder refused a picture and kept its size to itself.
            raise FilmError(
                f"a picture of it has more than {limits.pixels:,} pixels, which are the limit, or "
                "a size that no picture has. Usually a header is damaged, or the file was made to "
                "exhaust memory; scale it down, or raise --max-pixels."
            ) from error
        return None
    for frame in frames:
        limits.refuse_pixels(frame.width, frame.height)
    return frames


def decoded_alone(
    context: av.VideoCodecContext, some: Sequence[av.Packet[Any]], limits: Limits
) -> Iterator[av.VideoFrame]:
    """The frames of these packets as if no others followed; damaged ones are left out."""
    delay = context.reorder_depth
    try:
        for packet in some:
            yield from decode(packet, limits) or ()
        if some:
            with suppress(*DAMAGED):
                yield from context.decode(None)
    finally:
        context.flush_buffers()
        # Flushed decoders forget how many pictures wait, and would lose some.
        context.reorder_depth = delay
