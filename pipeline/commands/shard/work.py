"""The work of ``finecut shard``: shards are planned, written, added up, and promised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from finecut.io.dataset.output import Output
from finecut.io.errors import RunError
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.io.tables import drops as lists
from finecut.io.tables.drops import DropsError, read_drops
from finecut.io.tables.tar import END
from finecut.pipeline.at_work import occupying, tray
from finecut.pipeline.cli.outlets import shown
from finecut.pipeline.cli.progress import clock
from finecut.pipeline.commands.shard import Shard, ShardOptions
from finecut.pipeline.commands.shard.plan import planned
from finecut.transforms.dedup.keepers import bereft_words, keepers_of
from finecut.transforms.shard.books import Books
from finecut.transforms.shard.making import Limits, Making
from finecut.transforms.shard.material import Sharding
from finecut.transforms.shard.promising import add_up, promise

#: Failures that a summary names; all of them are in the list.
NAMED_FAILURES: Final = 20


class Ran(NamedTuple):
    books: Books
    sharding: Sharding


def shard(command: Shard) -> Ran:
    """Write the shards of a dataset. Raises when that cannot be done as a whole."""
    options, sharding = command.options.check(), planned(command)
    dropped, keepers = read_drops(options.drop), keepers_of(options.drop)
    own = sharding.shelf
    with (
        occupying(own, "--output", ends_with_us=command.ends_with_us),
        command.showing(progress_line),
        tray(own, command.in_process) as reports,
    ):
        dropping = _dropping(sharding, reports, dropped, bool(keepers))
        making = Making(
            dropping,
            reports,
            run=lambda build: command.run_pipeline(build, own),
            in_memory=options.is_local,
            books=Books(drops=len(dropped)),
        )
        _make(options, making, keepers)
    return Ran(making.books, sharding)


def _make(options: ShardOptions, making: Making, keepers: Mapping[str, str]) -> None:
    books, sharding = making.books, making.sharding
    clips = making.clips_in_order(mixed=not options.no_mix)
    books.bereft = _bereft(keepers, books, clips)
    if not len(clips):
        why = f" ({books.reasons})" if books.left_out else ""
        raise RunError(
            "no clip is left to write, so nothing was changed: "
            f"{books.sums}{why}{_why_none(sharding.output, books)}"
        )
    num_bytes = max(1, int(options.shard_mb * 1e6) - len(END))
    clips, shards = making.write_all(clips, Limits(num_bytes, options.shard_clips))
    add_up(sharding.folder, shards, books)
    summary = summary_document(options, sharding, books)
    promise(sharding, books, shards, summary=summary, lance=options.lance)
    books.not_left_out = _not_left_out(options, sharding.output, books, clips)


def _dropping(
    sharding: Sharding, reports: Shelf, dropped: frozenset[str], grouped: bool
) -> Sharding:
    """With one list of what to leave out for all workers, wherever they are."""
    if not dropped:
        return sharding
    path = f"{reports.root}/drops.parquet"
    reports.write(path, lists.drops_table(dropped))
    return replace(sharding, drops=path, grouped=grouped)


def _bereft(keepers: Mapping[str, str], books: Books, clips: pa.Table) -> int:
    """How many duplicates would be taken, and went for a clip that is not taken."""
    fit = read_drops(books.fit)
    wanted = pa.array([keepers[id] for id in sorted(fit) if id in keepers], pa.string())
    there = pc.is_in(wanted, value_set=clips["id"].combine_chunks())
    return len(wanted) - int(pc.sum(there).as_py() or 0)


def _why_none(output: Output, books: Books) -> str:
    """What failed first, and the usual cause of it."""
    why = f". {books.first_failures}" if books.failures else ""
    if not shelf.exists(output.layout.clips()):
        why += (
            f". There is no clips/ in {output.root}: was it made with --no-upload-clips? Then "
            "run finecut curate without that option first"
        )
    return why


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


def summary_document(options: ShardOptions, sharding: Sharding, books: Books) -> dict[str, Any]:
    """``summary.json``: the same for the same dataset and options, whenever it is written."""
    return {
        "dataset": sharding.output.root,
        "balanced": books.imbalance() is None,
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
            for one in books.failures_in_order[:NAMED_FAILURES]
        ],
    }


# ── words ─────────────────────────────────────────────────────────────────────────────────────────


def final_words(ran: Ran, options: ShardOptions, seconds: float) -> list[str]:
    """A short table for people."""
    books, folder = ran.books, ran.sharding.folder
    written = books.shards - books.kept
    speed = books.num_bytes / 1e6 / max(seconds, 1e-3)
    there = f", {books.kept} of them unchanged" if books.kept else ""
    clips, size = books.written, size_of(books.num_bytes)
    lines = [
        f"clips    {books.sums}",
        f"shards   {books.shards}{there}, {size}, {clock(books.seconds)} of video",
        f"members  {clips} mp4, {clips} json, {books.texts} txt, {books.vectors} npy",
        f"speed    {seconds:.1f} s" + (f", {speed:.0f} MB/s" if written else ""),
    ]
    if books.left_out:
        lines.insert(1, f"left out {books.reasons}")
    bins = sum(1 for name in books.bins if name)
    if bins:
        lines.insert(-2, f"bins     {bins}, each a folder (summary.json has their sizes)")
    if books.failures:
        count = len(books.failures)
        lines += ["", f"{count} failure{'s'[: count > 1]}, listed in {folder.failures}"]
        lines += [shown(f"  {line}") for line in books.failure_lines]
        lines.append("once they are repaired, the same command tries them again")
    lines += _of_lists(books, options, f"{ran.sharding.output.root}/dedup")
    lines += ["", f"see {folder.root}: README.md, index.parquet, summary.json"]
    return lines


def _of_lists(books: Books, options: ShardOptions, found: str) -> list[str]:
    """What else there is to report of lists that were given, or were not."""
    lines = bereft_words(books.bereft)
    if options.drop and not books.on_lists:
        lines.append(f"{books.drops} ids on the lists, but none of them is in the dataset")
    if number := books.not_left_out:
        which = "1 duplicate that is" if number == 1 else f"{number} duplicates that are"
        lines.append(f"{found} lists {which} in the shards: leave them out with --drop {found}")
    return ["", *lines] if lines else []


def progress_line(counts: Mapping[str, int], seconds: float, ended: bool) -> str:
    """One line about a run of this command, after that many seconds.

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
        f"{counts.get('clips sharded', 0)} clips, {size_of(size)}{trouble}, {clock(seconds)}"
    )


def size_of(num_bytes: float) -> str:
    return f"{num_bytes / 1e6:.1f} MB" if num_bytes < 1e9 else f"{num_bytes / 1e9:.1f} GB"
