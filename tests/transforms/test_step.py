"""Steps of one's own stand among ours, and are treated like them."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finecut.io.errors import RunError
from finecut.io.media.testfilm.paint import Scene, paint
from finecut.pipeline.cli.own_process import look_here_too
from finecut.pipeline.commands.curate import Describe, Doctor
from finecut.pipeline.options import OptionError, Options
from finecut.pipeline.planning import plan
from finecut.pipeline.running import Ran, run

STEPS = '''
"""Steps of somebody who uses finecut."""

import threading

import apache_beam as beam
import numpy as np

from finecut.io.records import Clip
from finecut.transforms.models.resources import Resources
from finecut.transforms.step import EachClip


class Colours(EachClip):
    scores = ("colourful", "shown", "smallest_side")
    frames_per_second = 2.0
    side = 64

    def look(self, clip, frames):
        return {
            "colourful": np.mean([np.ptp(frame, axis=2).mean() / 255 for frame in frames]),
            "shown": len(frames),
            "smallest_side": min(frames[0].shape[:2]),
        }


class Loaded(EachClip):
    scores = ("loads",)
    place = "cut"

    def load(self):
        self.loads = getattr(self, "loads", 0) + 1
        Loaded.ever = getattr(Loaded, "ever", 0) + 1

    def look(self, clip, frames):
        assert not frames
        return {"loads": Loaded.ever}


class Breaks(EachClip):
    def look(self, clip, frames):
        if clip.planned.index == 1:
            raise ValueError("<no> such thing")
        return {}


class Confuses(EachClip):
    def look(self, clip, frames):
        return None if clip.planned.index else clip.replace(planned=None)


class Nowhere(EachClip):
    def look(self, clip, frames):
        return {"mean": float("nan")}


class Quits(EachClip):
    def look(self, clip, frames):
        raise SystemExit(3)


class Unloadable(EachClip):
    def load(self):
        self.weights = open("/nowhere/weights")


class Session(EachClip):
    scores = ("threads",)

    def load(self):
        # As sessions of models: nothing that could be sent to another process.
        self.lock = threading.Lock()

    def look(self, clip, frames):
        with self.lock:
            return {"threads": 1.0}


class Drops(beam.PTransform):
    def expand(self, clips):
        return clips | beam.Filter(lambda clip: clip.planned.index == 0).with_output_types(Clip)


class Falls(beam.PTransform):
    def expand(self, clips):
        return clips | beam.Map(lambda clip: 1 / 0).with_output_types(Clip)


class Wants(EachClip):
    resources = {"gpus": 1}


class Sees(EachClip):
    frames_per_second = 0.0


class Exits(EachClip):
    def __init__(self):
        raise OSError("no such device")


class Rejects(EachClip):
    def look(self, clip, frames):
        return clip.replace(rejected_by="taste") if clip.planned.index == 0 else clip


class Large(EachClip):
    resources = Resources(gpus=1)

    def look(self, clip, frames):
        return clip


class Whole(beam.PTransform):
    scores = ("whole",)

    def expand(self, clips):
        def mark(clip: Clip) -> Clip:
            return clip.replace(scores={**clip.scores, "whole": 1.0})

        return clips | beam.Map(mark)


class Untyped(beam.PTransform):
    def expand(self, clips):
        return clips | beam.Map(lambda clip: (clip, 1))


class Asks(EachClip):
    def __init__(self, what):
        super().__init__()


def function(clip):
    return clip
'''


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Started in the folder where the steps lie, as the command does (``own_process``)."""
    monkeypatch.chdir(_folder(tmp_path_factory))
    look_here_too()


_FOLDERS: list[Path] = []


def _folder(factory: pytest.TempPathFactory) -> Path:
    if not _FOLDERS:
        folder = factory.mktemp("user")
        (folder / "own_steps_of_somebody.py").write_text(STEPS, encoding="utf-8")
        (folder / "broken_steps_of_somebody.py").write_text("1 / 0\n", encoding="utf-8")
        _FOLDERS.append(folder)
    return _FOLDERS[0]


