"""The work of ``finecut shard``: shards are planned, written, added up, and promised."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final, NamedTuple

from finecut.io.dataset.output import Output
from finecut.io.errors import RunError
from finecut.io.layout import GROUPS
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.io.tables import drops
from finecut.io.tables.drops import bereft_words, unused_drops
from finecut.io.tables.ids import IdMap, IdSet
from finecut.io.tables.shards import END
from finecut.io.wording import count_of
from finecut.pipeline.at_work import (
    occupying,
    tray,
)
from finecut.pipeline.cli.outlets import lines_of, shown
from finecut.pipeline.cli.progress import clock
from finecut.pipeline.commands.shard import Shard, ShardOptions
from finecut.pipeline.commands.shard.planned import planned
from finecut.transforms.shard.books import Books
from finecut.transforms.shard.listing import has_films
from finecut.transforms.shard.looking import Planning
from finecut.transforms.shard.lost import write_list
from finecut.transforms.shard.making import Making
from finecut.transforms.shard.material import Sharding
from finecut.transforms.shard.promise import promise

#: Failures that a summary names; all of them are in the list.
NAMED_FAILURES: Final = 20


class Foreseen(NamedTuple):
    """What would be written."""

    clips: int
    shards: int
    num_bytes: int
    #: Shards that lie there already.
    current: int


class Ran(NamedTuple):
    books: Books
    sharding: Sharding
    #: Instead of what was written.
    foreseen: Foreseen | None = None

    @property
    def clips(self) -> int:
        return self.foreseen.clips if self.foreseen else self.books.written


def shard(command: Shard) -> Ran:
    """Write the shards of a dataset. Raises when that cannot be done as a whole."""
    options, sharding = command.options.check(), planned(command)
    dropped, keepers = drops.read_drops(options.drop), drops.keepers_of(options.drop)
    own = sharding.shelf
    with (
        _alone(command, own),
        command.showing(progress_line),
        tray(own, command.in_process) as reports,
    ):
        making = Making(
            _planning(options, _leaving_out(sharding, reports, dropped), reports, keepers),
            run=lambda build: command.run_pipeline(build, own),
            books=Books(drops=len(dropped)),
        )
        _plan(making)
        if options.dry_run:
            return Ran(making.books, sharding, _foreseen(making))
        _make(options, making)
    return Ran(making.books, sharding)


@contextmanager
def _alone(command: Shard, own: Shelf) -> Iterator[None]:
    """Within, nobody else writes there; who writes nothing need not care."""
    if not command.options.dry_run:
        with occupying(own, "--output", ends_with_us=command.ends_with_us):
            yield
        return
    try:
        yield
    finally:
        if not command.in_process:
            own.sweep()  # of what workers told


def _foreseen(making: Making) -> Foreseen:
    shards = making.shards
    return Foreseen(
        sum(one.clips for one in shards),
        len(shards),
        sum(one.num_bytes for one in shards),
        sum(one.current for one in shards),
    )


def _plan(making: Making) -> None:
    books, sharding = making.books, making.planning.sharding
    making.plan()
    if not making.shards:
        why = f" ({books.reasons})" if books.left_out else ""
        raise RunError(
            "no clip matches, so no shards were written and nothing was changed: "
            f"{books.sentence}{why}{_why_none(sharding.output, books)}"
        )


def _make(options: ShardOptions, making: Making) -> None:
    books, sharding = making.books, making.planning.sharding
    making.write_all()
    write_list(books.lost, sharding.folder.failures, sharding.shelf)
    promise(
        sharding,
        books,
        making.receipts,
        summary=summary_document(options, sharding, books),
        write=making.write_tables,
        lance=options.lance or options.lance_clips,
        lance_clips=options.lance_clips,
    )


def _leaving_out(sharding: Sharding, reports: Shelf, dropped: IdSet) -> Sharding:
    """With one list of what to leave out for all workers, wherever they are."""
    if not dropped:
        return sharding
    path = f"{reports.root}/drops.parquet"
    reports.write(path, drops.drops_table(dropped))
    return replace(sharding, drops=path)


def _planning(
    options: ShardOptions, sharding: Sharding, reports: Shelf, keepers: IdMap
) -> Planning:
    folder = f"{reports.root}/keepers"
    if keepers:
        reports.write(f"{folder}/{GROUPS}", drops.keepers_table(keepers))
    return Planning(
        replace(sharding, grouped=bool(keepers)),
        reports,
        max(1, int(options.shard_mb * 1e6) - len(END)),
        options.shard_clips,
        mixed=not options.no_mix,
        keepers=folder if keepers else None,
        watched=_watched(options, sharding.output, reports),
    )


def _watched(options: ShardOptions, output: Output, reports: Shelf) -> str | None:
    """A dataset whose duplicates were found, and that is sharded with them, may be a mistake."""
    found = f"{output.root}/dedup"
    if options.drop or not shelf.exists(f"{found}/{drops.DUPLICATES}"):
        return None
    try:
        listed = drops.read_drops((found,))
    except drops.DropsError:
        return None
    path = f"{reports.root}/watched.parquet"
    reports.write(path, drops.drops_table(listed))
    return path


def _why_none(output: Output, books: Books) -> str:
    """What failed first, and the usual cause of it."""
    why = f". {books.why_failed}" if books.lost else ""
    if not has_films(output):
        why += (
            f". There are no files of clips in {output.root}: was it made with --no-upload-clips? "
            "Then run finecut curate without that option first"
        )
    return why


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
            for one in books.first_failures[:NAMED_FAILURES]
        ],
    }


# ── words ─────────────────────────────────────────────────────────────────────────────────────────


def final_words(ran: Ran, options: ShardOptions, seconds: float) -> list[str]:
    """A short table for people."""
    books, folder = ran.books, ran.sharding.folder
    if ran.foreseen is not None:
        return _words_on(ran.foreseen, ran, options)
    clips, failed = books.written, books.num_failures
    there = f", {books.kept} of them unchanged" if books.kept else ""
    rate = f", {books.num_bytes / 1e6 / max(seconds, 1e-3):.0f} MB/s"
    bins = sum(1 for name in books.bins if name)
    return lines_of(
        [
            f"clips    {books.sentence}",
            (books.left_out, f"left out {books.reasons}"),
            f"shards   {books.shards}{there}, {size_of(books.num_bytes)}, "
            f"{clock(books.seconds)} of video",
            (bins, f"bins     {bins}, each a folder (summary.json has their sizes)"),
            f"members  {clips} mp4, {clips} json, {books.texts} txt, {books.vectors} npy",
            f"speed    {seconds:.1f} s{rate if books.shards > books.kept else ''}",
            (failed, ""),
            (failed, f"{failed} failure{'s'[: failed > 1]}, listed in {folder.failures}"),
            *(shown(f"  {line}") for line in books.failure_lines),
            (failed, "once they are repaired, the same command tries them again"),
            *_of_lists(books, options, f"{ran.sharding.output.root}/dedup"),
            "",
            f"see {folder.root}: README.md, index.parquet, summary.json",
        ]
    )


def _words_on(foreseen: Foreseen, ran: Ran, options: ShardOptions) -> list[str]:
    """What would be written, in words."""
    books = ran.books
    left_out = sum(books.left_out.values())
    there = f", {foreseen.current} of them there already" if foreseen.current else ""
    return lines_of(
        [
            f"clips    {books.listed} listed = {foreseen.clips} would be written + {left_out} left "
            f"out + {books.failed} failed",
            (books.left_out, f"left out {books.reasons}"),
            f"shards   {count_of(foreseen.shards, 'shard')}{there}, {size_of(foreseen.num_bytes)}",
            *(shown(f"  {line}") for line in books.failure_lines),
            *_of_lists(books, options, f"{ran.sharding.output.root}/dedup"),
            "",
            "nothing was written (--dry-run)",
        ]
    )


def _of_lists(books: Books, options: ShardOptions, found: str) -> list[str]:
    """What else there is to report of lists that were given, or were not."""
    number = books.not_left_out
    which = "1 duplicate that is" if number == 1 else f"{number} duplicates that are"
    lines = lines_of(
        [
            *bereft_words(books.bereft),
            (
                options.drop and not books.on_lists,
                unused_drops(books.drops, "in the dataset"),
            ),
            (number, f"{found} lists {which} in the shards: leave them out with --drop {found}"),
        ]
    )
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
        return f"reading    documents of {count_of(counts.get('clips listed', 0), 'clip')}{trouble}"
    return (
        f"{'done' if ended else 'writing':<10} {counts.get('shards/items', 0)} of "
        f"{count_of(planned, 'shard')}, {count_of(counts.get('clips sharded', 0), 'clip')}, "
        f"{size_of(counts.get('shards/bytes', 0))}{trouble}, {clock(seconds)}"
    )


def size_of(num_bytes: float) -> str:
    return f"{num_bytes / 1e6:.1f} MB" if num_bytes < 1e9 else f"{num_bytes / 1e9:.1f} GB"
