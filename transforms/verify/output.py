"""Verifying: an output is read again, and what is wrong with it is said.

    folders ─▶ List ─┬─ chunks' documents ─▶ check_chunk ─┬─ findings, what was checked ───────┐
                     ├─ videos' documents ─▶ video_facts ─┤                                    │
                     ├─ failures, runs, notes ────────────┤                                    ├─▶
                     │                                    ├─ facts ─ by video ─▶ wrong_in_video│
                     │                                    ├─ claims ┐                          │
                     └─ files ────────────────────────────┼─────────┴ by owner ─▶ orphans      │
                                                          └─ tables ─ by folder ─▶ one model ──┘

The unit of work is a chunk, as it was when the output was made. Nothing is written but findings:
they come out of the pipeline as one file, so it is the same on a cluster.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from finecut.io.records import CODING
from finecut.io.storage.publishing import Shelf
from finecut.transforms.beam.metrics import count
from finecut.transforms.verify.checks.documents import Facts, wrong_in_video
from finecut.transforms.verify.checks.findings import KINDS, Checked, Finding, Verifying, together
from finecut.transforms.verify.checks.orphans import (
    Claim,
    Entry,
    Mention,
    share_of,
    wrong_with_owners,
)
from finecut.transforms.verify.checks.vectors import Signed
from finecut.transforms.verify.folders import Folder, Work, check_work, work_in

CHECKED, CLAIMS, FACTS, SIGNED = ABOUT_FILES = ("checked", "claims", "facts", "signed")
FILES, FINDINGS = "files", "findings"

#: Counters that progress shows.
LOOKED_AT, TO_CHECK, WRONG = "verify/items", "clips to check", "things wrong"

#: The folder with as many files as there are clips to check.
METAS: Final = "metas"

#: By a name in bytes: names of files are not always good text, and keys have to be.
OfVideo = tuple[bytes, Facts]
Owned = tuple[str, Entry]
#: What tables say of their vectors: how many tables say it, and the path of the first.
Signatures = dict[str, tuple[int, str]]


def wrong_in_folder(folder: str, said: Signatures) -> Iterator[Finding]:
    """Tables of one folder that differ from most of the others in whose vectors they hold."""
    usual = max(sorted(said), key=lambda each: said[each][0])
    for other in sorted({*said} - {usual}):
        number, path = said[other]
        more = f" (and {number - 1} more tables)" if number > 1 else ""
        yield Finding(
            "model",
            path,
            f"has {other}{more}",
            f"{said[usual][0]} tables of {folder}_parquet/ have {usual}",
        )


def added(several: Iterable[Signatures]) -> Signatures:
    """All that several tables say."""
    total: Signatures = {}
    for each in several:
        for said, (number, path) in each.items():
            before, first = total.get(said, (0, path))
            total[said] = before + number, min(first, path)
    return total


# ── the transform ────────────────────────────────────────────────────────────────────────────────


class VerifyOutput(beam.PTransform[beam.PCollection[Folder], Any]):
    """Folders of an output → ``findings``, and what was ``checked``, as one record."""

    def __init__(self, verifying: Verifying) -> None:
        super().__init__()
        self.verifying = verifying

    def expand(self, folders: beam.PCollection[Folder]) -> Any:
        verifying = self.verifying
        listed = folders | "List" >> beam.FlatMap(_listed, verifying).with_outputs(
            FILES, FINDINGS, main="work"
        )
        checked = (
            listed.work
            | "Deal" >> beam.Reshuffle()
            | "Check" >> beam.FlatMap(_checked, verifying).with_outputs(*ABOUT_FILES, main=FINDINGS)
        )
        videos = (
            checked[FACTS]
            | "By video" >> beam.GroupByKey()
            | "Check videos"
            >> beam.FlatMapTuple(
                lambda name, facts: wrong_in_video(name.decode(*CODING), facts, verifying)
            ).with_output_types(Finding)
        )
        orphans = (
            (listed[FILES], checked[CLAIMS])
            | "Files and claims" >> beam.Flatten()
            | "By owner" >> beam.GroupByKey()
            | "Find orphans"
            >> beam.FlatMapTuple(
                lambda _share, entries: wrong_with_owners(entries)
            ).with_output_types(Finding)
        )
        models = find_other_models(checked[SIGNED], verifying)
        parts = (listed[FINDINGS], checked.findings, videos, orphans, models)
        findings = parts | "Findings" >> beam.Flatten()
        total = checked[CHECKED] | "Add up" >> beam.CombineGlobally(together)
        return {FINDINGS: findings, CHECKED: total}


def find_other_models(signed: Any, verifying: Verifying) -> Any:
    """What tables say of their vectors → findings, where no note says what is right."""
    return (
        signed
        | "Without note" >> beam.Filter(lambda each: each.folder not in verifying.notes)
        | "By folder"
        >> beam.Map(lambda each: (each.folder, {each.said: (1, each.path)})).with_output_types(
            tuple[str, Signatures]
        )
        | "Count tables" >> beam.CombinePerKey(added)
        | "Compare" >> beam.FlatMapTuple(wrong_in_folder).with_output_types(Finding)
    )


def _listed(
    folder: Folder, verifying: Verifying
) -> Iterable[
    Work | TaggedOutput[Literal["files"], Owned] | TaggedOutput[Literal["findings"], Finding]
]:
    """A folder → its files, as work or by their owners."""
    for each in work_in(folder, verifying):
        if isinstance(each, Work):
            yield each
        elif isinstance(each, Finding):
            yield _to(FINDINGS, each)
        else:
            if folder.name == METAS:
                count(TO_CHECK, len(each[1].paths))
            yield _to(FILES, each)


def _checked(
    work: Work, verifying: Verifying
) -> Iterable[
    Finding
    | TaggedOutput[Literal["checked"], Checked]
    | TaggedOutput[Literal["claims"], Owned]
    | TaggedOutput[Literal["facts"], OfVideo]
    | TaggedOutput[Literal["signed"], Signed]
]:
    """A file → findings about it and what it promises, and what others have to know."""
    for outcome in check_work(work, verifying):
        if isinstance(outcome, Finding):
            count(WRONG, int(KINDS[outcome.kind].wrong))
            yield outcome
        elif isinstance(outcome, Checked):
            count(LOOKED_AT, int(outcome.counts.get("clip documents", 0)))
            yield _to(CHECKED, outcome)
        elif isinstance(outcome, Claim):
            yield _to(CLAIMS, (share_of(outcome.owner), outcome))
        elif isinstance(outcome, Signed):
            yield _to(SIGNED, outcome)
        elif isinstance(outcome[1], Mention):
            yield _to(CLAIMS, outcome)
        else:
            relative, facts = outcome
            yield _to(FACTS, (relative.encode(*CODING), facts))


def _to(tag: str, value: object) -> Any:
    return TaggedOutput(tag, value)


# ── the findings as a file: JSON lines, the last of which says what was checked ──────────────────


@dataclass(frozen=True)
class Verified:
    """What a verification found."""

    findings: tuple[Finding, ...]
    checked: Mapping[str, float]

    @property
    def wrong(self) -> list[Finding]:
        return [each for each in self.findings if KINDS[each.kind].wrong]

    @property
    def notes(self) -> list[Finding]:
        return [each for each in self.findings if not KINDS[each.kind].wrong]


_Report = tuple[beam.PCollection[Finding], beam.PCollection[Checked]]


class WriteFindings(beam.PTransform[_Report, beam.PCollection[int]]):
    """(Findings, what was checked) → one file of JSON lines."""

    def __init__(self, own: Shelf, path: str) -> None:
        super().__init__()
        self.own, self.path = own, path

    def expand(self, inputs: _Report) -> beam.PCollection[int]:
        own, path = self.own, self.path

        def write(checked: Checked, findings: Iterable[Finding]) -> int:
            return own.write(path, report_of(findings, checked))

        findings, checked = inputs
        return checked | "Write" >> beam.Map(
            write, findings=beam.pvalue.AsIter(findings)
        ).with_output_types(int)


def report_of(findings: Iterable[Finding], checked: Checked) -> bytes:
    """JSON lines: a finding on each, and at last what was checked."""
    order = {name: place for place, name in enumerate(KINDS)}
    ordered = sorted(set(findings), key=lambda f: (order[f.kind], f.path, f.wrong, f.should))
    lines = [*map(_line, ordered), json.dumps({"checked": dict(checked.counts)})]
    return "".join(f"{line}\n" for line in lines).encode()


def _line(finding: Finding) -> str:
    kind = KINDS[finding.kind]
    level = "wrong" if kind.wrong else "note"
    return json.dumps({"level": level, **asdict(finding), "usually": kind.usually, "do": kind.do})


def read_report(data: bytes) -> Verified:
    """What :func:`report_of` wrote down."""
    *lines, last = [json.loads(line) for line in data.decode().splitlines()]
    keys = ("kind", "path", "wrong", "should")
    return Verified(
        tuple(Finding(**{key: line[key] for key in keys}) for line in lines), last["checked"]
    )
