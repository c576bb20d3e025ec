"""Options of custom steps: set by name, checked like others, and part of what a run makes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from performing import performed

from finecut.io.media.testfilm.paint import paint
from finecut.pipeline.commands.report import ReportOptions
from finecut.pipeline.custom_steps import custom_steps
from finecut.pipeline.options import OptionError, Options
from finecut.pipeline.planning import configuration, plan
from finecut.pipeline.running import prepare, run
from finecut.transforms.filter.comparing import Rule
from finecut.transforms.needs import Needs
from finecut.transforms.option import LOOK, filter_option, option, threshold_option
from finecut.transforms.step import EachClip
from finecut.transforms.step_base import Frames, Score, StepOnFrames


@dataclass(frozen=True, kw_only=True)
class FancyOptions:
    fancy_filter: str = filter_option(LOOK, "Measure how fancy clips are; enable: reject others.")
    fancy_threshold: float = threshold_option(0.25, LOOK, "Least.", least=0, most=1)
    fancy_value: float = option(0.5, LOOK, "What it says of each clip.")
    fancy_loud: bool = option(False, LOOK, "Nothing.")


class Fancy(StepOnFrames[FancyOptions]):
    """Says of each clip what it was told to say."""

    name = "fancy"
    Options = FancyOptions
    scores = (Score("fancy", title="how fancy it is"),)

    def rules(self) -> Iterable[Rule]:
        yield self.rule("fancy", ">=", self.options.fancy_threshold)

    def look(self, frames: Frames) -> dict[str, float]:
        return {"fancy": self.options.fancy_value}


class Needy(Fancy):
    name = "needy"
    needs = Needs(packages=("no_such_package",), command="pip install it", files=("/nowhere/x",))


class Plain(EachClip):
    pass


def options_with(*given: str, step: Any = Fancy, **others: Any) -> Options:
    return Options(("films",), output="out", step=(step,), step_option=given, **others)


def test_options_reach_the_step() -> None:
    [step] = custom_steps(options_with("Fancy.fancy_value=0.75", "Fancy.fancy-loud=true"))
    made: Any = step.transform
    assert made.step.options == FancyOptions(fancy_value=0.75, fancy_loud=True)
    assert step.rules == ()
    enabled = options_with("Fancy.fancy_filter=enable", "Fancy.fancy_threshold=0.9")
    [step] = custom_steps(enabled)
    assert step.rules == (Rule("fancy", "fancy", ">=", 0.9),)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("Fancy.fancy_value", "sets nothing: write STEP.OPTION=VALUE"),
        ("Other.fancy_value=1", "no --step is called so: .*Fancy"),
        ("Fancy.fancy_valeu=1", "has no option fancy_valeu: did you mean fancy_value"),
        ("Fancy.fancy_value=much", "'much' is not a number"),
        ("Fancy.fancy_loud=9", "give true or false"),
        ("Fancy.fancy_threshold=7", "--fancy-threshold 7 is too large: give 1 or less"),
        ("Fancy.fancy_filter=enabel", "did you mean enable"),
    ],
)
def test_what_cannot_be_set_is_said(given: str, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        custom_steps(options_with(given))


def test_steps_without_options_and_options_without_steps() -> None:
    with pytest.raises(OptionError, match="Plain has no options: derive it from"):
        custom_steps(options_with("Plain.x=1", step=Plain))
    with pytest.raises(OptionError, match="--step-option does nothing without --step"):
        Options(("films",), output="out", step_option=("A.b=1",)).check()


def test_options_are_part_of_the_configuration() -> None:
    digests = {
        configuration(options_with(*given))
        for given in ((), ("Fancy.fancy_value=0.1",), ("Fancy.fancy_value=0.2",))
    }
    assert len(digests) == 3


def test_what_is_missing_is_refused_before_any_work() -> None:
    options = options_with(step=Needy, no_generate_embeddings=True)
    with pytest.raises(OptionError, match=r"Needy cannot work: .*no_such_package.*install"):
        prepare(options, plan(options))
    [step] = custom_steps(options)
    assert [missing.what for missing in step.needs.missing()] == [
        "the Python package no_such_package",
        "the file /nowhere/x",
    ]


def test_a_run_judges_by_them_and_the_report_has_their_titles(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    paint(tmp_path / "films" / "a.mp4", width=96, height=54, rate=10, seconds=2)
    options = options_with(
        "Fancy.fancy_filter=enable",
        "Fancy.fancy_value=0.125",
        clip_length=1.0,
        min_clip_length=0.5,
        no_generate_embeddings=True,
        no_isolation=True,
        workers=1,
        no_report=True,
    )
    output = tmp_path / "out"
    options = replace(options, input=(str(tmp_path / "films"),), output=str(output))
    assert run(options).summary.rejected_by == {"fancy": 2}
    for path in (output / "metas/v0").iterdir():
        document = json.loads(path.read_bytes())
        assert document["scores"] == {"fancy": 0.125}
        assert document["filtered_by"] == "fancy"
    assert performed(ReportOptions(dataset=str(output))) == 0
    page = (output / "report" / "index.html").read_text(encoding="utf-8")
    assert '"fancy":"how fancy it is"' in page
