"""The registry: a step is its module; what other places know of it follows from that."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

from finecut.io.held import scores_held
from finecut.io.layout import PREVIEWS, TABLES, VECTORS
from finecut.pipeline.options import Options, StepOptions, option_fields
from finecut.pipeline.planning import configuration
from finecut.transforms.option import FILTER_MODES
from finecut.transforms.registry import (
    ARTEFACTS,
    FAMILIES,
    ON_CLIPS,
    SCORES,
    SCORING,
    SHORT,
    STEPS,
    check_name,
)
from finecut.transforms.step_base import Step, StepOnClips, StepOnTexts
from finecut.transforms.steps.thumbnail import THUMBNAILS
from finecut.transforms.verify.owners import owner_of
from finecut.transforms.write.documents import placed

#: Configurations as the version before the registry counted them: nothing that was finished then
#: is done again because there are steps that nobody asked for.
RECORDED = [
    ({}, "4f3c8606f73188fa"),
    ({"motion_filter": "enable"}, "fe798ef56c5231c0"),
    ({"quality_filter": "score-only", "keep": ("motion>0.001",)}, "f25963153efcdc2a"),
    ({"aesthetic_threshold": 4.0}, "1c723967389e41b7"),
    (
        {
            "text_filter": "enable",
            "text_threshold": 0.2,
            "unsafe_filter": "score-only",
            "screen_target_fps": 2.0,
        },
        "6a7a717b6913128e",
    ),
    (
        {
            "aesthetic_filter": "enable",
            "aesthetic_reduction": "mean",
            "generate_previews": True,
            "clip_length": 5.0,
        },
        "9bb8cd33a9bc1e60",
    ),
]


def options_with(**changes: Any) -> Options:
    return Options(input=("films",), output="dataset", **changes)


@pytest.mark.parametrize(("changes", "digest"), RECORDED)
def test_configurations_are_what_they_were(changes: dict[str, Any], digest: str) -> None:
    assert configuration(options_with(**changes)) == digest


def test_a_step_that_is_used_is_part_of_the_configuration() -> None:
    digests = [
        configuration(options_with()),
        configuration(options_with(saturation_filter="score-only")),
        configuration(options_with(saturation_filter="enable")),
        configuration(options_with(saturation_filter="enable", saturation_threshold=0.2)),
        configuration(options_with(keep=("saturation>=0.1",))),
    ]
    assert len({*digests}) == len(digests)


@pytest.mark.parametrize("step", SCORING, ids=lambda step: step.name)
def test_a_step_that_scores_is_whole(step: type[Step[Any]]) -> None:
    own = {f.name: f for f in fields(step.Options)}
    assert own[f"{step.name}_filter"].metadata["choices"] == FILTER_MODES
    assert step.scores
    for f in step.Options.__annotations__:
        assert f == "screen_target_fps" or f.startswith(f"{step.name}_")
    assert all(rule.score in FAMILIES for rule in step.of(Options()).rules())


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_a_step_is_whole(step: type[Step[Any]]) -> None:
    own = {f.name: f for f in fields(step.Options)}
    assert step.flag().removeprefix("--").replace("-", "_") in own
    assert all(f.kw_only and f.default is not MISSING for f in own.values())
    assert step.__doc__ or sys.modules[step.__module__].__doc__
    made = step.of(Options())
    assert pickle.loads(pickle.dumps(made)) == made


@pytest.mark.parametrize("step", ON_CLIPS, ids=lambda step: step.name)
def test_a_step_that_makes_something_is_whole(step: type[StepOnClips[Any]]) -> None:
    assert step.label
    assert step.gives or issubclass(step, StepOnTexts)
    assert step.has_model or step.artefacts
    assert step.of(Options()).enabled == (step.name == "embed")


def test_artefacts_lie_apart() -> None:
    folders = [artefact.folder for artefact in ARTEFACTS]
    assert len({*folders}) == len(folders)
    for path, owner in (
        (PREVIEWS.path("d2d0", 0, 255), "d2d0"),
        (THUMBNAILS.path("d2d0"), "d2d0"),
        (VECTORS.path_in("ce1_embd", "d2d0"), "d2d0"),
        (TABLES.path_in("ce1_embd_parquet", "4a05"), "4a05"),
    ):
        assert owner_of(path) == owner


def test_names_are_given_once() -> None:
    scores = [score.name for step in STEPS for score in step.scores]
    shorts = [score.short for score in SCORES.values() if score.short]
    assert len({*scores}) == len(scores)
    assert len({*shorts}) == len(shorts) == len(SHORT)
    assert len({step.name for step in STEPS}) == len(STEPS)
    # Of two with one number, their names would decide which runs first.
    assert len({step.order for step in STEPS}) == len(STEPS)


def test_the_type_checker_is_told_of_all_of_them() -> None:
    text = Path(sys.modules[Options.__module__].__file__ or "").read_text(encoding="utf-8")
    for step in STEPS:
        assert f"        {step.Options.__name__},\n" in text


def test_options_are_those_of_all_steps() -> None:
    names = {f.name for step in STEPS for f in fields(step.Options)}
    assert names == {f.name for f in fields(StepOptions)}
    assert names <= {f.name for f in option_fields()}
    assert Options(("films",)).input == ("films",)


def test_documents_give_back_what_they_hold() -> None:
    scores = {name: float(number) for number, name in enumerate(SCORES)}
    assert scores_held(placed({**scores, "camera": "static"})) == {**scores, "camera": "static"}


BRIGHTNESS = '''
"""How bright a clip is, said in a word."""

from dataclasses import dataclass

from finecut.transforms.option import LOOK, filter_option, threshold_option
from finecut.transforms.step_base import Score, StepOnFrames


@dataclass(frozen=True, kw_only=True)
class BrightnessOptions:
    brightness_filter: str = filter_option(LOOK, "Measure how bright clips are; enable: reject.")
    brightness_threshold: float = threshold_option(0.25, LOOK, "Least brightness.", least=0)


class Brightness(StepOnFrames[BrightnessOptions]):
    name, order = "brightness", 35
    Options = BrightnessOptions
    scores = (
        Score("brightness", short="bright", title="how bright"),
        Score("light", labels=("day", "night")),
    )

    def rules(self):
        yield self.rule("brightness", ">=", self.options.brightness_threshold)

    def look(self, frames):
        return {"brightness": 0.5, "light": "day"}
'''
USED = """
import sys
import finecut.transforms.steps as steps
steps.__path__.append(sys.argv[1])
from finecut.pipeline.cli.flags import parse_options, options_table
from finecut.pipeline.cli.command import parsers
from finecut.pipeline.commands.refilter import RefilterOptions
from finecut.pipeline.options import Options, OptionError
from finecut.pipeline.planning import configuration, plan
from finecut.pipeline.template import metadata
from finecut.transforms.registry import titles

