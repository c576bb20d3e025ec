"""Captions: a model describes what happens in each window of each kept clip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from finecut.transforms.caption.prompts import DEFAULT, VARIANTS
from finecut.transforms.models.caption_models import CAPTIONERS
from finecut.transforms.needs import Needs
from finecut.transforms.option import (
    CAPTIONS,
    ENDPOINT,
    MEASURED,
    MOST_HEIGHT,
    MOST_RATE,
    option,
)
from finecut.transforms.step_base import Seen, StepOnClips, Surroundings
from finecut.transforms.steps.machines import (
    MOST_TOKENS,
    WriterMachine,
    needs_of_writer,
    wrong_with_endpoint,
    wrong_with_text,
)
from finecut.transforms.steps.model_folder import IN_PROCESS

if TYPE_CHECKING:
    from finecut.transforms.caption.clips import Captioning

#: While clips are captioned twice.
TWICE: Final = "twice"


@dataclass(frozen=True, kw_only=True)
class CaptionOptions(WriterMachine):
    generate_captions: bool = option(
        False, CAPTIONS, "Have a model describe each window of each kept clip."
    )
    captioning_algorithm: str = option(
        "qwen2.5",
        CAPTIONS,
        f"The captioner: {', '.join(CAPTIONERS)}, endpoint, or a folder, bucket path or hub id.",
        metavar="MODEL",
        effective=MEASURED,
    )
    captioning_endpoint: str | None = option(
        None,
        CAPTIONS,
        "Base URL of an OpenAI-compatible server that describes pictures; add #NAME to choose "
        "one of its models.",
        metavar="URL",
        shown="none",
        matters=False,
        effective=MEASURED,
    )
    captioning_prompt_variant: str = option(
        "default",
        CAPTIONS,
        "The kind of prompt: for any footage, for a drive (av), or for a street camera "
        "(av-surveillance).",
        choices=VARIANTS,
        effective=MEASURED,
    )
    captioning_prompt_text: str | None = option(
        None,
        CAPTIONS,
        "Use this prompt instead.",
        metavar="TEXT",
        shown="the text of the variant",
        effective=MEASURED,
    )
    captioning_sampling_fps: float = option(
        2.0,
        CAPTIONS,
        "How many frames per second of each window the captioner gets (at least 4 frames, at "
        "most 768).",
        metavar="N",
        above=0,
        most=MOST_RATE,
        effective=MEASURED,
    )
    captioning_side: int = option(
        480,
        CAPTIONS,
        "The shorter side of these frames in pixels; smaller videos are not enlarged.",
        metavar="PIXELS",
        least=28,
        most=MOST_HEIGHT,
        effective=MEASURED,
    )
    captioning_max_output_tokens: int = option(
        512,
        CAPTIONS,
        "Longest caption, in tokens; a longer one is cut off and marked as truncated.",
        metavar="N",
        above=0,
        most=MOST_TOKENS,
        effective=MEASURED,
    )
    captioning_stage2_caption: bool = option(
        False,
        CAPTIONS,
        "Ask the model a second time, to correct and complete its first caption.",
        effective=MEASURED,
    )
    captioning_stage2_prompt_text: str | None = option(
        None,
        CAPTIONS,
        "The text before the first caption in this second question.",
        metavar="TEXT",
        shown="built-in text",
        effective=TWICE,
        without="--captioning-stage2-caption",
    )


class Caption(StepOnClips[CaptionOptions]):
    name, order, label, place = "caption", 90, "CaptionClips", "captioned"
    Options = CaptionOptions
    original = True
    gives, of_windows = "caption", True
    has_model = True
    switch = "generate_captions"

    @property
    def needs(self) -> Needs:
        o = self.options
        return needs_of_writer(o.captioning_algorithm, o.captioning_endpoint, o)

    def works_by(self, condition: str) -> bool:
        o = self.options
        return {
            IN_PROCESS: o.captioning_algorithm != ENDPOINT,
            TWICE: o.captioning_stage2_caption,
        }.get(condition, True)

    def contradictions(self) -> Iterator[str]:
        o = self.options
        yield from wrong_with_endpoint(
            self.enabled, "captioning", o.captioning_algorithm, o.captioning_endpoint
        )
        if o.captioning_prompt_text is not None and o.captioning_prompt_variant != DEFAULT:
            yield (
                "--captioning-prompt-text and --captioning-prompt-variant contradict each other: "
                "give only one of them"
            )
        yield from wrong_with_text("--captioning-prompt-text", o.captioning_prompt_text)
        yield from wrong_with_text(
            "--captioning-stage2-prompt-text", o.captioning_stage2_prompt_text
        )

    def seen(self, ask: bool = True) -> Seen:
        o = self.options
        return Seen(windows=o.captioning_sampling_fps, side=o.captioning_side)

    def work(self, given: Surroundings) -> Captioning:
        from finecut.transforms.caption.choosing import captioning

        return captioning(self.options, given)
