"""Making shards: look at all clips, plan, and write what is not there yet.

    look      on workers    each clip's document, size and vector ─▶ light rows
    plan      here          order, bins, numbers, digests
    withdraw  here          the index first, then shards that are not of this plan
    write     on workers    the shards that are not there yet, each with a receipt

What says that they are there is promised after that (:mod:`finecut.transforms.shard.books`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import uuid4

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc

from finecut.io.errors import RunError
from finecut.io.process.threads import in_order
from finecut.io.records import Failure, from_json
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.io.tables.shards import ShardFolder, read_receipt
from finecut.transforms.beam.guard import FAILURES
from finecut.transforms.beam.lines import WriteLines, lines_in
from finecut.transforms.beam.metrics import BOARD
from finecut.transforms.shard.archives import WriteShards
from finecut.transforms.shard.books import READERS, Books, withdraw
from finecut.transforms.shard.listing import LISTED_TWICE, ListClips, Part
from finecut.transforms.shard.material import Sharding
from finecut.transforms.shard.plan import (
    ShardPlan,
    Shards,
    in_order_of_shards,
    plan_tables,
    read_candidates,
    read_plans,
    shards_of,
    without,
)

#: Runs a pipeline, to which this adds.
Run = Callable[[Callable[[beam.Pipeline], object]], object]


@dataclass(frozen=True)
class Making:
    """How shards are made of a dataset."""

    sharding: Sharding
    #: Where workers put what they report.
    tray: Shelf
    run: Run
    #: Whether everything that flows is held in the memory of this process: then a few at a time.
    in_memory: bool
    books: Books

    @property
    def folder(self) -> ShardFolder:
        return self.sharding.folder

    def look(self) -> list[pa.Table]:
        """Look at all clips on workers; what the plan has to know of them comes back."""
        parts_path = f"{self.tray.root}/parts.jsonl"
        failures_path = f"{self.tray.root}/unread.jsonl"

        def build(pipeline: beam.Pipeline) -> None:
            looked = (
                pipeline
                | "Dataset" >> beam.Create([self.sharding.output])
                | "Chunks" >> beam.FlatMap(lambda output: output.chunks()).with_output_types(str)
                | "Deal" >> beam.Reshuffle()
                | "Look"
                >> beam.ParDo(ListClips(self.sharding, self.tray)).with_outputs(
                    FAILURES, main="parts"
                )
            )
            _ = looked.parts | "WriteParts" >> WriteLines(self.tray, parts_path)
            _ = looked.failures | "WriteFailures" >> WriteLines(self.tray, failures_path)

        self.run(build)
        books = self.books
        unread = [from_json(Failure, line) for line in lines_in(failures_path)]
        books.enter(unread)
        if again := sum(len(one.lost_shots) for one in unread) - books.failed:
            books.left_out[LISTED_TWICE] += again
        parts = [from_json(Part, line) for line in lines_in(parts_path)]
        for part in parts:
            books.listed += part.listed
            books.on_lists += part.on_lists
            books.fit += [part.fit] if part.fit else []
            books.left_out.update(part.left_out)
            books.scores.update(part.scores)
            books.captions.update(part.captions)
            books.labels.update(part.labels)
        return list(in_order(lambda part: read_candidates(shelf.read(part.path)), parts, READERS))

    def clips_in_order(self, mixed: bool) -> pa.Table:
        """All clips that are taken, each once, in the order in which they are written."""
        books = self.books
        clips, twice = in_order_of_shards(self.look(), mixed=mixed)
        # One listing could be read: then another one that could not costs nothing.
        ids = pa.array(list(books.failures), pa.string())
        readable = ids.filter(pc.is_in(ids, value_set=clips["id"].combine_chunks())).to_pylist()
        for id in readable:
            del books.failures[id]
        if again := twice + len(readable):
            books.left_out[LISTED_TWICE] += again
        return clips

    def write_all(
        self, clips: pa.Table, most_bytes: int, most_clips: int
    ) -> tuple[pa.Table, Shards]:
        """Write the shards of these clips; those that could be read, and their shards."""
        books, unread = self.books, dict(self.books.failures)
        there = self.folder.noted() or []
        shards = shards_of(clips, most_bytes, most_clips)
        books.kept = len(_current(self.folder, shards, there))
        while True:
            self._write(shards, there)
            there = list(shards.names)
            if not (emptied := self._emptied(shards)):
                return clips, shards
            # Nothing is left of a shard: those that follow take its number. Shards that lack a
            # clip are tried again, so the last pass reports what failed in them.
            unread |= {clip: books.failures[clip] for clip in emptied}
            books.failures = dict(unread)
            clips = without(clips, emptied)
            shards = shards_of(clips, most_bytes, most_clips)
            if not len(clips):
                raise RunError(
                    "not one clip could be read, so there are now no shards: "
                    f"{books.first_failures}"
                )

    def _write(self, shards: Shards, there: Sequence[str]) -> None:
        """Write what is not there yet; what is there and of another plan is removed before."""
        folder, own = self.folder, self.sharding.shelf
        current = _current(folder, shards, there)
        wanted = [index for index, name in enumerate(shards.names) if name not in current]
        stale = sorted({*there, *(shards.names[index] for index in wanted)} - current)
        BOARD.add("shards to write", len(wanted))
        if not stale:
            return
        # Whoever comes after a run that was killed knows what may lie about, and nobody finds an
        # index.
        folder.write_note(own, {*there, *shards.names})
        withdraw(self.sharding)
        # Receipts before their shards.
        own.remove(*map(folder.receipt, stale))
        own.remove(*map(folder.shard, stale))
        plans = []
        for number, data in enumerate(plan_tables(shards, wanted)):
            plans.append(f"{self.tray.root}/plans/{uuid4().hex}-{number}.parquet")
            self.tray.write(plans[-1], data)
        for paths in [[path] for path in plans] if self.in_memory else [plans]:
            if paths:
                self._write_planned(paths)

    def _write_planned(self, paths: Sequence[str]) -> None:
        failures_path = f"{self.tray.root}/{uuid4().hex}.jsonl"

        def build(pipeline: beam.Pipeline) -> None:
            done = (
                pipeline
                | "Plans" >> beam.Create(paths)
                | "Read"
                >> beam.FlatMap(lambda path: read_plans(shelf.read(path))).with_output_types(
                    ShardPlan
                )
                # One file holds many.
                | "Deal" >> beam.Reshuffle()
                | WriteShards(self.sharding)
            )
            _ = done.failures | "WriteFailures" >> WriteLines(self.tray, failures_path)

        self.run(build)
        self.books.enter(from_json(Failure, line) for line in lines_in(failures_path))

    def _emptied(self, shards: Shards) -> list[str]:
        """The clips of shards of which nothing is left, because none of them could be read."""
        failed = {clip for one in self.books.failures.values() for clip in one.lost_shots}
        found = in_order(partial(_digest_of_whole, self.folder), shards.names, READERS)
        emptied: list[str] = []
        for index in [index for index, digest in enumerate(found) if digest is None]:
            ids = shards.rows(index)["id"].to_pylist()
            if not failed.issuperset(ids):
                raise RunError(
                    f"{self.folder.shard(shards.names[index])} could not be written, so there is "
                    f"no index. {self.books.first_failures}. Run the same command again once "
                    "that is fixed; finished shards stay"
                )
            emptied += ids
        return emptied


def _current(folder: ShardFolder, shards: Shards, there: Sequence[str]) -> set[str]:
    """The shards of this plan that are on the shelf."""
    planned = dict(zip(shards.names, shards.digests, strict=True))
    names = sorted({*there} & {*planned})
    digests = in_order(partial(_digest_of_whole, folder), names, READERS)
    return {name for name, digest in zip(names, digests, strict=True) if digest == planned[name]}


def _digest_of_whole(folder: ShardFolder, name: str) -> str | None:
    """The digest on a shard's receipt, if the shard is there and as long as the receipt says."""
    receipt = read_receipt(folder, name)
    if receipt is None:
        return None
    try:
        return receipt[0] if shelf.size_of(folder.shard(name)) == receipt[1] else None
    except FileNotFoundError:
        return None
