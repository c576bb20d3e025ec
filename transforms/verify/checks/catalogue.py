"""The catalogue against the documents: both have to say the same of each clip.

    catalogue/….parquet ──Entered(clip, row, files)──┐
    a chunk's document ───Told(clip, row)────────────┼─ by owner ─▶ rows that are missing or differ
    a folder, listed ─────There(clip, path)──────────┘

Rows are compared by their digests, and files by what lies there.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa

from finecut.io.layout import chunk_id
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import usable_json
from finecut.io.tables.parquet import PARQUET
from finecut.transforms.catalogue.buckets import LINES, Files, chunk_of
from finecut.transforms.catalogue.fields import FAILED, Row
from finecut.transforms.catalogue.loose import read_rows
from finecut.transforms.catalogue.rows import OF_VIDEO, Whereabouts, row_of
from finecut.transforms.verify.checks.clips import Chunk
from finecut.transforms.verify.checks.findings import (
    ANYTHING,
    Checked,
    Claim,
    Entered,
    Entry,
    Finding,
    There,
    Told,
    Verifying,
    share_of,
)

#: What a row has of files, which documents do not say.
OF_FILES: Final = ("clip", "clip_offset", "meta", "artefacts")


def digest_of(row: Row, names: Iterable[str]) -> str:
    said = json.dumps([row[name] for name in names], sort_keys=True)
    return hashlib.blake2b(said.encode(), digest_size=12).hexdigest()


def digests_of(row: Row) -> tuple[str, str]:
    """Of what a clip's document says, and of what its video's does."""
    names = sorted(row.keys() - {*OF_FILES, *OF_VIDEO})
    return digest_of(row, names), digest_of(row, sorted(OF_VIDEO))


def told_in(chunk: Chunk, relative: str, verifying: Verifying) -> Iterator[tuple[str, Told]]:
    """What the rows of a chunk's clips have to be, by the shares of their owners."""
    video = usable_json(verifying.layout.processed_video(relative))
    key = chunk_id(chunk.document["video"], chunk.index)
    for clip in chunk.clips:
        if clip.document:
            where = Whereabouts(relative, key, clip.kept, clip=None, meta=clip.name)
            row, facts = digests_of(row_of(clip.document, where, video or {}, clip.id))
            yield share_of(clip.id), Told(clip.id, clip.name, row, facts if video else "")


def named_in(row: Row) -> Iterator[str]:
    """The files that a row names, and where in them; of a table, which column."""
    packed = str(row["meta"] or "").endswith(PARQUET)
    made = [
        (each["path"], each["offset"], f"#{each['kind']}" if packed else "")
        for each in row["artefacts"] or ()
    ]
    parts = [(row["clip"], row["clip_offset"], ""), (row["meta"], None, ""), *made]
    for path, offset, column in parts:
        if path:
            yield f"{path}{column}" if offset is None else f"{path}@{offset}"


@dataclass(frozen=True)
class Newer:
    """What other files say instead of a file: it waits for being compacted."""

    chunks: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()

    def has(self, chunk: str) -> bool:
        return chunk in self.chunks or chunk.startswith(self.prefixes)


def newer_than(path: str, files: Files) -> Newer:
    """The files that are newer than this one."""
    prefix = next((prefix for prefix, file in files.large.items() if file == path), None)
    if prefix is None:
        chunk = chunk_of(path)
        is_newest = path.endswith(LINES) or chunk not in files.in_lines
        return Newer(frozenset[str]() if is_newest or chunk is None else frozenset({chunk}))
    return Newer(
        frozenset(id for path in files.loose if (id := chunk_of(path)) and id.startswith(prefix)),
        tuple(other for other in files.large if other != prefix and other.startswith(prefix)),
    )


def check_catalogue(
    path: str, verifying: Verifying, newer: Newer | None = None
) -> Iterator[Finding | Checked | tuple[str, Entered]]:
    """What a file of the catalogue says of clips, by the shares of their owners."""
    name = verifying.below(path)
    data = shelf.read_if_there(path)
    if data is None:
        return
    if not path.endswith((".parquet", LINES)):
        yield Finding("orphan", name, "belongs to no clip", "should be a Parquet file")
        return
    try:
        table = read_rows(data, path)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        why = str(error).partition("\n")[0]
        yield Finding("catalogue-broken", name, f"cannot be read ({why})", "should be a table")
        return
    if not verifying.has_catalogue:
        return  # it was never complete, and the first compaction will complete it
    newer = newer_than(path, Files.of(verifying.layout)) if newer is None else newer
    yield Checked({"rows of the catalogue": table.num_rows})
    for batch in table.to_batches(max_chunksize=4096):
        for row in batch.to_pylist():
            chunk = row["chunk"] or ""
            if row["video"] in verifying.open_videos or newer.has(chunk):
                continue
            row_digest, facts = digests_of(row)
            yield (
                share_of(row["id"] or ""),
                Entered(
                    row["id"] or "",
                    name,
                    row_digest,
                    facts,
                    files=None if row["verdict"] == FAILED else tuple(named_in(row)),
                ),
            )


# ── by owner ─────────────────────────────────────────────────────────────────────────────────────


@dataclass
class _Owner:
    """All that is known of one clip."""

    told: list[Told] = field(default_factory=list)
    entered: list[Entered] = field(default_factory=list)


def wrong_with_rows(entries: Iterable[Entry], claimed: Mapping[str, set[str]]) -> Iterator[Finding]:
    """Rows that are missing, differ, or are of no clip.

    ``claimed`` are the files that may be there of each, as documents say; whether they are is
    looked at by others.
    """
    known = list(entries)
    owners: dict[str, _Owner] = defaultdict(_Owner)
    for each in known:
        if isinstance(each, Told):
            owners[each.owner].told.append(each)
        elif isinstance(each, Entered):
            owners[each.owner].entered.append(each)
    there = {path for each in known if isinstance(each, There) for path in each.paths}
    there |= {path for each in known if isinstance(each, Claim) for path in each.there}
    for id, owner in sorted(owners.items()):
        files = claimed.get(id, set())
        if ANYTHING not in files:
            yield from _wrong_with(id, owner, files, files & there)


def _wrong_with(id: str, owner: _Owner, files: set[str], there: set[str]) -> Iterator[Finding]:
    told = owner.told[0] if owner.told else None
    should = "finecut compact --rebuild writes it anew"
    if not owner.entered and told is not None:
        yield Finding("catalogue-differs", told.by, "has no row in the catalogue", should)
        return
    first, *others = owner.entered
    for other in others:
        wrong = f"has a row of {id}, and so has {first.path}"
        yield Finding("catalogue-differs", other.path, wrong, should)
    if told is None:
        if first.files is not None:
            wrong = f"has a row of {id}, which no document of a chunk lists"
            yield Finding("catalogue-differs", first.path, wrong, should)
        return
    if first.row != told.row or (told.facts and first.facts != told.facts):
        wrong = f"its row of {id} differs from {told.by}"
        yield Finding("catalogue-differs", first.path, wrong, should)
    named = {*(first.files or ())}
    for file in sorted(named - files):
        wrong = f"names {file}, which its document does not"
        yield Finding("catalogue-differs", first.path, wrong, should)
    for file in sorted(there - named):
        wrong = f"does not name {file}, which is there"
        yield Finding("catalogue-differs", first.path, wrong, should)
