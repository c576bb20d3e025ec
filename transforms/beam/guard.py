"""The one place that catches everything: an accident becomes a Failure and costs only itself.

What is no accident but weather (:mod:`weather`) is passed on to the engine, if the run says so.

A step that touches files or pixels wraps its work in :func:`guarded`. What went well comes out as
it is, the accident as a ``Failure``; the rest of the run goes on. Evidence is what a failure says
about its film, for whoever has to repair it::

    film: 1,234,567 bytes, begins as Matroska or WebM
    probed: h264, yuv420p, 640 by 360 pixels, 25 frames a second, 12.04 s, 301 frames, sound in aac
    lost: 2 clips, from 4 s to 8 s (frames 100 to 199)
    decoder: InvalidDataError: Invalid data found when processing input

Where in our own code it happened is logged, and shown with ``--verbose`` only.
"""

import logging
import string
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from finecut.io.records import Failure, PlannedClip, Source, Video
from finecut.io.storage import files as shelf
from finecut.io.storage.retry import OUTLASTED
from finecut.io.wording import count_of
from finecut.transforms.beam.weather import FAIR, ForTheEngine, Weather, at_work
from finecut.transforms.write.secrets import redacted

T = TypeVar("T")

#: Tag of the dead-letter output that every guarded step has.
FAILURES: Final = "failures"
#: Tag of what steps say of lost clips in a stream, to those who would wait for them.
LOST: Final = "lost"

#: Where in our code it broke; shown with ``--verbose``.
LOG: Final = logging.getLogger("finecut")


def told(stack: str) -> None:
    """Log it; shown with ``--verbose``."""
    LOG.info("%s", stack)


class ChildFailure(Exception):
    """What another process's guard caught, on its way to a guard here."""

    def __init__(self, failure: Failure, outlasted: bool = False) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.__dict__[OUTLASTED] = outlasted


def guarded(
    step: str,
    source: Source,
    work: Callable[[], Iterable[T]],
    lost: Callable[[], Iterable[str]] = tuple,
    *,
    tell: Callable[[str], None] = told,
    weather: Weather = FAIR,
) -> Iterator[T | Failure]:
    """Everything ``work`` yields, then a Failure if it broke; ``lost`` names the clips it cost.

    ``tell`` gets the stack.
    """
    try:
        yield from work()
    except ForTheEngine:
        raise
    except Exception as error:
        weather.pass_on(error, at_work(step, source))
        if not isinstance(error, ChildFailure):
            stack = "".join(traceback.format_exception(error))
            tell(redacted(f"{step} failed for {source.name}:\n{stack}"))
        yield failure(step, source, error, lost())


def attempted(work: Callable[[], T]) -> T | Exception:
    """What ``work`` gives, or the exception that it raised: for callers with another way to try."""
    try:
        return work()
    except Exception as error:
        return error


def failure(step: str, source: Source, error: BaseException, lost: Iterable[str] = ()) -> Failure:
    """The record of this accident."""
    if isinstance(error, ChildFailure):
        return replace(error.failure, lost_shots=tuple(lost))
    return Failure(
        step=step,
        source=source,
        error=type(error).__name__,
        message=redacted(str(error) or repr(error)),
        evidence=redacted("\n".join(causes(error))),
        lost_shots=tuple(lost),
        attempts=source.attempts + 1,
    )


# ── evidence ─────────────────────────────────────────────────────────────────────────────────────

#: How much of a file is looked at to say what it is.
HEAD: Final = 512
#: Bytes that are shown of a file that begins as nothing known.
SHOWN: Final = 8
#: Causes that are followed, each of which led to the next.
MOST_CAUSES: Final = 4
#: Modules whose exceptions are words of FFmpeg.
DECODERS: Final = ("av.",)
#: How files begin: the place, the bytes, and what that is.
BEGINNINGS: Final = (
    (4, b"ftyp", "MP4 or QuickTime"),
    (4, b"moov", "QuickTime"),
    (4, b"mdat", "MP4 or QuickTime, its index last"),
    (4, b"wide", "QuickTime"),
    (0, b"\x1aE\xdf\xa3", "Matroska or WebM"),
    (8, b"AVI ", "AVI"),
    (8, b"WAVE", "WAV, which is sound alone"),
    (0, b"FLV", "FLV"),
    (0, b"OggS", "Ogg"),
    (0, b"\x00\x00\x01\xba", "MPEG"),
    (0, b"\x00\x00\x00\x01", "H.264 or HEVC without a container"),
    (0, b"\xff\xd8\xff", "JPEG, a picture"),
    (0, b"\x89PNG", "PNG, a picture"),
    (0, b"GIF8", "GIF, a picture"),
    (0, b"PK\x03\x04", "ZIP"),
    (0, b"%PDF", "PDF"),
    (0, b"#EXTM3U", "an HLS playlist"),
)
MPEG_TS: Final = 188


