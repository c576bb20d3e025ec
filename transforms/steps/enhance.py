"""Richer captions: a text model writes each caption again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from finecut.transforms.caption.prompts import DEFAULT, VARIANTS
from finecut.transforms.models.caption_models import WRITERS
from finecut.transforms.needs import Needs
from finecut.transforms.option import CAPTIONS, ENDPOINT, MEASURED, option
from finecut.transforms.step_base import StepOnTexts, Surroundings
from finecut.transforms.steps.caption import CaptionOptions
from finecut.transforms.steps.machines import (
    MOST_TOKENS,
    needs_of_writer,
    wrong_with_endpoint,
    wrong_with_text,
)
from finecut.transforms.steps.model_folder import IN_PROCESS

if TYPE_CHECKING:
    from finecut.transforms.caption.clips import Enhancing

WITHOUT: Final = "--enhance-captions"


@dataclass(frozen=True, kw_only=True)
class EnhanceOptions(CaptionOptions):
    enhance_captions: bool = option(
        False,
        CAPTIONS,
        "Have a text model rewrite each caption with more detail.",
        effective=MEASURED,
        without="--generate-captions",
    )
    enhance_captions_algorithm: str = option(
        "qwen2.5",
        CAPTIONS,
        f"The text model: {', '.join(WRITERS)}, endpoint, or a folder, bucket path or hub id.",
        metavar="MODEL",
        effective=MEASURED,
        without=WITHOUT,
    )
    enhance_captions_endpoint: str | None = option(
        None,
        CAPTIONS,
        "Base URL of an OpenAI-compatible server for this; add #NAME to choose one of its models.",
        metavar="URL",
        shown="none",
        matters=False,
        effective=MEASURED,
        without=WITHOUT,
    )
    enhance_captioning_prompt_variant: str = option(
        "default",
        CAPTIONS,
        "The instruction for the text model, for the same three kinds of footage.",
        choices=VARIANTS,
        effective=MEASURED,
        without=WITHOUT,
    )
    enhance_captions_prompt_text: str | None = option(
        None,
        CAPTIONS,
        "Use this instruction instead.",
        metavar="TEXT",
        shown="the text of the variant",
        effective=MEASURED,
        without=WITHOUT,
    )
    enhance_captions_max_output_tokens: int = option(
        512,
        CAPTIONS,
        "Longest rewritten caption, in tokens.",
        metavar="N",
        above=0,
        most=MOST_TOKENS,
        effective=MEASURED,
        without=WITHOUT,
    )


class Enhance(StepOnTexts[EnhanceOptions]):
    name, order, label = "enhance", 100, "EnhanceCaptions"
    Options = EnhanceOptions
    original = True
    has_model = True
    switch = "enhance_captions"

    @property
    def enabled(self) -> bool:
        return self.options.generate_captions and super().enabled

    @property
    def needs(self) -> Needs:
        o = self.options
        return needs_of_writer(o.enhance_captions_algorithm, o.enhance_captions_endpoint, o)

    def works_by(self, condition: str) -> bool:
        return condition != IN_PROCESS or self.options.enhance_captions_algorithm != ENDPOINT

    def contradictions(self) -> Iterator[str]:
        o = self.options
        yield from wrong_with_endpoint(
            self.enabled,
            "enhance-captions",
            o.enhance_captions_algorithm,
            o.enhance_captions_endpoint,
        )
        variant = o.enhance_captioning_prompt_variant
        if o.enhance_captions_prompt_text is not None and variant != DEFAULT:
            yield (
                "--enhance-captions-prompt-text and --enhance-captioning-prompt-variant contradict "
                "each other: give only one of them"
            )
        yield from wrong_with_text("--enhance-captions-prompt-text", o.enhance_captions_prompt_text)

    def work(self, _given: Surroundings) -> Enhancing:
        from finecut.transforms.caption.choosing import enhancing

        return enhancing(self.options)
