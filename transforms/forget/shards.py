"""Shards without the samples of a source: archives are written again, all that speaks of them too.

    .finecut/forgetting.json     1. what was promised, without the source
    index.parquet, README, …     2. withdrawn
    .finecut/forgetting/<shard>  3. a new receipt, aside
    <shard>.tar                  4. replaced, the other samples byte for byte
    .finecut/shards/<shard>      5. the receipt takes its place
    index.parquet, README, …     6. promised again
    .finecut/forgetting.json     7. removed

The receipt that lies there is of the archive that lies there, unless their sizes differ: then the
one that lies aside is. So it may be killed anywhere.
"""

import json
import posixpath
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import groupby
from operator import add
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from finecut.io.dataset.output import Output
from finecut.io.errors import RunError
from finecut.io.held import SOURCE
from finecut.io.layout import Layout
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import usable_json
from finecut.io.tables.parquet import from_parquet, to_parquet
from finecut.io.tables.shards import (
    BYTES,
    COLUMNS,
    DIGEST,
    VECTOR,
    ShardFolder,
    Tar,
    padding,
    read_receipt,
    rows_of,
    schema_of_receipt,
)
from finecut.transforms.beam.lines import as_lines
from finecut.transforms.forget.mentions import Mentions
from finecut.transforms.forget.removing import Taking, speaks_of
from finecut.transforms.shard.archives import pieces_in
from finecut.transforms.shard.books import Books, Receipt, Sums, sums_of
from finecut.transforms.shard.material import Sharding, members_of, storable
from finecut.transforms.shard.plan import digest_of
from finecut.transforms.shard.promise import Table, promise, withdraw, write_one
from finecut.transforms.write.documents import serialise

#: How columns of texts end that are captions.
OF_CAPTION: Final = "_caption"
KIND: Final = "shards"
#: Columns of receipts that are no scores and no captions; what is known of a source is the last.
OTHERS: Final = frozenset([*COLUMNS, VECTOR, SOURCE])


@dataclass(frozen=True)
class Without:
    """What became of a folder of shards."""

    root: str
    samples: int
    archives: int
    #: There was a Lance table, and the library that writes one is not here.
    lance_lost: bool = False


class Member(NamedTuple):
    """A sample in an archive: where its bytes begin and end, and its members."""

    key: str
    start: int
    end: int
    members: tuple[tarfile.TarInfo, ...]


def sources_in_shards(root: str) -> set[str]:
    """The names of all sources that have samples there."""
    folder = ShardFolder(root)
    return {
        str(name)
        for shard in _written(folder)
        for name in pc.unique(_light(folder, shard)["source_video"]).to_pylist()
    }


def _written(folder: ShardFolder) -> list[str]:
    """The shards that have a receipt."""
    names = folder.noted()
    if names is None:
        raise RunError(
            f"{folder.root} is no folder that finecut shard wrote: it has no "
            ".finecut/shards.json. Give the folder that was its --output, with what is hidden in it"
        )
    return [name for name in names if read_receipt(folder, name) is not None]


def _unfinished(folder: ShardFolder) -> list[str]:
    return sorted({*(folder.noted() or ())} - {*_written(folder)})


def _light(folder: ShardFolder, name: str) -> pa.Table:
    return from_parquet(shelf.read(folder.receipt(name)), columns=["id", "source_video"])


def forget_in_shards(root: str, taking: Taking, lance: bool) -> Without | None:
    """Take the samples out; ``None`` where there are none. ``lance``: a table can be written."""
    folder, own = ShardFolder(root), taking.own
    affected = {
        name: gone
        for name in _written(folder)
        if (gone := _gone(_light(folder, name), taking.mentions))
    }
    plan = usable_json(_plan_path(folder))
    # What has no receipt is not finished, and nobody knows what is in it.
    unfinished = [name for name in _unfinished(folder) if shelf.exists(folder.shard(name))]
    others = plan is not None or unfinished or _others_speak(folder, taking.mentions)
    if not affected and not others:
        return None
    samples = sum(map(len, affected.values()))
    if taking.dry_run:
        taking.removed.files[KIND] += samples
        return Without(root, samples, len(affected))
    if plan is None:
        plan = _plan(folder, samples, taking.mentions)
        own.write(_plan_path(folder), serialise(plan))
    sharding = Sharding(Output(Layout(root)), folder, own)
    withdraw(sharding)
    own.remove(*map(folder.shard, unfinished))
    for name, gone in affected.items():
        taking.removed.add(KIND, _rewrite(name, gone, folder, taking))
        taking.removed.files[KIND] += len(gone) - 1
    there = [name for name in folder.noted() or [] if shelf.exists(folder.shard(name))]
    if plan["promised"] and there:
        _promise(sharding, plan, there, lance=lance)
    else:
        folder.write_note(own, there)
    own.remove(_plan_path(folder))
    taking.removed.rewritten[KIND] += len(affected)
    return Without(root, samples, len(affected), lance_lost=bool(plan["lance"]) and not lance)


