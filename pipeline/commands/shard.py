"""``finecut shard``: a dataset becomes shards that training reads from beginning to end.

    look      on workers    each clip's document, size and vector ─▶ light rows
    plan      here          order, bins, numbers, digests
    withdraw  here          the index first, then shards that are not of this plan
    write     on workers    the shards that are not there yet, each with a receipt
    promise   here          card, tables, summary, and the index last

Killed anywhere, the same command goes on where it was: a shard whose receipt is of the same plan is
not written again.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple
from uuid import uuid4

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc

from finecut.io.dataset.output import Output
from finecut.io.layout import Layout
from finecut.io.process.threads import in_order
from finecut.io.records import Failure, from_json, to_json
from finecut.io.storage import files as shelf
from finecut.io.storage.fence import Fence, standing
from finecut.io.storage.halting import halt
from finecut.io.storage.json_documents import BadDocument, read_json
from finecut.io.storage.publishing import Shelf
from finecut.io.storage.staging import alive, sweep_dead
from finecut.io.storage.stores import UnknownStore
from finecut.io.storage.temporary import temporary_folder
from finecut.io.tables import drops as lists
from finecut.io.tables.drops import DropsError, read_drops
from finecut.io.tables.shards import (
    DIGEST,
    TAR,
    VECTOR,
    ShardFolder,
    digest_of_index,
    for_unpacked,
    grouped,
    named_files,
    read_receipt,
    remove_folder,
    rows_of,
    schema_of,
    write_lance,
    write_table,
)
from finecut.io.tables.tar import END
from finecut.pipeline.cli.final_words import NOTHING_MADE, UNBALANCED, shown
from finecut.pipeline.cli.progress import Progress, clock
from finecut.pipeline.cli.stopping import given_up_by
from finecut.pipeline.commands.options import ShardOptions
from finecut.pipeline.elsewhere import NOBODY_AT_WORK
from finecut.pipeline.engine import RunError, run_pipeline
from finecut.pipeline.options import OptionError
from finecut.transforms.beam.metrics import BOARD
from finecut.transforms.dedup.keepers import bereft_words, keepers_of
from finecut.transforms.filter.rules import parse_rule_on_output
from finecut.transforms.shard.archives import ReadPlans, WriteShards
from finecut.transforms.shard.bins import binning, parse_edges
from finecut.transforms.shard.card import MARK, Contents, card
from finecut.transforms.shard.listing import LISTED_TWICE, ListClips, Part, ReadChunks
from finecut.transforms.shard.material import NONE, Sharding
from finecut.transforms.shard.plan import (
    FORMAT,
    Shards,
    in_order_of_shards,
    plan_tables,
    read_candidates,
    shards_of,
    without,
)
from finecut.transforms.write.documents import serialise

#: Failures that a summary names; all of them are in the list.
NAMED_FAILURES = 20
SHOWN_FAILURES = 5
#: Folders of a dataset, and how those for vectors end.
OWN_FOLDERS = frozenset(
    [
        "clips",
        "filtered_clips",
        "metas",
        "previews",
        "processed_videos",
        "processed_clip_chunks",
        "failures",
        "runs",
        "report",
        "dedup",
        ".finecut",
        ".staging",
    ]
)
OWN_ENDINGS = ("_embd", "_embd_parquet")
#: Receipts that are read at the same time.
READERS = 16


@dataclass
class Books:
    """What became of the clips that the dataset lists."""

    listed: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    #: By the clip, or by what was to be read where it is not known which clips that cost.
    failures: dict[str, Failure] = field(default_factory=dict)
    written: int = 0
    shards: int = 0
    #: Shards of this plan that lay there already.
    kept: int = 0
    num_bytes: int = 0
    seconds: float = 0.0
    texts: int = 0
    vectors: int = 0
    dimensions: set[int] = field(default_factory=set)
    bins: dict[str, Counter[str]] = field(default_factory=dict)
    scores: set[str] = field(default_factory=set)
    captions: set[str] = field(default_factory=set)
    #: Those of the scores that are labels.
    labels: set[str] = field(default_factory=set)
    #: Ids on the lists that were given, and clips of the dataset that have one of them.
    drops: int = 0
    on_lists: int = 0
    #: Lists of duplicates that would have been taken.
    fit: list[str] = field(default_factory=list)
    #: Duplicates that went for a clip that is left out itself.
    bereft: int = 0
    #: Clips in the shards that dedup listed, and nobody left out.
    not_left_out: int = 0

    @property
    def failed(self) -> int:
        return len({clip for one in self.failures.values() for clip in one.lost_shots})

    def imbalance(self) -> str | None:
        """What is wrong with the sums, if anything is."""
        left_out = sum(self.left_out.values())
        became = self.written + left_out + self.failed
        if became == self.listed:
            return None
        return (
            f"{self.listed} clips were listed, but {self.written} written + {left_out} left out + "
            f"{self.failed} failed = {became}"
        )

    def enter(self, failures: Iterable[Failure]) -> None:
        for failure in failures:
            # A clip that fails in two passes is one failure.
            key = " ".join(failure.lost_shots) or failure.source.name
            self.failures.setdefault(key, failure)


class Ran(NamedTuple):
    books: Books
    sharding: Sharding
    took: float


def main(options: ShardOptions, runner_arguments: Sequence[str]) -> int:
    """Do what the command asks; its exit code."""
    ran = shard(options, runner_arguments, progress=not options.quiet)
    sys.stdout.write(final_words(ran, options) + "\n")
    wrong = ran.books.imbalance()
    if wrong:
        sys.stderr.write(f"finecut: the books do not balance: {wrong}\n")
        return UNBALANCED
    return 0 if ran.books.written else NOTHING_MADE


def shard(
    options: ShardOptions, runner_arguments: Sequence[str] = (), progress: bool = False
) -> Ran:
    """Write the shards of a dataset. Raises when that cannot be done as a whole."""
    options.check()
    with standing(_fence(options)):
        return _shard(options, runner_arguments, progress)


def _fence(options: ShardOptions) -> Fence:
    return Fence((shelf.absolute(options.dataset), shelf.absolute(options.output)))


def _shard(options: ShardOptions, runner_arguments: Sequence[str], progress: bool) -> Ran:
    began = time.monotonic()
    output = Output.at(options.dataset)
    folder = ShardFolder(shelf.absolute(options.output))
    own = Shelf(folder.root, Layout(folder.root).staging_of(uuid4().hex), _fence(options))
    sharding = _sharding(options, output, folder, own)
    dropped, keepers = read_drops(options.drop), keepers_of(options.drop)
    with ExitStack() as at_work:
        at_work.enter_context(given_up_by(partial(_give_up, own), options.is_local))
        _check_output(options, sharding, at_work)
        at_work.enter_context(Progress(progress and options.is_local, line=progress_line))
        ended = False
        try:
            with _tray(options, own) as tray:
                told = _dropping(sharding, tray, dropped, bool(keepers))
                books = _run(options, told, tray, keepers, runner_arguments)
            books.drops = len(dropped)
            ended = True
        except NOBODY_AT_WORK:
            ended = True
            raise
        except OSError as error:
            raise RunError(
                f"{folder.root} could not be written ({error.strerror or error}). Make room, or "
                "see what is in its way there, and run the same command again; shards that are "
                "written stay"
            ) from error
        finally:
            # A cluster's job may outlive this process, and publish from the staging folder.
            if ended or options.is_local:
                own.sweep()
    return Ran(books, sharding, time.monotonic() - began)


def _sharding(options: ShardOptions, output: Output, folder: ShardFolder, own: Shelf) -> Sharding:
    try:
        edges = {name: parse_edges(words) for name, words in options.edges.items()}
    except ValueError as error:
        raise OptionError(f"--…-edges: {error}") from error
    return Sharding(
        output=output,
        folder=folder,
        shelf=own,
        rules=tuple(map(parse_rule_on_output, options.keep)),
        needs=options.need,
        invalid=options.take_invalid,
        caption=options.caption,
        algorithm=_algorithm(options.vectors, output),
        bins=binning(options.bin_by, edges),
        seed=options.seed,
    )


def _algorithm(named: str, output: Output) -> str | None:
    """Whose vectors go along: the only ones there are, if nobody says which."""
    there = output.algorithms()
    if named == NONE or (not named and not there):
        return None
    if not named and len(there) > 1:
        raise OptionError(
            f"{output.root} has vectors of {', '.join(there)}: write --vectors {there[0]} (or "
            "another), or --vectors none"
        )
    if named and named not in there:
        has = f"of {', '.join(there)}" if there else "none"
        raise OptionError(f"--vectors {named}: {output.root} has {has}")
    return named or there[0]


def _check_output(options: ShardOptions, sharding: Sharding, at_work: ExitStack) -> None:
    """What makes the work impossible, or would destroy what is not ours, is known before it."""
    own, root = sharding.shelf, sharding.folder.root
    _refuse_own_folders(sharding)
    if shelf.identity(root) == shelf.identity(sharding.output.root):
        raise OptionError(
            "--output is the dataset itself: write another folder, such as "
            f"{sharding.output.root}/shards"
        )
    try:
        shelf.check_store(root)
    except UnknownStore as error:
        raise OptionError(f"--output: {error}") from error
    _refuse_strangers(sharding.folder)
    if options.lance:
        _require_lance()
    try:
        at_work.enter_context(alive(own, "shard", elsewhere=not options.is_local))
        own.prepare()
    except OSError as error:
        raise OptionError(
            f"--output {root} cannot be written to ({error.strerror or error}): write a folder you "
            "may write to"
        ) from error
    for other in sweep_dead(own):
        raise OptionError(
            f"--output is being written by another run (process {other.process} on "
            f"{other.host}): wait until it has ended, or write to another folder"
        )


def _refuse_own_folders(sharding: Sharding) -> None:
    """What lies in a folder of the dataset is taken for a part of it."""
    dataset = shelf.identity(sharding.output.root)
    inside = shelf.identity(sharding.folder.root).removeprefix(f"{dataset}/")
    name = inside.split("/")[0]
    if inside.startswith("/") or not (name in OWN_FOLDERS or name.endswith(OWN_ENDINGS)):
        return
    raise OptionError(
        f"--output lies in {name}/, a folder of the dataset itself, where shards would be taken "
        f"for a part of it: write another folder, such as {sharding.output.root}/shards"
    )


def _refuse_strangers(folder: ShardFolder) -> None:
    """Archives that we did not write would be read with ours, and are not ours to remove."""
    noted = folder.noted()
    strangers = [f"{name}{TAR}" for name in sorted({*folder.tars()} - {*(noted or ())})]
    if noted is None:
        ours = (folder.index, folder.metadata, folder.summary, folder.failures, folder.lance)
        strangers += [path.rpartition("/")[2] for path in ours if shelf.exists(path)]
    if strangers:
        raise OptionError(
            f"--output {folder.root} holds {strangers[0]}, which finecut shard did not write: "
            "write to a folder of its own, where nothing else is read as a shard or replaced"
        )


def _require_lance() -> None:
    if find_spec("lance") is None:
        raise OptionError(
            "--lance needs a library that is not installed: pip install 'finecut[lance]'"
        )


def _give_up(own: Shelf) -> None:
    """Stage nothing any more, and remove what was staged."""
    halt(own.staging)
    own.sweep()


# The work.


@contextmanager
def _tray(options: ShardOptions, own: Shelf) -> Iterator[Shelf]:
    """Where workers put what they have to tell.

    Not on the output's disk, where it can be: what a run on a full disk says is worth most.
    """
    if not options.is_local:
        yield Shelf(f"{own.staging}/tray", own.staging)
        return
    with temporary_folder() as folder:
        yield Shelf(folder, folder)


def _dropping(sharding: Sharding, tray: Shelf, dropped: frozenset[str], grouped: bool) -> Sharding:
    """With one list of what to leave out for all workers, wherever they are."""
    if not dropped:
        return sharding
    path = f"{tray.root}/drops.parquet"
    tray.write(path, lists.drops_table(dropped))
    return replace(sharding, drops=path, grouped=grouped)


def _run(
    options: ShardOptions,
    sharding: Sharding,
    tray: Shelf,
    keepers: Mapping[str, str],
    runner_arguments: Sequence[str],
) -> Books:
    run = partial(
        run_pipeline,
        runner=options.runner,
        workers=options.local_workers,
        runner_arguments=runner_arguments,
        own=sharding.shelf,
    )
    books = Books()
    tables = _look(sharding, tray, run, books)
    clips, twice = in_order_of_shards(tables, mixed=not options.no_mix)
    del tables
    _enter_twice(books, clips, twice)
    unread = dict(books.failures)
    books.bereft = _bereft(keepers, books, clips)
    if not len(clips):
        why = f" ({_reasons(books.left_out)})" if books.left_out else ""
        raise RunError(
            f"not one clip is left to be written, so nothing was changed: {_sums(books)}{why}"
            f"{_why_none(sharding.output, books)}"
        )
    most = max(1, int(options.shard_mb * 1e6) - len(END))
    there = sharding.folder.noted() or []
    shards = shards_of(clips, most, options.shard_clips)
    books.kept = len(_current(sharding.folder, shards, there))
    while True:
        _write(options, sharding, tray, run, books, shards, there)
        there = list(shards.names)
        emptied = _emptied(sharding, shards, books)
        if not emptied:
            break
        # Nothing is left of a shard: those that follow take its number. Shards that lack a clip
        # are tried again, so what failed in them is told by the last pass.
        unread |= {clip: books.failures[clip] for clip in emptied}
        books.failures = dict(unread)
        clips = without(clips, emptied)
        shards = shards_of(clips, most, options.shard_clips)
        if not len(clips):
            raise RunError(
                f"not one clip could be read, so there are no shards now: {_first_failures(books)}"
            )
    _promise(options, sharding, books, shards)
    books.not_left_out = _not_left_out(options, sharding.output, books, clips)
    return books


def _enter_twice(books: Books, clips: pa.Table, twice: int) -> None:
    """Each clip is one, however often it is listed, and whatever became of it each time."""
    ids = pa.array(list(books.failures), pa.string())
    # One listing could be read: then another one that could not costs nothing.
    readable = ids.filter(pc.is_in(ids, value_set=clips["id"].combine_chunks())).to_pylist()
    for id in readable:
        del books.failures[id]
    if again := twice + len(readable):
        books.left_out[LISTED_TWICE] += again


def _bereft(keepers: Mapping[str, str], books: Books, clips: pa.Table) -> int:
    """How many duplicates would be taken, and went for a clip that is not taken."""
    fit = read_drops(books.fit)
    wanted = pa.array([keepers[id] for id in sorted(fit) if id in keepers], pa.string())
    there = pc.is_in(wanted, value_set=clips["id"].combine_chunks())
    return len(wanted) - int(pc.sum(there).as_py() or 0)


def _why_none(output: Output, books: Books) -> str:
    """What failed first, and the usual cause of it."""
    said = f". {_first_failures(books)}" if books.failures else ""
    if not shelf.exists(output.layout.clips()):
        said += (
            f". There is no clips/ in {output.root}: was it made with --no-upload-clips? Then run "
            "finecut curate without it first"
        )
    return said


def _look(sharding: Sharding, tray: Shelf, run: Callable[..., Any], books: Books) -> list[pa.Table]:
    """Look at all clips on workers; what the plan has to know of them comes back."""
    parts_path, failures_path = f"{tray.root}/parts.jsonl", f"{tray.root}/unread.jsonl"

    def build(pipeline: beam.Pipeline) -> None:
        chunks = pipeline | "Dataset" >> beam.Create([sharding.output]) | ReadChunks()
        looked = chunks | ListClips(sharding, tray)
        _ = looked.parts | "WriteParts" >> _Lines(tray, parts_path)
        _ = looked.failures | "WriteFailures" >> _Lines(tray, failures_path)

    run(build)
    parts = [from_json(Part, line) for line in _lines(parts_path)]
    unread = [from_json(Failure, line) for line in _lines(failures_path)]
    books.enter(unread)
    again = sum(len(one.lost_shots) for one in unread) - books.failed
    if again:
        books.left_out[LISTED_TWICE] += again
    for part in parts:
        books.listed += part.listed
        books.on_lists += part.on_lists
        books.fit += [part.fit] if part.fit else []
        books.left_out.update(part.left_out)
        books.scores.update(part.scores)
        books.captions.update(part.captions)
        books.labels.update(part.labels)
    return list(in_order(_candidates, (part.path for part in parts), READERS))


def _candidates(path: str) -> pa.Table:
    return read_candidates(shelf.read(path))


def _write(
    options: ShardOptions,
    sharding: Sharding,
    tray: Shelf,
    run: Callable[..., Any],
    books: Books,
    shards: Shards,
    there: Sequence[str],
) -> None:
    """Write what is not there yet; what is there and of another plan is removed before."""
    folder, own = sharding.folder, sharding.shelf
    current = _current(folder, shards, there)
    wanted = [index for index, name in enumerate(shards.names) if name not in current]
    stale = sorted({*there, *(shards.names[index] for index in wanted)} - current)
    BOARD.add("shards to write", len(wanted))
    if not stale:
        return
    # Whoever comes after a run that was killed knows what may lie about, and nobody finds an index.
    folder.write_note(own, {*there, *shards.names})
    _withdraw(sharding)
    _remove(own, [path for name in stale for path in (folder.receipt(name), folder.shard(name))])
    plans = []
    for number, data in enumerate(plan_tables(shards, wanted)):
        plans.append(f"{tray.root}/plans/{uuid4().hex}-{number}.parquet")
        tray.write(plans[-1], data)
    # The local runner holds what flows in memory, so there it is a row of pipelines.
    for paths in [[path] for path in plans] if options.is_local else [plans]:
        _write_planned(sharding, tray, run, books, paths)


def _write_planned(
    sharding: Sharding, tray: Shelf, run: Callable[..., Any], books: Books, paths: Sequence[str]
) -> None:
    if not paths:
        return
    failures_path = f"{tray.root}/{uuid4().hex}.jsonl"

    def build(pipeline: beam.Pipeline) -> None:
        plans = pipeline | "Plans" >> beam.Create(paths) | ReadPlans()
        done = plans | WriteShards(sharding)
        _ = done.failures | "WriteFailures" >> _Lines(tray, failures_path)

    run(build)
    books.enter(from_json(Failure, line) for line in _lines(failures_path))


def _current(folder: ShardFolder, shards: Shards, there: Sequence[str]) -> set[str]:
    """The shards of this plan that are on the shelf."""
    planned = dict(zip(shards.names, shards.digests, strict=True))
    names = sorted({*there} & {*planned})
    receipts = in_order(partial(_receipt_of_whole, folder), names, READERS)
    return {
        name
        for name, digest in zip(names, receipts, strict=True)
        if digest is not None and digest == planned[name]
    }


def _receipt_of_whole(folder: ShardFolder, name: str) -> str | None:
    """The digest on a shard's receipt, if the shard is there and as long as the receipt says."""
    receipt = read_receipt(folder, name)
    if receipt is None:
        return None
    try:
        return receipt[0] if shelf.size_of(folder.shard(name)) == receipt[1] else None
    except FileNotFoundError:
        return None


