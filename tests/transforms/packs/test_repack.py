"""Repacking: fewer and smaller archives that say the same of all clips that are kept."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from arranged import Both, both, curate, tree, unpacked
from faults import Runs, staged

from finecut.io.dataset.output import Output
from finecut.io.dataset.places import NoDataset
from finecut.pipeline.commands.repack import Repack, RepackOptions
from finecut.pipeline.commands.repack.work import Repacked


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Both:
    return both(
        tmp_path_factory.mktemp("both"),
        generate_previews=True,
        no_generate_embeddings=True,
    )


@pytest.fixture
def packed(made: Both) -> Iterator[Path]:
    """A copy where it was made."""
    yield Path(shutil.copytree(made.packed, made.made))
    shutil.rmtree(made.made)


def repack(root: Path, pack_mb: int = 64) -> Repacked:
    options = RepackOptions(dataset=str(root), quiet=True, workers=2, pack_mb=pack_mb)
    return Repack(options.check()).run()


def archives(root: Path) -> list[Path]:
    return sorted((root / "packs").glob("*.tar"))


def said(root: Path) -> dict[str, tuple[bool, object, bytes | None]]:
    """What a reader gets of each clip."""
    output = Output.at(str(root), packs=True)
    return {
        entry.id: (
            entry.kept,
            (entry.document, {path: place.read() for path, place in entry.packed.items()}),
            None if entry.offset is None else entry.film.read(),
        )
        for chunk in output.chunks()
        for entry in output.entries(chunk)
    }


def test_rejected_clips_lose_their_files_and_small_archives_become_one(packed: Path) -> None:
    before = said(packed)
    assert len(archives(packed)) == 4
    done = repack(packed)
    assert (done.chunks, done.dropped, done.removed) == (4, 1, 4)
    assert len(archives(packed)) == 1
    after = said(packed)
    assert {id: told for id, told in after.items() if told[0]} == {
        id: told for id, told in before.items() if told[0]
    }
    [(kept, told, film)] = [told for told in after.values() if not told[0]]
    assert (kept, film) == (False, None)
    assert told in [each[1] for each in before.values()]
    rows = pq.read_table(packed / "catalogue").to_pylist()
    assert {row["clip"] for row in rows} == {None, f"packs/{archives(packed)[0].name}"}
    for row in rows:
        film = (packed / row["clip"]).read_bytes() if row["clip"] else b""
        at = row["clip_offset"] or 0
        assert not film or film[at:][: row["num_bytes"]] == after[row["id"]][2]
    # There is nothing left to do.
    again = tree(packed)
    assert repack(packed)[1:] == (0, 0, 0)
    assert tree(packed) == again


def test_archives_that_are_large_enough_stay(packed: Path) -> None:
    before = {path.name: path.read_bytes() for path in archives(packed)}
    done = repack(packed, pack_mb=0)
    # Only the one with the rejected clip goes.
    assert (done.chunks, done.dropped, done.removed) == (1, 1, 1)
    assert {path.name: path.read_bytes() for path in archives(packed)}.items() < before.items()


def test_what_was_repacked_is_unpacked_and_gone_on_with(made: Both, packed: Path) -> None:
    repack(packed)
    found, wanted = tree(unpacked(packed, made.made.with_name("unpacked"))), tree(made.files)
    shutil.rmtree(made.made.with_name("unpacked"))
    gone = {name for name in wanted if name not in found}
    assert {name.partition("/")[0] for name in gone} == {"filtered_clips"}
    differ = {name for name in found if found[name] != wanted[name]}
    assert differ == {"catalogue/clips.parquet"}
    chosen = {"generate_previews": True, "no_generate_embeddings": True}
    ran = curate(made.films, packed, **chosen)
    assert ran.summary.videos_skipped == 3
    ran = curate(made.films, packed, overwrite=True, **chosen)
    assert ran.summary.videos_done + ran.summary.videos_empty == 3
    whole = said(packed)
    assert whole == said(made.packed)
    repack(packed)
    assert len(archives(packed)) == 1


def test_files_are_not_repacked(made: Both) -> None:
    with pytest.raises(NoDataset, match="consists of files"):
        repack(made.files)


@pytest.mark.xdist_group("faults")
@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.slow), 9])
def test_it_may_be_killed_anywhere(every: int, packed: Path, tmp_path: Path) -> None:
    shutil.copytree(packed, tmp_path / "before")
    options = {"dataset": str(packed), "quiet": True, "workers": 1}
    with Runs(tmp_path / "log.json", "repack") as runs:
        points = runs.ask("repack", options, packed)
        whole, wanted = tree(packed), said(packed)
        kept = {id: told for id, told in wanted.items() if told[0]}
        ours = [
            n
            for n, point in enumerate(points, 1)
            if any(to in point for to in ("to packs/", "to catalogue/", "remove packs/"))
        ]
        assert len(ours) >= 10
        for place in ours[1::every]:
            shutil.rmtree(packed)
            shutil.copytree(tmp_path / "before", packed)
            assert runs.ask("repack", options, packed, place) == []
            found = said(packed)
            assert {id: found[id] for id in kept} == kept, points[place - 1]
            runs.ask("repack", options, packed)
            assert said(packed) == wanted
            [archive] = archives(packed)
            rows = pq.read_table(packed / "catalogue").to_pylist()
            assert {row["clip"] for row in rows} == {None, f"packs/{archive.name}"}
            assert staged(packed) == []
            assert tree(packed).keys() == whole.keys()
