"""Verifying: an output is read again, and what is wrong with it is said.

    folders ─▶ List ─┬─ chunks' documents ─▶ check_chunk ─┬─ findings, what was checked ──────┐
                     ├─ videos' documents ─▶ video_facts ─┤                                   │
                     ├─ failures, runs, notes, catalogue ─┤                                   ├─▶
                     │                                    ├─ facts ─ by video: wrong_in_video │
                     │                                    ├─ tables ─ by folder: one model ───┤
                     │                                    └─ sums ┐                           │
                     └─ parts of folders ─▶ list ─────────── sums ┴─▶ what does not balance   │
                                                              read again, by owner: orphans ──┘

The unit of work is a chunk, as it was when the output was made. Nothing is written but findings:
they come out of the pipeline as one file, so it is the same on a cluster. What is brought together
grows with the number of chunks and with what is wrong, and not with the number of clips.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindows

from finecut.io.records import CODING
from finecut.transforms.beam.metrics import count
from finecut.transforms.verify.balance import AddUp, Books, unbalanced_by_ids
from finecut.transforms.verify.checks.documents import Facts, wrong_in_video
from finecut.transforms.verify.checks.findings import (
    KINDS,
    Checked,
    Claim,
    Entered,
    Entry,
    Finding,
    Mention,
    Told,
    Verifying,
    share_of,
    together,
)
from finecut.transforms.verify.checks.packs import Archive, wrong_with_archive
from finecut.transforms.verify.checks.vectors import Signed
from finecut.transforms.verify.folders import (
    TO_CHECK,
    Folder,
    Piece,
    Work,
    check_work,
    files_of,
    owned_in,
    work_in,
)
from finecut.transforms.verify.owners import dealt, wrong_with_owners

CHECKED, FACTS, SIGNED, SUMS, IDS, PACKED = ABOUT_FILES = (
    *("checked", "facts", "signed", "sums", "ids", "packed"),
)
PIECES, FINDINGS = "pieces", "findings"

#: Counters that progress shows.
LOOKED_AT, WRONG = "verify/items", "things wrong"


Owned = tuple[str, Entry]


class Tables(NamedTuple):
    """Tables that say the same of their vectors."""

    said: str
    #: The first of them by name.
    path: str
    number: int


def wrong_in_folder(folder: str, said: Iterable[Tables]) -> Iterator[Finding]:
    """Tables of one folder that differ from most of the others in whose vectors they hold."""
    tables = sorted(said)
    usual = max(tables, key=lambda each: each.number)
    for other in tables:
        more = f" (and {other.number - 1} more tables)" if other.number > 1 else ""
        if other is not usual:
            yield Finding(
                "model",
                other.path,
                f"has {other.said}{more}",
                f"{usual.number} tables of {folder}_parquet/ have {usual.said}",
            )


class _Counted(beam.CombineFn):
    """Paths → the first of them, and how many there are."""

    def create_accumulator(self) -> tuple[str, int]:
        return "", 0

    def add_input(self, known: tuple[str, int], path: str) -> tuple[str, int]:
        return self.merge_accumulators((known, (path, 1)))

    def merge_accumulators(self, several: Iterable[tuple[str, int]]) -> tuple[str, int]:
        known = [each for each in several if each[1]]
        first = min((path for path, _ in known), default="")
        return first, sum(number for _, number in known)

    def extract_output(self, known: tuple[str, int]) -> tuple[str, int]:
        return known


# ── the transform ────────────────────────────────────────────────────────────────────────────────


@dataclass(eq=False, repr=False)
class VerifyOutput(beam.PTransform[beam.PCollection[Folder], Any]):
    """Folders of an output → ``findings``, and what was ``checked``, as one record."""

    verifying: Verifying

    def expand(self, folders: beam.PCollection[Folder]) -> Any:
        verifying = self.verifying
        listed = folders | "List" >> beam.FlatMap(_listed, verifying).with_outputs(
            PIECES, FINDINGS, main="work"
        )
        work = listed.work | "Deal" >> beam.Reshuffle()
        pieces = listed[PIECES] | "Deal pieces" >> beam.Reshuffle()
        checked = work | "Check" >> beam.ParDo(Checking(verifying)).with_outputs(
            *ABOUT_FILES, main=FINDINGS
        )
        there = pieces | "List pieces" >> beam.ParDo(Listing(verifying)).with_output_types(bytes)
        unbalanced = find_unbalanced((checked[SUMS], there), checked[IDS])
        entries = (
            work | "Owned" >> beam.FlatMap(_owned, verifying, unbalanced).with_output_types(Owned),
            pieces
            | "Lies there" >> beam.FlatMap(_there, verifying, unbalanced).with_output_types(Owned),
        )
        orphans = (
            entries
            | "Both sides" >> beam.Flatten()
            | "By owner" >> beam.GroupByKey()
            | "Find orphans"
            >> beam.FlatMapTuple(
                lambda _share, entries: wrong_with_owners(entries)
            ).with_output_types(Finding)
        )
        videos = (
            checked[FACTS]
            | "By video" >> beam.GroupByKey()
            | "Check videos"
            >> beam.FlatMapTuple(
                lambda name, facts: wrong_in_video(name.decode(*CODING), facts, verifying)
            ).with_output_types(Finding)
        )
        models = find_other_models(checked[SIGNED], verifying)
        packs = (
            checked[PACKED]
            | "By archive" >> beam.GroupByKey()
            | "Unnamed archives" >> beam.FlatMapTuple(wrong_with_archive).with_output_types(Finding)
        )
        findings = (listed[FINDINGS], checked.findings, videos, orphans, models, packs)
        return {
            FINDINGS: findings | "Findings" >> beam.Flatten(),
            CHECKED: checked[CHECKED] | "Add up" >> beam.CombineGlobally(together),
        }


def find_unbalanced(sums: Any, ids: Any) -> Any:
    """Packed sums, and ids by their ranges → the shares that do not balance, for other steps."""
    by_sums = (
        sums
        | "All sums" >> beam.Flatten()
        | "Balance" >> beam.CombineGlobally(AddUp())
        | "Shares" >> beam.FlatMap(lambda shares: shares).with_output_types(str)
    )
    by_ids = (
        ids
        | "By range" >> beam.GroupByKey()
        | "Compare ids"
        >> beam.FlatMapTuple(lambda _range, packed: unbalanced_by_ids(packed)).with_output_types(
            str
        )
    )
    shares = (by_sums, by_ids) | "Unbalanced" >> beam.Flatten()
    return beam.pvalue.AsSingleton(shares | "Together" >> beam.combiners.ToSet())


def find_other_models(signed: Any, verifying: Verifying) -> Any:
    """What tables say of their vectors → findings, where no note says what is right."""
    return (
        signed
        | "Without note" >> beam.Filter(lambda each: each.folder not in verifying.notes)
        | "By what they say"
        >> beam.Map(lambda each: ((each.folder, each.said), each.path)).with_output_types(
            tuple[tuple[str, str], str]
        )
        | "Count" >> beam.CombinePerKey(_Counted())
        | "By folder"
        >> beam.MapTuple(
            lambda whose, counted: (whose[0], Tables(whose[1], *counted))
        ).with_output_types(tuple[str, Tables])
        | "Tables of a folder" >> beam.GroupByKey()
        | "Compare" >> beam.FlatMapTuple(wrong_in_folder).with_output_types(Finding)
    )


def _listed(
    folder: Folder, verifying: Verifying
) -> Iterable[
    Work | TaggedOutput[Literal["pieces"], Piece] | TaggedOutput[Literal["findings"], Finding]
]:
    """A folder → its files as work, or parts of it that are to be listed."""
    for each in work_in(folder, verifying):
        match each:
            case Work():
                yield each
            case Finding():
                yield _to(FINDINGS, each)
            case Piece():
                yield _to(PIECES, each)


def _owned(work: Work, verifying: Verifying, shares: set[str]) -> Iterator[Owned]:
    """What a file says of the owners of shares that do not balance."""
    return owned_in(work, verifying, shares) if shares else iter(())


def _there(piece: Piece, verifying: Verifying, shares: set[str]) -> Iterator[Owned]:
    """The files of the same owners."""
    if shares:
        files = files_of(piece, verifying)
        yield from dealt((owner, path) for owner, path in files if share_of(owner) in shares)


class Checking(beam.DoFn):
    """A file → findings about it and what it promises, and what others have to know."""

    def __init__(self, verifying: Verifying) -> None:
        self.verifying = verifying

    def start_bundle(self) -> None:
        self.books = Books(self.verifying)

    def process(
        self, work: Work
    ) -> Iterable[
        Finding
        | TaggedOutput[Literal["checked"], Checked]
        | TaggedOutput[Literal["facts"], tuple[bytes, Facts]]
        | TaggedOutput[Literal["signed"], Signed]
        | TaggedOutput[Literal["packed"], tuple[str, str]]
        | TaggedOutput[Literal["sums"], bytes]
        | TaggedOutput[Literal["ids"], tuple[int, bytes]]
    ]:
        for outcome in check_work(work, self.verifying):
            match outcome:
                case Finding():
                    count(WRONG, int(KINDS[outcome.kind].wrong))
                    yield outcome
                case Checked():
                    count(LOOKED_AT, int(outcome.counts.get("clip documents", 0)))
                    yield _to(CHECKED, outcome)
                case Claim():
                    self.books.enter(outcome)
                case Archive():
                    yield _to(PACKED, (outcome.path, outcome.by))
                case Signed():
                    yield _to(SIGNED, outcome)
                case (_, Mention() | Told() | Entered() as entry):
                    self.books.enter(entry)
                case (relative, facts):
                    # Names of files are not always good text, and keys have to be.
                    yield _to(FACTS, (relative.encode(*CODING), facts))
        self.books.close_file()

    def finish_bundle(self) -> Iterator[Any]:
        yield _to(SUMS, GlobalWindows.windowed_value(self.books.sums()))
        for each in self.books.ids():
            yield _to(IDS, GlobalWindows.windowed_value(each))


class Listing(beam.DoFn):
    """A part of a folder → sums of what lies there."""

    def __init__(self, verifying: Verifying) -> None:
        self.verifying = verifying

    def start_bundle(self) -> None:
        self.books = Books(self.verifying)

    def process(self, piece: Piece) -> None:
        number = 0
        for owner, path in files_of(piece, self.verifying):
            self.books.there(owner, path)
            number += 1
        if piece.is_of_documents and not self.verifying.has_catalogue:
            count(TO_CHECK, number)

    def finish_bundle(self) -> Iterator[Any]:
        yield GlobalWindows.windowed_value(self.books.sums())


def _to(tag: str, value: object) -> Any:
    return TaggedOutput(tag, value)
