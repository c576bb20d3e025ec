"""In a stream, a video is begun when the last attempt on it has ended, and not before.

    told of a.mp4   ──▶ begun ──▶ … cut, written …  ──▶ closed, or its failures are listed
    told again           (the same version: nothing new)
    told again           (another version) waits ─────────────────────────▶ begun

Two versions of a video have clips with the same names. Worked on at the same time, the older one
could write over the newer. What is kept here is lost when a job is; but nothing of that job is at
work then, and the documents say what is finished.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer

from finecut.io.records import Failure, Skipped, Source
from finecut.io.storage.json_documents import usable_json
from finecut.transforms.beam.gather import FORGET_AFTER, RecordCoder, Waiting
from finecut.transforms.beam.guard import FAILURES, guarded
from finecut.transforms.beam.metrics import count
from finecut.transforms.find.inputs import as_it_failed
from finecut.transforms.find.lists import failed_source, failures_in
from finecut.transforms.resume.begin import SKIPPED, begin, is_finished, with_version
from finecut.transforms.resume.note import Again
from finecut.transforms.write.failure_lists import own_list
from finecut.transforms.write.tending import tend
from finecut.transforms.write.writing import Writer, Writing

#: Seconds between two looks whether an attempt has ended for which another version waits.
EVERY: Final = 5.0


@dataclass(frozen=True)
class Begun:
    """An attempt on a video, and when it began."""

    source: Source
    when: float


def has_ended(begun: Begun, writing: Writing) -> bool:
    """Whether nothing of this attempt is at work any more."""
    document = usable_json(writing.layout.processed_video(begun.source.relative))
    if document is not None and is_finished(document, begun.source, writing):
        return True
    listed = failures_in(own_list(begun.source, writing.layout))
    if any(failure.source == begun.source for failure in listed):
        return True
    # What a runner lost: as long as chunks wait for what may come after all.
    return time.time() - begun.when > FORGET_AFTER * (writing.patience or 0.0)


def begin_again(
    source: Source, writing: Writing, again: Again
) -> Iterator[Source | Skipped | Failure]:
    """The same as :func:`begin`, knowing what failed before."""
    listed = failures_in(own_list(source, writing.layout))
    failed = {failure.source.name: failed_source(failure) for failure in listed}
    yield from begin(as_it_failed(source, failed), writing, again)


@dataclass(eq=False, repr=False)
class BeginOneAtATime(beam.PTransform[beam.PCollection[Source], Any]):
    """Source → ``sources`` to work on, ``skipped`` ones, and ``failures``."""

    writing: Writing
    again: Again

    def expand(self, sources: beam.PCollection[Source]) -> Any:
        begin = _BeginOneAtATime(self.writing, self.again)
        return (
            sources
            | "By video" >> beam.Map(_by_video).with_output_types(tuple[str, Waiting])
            | "Begin" >> beam.ParDo(begin).with_outputs(SKIPPED, FAILURES, main="sources")
        )


def _by_video(source: Source) -> tuple[str, Waiting]:
    # Not by its name: documents are named by what stands below the input.
    return source.relative, Waiting(source)


_Outcomes = Iterable[
    Source | TaggedOutput[Literal["skipped"], Skipped] | TaggedOutput[Literal["failures"], Failure]
]


@dataclass(eq=False, repr=False)
class _BeginOneAtATime(Writer):
    AT_WORK = ReadModifyWriteStateSpec("at work", RecordCoder())
    TOLD = ReadModifyWriteStateSpec("told", RecordCoder())
    LOOK = TimerSpec("look", TimeDomain.REAL_TIME)

    again: Again

    def process(
        self,
        element: tuple[str, Waiting],
        at_work: Any = beam.DoFn.StateParam(AT_WORK),
        told: Any = beam.DoFn.StateParam(TOLD),
        timer: Any = beam.DoFn.TimerParam(LOOK),
    ) -> _Outcomes:
        source = element[1].record
        begun = at_work.read()
        if begun is None or not _is_same(source, begun.record):
            told.write(Waiting(source))
            yield from self._look(at_work, told, timer)

    @on_timer(LOOK)
    def look(
        self,
        at_work: Any = beam.DoFn.StateParam(AT_WORK),
        told: Any = beam.DoFn.StateParam(TOLD),
        timer: Any = beam.DoFn.TimerParam(LOOK),
    ) -> _Outcomes:
        yield from self._look(at_work, told, timer)

    def _look(self, at_work: Any, told: Any, timer: Any) -> Iterator[Any]:
        """Begin what was told of, if nothing of this video is at work."""
        begun, waiting = at_work.read(), told.read()
        if begun is not None and not has_ended(begun.record, self.writing):
            timer.set(time.time() + (self._rest if waiting is None else EVERY))
            return
        at_work.clear()
        told.clear()
        for outcome in () if waiting is None else self._begun(waiting.record):
            if isinstance(outcome, Source):
                at_work.write(Waiting(Begun(outcome, time.time())))
                timer.set(time.time() + self._rest)
                yield outcome
            elif isinstance(outcome, Skipped):
                count("videos skipped")
                yield TaggedOutput(SKIPPED, outcome)
            else:
                count("videos failed")
                yield TaggedOutput(FAILURES, outcome)

    def _begun(self, source: Source) -> Iterator[Source | Skipped | Failure]:
        tend(self.writing)
        work = partial(begin_again, source, self.writing, self.again)
        return guarded("begin", source, work, weather=self.writing.weather)

    @property
    def _rest(self) -> float:
        """Seconds after which it is time to forget an attempt that has ended."""
        return self.writing.patience or EVERY


def _is_same(source: Source, begun: Begun) -> bool:
    """Whether this is the very file that is at work."""
    version = with_version(Source(source.uri, source.name, source.relative)).version
    return (source.name, version) == (begun.source.name, begun.source.version)
