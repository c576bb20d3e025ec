"""Vectors of one chunk: its tables, the pickles of its clips, and whose vectors they say they are.

What a pickle names is never called: usually it is the very bytes that the table's row makes, and
what is not is read with notes in place of names (:mod:`finecut.io.tables.parquet`).
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from finecut.io.layout import chunk_id, embedding_folder
from finecut.io.storage import files as shelf
from finecut.io.storage.on_disk import NotAFile
from finecut.io.tables.parquet import (
    NoVector,
    embedding_pickle,
    facts_of,
    from_parquet,
    read_vector,
)
from finecut.transforms.embed.one_model import ALGORITHM, DIMENSION, MODEL, REVISION
from finecut.transforms.verify.checks.clips import Chunk, Clip
from finecut.transforms.verify.checks.findings import (
    Checked,
    Claim,
    Finding,
    Verifying,
    several,
)

ENDING = "_embedding"

#: What reading bytes that are no table of vectors breaks with.
NO_TABLE: Final = (
    pa.ArrowException,
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
)

Vector = NDArray[Any]


class Table(NamedTuple):
    """A chunk's vectors as its Parquet file has them."""

    #: Below the root.
    path: str
    ids: list[str]
    vectors: list[Vector]
    facts: Mapping[str, str]

    @property
    def lengths(self) -> list[str]:
        return list(map(str, sorted({len(vector) for vector in self.vectors})))


@dataclass(frozen=True)
class Signed:
    """How long the vectors of a table are, and whose they are: the same in all of a folder."""

    folder: str
    said: str
    path: str


def read_table(data: bytes, path: str) -> Table:
    """The table that these bytes are; one of :data:`NO_TABLE` is raised if they are none."""
    table = from_parquet(data, columns=["id", "embedding"])
    ids, rows = list(map(str, table.column("id").to_pylist())), table.column("embedding")
    if rows.null_count:
        raise ValueError("a row has no vector")
    if not pa.types.is_floating(rows.type.value_type):
        raise ValueError(f"a vector is made of {rows.type.value_type}")
    vectors = [row.values.to_numpy(zero_copy_only=False) for row in rows]
    return Table(path, ids, vectors, facts_of(data))


def check_vectors(
    chunk: Chunk, verifying: Verifying
) -> Iterator[Finding | Signed | Claim | Checked]:
    """The vectors of all kept clips of a chunk, of every model."""
    for folder in _folders_of(chunk, verifying):
        yield from _check_folder(folder, chunk, verifying)
    yield Checked({"vectors": chunk.num_vectors})


def claims_of_vectors(chunk: Chunk, verifying: Verifying) -> Iterator[Claim]:
    """The files that may be there of its vectors."""
    for folder in _folders_of(chunk, verifying):
        yield from _claims(folder, chunk)


def _folders_of(chunk: Chunk, verifying: Verifying) -> list[str]:
    promised = (folder for clip in chunk.clips if clip.kept for folder in models_of(clip))
    return sorted({*verifying.vectors, *promised})


def _claims(folder: str, chunk: Chunk, there: Container[str] = ()) -> Iterator[Claim]:
    """The table of a chunk, and its clips' pickles."""
    name = _table_of(folder, chunk)
    yield Claim(key_of(chunk), chunk.path, (name,), (name,) if name in there else ())
    for clip in chunk.clips:
        if clip.kept:
            path = _pickle_of(folder, clip.id)
            yield Claim(clip.id, chunk.path, (path,), (path,) if path in there else ())


def key_of(chunk: Chunk) -> str:
    return chunk_id(chunk.document["video"], chunk.index)


def _table_of(folder: str, chunk: Chunk) -> str:
    return f"{folder}_parquet/{key_of(chunk)}.parquet"


def _pickle_of(folder: str, id: str) -> str:
    return f"{folder}/{id}.pickle"


def models_of(clip: Clip) -> dict[str, Any]:
    """The folders of vectors that the document speaks of, and what it says of their models."""
    return {
        embedding_folder(name.removesuffix(ENDING)): said
        for name, said in clip.document.get("models", {}).items()
        if name.endswith(ENDING)
    }