@pytest.fixture(scope="module", autouse=True)
def _path_as_before() -> Iterator[None]:
    before = list(sys.path)
    yield
    sys.path[:] = before


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips of three seconds, of scenes of different colours."""
    folder = tmp_path_factory.mktemp("films")
    scenes = [Scene(palette=number, velocity=(30.0, 20.0)) for number in (2, 4, 3)]
    paint(folder / "a.mp4", width=160, height=90, rate=10, seconds=9, cuts=(3, 6), scenes=scenes)
    return folder


def named(*names: str) -> tuple[str, ...]:
    return tuple(f"own_steps_of_somebody:{name}" for name in names)


def curated(films: Path, output: Path, *names: str, **more: Any) -> tuple[Ran, dict[int, Any]]:
    options: dict[str, Any] = {"clip_length": 3.0, "no_generate_embeddings": True, **more}
    ran = run(Options((str(films),), output=str(output), step=named(*names), **options))
    documents = [json.loads(path.read_bytes()) for path in (output / "metas/v0").iterdir()]
    return ran, {round(said["duration_span"][0] / 3): said for said in documents}


def test_scores_are_found_and_rules_may_speak_of_them(films: Path, tmp_path: Path) -> None:
    ran, said = curated(films, tmp_path / "free", "Colours")
    colours = [said[index]["scores"]["colourful"] for index in range(3)]
    assert len(set(colours)) == 3
    assert all(0 < colour < 1 for colour in colours)
    # Two a second, and the last one, by its own size.
    assert {s["scores"]["shown"] for s in said.values()} == {7.0}
    assert {s["scores"]["smallest_side"] for s in said.values()} == {64.0}
    assert ran.stats["Colours/items"] == 3
    assert ran.stats["Colours/microseconds"] > 0
    least = float(np.median(colours))
    rule = f"colourful>={least!r}"
    ran, said = curated(films, tmp_path / "kept", "Colours", keep=(rule,))
    assert ran.summary.rejected_by == {rule: 1}
    assert [said[index].get("filtered_by") for index in range(3)] == [
        rule if colour < least else None for colour in colours
    ]


def test_what_takes_long_is_loaded_once_a_worker(films: Path, tmp_path: Path) -> None:
    _, said = curated(films, tmp_path / "out", "Loaded", workers=1)
    # Before the work, to see that it can be, and by the one worker there is.
    assert {document["scores"]["loads"] for document in said.values()} == {2.0}


@pytest.mark.parametrize(
    ("name", "broken", "words"),
    [
        ("Breaks", {1}, "ValueError: <no> such thing"),
        ("Confuses", {0, 1, 2}, "Confuses.look returned a NoneType"),
        ("Nowhere", {0, 1, 2}, "Nowhere.look returned nan for mean"),
        ("Quits", {0, 1, 2}, "Quits.look tried to end the program (3)"),
    ],
)
def test_an_accident_costs_its_clip_only(
    name: str, broken: set[int], words: str, films: Path, tmp_path: Path
) -> None:
    ran, said = curated(films, tmp_path / "out", name)
    assert {index for index, document in said.items() if "errors" in document} == broken
    assert words in said[1]["error_messages"][name]
    assert ran.summary.marked == {name: len(broken)}
    assert ran.summary.imbalances() == []


def test_a_step_may_reject_and_comes_before_what_costs_more(films: Path, tmp_path: Path) -> None:
    ran, said = curated(films, tmp_path / "out", "Rejects", "Whole", generate_previews=True)
    assert said[0]["filtered_by"] == "taste"
    assert ran.summary.rejected_by == {"taste": 1}
    assert all(document["scores"]["whole"] == 1 for document in said.values())
    assert len(list((tmp_path / "out" / "previews").iterdir())) == 2


def test_what_is_loaded_stays_where_it_was_loaded(films: Path, tmp_path: Path) -> None:
    _, said = curated(films, tmp_path / "out", "Session")
    assert [document["scores"]["threads"] for document in said.values()] == [1.0] * 3


def test_what_cannot_be_loaded_is_known_before_any_work(films: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"--step Unloadable cannot be loaded \(FileNotFound"):
        curated(films, tmp_path / "out", "Unloadable")
    assert not (tmp_path / "out" / "clips").exists()


def test_a_plain_transform_answers_for_what_it_gives_back(films: Path, tmp_path: Path) -> None:
    ran = run(
        Options(
            (str(films),),
            output=str(tmp_path / "out"),
            clip_length=3.0,
            no_generate_embeddings=True,
            step=named("Drops"),
        )
    )
    assert len(ran.misdone) == 1
    assert "--step Drops got 3 clips and returned 1" in ran.misdone[0]
    with pytest.raises(RunError, match="Usually the cause is --step Falls"):
        curated(films, tmp_path / "falls", "Falls")


def test_a_step_of_other_code_is_another_step(tmp_path: Path) -> None:
    module = tmp_path / "changing_step_of_somebody.py"
    sys.path.insert(0, str(tmp_path))
    code = "from finecut.transforms.step import EachClip\nclass Step(EachClip):\n    version = {}\n"
    found = []
    for version in (1, 1, 2):
        module.write_text(code.format(version), encoding="utf-8")
        sys.modules.pop(module.stem, None)
        importlib.invalidate_caches()
        options = Options(("films",), output="out", step=(f"{module.stem}:Step",))
        found.append(plan(options).writing.configuration)
    assert found[0] == found[1] != found[2]


def test_the_doctor_tries_it(capsys: pytest.CaptureFixture[str]) -> None:
    options = Options(output="", step=named("Unloadable", "Colours"), no_generate_embeddings=True)
    assert not Doctor(options).run()
    lines = capsys.readouterr().out
    assert re.search(r"step Unloadable .*cannot be loaded", lines)
    assert re.search(r"step Colours .*colourful", lines)


def test_its_place_is_told() -> None:
    options = Options(("films",), output="out", step=(*named("Loaded"), named("Colours@cut")[0]))
    assert [step.place for step in plan(options).own] == ["cut", "cut"]
    [step] = plan(Options(("films",), output="out", step=named("Large@captioned"))).own
    assert step.place == "captioned"
    shown = Describe(Options(("films",), output="out", step=named("Rejects@embedded"))).run()
    assert shown.index("EmbedClips") < shown.index("Step Rejects") < shown.index("PutAwaySheets")


def test_what_it_needs_is_asked_of_the_machines() -> None:
    options = Options(
        ("gs://b/films",), output="gs://b/out", step=named("Large"), runner="DataflowRunner"
    )
    place = plan(options, ask=False).placing
    assert place.steps["Large"].gpus == 1
    assert any("nvidia" in hint for hint in place.hints.values())


def test_other_steps_make_another_dataset() -> None:
    one, other = (
        plan(Options(("films",), output="out", step=named(name))).writing.configuration
        for name in ("Colours", "Rejects")
    )
    assert one != other


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"step": ("Colours",)}, "names no class: give package.module:Name"),
        ({"step": ("nowhere_at_all:Colours",)}, "nowhere_at_all cannot be imported"),
        ({"step": ("broken_steps_of_somebody:Colours",)}, "ZeroDivisionError"),
        ({"step": named("Colors")}, "has no Colors"),
        ({"step": named("function")}, "function is not a step"),
        ({"step": named("Asks")}, "finecut creates steps without arguments"),
        ({"step": named("Exits")}, "OSError: no such device"),
        ({"step": named("Wants")}, "give Resources"),
        ({"step": named("Sees")}, "give numbers above 0"),
        ({"step": named("Colours@end")}, "there is no end: give one of cut, judged"),
        ({"step": named("Colours", "Colours@cut")}, "there are two steps called Colours"),
        (
            {"step": named("Colours"), "keep": ("colors>=1",)},
            "uses colors, which is neither a score",
        ),
    ],
)
def test_a_mistake_is_told_before_any_work(options: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        plan(Options(("films",), output="out", **options).check())


def test_what_gives_no_clips_is_refused(films: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="but the next step needs Clips"):
        curated(films, tmp_path / "out", "Untyped")
