"""Machines of two kinds: what one kind has cut, the other does, and it is not cut again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from faults import differences, staged
from faults import tree as files_of
from retrying import RetryingRunner

from finecut.io.layout import Layout
from finecut.io.media.testfilm.paint import Scene, paint
from finecut.io.records import Clip
from finecut.pipeline.cli.command import main
from finecut.pipeline.curation import build, with_catalogue
from finecut.pipeline.options import Options
from finecut.pipeline.planning import Plan, plan
from finecut.pipeline.running import run
from finecut.transforms.beam.lines import WriteLines
from finecut.transforms.beam.metrics import BOARD
from finecut.transforms.find.videos import FindVideos

FILMS, CLIPS = 3, 4


class Breaks(beam.PTransform[Any, Any]):
    """A step of a GPU that dies as long as there is a file of this name."""

    place = "scored"
    sign = "/nowhere"

    def expand(self, clips: beam.PCollection[Clip]) -> beam.PCollection[Clip]:
        return clips | beam.FlatMap(self._pass).with_output_types(Clip)

    def _pass(self, clip: Clip) -> Iterable[Clip]:
        if Path(self.sign).exists():
            raise RuntimeError("the GPU is dead")
        yield clip


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    still, moving = Scene(1), Scene(2, velocity=(60.0, 40.0), pan=40.0)
    for number in range(FILMS):
        # The first half of each is rejected by its motion.
        paint(
            folder / f"{number}.mp4",
            width=64,
            height=36,
            rate=10,
            seconds=CLIPS,
            scenes=[still, moving],
        )
    return folder


def tree(output: Path) -> dict[str, bytes]:
    """Every file; of previews the names, because the others decode clips and not their source."""
    files = files_of(output).items()
    return {name: b"" if name.startswith("previews/") else data for name, data in files}


def options(films: Path, output: Path, **more: Any) -> Options:
    usual: dict[str, Any] = {
        "clip_length": 1.0,
        "min_clip_length": 1.0,
        "chunk_seconds": 2,
        "motion_filter": "enable",
        "generate_previews": True,
        "preview_target_height": 36,
        "no_generate_embeddings": True,
        "step": (Breaks,),
    }
    return Options(input=(str(films),), output=str(output), **usual | more)


def on_two_kinds(films: Path, output: Path, runner: FnApiRunner | None = None, **more: Any) -> Plan:
    """As a cluster does it, with the shuffle of right fitting; bundles are dealt here."""
    steps = plan(options(films, output, runner="prism", right_fitting=True, **more).check())
    shelf = steps.writing.shelf
    with beam.Pipeline(runner or FnApiRunner()) as pipeline:
        sources = pipeline | "FindVideos" >> FindVideos(steps.finding)
        listing = WriteLines(shelf, f"{shelf.staging}/failures.jsonl")
        curated, listed = build(sources, steps, 0, listing)
        _ = with_catalogue(curated.summary, listed, steps)
    shelf.sweep()
    return steps


def counted(films: Path, output: Path, **more: Any) -> int:
    """How many clips were cut in it."""
    since = BOARD.since()
    on_two_kinds(films, output, **more)
    return since().get("clips cut", 0)


@pytest.fixture(scope="module")
def whole(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("whole") / "out"
    run(options(films, output, workers=1))
    return output


@pytest.fixture
def killed(films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What lies there when all was cut and the other machines died."""
    sign = tmp_path / "sign"
    sign.touch()
    monkeypatch.setattr(Breaks, "sign", str(sign))
    with pytest.raises(RuntimeError, match="the GPU is dead"):
        on_two_kinds(films, tmp_path / "out")
    sign.unlink()
    return tmp_path / "out"


def test_two_kinds_write_what_one_kind_writes(films: Path, whole: Path, tmp_path: Path) -> None:
    assert counted(films, tmp_path / "out") == FILMS * CLIPS
    assert differences(tree(tmp_path / "out"), tree(whole)) == []
    assert staged(tmp_path / "out") == []


def test_what_was_cut_is_not_cut_again(killed: Path, films: Path, whole: Path) -> None:
    written = [*killed.glob("clips/*.mp4"), *killed.glob("filtered_clips/*.mp4")]
    assert len(written) == FILMS * CLIPS
    # Whoever was rejected by what was measured needed no other machine.
    assert len([*killed.glob("metas/v0/*.json")]) == len([*killed.glob("filtered_clips/*.mp4")])
    assert not [*killed.glob("processed_videos/*")]
    times = {path: path.stat().st_mtime_ns for path in written}
    assert counted(films, killed) == 0
    assert {path: path.stat().st_mtime_ns for path in written} == times
    assert differences(tree(killed), tree(whole)) == []


