"""Again: videos that are finished are skipped, others replace what an earlier run left of them.

    processed_videos/a.mp4.json   same name, same file, same configuration   →  skipped
                                  anything else                              →  done again:

    .finecut/open/a.mp4.json      1. every clip the old documents name, and those now planned
    processed_videos/a.mp4.json   2. withdrawn
    clips/, metas/, …             3. cut and written as ever
                                  4. whatever is left of the old clips is removed
    processed_videos/a.mp4.json   5. written
    .finecut/open/a.mp4.json      6. removed

Killed anywhere, the next run knows from the note in ``.finecut/open/`` what may lie about, so
nothing is orphaned, whatever its options are.
"""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Final, Literal

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from finecut.io.layout import check_length, check_relative
from finecut.io.records import Failure, Skipped, Source
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import usable_json
from finecut.transforms.beam.guard import FAILURES, guarded
from finecut.transforms.beam.metrics import LOG, count
from finecut.transforms.resume.note import (
    Again,
    named_in,
    read_or_report,
    refuse_others,
    report_bad,
)
from finecut.transforms.verify.checks.shapes import VIDEO, misfit
from finecut.transforms.write.documents import CONFIGURATION, VERSION
from finecut.transforms.write.writing import Writer, Writing

SKIPPED: Final = "skipped"


def begin(source: Source, writing: Writing, again: Again) -> Iterator[Source | Skipped | Failure]:
    """The source, if there is something to do about it; else what became of it."""
    check_length(check_relative(source.relative))
    source = with_version(source)
    path = writing.layout.processed_video(source.relative)
    document = read_or_report(path)
    if document is not None and not again.overwrite:
        # What is not as documents are does not count as finished; that is not done silently.
        if (wrong := misfit(path, document, VIDEO)) is not None:
            report_bad(wrong)
        refuse_others(named_in(document), source, writing)
        if is_finished(document, source, writing):
            # A run that was killed on its last step leaves this.
            writing.shelf.remove(writing.layout.open_video(source.relative))
            LOG.info("skipped %s: it is finished", source.name)
            yield Skipped(source, document["num_total_clips"], float(document["duration"]))
            return
    if again.most_attempts and source.attempts >= again.most_attempts and not again.overwrite:
        yield set_aside(source)
        return
    yield source


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
        for outcome in guarded("begin", source, lambda: begin(source, self.writing, self.again)):
            yield from _sorted_out(outcome)


def _sorted_out(outcome: Source | Skipped | Failure) -> Iterator[Any]:
    if isinstance(outcome, Failure):
        count("videos failed")
        yield TaggedOutput(FAILURES, outcome)
    elif isinstance(outcome, Skipped):
        count("videos skipped")
        yield TaggedOutput(SKIPPED, outcome)
    else:
        yield outcome
