"""Vectors of two models never lie in one folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from finecut.io.layout import Layout
from finecut.io.parquet import embedding_table, facts_of
from finecut.io.records import ModelUsed
from finecut.transforms.vectors import MixedVectors, facts, refuse_in_run, refuse_other_vectors

EYE = ModelUsed("org/eye", "abc", 3)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An output with one table of the eye's vectors."""
    layout = Layout(str(tmp_path))
    path = Path(layout.embedding_parquet("cosmos-embed1-224p", "chunk"))
    path.parent.mkdir()
    path.write_bytes(embedding_table([("a", (1.0, 2.0, 3.0))], facts("cosmos-embed1-224p", EYE)))
    return layout


def test_a_table_says_whose_vectors_it_holds(layout: Layout) -> None:
    table = Path(layout.embedding_parquet("cosmos-embed1-224p", "chunk")).read_bytes()
    assert facts_of(table) == {
        "algorithm": "cosmos-embed1-224p",
        "model": "org/eye",
        "revision": "abc",
        "dimension": "3",
    }


def test_the_same_model_may_go_on(layout: Layout) -> None:
    refuse_other_vectors(layout, "cosmos-embed1-224p", EYE)
    refuse_other_vectors(layout, "cosmos-embed1-224p", ModelUsed("org/eye"))
    refuse_other_vectors(layout, "somebody-else", ModelUsed("org/ear"))


@pytest.mark.parametrize(
    ("algorithm", "used"),
    [
        ("cosmos-embed1-336p", EYE),
        ("cosmos-embed1-224p", ModelUsed("org/eye", "abd", 3)),
        ("cosmos-embed1-224p", ModelUsed("org/eye", "abc", 4)),
        ("cosmos-embed1-224p", ModelUsed("org/ear", "abc", 3)),
    ],
)
def test_another_model_is_refused(layout: Layout, algorithm: str, used: ModelUsed) -> None:
    """The sizes of Cosmos-Embed1 share a folder, as NeMo Curator has it."""
    with pytest.raises(MixedVectors, match=r"cosmos-embed1-224p \(org/eye@abc, 3 numbers\)"):
        refuse_other_vectors(layout, algorithm, used)


def test_tables_of_others_are_refused_too(layout: Layout) -> None:
    path = Path(layout.embedding_parquet("cosmos-embed1-224p", "chunk"))
    path.write_bytes(embedding_table([("a", (1.0, 2.0, 3.0))]))
    with pytest.raises(MixedVectors, match="a model that the tables do not name"):
        refuse_other_vectors(layout, "cosmos-embed1-224p", EYE)


def test_in_a_run_it_is_looked_at_once(layout: Layout) -> None:
    refuse_in_run(layout, "other", EYE, "run-1")
    path = Path(layout.embedding_parquet("other", "chunk"))
    path.parent.mkdir()
    path.write_bytes(embedding_table([("a", (1.0,))], facts("other", ModelUsed("org/ear"))))
    refuse_in_run(layout, "other", EYE, "run-1")
    with pytest.raises(MixedVectors):
        refuse_in_run(layout, "other", EYE, "run-2")
