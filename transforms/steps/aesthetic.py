"""How pleasing a clip looks."""

from collections.abc import Iterable
from dataclasses import dataclass

from finecut.transforms.filter.comparing import Rule
from finecut.transforms.models.resources import USUAL
from finecut.transforms.needs import Needs
from finecut.transforms.option import (
    DISABLE,
    ENABLE,
    MEASURED,
    MODELS,
    filter_option,
    option,
    rate_option,
    threshold_option,
)
from finecut.transforms.step_base import Looker, Score, StepOnFrames
from finecut.transforms.steps.shared import ModelFolder

#: What is rejected below this by ``--aesthetic-filter enable`` when no threshold is given.
USUAL_THRESHOLD = 3.5


@dataclass(frozen=True, kw_only=True)
class AestheticOptions(ModelFolder):
    aesthetic_filter: str = filter_option(
        MODELS,
        "Score the aesthetics of clips (about 1 to 10) with CLIP and a linear head; enable: "
        "reject clips below the threshold.",
    )
    aesthetic_threshold: float | None = threshold_option(
        None,
        MODELS,
        "Lowest aesthetic score of a kept clip; giving it enables the filter.",
        shown="3.5 if enabled",
        least=-1000,
    )
    aesthetic_reduction: str = option(
        "min",
        MODELS,
        "How to combine the scores of the frames into the score of the clip.",
        choices=("min", "mean"),
        effective=MEASURED,
    )
    aesthetic_target_fps: float = rate_option(1.0, MODELS, "Frames per second that are scored.")
    aesthetic_clip: str = option(
        "openai/clip-vit-large-patch14",
        MODELS,
        "The CLIP model: a folder, a bucket path, or an id of the Hugging Face hub.",
        metavar="MODEL",
        effective=MEASURED,
    )
    aesthetic_head: str = option(
        "ttj/sac-logos-ava1-l14-linearMSE",
        MODELS,
        "The aesthetic head on top of CLIP: likewise a folder, a bucket path, or a hub id.",
        metavar="MODEL",
        effective=MEASURED,
    )


class Aesthetic(StepOnFrames[AestheticOptions]):
    """Told by CLIP and a small head that was fitted to people's ratings."""

    name, order = "aesthetic", 60
    usual_seconds = 0.1
    Options = AestheticOptions
    scores = (
        Score(
            "aesthetic_score",
            short="aesthetic",
            title="aesthetic score",
            better="more",
            document="aesthetic_score",
        ),
    )
    side = 256

    @property
    def mode(self) -> str:
        o = self.options
        given = o.aesthetic_threshold is not None
        return ENABLE if given and o.aesthetic_filter == DISABLE else o.aesthetic_filter

    @property
    def needs(self) -> Needs:
        return Needs(
            resources=USUAL["aesthetic"],
            models=(self.options.aesthetic_clip, self.options.aesthetic_head),
            packages=("torch", "transformers"),
            extra="models",
        )

    @property
    def rate(self) -> float:
        return self.options.aesthetic_target_fps

    def rules(self) -> Iterable[Rule]:
        least = self.options.aesthetic_threshold
        yield self.rule("aesthetic_score", ">=", USUAL_THRESHOLD if least is None else least)

    def require(self) -> None:
        from finecut.transforms.models.scorers import require_aesthetics

        o = self.options
        require_aesthetics(o.aesthetic_clip, o.aesthetic_head, o.model_dir)

    def load(self) -> Looker:
        from finecut.transforms.models.scorers import AestheticScorer

        o = self.options
        return AestheticScorer.load(
            o.aesthetic_clip, o.aesthetic_head, o.model_dir, o.aesthetic_reduction
        )
