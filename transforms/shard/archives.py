"""Sharding: clips of a dataset become tar archives that training reads from beginning to end.

    chunks ─▶ ListClips ─▶ Part (light rows in files, counts)     what is known of each clip
                              │
                        finecut.transforms.shard.plan                      in one place
                              ▼
    plans ─▶ WriteShards ─▶ Sharded (a receipt)                   films are read here, and once

In an archive a clip is a row of members with one key, its id: ``<id>.mp4``, ``.json`` (its
document), ``.txt`` (its caption) and ``.npy`` (its vector, float32), the last two where there are
such. This is the layout that WebDataset reads.

:class:`WriteShards` works on any PCollection of plans, wherever they come from::

    receipts = plans | WriteShards(sharding)
    receipts.written | ...      # Sharded
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, Final, Literal

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput

from finecut.io.held import SOURCE
from finecut.io.process.threads import in_order
from finecut.io.records import Failure, Source
from finecut.io.tables.shards import VECTOR, Tar, column_of, receipt_table, schema_of
from finecut.transforms.beam.guard import FAILURES, attempted, guarded
from finecut.transforms.beam.metrics import count
from finecut.transforms.beam.weather import STRICT
from finecut.transforms.shard.listing import labels_in
from finecut.transforms.shard.material import (
    ClipChanged,
    Material,
    Sharding,
    Tables,
    material_of,
    storable,
)
from finecut.transforms.shard.plan import PlannedClip, ShardPlan, digest_of

#: A clip is read in pieces of that many bytes; one that is no larger is read ahead.
PIECE: Final = 16 << 20

#: A clip's material, read ahead of its turn; and the whole clip, if it is small.
Fetched = tuple[Material, bytes | None]


@dataclass(frozen=True)
class Sharded:
    """A receipt: a shard is written."""

    name: str
    clips: int
    num_bytes: int


def write_shard(plan: ShardPlan, sharding: Sharding) -> Iterator[Sharded | Failure]:
    """Write the archive of a plan and its receipt. A clip that cannot be written costs itself; a
    shard of which nothing is left is not written."""
    own, folder = sharding.shelf, sharding.folder
    with own.bench() as bench:
        path = bench / "shard.tar"
        with path.open("wb") as file:
            tar = Tar(file)
            rows, digests = [], []
            for planned, outcome in _added(plan, tar, sharding):
                if isinstance(outcome, Failure):
                    yield outcome
                else:
                    rows.append(outcome)
                    digests.append(planned.digest)
            size = tar.close()
        if not rows:
            path.unlink()
            return
        own.publish(str(path), folder.shard(plan.name), size)
    own.write(folder.receipt(plan.name), _receipt(rows, digest_of(plan.name, digests), size))
    yield Sharded(plan.name, len(rows), size)


def _receipt(rows: list[dict[str, Any]], digest: str, size: int) -> bytes:
    scores = {name for row in rows for name in row["scores"]}
    labels = {name for row in rows for name in labels_in(row["scores"])}
    captions = {name for row in rows for name in row["captions"]}
    schema = schema_of(scores, captions, labels)
    if any(row[SOURCE] for row in rows):
        # As JSON: of which types the columns of the index are, all shards together say.
        schema = schema.append(pa.field(SOURCE, pa.string()))
    for row in rows:
        values = row.pop("captions") | row.pop("scores")
        values |= {name: storable(values[name]) for name in labels & values.keys()}
        row.update({column_of(name): value for name, value in values.items()})
    return receipt_table(rows, schema, digest, size)


def _added(
    plan: ShardPlan, tar: Tar, sharding: Sharding
) -> Iterator[tuple[PlannedClip, dict[str, Any] | Failure]]:
    """Each clip of a plan, and what the index says of it, or why it is not in the archive."""
    tables = Tables(sharding.output, sharding.algorithm)

    def fetch(planned: PlannedClip) -> tuple[PlannedClip, Fetched | Exception]:
        # What goes wrong when it is read ahead is told when its turn comes.
        return planned, attempted(lambda: _fetched(planned, sharding, tables))

    for planned, fetched in in_order(fetch, plan.clips, sharding.threads):
        before = tar.size
        [outcome] = guarded(
            "WriteShard",
            _source_of(planned, fetched),
            partial(_add, tar, fetched, plan.name),
            partial(tuple, [planned.id]),
            weather=STRICT,
        )
        if tar.broken is not None:
            raise tar.broken  # the archive's disk is in trouble, and not the clip
        if isinstance(outcome, Failure):
            tar.rewind(before)
        yield planned, outcome


def _fetched(planned: PlannedClip, sharding: Sharding, tables: Tables) -> Fetched:
    entry = tables.entry(planned.id, planned.chunk)
    material = material_of(entry, sharding, tables)
    if material.members.digest(planned.id) != planned.digest:
        raise ClipChanged(
            f"the document, vector or file of {planned.id} is not what it was when shards were "
            "planned. Usually somebody edited its document, which the catalogue does not know: "
            "finecut compact --rebuild tells it. If another program writes to the dataset, run "
            "the same command again when that has ended"
        )
    film = b"".join(entry.film.pieces(PIECE)) if material.num_bytes <= PIECE else None
    return material, film


def pieces_in(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    """A part of a file piece by piece."""
    file.seek(start)
    while start < end and (piece := file.read(min(PIECE, end - start))):
        start += len(piece)
        yield piece


def _source_of(planned: PlannedClip, fetched: Fetched | Exception) -> Source:
    """The video of a clip, or the clip itself where not even that can be read."""
    document = {} if isinstance(fetched, Exception) else fetched[0].entry.document
    video = str(document.get("source_video", planned.id))
    return Source(video, video, planned.id)


def _add(tar: Tar, fetched: Fetched | Exception, shard: str) -> Iterator[dict[str, Any]]:
    """Add a clip's members; what the index says of it comes back."""
    if isinstance(fetched, Exception):
        raise fetched
    material, film = fetched
    entry, hashed = material.entry, hashlib.sha256()

    def pieces() -> Iterator[bytes]:
        for piece in entry.film.pieces(PIECE) if film is None else (film,):
            hashed.update(piece)
            yield piece

    offset = tar.add_pieces(f"{entry.id}.mp4", material.num_bytes, pieces())
    said = entry.document.get("sha256")
    if said and hashed.hexdigest() != said:
        raise ClipChanged(
            f"{entry.path} does not match the digest in its document (SHA-256 "
            f"{hashed.hexdigest()[:12]}… instead of {said[:12]}…). Usually a copy or a disk is "
            "damaged: copy it again, or curate its video again"
        )
    for name, data in material.small.items():
        tar.add(name, data)
    yield {
        **_row(material),
        "bin": shard.rpartition("/")[0],
        "shard": f"{shard}.tar",
        "offset": offset,
        "sha256": hashed.hexdigest(),
    }