def causes(error: BaseException) -> Iterator[str]:
    """What led to it, in the words of who said so: decoders, systems and stores."""
    seen, cause = 0, error.__cause__ or error.__context__
    while cause is not None and seen < MOST_CAUSES:
        kind = type(cause)
        who = "decoder" if f"{kind.__module__}.".startswith(DECODERS) else "because"
        # Of an error that was not put into a sentence, the words that stand behind its number.
        said = getattr(cause, "strerror", None) or str(cause)
        yield f"{who}: {kind.__name__}: {said}".rstrip(": ")
        seen, cause = seen + 1, cause.__cause__ or cause.__context__


def file_facts(source: Source) -> str:
    """How large the file is, and what it begins as."""
    try:
        if not shelf.is_file(source.uri):  # a pipe would wait for ever
            return ""
        size, head = shelf.beginning_of(source.uri, HEAD)
    except (OSError, ValueError) as error:
        return f"video: cannot be read ({getattr(error, 'strerror', None) or error})"
    return f"video: {size:,} bytes, {beginning(head)}"


def beginning(head: bytes) -> str:
    r"""What a file is that begins like this.

    >>> beginning(b"\x00\x00\x00\x18ftypisom")
    'begins like MP4 or QuickTime'
    >>> beginning(b"just words")
    'begins like text'
    """
    if not head:
        return "empty"
    for place, sign, what in BEGINNINGS:
        if head[place : place + len(sign)] == sign:
            return f"begins like {what}"
    if head[0] == 0x47 and head[MPEG_TS : MPEG_TS + 1] == b"G":
        return "begins like MPEG-TS"
    if not head.strip(b"\0"):
        return "begins with zeros"
    printable = string.printable.encode()
    if all(byte in printable for byte in head):
        return "begins like text"
    return f"begins with {head[:SHOWN].hex(' ')}, which no known video container does"


def probed_facts(video: Video) -> str:
    """What a film is, as its probe saw it."""
    sound = f"sound in {video.audio_codec}" if video.audio_codec else "no sound"
    return (
        f"probed: {video.video_codec}, {video.pixel_format}, {video.width} by {video.height} "
        f"pixels, {video.framerate:.6g} frames a second, {video.duration:.6g} s, "
        f"{video.num_frames} frames, {sound}"
    )


def lost_facts(video: Video, clips: Sequence[PlannedClip]) -> str:
    """Which part of the film was lost."""
    if not clips:
        return ""
    start = min(clip.span.start for clip in clips)
    end = max(clip.span.end for clip in clips)
    how_many = count_of(len(clips), "clip")
    first, last = (round(time * video.framerate) for time in (start, end))
    frames = f" (frames {first} to {max(first, last - 1)})" if video.framerate > 0 else ""
    return f"lost: {how_many}, from {start:.6g} s to {end:.6g} s{frames}"


def with_evidence(failure: Failure, facts: Iterable[str]) -> Failure:
    """The failure, its evidence beginning with these facts."""
    return replace(failure, evidence=redacted("\n".join(filter(None, (*facts, failure.evidence)))))


def of_source(failure: Failure) -> Failure:
    """A failure of a file that nobody could probe, with what can be said of it."""
    return with_evidence(failure, [file_facts(failure.source)])


def of_video(failure: Failure, video: Video, lost: Sequence[PlannedClip] = ()) -> Failure:
    """A failure of a film that was probed, with what is known of it and which part is lost."""
    facts = [file_facts(video.source), probed_facts(video), lost_facts(video, lost)]
    return with_evidence(with_spans(failure, lost), facts)


def with_spans(failure: Failure, lost: Iterable[PlannedClip]) -> Failure:
    """The failure with the spans of the clips that it cost."""
    spans = {clip.id: clip.span for clip in lost}
    if not spans.keys() >= {*failure.lost_shots}:
        return failure
    return replace(failure, lost_spans=tuple(spans[id] for id in failure.lost_shots))
