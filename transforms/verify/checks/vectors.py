"""Vectors of one chunk: its tables, the pickles of its clips, and whose vectors they say they are.

What a pickle names is never called: usually it is the very bytes that the table's row makes, and
what is not is read with notes in place of names (:mod:`finecut.io.tables.vector_pickles`).
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from finecut.io.layout import chunk_id, embedding_folder
from finecut.io.storage import files as shelf
from finecut.io.tables.parquet import embedding_pickle, facts_of
from finecut.io.tables.vector_pickles import NoVector, read_vector
from finecut.transforms.embed.one_model import ALGORITHM, DIMENSION, MODEL, REVISION
from finecut.transforms.verify.checks import findings as kinds
from finecut.transforms.verify.checks.clips import Clip
from finecut.transforms.verify.checks.findings import Finding
from finecut.transforms.verify.checks.verifying import Verifying

ENDING = "_embedding"
#: What can be read of a pipe.
NOTHING = b""

Vector = NDArray[Any]


class NoTable(ValueError):
    """Bytes that are no table of vectors; the message says what they are."""


@dataclass(frozen=True)
class Table:
    """A chunk's vectors as its Parquet file has them."""

    ids: tuple[str, ...]
    vectors: tuple[Vector, ...]
    facts: Mapping[str, str]


@dataclass(frozen=True)
class Signed:
    """How long the vectors of a table are, and whose they are: the same in all of a folder."""

    folder: str
    said: str
    path: str


def read_table(data: bytes) -> Table:
    """The table that these bytes are, or :class:`NoTable`."""
    try:
        table = pq.read_table(io.BytesIO(data), columns=["id", "embedding"])
        ids = tuple(map(str, table.column("id").to_pylist()))
        vectors = tuple(_numbers(row) for row in table.column("embedding"))
        return Table(ids, vectors, facts_of(data))
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NoTable(f"is no table of vectors ({str(error)[:200]})") from error


def _numbers(row: Any) -> Vector:
    values = None if row is None else row.values
    if values is None:
        raise ValueError("a row has no vector")
    numbers: Vector = values.to_numpy(zero_copy_only=False)
    if not np.issubdtype(numbers.dtype, np.floating):
        raise ValueError(f"a vector is made of {numbers.dtype}")
    return numbers


@dataclass
class Vectors:
    """What was found of the vectors of one chunk."""

    findings: list[Finding]
    #: Which clips have a vector of any kind.
    clips: set[str]
    signed: list[Signed]
    claims: list[tuple[str, str]]
    count: int = 0


def check_vectors(video: str, index: int, clips: Sequence[Clip], verifying: Verifying) -> Vectors:
    """The vectors of all kept clips of a chunk, of every model."""
    kept = [clip for clip in clips if clip.kept]
    found = Vectors([], set(), [], [])
    chunk = chunk_id(video, index)
    for folder in sorted({*verifying.vectors, *_promised(kept)}):
        _check_folder(folder, chunk, kept, verifying, found)
    return found


def _promised(clips: Iterable[Clip]) -> Iterator[str]:
    """Folders of vectors that documents of clips speak of."""
    for clip in clips:
        for name in (clip.document or {}).get("models", {}):
            if name.endswith(ENDING):
                yield embedding_folder(name.removesuffix(ENDING))


def _check_folder(
    folder: str, chunk: str, kept: Sequence[Clip], verifying: Verifying, found: Vectors
) -> None:
    """The table of a chunk in one folder, and the pickles beside it."""
    name = f"{folder}_parquet/{chunk}.parquet"
    found.claims.append((chunk, name))
    ids = [clip.id for clip in kept]
    paths = {id: f"{folder}/{id}.pickle" for id in ids}
    found.claims += paths.items()
    [data, *there] = verifying.each(
        _read, [f"{verifying.root}/{each}" for each in (name, *paths.values())]
    )
    pickles = {id: read for id, read in zip(ids, there, strict=True) if read is not None}
    say = found.findings.append
    rows: dict[str, Vector] = {}
    broken = False
    if data is not None:
        try:
            table = read_table(data)
        except NoTable as error:
            broken = True
            say(Finding(kinds.TABLE_BROKEN, name, str(error), "should be one with id, embedding"))
            found.clips |= {*ids}  # nobody knows; the table is named
        else:
            rows = dict(zip(table.ids, table.vectors, strict=True))
            found.findings += wrong_with_table(table, name, ids, pickles)
            found.findings += _wrong_with_models(table, name, folder, kept, verifying)
            found.signed.append(Signed(folder, _signature(table), name))
    elif pickles:
        wrong = f"is missing, and {len(pickles)} clips of its chunk have a pickle"
        say(Finding(kinds.TABLE_MISSING, name, wrong, "should have a row for each"))
    for id, pickled in pickles.items():
        found.findings += wrong_with_pickle(pickled, paths[id], rows.get(id))
    for clip in kept:
        if clip.id in pickles or broken:
            continue
        if clip.id in rows:
            should = "its row lies in the table of its chunk"
            say(Finding(kinds.VECTOR_MISSING, paths[clip.id], "is missing", should))
        elif folder in _promised([clip]):
            should = "its clip's document names the model of its vector"
            say(Finding(kinds.VECTOR_MISSING, paths[clip.id], "is missing, with its row", should))
            found.clips.add(clip.id)
    found.clips |= {*pickles, *rows} & {*ids}
    found.count += len(rows)