def _emptied(sharding: Sharding, shards: Shards, books: Books) -> list[str]:
    """The clips of shards of which nothing is left, because none of their clips could be read."""
    folder = sharding.folder
    failed = {clip for one in books.failures.values() for clip in one.lost_shots}
    found = in_order(partial(_receipt_of_whole, folder), shards.names, READERS)
    missing = [index for index, digest in enumerate(found) if digest is None]
    emptied: list[str] = []
    for index in missing:
        ids = shards.rows(index)["id"].to_pylist()
        if not failed.issuperset(ids):
            raise RunError(
                f"{folder.shard(shards.names[index])} could not be written, so there is no index. "
                f"{_first_failures(books)}. Run the same command again when that is mended; shards "
                "that are written stay"
            )
        emptied += ids
    return emptied


def _withdraw(sharding: Sharding) -> None:
    folder, own = sharding.folder, sharding.shelf
    for path in (folder.index, folder.metadata, folder.summary, folder.failures):
        own.remove(path)
    _remove_lance(sharding)


def _remove_lance(sharding: Sharding) -> None:
    sharding.shelf.remove(sharding.folder.lance_note)
    remove_folder(sharding.shelf, sharding.folder.lance, first="_versions")


def _remove(own: Shelf, paths: Sequence[str]) -> None:
    """Receipts before their shards."""
    if not paths:
        return
    if not shelf.is_remote(paths[0]):
        for path in paths:
            own.remove(path)
        return
    shelf.delete(list(paths[::2]))
    shelf.delete(list(paths[1::2]))


