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
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from finecut.io.records import CODING
from finecut.io.storage.publishing import Shelf
from finecut.transforms.beam.metrics import count
from finecut.transforms.verify.checks.documents import Facts, wrong_in_video
from finecut.transforms.verify.checks.findings import (
    KINDS,
    Checked,
    Claim,
    Entered,
    Entry,
    Finding,
    Mention,
    There,
    Told,
    Verifying,
    share_of,
    together,
)
from finecut.transforms.verify.checks.vectors import Signed
from finecut.transforms.verify.folders import Folder, Work, check_work, work_in, wrong_with_owners

CHECKED, CLAIMS, FACTS, SIGNED = ABOUT_FILES = ("checked", "claims", "facts", "signed")
FILES, FINDINGS = "files", "findings"

#: Counters that progress shows.
LOOKED_AT, TO_CHECK, WRONG = "verify/items", "clips to check", "things wrong"

#: The folder with as many files as there are clips to check.
METAS: Final = "metas"

Owned = tuple[str, Entry]


def wrong_in_folder(folder: str, signed: Iterable[tuple[str, str]]) -> Iterator[Finding]:
    """Tables of one folder that differ from most of the others in whose vectors they hold; each is
    what it says of them, and its path."""
    tables: dict[str, list[str]] = defaultdict(list)
    for said, path in signed:
        tables[said].append(path)
    usual = max(sorted(tables), key=lambda each: len(tables[each]))
    for other, paths in sorted(tables.items()):
        more = f" (and {len(paths) - 1} more tables)" if len(paths) > 1 else ""
        if other != usual:
            yield Finding(
                "model",
                min(paths),
                f"has {other}{more}",
                f"{len(tables[usual])} tables of {folder}_parquet/ have {usual}",
            )


# ── the transform ────────────────────────────────────────────────────────────────────────────────


@dataclass(eq=False, repr=False)
class VerifyOutput(beam.PTransform[beam.PCollection[Folder], Any]):
    """Folders of an output → ``findings``, and what was ``checked``, as one record."""

    verifying: Verifying

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
        findings = (listed[FINDINGS], checked.findings, videos, orphans, models)
        return {
            FINDINGS: findings | "Findings" >> beam.Flatten(),
            CHECKED: checked[CHECKED] | "Add up" >> beam.CombineGlobally(together),
        }


def find_other_models(signed: Any, verifying: Verifying) -> Any:
    """What tables say of their vectors → findings, where no note says what is right."""
    return (
        signed
        | "Without note" >> beam.Filter(lambda each: each.folder not in verifying.notes)
        | "By folder"
        >> beam.Map(lambda each: (each.folder, (each.said, each.path))).with_output_types(
            tuple[str, tuple[str, str]]
        )
        | "Tables of a folder" >> beam.GroupByKey()
        | "Compare" >> beam.FlatMapTuple(wrong_in_folder).with_output_types(Finding)
    )


def _listed(
    folder: Folder, verifying: Verifying
) -> Iterable[
    Work | TaggedOutput[Literal["files"], Owned] | TaggedOutput[Literal["findings"], Finding]
]:
    """A folder → its files, as work or by their owners."""
    for each in work_in(folder, verifying):
        match each:
            case Work():
                yield each
            case Finding():
                yield _to(FINDINGS, each)
            case (_, There(paths)):
                if folder.name == METAS:
                    count(TO_CHECK, len(paths))
                yield _to(FILES, each)


def _checked(
    work: Work, verifying: Verifying
) -> Iterable[
    Finding
    | TaggedOutput[Literal["checked"], Checked]
    | TaggedOutput[Literal["claims"], Owned]
    | TaggedOutput[Literal["facts"], tuple[bytes, Facts]]
    | TaggedOutput[Literal["signed"], Signed]
]:
    """A file → findings about it and what it promises, and what others have to know."""
    for outcome in check_work(work, verifying):
        match outcome:
            case Finding():
                count(WRONG, int(KINDS[outcome.kind].wrong))
                yield outcome
            case Checked():
                count(LOOKED_AT, int(outcome.counts.get("clip documents", 0)))
                yield _to(CHECKED, outcome)
            case Claim():
                yield _to(CLAIMS, (share_of(outcome.owner), outcome))
            case Signed():
                yield _to(SIGNED, outcome)
            case (_, Mention() | Told() | Entered()):
                yield _to(CLAIMS, outcome)
            case (relative, facts):
                # Names of files are not always good text, and keys have to be.
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


@dataclass(eq=False, repr=False)
class WriteFindings(beam.PTransform[_Report, beam.PCollection[int]]):
    """(Findings, what was checked) → one file of JSON lines."""

    own: Shelf
    path: str

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
    lines = (*map(_line, ordered), json.dumps({"checked": dict(checked.counts)}), "")
    return "\n".join(lines).encode()


def _line(finding: Finding) -> str:
    kind = KINDS[finding.kind]
    level = "wrong" if kind.wrong else "note"
    return json.dumps({"level": level, **asdict(finding), "usually": kind.usually, "do": kind.do})


def read_report(data: bytes) -> Verified:
    """What :func:`report_of` wrote down."""
    *lines, last = [json.loads(line) for line in data.decode().splitlines()]
    return Verified(
        tuple(Finding(line["kind"], line["path"], line["wrong"], line["should"]) for line in lines),
        last["checked"],
    )
