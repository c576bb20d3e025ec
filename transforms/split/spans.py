"""Deciding: which spans of a video become clips, and which of them travel together.

    video   0────────────10────────────20──────23.5 s        fixed stride: length 10, minimum 2
    shots   [─────0──────)[─────1──────)[──2────)
    reels   └────── chunk 0: until 256 s are reached ──────┘└─ chunk 1 …

Spans come from a fixed stride (here), from a detector that watches the film (``detect``) or from a
list somebody made (``given``). Ids, chunk borders and the handling of the last, shorter span are
those of the reference; a ``PlannedChunk`` is the unit of work and the key under which the vectors
of its clips are written.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from finecut.io.layout import chunk_id, clip_id
from finecut.io.records import Chunk, Failure, PlannedChunk, PlannedClip, Span, Video
from finecut.transforms.beam.evidence import of_video
from finecut.transforms.beam.guard import FAILURES, guarded
from finecut.transforms.beam.metrics import LOG, count, metered
from finecut.transforms.split.scenes import Piece

#: What is done when it is known what a video becomes, before anything of it is made.
Opening = Callable[[Sequence[PlannedChunk]], list[PlannedChunk]]


class Cutter(Protocol):
    """Decides where a video is cut."""

    def prepare(self) -> None:
        """Load what is needed for it, or raise."""

    def pieces(self, video: Video) -> Iterable[Piece]:
        """The pieces of this video, in order."""


@dataclass(frozen=True)
class FixedStride:
    """Clips of one length at regular distances."""

    length: float = 10.0
    stride: float = 10.0
    least: float = 2.0

    def prepare(self) -> None:
        """Nothing has to be loaded."""

    def pieces(self, video: Video) -> Iterator[Piece]:
        rate = video.framerate
        for span in fixed_stride_spans(
            video.num_frames, rate, length=self.length, stride=self.stride, least=self.least
        ):
            yield Piece(int(span.start * rate), int(span.end * rate), span)


USUAL_CUTTER = FixedStride()


@dataclass(frozen=True)
class Splitting:
    """Where videos are cut, and how much of one travels together."""

    cutter: Cutter = USUAL_CUTTER
    #: Most clips of each video; 0 means all.
    limit: int = 0
    chunk_seconds: int = 256


def fixed_stride_spans(
    num_frames: int, framerate: float, length: float, stride: float, least: float
) -> Iterator[Span]:
    """Spans of ``length`` every ``stride`` seconds; a shorter one at the end if it has ``least``.

    >>> [tuple(vars(s).values()) for s in fixed_stride_spans(705, 30.0, 10.0, 10.0, 2.0)]
    [(0.0, 10.0), (10.0, 20.0), (20.0, 23.5)]
    """
    duration = num_frames / framerate if framerate > 0 else -1.0
    start = 0.0
    while start < duration:
        end = min(start + length, duration)
        if end - start >= least:
            yield Span(start, end)
        # Added up, not multiplied: ids of long videos depend on these very floats.
        start += stride


def planned_clips(video: Video, pieces: Iterable[Piece], limit: int = 0) -> list[PlannedClip]:
    """The planned clips of a video. Pieces that begin and end with the same frames are one."""
    clips: dict[str, PlannedClip] = {}
    for piece in pieces:
        if limit and len(clips) == limit:
            break
        identifier = clip_id(video.name, piece.first, piece.end)
        clips.setdefault(identifier, PlannedClip(identifier, len(clips), piece.span))
    return list(clips.values())


def chunked(clips: Sequence[PlannedClip], seconds: int) -> list[list[PlannedClip]]:
    """Consecutive clips; a chunk closes when the whole seconds of its clips reach ``seconds``."""
    chunks: list[list[PlannedClip]] = []
    filled = seconds
    for clip in clips:
        if filled >= seconds:
            chunks.append([])
            filled = 0
        chunks[-1].append(clip)
        filled += int(clip.span.length)
    return chunks


def chunks_of(video: Video, splitting: Splitting) -> list[PlannedChunk]:
    """The chunks of a video; one without planned clips when nothing of it becomes a clip."""
    clips = planned_clips(video, splitting.cutter.pieces(video), splitting.limit)
    chunks = chunked(clips, splitting.chunk_seconds)
    return [
        PlannedChunk(
            video,
            Chunk(
                id=chunk_id(video.name, index),
                index=index,
                num_clips=len(chunk),
                num_chunks=len(chunks),
                num_total_clips=len(clips),
            ),
            tuple(chunk),
        )
        for index, chunk in enumerate(chunks or [[]])
    ]


def _all(video: Video, splitting: Splitting, opening: Opening | None) -> Iterator[PlannedChunk]:
    """As an iterator, so that the time it takes is counted."""
    chunks = chunks_of(video, splitting)
    yield from chunks if opening is None else opening(chunks)


class SplitVideos(beam.PTransform[beam.PCollection[Video], Any]):
    """Video → its ``reels``; a video that could not be watched → ``failures``."""

    def __init__(self, splitting: Splitting, opening: Opening | None = None) -> None:
        super().__init__()
        self.splitting, self.opening = splitting, opening

    def expand(self, videos: beam.PCollection[Video]) -> Any:
        return videos | "Plan reels" >> beam.ParDo(
            _PlanReels(self.splitting, self.opening)
        ).with_outputs(FAILURES, main="reels")


class _PlanReels(beam.DoFn):
    def __init__(self, splitting: Splitting, opening: Opening | None) -> None:
        super().__init__()
        self.splitting, self.opening = splitting, opening

    def setup(self) -> None:
        self.splitting.cutter.prepare()

    def process(
        self, video: Video
    ) -> Iterable[PlannedChunk | TaggedOutput[Literal["failures"], Failure]]:
        # All or nothing: chunks of a video that breaks later would wait for the others for ever.
        work = guarded(
            "split",
            video.source,
            lambda: metered("split", _all(video, self.splitting, self.opening)),
        )
        for planned in list(work):
            if isinstance(planned, Failure):
                count("videos not split")
                yield TaggedOutput(FAILURES, of_video(planned, video))
                continue
            count("shots planned", len(planned.clips))
            count(
                "milliseconds planned", int(1000 * sum(clip.span.length for clip in planned.clips))
            )
            yield planned
        LOG.info("split %s", video.name)