def _row(material: Material) -> dict[str, Any]:
    """What the index says of a clip, wherever it lies."""
    entry, said = material.entry, material.entry.document
    start, end = entry.span
    return {
        "id": entry.id,
        "source_video": storable(said.get("source_video", "")),
        "start": start,
        "end": end,
        "framerate": _number(said.get("framerate"), float),
        **{name: _number(said.get(name), int) for name in ("width", "height", "num_frames")},
        "video_codec": storable(said["video_codec"]) if said.get("video_codec") else None,
        "num_bytes": material.num_bytes,
        "caption": material.caption,
        "scores": entry.scores,
        SOURCE: json.dumps(entry.source, ensure_ascii=False) if entry.source else None,
        "captions": {name: storable(text) for name, text in entry.captions.items()},
        VECTOR: None if material.vector is None else material.vector.tolist(),
    }


def _number(value: object, kind: type[int] | type[float]) -> float | None:
    """A number of a document, which another program may have written."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return kind(value)


# ── the transform ───────────────────────────────────────────────────────────────────────────────


@dataclass(eq=False, repr=False)
class WriteShards(beam.PTransform[beam.PCollection[ShardPlan], Any]):
    """Plans → ``written`` (:class:`Sharded`), ``failures``."""

    sharding: Sharding

    def expand(self, plans: beam.PCollection[ShardPlan]) -> Any:
        return plans | "Write" >> beam.FlatMap(_written, self.sharding).with_outputs(
            FAILURES, main="written"
        )


def _written(
    plan: ShardPlan, sharding: Sharding
) -> Iterable[Sharded | TaggedOutput[Literal["failures"], Failure]]:
    for outcome in outcomes_of(plan, sharding):
        yield TaggedOutput(FAILURES, outcome) if isinstance(outcome, Failure) else outcome


def outcomes_of(plan: ShardPlan, sharding: Sharding) -> Iterator[Sharded | Failure]:
    """Write a shard, and count what came of it."""
    source = Source(plan.name, plan.name, plan.name)
    work = partial(write_shard, plan, sharding)
    for outcome in guarded("WriteShards", source, work, weather=STRICT):
        if isinstance(outcome, Failure):
            count("clips failed", len(outcome.lost_shots))
        else:
            count("shards/items")
            count("clips sharded", outcome.clips)
            count("shards/bytes", outcome.num_bytes)
        yield outcome