def _promise(options: ShardOptions, sharding: Sharding, books: Books, shards: Shards) -> None:
    """Write what says that the shards are there; the index goes last."""
    folder, own = sharding.folder, sharding.shelf
    _add_up(folder, shards, books)
    schema = schema_of(books.scores, books.captions, books.labels)
    digest = _digest_of_all(folder, shards, schema)
    schema = schema.with_metadata({DIGEST: digest})
    if (folder.noted() or []) != sorted(shards.names):
        folder.write_note(own, shards.names)
    _write_card(sharding, books)
    _put(own, folder.failures, _failure_list(books))
    _put(own, folder.summary, serialise(summary_document(options, sharding, books)))
    # The table has vectors that the index has not: it is written on its own account.
    if options.lance and digest_of_lance(folder) != digest:
        _write_lance(sharding, books, shards, schema, digest)
    if digest_of_index(folder.index) == digest and shelf.exists(folder.metadata):
        return
    own.remove(folder.index)
    tables = partial(_tables, folder, shards)
    names = map(named_files, tables())
    unpacked = for_unpacked(schema)
    write_table(own, folder.metadata, grouped(names, unpacked), unpacked)
    write_table(own, folder.index, grouped(tables(), schema), schema)


def _tables(folder: ShardFolder, shards: Shards) -> Iterator[pa.Table]:
    """The rows of all shards, in order."""
    yield from in_order(partial(rows_of, folder), shards.names, READERS)


