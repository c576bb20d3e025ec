"""Which steps of a graph an engine does together, by Beam's own fuser: its stages.

Dataflow's fuser is not to be had, but fuses by the same rules: steps that follow each other are one
stage, unless a shuffle stands between them, or they ask for machines that differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2 as api
from apache_beam.runners.portability.fn_api_runner import translations

#: What engines do themselves; a shuffle keeps apart what stands before and behind it.
BY_ENGINES = frozenset(
    {
        common_urns.primitives.IMPULSE.urn,
        common_urns.primitives.GROUP_BY_KEY.urn,
        common_urns.composites.RESHUFFLE.urn,
    }
)


@dataclass(frozen=True)
class Stage:
    """Steps that are done together, and what their machine has to have."""

    steps: tuple[str, ...]
    hints: tuple[tuple[str, bytes], ...]

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the graph that these steps are of, in order."""
        return tuple(dict.fromkeys(step.partition("/")[0] for step in self.steps))

    def __str__(self) -> str:
        return " + ".join(self.parts)


def stages_of(proto: api.Pipeline) -> list[Stage]:
    """The stages in which an engine would run this graph; shuffles are none."""
    copy = api.Pipeline.FromString(proto.SerializeToString())
    context, stages = translations.create_and_optimize_stages(
        copy, translations.standard_optimize_phases(), BY_ENGINES
    )
    return list(_told(stages, context.components))


def _told(stages: list[translations.Stage], components: api.Components) -> Iterator[Stage]:
    for stage in stages:
        steps = tuple(each.unique_name for each in stage.transforms if each.unique_name)
        if stage.environment is not None and steps:
            hints = components.environments[stage.environment].resource_hints
            yield Stage(steps, tuple(sorted(hints.items())))
