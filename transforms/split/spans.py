"""Deciding: which spans of a video become clips, and which of them travel together.

    video   0────────────10────────────20──────23.5 s        fixed stride: length 10, minimum 2
    shots   [─────0──────)[─────1──────)[──2────)
    reels   └────── chunk 0: until 256 s are reached ──────┘└─ chunk 1 …

Spans come from a fixed stride (here), from a detector that watches the film (``detect``) or from a
list somebody made (``given``). Ids, chunk borders and the handling of the last, shorter span are
those of the reference; a ``Reel`` is the unit of work and the key under which the vectors of its
clips are written.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from finecut.io.layout import chunk_id, clip_id
from finecut.io.records import Chunk, Failure, Reel, Shot, Span, Video
from finecut.transforms.beam.evidence import of_video
from finecut.transforms.beam.guard import FAILURES, guarded
from finecut.transforms.beam.metrics import LOG, count, metered
from finecut.transforms.split.scenes import Piece

#: What is done when it is known what a video becomes, before anything of it is made.
Opening = Callable[[Sequence[Reel]], list[Reel]]


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


def shots_of(video: Video, pieces: Iterable[Piece], limit: int = 0) -> list[Shot]:
    """The shots of a video. Pieces that begin and end with the same frames are one shot."""
    shots: dict[str, Shot] = {}
    for piece in pieces:
        if limit and len(shots) == limit:
            break
        identifier = clip_id(video.name, piece.first, piece.end)
        shots.setdefault(identifier, Shot(identifier, len(shots), piece.span))
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


def reels_of(video: Video, splitting: Splitting) -> list[Reel]:
    """The reels of a video; one without shots when nothing of it becomes a clip."""
    shots = shots_of(video, splitting.cutter.pieces(video), splitting.limit)
    chunks = chunked(shots, splitting.chunk_seconds)
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


def _all(video: Video, splitting: Splitting, opening: Opening | None) -> Iterator[Reel]:
    """As an iterator, so that the time it takes is counted."""
    reels = reels_of(video, splitting)
    yield from reels if opening is None else opening(reels)


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

    def process(self, video: Video) -> Iterable[Reel | TaggedOutput[Literal["failures"], Failure]]:
        # All or nothing: reels of a video that breaks later would wait for the others for ever.
        work = guarded(
            "split",
            video.source,
            lambda: metered("split", _all(video, self.splitting, self.opening)),
        )
        planned = list(work)
        for reel in planned:
            if isinstance(reel, Failure):
                count("videos not split")
                yield TaggedOutput(FAILURES, of_video(reel, video))
                continue
            count("shots planned", len(reel.shots))
            count("milliseconds planned", int(1000 * sum(shot.span.length for shot in reel.shots)))
            yield reel
        LOG.info("split %s", video.name)
