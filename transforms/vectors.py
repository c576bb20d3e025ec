"""Vectors of one model in one folder: those of two cannot be compared, so they never mix.

Every Parquet table says of which model its vectors are. Before a run writes vectors into a folder
that has some, it looks at one of its tables; if that speaks of another model, the run is refused
(or, where that is noticed only by a worker, the chunk fails).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from finecut.io import shelf
from finecut.io.layout import Layout
from finecut.io.parquet import facts_of
from finecut.io.records import ModelUsed

ALGORITHM, MODEL, REVISION, DIMENSION = "algorithm", "model", "revision", "dimension"


class MixedVectors(Exception):
    """Vectors of another model already lie where these are to be written."""


def facts(algorithm: str, used: ModelUsed) -> dict[str, str]:
    """What a table says about its vectors."""
    said = {ALGORITHM: algorithm, MODEL: used.name, REVISION: used.revision}
    if used.dimension is not None:
        said[DIMENSION] = str(used.dimension)
    return {key: value for key, value in said.items() if value is not None}


def refuse_other_vectors(layout: Layout, algorithm: str, used: ModelUsed) -> None:
    """Raise if the algorithm's folder holds vectors of another model."""
    _refuse(held_in(layout.embeddings_parquet(algorithm)), layout, algorithm, used)


@lru_cache(maxsize=64)
def _held_at_first(folder: str, _run: str) -> Mapping[str, str] | None:
    """The same, looked at once in a run: what is written later is its own."""
    return held_in(folder)


def refuse_in_run(layout: Layout, algorithm: str, used: ModelUsed, run: str) -> None:
    """Like :func:`refuse_other_vectors`, looking once in a run and process."""
    held = _held_at_first(layout.embeddings_parquet(algorithm), run)
    _refuse(held, layout, algorithm, used)


def held_in(folder: str) -> Mapping[str, str] | None:
    """What a table of this folder says of its vectors; nothing if there is no table."""
    path = shelf.some_file_in(folder)
    return None if path is None else facts_of(shelf.read(path))


def _refuse(
    held: Mapping[str, str] | None, layout: Layout, algorithm: str, used: ModelUsed
) -> None:
    if held is None:
        return
    ours = facts(algorithm, used)
    # What is not known yet (a dimension, before the model is loaded) cannot differ.
    differ = [key for key in ours if held.get(key) != ours[key]]
    if differ:
        folder = layout.embeddings_parquet(algorithm)
        raise MixedVectors(
            f"{folder} holds vectors of {_named(held)}, and these are of {_named(ours)}: vectors "
            "of two models cannot be compared, so they do not go into one folder. Write to "
            f"another output, or remove {folder} and {layout.embeddings(algorithm)} first."
        )


def _named(said: Mapping[str, str]) -> str:
    if not said:
        return "a model that the tables do not name"
    numbers = f", {said[DIMENSION]} numbers" if DIMENSION in said else ""
    return f"{said[ALGORITHM]} ({said.get(MODEL)}@{said.get(REVISION)}{numbers})"
