"""``finecut search``: what was said, meant or looks alike is found, on any engine, in any state."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import scale
from arranged import both
from curated import ALGORITHM, Curated, curated, edit, say, told, vector_of
from on_prism import needs_prism, pool
from performing import performed
from tiny_sentences import tiny_sentences

from finecut.io.errors import UserError
from finecut.io.layout import embedding_folder
from finecut.io.storage.publishing import Shelf
from finecut.io.tables.drops import read_drops
from finecut.pipeline.cli.command import main
from finecut.pipeline.commands.compact import CompactOptions
from finecut.pipeline.commands.search import Search, SearchOptions
from finecut.pipeline.commands.search.work import Found
from finecut.transforms.catalogue.chunks import enter, rows_at
from finecut.transforms.models.sentences import SentenceEncoder
from finecut.transforms.search.hits import from_lines


def found(root: Path, text: str = "", **more: Any) -> Found:
    options = SearchOptions(str(root), text=text, workers=1, **more)
    return Search(options.check()).run()


@pytest.fixture
def dataset(tmp_path: Path) -> Curated:
    """With captions in the catalogue, too."""
    made = curated(tmp_path)
    assert performed(CompactOptions(str(made.root), rebuild=True, quiet=True)) == 0
    return made


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("painted") / "output"
    assert scale.main(["paint", str(folder), "--rows", "900", "--processes", "1"]) == 0
    return folder


def test_the_clip_of_which_it_is_said_is_first(dataset: Curated) -> None:
    for clip in dataset.entries():
        if clip.kept:
            hits = found(dataset.root, told(clip)).hits
            assert hits[0].id == clip.id
            assert hits[0].caption == told(clip)
            assert (hits[0].start, hits[0].end) == clip.span


def test_what_is_said_of_sources_is_found(painted: Path) -> None:
    table = pq.read_table(painted / "catalogue").to_pylist()
    title = json.loads(table[0]["source"])["title"]
    expected = {row["id"] for row in table if json.loads(row["source"])["title"] == title}
    kept = {row["id"] for row in table if row["id"] in expected and row["verdict"] == "kept"}
    hits = found(painted, title.rpartition(" ")[2], limit=500).hits
    assert kept <= {hit.id for hit in hits}
    assert {hit.verdict for hit in hits} == {"kept"}


@pytest.mark.parametrize("verdict", ["kept", "rejected", "any"])
def test_verdicts(verdict: str, painted: Path) -> None:
    table = pq.read_table(painted / "catalogue").to_pylist()
    known = {row["id"]: row["verdict"] for row in table}
    hits = found(painted, "video", verdict=verdict, limit=2000).hits
    assert {hit.id for hit in hits} == {
        id for id, given in known.items() if verdict in ("any", given)
    }


def test_the_best_are_those_of_all(painted: Path) -> None:
    every = found(painted, "red boat ka*", limit=2000).hits
    assert len(every) > 20
    assert found(painted, "red boat ka*", limit=7).hits == every[:7]
    assert [hit.rank for hit in every] == sorted(hit.rank for hit in every)
    floor = every[5].score
    enough = found(painted, "red boat ka*", limit=2000, least=floor).hits
    assert enough == [hit for hit in every if hit.score >= floor]


def test_without_a_catalogue_it_is_the_same_but_slow(dataset: Curated) -> None:
    before = found(dataset.root, "second 2")
    assert before.troubles == []
    shutil.rmtree(dataset.root / "catalogue")
    (dataset.root / ".finecut/catalogue.json").unlink()
    after = found(dataset.root, "second 2")
    assert after.hits == before.hits
    assert "finecut compact" in after.troubles[0]


def test_a_newer_caption_is_searched(dataset: Curated) -> None:
    """One that a compaction has not merged yet."""
    [first, *_] = dataset.kept()
    [window] = dataset.output.entry(first, kept=True).document["windows"]
    edit(dataset.root, first, windows=[window | {"qwen_caption": "a lonely zebra"}])
    [chunk] = (c for c in dataset.output.chunks() if first in Path(c).read_text())
    layout = dataset.output.layout
    enter(*rows_at(chunk, dataset.output), layout, Shelf(layout.root, layout.staging_of("test")))
    compacted = pq.read_table(dataset.root / "catalogue/clips.parquet")
    assert "a lonely zebra" not in compacted["caption"].to_pylist()
    assert [hit.id for hit in found(dataset.root, "zebra").hits] == [first]
    assert performed(CompactOptions(str(dataset.root), quiet=True)) == 0
    assert [hit.id for hit in found(dataset.root, "zebra").hits] == [first]


# ── what looks alike ─────────────────────────────────────────────────────────────────────────────


def test_the_most_alike_are_those_of_all_pairs(dataset: Curated) -> None:
    clips = [clip for clip in dataset.entries() if clip.kept]
    vectors = np.stack([vector_of(dataset, clip).astype(np.float64) for clip in clips])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for clip, cosines in zip(clips, vectors @ vectors.T, strict=True):
        hits = found(dataset.root, like=clip.id, limit=4).hits
        others = [at for at in np.argsort(-cosines) if clips[at].id != clip.id]
        np.testing.assert_allclose([hit.score for hit in hits], cosines[others[:4]], atol=2e-6)
        by_id = {each.id: float(cosine) for each, cosine in zip(clips, cosines, strict=True)}
        assert all(hit.score == pytest.approx(by_id[hit.id], abs=2e-6) for hit in hits)


def test_planted_duplicates_are_found(painted: Path) -> None:
    groups: dict[int, set[str]] = {}
    for row in pq.read_table(f"{painted}-groups.parquet").to_pylist():
        groups.setdefault(row["group"], set()).add(row["id"])
    for group in list(groups.values())[:4]:
        for clip in group:
            hits = found(painted, like=clip, limit=50, least=0.9).hits
            assert {hit.id for hit in hits} == group - {clip}


def test_clips_that_are_not_there_or_have_no_vector(painted: Path, dataset: Curated) -> None:
    nobody = "ce2f3d69-8b98-57fe-98fe-70d008e354f3"
    with pytest.raises(UserError, match=f"there is no clip {nobody}"):
        found(painted, like=nobody)
    rejected = next(clip.id for clip in dataset.entries() if not clip.kept)
    with pytest.raises(UserError, match="has no vector"):
        found(dataset.root, like=rejected)
    with pytest.raises(UserError, match=r"no vectors of --algorithm other"):
        found(dataset.root, like=rejected, algorithm="other")
    shutil.rmtree(dataset.root / f"{embedding_folder(ALGORITHM)}_parquet")
    with pytest.raises(UserError, match="contains no vectors"):
        found(dataset.root, like=rejected)


def test_packed_datasets_are_searched_alike(tmp_path: Path) -> None:
    arranged = both(tmp_path)
    clip = next((arranged.files / "clips").iterdir()).stem
    for query in ({"like": clip}, {"text": "long"}):
        files, packs = (found(root, **query).hits for root in (arranged.files, arranged.packed))
        assert len(files) > 3
        assert [(hit.id, hit.score) for hit in packs] == [(hit.id, hit.score) for hit in files]


def test_a_broken_table_is_left_out(dataset: Curated) -> None:
    clip = next(clip for clip in dataset.entries() if clip.kept)
    folder = dataset.root / f"{embedding_folder(ALGORITHM)}_parquet"
    other = next(path for path in folder.iterdir() if path.stem != clip.chunk)
    gone = {row["id"] for row in pq.read_table(other, columns=["id"]).to_pylist()}
    every = {hit.id for hit in found(dataset.root, like=clip.id, limit=50).hits}
    other.write_bytes(other.read_bytes()[:-20])
    left = {hit.id for hit in found(dataset.root, like=clip.id, limit=50).hits}
    assert left == every - gone


# ── what is meant ────────────────────────────────────────────────────────────────────────────────


def test_what_means_the_same_is_first(dataset: Curated, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    folder = tiny_sentences(tmp_path / "model")
    clips = dataset.kept()
    captions = dict(zip(clips, ["a red boat", "the dog sleeps", "blue harbour"], strict=False))
    for clip, caption in captions.items():
        [window] = dataset.output.entry(clip, kept=True).document["windows"]
        say(dataset.root, clip, windows=[window | {"qwen_caption": caption}])
    assert performed(CompactOptions(str(dataset.root), rebuild=True, quiet=True)) == 0
    encoder = SentenceEncoder.load(str(folder))
    for clip, caption in captions.items():
        hits = found(dataset.root, caption, model=str(folder), limit=3).hits
        assert hits[0].id == clip
        assert hits[0].score == pytest.approx(1, abs=1e-5)
        [cosine] = encoder.vectors([hits[1].caption or ""]) @ encoder.question(caption)
        assert hits[1].score == pytest.approx(float(cosine), abs=1e-5)


# ── words, lists, engines ────────────────────────────────────────────────────────────────────────


def test_what_is_printed(
    dataset: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = tmp_path / "ids.txt"
    words = ["search", str(dataset.root), "--ids", str(ids), "--limit", "2", "second 3 of long"]
    assert main(words) == 0
    out = capsys.readouterr().out
    [first, second] = ids.read_text().split()
    assert first in out
    assert second in out
    assert "second 3 of long.mp4" in out
    assert f"{dataset.root}/report/index.html#clips?ids={first},{second}" in out
    assert main([*words, "--json", "--quiet"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["id"] for each in told] == [first, second]
    assert not (dataset.root / ".staging").exists()


@pytest.mark.parametrize("name", ["ids.txt", "ids.parquet"])
def test_lists_are_those_that_drop_reads(name: str, dataset: Curated, tmp_path: Path) -> None:
    path = tmp_path / "lists" / name
    hits = found(dataset.root, "second", ids=str(path)).hits
    assert {*read_drops([str(path)])} == {hit.id for hit in hits}
    assert len(hits) == 11


def test_nothing_found_is_an_empty_list(dataset: Curated, tmp_path: Path) -> None:
    assert found(dataset.root, "unheard", ids=str(tmp_path / "ids.txt")).hits == []
    assert (tmp_path / "ids.txt").read_bytes() == b""


def test_slices_and_workers_make_no_difference(tmp_path: Path) -> None:
    root = tmp_path / "output"
    words = ["paint", str(root), "--rows", "4200", "--clips-of-chunk", "1", "--processes", "1"]
    assert scale.main(words) == 0
    assert len(list((root / "catalogue").iterdir())) == 16
    alone, several = (
        Search(SearchOptions(str(root), text="red boat ka*", workers=workers)).run().hits
        for workers in (1, 3)
    )
    assert alone == several
    assert len(alone) == 20


@pytest.mark.slow
@needs_prism
def test_other_processes_find_the_same(
    painted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pool(tmp_path / "pool") as there:
        clip = found(painted, "red boat ka*").hits[0].id
        for query in ({"text": "red boat ka*"}, {"like": clip}):
            given = [query["text"]] if "text" in query else ["--like", clip]
            command = ["search", str(painted), *given, "--json", "--quiet", "--runner", "prism"]
            assert main([*command, *there]) == 0
            lines = capsys.readouterr().out.encode()
            assert from_lines(lines) == found(painted, **query).hits


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "nothing to search for"),
        (["boat", "--like", "ce2f3d69-8b98-57fe-98fe-70d008e354f3"], "two searches"),
        (["--like", "boat"], "not the id of a clip"),
        (["…"], "contains no words"),
        (["boat", "--algorithm", "x"], "give --like too"),
        (["boat", "sail"], "does not belong to any flag"),
        (["boat", "--runner", "FlinkRunner"], "dataset in a bucket"),
        (["boat", "--ids", "{root}/ids.txt"], "inside the dataset"),
    ],
)
def test_mistakes(
    words: list[str], sentence: str, dataset: Curated, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [word.format(root=dataset.root) for word in words]
    try:
        code = main(["search", str(dataset.root), *given])
    except SystemExit as end:
        code = int(end.code or 0)
    assert code == 2
    assert sentence in capsys.readouterr().err