words = "--input films --output out --brightness-filter enable --brightness-threshold 0.5".split()
options, _ = parse_options(parsers()[1]["curate"], words)
assert options.brightness_threshold == 0.5
[rule] = options.rules["brightness"]
assert (rule.name, rule.score, rule.limit) == ("brightness", "brightness", 0.5)
made = plan(options, ask=False)
assert [scoring.name for scoring, _ in made.scorings] == ["brightness"]
assert made.looking.sheet.side >= 256 and 1.0 in made.looking.sheet.rates
assert "brightness" in made.placing.steps
assert "--brightness-threshold X" in options_table()
assert "--brightness-threshold X" in options_table(RefilterOptions)
assert any(one["name"] == "brightness_filter" for one in metadata()["parameters"])
assert titles()["brightness"] == "how bright"
again, _ = parse_options(
    parsers()[1]["refilter"], ["out", "--keep", "light=day", "bright>=0.1"], RefilterOptions
)
assert again.keep == ("light=day", "bright>=0.1")
usual = dict(input=("films",), output="dataset")
assert configuration(Options(**usual)) == "4f3c8606f73188fa"
for wrong, words in (
    (dict(brightness_threshold=0.5), "--brightness-filter enable"),
    (dict(keep=("light=dya",)), "did you mean day?"),
    (dict(keep=("light>=0.5",)), "light is one of day, night"),
    (dict(keep=("brightnes>=0.5",)), "did you mean brightness?"),
    (dict(keep=("bright=0.5",)), "brightness is a number"),
):
    try:
        Options(**usual, **wrong).check()
    except OptionError as error:
        assert words in str(error), error
    else:
        raise AssertionError(wrong)
print("all of it")
"""


def test_a_step_is_added_by_its_module_alone(tmp_path: Path) -> None:
    (tmp_path / "brightness.py").write_text(BRIGHTNESS, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", USED, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=tmp_path,
        env={**os.environ},
    )
    assert done.stdout.split("\n")[-2:] == ["all of it", ""], done.stderr


@pytest.mark.parametrize("name", ["sharp-edges", "2fast", "a b"])
def test_a_name_that_no_option_could_begin_with_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match="Python name"):
        check_name(name)
