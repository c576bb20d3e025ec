"""Beginning: which videos are skipped, because an earlier run finished them or because they were
taken back, and which are set aside.
"""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, Final, Literal

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from finecut.io.layout import Layout, check_length, check_relative
from finecut.io.records import Failure, Skipped, Source
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import BadDocument, read_json
from finecut.transforms.beam.guard import FAILURES, guarded
from finecut.transforms.beam.metrics import LOG, count
from finecut.transforms.beam.sharing import of_run as kept_of_run
from finecut.transforms.forget.tombstones import Forgotten, of_run
from finecut.transforms.resume.note import (
    Again,
    named_in,
    read_or_report,
    refuse_others,
    report_bad,
)
from finecut.transforms.resume.retelling import has_news, told, with_known
from finecut.transforms.verify.checks.shapes import VIDEO, misfit
from finecut.transforms.write.documents import CONFIGURATION, VERSION
from finecut.transforms.write.writing import Writer, Writing

SKIPPED: Final = "skipped"


def begin(source: Source, writing: Writing, again: Again) -> Iterator[Source | Skipped | Failure]:
    """The source, if there is something to do about it; else what became of it."""
    check_length(check_relative(source.relative))
    path = writing.layout.processed_video(source.relative)
    ahead = read_ahead(writing)
    document = ahead.pop(path) if path in ahead else read_or_report(path)
    finished = None if again.overwrite else document
    if finished is not None:
        # What is not as documents are does not count as finished; that is not done silently.
        if (wrong := misfit(path, finished, VIDEO)) is not None:
            report_bad(wrong)
        refuse_others(named_in(finished), source, writing)
    for known in versions_of(source):
        source = known if finished is None else with_known(known, finished)
        if (skipped := skipped_or_not(source, finished, writing, again)) is not None:
            yield skipped
            return
    most = 0 if again.overwrite else again.most_attempts
    yield set_aside(source) if most and source.attempts >= most else source


def skipped_or_not(
    source: Source, finished: dict[str, Any] | None, writing: Writing, again: Again
) -> Skipped | None:
    """What to say of a source that is not worked on: it was taken back, or it is finished."""
    if tombstones_of(writing).has(source):
        LOG.info("skipped %s: it is forgotten", source.name)
        return Skipped(source, 0, 0.0, forgotten=True)
    deciding = (again.rules, again.prompts)
    if (
        finished is None
        or not is_finished(finished, source, writing)
        or not told(finished, source, writing, deciding)
    ):
        return None
    forget_old_note(source, writing)
    LOG.info("skipped %s: it is finished", source.name)
    seconds, news = float(finished["duration"]), has_news(finished, source)
    return Skipped(source, finished["num_total_clips"], seconds, retold=news)


def versions_of(source: Source) -> Iterator[Source]:
    """The source with the version that it was listed with, which is enough to skip it; and if that
    was not, with the one that it has now.
    """
    if source.version and not source.attempts:
        yield source
    yield with_version(source)


def tombstones_of(writing: Writing) -> Forgotten:
    """What was taken back; a stream, which has no end, asks again for every video."""
    if writing.patience is not None:
        return Forgotten.at(writing.layout)
    return of_run(writing.layout, writing.shelf.staging)


def with_version(source: Source) -> Source:
    """The source with the version it has now; another file than the one that failed begins anew."""
    version = ""
    # What is gone or cannot be asked about is for the probe to complain of.
    with contextlib.suppress(OSError, ValueError):
        version = shelf.version_of(source.uri)
    if source.version and version != source.version:
        return replace(source, version=version, attempts=0, trouble="")
    return replace(source, version=version)


def set_aside(source: Source) -> Failure:
    """The failure of a source that is not tried again."""
    return Failure(
        step="begin",
        source=source,
        error="SetAside",
        message=f"not tried again, because it failed {source.attempts} times; the last error "
        f"was: {source.trouble} Replace or repair the file, raise --max-attempts, or use "
        "--overwrite.",
        attempts=source.attempts,
        set_aside=True,
    )


def looks_finished(source: Source, writing: Writing) -> bool:
    """Whether :func:`begin` will skip it, as far as can be told at once; what was read for that is
    not read again by a run that works in this process.
    """
    path = writing.layout.processed_video(source.relative)
    with contextlib.suppress(OSError, BadDocument):  # when it is its turn, it will be asked again
        document = read_ahead(writing)[path] = read_json(path)
        return document is not None and any(
            is_finished(document, known, writing) for known in versions_of(source)
        )
    return False


def read_ahead(writing: Writing) -> dict[str, dict[str, Any] | None]:
    """Documents of videos that this process has read for this run, and not yet used."""
    return kept_of_run(writing.shelf.staging).once("read ahead", dict[str, Any])


def is_finished(document: dict[str, Any], source: Source, writing: Writing) -> bool:
    """Whether this document promises what this run would make of this source."""
    promised = (document.get("video"), document.get(VERSION), document.get(CONFIGURATION))
    numbers = (document.get("num_total_clips"), document.get("duration"))
    return (
        bool(source.version)
        and promised == (source.name, source.version, writing.configuration)
        and all(type(number) in (int, float) for number in numbers)
        and misfit("", document, VIDEO) is None
    )


def forget_old_note(source: Source, writing: Writing) -> None:
    """Remove the note of a finished video, which a run leaves that was killed on its last step."""
    path = writing.layout.open_video(source.relative)
    asks = writing.streams or not shelf.is_remote(path)
    if asks or path in _notes_of_run(writing.layout, writing.shelf.staging):
        writing.shelf.remove(path)


@lru_cache(maxsize=8)
def _notes_of_run(layout: Layout, _staging: str) -> frozenset[str]:
    """The notes on a store: usually there are few, and one listing tells what no video has."""
    return frozenset(shelf.files_below(layout.open_videos()))


class BeginVideos(beam.PTransform[beam.PCollection[Source], Any]):
    """Source → ``sources`` to work on, ``skipped`` ones, and ``failures``."""

    def __init__(self, writing: Writing, again: Again) -> None:
        super().__init__()
        self.writing, self.again = writing, again

    def expand(self, sources: beam.PCollection[Source]) -> Any:
        return sources | "Begin" >> beam.ParDo(_Begin(self.writing, self.again)).with_outputs(
            SKIPPED, FAILURES, main="sources"
        )


class _Begin(Writer):
    """Each source, by what becomes of it. The first step of a run that knows where it writes."""

    def __init__(self, writing: Writing, again: Again) -> None:
        super().__init__(writing)
        self.again = again

    def process(
        self, source: Source
    ) -> Iterable[
        Source
        | TaggedOutput[Literal["skipped"], Skipped]
        | TaggedOutput[Literal["failures"], Failure]
    ]:
        work = partial(begin, source, self.writing, self.again)
        for outcome in guarded("begin", source, work, weather=self.writing.weather):
            item: Any = outcome
            if isinstance(outcome, Failure):
                count("videos failed")
                item = TaggedOutput(FAILURES, outcome)
            elif isinstance(outcome, Skipped):
                count("videos skipped")
                count("clips skipped", outcome.num_clips)
                item = TaggedOutput(SKIPPED, outcome)
            yield item


# ── the note ─────────────────────────────────────────────────────────────────────────────────────
