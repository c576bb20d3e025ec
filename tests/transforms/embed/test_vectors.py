"""Vectors of two models never lie in one folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from finecut.io.layout import Layout
from finecut.io.records import ModelUsed
from finecut.io.storage.publishing import Shelf
from finecut.io.tables.parquet import embedding_table, facts_of
from finecut.transforms.embed.one_model import MixedVectors, claim, facts, refuse_other_vectors

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
    refuse_other_vectors(layout, "cosmos-embed1-224p", ModelUsed("org/eye", "abc"))
    refuse_other_vectors(layout, "somebody-else", ModelUsed("org/ear"))
    # The same weights by another path.
    refuse_other_vectors(layout, "cosmos-embed1-224p", ModelUsed("./models/eye", "abc", 3))


@pytest.mark.parametrize(
    ("algorithm", "used"),
    [
        ("cosmos-embed1-336p", EYE),
        ("cosmos-embed1-224p", ModelUsed("org/eye", "abd", 3)),
        ("cosmos-embed1-224p", ModelUsed("org/eye", "abc", 4)),
        ("cosmos-embed1-224p", ModelUsed("org/eye", None, 3)),
    ],
)
def test_another_model_is_refused(layout: Layout, algorithm: str, used: ModelUsed) -> None:
    """The sizes of Cosmos-Embed1 share a folder, as NeMo Curator has it."""
    with pytest.raises(MixedVectors, match=r"cosmos-embed1-224p \(org/eye@abc, 3 numbers\)"):
        refuse_other_vectors(layout, algorithm, used)


def test_tables_of_others_are_refused_too(layout: Layout) -> None:
    path = Path(layout.embedding_parquet("cosmos-embed1-224p", "chunk"))
    path.write_bytes(embedding_table([("a", (1.0, 2.0, 3.0))]))
    with pytest.raises(MixedVectors, match="an unknown model"):
        refuse_other_vectors(layout, "cosmos-embed1-224p", EYE)


def test_what_is_no_table_is_not_asked(layout: Layout) -> None:
    folder = Path(layout.embeddings_parquet("cosmos-embed1-224p"))
    (folder / ".DS_Store").touch()
    refuse_other_vectors(layout, "cosmos-embed1-224p", EYE)
    for table in folder.glob("*.parquet"):
        table.write_bytes(b"PAR1")
    with pytest.raises(MixedVectors, match="is not a Parquet table"):
        refuse_other_vectors(layout, "cosmos-embed1-224p", EYE)


def own(layout: Layout, run: str) -> Shelf:
    return Shelf(layout.root, layout.staging_of(run))


def test_the_first_vector_claims_the_folder(layout: Layout) -> None:
    """Pickles alone, as a run leaves them that was killed before its first table."""
    claim(own(layout, "run-1"), layout, "other", EYE)
    pickle = Path(layout.embedding("other", "clip"))
    pickle.parent.mkdir()
    pickle.write_bytes(b"whatever")
    claim(own(layout, "run-1"), layout, "other", EYE)
    claim(own(layout, "run-2"), layout, "other", EYE)
    with pytest.raises(MixedVectors, match="already contains vectors of other"):
        claim(own(layout, "run-3"), layout, "other", ModelUsed("org/ear", "xyz", 3))
    with pytest.raises(MixedVectors):
        claim(own(layout, "run-1"), layout, "other", ModelUsed("org/eye", None, 3))


def test_servers_without_revisions_are_told_apart_by_name(layout: Layout) -> None:
    claim(own(layout, "run-1"), layout, "endpoint", ModelUsed("eye", None, 3))
    pickle = Path(layout.embedding("endpoint", "clip"))
    pickle.parent.mkdir()
    pickle.write_bytes(b"whatever")
    claim(own(layout, "run-2"), layout, "endpoint", ModelUsed("eye", None, 3))
    with pytest.raises(MixedVectors, match="endpoint \\(eye@None"):
        claim(own(layout, "run-3"), layout, "endpoint", ModelUsed("ear", None, 3))


def test_a_folder_that_was_emptied_is_free(layout: Layout) -> None:
    claim(own(layout, "run-1"), layout, "other", EYE)
    claim(own(layout, "run-2"), layout, "other", ModelUsed("org/ear", "abc", 3))


def test_pickles_without_a_note_are_nobodys(layout: Layout) -> None:
    pickle = Path(layout.embedding("other", "clip"))
    pickle.parent.mkdir()
    pickle.write_bytes(b"whatever")
    with pytest.raises(MixedVectors, match="unknown model"):
        claim(own(layout, "run-1"), layout, "other", EYE)
