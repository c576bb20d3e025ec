"""Beam's ``RunInference`` around a model step.

Beam loads the model once a process, or once for all processes of a machine that has one GPU for
them (``shared``; the model then sits in the process that wanted it first, the others call it by
proxy, and there may be several copies of it, which are asked in turn). What breaks down over a clip
is written into that clip by the step itself: Beam's own way to handle errors would lose the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from finecut.io.records import Clip

if TYPE_CHECKING:
    from apache_beam.ml.inference.base import RunInference


class ModelStep(Protocol):
    """Clips → the same clips, after a model looked at them."""

    @property
    def name(self) -> str: ...

    @property
    def together(self) -> int:
        """Clips that are handed to the model at once."""
        ...

    @property
    def load(self) -> Any: ...

    def run(self, clips: Sequence[Clip], model: Any) -> list[Clip]: ...

    def num_bytes(self, clips: Sequence[Clip]) -> int: ...


def inference(step: ModelStep, shared: bool = False, copies: int = 1) -> RunInference[Clip, Clip]:
    """Clips → the same, looked at; Beam loads the model, and counts."""
    # Only where a model is wanted: Beam's part for models imports torch, where it is installed.
    from apache_beam.ml.inference.base import RunInference

    from finecut.transforms.beam.model_handler import StepHandler

    return RunInference(StepHandler(step, shared, copies))
