"""Refiltering films that failed in part, and nothing that is dear is removed without permission."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from curated import without_catalogue
from faults import Runs, differences, staged
from performing import performed
from refiltering import HIGH, LOW, choices, curated, films, refiltered, scored
from refiltering import tree as whole_tree

from finecut.io.summary import Summary
from finecut.pipeline.commands.verify import VerifyOptions
from finecut.pipeline.options import OptionError, Options
from finecut.pipeline.running import run

__all__ = ["films", "scored"]

RULES: dict[str, Any] = {"keep": (f"motion>={HIGH}",)}


@pytest.fixture(scope="module")
def lost(scored: Path) -> str:
    """The first clip of the film that pans, which any rule here keeps."""
    document = json.loads((scored / "processed_clip_chunks/a.mp4_0.json").read_bytes())
    return str(document["clips"][0])


def tree(output: Path, *others: Path) -> dict[str, bytes]:
    """Without the list of failures, which names the staging folder of its run."""
    found = whole_tree(output, *others)
    return {name: data for name, data in found.items() if not name.startswith("failures/")}


def in_the_way(output: Path, clip: str) -> None:
    """Something lies where the document of this clip belongs, so the clip is lost."""
    (output / f"metas/v0/{clip}.json").mkdir(parents=True)
    (output / f"metas/v0/{clip}.json/x").touch()


def curated_in_part(films: Path, output: Path, lost: str, **others: Any) -> Summary:
    if not output.exists():
        in_the_way(output, lost)
    summary = run(Options(output=str(output), **choices(films, **others))).summary
    assert summary.imbalances() == []
    assert (summary.videos_failed, summary.shots_failed) == (1, 1)
    return summary


def alone(films: Path, folder: Path) -> Path:
    folder.mkdir()
    shutil.copy(films / "a.mp4", folder)
    return folder


# Films that failed in part.


@pytest.mark.slow
def test_clips_of_a_film_that_failed_in_part_are_judged_anew(
    films: Path, tmp_path: Path, lost: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """There and back again, and as curation would have made it."""
    output, fresh = tmp_path / "output", tmp_path / "fresh"
    curated_in_part(films, output, lost)
    before = tree(output)
    assert ".finecut/open/a.mp4.json" in before
    capsys.readouterr()
    assert refiltered(output, **RULES) == 0
    assert "3 found = 3 refiltered + 0 unchanged + 0 left for curate" in capsys.readouterr().out
    curated_in_part(films, fresh, lost, **RULES)
    assert differences(tree(output), tree(fresh)) == []
    assert differences(tree(output), before) != []
    assert performed(VerifyOptions(str(output), workers=1, no_isolation=True, quick=True)) == (
        performed(VerifyOptions(str(fresh), workers=1, no_isolation=True, quick=True))
    )
    assert refiltered(output, keep=("",)) == 0
    assert differences(tree(output), before) == []
    # Curation tries the film again, and skips the others.
    assert curated_in_part(films, output, lost).videos_skipped == 2


def test_where_every_film_failed_in_part(films: Path, tmp_path: Path, lost: str) -> None:
    """There is no document of a video at all."""
    one = alone(films, tmp_path / "films")
    output, fresh = tmp_path / "output", tmp_path / "fresh"
    named = {"named_as": str(films)}  # ids are made of names
    curated_in_part(one, output, lost, **named)
    assert not (output / "processed_videos").exists()
    assert refiltered(output, keep=("motion>=9",)) == 0
    assert refiltered(output, **RULES) == 0
    curated_in_part(one, fresh, lost, **named, **RULES)
    assert differences(tree(output), tree(fresh)) == []


def test_when_it_can_be_mended_curation_goes_on_from_there(
    films: Path, tmp_path: Path, lost: str
) -> None:
    output, fresh = tmp_path / "output", tmp_path / "fresh"
    curated_in_part(films, output, lost)
    assert refiltered(output, **RULES) == 0
    shutil.rmtree(output / f"metas/v0/{lost}.json")
    assert curated(films, output, **RULES).videos_skipped == 2
    curated(films, fresh, **RULES)
    assert differences(tree(output), tree(fresh)) == []
    assert staged(output) == []


def test_of_what_was_made_in_two_ways_the_later_one_is_judged(
    films: Path, tmp_path: Path, lost: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """When a film is done with other options, documents of its old chunks go first."""
    output, fresh = tmp_path / "output", tmp_path / "fresh"
    curated_in_part(films, output, lost, crf=40)
    curated_in_part(films, output, lost)
    curated_in_part(films, fresh, lost)
    capsys.readouterr()
    for folder in (output, fresh):
        assert refiltered(folder, **RULES) == 0
        assert "3 found = 3 refiltered + 0 unchanged + 0 left for curate" in capsys.readouterr().out
    # What is left of the first one is known to the note alone.
    assert {name.partition("/")[0] for name in differences(tree(output), tree(fresh))} <= {
        *("clips", "filtered_clips", ".finecut", "catalogue")
    }


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    with Runs(tmp_path_factory.mktemp("runs") / "log.json") as server:
        yield server


@pytest.mark.slow
@pytest.mark.xdist_group("refilter faults")
def test_a_killed_refiltering_of_a_part_is_finished_by_the_same_command(
    runs: Runs, films: Path, tmp_path: Path, lost: str
) -> None:
    one = alone(films, tmp_path / "films")
    told = {"named_as": str(films)}
    before, whole = tmp_path / "before", tmp_path / "whole"
    curated_in_part(one, before, lost, **told)
    shutil.copytree(before, whole)
    command = {"keep": [f"motion_patch<{LOW}"], "workers": 1}
    points = runs.refilter(command, whole)
    wanted = tree(whole, before)
    assert differences(wanted, tree(before)) != []
    for kill_at in range(2, len(points), max(1, len(points) // 4)):
        output = tmp_path / f"killed{kill_at}"
        shutil.copytree(before, output)
        runs.refilter(command, output, kill_at=kill_at)
        runs.refilter(command, output)
        assert differences(tree(output, before), wanted) == [], points[kill_at]
        assert staged(output) == []


# Permission.


@pytest.fixture(scope="module")
def rich(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxruntime")
    output = tmp_path_factory.mktemp("rich") / "output"
    assert curated(films, output, no_generate_embeddings=False).shots_kept == 5
    return output


@pytest.fixture
def vectors(rich: Path, tmp_path: Path) -> Path:
    shutil.copytree(rich, tmp_path / "vectors")
    return tmp_path / "vectors"


def everything(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in files if ".staging" not in path.parts}


def test_vectors_are_not_removed_without_permission(
    vectors: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = everything(vectors)
    with pytest.raises(OptionError, match=r"^3 vectors would be removed.* add --yes"):
        refiltered(vectors, yes=False, **RULES)
    assert everything(vectors) == before
    assert staged(vectors) == []
    assert "lost with newly rejected clips: 3 vectors" in capsys.readouterr().out
    assert refiltered(vectors, yes=False, dry_run=True, **RULES) == 0
    # Where nothing of that is lost nobody is asked.
    assert refiltered(vectors, yes=False, keep=("motion>=0",)) == 0
    assert refiltered(vectors, yes=True, **RULES) == 0
    assert len([*(vectors / "efficientnet-lite0_embd").iterdir()]) == 2
    assert refiltered(vectors, yes=False, **RULES) == 0


def test_captions_are_not_removed_without_permission(
    scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = Path(shutil.copytree(scored, tmp_path / "output"))
    for path in output.glob("metas/v0/*.json"):
        document = json.loads(path.read_bytes())
        for window in document["windows"]:
            window["qwen_caption"] = "words"
        path.write_text(json.dumps(document, indent=4), encoding="utf-8")
    for path in output.glob("processed_clip_chunks/*.json"):
        document = json.loads(path.read_bytes())
        document["num_clips_with_caption"] = len(document["clips"])
        path.write_text(json.dumps(document, indent=4), encoding="utf-8")
    edited = Path(shutil.copytree(output, tmp_path / "edited"))
    without_catalogue(output)
    before = everything(output)
    with pytest.raises(OptionError, match=r"^3 captions would be removed.* add --yes"):
        refiltered(output, yes=False, **RULES)
    assert everything(output) == before
    # Nor are those that the catalogue does not know of, as they were written by hand.
    documents = {path: path.read_bytes() for path in edited.glob("metas/v0/*.json")}
    assert refiltered(edited, yes=False, **RULES) == 0
    assert "captions would be lost that its documents have" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in documents} == documents


def test_the_command_is_refused(vectors: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from finecut.pipeline.cli.command import main

    words = ["refilter", str(vectors), "--keep", f"motion>={HIGH}", "--workers", "1"]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "finecut refilter: 3 vectors would be removed" in capsys.readouterr().err
    assert main([*words, "--yes"]) == 0


@pytest.mark.slow
@pytest.mark.xdist_group("refilter faults")
def test_a_run_that_was_killed_had_the_permission(
    runs: Runs, vectors: Path, tmp_path: Path
) -> None:
    """The same may be gone on with; something else asks again."""
    whole, other = tmp_path / "whole", tmp_path / "other"
    shutil.copytree(vectors, whole)
    points = runs.refilter({**RULES, "workers": 1, "yes": True}, whole)
    # The first of two films is done or begun then, and the other one has its vectors still.
    runs.refilter({**RULES, "workers": 1, "yes": True}, vectors, kill_at=len(points) // 3)
    shutil.copytree(vectors, other)
    with pytest.raises(OptionError, match=r"would be removed"):
        refiltered(other, yes=False, keep=("motion>=9",))
    assert refiltered(vectors, yes=False, **RULES) == 0
    assert differences(tree(vectors), tree(whole, vectors)) == []
