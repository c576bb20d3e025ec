"""Dealing: which worker of a local run does what, so that all are busy until the end.

    reels      ████████████  ██████████  ██ ██ █
    parts      ███ ███ ███ ███  ███ ███ ███  ██ ██ █
    dealt      1   2   2   1    1   2   2    1  1  2      to two workers, in turn

A chunk of a short video is cut in parts, each with some of its planned clips, because one video
alone would leave all workers but one idle. A long video has chunks enough. Where it is divided
depends on nothing but the video, and clips keep their names and chunks.

A cluster hands out work as workers become free. The local runner deals it once, in turn: a row of
pieces, one to each worker, and the next row. So there the longest is dealt first, and of each row
the longest to the worker with the least so far.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby
from operator import itemgetter
from typing import Any, TypeVar

import apache_beam as beam

from finecut.io.media.remux.copying import COPY
from finecut.io.records import PlannedChunk, PlannedClip, Segment
from finecut.transforms.amount import pixels_of, work_of

Work = TypeVar("Work", PlannedChunk, Segment)
#: Puts things in the order in which they are dealt to this many workers.
Deal = Callable[[Iterable[Work], int], list[Work]]

#: A part has at least this many seconds, and at least this share of the whole film. Each costs
#: opening the video, and decoding from a key frame to its first clip: of 32 s, one in a hundred.
PART_SECONDS, PART_OF_FILM = 32.0, 1 / 16


@dataclass(eq=False, repr=False)
class ShareOut(beam.PTransform[beam.PCollection[Work], beam.PCollection[Work]]):
    """Chunks (or segments of videos), dealt to ``workers`` workers; 0 leaves it to a cluster."""

    deal: Deal[Work]
    workers: int

    def expand(self, things: beam.PCollection[Work]) -> beam.PCollection[Work]:
        deal, workers = self.deal, self.workers
        kind: Any = things.element_type
        if workers:
            things = (
                things
                | "All" >> beam.Map(lambda thing: (0, thing)).with_output_types(tuple[int, kind])
                | "Together" >> beam.GroupByKey()
                | "In order"
                >> beam.FlatMap(lambda group: deal(group[1], workers)).with_output_types(kind)
            )
        return things | "Deal" >> beam.Reshuffle()


def deal_chunks(chunks: Iterable[PlannedChunk], workers: int) -> list[PlannedChunk]:
    """In the order in which they are dealt."""
    return in_rows(sorted(chunks, key=_order), work_of_chunk, workers)


def deal_segments(segments: Iterable[Segment], workers: int) -> list[Segment]:
    """In the order in which they are dealt."""
    ordered = sorted(
        segments, key=lambda each: (-work_of_segment(each), each.video.name, each.start)
    )
    return in_rows(ordered, work_of_segment, workers)


def work_of_chunk(planned: PlannedChunk) -> float:
    """Roughly how much work cutting a chunk is."""
    return work_of(planned.video, seconds_of(planned.clips))


def work_of_segment(segment: Segment) -> float:
    """The same for watching a segment."""
    return segment.video.duration * pixels_of(segment.video) / segment.count


@dataclass(eq=False, repr=False)
class InParts(beam.PTransform[beam.PCollection[PlannedChunk], beam.PCollection[PlannedChunk]]):
    """Chunks → the same clips in smaller chunks. Copying is fast, so it is left as it is."""

    transcode: str

    def expand(self, chunks: beam.PCollection[PlannedChunk]) -> beam.PCollection[PlannedChunk]:
        if self.transcode == COPY:
            return chunks
        return chunks | "Divide" >> beam.FlatMap(parts_of).with_output_types(PlannedChunk)


def parts_of(planned: PlannedChunk) -> list[PlannedChunk]:
    """The chunk in parts of about the same length."""
    part = max(PART_SECONDS, PART_OF_FILM * planned.video.duration)
    number = round(seconds_of(planned.clips) / part)
    if number < 2:
        return [planned]
    return [replace(planned, clips=clips) for clips in divided(planned.clips, number)]


def divided(clips: Sequence[PlannedClip], number: int) -> Iterator[tuple[PlannedClip, ...]]:
    """The planned clips in ``number`` rows (or fewer) of about the same length."""
    each = seconds_of(clips) / number
    ends = accumulate(clip.span.length for clip in clips)
    # A planned clip belongs to the row in which its middle lies.
    rows = [int((end - clip.span.length / 2) / each) for clip, end in zip(clips, ends, strict=True)]
    for _, row in groupby(zip(rows, clips, strict=True), key=itemgetter(0)):
        yield tuple(clip for _, clip in row)


def in_rows(things: list[Work], work: Callable[[Work], float], workers: int) -> list[Work]:
    """The longest of each row to the worker with the least of the rows before.

    >>> in_rows([9, 8, 7, 6, 5], float, 2)
    [9, 8, 6, 7, 5]
    """
    has = [0.0] * workers
    dealt: list[Work] = []
    for at in range(0, len(things), workers):
        row = things[at : at + workers]
        places = sorted(range(len(row)), key=has.__getitem__)
        for place, thing in sorted(zip(places, row, strict=True), key=itemgetter(0)):
            dealt.append(thing)
            has[place] += work(thing)
    return dealt


def seconds_of(clips: Iterable[PlannedClip]) -> float:
    return sum(clip.span.length for clip in clips)


def _order(planned: PlannedChunk) -> tuple[float, str, list[int]]:
    return -work_of_chunk(planned), planned.video.name, [clip.index for clip in planned.clips[:1]]
