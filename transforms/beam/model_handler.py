"""How Beam loads and calls a model step (see :mod:`finecut.transforms.beam.inference`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from apache_beam.ml.inference.base import ModelHandler

from finecut.io.records import Clip
from finecut.transforms.beam.inference import ModelStep
from finecut.transforms.models.loading import work_alone


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