def _check_folder(
    folder: str, chunk: Chunk, verifying: Verifying
) -> Iterator[Finding | Signed | Claim]:
    """The table of a chunk in one folder, and the pickles beside it."""
    name = _table_of(folder, chunk)
    kept = {clip.id: clip for clip in chunk.clips if clip.kept}
    paths = {id: _pickle_of(folder, id) for id in kept}
    try:
        data, *there = verifying.each(_read, map(verifying.layout.below, (name, *paths.values())))
    except OSError:
        yield from _claims(folder, chunk)
        raise
    files = zip((name, *paths.values()), (data, *there), strict=True)
    yield from _claims(folder, chunk, {path for path, read in files if read is not None})
    pickles = {id: read for id, read in zip(paths, there, strict=True) if read is not None}
    table, broken = Table(name, [], [], {}), False
    if data is not None:
        try:
            table = read_table(data, name)
        except NO_TABLE as error:
            broken = True
            wrong = f"is not a table of vectors ({str(error)[:200]})"
            yield Finding("table-broken", name, wrong, "should be one with id, embedding")
        else:
            yield from check_table(table, folder, kept, verifying, pickles=pickles)
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
    promised = {id for id, clip in kept.items() if folder in models_of(clip)}
    # Of a broken table, which is named, nobody knows whose vectors it had.
    known = {*kept} if broken else {*kept} & {*promised, *rows, *pickles}
    chunk.with_vectors |= known
    for id in () if broken else sorted(known - {*pickles}):
        wrong, should = "is missing", "its row is in the table of its chunk"
        if id not in rows:
            wrong, should = (
                f"{wrong}, with its row",
                "its clip's document names the model of its vector",
            )
        yield Finding("vector-missing", paths[id], wrong, should)


def _read(path: str) -> bytes | None:
    try:
        return shelf.read_if_there(path)
    except NotAFile:
        return b""  # all that a pipe has: it is named like any other that is broken


def check_table(
    table: Table,
    folder: str,
    kept: Mapping[str, Clip],
    verifying: Verifying,
    *,
    pickles: Iterable[str] = (),
) -> Iterator[Finding | Signed]:
    """What is wrong with a table that could be read, and whose vectors it says it has."""
    yield from wrong_with_table(table, kept, pickles)
    yield from _wrong_with_models(table, folder, kept, verifying)
    # What is the same in all tables of a folder.
    said = f"{_model(table.facts)}, {' and '.join(table.lengths)} numbers"
    yield Signed(folder, said, table.path)


def wrong_with_table(
    table: Table, kept: Iterable[str], pickles: Iterable[str]
) -> Iterator[Finding]:
    """What is wrong with a table by itself, and with whose rows it has."""
    name = table.path
    here, only_kept = {*table.ids}, "should have rows of the kept clips of its chunk only"
    for ids, wrong, should in (
        (several(table.ids), "has several rows of", "should have one"),
        (sorted(here - {*kept}), "has a row of", only_kept),
        (sorted({*pickles} - here), "has no row of", "its pickle says that it has a vector"),
    ):
        for id in ids:
            yield Finding("table-differs", name, f"{wrong} {id}", should)
    length = table.facts.get(DIMENSION)
    if len(table.lengths) > 1 or (length is not None and {*table.lengths} - {length}):
        yield Finding(
            "model",
            name,
            f"has vectors of {' and '.join(table.lengths)} numbers",
            "should all have as many" if length is None else f"should all have {length}",
        )
    yield from (
        Finding(
            "vector-broken",
            name,
            f"the vector of {id} has {_first_wrong(vector)}",
            "should be finite numbers",
        )
        for id, vector in zip(table.ids, table.vectors, strict=True)
        if not np.isfinite(vector).all()
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
        yield Finding(
            "vector-broken",
            path,
            f"is {' by '.join(map(str, vector.shape))}",
            "should be 1 by its dimension",
        )
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
        yield from (
            Finding(
                "model",
                table.path,
                f"has vectors of {length} numbers",
                f"should be {note[DIMENSION]}, {noted}",
            )
            for length in table.lengths
            if length != note[DIMENSION]
        )
    for id in sorted({*kept} & {*table.ids}):
        said: Any = models_of(kept[id]).get(folder)
        if not _same_in_document(said, table.facts):
            yield Finding(
                "model",
                kept[id].name,
                f"names {said.get('model')}@{said.get('revision')} for its vector",
                f"should be {model}, as {table.path} says",
            )


def _same(facts: Mapping[str, str], note: Mapping[str, str]) -> bool:
    """The same weights may be named by another path, where a revision says which they are."""
    keys = (ALGORITHM, REVISION) if REVISION in note else (ALGORITHM, REVISION, MODEL)
    return all(facts.get(key) == note.get(key) for key in keys)


def _same_in_document(said: Any, facts: Mapping[str, str]) -> bool:
    if not isinstance(said, Mapping) or ALGORITHM not in facts:
        return True
    return said.get("revision") == facts.get(REVISION) and (
        REVISION in facts or said.get("model") == facts.get(MODEL)
    )
