"""Steps of one's own: found by name (``package.module:Name@PLACE``), checked, and put in place."""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any, Final, NamedTuple

import apache_beam as beam

from finecut.io.records import Clip
from finecut.io.storage import files as shelf
from finecut.pipeline.classes import ClassName
from finecut.pipeline.options import OptionError, Options
from finecut.transforms.beam.guard import attempted
from finecut.transforms.beam.metrics import count
from finecut.transforms.filter.clips import KeepClips
from finecut.transforms.filter.rules import FAMILIES, OWN, SHORT, Rule, unfit
from finecut.transforms.measure.looking import Looking
from finecut.transforms.models.resources import Resources
from finecut.transforms.needs import NOTHING, Needs
from finecut.transforms.spelling import nearest
from finecut.transforms.step import (
    CUT,
    JUDGED,
    PLACES,
    SCORED,
    UNDECLARED,
    EachClip,
    declare_words,
    declared,
    each_clip_of,
    without_undeclared,
)
from finecut.transforms.step_base import Score, Seen, StepOnFrames

#: Under which installed packages name their steps.
GROUP: Final = "finecut.steps"

Transform = beam.PTransform[Any, Any]


class OwnStep(NamedTuple):
    """A step, what it is called, after what it stands, and the rules on what it finds out."""

    name: str
    place: str
    transform: Transform
    rules: tuple[Rule, ...] = ()

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
        return f"{self.name} {getattr(self.transform, 'version', '')} {code}"

    @property
    def seen(self) -> Seen:
        """The frames that it needs."""
        step = self.transform
        if not isinstance(step, EachClip) or step.frames_per_second is None:
            return Seen()
        return Seen(rates=(step.frames_per_second,), side=step.side)


def own_steps(options: Options) -> tuple[OwnStep, ...]:
    """The steps that are asked for, in their order."""
    steps = [_step(text) for text in options.step]
    names = [step.name for step in steps]
    for step, text in zip(steps, options.step, strict=True):
        if names.count(step.name) > 1:
            raise OptionError(
                f"--step {text}: there are two steps called {step.name}, and what they count could "
                "not be told apart: name one of the classes otherwise"
            )
    rules = options.rules[OWN]
    given = [{*step.scores} for step in steps]
    for rule in rules:
        if not any(rule.score in scores for scores in given):
            raise OptionError(
                f"--keep {rule.name!r} speaks of {rule.score}, which is no score of finecut's and "
                f"none that a --step gives{_meant(rule.score, given)}: write its name into the "
                f"class (scores = ({rule.score!r},))"
            )
        for step in steps:
            _refuse_unfit(rule, step)
    return tuple(
        step._replace(rules=tuple(rule for rule in rules if rule.score in scores))
        for step, scores in zip(steps, given, strict=True)
    )


def _refuse_unfit(rule: Rule, step: OwnStep) -> None:
    """Refuse a rule that the scores a step declares can never be compared by."""
    for score in step.declared:
        # A name alone does not tell numbers from labels.
        wrong = unfit(rule, score) if score.name == rule.score and score.labels else None
        if wrong is not None:
            raise OptionError(f"--keep {rule.name!r}: {wrong}")


def _meant(score: str, given: Iterable[set[str]]) -> str:
    near = nearest(score, {*FAMILIES, *SHORT}.union(*given))
    return f" (did you mean {near}?)" if near else ""


def require_steps(steps: Iterable[OwnStep]) -> None:
    """Raise when one of them cannot be loaded, before any work is done."""
    for step in steps:
        if isinstance(step.transform, EachClip):
            loaded(step)


def loaded(step: OwnStep) -> EachClip:
    """Another one of the same kind, made ready.

    The step itself stays as it was made: it goes to the workers, and what it would have loaded
    may be too large for that, or belong to this process.
    """
    other: Any = type(step.transform)()
    done = _tried(other.load)
    if isinstance(done, Exception):
        raise OptionError(
            f"--step {step.name} cannot be loaded ({_said(done)}): see what its load() needs; "
            "finecut doctor with the same options tries it again"
        ) from done
    made: EachClip = other
    return made


def lost_by(steps: Iterable[OwnStep], stats: Mapping[str, int]) -> list[str]:
    """A sentence for each step that gave back other clips than it was given."""
    told = []
    for step in steps:
        given, back = (stats.get(f"{step.name}/{what}", 0) for what in ("given", "items"))
        if not isinstance(step.transform, EachClip) and given != back:
            told.append(
                f"--step {step.name} was given {given} clips and gave back {back}. A step changes "
                "clips and never drops or doubles them, or nobody knows what became of a shot: to "
                "reject one, write clip.replace(rejected_by='why')"
            )
        told += _undeclared(step, stats)
    return told


def _undeclared(step: OwnStep, stats: Mapping[str, int]) -> list[str]:
    """A sentence on the scores that a step gives and does not declare."""
    start = f"{step.name}/{UNDECLARED}"
    found = {
        key.removeprefix(start): n for key, n in sorted(stats.items()) if key.startswith(start)
    }
    if not found:
        return []
    number = max(found.values())
    words = declare_words(step.scores, found)
    clips = "1 clip" if number == 1 else f"{number} clips"
    return [f"--step {step.name} gave {clips} {words}, and run the same command again"]


