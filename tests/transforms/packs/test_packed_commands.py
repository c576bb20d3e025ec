"""Commands on a packed dataset do what they do on the same one of files."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from arranged import Both, both, curate, tree, unpacked
from performing import performed

from finecut.io.dataset.places import NoDataset
from finecut.pipeline.commands.dedup import DedupOptions
from finecut.pipeline.commands.refilter import RefilterOptions
from finecut.pipeline.commands.report import ReportOptions
from finecut.pipeline.commands.shard import ShardOptions


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Both:
    """Nothing is changed in them."""
    folder = tmp_path_factory.mktemp("both")
    return both(folder, generate_previews=True, generate_thumbnails=True)


@pytest.fixture
def packed(made: Both, tmp_path: Path) -> Path:
    """A copy to do things to."""
    return Path(shutil.copytree(made.packed, tmp_path / "packed"))


# ── shard ────────────────────────────────────────────────────────────────────────────────────────


def shards_of(dataset: Path, output: Path) -> dict[str, bytes]:
    assert performed(ShardOptions(str(dataset), output=str(output), quiet=True)) == 0
    found = tree(output)
    summary = json.loads(found.pop("summary.json"))
    assert summary.pop("dataset") == str(dataset)
    assert summary["clips"]["written"] == 5
    return {**found, "summary": json.dumps(summary).encode()}


@pytest.mark.parametrize("catalogue", [True, False], ids=["rows", "documents"])
def test_shards_are_the_same(made: Both, packed: Path, tmp_path: Path, catalogue: bool) -> None:
    files = Path(shutil.copytree(made.files, tmp_path / "files"))
    if not catalogue:
        for root in (files, packed):
            shutil.rmtree(root / "catalogue")
            (root / ".finecut/catalogue.json").unlink()
    expected = shards_of(files, tmp_path / "of files")
    found = shards_of(packed, tmp_path / "of packs")
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []


# ── report ───────────────────────────────────────────────────────────────────────────────────────


def page_of(dataset: Path, into: Path, *, catalogue: bool = True) -> dict[str, bytes]:
    """The page's data: all pictures by their names, and scripts by their kinds."""
    if not catalogue:
        shutil.rmtree(dataset / "catalogue")
    assert performed(ReportOptions(str(dataset), into=str(into), quiet=True)) == 0
    found = {path.name: path.read_bytes() for path in (into / "pictures").iterdir()}
    for path in sorted((into / "data").iterdir()):
        found[path.name.partition(".")[0]] = path.read_bytes()
    return found


@pytest.mark.parametrize("catalogue", [True, False], ids=["rows", "documents"])
def test_a_page_shows_the_same(made: Both, packed: Path, tmp_path: Path, catalogue: bool) -> None:
    expected = page_of(Path(shutil.copytree(made.files, tmp_path / "files")), tmp_path / "one")
    found = page_of(packed, tmp_path / "other", catalogue=catalogue)
    assert sum(name.endswith(".webp") for name in found) == 1
    assert found.keys() == expected.keys()
    # Only the texts of clips say where in archives they lie.
    assert [name for name in found if found[name] != expected[name]] == ["texts-0000"]
    texts = json.loads(found["texts-0000"].decode().partition(",0,")[2].removesuffix(");\n"))
    paths, which = texts.pop("archive")
    for place, (offset, size, *preview) in enumerate(texts.pop("parts")):
        data = (packed / paths[which[place]]).read_bytes()
        assert data[offset + 4 : offset + 8] == b"ftyp"
        assert b"moov" in data[offset : offset + size]
        for start in preview[:1]:
            assert data[start : start + 4] == b"RIFF"
    assert texts == json.loads(
        expected["texts-0000"].decode().partition(",0,")[2].removesuffix(");\n")
    )


def test_a_run_that_packs_makes_its_page(made: Both, tmp_path: Path) -> None:
    ran = curate(made.films, tmp_path / "output", layout="packed", no_report=False)
    assert ran.report == f"open: {tmp_path}/output/report/index.html"


# ── refilter ─────────────────────────────────────────────────────────────────────────────────────


def refilter(dataset: Path, rule: str) -> dict[str, bytes]:
    """What lies there when this rule judges; archives apart, which nothing may change."""
    before = {path.name: path.read_bytes() for path in dataset.glob("packs/*.tar")}
    options = RefilterOptions(str(dataset), keep=(rule,), yes=True, quiet=True)
    assert performed(options) == 0
    assert {path.name: path.read_bytes() for path in dataset.glob("packs/*.tar")} == before
    return tree(dataset)


@pytest.mark.slow
def test_a_verdict_is_a_column(made: Both, packed: Path, tmp_path: Path) -> None:
    """Stricter rules, and back again: unpacked, it is what refiltering files leads to."""
    shutil.copytree(made.files, made.made)
    rule = middle_of(made.files)
    expected = refilter(made.made, rule)
    made.made.rename(tmp_path / "files")
    assert sum(name.startswith("filtered_clips/") for name in expected) == 3
    packed = packed.rename(made.made)
    table = next(made.made.glob("packs/*.parquet"))
    refilter(packed, rule)
    found = tree(unpacked(packed, tmp_path / "unpacked"))
    packed.rename(tmp_path / "packed")
    assert table.name in {path.name for path in (tmp_path / "packed/packs").iterdir()}
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []


def middle_of(dataset: Path) -> str:
    """A rule that some clips that are kept break."""
    rows = pq.read_table(dataset / "catalogue").to_pylist()
    scores = sorted(row["motion_global_mean"] for row in rows if row["verdict"] == "kept")
    return f"motion>{scores[len(scores) // 2 - 1]!r}"


# ── dedup ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_the_same_duplicates_are_found(made: Both, packed: Path, tmp_path: Path) -> None:
    """By vectors in columns, and by pictures in archives."""
    told = {}
    for name, root in (("files", made.files), ("packed", packed)):
        into = tmp_path / f"dedup of {name}"
        options = DedupOptions(str(root), into=str(into), eps=0.5, quiet=True)
        assert performed(options) == 0
        likeness = pq.read_table(into / "likeness.parquet").to_pylist()
        assert performed(replace(options, no_confirm=True)) == 0
        told[name] = likeness, pq.read_table(into / "groups.parquet").to_pylist()
    assert told["files"] == told["packed"]
    likeness, groups = told["packed"]
    assert len([row for row in likeness if row["same"] is not None]) >= 3
    assert len(groups) >= 3


def test_without_a_catalogue_nobody_knows_where_clips_lie(packed: Path) -> None:
    (packed / ".finecut/catalogue.json").unlink()
    with pytest.raises(NoDataset, match="finecut compact"):
        performed(DedupOptions(str(packed), quiet=True))