def _add_up(folder: ShardFolder, shards: Shards, books: Books) -> None:
    receipts = in_order(partial(read_receipt, folder), shards.names, READERS)
    for name, receipt, rows in zip(shards.names, receipts, _tables(folder, shards), strict=True):
        size = receipt[1] if receipt else 0
        seconds = float(pc.sum(pc.subtract(rows["end"], rows["start"])).as_py() or 0.0)
        books.written += len(rows)
        books.shards += 1
        books.num_bytes += size
        books.seconds += seconds
        books.texts += len(rows) - rows["caption"].null_count
        books.vectors += len(rows) - rows[VECTOR].null_count
        books.dimensions.update(pc.unique(pc.list_value_length(rows[VECTOR])).to_pylist())
        bin = books.bins.setdefault(name.rpartition("/")[0], Counter())
        bin.update({"clips": len(rows), "shards": 1, "bytes": size})


def _digest_of_all(folder: ShardFolder, shards: Shards, schema: pa.Schema) -> str:
    """Stands for an index: what shards it speaks of, and in which columns."""
    said = hashlib.sha256(FORMAT + str(schema).encode())
    receipts = in_order(partial(read_receipt, folder), shards.names, READERS)
    for name, receipt in zip(shards.names, receipts, strict=True):
        said.update(f" {name} {receipt}".encode())
    return said.hexdigest()


