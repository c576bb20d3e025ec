"""What all steps of a pipeline in YAML have in common: options in, rows in, rows out.

The config of a step are options by their names in Python, as YAML spells their values.
"""

import difflib
import hashlib
import inspect
import typing
import uuid
from collections.abc import Mapping
from dataclasses import Field, replace
from functools import lru_cache
from typing import Any, ClassVar, Final
from weakref import WeakKeyDictionary

import apache_beam as beam

from finecut.io.records import Clip
from finecut.pipeline.beam_yaml.rows import FromRows, ToRows
from finecut.pipeline.cli.flags import is_many, is_switch
from finecut.pipeline.engine import runner_of
from finecut.pipeline.lists import within_reach
from finecut.pipeline.options import OptionError, Options, option_fields
from finecut.pipeline.planning import Plan, plan
from finecut.pipeline.template import ELSEWHERE
from finecut.transforms.beam.guard import FAILURES

Rows = Mapping[str, beam.PCollection[Any]]

#: Options that Beam has, or that only make sense for a command.
BEAMS: Final = ELSEWHERE | {"verbose", "subscription", "announced_only", "patience"}

#: What the steps of one pipeline share, and no other pipeline does: the beginning of the names of
#: their staging folders and sheets.
_RUNS: "WeakKeyDictionary[beam.Pipeline, str]" = WeakKeyDictionary()


#: What steps of a pipeline cut for an output: so it is known of which videos nothing is written.
_CUT: "WeakKeyDictionary[beam.Pipeline, dict[str, list[beam.PCollection[Clip]]]]" = (
    WeakKeyDictionary()
)


def cut_for(pipeline: beam.Pipeline, root: str) -> list[beam.PCollection[Clip]]:
    return _CUT.setdefault(pipeline, {}).setdefault(root, [])


def run_of(pipeline: beam.Pipeline) -> str:
    return _RUNS.setdefault(pipeline, uuid.uuid4().hex)


@lru_cache(maxsize=4)
def planned(options: Options, run: str, together: bool = False) -> Plan:
    """The plan of steps with the same options, made once.

    Steps with other options get another name, and so never see sheets that were drawn otherwise.
    """
    named = f"{run}-{hashlib.sha256(repr(options).encode()).hexdigest()[:12]}"
    return within_reach(plan(options, named, together=together), options)


class Step(beam.PTransform[Any, Any]):
    """What all steps have in common: options in, rows in, rows out."""

    #: The record whose rows it takes; ``None``: it begins a pipeline.
    takes: ClassVar[type | None] = None
    #: Its outputs, and the records whose rows they have.
    gives: ClassVar[Mapping[str, type]] = {}
    #: Options it cannot do without, and those that are said by naming it.
    needs: ClassVar[tuple[str, ...]] = ()
    implied: ClassVar[Mapping[str, Any]] = {}
    #: Whether nothing of anybody else can stand between what it does.
    together: ClassVar[bool] = False

    def __init__(self, error_handling: Mapping[str, str] | None = None, **options: Any) -> None:
        super().__init__()
        name = type(self).__name__
        self.options = options_of(name, options)
        self.outputs = _outputs(name, self.gives, error_handling)
        for needed in self.needs:
            if not getattr(self.options, needed):
                raise OptionError(
                    f"{name} needs {needed}: add it to the step's config, with the same value in "
                    "all steps of the pipeline"
                )

    def expand(self, rows: Any) -> Rows:
        name = type(self).__name__
        if self.takes is None and not isinstance(rows, beam.pvalue.PBegin):
            raise OptionError(f"{name} starts a pipeline: leave its input out")
        if isinstance(rows, dict):
            raise OptionError(f"{name} takes one input: give [A, B] to combine several")
        pipeline = rows.pipeline
        options = replace(self.options, **self.implied, runner=runner_of(pipeline))
        options = options.check({"input", "output"} <= {*self.needs})
        steps = planned(options, run_of(pipeline), self.together)
        records = rows if self.takes is None else rows | "Records" >> FromRows(self.takes, name)
        made = self.work(records, steps, options)
        return {
            self.outputs[output]: made[output] | f"Rows of {output}" >> ToRows(kind)
            for output, kind in self.gives.items()
        }

    def work(self, records: Any, steps: Plan, options: Options) -> Rows:
        """The records of each output."""
        raise NotImplementedError


