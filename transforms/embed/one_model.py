"""Vectors of one model in one folder: those of two cannot be compared, so they never mix.

A note in the output (``.finecut/<folder>.json``) says of which model a folder's vectors are; it is
written before the first of them. A run whose embedder is another is refused (or, where only a
worker notices, the chunk fails). Where there are vectors and no note, as in a dataset that another
program wrote, one of the Parquet tables is asked.
"""

import json
from collections.abc import Mapping

import pyarrow as pa

from finecut.io.errors import UserError
from finecut.io.layout import Layout
from finecut.io.records import ModelUsed
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import BadDocument, read_json
from finecut.io.storage.publishing import Shelf
from finecut.io.tables.parquet import facts_of
from finecut.transforms.beam.metrics import LOG
from finecut.transforms.beam.sharing import of_run

ALGORITHM, MODEL, REVISION, DIMENSION = "algorithm", "model", "revision", "dimension"


class MixedVectors(UserError):
    """Vectors of another model already lie where these are to be written."""


def vector_key(algorithm: str) -> str:
    """What the model of a clip's vectors is filed under among the clip's models."""
    return f"{algorithm}_embedding"


def facts(algorithm: str, used: ModelUsed) -> dict[str, str]:
    """What is said of an algorithm's vectors, in the note and in each table."""
    dimension = None if used.dimension is None else str(used.dimension)
    said = {ALGORITHM: algorithm, MODEL: used.name, REVISION: used.revision, DIMENSION: dimension}
    return {key: value for key, value in said.items() if value is not None}


def refuse_other_vectors(layout: Layout, algorithm: str, used: ModelUsed) -> None:
    """Raise if the algorithm's folders hold vectors of another model."""
    if (held := held_by(layout, algorithm)) is not None:
        _compare(held, facts(algorithm, used), layout, algorithm)


def claim(own: Shelf, layout: Layout, algorithm: str, used: ModelUsed) -> None:
    """Note whose vectors will lie here, or raise if others do; once in a run and process."""
    ours = facts(algorithm, used)

    def noted() -> Mapping[str, str]:
        if (held := held_by(layout, algorithm)) is not None:
            return held
        own.write(layout.embedding_facts(algorithm), json.dumps(ours, indent=4).encode())
        return ours

    held = of_run(own.staging).once(layout.embeddings(algorithm), noted)
    _compare(held, ours, layout, algorithm)


def held_by(layout: Layout, algorithm: str) -> Mapping[str, str] | None:
    """What is known of the vectors that lie here; nothing if there are none."""
    table = None
    if layout.packed:
        # Tables of packs need not have vectors: the note alone says whose they have.
        if shelf.some_file_in(layout.packs(), ".parquet") is None:
            return None
    else:
        table = shelf.some_file_in(layout.embeddings_parquet(algorithm), ".parquet")
        if table is None and shelf.some_file_in(layout.embeddings(algorithm), ".pickle") is None:
            return None
    try:
        if (said := read_json(layout.embedding_facts(algorithm))) is not None:
            return {key: value for key, value in said.items() if isinstance(value, str)}
    except BadDocument as error:
        LOG.error("%s: a table is asked instead", error)
        return {} if table is None else _facts_in(table)
    if layout.packed:
        return None
    return {} if table is None else _facts_in(table)


def _facts_in(table: str) -> Mapping[str, str]:
    data = shelf.read(table)
    try:
        return facts_of(data)
    except (pa.ArrowException, OSError) as error:
        raise MixedVectors(
            f"{table} is not a Parquet table ({error}), so it is unknown which model made the "
            "vectors beside it. Usually a copy was cut short: first remove that file, or the "
            "folder."
        ) from error


def _compare(
    held: Mapping[str, str], ours: Mapping[str, str], layout: Layout, algorithm: str
) -> None:
    # The same weights may be named by another path; only where they have no revision the name says
    # which they are. How long vectors are is known when the model has answered.
    by_name = () if REVISION in ours else (MODEL,)
    by_length = (DIMENSION,) if DIMENSION in ours and DIMENSION in held else ()
    if any(held.get(key) != ours.get(key) for key in (ALGORITHM, REVISION, *by_name, *by_length)):
        folder = layout.packs() if layout.packed else layout.embeddings_parquet(algorithm)
        remove = f", or first remove {folder} and {layout.embeddings(algorithm)}"
        raise MixedVectors(
            f"{folder} already contains vectors of {_named(held)}, but this run would write "
            f"vectors of {_named(ours)}: vectors of two models cannot be compared, so they must "
            f"not share a folder. Write to another output{'' if layout.packed else remove}."
        )


def _named(said: Mapping[str, str]) -> str:
    if ALGORITHM not in said:
        return "an unknown model"
    numbers = f", {said[DIMENSION]} numbers" if DIMENSION in said else ""
    return f"{said[ALGORITHM]} ({said.get(MODEL)}@{said.get(REVISION)}{numbers})"