def digest_of_lance(folder: ShardFolder) -> str | None:
    """Of which set of shards the Lance table tells, if there is one."""
    with suppress(BadDocument):
        return str((read_json(folder.lance_note) or {}).get("digest"))
    return None


def _write_lance(
    sharding: Sharding, books: Books, shards: Shards, schema: pa.Schema, digest: str
) -> None:
    folder, own = sharding.folder, sharding.shelf
    _remove_lance(sharding)
    wide = schema.remove_metadata()
    sizes = books.dimensions - {None}
    if sizes:
        # Lance searches among vectors of one size.
        kind = pa.list_(pa.float32(), *(sizes if len(sizes) == 1 else ()))
        wide = wide.append(pa.field(VECTOR, kind))
    write_lance(own, folder.lance, grouped(_tables(folder, shards), wide))
    own.write(folder.lance_note, json.dumps({"digest": digest}).encode())


def _write_card(sharding: Sharding, books: Books) -> None:
    folder = sharding.folder
    there = shelf.read_if_there(folder.card)
    if there is not None and MARK.encode() not in there:
        return
    contents = Contents(
        clips=books.written,
        seconds=books.seconds,
        shards=books.shards,
        num_bytes=books.num_bytes,
        scores=tuple(sorted(books.scores)),
        labels=frozenset(books.labels),
        captions=tuple(sorted(books.captions)),
        has_texts=books.texts > 0,
        has_vectors=books.vectors > 0,
        has_bins=bool(sharding.bins.axes),
    )
    _put(sharding.shelf, folder.card, card(contents).encode())


