"""How a step works in a pipeline: what it needs, how it is loaded, and what it does to clips.

Imported only where a step works: Beam's part for models imports torch, where it is installed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import apache_beam as beam
from apache_beam.ml.inference.base import ModelHandler, RunInference

from finecut.io.layout import Layout
from finecut.io.records import Clip, Failure, ModelUsed
from finecut.io.storage.publishing import Shelf
from finecut.transforms.beam.guard import guarded
from finecut.transforms.beam.metrics import count, metered
from finecut.transforms.beam.weather import FAIR, Weather
from finecut.transforms.caption.asking import Asked
from finecut.transforms.measure.looking import Looking, sheet_of
from finecut.transforms.models.loading import work_alone
from finecut.transforms.models.resources import Resources
from finecut.transforms.needs import NO_RESOURCES
from finecut.transforms.step_base import StepOnClips


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

    def under(self, weather: Weather) -> Self:
        """The same, which knows what to do about a GPU that is dead."""
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
    #: What is done about a GPU that is dead.
    weather: Weather = FAIR

    def load(self) -> Asked:
        return Asked(self.load_model(), self.weather)

    def under(self, weather: Weather) -> Self:
        return replace(self, weather=weather)

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
        asked = RunInference(StepHandler(self.work, self.shared, self.copies))
        return clips | "Ask" >> asked.with_output_types(Clip)


class _Loaded:
    """Beam holds models by weak references, which plain functions and tuples do not take."""

    def __init__(self, model: Any) -> None:
        self.model = model


class StepHandler(ModelHandler[Clip, Clip, Any]):
    """What Beam's ``RunInference`` loads and runs.

    Beam loads the model once a process, or once for all processes of a machine that has one GPU for
    them (``shared``; the model then sits in the process that wanted it first, the others call it by
    proxy, and there may be several copies of it, which are asked in turn). What breaks down over a
    clip is written into that clip by the step itself: Beam's own way to handle errors would lose
    the batch.
    """

    def __init__(self, step: Any, shared: bool, copies: int) -> None:
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


@dataclass(frozen=True)
class Making(Work):
    """A step that is shown the contact sheet of each kept clip, and makes files of it.

        contact sheet ──▶ step.make ──▶ files ──▶ staged, and known to the clip by their final paths

    What breaks in it costs the files of one clip, which says so among its errors.
    """

    step: StepOnClips[Any]
    shelf: Shelf
    looking: Looking

    #: It loads nothing, so there is nothing to say of a model.
    resources = NO_RESOURCES
    model = described = ""

    def require(self) -> None:
        """Nothing is missing."""

    def load(self) -> None:
        """Nothing is loaded."""

    def run(self, clips: Sequence[Clip], _model: None) -> list[Clip]:
        return [made_or_not(clip, self) for clip in clips]

    def transform(self, _shared: bool = False, _copies: int = 1) -> beam.PTransform[Any, Any]:
        return beam.Map(made_or_not, self).with_output_types(Clip)


def made(clip: Clip, making: Making) -> Clip:
    """The clip, with the staged files that the step makes of it."""
    step = making.step
    if step.of_windows and not clip.windows:
        return clip
    sheet = sheet_of(clip, making.looking)
    with making.shelf.bench() as folder:
        staged = {
            each.below: making.shelf.stage(each.file) for each in step.make(clip, sheet, folder)
        }
    return clip.replace(artefacts={**clip.artefacts, **staged})


def made_or_not(clip: Clip, making: Making) -> Clip:
    """The same for a kept clip; if that breaks, the clip stays and says what is missing."""
    if not clip.kept or clip.file is None:
        return clip
    step = making.step
    make = partial(made, making=making)
    source, weather = clip.video.source, making.looking.weather
    work = partial(metered, step.name, map(make, [clip]))
    [outcome] = guarded(step.name, source, work, weather=weather)
    if isinstance(outcome, Failure):
        return clip.replace(errors={**clip.errors, step.marks(): outcome.message})
    count(f"{step.gives}s made", len(outcome.artefacts) - len(clip.artefacts))
    return outcome