def apply(
    clips: beam.PCollection[Clip], steps: Sequence[OwnStep], place: str, looking: Looking
) -> beam.PCollection[Clip]:
    """The clips after the steps that stand here, judged by the rules on what those found out."""
    for step in steps:
        if step.place != place:
            continue
        if isinstance(step.transform, EachClip):
            step.transform.looking = looking
        else:
            clips = clips | f"Into {step.name}" >> _counting(f"{step.name}/given")
        clips = clips | f"Step {step.name}" >> step.transform
        kind = getattr(clips, "element_type", None)
        if kind is not Clip:
            raise OptionError(
                f"--step {step.name} gives {kind}, and what comes next needs Clips: end its expand "
                "with …with_output_types(Clip), or derive it from finecut.transforms.step.EachClip"
            )
        if not isinstance(step.transform, EachClip):
            clips = clips | f"Out of {step.name}" >> _counting(f"{step.name}/items")
            known = frozenset(FAMILIES).union(*(each.scores for each in steps))
            clips = clips | f"Declared by {step.name}" >> _declared(step, known)
        if step.rules:
            clips = clips | f"KeepBy {step.name}" >> KeepClips(step.rules)
    return clips


def _step(text: str) -> OwnStep:
    path, _, place = text.partition("@")
    found = _step_in(text, text.kind if isinstance(text, ClassName) else _found(text, path))
    place = place or getattr(found, "place", SCORED)
    if place not in PLACES:
        raise OptionError(f"--step {text}: there is no {place}: write one of {', '.join(PLACES)}")
    made = _tried(found)
    if isinstance(made, Exception):
        raise OptionError(
            f"--step {text} cannot be made ({_said(made)}): a step is made without arguments, so "
            "give them defaults, or derive a class that has them"
        ) from made
    return _checked(text, OwnStep(type(made).__name__, place, made))


def _checked(text: str, step: OwnStep) -> OwnStep:
    """Refuse what would only be noticed clip by clip, or on a cluster."""
    scores: object = getattr(step.transform, "scores", ())
    if isinstance(scores, str):
        raise OptionError(f"--step {text}: scores is one text: write scores = ({scores!r},)")
    for score in scores if isinstance(scores, tuple | list) else (scores,):
        if not isinstance(score, str | Score):
            raise OptionError(
                f"--step {text}: scores has {score!r} in it: write names, or Score(…), of "
                "finecut.transforms.step_base"
            )
    if not isinstance(step.resources, Resources):
        raise OptionError(
            f"--step {text}: resources is {step.resources!r}: write Resources(…), of "
            "finecut.transforms.models.resources"
        )
    if not isinstance(step.needs, Needs):
        raise OptionError(
            f"--step {text}: needs is {step.needs!r}: write Needs(…), of finecut.transforms.needs"
        )
    rates, side = step.seen.rates, step.seen.side
    if rates and not (rates[0] > 0 and side > 0):
        raise OptionError(
            f"--step {text} wants {rates[0]:g} frames a second, {side} pixels high: "
            "write numbers above 0, or frames_per_second = None to see none"
        )
    return step


def _tried(work: Callable[[], Any]) -> Any:
    """What somebody's code gives, or what it broke with; it does not end the program."""
    try:
        return attempted(work)
    except SystemExit as ended:
        return RuntimeError(f"it wanted to end the program ({ended})")


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _counting(name: str) -> Any:
    return beam.Map(_counted, name).with_output_types(Clip)


def _declared(step: OwnStep, known: frozenset[str]) -> Any:
    return beam.Map(without_undeclared, step.name, step.scores, known).with_output_types(Clip)


def _counted(clip: Clip, name: str) -> Clip:
    count(name)
    return clip


def _found(text: str, path: str) -> Any:
    module, colon, name = path.partition(":")
    if not colon and path:
        return _installed(text, path)
    if not module or not name:
        raise OptionError(f"--step {text} names no class: write package.module:Name")
    # Whatever a module does when it is imported, it does here.
    imported = _tried(lambda: importlib.import_module(module))
    if isinstance(imported, Exception):
        raise OptionError(
            f"--step {text}: {module} cannot be imported ({_said(imported)}). "
            "Install its package, or start finecut in the folder it lies in"
        ) from imported
    found: Any = imported
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise OptionError(f"--step {text}: {module} has no {name}: see how it is written there")
    return found


def _installed(text: str, name: str) -> Any:
    """The step that an installed package has under this name."""
    known = entry_points(group=GROUP)
    for found in known.select(name=name):
        kind = _tried(found.load)
        if isinstance(kind, Exception):
            raise OptionError(
                f"--step {text}: {found.value} cannot be imported ({_said(kind)}). The package "
                "that has it is installed, and something that it needs is not"
            ) from kind
        return kind
    names = f" ({', '.join(sorted(known.names))})" if known.names else ""
    raise OptionError(
        f"--step {text} names no class: write package.module:Name, or the name of a step that an "
        f"installed package has{names}"
    )


def _step_in(text: str, found: Any) -> Any:
    """What was found, if it is the class of a step."""
    if isinstance(found, type) and issubclass(found, StepOnFrames):
        return each_clip_of(found)
    if not isinstance(found, type) or not issubclass(found, beam.PTransform):
        name = text.partition("@")[0].rpartition(":")[2]
        raise OptionError(
            f"--step {text}: {name} is no step: derive it from finecut.transforms.step.EachClip, "
            "or from beam.PTransform"
        )
    return found
