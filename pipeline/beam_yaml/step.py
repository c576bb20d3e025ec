"""What all steps of a pipeline in YAML have in common: options in, rows in, rows out."""

import hashlib
import inspect
import typing
import uuid
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import apache_beam as beam

from finecut.io.records import Clip
from finecut.pipeline.beam_yaml.config import BEAMS, options_of
from finecut.pipeline.beam_yaml.rows import FromRows, ToRows
from finecut.pipeline.engine import runner_of
from finecut.pipeline.options import OptionError, Options, option_fields
from finecut.pipeline.planning import Plan, plan
from finecut.transforms.beam.guard import FAILURES

Rows = Mapping[str, beam.PCollection[Any]]

#: What the steps of one pipeline share, and no other pipeline does: the beginning of the names of
#: their staging folders and sheets.
_RUNS: "WeakKeyDictionary[beam.Pipeline, str]" = WeakKeyDictionary()


#: What steps of a pipeline cut for an output: so it is known of which videos nothing is written.
_CUT: "WeakKeyDictionary[beam.Pipeline, dict[str, list[beam.PCollection[Clip]]]]"
_CUT = WeakKeyDictionary()


def cut_for(pipeline: beam.Pipeline, root: str) -> list[beam.PCollection[Clip]]:
    return _CUT.setdefault(pipeline, {}).setdefault(root, [])


def run_of(pipeline: beam.Pipeline) -> str:
    return _RUNS.setdefault(pipeline, uuid.uuid4().hex)


@lru_cache(maxsize=4)
def planned(options: Options, run: str) -> Plan:
    """The plan of steps with the same options, made once.

    Steps with other options get another name, and so never see sheets that were drawn otherwise.
    """
    return plan(options, f"{run}-{hashlib.sha256(repr(options).encode()).hexdigest()[:12]}")


class Step(beam.PTransform[Any, Any]):
    """What all steps have in common: options in, rows in, rows out."""

    #: The record whose rows it takes; ``None``: it begins a pipeline.
    takes: ClassVar[type | None] = None
    #: Its outputs, and the records whose rows they have.
    gives: ClassVar[Mapping[str, type]] = {}
    #: Options it cannot do without, and those that are said by naming it.
    needs: ClassVar[tuple[str, ...]] = ()
    implied: ClassVar[Mapping[str, Any]] = {}

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
        self._refuse_inputs(name, rows)
        pipeline = rows.pipeline
        options = replace(self.options, **self.implied, runner=runner_of(pipeline))
        whole = {"input", "output"} <= {*self.needs}
        steps = planned(options.check(whole), run_of(pipeline))
        records = rows if self.takes is None else rows | "Records" >> FromRows(self.takes, name)
        made = self.work(records, steps, options)
        return {
            self.outputs[output]: made[output] | f"Rows of {output}" >> ToRows(kind)
            for output, kind in self.gives.items()
        }

    def _refuse_inputs(self, name: str, rows: Any) -> None:
        if self.takes is None and not isinstance(rows, beam.pvalue.PBegin):
            raise OptionError(f"{name} starts a pipeline: leave its input out")
        if isinstance(rows, dict):
            raise OptionError(f"{name} takes one input: give [A, B] to combine several")

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
    if FAILURES not in gives or set(error_handling) != {"output"}:
        raise OptionError(
            f"{step}: error_handling can only name the output for failures"
            if FAILURES in gives
            else f"{step} has no output for failures: leave error_handling out"
        )
    return names | {FAILURES: error_handling["output"]}


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
