"""Looking again and again on an engine that streams: a source that has no end.

    round 1   a listing ─▶ what is complete and new ─▶ watermark: now ─▶ again in so many seconds
    round 2   …

What the rounds have to remember is in the restriction, which the engine keeps: eight bytes for
each version that it was told of, and what is still growing. It does not matter which worker looks,
nor whether it lives as long. A job that is started again knows nothing, tells of everything that is
there, and what is finished is skipped.
"""

import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import apache_beam as beam
from apache_beam.io.restriction_trackers import RestrictionProgress, RestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Duration, Timestamp

from finecut.io.errors import UserError
from finecut.io.records import Source
from finecut.transforms.beam.metrics import LOG, count
from finecut.transforms.find.inputs import Finding
from finecut.transforms.find.looking import look, named
from finecut.transforms.find.watching import Looked, Seen, compared, is_complete

#: Bytes that are kept of a version.
MARK: Final = 8


@dataclass(frozen=True)
class Memory:
    """What is known between two rounds."""

    #: The marks of all versions that were told of and are still there, one behind the other.
    told: bytes = b""
    #: What was not complete, and since when it is as it is.
    growing: tuple[tuple[str, Seen], ...] = ()
    #: Nothing is to be done any more: another restriction has the rest.
    ended: bool = False


def after_look(
    memory: Memory, looked: Looked, at: float, seconds: float
) -> tuple[list[str], Memory]:
    """The videos to tell of, and what is known then."""
    told = {memory.told[n : n + MARK] for n in range(0, len(memory.told), MARK)}
    marks = {path: _mark(path, found.version) for path, found in looked.videos.items()}
    new = {path: found for path, found in looked.videos.items() if marks[path] not in told}
    seen, _ = compared(dict(memory.growing), new, at)
    due = [
        path
        for path, found in new.items()
        if path not in looked.held and is_complete(found, seen[path], at, seconds)
    ]
    known = {mark for path, mark in marks.items() if mark in told or path in {*due}}
    growing = tuple((path, seen[path]) for path in new if path not in {*due})
    return sorted(due), Memory(b"".join(sorted(known)), growing)


def _mark(path: str, version: str) -> bytes:
    text = f"{path}\n{version}".encode(errors="surrogateescape")
    return hashlib.blake2b(text, digest_size=MARK).digest()


class Rounds(RestrictionTracker):
    """One round, and then the next: what is claimed is what will be known after this one."""

    def __init__(self, memory: Memory) -> None:
        self._memory, self._after = memory, memory

    def current_restriction(self) -> Memory:
        return self._memory

    def try_claim(self, position: Memory) -> bool:
        if self._memory.ended:
            return False
        self._after = position
        return True

    def try_split(self, fraction_of_remainder: float) -> tuple[Memory, Memory] | None:
        if self._memory.ended:
            return None
        self._memory = replace(self._memory, ended=True)
        return self._memory, self._after

    def check_done(self) -> None:
        if not self._memory.ended:
            raise ValueError("a round has ended without another one to follow")

    def current_progress(self) -> RestrictionProgress:
        return RestrictionProgress(fraction=1.0 if self._memory.ended else 0.0)

    def is_bounded(self) -> bool:
        return False


class _Beginning(RestrictionProvider):
    def initial_restriction(self, element: Finding) -> Memory:
        return Memory()

    def create_tracker(self, restriction: Memory) -> Rounds:
        return Rounds(restriction)

    def restriction_size(self, element: Finding, restriction: Memory) -> int:
        return 1

    def truncate(self, element: Finding, restriction: Memory) -> None:
        """A job that is drained looks no more."""


_BEGINNING: Final = _Beginning()
#: A round's own: it says until when all is known.
_WATERMARK: Final = ManualWatermarkEstimator.default_provider()


class _Look(beam.DoFn):
    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def setup(self) -> None:
        self._outputs: set[str] = set()

    @beam.DoFn.unbounded_per_element()  # type: ignore[untyped-decorator]
    def process(
        self,
        finding: Finding,
        rounds: Any = beam.DoFn.RestrictionParam(_BEGINNING),
        watermark: Any = beam.DoFn.WatermarkEstimatorParam(_WATERMARK),
    ) -> Iterable[Source]:
        memory, now = rounds.current_restriction(), time.time()
        sources, after = self._round(finding, memory, now)
        if not rounds.try_claim(after):
            return
        for source in sources:
            count("videos found")
            placed: Any = TimestampedValue(source, Timestamp.of(now))
            yield placed
        watermark.set_watermark(Timestamp.of(now))
        rounds.defer_remainder(Duration.of(self.seconds))

    def _round(self, finding: Finding, memory: Memory, now: float) -> tuple[list[Source], Memory]:
        try:
            looked = look(finding, self._outputs)
        except (OSError, UserError) as error:
            # A disk may be away, a store may refuse: the next round may find them.
            LOG.error("the inputs cannot be listed (%s); looking again", error)
            return [], memory
        paths, after = after_look(memory, looked, now, self.seconds)
        sources = (named(path, looked.root, finding) for path in paths)
        return [source for source in sources if source.name in finding.part], after


@dataclass(eq=False, repr=False)
class WatchVideos(beam.PTransform[beam.Pipeline, beam.PCollection[Source]]):
    """A pipeline's beginning → Sources, as they become complete, for ever."""

    finding: Finding
    seconds: float

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection[Source]:
        return (
            pipeline
            | "Inputs" >> beam.Create([self.finding])
            | "Look" >> beam.ParDo(_Look(self.seconds))
        )