def test_who_is_forgotten_in_between_leaves_nothing(killed: Path, capfd: Any) -> None:
    assert main(["verify", str(killed), "--quick"]) == 0
    said = capfd.readouterr().out
    assert ".finecut/cut" not in said, said
    assert [*(killed / ".finecut/cut").glob("1.mp4_*")]
    assert main(["forget", str(killed), "--source", "1.mp4"]) == 0
    assert not [*(killed / ".finecut").rglob("1.mp4*")]
    assert [*(killed / ".finecut/cut").glob("0.mp4_*")]


def test_a_clip_that_is_gone_is_cut_again_and_it_alone(
    killed: Path, films: Path, whole: Path
) -> None:
    gone, *stays = sorted(killed.glob("clips/*.mp4"))
    gone.unlink()
    times = {path: path.stat().st_mtime_ns for path in stays}
    assert counted(films, killed) == 1
    assert {path: path.stat().st_mtime_ns for path in stays} == times
    assert differences(tree(killed), tree(whole)) == []


def test_who_is_killed_while_clips_get_their_names_loses_those_that_have_none(
    killed: Path, films: Path, whole: Path
) -> None:
    """Nothing says yet which do, and where one is missing an older one may lie."""
    for path in killed.glob(".finecut/cut/*.json"):
        said = json.loads(path.read_bytes())
        assert said["lying"]
        path.write_text(json.dumps(said | {"lying": []}))
    gone, other, *stays = sorted(killed.glob("*clips/*.mp4"))
    gone.unlink()
    other.write_bytes(other.read_bytes()[:-1] + b"x")
    inodes = {path: path.stat().st_ino for path in stays}
    assert counted(films, killed) == 2
    assert {path: path.stat().st_ino for path in stays} == inodes
    assert differences(tree(killed), tree(whole)) == []


class Worn(beam.PTransform[Any, Any]):
    """A step beside the cut that dies once, at the last clip but one."""

    place = "cut"
    seen = 0

    def expand(self, clips: beam.PCollection[Clip]) -> beam.PCollection[Clip]:
        return clips | beam.FlatMap(self._pass).with_output_types(Clip)

    def _pass(self, clip: Clip) -> Iterable[Clip]:
        Worn.seen += 1
        if Worn.seen == FILMS * CLIPS - 1:
            raise RuntimeError("the machine is gone")
        yield clip


def test_a_bundle_that_is_done_again_cuts_what_its_first_attempt_has_not(
    films: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the chunk at which it died, of which nothing lay there."""
    monkeypatch.setattr(Worn, "seen", 0)
    runner, since = RetryingRunner(attempts=2), BOARD.since()
    on_two_kinds(films, tmp_path / "out", runner, step=(Breaks, Worn))
    assert len(runner.failed) == 1
    assert since()["clips cut"] == FILMS * CLIPS - 1 + 2
    # Documents of videos name the steps.
    apart = differences(tree(tmp_path / "out"), tree(whole))
    assert apart == [f"processed_videos/{number}.mp4.json" for number in range(FILMS)]


@pytest.mark.slow
@pytest.mark.parametrize("spoilt", [b"", b"{", b'{"clips": []}', b'{"clips": [{"video": 1}]}'])
def test_a_record_that_is_none_has_its_chunk_cut_again(
    spoilt: bytes, killed: Path, films: Path, whole: Path
) -> None:
    path = Path(Layout(str(killed)).cut_chunk("0.mp4", 1))
    assert path.stat().st_size
    path.write_bytes(spoilt)
    assert counted(films, killed) == 2
    assert differences(tree(killed), tree(whole)) == []


@pytest.mark.slow
def test_with_other_options_all_is_cut_again(killed: Path, films: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh"
    assert counted(films, killed, crf=40) == FILMS * CLIPS
    run(options(films, fresh, crf=40, workers=1))
    assert differences(tree(killed), tree(fresh)) == []
    assert not (killed / ".finecut/cut").exists() or not [*(killed / ".finecut/cut").iterdir()]


@pytest.mark.slow
def test_one_kind_goes_on_with_what_two_kinds_began(killed: Path, films: Path, whole: Path) -> None:
    summary = run(options(films, killed, workers=1)).summary
    assert summary.imbalances() == []
    assert differences(tree(killed), tree(whole)) == []
