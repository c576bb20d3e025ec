"""Beam's ``RunInference`` around a model step.

Beam loads the model once a process, or once for all processes of a machine that has one GPU for
them (``shared``; the model then sits in the process that wanted it first, the others call it by
proxy, and there may be several copies of it, which are asked in turn). What breaks down over a clip
is written into that clip by the step itself: Beam's own way to handle errors would lose the batch.

Imported only where a model is wanted: Beam's part for models imports torch, where it is installed.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from apache_beam.ml.inference.base import ModelHandler, RunInference

from finecut.io.records import Clip
from finecut.transforms.models.loading import work_alone


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


def inference(step: ModelStep, shared: bool, copies: int) -> RunInference[Clip, Clip]:
    """Clips → the same, looked at; Beam loads the model, and counts."""
    return RunInference(StepHandler(step, shared, copies))


class _Loaded:
    """Beam holds models by weak references, which plain functions and tuples do not take."""

    def __init__(self, model: Any) -> None:
        self.model = model


class StepHandler(ModelHandler[Clip, Clip, Any]):
    def __init__(self, step: ModelStep, shared: bool, copies: int) -> None:
        super().__init__(large_model=shared, model_copies=copies if shared else None)
        self.step, self.shared = step, shared

    def load_model(self) -> Any:
        model = self.step.load()
        work_alone()
        # A proxy passes on the methods of the model itself, and can be weakly referred to.
        return model if self.shared else _Loaded(model)

    def run_inference(
        self,
        batch: Sequence[Clip],
        model: Any,
        inference_args: dict[str, Any] | None = None,
    ) -> Iterable[Clip]:
        return self.step.run(batch, model.model if isinstance(model, _Loaded) else model)

    def get_num_bytes(self, batch: Sequence[Clip]) -> int:
        return self.step.num_bytes(batch)

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        return {"min_batch_size": 1, "max_batch_size": self.step.together}

    def get_metrics_namespace(self) -> str:
        return f"finecut_{self.step.name}"
