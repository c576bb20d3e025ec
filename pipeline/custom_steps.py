"""The custom steps of a run: found, given their options, checked, put in place, and watched.

The class is ``package.module:Name``, or a name that an installed package gave it. One that is
declared like the built-in steps (a ``StepOnFrames``) has a dataclass of options, which
``--step-option Brightness.brightness_threshold=0.4`` sets: they are no flags, because a command
does not know its custom steps before it has read its flags.
"""

import hashlib
import importlib
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from importlib.metadata import entry_points
from typing import Any, Final, NamedTuple

import apache_beam as beam

from finecut.io.records import Clip
from finecut.io.storage import files as shelf
from finecut.io.wording import count_of
from finecut.pipeline.contradictions import unknown_or_out_of_range
from finecut.pipeline.options import ClassName, OptionError, Options, spell
from finecut.transforms.beam.guard import attempted
from finecut.transforms.beam.metrics import count
from finecut.transforms.filter.clips import KeepClips
from finecut.transforms.filter.rules import FAMILIES, OWN, SHORT, Rule, unfit
from finecut.transforms.measure.looking import Looking
from finecut.transforms.models.resources import Resources
from finecut.transforms.needs import NOTHING, Needs
from finecut.transforms.option import did_you_mean, nearest
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

Transform = beam.PTransform[Any, Any]
#: Under which installed packages name their steps.
GROUP: Final = "finecut.steps"
_SWITCH: Final = {"true": True, "false": False}