def _put(own: Shelf, path: str, data: bytes) -> None:
    """Write a file that is not there yet like this; none at all for nothing."""
    there = shelf.read_if_there(path)
    if not data:
        if there is not None:
            own.remove(path)
    elif there != data:
        own.write(path, data)


def _failure_list(books: Books) -> bytes:
    return "".join(sorted(f"{to_json(one)}\n" for one in books.failures.values())).encode(
        errors="surrogateescape"
    )


def _lines(path: str) -> list[str]:
    data = shelf.read_if_there(path)
    return [] if data is None else data.decode(errors="surrogateescape").split("\n")[:-1]


class _Lines(beam.PTransform[beam.PCollection[Part | Failure], beam.PCollection[int]]):
    """Records → one file of JSON lines; nothing is written when there are none."""

    def __init__(self, own: Shelf, path: str) -> None:
        super().__init__()
        self.own, self.path = own, path

    def expand(self, records: beam.PCollection[Part | Failure]) -> beam.PCollection[int]:
        own, path = self.own, self.path

        def write(group: tuple[int, Iterable[str]]) -> int:
            text = "".join(f"{line}\n" for line in sorted(group[1]))
            return own.write(path, text.encode(errors="surrogateescape"))

        return (
            records
            | "Lines" >> beam.Map(lambda one: (0, to_json(one))).with_output_types(tuple[int, str])
            | "One file" >> beam.GroupByKey()
            | "Write" >> beam.Map(write).with_output_types(int)
        )


