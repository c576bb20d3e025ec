"""What the writing steps share: where to write, and what has to be there in the end."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from finecut.io.layout import Layout
from finecut.io.records import Clip, Failure, Written
from finecut.io.storage.files import Shelf
from finecut.transforms.beam.guard import FAILURES


@dataclass(frozen=True)
class Writing:
    """Where and how much is written."""

    layout: Layout
    shelf: Shelf
    #: ``False``: everything but the clips' own files.
    upload_clips: bool = True
    #: Only the documents of chunks and videos, as the reference does.
    dry_run: bool = False
    threads: int = 6
    #: What makes this run's vectors, so that those of an earlier one, which are none of its clips'
    #: any more, can be removed.
    algorithm: str | None = None
    #: What tells configurations apart that make something else of the same film.
    configuration: str = ""
    #: What that is made of besides the options, for who asks how an output was made.
    facts: Mapping[str, str | int | None] = field(default_factory=dict)
    #: In a stream, which has no end: seconds to wait for what is missing of a chunk.
    patience: float | None = None


def planned(clip: Clip, writing: Writing) -> set[str]:
    """Every path that has to exist before this clip counts as written."""
    if writing.dry_run:
        return set()
    layout = writing.layout
    paths = {layout.meta(clip.id)}
    if writing.upload_clips and clip.staged is not None:
        paths.add(layout.clip(clip.id, clip.kept))
    if clip.kept:
        paths |= {
            layout.preview(clip.id, window.start_frame, window.end_frame)
            for window in clip.windows
            if window.preview
        }
        for algorithm in clip.vectors:
            paths.add(layout.embedding(algorithm, clip.id))
            paths.add(layout.embedding_parquet(algorithm, clip.chunk.id))
    return paths


class Writer(beam.DoFn):
    """What the DoFns that write have in common: they know where."""

    def __init__(self, writing: Writing) -> None:
        super().__init__()
        self.writing = writing


def tagged(outcomes: Iterable[Any]) -> Iterator[Any]:
    for outcome in outcomes:
        yield TaggedOutput(FAILURES, outcome) if isinstance(outcome, Failure) else outcome


def ids(clips: Iterable[Clip]) -> list[str]:
    return [clip.id for clip in clips]


def light(clip: Clip) -> Clip:
    """What the documents of chunks and videos need of a clip: its vectors, errors and texts are
    there by name, without numbers and words that only its own files hold.
    """
    return clip.replace(
        scores={},
        vectors=dict.fromkeys(clip.vectors, ()),
        errors=dict.fromkeys(clip.errors, ""),
    )


def by_chunk(entry: Clip | Written) -> tuple[str, Clip | Written]:
    return (entry.chunk.id if isinstance(entry, Clip) else entry.chunk), entry