class Given(NamedTuple):
    """An option as it was given."""

    text: str
    step: str
    option: str
    value: str


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
        file = getattr(inspect.getmodule(type(self.transform)), "__file__", None)
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
    given = tuple(map(_parsed, options.step_option))
    steps = [_step(text, given) for text in options.step]
    names = [step.name for step in steps]
    for each in given:
        if each.step not in names:
            raise OptionError(
                f"--step-option {each.text} is for a step {each.step}, and no --step is called so: "
                + did_you_mean(each.step, names)
            )
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
            near = nearest(rule.score, {*FAMILIES, *SHORT}.union(*scores_of))
            meant = f" (did you mean {near}?)" if near else ""
            raise OptionError(
                f"--keep {rule.name!r} uses {rule.score}, which is neither a score of finecut's "
                f"nor one that a --step declares{meant}: declare it in the class "
                f"(scores = ({rule.score!r},))"
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


def loaded(step: CustomStep) -> EachClip:
    """Another one of the same kind, made ready.

    The step itself stays as it was made: it goes to the workers, and what it would have loaded
    may be too large for that, or belong to this process.
    """
    other: Any = type(step.transform)()
    _tried(
        other.load,
        f"{step.name} cannot be loaded",
        ": check what its load() needs; finecut doctor with the same options tries it again",
    )
    return other


def _step(text: str, given: Sequence[Given]) -> CustomStep:
    kind, place = _kind_of(text), text.partition("@")[2]
    mine = tuple(each for each in given if each.step == kind.__name__)
    rules: tuple[Rule, ...] = ()
    if issubclass(kind, StepOnFrames):
        step = _made(kind, mine)
        kind, rules = each_clip_of(step), tuple(step.rules()) if step.rejects else ()
    elif mine:
        raise OptionError(
            f"--step-option {mine[0].text}: {mine[0].step} has no options: derive it from "
            "finecut.transforms.step_base.StepOnFrames, whose Options are a dataclass"
        )
    place = place or getattr(kind, "place", SCORED)
    if place not in PLACES:
        raise OptionError(f"--step {text}: there is no {place}: give one of {', '.join(PLACES)}")
    transform = _tried(
        kind,
        f"{text} cannot be created",
        ": finecut creates steps without arguments, so give them defaults, or derive a class that "
        "does",
    )
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


# ── in the pipeline ───────────────────────────────────────────────────────────────────────────────


def apply(
    clips: beam.PCollection[Clip], steps: Sequence[CustomStep], place: str, looking: Looking
) -> beam.PCollection[Clip]:
    """The clips after the steps that stand here, judged by the rules on what those found out."""
    for step in steps:
        if step.place != place:
            continue
        if isinstance(step.transform, EachClip):
            step.transform.looking = looking
        else:
            clips = clips | f"Into {step.name}" >> _each(_counted, f"{step.name}/given")
        clips = clips | f"Step {step.name}" >> step.transform
        if (kind := getattr(clips, "element_type", None)) is not Clip:
            raise OptionError(
                f"--step {step.name} returns {kind}, but the next step needs Clips: end its "
                "expand with …with_output_types(Clip), or derive it from "
                "finecut.transforms.step.EachClip"
            )
        if not isinstance(step.transform, EachClip):
            clips = clips | f"Out of {step.name}" >> _each(_counted, f"{step.name}/items")
            known = frozenset(FAMILIES).union(*(each.scores for each in steps))
            known_only = _each(without_undeclared, step.name, step.scores, known)
            clips = clips | f"Declared by {step.name}" >> known_only
        if step.rules:
            clips = clips | f"KeepBy {step.name}" >> KeepClips(step.rules)
    return clips


def _each(work: Callable[..., Clip], *arguments: Any) -> Any:
    return beam.Map(work, *arguments).with_output_types(Clip)


def _counted(clip: Clip, name: str) -> Clip:
    count(name)
    return clip


def lost_by(steps: Iterable[CustomStep], stats: Mapping[str, int]) -> list[str]:
    """A sentence for each step that gave back other clips than it was given, or scores that it does
    not declare.
    """
    told = []
    for step in steps:
        given, back = (stats.get(f"{step.name}/{what}", 0) for what in ("given", "items"))
        if not isinstance(step.transform, EachClip) and given != back:
            told.append(
                f"--step {step.name} got {given} clips and returned {back}. A step must not drop "
                "or duplicate clips, because each one has to be accounted for. To reject a clip, "
                "return clip.replace(rejected_by='why')"
            )
        start = f"{step.name}/{UNDECLARED}"
        found = {key.removeprefix(start): n for key, n in stats.items() if key.startswith(start)}
        if found:
            number, words = max(found.values()), declare_words(step.scores, found)
            clips = count_of(number, "clip")
            told.append(f"--step {step.name} gave {clips} {words}, and run the same command again")
    return told


# ── their classes and options ─────────────────────────────────────────────────────────────────────


def _kind_of(text: str) -> Any:
    """The class that this ``--step`` names, without its place."""
    path = text.partition("@")[0]
    found = text.kind if isinstance(text, ClassName) else _found(text, path)
    if isinstance(found, type) and issubclass(found, StepOnFrames | beam.PTransform):
        return found
    raise OptionError(
        f"--step {text}: {path.rpartition(':')[2]} is not a step: derive it from "
        "finecut.transforms.step.EachClip, or from beam.PTransform"
    )


def _tried(work: Callable[[], Any], broken: str, advice: str) -> Any:
    """What somebody's code gives; it does not end the program."""
    try:
        made = attempted(work)
    except SystemExit as ended:
        made = RuntimeError(f"it tried to end the program ({ended})")
    if isinstance(made, Exception):
        raise OptionError(f"--step {broken} ({type(made).__name__}: {made}){advice}") from made
    return made


def _found(text: str, path: str) -> Any:
    module, colon, name = path.partition(":")
    if not colon and path:
        return _installed(text, path)
    if not module or not name:
        raise OptionError(f"--step {text} names no class: give package.module:Name")
    # Whatever a module does when it is imported, it does here.
    found = _tried(
        lambda: importlib.import_module(module),
        f"{text}: {module} cannot be imported",
        ". Install its package, or start finecut in the folder that contains it",
    )
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise OptionError(f"--step {text}: {module} has no {name}: check how it is spelled there")
    return found


def _installed(text: str, name: str) -> Any:
    """The step that an installed package has under this name."""
    known = entry_points(group=GROUP)
    for found in known.select(name=name):
        return _tried(
            found.load,
            f"{text}: {found.value} cannot be imported",
            ". Its package is installed, but something that it needs is not",
        )
    names = f" ({', '.join(sorted(known.names))})" if known.names else ""
    raise OptionError(
        f"--step {text} names no class: give package.module:Name, or the name of a step that an "
        f"installed package registers{names}"
    )


def _parsed(text: str) -> Given:
    name, equals, value = text.partition("=")
    step, dot, option = name.partition(".")
    if not (step and dot and option and equals):
        raise OptionError(
            f"--step-option {text} sets nothing: write STEP.OPTION=VALUE, as in "
            "Brightness.brightness_threshold=0.4"
        )
    return Given(text, step, option.replace("-", "_"), value)


def _made(kind: type[StepOnFrames[Any]], given: Sequence[Given]) -> StepOnFrames[Any]:
    """The step with these options."""
    hints = typing.get_type_hints(kind.Options)
    names = [f.name for f in fields(kind.Options)]
    values: dict[str, Any] = {}
    for each in given:
        if each.option not in names:
            raise OptionError(
                f"--step-option {each.text}: {each.step} has no option {each.option}: "
                f"{did_you_mean(each.option, names)}"
            )
        values[each.option] = _value(each, hints[each.option])
    options = kind.Options(**values)
    spell(options)
    for wrong in unknown_or_out_of_range(options):
        raise OptionError(f"--step-option of {kind.__name__}: {wrong}")
    return kind(options)


def _value(given: Given, hint: Any) -> Any:
    kinds = {hint, *typing.get_args(hint)}
    if bool in kinds:
        if given.value.lower() not in _SWITCH:
            raise OptionError(f"--step-option {given.text}: give true or false")
        return _SWITCH[given.value.lower()]
    kind = next((kind for kind in (int, float) if kind in kinds), str)
    try:
        return kind(given.value)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise OptionError(f"--step-option {given.text}: {given.value!r} is not {wanted}") from None
