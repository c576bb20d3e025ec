"""Beam's ``RunInference`` around a scorer. Importing this imports torch, if there is one."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from apache_beam.ml.inference.base import ModelHandler, RunInference

from finecut.io.film.sheet import SheetForm
from finecut.io.records import Clip
from finecut.transforms.models.threads import work_alone
from finecut.transforms.scoring import Scorer, Scoring, scored_or_not

#: Clips handed to a model at once: enough to share the cost of a call, few enough to hold.
MOST_CLIPS: Final = 8


def inference(scoring: Scoring) -> RunInference[Clip, Clip]:
    """Clips → the same, scored; Beam loads the model once a process, and counts."""
    return RunInference(_Handler(scoring))


class _Loaded:
    """Beam holds models by weak references, which plain functions and tuples do not take."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer


class _Handler(ModelHandler[Clip, Clip, _Loaded]):
    def __init__(self, scoring: Scoring) -> None:
        super().__init__()
        self.scoring = scoring

    def load_model(self) -> _Loaded:
        loaded = _Loaded(self.scoring.load())
        work_alone()
        return loaded

    def run_inference(
        self,
        batch: Sequence[Clip],
        model: _Loaded,
        inference_args: dict[str, Any] | None = None,
    ) -> Iterable[Clip]:
        return [scored_or_not(clip, model.scorer, self.scoring) for clip in batch]

    def get_num_bytes(self, batch: Sequence[Clip]) -> int:
        form = SheetForm((), side=self.scoring.side)
        return sum(
            3 * width * height * int(clip.shot.span.length * self.scoring.rate + 1)
            for clip in batch
            for width, height in [form.size(clip.video.width, clip.video.height)]
        )

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        return {"min_batch_size": 1, "max_batch_size": MOST_CLIPS}

    def get_metrics_namespace(self) -> str:
        return f"finecut_{self.scoring.name}"