def _read(path: str) -> bytes | None:
    try:
        return shelf.read_if_there(path)
    except shelf.NotAFile:
        return NOTHING  # which is said of it as of any other that is broken


def wrong_with_table(
    table: Table, name: str, kept: Sequence[str], pickles: Iterable[str]
) -> Iterator[Finding]:
    """What is wrong with a table by itself, and with whose rows it has."""
    for id in sorted(id for id, number in Counter(table.ids).items() if number > 1):
        yield Finding(kinds.TABLE_DIFFERS, name, f"has several rows of {id}", "should have one")
    for id in sorted({*table.ids} - {*kept}):
        yield Finding(
            kinds.TABLE_DIFFERS,
            name,
            f"has a row of {id}",
            "should have rows of the kept clips of its chunk only",
        )
    for id in sorted({*pickles} - {*table.ids}):
        yield Finding(
            kinds.TABLE_DIFFERS, name, f"has no row of {id}", "its pickle says that it has a vector"
        )
    lengths = {len(vector) for vector in table.vectors}
    said = table.facts.get(DIMENSION)
    if len(lengths) > 1 or (said is not None and {*map(str, lengths)} - {said}):
        numbers = " and ".join(map(str, sorted(lengths)))
        should = f"should all have {said}" if said is not None else "should all have as many"
        yield Finding(kinds.MODEL, name, f"has vectors of {numbers} numbers", should)
    for id, vector in zip(table.ids, table.vectors, strict=True):
        if not np.isfinite(vector).all():
            yield Finding(
                kinds.VECTOR_BROKEN,
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
        should = "should be an array of floats, and nothing else"
        yield Finding(kinds.VECTOR_BROKEN, path, str(error), should)
        return
    if vector.ndim != 2 or len(vector) != 1:
        shape = " by ".join(map(str, vector.shape))
        yield Finding(kinds.VECTOR_BROKEN, path, f"is {shape}", "should be 1 by its dimension")
    elif not np.isfinite(vector).all():
        wrong = f"has {_first_wrong(vector[0])}"
        yield Finding(kinds.VECTOR_BROKEN, path, wrong, "should be finite numbers")
    elif row is not None and not np.array_equal(
        vector[0].astype(np.float64), row.astype(np.float64)
    ):
        should = "should be the row in the table of its chunk"
        yield Finding(kinds.VECTOR_DIFFERS, path, _difference(vector[0], row), should)


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
    lengths = sorted({len(vector) for vector in table.vectors})
    return f"{_model(table.facts)}, {' and '.join(map(str, lengths))} numbers"


def _model(facts: Mapping[str, str]) -> str:
    if ALGORITHM not in facts:
        return "vectors of a model that is not named"
    return f"vectors of {facts[ALGORITHM]} ({facts.get(REVISION) or facts.get(MODEL)})"


def _wrong_with_models(
    table: Table, name: str, folder: str, kept: Sequence[Clip], verifying: Verifying
) -> Iterator[Finding]:
    note = verifying.notes.get(folder)
    if note is not None and not _same(table.facts, note):
        yield Finding(
            kinds.MODEL,
            name,
            f"has {_model(table.facts)}",
            f"should be {_model(note)}, as .finecut/{folder}.json says",
        )
    elif note is not None and DIMENSION in note:
        for length in sorted({len(vector) for vector in table.vectors}):
            if str(length) != note[DIMENSION]:
                yield Finding(
                    kinds.MODEL,
                    name,
                    f"has vectors of {length} numbers",
                    f"should be {note[DIMENSION]}, as .finecut/{folder}.json says",
                )
    for clip in kept:
        for key, said in (clip.document or {}).get("models", {}).items():
            ours = key.endswith(ENDING) and embedding_folder(key.removesuffix(ENDING)) == folder
            if ours and clip.id in table.ids and not _same_in_document(said, table.facts):
                path = verifying.below(verifying.layout.meta(clip.id))
                yield Finding(
                    kinds.MODEL,
                    path,
                    f"names {said.get('model')}@{said.get('revision')} for its vector",
                    f"should be {_model(table.facts)}, as {name} says",
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
