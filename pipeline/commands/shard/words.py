"""What ``finecut shard`` reports while it works, and at its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from finecut.pipeline.cli.outlets import shown
from finecut.pipeline.cli.progress import clock
from finecut.pipeline.commands.shard import ShardOptions
from finecut.transforms.dedup.keepers import bereft_words
from finecut.transforms.shard.books import Books

if TYPE_CHECKING:
    from finecut.pipeline.commands.shard.work import Ran


def final_words(ran: Ran, options: ShardOptions, seconds: float) -> list[str]:
    """A short table for people."""
    books, folder = ran.books, ran.sharding.folder
    written = books.shards - books.kept
    speed = books.num_bytes / 1e6 / max(seconds, 1e-3)
    there = f", {books.kept} of them were there" if books.kept else ""
    clips, size = books.written, size_of(books.num_bytes)
    lines = [
        f"clips    {books.sums}",
        f"shards   {books.shards}{there}, {size}, {clock(books.seconds)} of film",
        f"members  {clips} mp4, {clips} json, {books.texts} txt, {books.vectors} npy",
        f"speed    {seconds:.1f} s" + (f", {speed:.0f} MB/s" if written else ""),
    ]
    if books.left_out:
        lines.insert(1, f"left out {books.reasons}")
    bins = sum(1 for name in books.bins if name)
    if bins:
        lines.insert(-2, f"bins     {bins}, each a folder (summary.json says how full)")
    if books.failures:
        count = len(books.failures)
        lines += ["", f"{count} failure{'s'[: count > 1]}, listed in {folder.failures}"]
        lines += [shown(f"  {line}") for line in books.failure_lines]
        lines.append("the same command tries them again, when mended")
    lines += _of_lists(books, options, f"{ran.sharding.output.root}/dedup")
    lines += ["", f"look into {folder.root}: README.md, index.parquet, summary.json"]
    return lines


def _of_lists(books: Books, options: ShardOptions, found: str) -> list[str]:
    """What else there is to report of lists that were given, or were not."""
    lines = bereft_words(books.bereft)
    if options.drop and not books.on_lists:
        lines.append(f"{books.drops} ids on the lists, 0 of them in the dataset")
    if number := books.not_left_out:
        which = "1 duplicate, and it is" if number == 1 else f"{number} duplicates that are"
        lines.append(f"{found} lists {which} in the shards: --drop {found}")
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
