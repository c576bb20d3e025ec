"""Making shards: plan, and write what is not there yet.

    plan      on workers    what goes into which shard, and which lie there (:mod:`planning`)
    withdraw  here          the index first, then shards that are not of this plan
    write     on workers    the shards that are not there yet, each with a receipt
    count     on workers    what receipts say
    tables    on workers    the index and the others (:mod:`promise`)

Here, that is on the machine that the command is started on, the names of shards are known, and
nothing of clips.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add
from typing import Any
from uuid import uuid4

import apache_beam as beam
from apache_beam.pvalue import AsList

from finecut.io.errors import RunError
from finecut.io.records import Failure, from_json, to_json
from finecut.io.tables.shards import ShardFolder, read_receipt
from finecut.transforms.beam.lines import WriteLines, lines_in
from finecut.transforms.beam.metrics import BOARD
from finecut.transforms.shard.archives import Sharded, outcomes_of
from finecut.transforms.shard.books import Books, Receipt, Sums, sums_of
from finecut.transforms.shard.listing import LISTED_TWICE
from finecut.transforms.shard.looking import Part, Planning
from finecut.transforms.shard.lost import Lost, put_down_failures
from finecut.transforms.shard.plan import Piece, place_of_shard
from finecut.transforms.shard.planning import (
    PackShards,
    Planned,
    SortClips,
    Sorted,
    digest_of_whole,
)
from finecut.transforms.shard.promise import Table, withdraw, write_one

#: Runs a pipeline, to which this adds.
Run = Callable[[Callable[[beam.Pipeline], object]], object]


@dataclass(frozen=True)
class Wrote:
    """What came of a shard that was to be written."""

    name: str
    clips: int
    lost: Lost


@dataclass
class Making:
    """How shards are made of a dataset."""

    planning: Planning
    run: Run
    books: Books
    #: The plan, in order.
    shards: list[Planned] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)

    @property
    def folder(self) -> ShardFolder:
        return self.planning.sharding.folder

    def _path(self, name: str) -> str:
        return f"{self.planning.tray.root}/{name}.jsonl"

    # ── planning ─────────────────────────────────────────────────────────────────────────────────

    def plan(self) -> None:
        """Plan all shards."""
        planning, tray = self.planning, self.planning.tray

        def build(pipeline: beam.Pipeline) -> None:
            once = pipeline | "Once" >> beam.Create([0])
            found = once | "Sort clips" >> SortClips(planning)
            shards = once | "Pack shards" >> PackShards(planning, AsList(found["ranges"]))
            for name, records in {**found, "shards": shards}.items():
                _ = records | f"Write {name}" >> WriteLines(tray, self._path(name))

        self.run(build)
        self._enter()
        self._read_plan()

    def _enter(self) -> None:
        books, planning = self.books, self.planning
        for part in _records(Part, self._path("parts")):
            books.listed += part.listed
            books.on_lists += part.on_lists
            books.left_out.update(part.left_out)
            books.scores.update(part.scores)
            books.captions.update(part.captions)
            books.labels.update(part.labels)
        for one in _records(Sorted, self._path("sorted")):
            if one.twice:
                books.left_out[LISTED_TWICE] += one.twice
            if one.lost.failures:
                books.lost.append(one.lost)
            books.not_left_out += one.watched
            books.bereft += one.bereft - one.consoled
        unread = put_down_failures(
            f"{planning.tray.root}/lost/chunks.jsonl",
            _records(Failure, self._path("failures")),
            planning.tray,
        )
        if unread.failures:
            books.lost.append(unread)

    def _read_plan(self) -> None:
        found = _records(Planned, self._path("shards"))
        self.shards = sorted(found, key=lambda one: place_of_shard(one.name))

    def _plan_again(self, holes: Sequence[Piece]) -> None:
        """Plan all shards without these clips."""
        planning, tray = self.planning, self.planning.tray
        path = self._path("ranges")

        def build(pipeline: beam.Pipeline) -> None:
            once = pipeline | "Once" >> beam.Create([0])
            ranges = once | "Ranges" >> beam.FlatMap(
                lambda _: _records(Sorted, path)
            ).with_output_types(Sorted)
            shards = once | "Pack shards" >> PackShards(planning, AsList(ranges), holes)
            _ = shards | "Write shards" >> WriteLines(tray, self._path("shards"))

        tray.remove(self._path("shards"))
        self.run(build)
        self._read_plan()

    # ── writing ──────────────────────────────────────────────────────────────────────────────────

    def write_all(self) -> None:
        """Write the shards of the plan; of those of which no clip can be read, there are none."""
        books = self.books
        there = self.folder.noted() or []
        noted = {*there}
        books.kept = sum(one.current and one.name in noted for one in self.shards)
        unread, holes = list(books.lost), list[Piece]()
        while True:
            wrote = self._write(there)
            there = [one.name for one in self.shards]
            emptied = self._emptied(wrote)
            books.lost = [*unread, *(one.lost for one in wrote.values() if one.lost.failures)]
            if not emptied:
                return
            # Nothing is left of a shard: those that follow take its number. Shards that lack a
            # clip are tried again, so the last pass reports what failed in them.
            unread += [wrote[one.name].lost for one in emptied]
            holes += [piece for one in emptied for piece in one.pieces]
            self._plan_again(holes)
            if not self.shards:
                raise RunError(
                    f"not one clip could be read, so there are now no shards: {books.why_failed}"
                )

    def _write(self, there: Sequence[str]) -> dict[str, Wrote]:
        """Write what is not there yet; what is there and of another plan is removed before."""
        folder, own = self.folder, self.planning.sharding.shelf
        noted = {*there}
        # A shard that nobody noted was never promised.
        current = {one.name for one in self.shards if one.current and one.name in noted}
        wanted = [one for one in self.shards if one.name not in current]
        stale = sorted({*there, *(one.name for one in wanted)} - current)
        BOARD.add("shards to write", len(wanted))
        if stale:
            # Whoever comes after a run that was killed knows what may lie about, and nobody finds
            # an index.
            folder.write_note(own, {*there, *(one.name for one in self.shards)})
            withdraw(self.planning.sharding)
            # Receipts before their shards.
            own.remove(*map(folder.receipt, stale))
            own.remove(*map(folder.shard, stale))
        return self._write_and_count(wanted)

    def _write_and_count(self, wanted: Sequence[Planned]) -> dict[str, Wrote]:
        planning, tray, run = self.planning, self.planning.tray, uuid4().hex
        wanted_path, names_path = self._path(f"{run}/wanted"), self._path(f"{run}/names")
        wrote_path, told_path = self._path(f"{run}/wrote"), self._path(f"{run}/told")
        sums_path = self._path(f"{run}/sums")
        tray.write(wanted_path, _lines(to_json(one) for one in wanted))
        tray.write(names_path, _lines(one.name for one in self.shards))

        def build(pipeline: beam.Pipeline) -> None:
            once = pipeline | "Once" >> beam.Create([0])
            wrote = (
                once
                | "Plans"
                >> beam.FlatMap(lambda _: _records(Planned, wanted_path)).with_output_types(Planned)
                | "Share out plans" >> beam.Reshuffle()
                | "Write"
                >> beam.Map(lambda one: _written(one, planning, run)).with_output_types(Wrote)
            )
            told = (
                once
                | "Names"
                >> beam.FlatMap(
                    lambda _, _wrote: lines_in(names_path), AsList(wrote)
                ).with_output_types(str)
                | "Share out receipts" >> beam.Reshuffle()
                | "Count" >> beam.Map(lambda name: _told(name, planning.sharding.folder))
            )
            receipts = told | "Receipts" >> beam.Map(lambda one: one[0]).with_output_types(Receipt)
            sums = (
                told
                | "Sums" >> beam.Map(lambda one: one[1]).with_output_types(Sums)
                | "Add up" >> beam.CombineGlobally(lambda some: reduce(add, some, Sums()))
            )
            for path, records in ((wrote_path, wrote), (told_path, receipts), (sums_path, sums)):
                name = path.rpartition("/")[2]
                _ = records | f"Write {name}" >> WriteLines(tray, path)

        self.run(build)
        receipts = _records(Receipt, told_path)
        self.receipts = sorted(receipts, key=lambda one: place_of_shard(one.name))
        [self.books.sums] = _records(Sums, sums_path)
        return {one.name: one for one in _records(Wrote, wrote_path)}

    def _emptied(self, wrote: dict[str, Wrote]) -> list[Planned]:
        """Shards of which nothing is left, because none of their clips could be read."""
        gone = {one.name for one in self.receipts if one.digest is None}
        emptied = [one for one in self.shards if one.name in gone]
        for one in emptied:
            # A shard that could not be written fails, and none of its clips.
            if one.name not in wrote or wrote[one.name].lost.clips < one.clips:
                lost = [each.lost for each in wrote.values()]
                why = replace(self.books, lost=[*self.books.lost, *lost]).why_failed
                raise RunError(
                    f"{self.folder.shard(one.name)} could not be written, so there is "
                    f"no index. {why}. Run the same command again once that is fixed; finished "
                    "shards stay"
                )
        return emptied

    # ── tables ───────────────────────────────────────────────────────────────────────────────────

    def write_tables(self, tables: Sequence[Table]) -> None:
        """Write these tables on workers, the index when the others are written."""
        tray, path = self.planning.tray, self._path("names of all")
        folder, own = self.folder, self.planning.sharding.shelf
        tray.write(path, _lines(receipt.name for receipt in self.receipts))
        [*others, last] = tables

        def write(table: Table) -> str:
            write_one(table, lines_in(path), folder, own)
            return table.kind

        def build(pipeline: beam.Pipeline) -> None:
            once = pipeline | "Once" >> beam.Create([0])
            done = (
                once
                | "Tables" >> beam.FlatMap(lambda _: others).with_output_types(Table)
                | "Share out tables" >> beam.Reshuffle()
                | "Write tables" >> beam.Map(write).with_output_types(str)
            )
            _ = once | "Write the last" >> beam.Map(lambda _, _done: write(last), AsList(done))

        self.run(build)


def _written(planned: Planned, planning: Planning, run: str) -> Wrote:
    """Write a shard; what came of it."""
    plan, clips, failures = planned.plan(planning.tray), 0, []
    for outcome in outcomes_of(plan, planning.sharding):
        if isinstance(outcome, Sharded):
            clips += outcome.clips
        else:
            failures.append(outcome)
    path = f"{planning.tray.root}/lost/{run}/{planned.name}.jsonl"
    return Wrote(planned.name, clips, put_down_failures(path, failures, planning.tray))


def _told(name: str, folder: ShardFolder) -> tuple[Receipt, Sums]:
    if digest_of_whole(folder, name) is None:
        return Receipt(name, None), Sums()
    receipt = read_receipt(folder, name)
    return Receipt(name, *(receipt or (None, 0))), sums_of(folder, name)


def _records(kind: Any, path: str) -> Iterator[Any]:
    return (from_json(kind, line) for line in lines_in(path))


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode(errors="surrogateescape")
