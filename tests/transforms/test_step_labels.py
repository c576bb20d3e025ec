"""Scores that are labels: declared by a custom step, kept by rules, read back, refiltered."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from performing import performed

from finecut.io.dataset import table
from finecut.io.media.testfilm.paint import Scene, paint
from finecut.pipeline.commands.refilter import RefilterOptions
from finecut.pipeline.commands.report import ReportOptions
from finecut.pipeline.commands.verify import VerifyOptions
from finecut.pipeline.options import OptionError, Options
from finecut.pipeline.planning import plan
from finecut.pipeline.running import run

CODE = """
from finecut.transforms.step import EachClip
from finecut.transforms.step_base import Score


class Camera(EachClip):
    place = "judged"
    scores = (
        Score("camera", title="the camera", labels=("static", "moving")),
        "thirds",
    )

    def look(self, clip, frames):
        third = int(clip.planned.span.start) // 3
        return {"camera": "static" if third == 1 else "moving", "thirds": third}


class Rejects(Camera):
    def look(self, clip, frames):
        return clip.replace(rejected_by="a whim") if clip.planned.span.start < 3 else clip


class Wrong(Camera):
    def look(self, clip, frames):
        return {"camera": "sideways"}
"""
LIKE_BUILT_IN = """
from finecut.transforms.steps.saturation import Saturation


class Colours(Saturation):
    name = "colours"
    scores = (Saturation.scores[0].__class__("colours", better="more"),)

    def look(self, frames):
        return {"colours": super().look(frames)["saturation"]}
"""
MODULE = "camera_steps_of_somebody"
STEP = f"{MODULE}:Camera"


@pytest.fixture(scope="module", autouse=True)
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("camera")
    (folder / f"{MODULE}.py").write_text(CODE, encoding="utf-8")
    (folder / "colour_steps_of_somebody.py").write_text(LIKE_BUILT_IN, encoding="utf-8")
    package = folder / "cameras-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: cameras\nVersion: 1\n")
    (package / "entry_points.txt").write_text(f"[finecut.steps]\ncamera = {MODULE}:Camera\n")
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips of three seconds."""
    folder = tmp_path_factory.mktemp("films")
    scenes = [Scene(palette=number, velocity=(30.0, 20.0)) for number in (2, 4, 3)]
    paint(folder / "a.mp4", width=160, height=90, rate=10, seconds=9, cuts=(3, 6), scenes=scenes)
    return folder


def options_for(films: Path, output: Path, **more: Any) -> Options:
    usual: dict[str, Any] = {"clip_length": 3.0, "no_generate_embeddings": True, "step": (STEP,)}
    return Options((str(films),), output=str(output), **{**usual, **more})


def documents(output: Path) -> dict[int, dict[str, Any]]:
    said = [json.loads(path.read_bytes()) for path in (output / "metas/v0").iterdir()]
    return {round(each["duration_span"][0] / 3): each for each in said}


def reasons(output: Path) -> list[str | None]:
    found = documents(output)
    return [found[number].get("filtered_by") for number in sorted(found)]


def test_a_label_is_kept_by_rules_and_read_back(films: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    run(options_for(films, output, keep=("camera=static",), motion_filter="score-only"))
    assert reasons(output) == ["camera=static", None, "camera=static"]
    assert documents(output)[1]["scores"] == {"camera": "static", "thirds": 1.0}
    assert performed(VerifyOptions(str(output), workers=1)) == 0
    assert performed(ReportOptions(str(output))) == 0
    read = table(str(output)).to_pydict()
    assert sorted(read["camera"]) == ["moving", "moving", "static"]
    assert sorted(read["thirds"]) == [0.0, 1.0, 2.0]


def test_what_a_custom_step_said_is_refiltered(films: Path, tmp_path: Path) -> None:
    """As curation with the new rules would have it, in one go."""
    output, fresh = tmp_path / "out", tmp_path / "fresh"
    run(options_for(films, output, keep=("camera=static",), saturation_filter="score-only"))
    told = RefilterOptions(str(output), workers=1, keep=("camera!=static", "thirds<2"))
    with pytest.raises(OptionError, match="camera is never moving-about"):
        performed(RefilterOptions(str(output), keep=("camera=moving-about",)))
    with pytest.raises(OptionError, match="uses cameras, which is neither a score"):
        performed(RefilterOptions(str(output), keep=("cameras=static",)))
    # Nobody looked at the colours of clips that were rejected before.
    assert performed(told.check()) == 1
    assert reasons(output) == ["camera=static", None, "camera=static"]

    run(options_for(films, fresh, keep=("thirds>=0",)))
    again = RefilterOptions(str(fresh), workers=1, keep=("camera!=static", "thirds<2"))
    assert performed(again.check()) == 0
    assert reasons(fresh) == [None, "camera!=static", "thirds<2"]
    ran = run(options_for(films, fresh, keep=("camera!=static", "thirds<2")))
    assert ran.summary.videos_skipped == 1


def test_clips_that_a_step_rejected_itself_are_left_to_it(films: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    run(options_for(films, output, step=(f"{MODULE}:Rejects",)))
    assert reasons(output) == ["a whim", None, None]
    told = RefilterOptions(str(output), workers=1, keep=("thirds>=0",))
    assert performed(told.check()) == 1


def test_an_installed_package_has_steps(films: Path, tmp_path: Path) -> None:
    made = plan(options_for(films, tmp_path / "out", step=("camera@cut",)))
    assert [(step.name, step.place) for step in made.own] == [("Camera", "cut")]
    with pytest.raises(OptionError, match=r"names no class: .* package registers \(.*camera"):
        plan(options_for(films, tmp_path / "out", step=("kamera",)))


def test_a_word_that_was_not_declared_marks_its_clip(films: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    run(options_for(films, output, step=(f"{MODULE}:Wrong",)))
    said = documents(output)[0]
    assert "one of static, moving" in said["error_messages"]["Wrong"]
    assert "scores" not in said


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("camera=statik", "camera is never statik: did you mean static?"),
        ("camera>=1", "camera is one of static, moving: give 'camera=static'"),
    ],
)
def test_rules_that_no_label_fulfils_are_refused(rule: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=words):
        plan(options_for(tmp_path, tmp_path / "out", keep=(rule,)))


def test_a_step_like_the_built_in_ones_may_be_ones_own(films: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    steps = ("colour_steps_of_somebody:Colours",)
    run(options_for(films, output, step=steps, keep=("colours>=0.01",), saturation_filter="enable"))
    for said in documents(output).values():
        assert said["scores"]["colours"] == pytest.approx(said["scores"]["saturation"])