# What is said.


def summary_document(options: ShardOptions, sharding: Sharding, books: Books) -> dict[str, Any]:
    """``summary.json``: the same for the same dataset and options, whenever it is written."""
    wrong = books.imbalance()
    failures = sorted(books.failures.values(), key=lambda one: (one.lost_shots, one.source.name))
    return {
        "dataset": sharding.output.root,
        "balanced": wrong is None,
        "clips": {
            "listed": books.listed,
            "written": books.written,
            "left_out": dict(sorted(books.left_out.items())),
            "failed": books.failed,
        },
        "seconds": round(books.seconds, 3),
        "shards": books.shards,
        "bytes": books.num_bytes,
        "with_caption": books.texts,
        "with_vector": books.vectors,
        "vectors": sharding.algorithm if books.vectors else None,
        "bins": {name: dict(sums) for name, sums in sorted(books.bins.items()) if name},
        "keep": list(options.keep),
        "drop": list(options.drop),
        "need": list(options.need),
        "take_invalid": options.take_invalid,
        "mixed": not options.no_mix,
        "seed": options.seed,
        "shard_mb": options.shard_mb,
        "shard_clips": options.shard_clips,
        "bin_by": {axis: list(edges) for axis, edges in sharding.bins.axes},
        "failures": [
            {"clips": list(one.lost_shots), "of": one.source.name, "message": one.message}
            for one in failures[:NAMED_FAILURES]
        ],
    }