def _outputs(
    step: str, gives: Mapping[str, type], error_handling: Mapping[str, str] | None
) -> dict[str, str]:
    """What each output is called: failures as Beam's own transforms call them, if asked to."""
    names = {name: name for name in gives}
    if error_handling is None:
        return names
    if FAILURES not in gives:
        raise OptionError(f"{step} has no output for failures: leave error_handling out")
    if set(error_handling) != {"output"}:
        raise OptionError(f"{step}: error_handling can only name the output for failures")
    return names | {FAILURES: error_handling["output"]}


def options_of(step: str, given: Mapping[str, Any]) -> Options:
    """The options in a step's config; empty ones are as if they were not there."""
    known = {f.name: f for f in option_fields()}
    for name in given:
        _refuse_unknown(step, name, known)
    hints = typing.get_type_hints(Options)
    values = {
        name: _value(f"{step}: {name}", value, known[name], hints[name])
        for name, value in given.items()
        if value is not None
    }
    return Options(**values)


def _refuse_unknown(step: str, name: str, known: Mapping[str, Field[Any]]) -> None:
    if name in BEAMS:
        raise OptionError(
            f"{step}: {name} cannot be set here: how and where a pipeline runs are options of "
            "Beam (and streams need finecut launch). Leave it out"
        )
    if name in known:
        return
    usual = name.removeprefix("--").replace("-", "_")
    near = difflib.get_close_matches(usual, set(known) - BEAMS, n=1, cutoff=0.7)
    hint = f"did you mean {near[0]}?" if near else "finecut curate --help lists all options."
    raise OptionError(f"{step}: unknown option {name}: {hint}")


def _value(said: str, value: Any, f: Field[Any], hint: Any) -> Any:
    """The value as the option has it; texts are not taken for numbers, nor numbers for texts."""
    if is_many(f):
        several = value if isinstance(value, list | tuple) else [value]
        return tuple(_text(said, one) for one in several)
    if is_switch(f):
        if not isinstance(value, bool):
            raise OptionError(f"{said} is {value!r}: give true or false")
        return value
    kinds = {hint, *typing.get_args(hint)}
    if f.metadata["parse"] and isinstance(value, str):
        try:
            return f.metadata["parse"](value)
        except ValueError:
            raise OptionError(f"{said} is {value!r}: give a rate such as 4M or 800K") from None
    if float in kinds:
        return _number(said, value, float)
    return _number(said, value, int) if int in kinds else _text(said, value)


def _number(said: str, value: Any, kind: type[int] | type[float]) -> int | float:
    wanted = "a whole number" if kind is int else "a number"
    if isinstance(value, bool) or not isinstance(value, int | float) or kind(value) != value:
        raise OptionError(f"{said} is {value!r}: give {wanted}")
    return kind(value)


def _text(said: str, value: Any) -> str:
    if not isinstance(value, str):
        raise OptionError(f"{said} is {value!r}, which is not text: put it in quotes")
    return value


def _signature() -> inspect.Signature:
    """What Beam shows of a step's config."""
    hints = typing.get_type_hints(Options)
    parameters = [
        inspect.Parameter(
            f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=hints[f.name]
        )
        for f in option_fields()
        if f.name not in BEAMS
    ]
    this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    errors = inspect.Parameter(
        "error_handling",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Mapping[str, str] | None,
    )
    return inspect.Signature([this, *parameters, errors])


Step.__init__.__signature__ = _signature()  # type: ignore[attr-defined]
