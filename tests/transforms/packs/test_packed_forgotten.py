"""Of a source that is forgotten nothing is left in packs, and of the others all."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from arranged import Both, both, curate
from faults import Runs, staged, tree
from performing import performed

from finecut.io.dataset.output import Output
from finecut.pipeline.commands.forget import ForgetOptions
from finecut.pipeline.commands.repack import RepackOptions

GONE, STAYS = "long.mp4", "still.mp4"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Both:
    return both(tmp_path_factory.mktemp("both"), generate_previews=True)


@pytest.fixture(params=["as curated", "repacked"])
def packed(request: pytest.FixtureRequest, made: Both, tmp_path: Path) -> Path:
    """A copy to do things to; both sources' clips may be in one archive."""
    root = Path(shutil.copytree(made.packed, tmp_path / "packed"))
    if request.param == "repacked":
        repack(root)
    return root


def repack(root: Path) -> None:
    """All kept clips in one archive, and the rejected one's source with a clip in it, too."""
    assert performed(RepackOptions(dataset=str(root), quiet=True).check()) == 0


def said(root: Path) -> dict[str, Any]:
    """All that there is of each clip, by its id."""
    output = Output.at(str(root), packs=True)
    return {
        entry.id: (
            entry.kept,
            dict(entry.document),
            entry.film.read() if entry.offset is not None else None,
            {path: place.read() for path, place in entry.packed.items()},
        )
        for chunk in output.chunks()
        for entry in output.entries(chunk)
    }


def of_source(told: dict[str, Any], name: str) -> dict[str, Any]:
    return {id: each for id, each in told.items() if each[1]["source_video"].endswith(name)}


def forget(root: Path, name: str = GONE, **others: Any) -> None:
    assert performed(ForgetOptions(str(root), source=(name,), quiet=True, **others)) == 0


def test_of_a_source_nothing_is_left_and_others_stay_as_they_are(packed: Path) -> None:
    before = said(packed)
    assert len(of_source(before, GONE)) == 5
    clips = [film for *_, film, _ in of_source(before, GONE).values() if film is not None]
    previews = [data for each in of_source(before, GONE).values() for data in each[3].values()]
    assert clips
    assert previews
    forget(packed)
    assert said(packed) == of_source(before, STAYS)
    left = tree(packed)
    for path, data in left.items():
        assert not [one for one in (*clips, *previews) if one[64:] in data], path
    assert sum(path.endswith(".parquet") for path in left if path.startswith("packs/")) == 1
    rows = pq.read_table(packed / "catalogue/clips.parquet").to_pylist()
    assert {row["id"] for row in rows} == {*of_source(before, STAYS)}
    # Once more there is nothing to do.
    forget(packed)
    assert tree(packed) == left


def test_only_counting_changes_nothing(packed: Path) -> None:
    before = tree(packed)
    forget(packed, dry_run=True)
    assert tree(packed) == before


def test_rejected_clips_of_others_stay_in_shared_archives(made: Both, tmp_path: Path) -> None:
    """The other source's files move as they are, wanted or not."""
    root = tmp_path / "packed"
    curate(made.films, root, layout="packed", keep=("motion>=0",))
    repack(root)
    assert len([*root.glob("packs/*.tar")]) == 1
    before = said(root)
    forget(root)
    assert said(root) == of_source(before, STAYS)
    [kept, _, film, _] = said(root)[next(iter(of_source(before, STAYS)))]
    assert kept
    assert film is not None
    assert len([*root.glob("packs/*.tar")]) == 1


def test_a_pack_that_no_document_speaks_of_goes_too(packed: Path) -> None:
    """Whoever was killed after the pack and before the document of its chunk left one."""
    for path in (packed / "processed_clip_chunks").rglob("*_0.json"):
        if GONE in path.name:
            path.unlink()
    forget(packed)
    assert [*(packed / "packs").glob("*.parquet")]
    assert {*of_source(said(packed), STAYS)} == {*said(packed)}
    assert len([*(packed / "packs").glob("*.parquet")]) == 1


@pytest.mark.slow
@pytest.mark.xdist_group("faults")
def test_it_may_be_killed_anywhere(made: Both, tmp_path: Path) -> None:
    root = tmp_path / "packed"
    curate(made.films, root, layout="packed", keep=("motion>=0",), no_generate_embeddings=True)
    repack(root)
    others = of_source(said(root), STAYS)
    before = Path(shutil.copytree(root, tmp_path / "before"))
    options = {"dataset": str(root), "source": (GONE,), "quiet": True}
    with Runs(tmp_path / "log.json", "forget") as runs:
        points = runs.ask("forget", options, root)
        whole = tree(root)
        assert len(points) >= 15
        for place in range(1, len(points) + 1):
            shutil.rmtree(root)
            shutil.copytree(before, root)
            assert runs.ask("forget", options, root, place) == []
            assert of_source(said(root), STAYS) == others, points[place - 1]
            runs.ask("forget", options, root)
            assert said(root) == others, points[place - 1]
            assert staged(root) == []
            assert {*tree(root)} ^ {*whole} == set(), points[place - 1]
