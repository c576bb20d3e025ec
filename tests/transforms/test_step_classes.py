"""Steps given as classes, and scores that a step gives without having declared them."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import apache_beam as beam
import pytest
from apache_beam.internal import pickler

from finecut.io.media.testfilm.paint import paint
from finecut.io.records import Clip
from finecut.pipeline.cli.command import main
from finecut.pipeline.custom_steps import custom_steps
from finecut.pipeline.keeping import given
from finecut.pipeline.options import OptionError, Options
from finecut.pipeline.planning import plan
from finecut.pipeline.running import Ran, run
from finecut.transforms.step import EachClip


class Length(EachClip):
    """Says how long a clip is."""

    scores: ClassVar[tuple[str, ...]] = ("length",)

    def look(self, clip: Clip, frames: Any) -> dict[str, float]:
        return {"length": clip.planned.span.length}


#: For type checkers, steps are names.
LENGTH: Any = Length


class Undeclared(EachClip):
    """Gives one score that it declares, and two that it does not."""

    scores: ClassVar[tuple[str, ...]] = ("one",)

    def look(self, clip: Clip, frames: Any) -> dict[str, float]:
        return {"one": 1.0} if clip.planned.index else {"one": 1.0, "three": 3.0, "two": 2.0}


class Replaces(EachClip):
    """Changes a score that is another's."""

    def look(self, clip: Clip, frames: Any) -> Clip:
        return clip.replace(scores={**clip.scores, "motion_global_mean": 9.0})


class Plain(beam.PTransform[Any, Any]):
    """A transform that looks after itself, and declares nothing."""

    def expand(self, clips: Any) -> Any:
        def mark(clip: Clip) -> Clip:
            return clip.replace(scores={**clip.scores, "plain": 1.0})

        return clips | beam.Map(mark).with_output_types(Clip)


class Declares(Plain):
    """The same, declared."""

    scores = ("plain",)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    paint(folder / "a.mp4", width=64, height=36, rate=10, seconds=2)
    return folder


def curated(films: Path, output: Path, *steps: Any, **others: Any) -> tuple[Ran, dict[int, Any]]:
    settings: dict[str, Any] = {
        "clip_length": 1.0,
        "min_clip_length": 0.5,
        "no_generate_embeddings": True,
        "no_isolation": True,
        "workers": 1,
        "no_report": True,
        **others,
    }
    ran = run(Options((str(films),), output=str(output), step=steps, **settings))
    documents = [json.loads(path.read_bytes()) for path in (output / "metas/v0").iterdir()]
    return ran, {round(said["duration_span"][0]): said for said in documents}


# A class instead of its name.


def test_a_class_is_a_step(films: Path, tmp_path: Path) -> None:
    ran, said = curated(films, tmp_path / "out", Length, keep=("length>=1",))
    assert ran.summary.shots_kept == 2
    assert {document["scores"]["length"] for document in said.values()} == {1.0}
    [summary] = (tmp_path / "out").glob("runs/*/summary.json")
    assert json.loads(summary.read_bytes())["options"]["step"] == [f"{__name__}:Length"]


def test_a_class_of_a_function_is_a_step(films: Path, tmp_path: Path) -> None:
    class Local(EachClip):
        scores: ClassVar[tuple[str, ...]] = ("local",)

        def look(self, clip: Clip, frames: Any) -> dict[str, float]:
            return {"local": 2.0}

    _, said = curated(films, tmp_path / "out", Local)
    assert {document["scores"]["local"] for document in said.values()} == {2.0}


def test_a_class_and_its_name_are_the_same_step() -> None:
    by_class = Options(("films",), output="out", step=(LENGTH,))
    by_name = Options(("films",), output="out", step=(f"{__name__}:Length",))
    assert by_class == by_name
    assert given(by_class) == given(by_name)
    one, other = (plan(each).writing.configuration for each in (by_class, by_name))
    assert one == other == plan(dataclasses.replace(by_class)).writing.configuration


def test_a_class_goes_to_workers_and_into_copies() -> None:
    options = Options(("films",), output="out", step=(LENGTH,))
    copies = [
        pickle.loads(pickle.dumps(options)),
        pickler.loads(pickler.dumps(options)),
        copy.deepcopy(options),
        Options(**dataclasses.asdict(options)),
    ]
    for each in copies:
        assert each == options
        [step] = custom_steps(each)
        assert type(step.transform).__name__ == "Length"
    [step] = custom_steps(options)
    assert type(step.transform) is Length
    assert pickler.loads(pickler.dumps(step.transform)).scores == ("length",)