def final_words(ran: Ran, options: ShardOptions) -> str:
    """A short table for people."""
    books, folder = ran.books, ran.sharding.folder
    now = books.shards - books.kept
    there = f", {books.kept} of them were there" if books.kept else ""
    clips = books.written
    lines = [
        f"clips    {_sums(books)}",
        f"shards   {books.shards}{there}, {_size(books.num_bytes)}, {clock(books.seconds)} of film",
        f"members  {clips} mp4, {clips} json, {books.texts} txt, {books.vectors} npy",
        f"speed    {ran.took:.1f} s" + (f", {_speed(books, ran.took)}" if now else ""),
    ]
    if books.left_out:
        lines.insert(1, f"left out {_reasons(books.left_out)}")
    bins = sum(1 for name in books.bins if name)
    if bins:
        lines.insert(-2, f"bins     {bins}, each a folder (summary.json says how full)")
    if books.failures:
        count = len(books.failures)
        lines += ["", f"{count} failure{'s'[: count > 1]}, listed in {folder.failures}"]
        lines += _told(books)
        lines.append("the same command tries them again, when mended")
    lines += _of_lists(books, options, f"{ran.sharding.output.root}/dedup")
    lines += ["", f"look into {folder.root}: README.md, index.parquet, summary.json"]
    return "\n".join(lines)


def _not_left_out(options: ShardOptions, output: Output, books: Books, clips: pa.Table) -> int:
    """A dataset whose duplicates were found, and that is sharded with them, may be a mistake."""
    found = f"{output.root}/dedup"
    if options.drop or not shelf.exists(f"{found}/{lists.DUPLICATES}"):
        return 0
    try:
        listed = read_drops((found,))
    except DropsError:
        return 0
    failed = {clip for one in books.failures.values() for clip in one.lost_shots}
    there = pc.is_in(clips["id"], value_set=pa.array(sorted(listed - failed), pa.string()))
    return int(pc.sum(there).as_py() or 0)


def _of_lists(books: Books, options: ShardOptions, found: str) -> list[str]:
    """What else is to be said of lists that were given, or were not."""
    lines = bereft_words(books.bereft)
    if options.drop and not books.on_lists:
        lines.append(f"{books.drops} ids on the lists, 0 of them in the dataset")
    if number := books.not_left_out:
        said = "1 duplicate, and it is" if number == 1 else f"{number} duplicates that are"
        lines.append(f"{found} lists {said} in the shards: --drop {found}")
    return ["", *lines] if lines else []


def _sums(books: Books) -> str:
    left_out = sum(books.left_out.values())
    return (
        f"{books.listed} listed = {books.written} written + {left_out} left out + "
        f"{books.failed} failed"
    )


def _reasons(left_out: Mapping[str, int]) -> str:
    most = sorted(left_out.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {reason}" for reason, count in most)


def _told(books: Books) -> list[str]:
    failures = sorted(books.failures.values(), key=lambda one: (one.lost_shots, one.source.name))
    lines = [
        shown(f"  {' '.join(one.lost_shots[:1]) or one.source.name}: {one.message}")
        for one in failures[:SHOWN_FAILURES]
    ]
    more = len(failures) - len(lines)
    return [*lines, f"  … and {more} more"] if more else lines


def _first_failures(books: Books) -> str:
    return "; ".join(line.strip() for line in _told(books)) or "No reason was given"


def _speed(books: Books, took: float) -> str:
    return f"{books.num_bytes / 1e6 / max(took, 1e-3):.0f} MB/s"


def _size(num_bytes: int) -> str:
    if num_bytes < 1e9:
        return f"{num_bytes / 1e6:.1f} MB"
    return f"{num_bytes / 1e9:.1f} GB"


def progress_line(counts: Mapping[str, int], seconds: float, ended: bool) -> str:
    """One line about a run of this command, after so many seconds.

    >>> progress_line({"clips listed": 30}, 2.0, False)
    'reading    documents of 30 clips'
    """
    failed = counts.get("clips failed", 0)
    trouble = f", {failed} failed" if failed else ""
    planned = counts.get("shards to write")
    if planned is None:
        return f"reading    documents of {counts.get('clips listed', 0)} clips{trouble}"
    size = counts.get("shards/bytes", 0)
    verb = "done" if ended else "writing"
    return (
        f"{verb:<10} {counts.get('shards/items', 0)} of {planned} shards, "
        f"{counts.get('clips sharded', 0)} clips, {_size(size)}{trouble}, {clock(seconds)}"
    )
