"""Commands on a packed dataset do what they do on the same one of files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from arranged import Both, both, tree
from performing import performed

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
