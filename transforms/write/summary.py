"""Adding up: what a run did, exactly once however often a bundle was retried."""

import dataclasses
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam

from finecut.io.records import Failure, PlannedChunk, Skipped, Source, Summary
from finecut.transforms.write.close import ChunkClosed, VideoClosed

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


def _first(failures: list[Failure]) -> list[Failure]:
    return sorted(failures, key=lambda f: (f.source.name, f.step, f.lost_shots))[:NAMED_FAILURES]


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
        now = books.summary
        if isinstance(event, Source):
            books.summary = dataclasses.replace(now, videos_found=now.videos_found + 1)
        elif isinstance(event, Skipped):
            books.summary = dataclasses.replace(
                now,
                videos_skipped=now.videos_skipped + 1,
                seconds_skipped=now.seconds_skipped + event.seconds,
            )
        elif isinstance(event, PlannedChunk):
            seconds = event.video.duration if event.chunk.index == 0 else 0.0
            books.summary = dataclasses.replace(
                now,
                shots_planned=now.shots_planned + len(event.clips),
                seconds_found=now.seconds_found + seconds,
                seconds_planned=now.seconds_planned + sum(clip.span.length for clip in event.clips),
            )
        elif isinstance(event, ChunkClosed):
            books.summary = now + Summary(
                shots_kept=event.num_kept,
                shots_rejected=event.num_rejected,
                rejected_by=event.rejected_by,
                seconds_rejected=event.seconds_rejected,
                models=event.models,
                transcoded=event.transcoded,
                marked=event.marked,
                num_marked=event.num_marked,
                vectors=event.vectors,
                captions=event.captions,
                seconds_cut=event.seconds_cut,
                seconds_kept=event.seconds_kept,
                clip_bytes=event.clip_bytes,
                frames=event.frames,
            )
        elif isinstance(event, VideoClosed):
            done = int(event.num_clips > 0)
            books.summary = dataclasses.replace(
                now, videos_done=now.videos_done + done, videos_empty=now.videos_empty + 1 - done
            )
        else:
            why, name = f"{event.step}: {event.error}", event.source.name
            books.failed_videos[name] = min(why, books.failed_videos.get(name, why))
            if event.set_aside:
                books.set_aside.add(name)
            books.lost_shots.update(event.lost_shots)
            books.failures = _first([*books.failures, event])
            books.num_failures += 1
        return books

    def merge_accumulators(self, many: Iterable[Books]) -> Books:
        """One set of books for what several workers entered."""
        merged = Books()
        for books in many:
            merged.summary += books.summary
            for name, why in books.failed_videos.items():
                merged.failed_videos[name] = min(why, merged.failed_videos.get(name, why))
            merged.set_aside |= books.set_aside
            merged.lost_shots |= books.lost_shots
            merged.failures = _first([*merged.failures, *books.failures])
            merged.num_failures += books.num_failures
        return merged

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
