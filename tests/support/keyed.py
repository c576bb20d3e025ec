"""Which coders carry the keys and the state of a pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.coders import Coder, TupleCoder, registry
from apache_beam.coders.coders import FastPrimitivesCoder, PickleCoder
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor
from apache_beam.transforms.userstate import get_dofn_specs


class _Keyed(PipelineVisitor):
    def __init__(self) -> None:
        self.coders: dict[str, Coder] = {}

    def visit_transform(self, transform_node: AppliedPTransform) -> None:
        made, name = transform_node.transform, transform_node.full_label
        states = get_dofn_specs(made.fn)[0] if isinstance(made, beam.ParDo) else ()
        if isinstance(made, beam.GroupByKey) or states:
            kind: Any = transform_node.inputs[0].element_type
            key = kind.tuple_types[0]
            if key is not None:  # Beam's own, where it combines all there is
                self.coders[f"{name} (key)"] = registry.get_coder(key)
        for state in states:
            self.coders[f"{name} ({state.name})"] = state.coder


def keyed_in(pipeline: beam.Pipeline) -> dict[str, Coder]:
    """The coders of keys and of states, by the names of the steps that have them."""
    found = _Keyed()
    pipeline.visit(found)
    return found.coders


def unsure(coders: dict[str, Coder]) -> Iterator[str]:
    """Those that need not give the same bytes twice, or that Beam chose because it knew no type."""
    for name, coder in coders.items():
        chosen = any(isinstance(part, FastPrimitivesCoder | PickleCoder) for part in _parts(coder))
        if chosen or not coder.is_deterministic():
            yield f"{name}: {coder}"


def _parts(coder: Coder) -> Iterator[Coder]:
    yield coder
    if isinstance(coder, TupleCoder):
        for part in coder.coders():
            yield from _parts(part)
