"""Painted outputs: what the commands make of them is what was painted."""

from __future__ import annotations

import doctest
import filecmp
import shutil
from collections import defaultdict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import scale
from metering import CommandFailed
from performing import performed
from scaling import plan, words
from scaling.measuring import Found, Step, Taken, foreseen, measured, memory_foreseen
from scaling.painting import Painting
from scaling.plan import DUPLICATES, REJECTED, Plan, clip_ids, name_of
from scaling.run import STRICTER
from scaling.telling import MANY, lines, price

from finecut.io.dataset.output import Output
from finecut.io.layout import chunk_id, clip_id
from finecut.io.tables.parquet import rows_of
from finecut.pipeline.commands.compact import CompactOptions
from finecut.pipeline.commands.dedup import DedupOptions
from finecut.pipeline.commands.refilter import Refilter, RefilterOptions
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
    # Its film is encoded anew; what an encoder makes of it need not be the same to the byte.
    others = ["artefacts", "meta_bytes", "meta_digest", "num_bytes", "sha256"]
    assert one.drop_columns(others) == other.drop_columns(others)
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


# ── what commands take ───────────────────────────────────────────────────────────────────────────


def taken(step: str, rows: int, cpu: float, megabytes: float = 100.0, **more: Any) -> Taken:
    return Taken(step, rows, cpu, cpu, megabytes, **more)


def test_what_grows_faster_than_clips_is_foreseen_to() -> None:
    square = [taken("a", 10, 1.0), taken("a", 100, 100.0)]
    assert foreseen(square, 1000) == pytest.approx(10_000)
    # What hardly grows has not shown yet what a clip takes.
    start = [taken("a", 10, 2.0), taken("a", 100, 2.0)]
    assert foreseen(start, 1000) == pytest.approx(20.0)
    assert foreseen(start[-1:], 1000) == pytest.approx(20.0)
    grown = [taken("a", 10, 2.0, 110.0), taken("a", 100, 2.0, 200.0)]
    assert memory_foreseen(grown, 1000) == pytest.approx(1100.0)
    assert memory_foreseen(start, 1000) == 100.0
    assert memory_foreseen(start[:1], 1000) is None


def test_the_table_has_each_command_and_what_it_would_cost() -> None:
    found = Found(planted=200, gone=199, wrong=1)
    assert found.recall == 0.99
    told = [taken("b", 100, 36.0), taken("a", 10, 1.0), taken("a", 100, 10.0, 400.0, found=found)]
    page = list(lines(told))
    assert "| a | 100 | 10.0 | 10.0 | 400 | n^1.00 | n^0.60 |" in page
    assert "| a | 10 | 1.0 | 1.0 | 100 |  |  |" in page
    hours = 36 * MANY / 100 / 3600
    assert f"| b | {hours:,.1f} | {hours * price().of_core:,.2f} |  |" in page
    assert any("dedup found 99.00% of them, and 1 that are none" in line for line in page)


def test_figures_stand_where_a_page_has_place_for_them() -> None:
    page = f"a\n{scale.BEGIN}\nold\n{scale.END}\nb\n"
    assert scale.filled(page, "new\n") == f"a\n{scale.BEGIN}\n\nnew\n\n{scale.END}\nb\n"
    with pytest.raises(ValueError, match="no place for figures"):
        scale.filled("a\n", "new\n")


def test_commands_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["measure", "--rows", "200", "--only", "dedup", "--at", str(tmp_path)]
    page = tmp_path / "page.md"
    page.write_text(f"{scale.BEGIN}\n{scale.END}\n")
    assert scale.main([*words, "--into", str(page)]) == 0
    shown = capsys.readouterr().out
    assert "dedup found 100.00% of them, and 0 that are none" in shown
    assert shown in page.read_text()
    row = next(line for line in shown.splitlines() if line.startswith("| dedup | 200 |"))
    # Of the command alone, and not of this process, which is larger.
    assert 100 < float(row.split(" | ")[4]) < 600
    assert [path.name for path in tmp_path.iterdir()] == ["page.md"]


def test_a_command_that_fails_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    step = Step("summary", lambda root, _: ["summary", str(root / "nowhere")])
    painting = Painting(str(tmp_path / "output"), Plan(10))
    with pytest.raises(CommandFailed, match="nowhere does not exist"):
        list(measured(painting, [step]))


def test_rules_are_those_of_the_run(whole: Path) -> None:
    """What refilter is asked for can be judged by what was measured."""
    options = RefilterOptions(str(whole), keep=STRICTER, dry_run=True, workers=1, quiet=True)
    done = Refilter(options.check()).run()
    assert done.yields.clips == ROWS
    assert done.yields.videos["refiltered"] == 5