def _plan_path(folder: ShardFolder) -> str:
    return Layout(folder.root).forgetting()


def _aside(folder: ShardFolder, name: str) -> str:
    return f"{folder.root}/.finecut/forgetting/{name}.parquet"


def _gone(rows: pa.Table, mentions: Mentions) -> frozenset[str]:
    """The ids of the samples that go."""
    names = {*map(storable, mentions.names)}
    pairs = zip(rows["id"].to_pylist(), rows["source_video"].to_pylist(), strict=True)
    return frozenset(id for id, video in pairs if id in mentions.ids or video in names)


def _others_speak(folder: ShardFolder, mentions: Mentions) -> bool:
    """Whether what is said of the shards speaks of them although no sample is theirs."""
    return any(speaks_of(path, mentions) for path in (folder.summary, folder.failures))


def _plan(folder: ShardFolder, samples: int, mentions: Mentions) -> dict[str, Any]:
    """What was promised, without them; no name is in it."""
    listed = (shelf.read_if_there(folder.failures) or b"").decode("utf-8", "replace")
    failures = [line for line in listed.split("\n") if line.strip()]
    stay = [line for line in failures if not mentions.in_text(line)]
    summary = usable_json(folder.summary)
    said = mentions.cleaned(summary or {})
    clips = said.get("clips")
    if isinstance(clips, dict):
        fewer = len(failures) - len(stay)
        clips["listed"] = max(0, int(clips.get("listed", 0)) - samples - fewer)
        clips["failed"] = max(0, int(clips.get("failed", 0)) - fewer)
    return {
        "promised": summary is not None and shelf.exists(folder.index),
        "lance": shelf.exists(folder.lance),
        "lance_clips": (usable_json(folder.lance_note) or {}).get("clips") is True,
        "summary": said,
        "failures": stay,
    }


# ── an archive ───────────────────────────────────────────────────────────────────────────────────


class Copied(NamedTuple):
    """What is known of an archive that was copied: where films lie, the digests of what samples
    were made of, and its size.
    """

    offsets: Mapping[str, int]
    digests: Mapping[str, str]
    size: int


def _rewrite(name: str, gone: frozenset[str], folder: ShardFolder, taking: Taking) -> int:
    """Write a shard without these samples; how many bytes less it has."""
    own, path, aside = taking.own, folder.shard(name), _aside(folder, name)
    size = shelf.size_of(path) if shelf.exists(path) else 0
    staged = _size_said(aside)
    if staged is None or staged != size:
        receipt = rows_of(folder, name)
        if len(gone) == len(receipt) or not size:
            own.remove(path)
            own.remove(folder.receipt(name))
            own.remove_emptied(posixpath.dirname(path))
            return size
        with own.bench() as bench:
            part = bench / "shard.tar"
            made = _made(part, path, gone)
            own.write(aside, _receipt(receipt, name, gone, made))
            own.publish(str(part), path, made.size)
            staged = made.size
    own.publish(aside, folder.receipt(name))
    own.remove_emptied(posixpath.dirname(aside))
    return size - staged


def _made(part: Path, path: str, gone: frozenset[str]) -> Copied:
    """The archive without these samples, as a file."""
    try:
        with shelf.open_file(path) as source, part.open("wb") as file:
            return copied(source, gone, Tar(file))
    except (tarfile.TarError, EOFError, ValueError, KeyError) as error:
        raise RunError(
            f"{path} is not an archive that could be read to its end ({error}), so nothing can be "
            "taken out of it. Usually a copy was cut short: remove it, and run the same command "
            "again"
        ) from error


def _size_said(path: str) -> int | None:
    """How large an archive is of which a receipt lies here."""
    data = shelf.read_if_there(path)
    if data is None:
        return None
    return int((from_parquet(data).schema.metadata or {}).get(BYTES.encode(), b"-1"))


def copied(source: BinaryIO, gone: frozenset[str], tar: Tar) -> Copied:
    """Copy all other samples of an archive, byte for byte."""
    offsets: dict[str, int] = {}
    digests: dict[str, str] = {}
    with tarfile.open(fileobj=source, mode="r:") as archive:
        samples = list(_samples(archive))
    for sample in samples:
        if sample.key in gone:
            continue
        start = tar.size
        tar.copy(pieces_in(source, sample.start, sample.end))
        for member in sample.members:
            if member.name.endswith(".mp4"):
                offsets[sample.key] = start + member.offset_data - sample.start
        digests[sample.key] = _digest(source, sample)
    return Copied(offsets, digests, tar.close())


def _samples(archive: tarfile.TarFile) -> Iterator[Member]:
    """The samples of an archive: members with one key that follow each other."""
    for key, members in groupby(archive.getmembers(), _key):
        held = tuple(members)
        last = held[-1]
        end = last.offset_data + last.size + padding(last.size)
        yield Member(key, held[0].offset, end, held)


