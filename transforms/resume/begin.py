"""Beginning: which videos are skipped, because an earlier run finished them or because they were
taken back, and which are set aside.
"""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Final, Literal

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from finecut.io.layout import check_length, check_relative
from finecut.io.records import Failure, Skipped, Source
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import usable_json
from finecut.transforms.beam.guard import FAILURES, guarded
from finecut.transforms.beam.metrics import LOG, count
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
    source = with_version(source)
    if tombstones_of(writing).has(source):
        LOG.info("skipped %s: it is forgotten", source.name)
        yield Skipped(source, 0, 0.0, forgotten=True)
        return
    path = writing.layout.processed_video(source.relative)
    document = read_or_report(path)
    if document is not None and not again.overwrite:
        # What is not as documents are does not count as finished; that is not done silently.
        if (wrong := misfit(path, document, VIDEO)) is not None:
            report_bad(wrong)
        refuse_others(named_in(document), source, writing)
        source = with_known(source, document)
        deciding = (again.rules, again.prompts)
        if is_finished(document, source, writing) and told(document, source, writing, deciding):
            # A run that was killed on its last step leaves this.
            writing.shelf.remove(writing.layout.open_video(source.relative))
            LOG.info("skipped %s: it is finished", source.name)
            seconds, news = float(document["duration"]), has_news(document, source)
            yield Skipped(source, document["num_total_clips"], seconds, retold=news)
            return
    most = 0 if again.overwrite else again.most_attempts
    yield set_aside(source) if most and source.attempts >= most else source


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
    """Whether :func:`begin` will skip it, as far as can be told at once."""
    with contextlib.suppress(OSError):  # when it is its turn, it will be asked again
        document = usable_json(writing.layout.processed_video(source.relative))
        return document is not None and is_finished(document, with_version(source), writing)
    return False


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
