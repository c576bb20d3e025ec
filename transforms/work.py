"""How a step works in a pipeline: what it needs, how it is loaded, and what it does to clips."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import apache_beam as beam

from finecut.io.layout import Layout
from finecut.io.records import Clip, ModelUsed
from finecut.transforms.beam.inference import inference
from finecut.transforms.caption.asking import Asked
from finecut.transforms.models.resources import Resources
from finecut.transforms.needs import NO_RESOURCES


class Work:
    """The work of one step, as it was planned for one run."""

    resources: Resources
    #: What its model is called, and what it does, as the rest of a sentence; nothing without one.
    model: Any
    described: Any
    #: Raises what loading would complain about, before any work is done; says which model it is.
    require: Callable[[], Any]
    load: Callable[[], Any]
    run: Callable[[Sequence[Clip], Any], list[Clip]]

    def check_output(self, layout: Layout) -> None:
        """Raise if what lies in the output does not go with what it will make."""

    def sharing(self, share: float) -> Self:
        """The same, with a model that takes no more than that part of a GPU."""
        return self

    def transform(self, shared: bool = False, copies: int = 1) -> beam.PTransform[Any, Any]:
        """Clips → the same; its model is loaded once in a process, or so often for all of them."""
        return AskModel(self, shared, copies)


@dataclass(frozen=True, kw_only=True)
class ModelWork(Work):
    """That of a step whose model is asked questions."""

    #: Models that need a GPU are told their share of it, if that is not all.
    load_model: Callable[..., Any]
    #: Raises when what it loads is missing, before any work is done; says which model it is.
    require: Callable[[], ModelUsed]
    resources: Resources = NO_RESOURCES
    #: Clips that are handed to the model at once.
    together: int = 1

    def load(self) -> Asked:
        return Asked(self.load_model())

    def sharing(self, share: float) -> Self:
        if share == 1 or not self.resources.needs_gpu:
            return self
        return replace(self, load_model=partial(self.load_model, share=share))


class AskModel(beam.PTransform[beam.PCollection[Clip], beam.PCollection[Clip]]):
    """Clips → the same, after the model of a step was asked about them."""

    def __init__(self, work: Any, shared: bool = False, copies: int = 1) -> None:
        super().__init__()
        self.work, self.shared, self.copies = work, shared, copies

    def expand(self, clips: beam.PCollection[Clip]) -> beam.PCollection[Clip]:

        asked = inference(self.work, self.shared, self.copies)
        return clips | "Ask" >> asked.with_output_types(Clip)