def _key(member: tarfile.TarInfo) -> str:
    return member.name.rpartition("/")[2].partition(".")[0]


def _digest(source: BinaryIO, sample: Member) -> str:
    """The digest of what a sample was made of, as the plan has it."""
    small: dict[str, bytes] = {}
    num_bytes = 0
    said: Any = {}
    for member in sample.members:
        if member.name.endswith(".mp4"):
            num_bytes = member.size
            continue
        source.seek(member.offset_data)
        small[member.name] = source.read(member.size)
        if member.name.endswith(".json"):
            said = json.loads(small[member.name])
    # Without a digest in the document it was the file's version, which is not known here.
    document = said if isinstance(said, dict) else {}
    film = str(document.get("sha256") or "")
    return members_of(num_bytes, film, document, small).digest(sample.key)


def _receipt(rows: pa.Table, name: str, gone: frozenset[str], made: Copied) -> bytes:
    stay = pc.invert(pc.is_in(rows["id"], pa.array(sorted(gone), pa.string())))
    table = rows.filter(stay)
    ids = table["id"].to_pylist()
    place = table.column_names.index("offset")
    offsets = pa.array([made.offsets[id] for id in ids], pa.int64())
    table = table.set_column(place, table.schema.field(place), offsets)
    table = table.select([n for n in table.column_names if _is_used(n, table)])
    digest = digest_of(name, [made.digests[id] for id in ids])
    facts = {DIGEST: digest, BYTES: str(made.size)}
    return to_parquet(table.replace_schema_metadata(facts), compression="zstd")


def _is_used(name: str, table: pa.Table) -> bool:
    """Whether a score or a caption is one that any of these clips has."""
    return name in COLUMNS or name == VECTOR or table[name].null_count < len(table)


# ── what is said of them ─────────────────────────────────────────────────────────────────────────


def _promise(sharding: Sharding, plan: Mapping[str, Any], there: list[str], lance: bool) -> None:
    folder, own, names = sharding.folder, sharding.shelf, sorted(there)
    books = Books(sums=reduce(add, (sums_of(folder, name) for name in names), Sums()))
    books.example = example_of(there)
    for name in there:
        _enter_columns(schema_of_receipt(folder, name), books)
    if plan["failures"]:
        own.write(folder.failures, as_lines(plan["failures"]))

    def write(tables: Sequence[Table]) -> None:
        for table in tables:
            write_one(table, names, folder, own)

    promise(
        sharding,
        books,
        [Receipt(name, *(read_receipt(folder, name) or (None, 0))) for name in names],
        summary=_summed_up(plan["summary"], books),
        write=write,
        lance=bool(plan["lance"]) and lance,
        lance_clips=plan.get("lance_clips") is True,
    )


def example_of(names: Sequence[str]) -> str:
    """How a reader names shards of which some numbers are missing; nothing where none is, or where
    they lie in bins.

    >>> example_of(["00000", "00002", "00003"]), example_of(["00000", "00001"])
    ('{00000,{00002..00003}}.tar', '')
    """
    numbers = [int(name) for name in names if name.isdigit()]
    if len(numbers) < len(names) or numbers == [*range(len(numbers))]:
        return ""
    runs: list[list[str]] = []
    for name, number in zip(names, numbers, strict=True):
        if runs and number == int(runs[-1][-1]) + 1:
            runs[-1].append(name)
        else:
            runs.append([name])
    told = [f"{{{run[0]}..{run[-1]}}}" if len(run) > 1 else run[0] for run in runs]
    return f"{{{','.join(told)}}}.tar" if len(told) > 1 else f"{told[0]}.tar"


def _enter_columns(schema: pa.Schema, books: Books) -> None:
    """The scores, labels and captions that a receipt has."""
    for field in schema:
        if field.name in OTHERS:
            continue
        name = field.name.removeprefix("score_") if _is_renamed(field.name) else field.name
        if not pa.types.is_string(field.type):
            books.scores.add(name)
        elif name.endswith(OF_CAPTION) and name == field.name:
            books.captions.add(name)
        else:
            books.scores.add(name)
            books.labels.add(name)


def _is_renamed(column: str) -> bool:
    """Whether a score's name is that of another column, so that its own got a prefix."""
    name = column.removeprefix("score_")
    return name != column and (name in COLUMNS or name in (VECTOR, "file_name"))


def _summed_up(said: Mapping[str, Any], books: Books) -> dict[str, Any]:
    """The summary with what there is now."""
    clips = {**(said.get("clips") or {}), "written": books.written}
    figures = {
        "clips": clips,
        "seconds": round(books.seconds, 3),
        "shards": books.shards,
        "bytes": books.num_bytes,
        "with_caption": books.texts,
        "with_vector": books.vectors,
        "vectors": said.get("vectors") if books.vectors else None,
        "bins": {name: dict(sums) for name, sums in sorted(books.bins.items()) if name},
    }
    return {**said, **figures}
