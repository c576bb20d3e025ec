"""How a step works in a pipeline: what it needs, how it is loaded, and what it does to clips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import apache_beam as beam

from finecut.io.layout import Layout
from finecut.io.records import Clip
from finecut.transforms.models.resources import Resources


class Work(Protocol):
    """The work of one step, as it was planned for one run."""

    @property
    def resources(self) -> Resources: ...

    @property
    def model(self) -> str:
        """What its model is called; nothing if it has none."""
        ...

    @property
    def described(self) -> str:
        """What it does, as the rest of a sentence; nothing where no model is asked."""
        ...

    @property
    def require(self) -> Any:
        """Raises, when called, what loading would complain about, before any work is done."""
        ...

    @property
    def load(self) -> Any: ...

    def run(self, clips: Sequence[Clip], model: Any) -> list[Clip]: ...

    def check_output(self, layout: Layout) -> None:
        """Raises if what lies in the output does not go with what it will make."""
        ...

    def sharing(self, share: float) -> Work:
        """The same, with a model that takes no more than that part of a GPU."""
        ...

    def transform(
        self, shared: bool, copies: int
    ) -> beam.PTransform[beam.PCollection[Clip], beam.PCollection[Clip]]:
        """Clips → the same; its model is loaded once in a process, or so often for all of them."""
        ...
