"""Adding up: what a run did, exactly once however often a bundle was retried."""

import dataclasses
import functools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam

from finecut.io.records import Failure, PlannedChunk, Skipped, Source
from finecut.io.summary import Summary
from finecut.transforms.write.close import ChunkClosed, VideoClosed
from finecut.transforms.write.secrets import told

Event = Source | Skipped | PlannedChunk | ChunkClosed | VideoClosed | Failure

#: Failures a summary names one by one; all of them are counted, and listed in the failures file.
NAMED_FAILURES = 20


@dataclass
class Books:
    """The accumulator: plain sums, and the sets that count a thing once that broke twice."""

    summary: Summary = field(default_factory=Summary)
    #: Why each failed first, by step and exception.
    failed_videos: dict[str, str] = field(default_factory=dict)
    set_aside: set[str] = field(default_factory=set)
    lost_shots: set[str] = field(default_factory=set)
    #: The first few by name; all are counted.
    failures: list[Failure] = field(default_factory=list)
    num_failures: int = 0

    def enter(self, other: "Books") -> "Books":
        """Itself, with what others say."""
        self.summary += other.summary
        for name, why in other.failed_videos.items():
            self.failed_videos[name] = min(why, self.failed_videos.get(name, why))
        self.set_aside |= other.set_aside
        self.lost_shots |= other.lost_shots
        self.failures = sorted(
            [*self.failures, *other.failures], key=lambda f: (f.source.name, f.step, f.lost_shots)
        )[:NAMED_FAILURES]
        self.num_failures += other.num_failures
        return self


def books_of(event: Event) -> Books:
    """What one event says."""
    if isinstance(event, Failure):
        name = event.source.name
        return Books(
            failed_videos={name: f"{event.step}: {event.error}"},
            set_aside={name} if event.set_aside else set(),
            lost_shots={*event.lost_shots},
            failures=[told(event)],
            num_failures=1,
        )
    return Books(_summary_of(event))


def _summary_of(event: Source | Skipped | PlannedChunk | ChunkClosed | VideoClosed) -> Summary:
    if isinstance(event, Source):
        return Summary(videos_found=1)
    if isinstance(event, Skipped):
        return Summary(
            videos_skipped=1,
            videos_retold=int(event.retold),
            videos_forgotten=int(event.forgotten),
            seconds_skipped=event.seconds,
        )
    if isinstance(event, VideoClosed):
        return Summary(videos_done=1) if event.num_clips else Summary(videos_empty=1)
    if isinstance(event, PlannedChunk):
        # One of them tells of the video: its first, or of a video that is gone on with the first
        # that is left.
        tells = event.num_done > 0 if event.chunk.num_done else event.chunk.index == 0
        return Summary(
            shots_planned=len(event.clips),
            shots_resumed=event.num_done,
            seconds_found=event.video.duration if tells else 0.0,
            seconds_planned=sum(clip.span.length for clip in event.clips),
        )
    return event.summary


_Collections = Iterable[beam.PCollection[Any]]


class Summarise(beam.PTransform[_Collections, beam.PCollection[Summary]]):
    """All events of a run → one :class:`Summary`."""

    def expand(self, events: "_Collections") -> beam.PCollection[Summary]:
        return (
            tuple(events)
            | "Events" >> beam.Flatten()
            | "Add up" >> beam.CombineGlobally(SummariseFn())
        )


class SummariseFn(beam.CombineFn):
    """Keeps the books."""

    def create_accumulator(self) -> Books:
        return Books()

    def add_input(self, books: Books, event: Event) -> Books:
        """Enter one event into the books."""
        return books.enter(books_of(event))

    def merge_accumulators(self, many: Iterable[Books]) -> Books:
        """One set of books for what several workers entered."""
        return functools.reduce(Books.enter, many, Books())

    def extract_output(self, books: Books) -> Summary:
        """The summary of the run."""
        return dataclasses.replace(
            books.summary,
            videos_failed=len(books.failed_videos),
            videos_set_aside=len(books.set_aside),
            failed_by=dict(sorted(Counter(books.failed_videos.values()).items())),
            shots_failed=len(books.lost_shots),
            num_failures=books.num_failures,
            failures=tuple(books.failures),
        )
