"""Painted outputs: what the commands make of them is what was painted."""

from __future__ import annotations

import doctest
import filecmp
import shutil
from collections import defaultdict
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow.parquet as pq
import pytest
import scale
from performing import performed
from scaling import plan, words
from scaling.plan import DUPLICATES, REJECTED, Plan, clip_ids, name_of

from finecut.io.dataset.output import Output
from finecut.io.layout import chunk_id, clip_id
from finecut.io.tables.parquet import rows_of
from finecut.pipeline.commands.compact import CompactOptions
from finecut.pipeline.commands.dedup import DedupOptions
from finecut.pipeline.commands.verify import VerifyOptions

ROWS = 430


def painted(folder: Path, *words: str, rows: int = ROWS) -> Path:
    words = ("paint", str(folder), "--rows", str(rows), "--processes", "1", *words)
    assert scale.main(words) == 0
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All there is of some clips."""
    folder = tmp_path_factory.mktemp("painted") / "output"
    return painted(folder, "--clips", "--documents")


def test_verify_finds_nothing(whole: Path) -> None:
    assert performed(VerifyOptions(str(whole), workers=1, quiet=True)) == 0
    assert sum(1 for chunk in Output.at(str(whole)).chunks()) == 22


def test_the_catalogue_is_the_one_of_the_documents(whole: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(whole, tmp_path / "copy"))
    assert performed(CompactOptions(str(copy), rebuild=True, quiet=True)) == 0
    name = "catalogue/clips.parquet"
    assert (copy / name).read_bytes() == (whole / name).read_bytes()


def test_a_large_catalogue_is_divided_as_compaction_divides_it(tmp_path: Path) -> None:
    root = painted(tmp_path / "output", "--clips-of-chunk", "1", rows=4200)
    files = {path.name: pq.read_table(path) for path in (root / "catalogue").iterdir()}
    assert len(files) == 16
    for name, table in files.items():
        prefix = name.removeprefix("clips-").removesuffix(".parquet")
        chunks = table["chunk"].to_pylist()
        assert chunks == sorted(chunk for chunk in chunks if chunk.startswith(prefix))
    assert sum(table.num_rows for table in files.values()) == 4200


def test_dedup_finds_what_was_planted(whole: Path, tmp_path: Path) -> None:
    options = DedupOptions(str(whole), into=str(tmp_path), no_confirm=True, workers=1, quiet=True)
    assert performed(options) == 0
    groups = defaultdict(set)
    for row in pq.read_table(f"{whole}-groups.parquet").to_pylist():
        groups[row["group"]].add(row["id"])
    assert len(groups) > 5
    found = defaultdict(set)
    for row in pq.read_table(tmp_path / "groups.parquet").to_pylist():
        found[row["kept_id"]].add(row["id"])
    assert sorted(map(sorted, found.values())) == sorted(map(sorted, groups.values()))


def test_without_files_of_clips_the_rest_is_the_same(whole: Path, tmp_path: Path) -> None:
    root = painted(tmp_path / "output")
    assert not (root / "clips").exists()
    assert not list((root / "metas" / "v0").iterdir())
    same = filecmp.dircmp(root / "ce1_embd_parquet", whole / "ce1_embd_parquet")
    assert len(same.same_files) == 22
    assert not same.diff_files + same.left_only + same.right_only
    assert not filecmp.dircmp(root / ".finecut", whole / ".finecut").diff_files
    one, other = (pq.read_table(each / "catalogue/clips.parquet") for each in (root, whole))
    assert one.drop_columns("artefacts") == other.drop_columns("artefacts")
    assert Output.at(str(root)).algorithms() == ["cosmos-embed1"]


def test_half_the_precision_is_nearly_the_same(whole: Path, tmp_path: Path) -> None:
    root = painted(tmp_path / "output", "--half")
    for path in (root / "ce1_embd_parquet").iterdir():
        ours, vectors = zip(*rows_of(path.read_bytes()), strict=True)
        theirs, exact = zip(
            *rows_of((whole / path.parent.name / path.name).read_bytes()), strict=True
        )
        assert ours == theirs
        np.testing.assert_allclose(vectors, exact, atol=1e-3)


def test_a_folder_that_is_there_is_left_alone(
    whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scale.main(["paint", str(whole)]) == 2
    assert "is there already" in capsys.readouterr().err


def test_ids_are_those_that_curate_would_give() -> None:
    small = Plan(1000)
    [line] = clip_ids(small, np.array([215]))
    assert bytes(line).decode() == clip_id(name_of(2), 15 * 20, 16 * 20)
    assert small.chunk_ids[7].decode() == chunk_id(name_of(1), 2)


@pytest.mark.parametrize("module", [plan, words], ids=lambda module: module.__name__)
def test_examples(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


def test_so_many_are_rejected_and_alike() -> None:
    large = Plan(100_000)
    counts = np.bincount(large.reasons) / large.rows
    np.testing.assert_allclose(counts[1:], [*REJECTED.values()], atol=0.01)
    alike = large.groups >= 0
    assert not large.reasons[alike].any()
    assert alike.sum() == pytest.approx(DUPLICATES * (large.reasons == 0).sum(), abs=5)
    assert {*np.bincount(large.groups[alike]).tolist()} == {2, 3, 4, 5}
