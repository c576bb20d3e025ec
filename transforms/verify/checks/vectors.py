"""Vectors of one chunk: its tables, the pickles of its clips, and whose vectors they say they are.

What a pickle names is never called: usually it is the very bytes that the table's row makes, and
what is not is read with notes in place of names (:mod:`finecut.io.tables.parquet`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from finecut.io.layout import chunk_id, embedding_folder
from finecut.io.storage import files as shelf
from finecut.io.tables.parquet import (
    NoVector,
    embedding_pickle,
    facts_of,
    from_parquet,
    read_vector,
)
from finecut.transforms.embed.one_model import ALGORITHM, DIMENSION, MODEL, REVISION
from finecut.transforms.verify.checks.books import several
from finecut.transforms.verify.checks.clips import Chunk, Clip
from finecut.transforms.verify.checks.findings import Checked, Finding
from finecut.transforms.verify.checks.orphans import Claim
from finecut.transforms.verify.checks.verifying import Verifying

ENDING = "_embedding"

Vector = NDArray[Any]
Models = Mapping[str, str]


class NoTable(ValueError):
    """Bytes that are no table of vectors; the message says what they are."""


class Table(NamedTuple):
    """A chunk's vectors as its Parquet file has them."""

    #: Below the root.
    path: str
    ids: list[str]
    vectors: list[Vector]
    facts: Mapping[str, str]

    @property
    def lengths(self) -> list[int]:
        return sorted({len(vector) for vector in self.vectors})


@dataclass(frozen=True)
class Signed:
    """How long the vectors of a table are, and whose they are: the same in all of a folder."""

    folder: str
    said: str
    path: str


def read_table(data: bytes, path: str) -> Table:
    """The table that these bytes are, or :class:`NoTable`."""
    try:
        table = from_parquet(data, columns=["id", "embedding"])
        ids = list(map(str, table.column("id").to_pylist()))
        vectors = [_numbers(row) for row in table.column("embedding")]
        return Table(path, ids, vectors, facts_of(data))
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NoTable(f"is not a table of vectors ({str(error)[:200]})") from error


def _numbers(row: Any) -> Vector:
    values = None if row is None else row.values
    if values is None:
        raise ValueError("a row has no vector")
    numbers: Vector = values.to_numpy(zero_copy_only=False)
    if not np.issubdtype(numbers.dtype, np.floating):
        raise ValueError(f"a vector is made of {numbers.dtype}")
    return numbers


def check_vectors(
    chunk: Chunk, verifying: Verifying
) -> Iterator[Finding | Signed | Claim | Checked]:
    """The vectors of all kept clips of a chunk, of every model."""
    promised = {folder for clip in chunk.clips if clip.kept for folder in _models_of(clip)}
    for folder in sorted({*verifying.vectors, *promised}):
        yield from _check_folder(folder, chunk, verifying)
    yield Checked({"vectors": chunk.num_vectors})


def _models_of(clip: Clip) -> dict[str, Any]:
    """The folders of vectors that the document speaks of, and what it says of their models."""
    models = clip.document.get("models", {})
    return {
        embedding_folder(name.removesuffix(ENDING)): said
        for name, said in models.items()
        if name.endswith(ENDING)
    }


def _check_folder(
    folder: str, chunk: Chunk, verifying: Verifying
) -> Iterator[Finding | Signed | Claim]:
    """The table of a chunk in one folder, and the pickles beside it."""
    key = chunk_id(chunk.document["video"], chunk.index)
    name = f"{folder}_parquet/{key}.parquet"
    kept = {clip.id: clip for clip in chunk.clips if clip.kept}
    paths = {id: f"{folder}/{id}.pickle" for id in kept}
    for owner, path in ((key, name), *paths.items()):
        yield Claim(owner, chunk.path, (path,))
    places = [f"{verifying.root}/{path}" for path in (name, *paths.values())]
    data, *there = verifying.each(_read, places)
    pickles = {id: read for id, read in zip(paths, there, strict=True) if read is not None}
    table, broken = Table(name, [], [], {}), False
    if data is not None:
        try:
            table = read_table(data, name)
        except NoTable as error:
            broken = True
            yield Finding("table-broken", name, str(error), "should be one with id, embedding")
        else:
            yield from wrong_with_table(table, kept, pickles)
            yield from _wrong_with_models(table, folder, kept, verifying)
            yield Signed(folder, _signature(table), name)
    elif pickles:
        yield Finding(
            "table-missing",
            name,
            f"is missing, and {len(pickles)} clips of its chunk have a pickle",
            "should have one row for each",
        )
    rows = dict(zip(table.ids, table.vectors, strict=True))
    chunk.num_vectors += len(rows)
    for id, pickled in pickles.items():
        yield from wrong_with_pickle(pickled, paths[id], rows.get(id))
    for id, clip in kept.items():
        promised = folder in _models_of(clip)
        # Of a broken table, which is named, nobody knows whose vectors it had.
        if broken or promised or id in rows or id in pickles:
            chunk.with_vectors.add(id)
        if broken or id in pickles:
            continue
        if id in rows:
            yield Finding(
                "vector-missing",
                paths[id],
                "is missing",
                "its row is in the table of its chunk",
            )
        elif promised:
            yield Finding(
                "vector-missing",
                paths[id],
                "is missing, with its row",
                "its clip's document names the model of its vector",
            )


