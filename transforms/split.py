"""Deciding: which spans of a video become clips, and which of them travel together.

    video   0────────────10────────────20──────23.5 s        clip length 10, stride 10, minimum 2
    shots   [─────0──────)[─────1──────)[──2────)
    reels   └────── chunk 0: until 256 s are reached ──────┘└─ chunk 1 …

Ids, chunk borders and the handling of the last, shorter span are those of the reference; a
``Reel`` is the unit of work and the key under which the vectors of its clips are written.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import apache_beam as beam

from finecut.io.layout import chunk_id, clip_id
from finecut.io.records import Chunk, Reel, Shot, Span, Video
from finecut.transforms.tally import count


@dataclass(frozen=True)
class FixedStride:
    """Clips of one length at regular distances."""

    length: float = 10.0
    stride: float = 10.0
    least: float = 2.0
    #: At most so many clips of each video; 0 means all.
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


def shots_of(video: Video, spans: Iterable[Span], limit: int = 0) -> list[Shot]:
    """The shots of a video. Spans that begin and end with the same frames are one shot."""
    shots: dict[str, Shot] = {}
    for span in spans:
        if limit and len(shots) == limit:
            break
        events = (int(span.start * video.framerate), int(span.end * video.framerate))
        identifier = clip_id(video.name, *events)
        shots.setdefault(identifier, Shot(identifier, len(shots), span))
    return list(shots.values())


def chunked(shots: Sequence[Shot], seconds: int) -> list[list[Shot]]:
    """Consecutive shots; a chunk closes when the whole seconds of its shots reach ``seconds``."""
    chunks: list[list[Shot]] = []
    filled = seconds
    for shot in shots:
        if filled >= seconds:
            chunks.append([])
            filled = 0
        chunks[-1].append(shot)
        filled += int(shot.span.length)
    return chunks


def reels_of(video: Video, plan: FixedStride) -> list[Reel]:
    """The reels of a video; one without shots when the video is too short for a clip."""
    spans = fixed_stride_spans(
        video.num_frames, video.framerate, plan.length, plan.stride, plan.least
    )
    shots = shots_of(video, spans, plan.limit)
    chunks = chunked(shots, plan.chunk_seconds)
    return [
        Reel(
            video,
            Chunk(
                id=chunk_id(video.name, index),
                index=index,
                num_shots=len(chunk),
                num_chunks=len(chunks),
                num_total_shots=len(shots),
            ),
            tuple(chunk),
        )
        for index, chunk in enumerate(chunks or [[]])
    ]


class SplitVideos(beam.PTransform[beam.PCollection[Video], beam.PCollection[Reel]]):
    """Video → its Reels."""

    def __init__(self, plan: FixedStride) -> None:
        super().__init__()
        self.plan = plan

    def expand(self, videos: beam.PCollection[Video]) -> beam.PCollection[Reel]:
        return videos | "Plan reels" >> beam.ParDo(_PlanReels(self.plan))


class _PlanReels(beam.DoFn):
    def __init__(self, plan: FixedStride) -> None:
        super().__init__()
        self.plan = plan

    def process(self, video: Video) -> Iterable[Reel]:
        for reel in reels_of(video, self.plan):
            count("shots planned", len(reel.shots))
            count("milliseconds planned", int(1000 * sum(shot.span.length for shot in reel.shots)))
            yield reel