@pytest.mark.slow
def test_a_script_says_its_own_class_and_goes_on_where_it_stopped(
    films: Path, tmp_path: Path
) -> None:
    """Also by name, from the folder where the script lies."""
    script = tmp_path / "own_script.py"
    script.write_text(
        f"""
from finecut.pipeline.options import Options
from finecut.pipeline.running import run
from finecut.transforms.step import EachClip


class Ones(EachClip):
    scores = ("ones",)

    def look(self, clip, frames):
        return {{"ones": 1.0}}


if __name__ == "__main__":
    options = Options(({str(films)!r},), output="out", step=(Ones,), no_generate_embeddings=True,
                      clip_length=1.0, min_clip_length=0.5, no_isolation=True, no_report=True)
    print(run(options).summary.videos_done)
""",
        encoding="utf-8",
    )
    told = [
        subprocess.run(
            [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout.strip()
        for _ in range(2)
    ]
    assert told == ["1", "0"]
    said = [json.loads(path.read_bytes()) for path in (tmp_path / "out/metas/v0").iterdir()]
    assert {document["scores"]["ones"] for document in said} == {1.0}
    [summary, *_] = (tmp_path / "out").glob("runs/*/summary.json")
    assert json.loads(summary.read_bytes())["options"]["step"] == ["own_script:Ones"]


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (Length, r"step is a single class: give step=\(Length,\)"),
        ((Length(),), r"an object of Length, not a class: give step=\(Length,\)"),
        ((3,), r"step: 3 is neither a class nor the name of one"),
        ((dict,), "dict is not a step: derive it from"),
    ],
)
def test_what_is_no_class_of_a_step_is_told(step: Any, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        plan(Options(("films",), output="out", step=step).check())


# Scores that were not declared.


def test_a_score_that_is_not_declared_is_refused_by_name(films: Path, tmp_path: Path) -> None:
    ran, said = curated(films, tmp_path / "out", Undeclared)
    assert "scores" not in said[0]
    assert said[0]["valid"] is False
    assert (
        "Undeclared returned the scores three, two, which"
        in said[0]["error_messages"]["Undeclared"]
    )
    assert 'scores = ("one", "three", "two")' in said[0]["error_messages"]["Undeclared"]
    assert said[1]["scores"] == {"one": 1.0}
    [sentence] = ran.misdone
    assert "--step Undeclared gave 1 clip the scores three, two, which" in sentence
    assert 'scores = ("one", "three", "two")' in sentence


def test_a_score_of_another_may_not_be_changed(films: Path, tmp_path: Path) -> None:
    ran, said = curated(films, tmp_path / "out", Replaces, motion_filter="score-only")
    assert said[0]["motion_score"]["global_mean"] != 9.0
    assert "motion_global_mean" in said[0]["error_messages"]["Replaces"]
    assert 'scores = ("motion_global_mean",)' in ran.misdone[0]


def test_a_plain_transform_declares_its_scores_too(films: Path, tmp_path: Path) -> None:
    ran, said = curated(films, tmp_path / "out", Plain)
    assert "scores" not in said[0]
    assert "Plain returned the score plain, which" in said[0]["error_messages"]["Plain"]
    assert "--step Plain gave 2 clips the score plain" in ran.misdone[0]
    ran, said = curated(films, tmp_path / "declared", Declares)
    assert said[0]["scores"] == {"plain": 1.0}
    assert ran.misdone == ()


def test_the_command_says_so_and_fails(
    films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["curate", "--input", str(films), "--output", str(tmp_path / "out")]
    words += ["--step", f"{__name__}:Undeclared", "--no-generate-embeddings", "--quiet"]
    assert main([*words, "--clip-length", "1", "--min-clip-length", "0.5"]) == 1
    assert "--step Undeclared gave 1 clip the scores three, two" in capsys.readouterr().err


class OneText(EachClip):
    """Forgets the comma."""

    scores = "length"  # type: ignore[assignment]


def test_scores_that_are_one_text_are_told() -> None:
    steps: Any = (OneText,)
    with pytest.raises(
        OptionError, match=r"scores is a single string: write scores = \('length',\)"
    ):
        plan(Options(("films",), output="out", step=steps).check())


def test_a_rule_on_a_score_that_is_misspelled_is_told() -> None:
    options = Options(("films",), output="out", step=(LENGTH,), keep=("lenght>=1",))
    with pytest.raises(OptionError, match=r"did you mean length\?"):
        plan(options.check())
