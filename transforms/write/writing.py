"""What the writing steps share: where to write, and what has to be there in the end."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from finecut.io.layout import Layout
from finecut.io.records import Chunk, Clip, Failure, Lost, Video
from finecut.io.storage.files import is_remote
from finecut.io.storage.publishing import Shelf
from finecut.transforms.beam.guard import FAILURES, LOST
from finecut.transforms.beam.sharing import of_run
from finecut.transforms.beam.weather import FAIR, Weather


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
    #: What makes this run's vectors: those that an earlier run made for the same clips are removed.
    algorithm: str | None = None
    #: What tells configurations apart that make something else of the same film.
    configuration: str = ""
    #: What the configuration is made of besides the options, for the run's document.
    facts: Mapping[str, str | int | None] = field(default_factory=dict)
    #: In a stream, which has no end: seconds to wait for what is missing of a chunk.
    patience: float | None = None
    #: What is done about a store that is away.
    weather: Weather = FAIR
    #: What was cut goes to other machines, through a shuffle.
    hands_over: bool = False

    @property
    def streams(self) -> bool:
        return self.patience is not None

    @property
    def packs(self) -> bool:
        """Whether clips are written chunk by chunk, into packs."""
        return self.layout.packed and not self.dry_run

    @property
    def among_many(self) -> bool:
        """Whether processes on other machines write, too, and began at the same moment."""
        return self.weather.retries and is_remote(self.shelf.root)

    @property
    def accidents(self) -> tuple[str, ...]:
        """Tags of what goes wrong: in a stream, also for those who would wait for lost clips."""
        return (FAILURES, LOST) if self.streams else (FAILURES,)


@dataclass(frozen=True)
class Outcome:
    """What the writers made of a clip."""

    clip: Clip
    #: Where there is something of it now.
    paths: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()

    @property
    def video(self) -> Video:
        return self.clip.video

    @property
    def chunk(self) -> Chunk:
        return self.clip.chunk


#: What tells of a clip that the writers are done with it, or that it will never come to them.
Entry = Outcome | Lost


def planned(clip: Clip, writing: Writing) -> set[str]:
    """Every path that has to exist before this clip counts as written."""
    if writing.dry_run:
        return set()
    layout = writing.layout
    paths = {layout.meta(clip.id)}
    if writing.upload_clips and clip.staged is not None:
        paths.add(layout.clip(clip.id, clip.kept))
    if clip.kept:
        paths |= {*map(layout.below, clip.artefacts)}
        paths |= {layout.embedding(name, clip.id) for name in clip.vectors}
        paths |= {layout.embedding_parquet(name, clip.chunk.id) for name in clip.vectors}
    return paths


Given = TypeVar("Given")
Made = TypeVar("Made")


@dataclass(eq=False, repr=False)
class WritingTransform(beam.PTransform[Given, Made]):
    """What the transforms that write have in common: they know where."""

    writing: Writing


@dataclass(eq=False, repr=False)
class Writer(beam.DoFn):
    """The same of their DoFns, which keep what is the run's as long as they are at work."""

    writing: Writing

    def setup(self) -> None:
        self._kept = of_run(self.writing.shelf.staging)

    def teardown(self) -> None:
        del self._kept


def tagged(outcomes: Iterable[Any]) -> Iterator[Any]:
    for outcome in outcomes:
        yield TaggedOutput(FAILURES, outcome) if isinstance(outcome, Failure) else outcome


def ids(clips: Iterable[Clip]) -> list[str]:
    return [clip.id for clip in clips]