def _read(path: str) -> bytes | None:
    try:
        return shelf.read_if_there(path)
    except shelf.NotAFile:
        return b""  # all that a pipe has: it is named like any other that is broken


def wrong_with_table(
    table: Table, kept: Iterable[str], pickles: Iterable[str]
) -> Iterator[Finding]:
    """What is wrong with a table by itself, and with whose rows it has."""
    name = table.path
    for id in several(table.ids):
        yield Finding("table-differs", name, f"has several rows of {id}", "should have one")
    for id in sorted({*table.ids} - {*kept}):
        yield Finding(
            "table-differs",
            name,
            f"has a row of {id}",
            "should have rows of the kept clips of its chunk only",
        )
    for id in sorted({*pickles} - {*table.ids}):
        yield Finding(
            "table-differs", name, f"has no row of {id}", "its pickle says that it has a vector"
        )
    length = table.facts.get(DIMENSION)
    if len(table.lengths) > 1 or (length is not None and {*map(str, table.lengths)} - {length}):
        yield Finding(
            "model",
            name,
            f"has vectors of {' and '.join(map(str, table.lengths))} numbers",
            "should all have as many" if length is None else f"should all have {length}",
        )
    for id, vector in zip(table.ids, table.vectors, strict=True):
        if not np.isfinite(vector).all():
            yield Finding(
                "vector-broken",
                name,
                f"the vector of {id} has {_first_wrong(vector)}",
                "should be finite numbers",
            )


def wrong_with_pickle(pickled: bytes, path: str, row: Vector | None) -> Iterator[Finding]:
    """What is wrong with a pickle by itself, and against its row."""
    if row is not None and row.dtype == np.float32 and pickled == embedding_pickle(row):  # type: ignore[arg-type]
        return
    try:
        vector = read_vector(pickled)
    except NoVector as error:
        yield Finding(
            "vector-broken", path, str(error), "should be an array of floats, and nothing else"
        )
        return
    if vector.ndim != 2 or len(vector) != 1:
        shape = " by ".join(map(str, vector.shape))
        yield Finding("vector-broken", path, f"is {shape}", "should be 1 by its dimension")
    elif not np.isfinite(vector).all():
        yield Finding(
            "vector-broken", path, f"has {_first_wrong(vector[0])}", "should be finite numbers"
        )
    elif row is not None and not np.array_equal(
        vector[0].astype(np.float64), row.astype(np.float64)
    ):
        yield Finding(
            "vector-differs",
            path,
            _difference(vector[0], row),
            "should be the row in the table of its chunk",
        )


def _difference(vector: Vector, row: Vector) -> str:
    if len(vector) != len(row):
        return f"has {len(vector)} numbers, and the table {len(row)}"
    place = int(np.argmax(vector != row))
    return f"number {place} is {vector[place]!s}, and in the table {row[place]!s}"


def _first_wrong(vector: Vector) -> str:
    place = int(np.argmin(np.isfinite(vector)))
    return f"{vector[place]!s} at place {place}"


# ── whose they are ───────────────────────────────────────────────────────────────────────────────


def _signature(table: Table) -> str:
    """What is the same in all tables of a folder."""
    return f"{_model(table.facts)}, {' and '.join(map(str, table.lengths))} numbers"


def _model(facts: Mapping[str, str]) -> str:
    if ALGORITHM not in facts:
        return "vectors of an unknown model"
    return f"vectors of {facts[ALGORITHM]} ({facts.get(REVISION) or facts.get(MODEL)})"


def _wrong_with_models(
    table: Table, folder: str, kept: Mapping[str, Clip], verifying: Verifying
) -> Iterator[Finding]:
    note, model = verifying.notes.get(folder), _model(table.facts)
    noted = f"as .finecut/{folder}.json says"
    if note is not None and not _same(table.facts, note):
        yield Finding("model", table.path, f"has {model}", f"should be {_model(note)}, {noted}")
    elif note is not None and DIMENSION in note:
        for length in table.lengths:
            if str(length) != note[DIMENSION]:
                yield Finding(
                    "model",
                    table.path,
                    f"has vectors of {length} numbers",
                    f"should be {note[DIMENSION]}, {noted}",
                )
    for id in sorted({*kept} & {*table.ids}):
        said: Any = _models_of(kept[id]).get(folder)
        if not _same_in_document(said, table.facts):
            yield Finding(
                "model",
                kept[id].name,
                f"names {said.get('model')}@{said.get('revision')} for its vector",
                f"should be {model}, as {table.path} says",
            )


def _same(facts: Models, note: Models) -> bool:
    """The same weights may be named by another path, where a revision says which they are."""
    keys = (ALGORITHM, REVISION) if REVISION in note else (ALGORITHM, REVISION, MODEL)
    return all(facts.get(key) == note.get(key) for key in keys)


def _same_in_document(said: Any, facts: Models) -> bool:
    if not isinstance(said, Mapping) or ALGORITHM not in facts:
        return True
    return said.get("revision") == facts.get(REVISION) and (
        REVISION in facts or said.get("model") == facts.get(MODEL)
    )
