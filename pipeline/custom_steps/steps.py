"""The custom steps of a run: their names, where they stand, and the rules on their scores."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import apache_beam as beam

from finecut.io.storage import files as shelf
from finecut.pipeline.custom_steps.finding import in_words, kind_of, tried
from finecut.pipeline.custom_steps.options import Given, made, parsed, refuse_strangers
from finecut.pipeline.options import OptionError, Options
from finecut.transforms.filter.rules import FAMILIES, OWN, SHORT, Rule, unfit
from finecut.transforms.models.resources import Resources
from finecut.transforms.needs import NOTHING, Needs
from finecut.transforms.spelling import nearest
from finecut.transforms.step import CUT, JUDGED, PLACES, SCORED, EachClip, declared, each_clip_of
from finecut.transforms.step_base import Score, Seen, StepOnFrames

Transform = beam.PTransform[Any, Any]


class CustomStep(NamedTuple):
    """A step, what it is called, after what it stands, and the rules on what it finds out."""

    name: str
    place: str
    transform: Transform
    rules: tuple[Rule, ...] = ()
    #: Its options that were given.
    given: tuple[Given, ...] = ()

    @property
    def resources(self) -> Resources:
        return getattr(self.transform, "resources", None) or self.needs.resources

    @property
    def needs(self) -> Needs:
        """What it cannot work without."""
        return getattr(self.transform, "needs", None) or NOTHING

    @property
    def scores(self) -> tuple[str, ...]:
        """The names of the scores that it says it gives."""
        return tuple(score.name for score in self.declared)

    @property
    def declared(self) -> tuple[Score, ...]:
        """The scores that it says it gives."""
        return declared(getattr(self.transform, "scores", ()))

    @property
    def scores_only(self) -> bool:
        """Whether it stands among those that score and judge, so that its clips can be judged anew
        by what it wrote down.
        """
        return isinstance(self.transform, EachClip) and self.place in (CUT, JUDGED, SCORED)

    @property
    def version(self) -> str:
        """What changes when its code does, so that what an older one wrote is not taken for its."""
        module = inspect.getmodule(type(self.transform))
        file = getattr(module, "__file__", None)
        data = shelf.read_if_there(file) if file else None
        code = "" if data is None else hashlib.sha256(data).hexdigest()[:16]
        options = "".join(sorted(f" {each.option}={each.value}" for each in self.given))
        return f"{self.name} {getattr(self.transform, 'version', '')} {code}{options}"

    @property
    def seen(self) -> Seen:
        """The frames that it needs."""
        step = self.transform
        if not isinstance(step, EachClip) or step.frames_per_second is None:
            return Seen()
        return Seen(rates=(step.frames_per_second,), side=step.side)


def custom_steps(options: Options) -> tuple[CustomStep, ...]:
    """The steps that are asked for, in their order."""
    given = parsed(options.step_option)
    steps = [_step(text, given) for text in options.step]
    names = [step.name for step in steps]
    refuse_strangers(given, names)
    for step, text in zip(steps, options.step, strict=True):
        if names.count(step.name) > 1:
            raise OptionError(
                f"--step {text}: there are two steps called {step.name}, so their counts could "
                "not be told apart: rename one of the classes"
            )
    rules = options.rules[OWN]
    scores_of = [{*step.scores} for step in steps]
    for rule in rules:
        if not any(rule.score in scores for scores in scores_of):
            raise OptionError(
                f"--keep {rule.name!r} uses {rule.score}, which is neither a score of finecut's "
                f"nor one that a --step declares{_meant(rule.score, scores_of)}: declare it in "
                f"the class (scores = ({rule.score!r},))"
            )
        for step in steps:
            _refuse_unfit(rule, step)
    return tuple(
        step._replace(rules=(*step.rules, *(rule for rule in rules if rule.score in scores)))
        for step, scores in zip(steps, scores_of, strict=True)
    )


def _refuse_unfit(rule: Rule, step: CustomStep) -> None:
    """Refuse a rule that the scores a step declares can never be compared by."""
    for score in step.declared:
        # A name alone does not tell numbers from labels.
        wrong = unfit(rule, score) if score.name == rule.score and score.labels else None
        if wrong is not None:
            raise OptionError(f"--keep {rule.name!r}: {wrong}")


def _meant(score: str, given: Iterable[set[str]]) -> str:
    near = nearest(score, {*FAMILIES, *SHORT}.union(*given))
    return f" (did you mean {near}?)" if near else ""


def require_steps(steps: Iterable[CustomStep]) -> None:
    """Raise when one of them cannot be loaded, before any work is done."""
    for step in steps:
        if isinstance(step.transform, EachClip):
            loaded(step)


def loaded(step: CustomStep) -> EachClip:
    """Another one of the same kind, made ready.

    The step itself stays as it was made: it goes to the workers, and what it would have loaded
    may be too large for that, or belong to this process.
    """
    other: Any = type(step.transform)()
    done = tried(other.load)
    if isinstance(done, Exception):
        raise OptionError(
            f"--step {step.name} cannot be loaded ({in_words(done)}): check what its load() "
            "needs; finecut doctor with the same options tries it again"
        ) from done
    made: EachClip = other
    return made


def _step(text: str, given: Sequence[Given]) -> CustomStep:
    kind, place = kind_of(text), text.partition("@")[2]
    mine = tuple(each for each in given if each.step == kind.__name__)
    rules: tuple[Rule, ...] = ()
    if issubclass(kind, StepOnFrames):
        step = made(kind, mine)
        kind, rules = each_clip_of(step), tuple(step.rules()) if step.rejects else ()
    elif mine:
        raise OptionError(
            f"--step-option {mine[0].text}: {mine[0].step} has no options: derive it from "
            "finecut.transforms.step_base.StepOnFrames, whose Options are a dataclass"
        )
    place = place or getattr(kind, "place", SCORED)
    if place not in PLACES:
        raise OptionError(f"--step {text}: there is no {place}: give one of {', '.join(PLACES)}")
    transform = tried(kind)
    if isinstance(transform, Exception):
        raise OptionError(
            f"--step {text} cannot be created ({in_words(transform)}): finecut creates steps "
            "without arguments, so give them defaults, or derive a class that does"
        ) from transform
    return _checked(
        text, CustomStep(type(transform).__name__, place, transform, rules=rules, given=mine)
    )


def _checked(text: str, step: CustomStep) -> CustomStep:
    """Refuse what would only be noticed clip by clip, or on a cluster."""
    scores: object = getattr(step.transform, "scores", ())
    if isinstance(scores, str):
        raise OptionError(f"--step {text}: scores is a single string: write scores = ({scores!r},)")
    for score in scores if isinstance(scores, tuple | list) else (scores,):
        if not isinstance(score, str | Score):
            raise OptionError(
                f"--step {text}: scores contains {score!r}: give names, or Score(…) from "
                "finecut.transforms.step_base"
            )
    if not isinstance(step.resources, Resources):
        raise OptionError(
            f"--step {text}: resources is {step.resources!r}: give Resources(…) from "
            "finecut.transforms.models.resources"
        )
    if not isinstance(step.needs, Needs):
        raise OptionError(
            f"--step {text}: needs is {step.needs!r}: write Needs(…), of finecut.transforms.needs"
        )
    rates, side = step.seen.rates, step.seen.side
    if rates and not (rates[0] > 0 and side > 0):
        raise OptionError(
            f"--step {text} asks for {rates[0]:g} frames per second, {side} pixels high: give "
            "numbers above 0, or frames_per_second = None for no frames"
        )
    return step
