"""Texts about texts, by language models that run here: the question's ``system`` is the
instruction, its ``text`` the caption that is rewritten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from finecut.transforms.caption.asking import Question, Said
from finecut.transforms.models.caption_models import CAPTIONERS, WRITERS, repository_of
from finecut.transforms.models.loading import load_part
from finecut.transforms.models.local_model import (
    LocalModel,
    Prompt,
    find_model,
    require_kind,
)
from finecut.transforms.models.weights.folders import Located, WeightsMissing, needed
from finecut.transforms.models.words import numbers, written

PURPOSE = "write captions"


class TextWriter(LocalModel):
    """Rewrites texts."""

    auto = "AutoModelForCausalLM"
    #: Three captions with their instruction and the answer, with room to spare; a letter counts as
    #: 64 pixels.
    pixels_per_gb = 500_000

    @classmethod
    def find(cls, name: str, model_dir: str | None, allowed: bool) -> tuple[Located, bool]:
        return find_writer(name, model_dir, allowed)

    @classmethod
    def made(cls, found: Located, own: bool) -> Self:
        writer = cls(found)
        writer.tokenizer = load_part("tokenizer", found, own)
        return writer

    def answer(self, questions: Sequence[Question]) -> list[Said]:
        """All in one call."""
        with self._generator.lock:
            prompts = [
                Prompt(question.id, numbers(self.tokenizer, written(self.tokenizer, question)))
                for question in questions
            ]
            return self._generator.write(prompts)


def find_writer(name: str, model_dir: str | None, allowed: bool) -> tuple[Located, bool]:
    """The folder of a writer, and whether its own code is run."""
    if name in CAPTIONERS and name not in WRITERS:
        raise WeightsMissing(
            f"{name} captions clips but cannot enhance captions: it has no text model. Usually it "
            "was given for both steps; give --enhance-captions-algorithm "
            f"{' or '.join(WRITERS)}, which take captions from any model."
        )
    found, own = find_model(repository_of(name, WRITERS), model_dir, allowed, PURPOSE)
    if not own:
        kinds = needed("transformers.models.auto.modeling_auto", PURPOSE)
        require_kind(found, kinds.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, "write texts")
    return found, own
