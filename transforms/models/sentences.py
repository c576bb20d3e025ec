"""Sentences as vectors: texts that mean the same lie near each other, whatever their words are.

A model is a folder as `sentence-transformers` publishes them, without that library: transformers
loads the encoder, and the folder's small files say the rest.

    config.json, model.safetensors, tokenizer.json        the encoder
    modules.json                                          what follows it
    1_Pooling/config.json                                 which of its rows are the sentence
    sentence_bert_config.json                             how long a text may be
    config_sentence_transformers.json                     what to put before a question

A folder with the first three only is taken as it is usual: the mean of all words.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from finecut.io.records import ModelUsed
from finecut.transforms.models.loading import Tensor, load_model, load_part
from finecut.transforms.models.weights.folders import (
    Located,
    WeightsMissing,
    locate,
    needed,
    read_json,
    remote_code,
)

PURPOSE = "search by meaning"
#: Words of a text that are looked at, where the folder does not say.
MOST_WORDS: Final = 512
#: What may follow the encoder; the last one changes no cosine.
MODULES: Final = ("Transformer", "Pooling", "Normalize")
POOLING: Final = "1_Pooling/config.json"
MEAN, FIRST, LAST = "pooling_mode_mean_tokens", "pooling_mode_cls_token", "pooling_mode_lasttoken"

Vectors = NDArray[np.float32]


class SentenceEncoder:
    """A model that turns texts into vectors of length 1."""

    def __init__(self, found: Located, model: Any, tokenizer: Any) -> None:
        self.used = ModelUsed(found.name, found.revision)
        self._model, self._tokenizer = model, tokenizer
        self._pooling = pooling_of(found.path)
        self._most = _most_words(found.path, tokenizer)
        self._question = _before_questions(found.path)

    @classmethod
    def load(cls, name: str, device: str = "auto") -> Self:
        """The model from a folder, on this machine or in a store, or of the hub."""
        needed("torch", PURPOSE)
        transformers = needed("transformers", PURPOSE)
        found = locate(name)
        remote_code(found, allowed=False)
        pooling_of(found.path)
        tokenizer = load_part("tokenizer", found, own=False)
        model = load_model(transformers.AutoModel, found, device)
        return cls(found, model, tokenizer)

    def question(self, text: str) -> Vectors:
        """The vector of what is searched for."""
        return np.asarray(self.vectors([self._question + text])[0])

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """A vector for each text; what else is asked has no say in it."""
        import torch

        given = self._tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=self._most,
            return_tensors="pt",
        ).to(self._model.device)
        with torch.inference_mode():
            states = self._model(**given).last_hidden_state
        rows = self._pooled(states, given["attention_mask"])
        rows = torch.nn.functional.normalize(rows.float(), dim=-1)
        return np.asarray(rows.cpu().numpy(), np.float32)

    def _pooled(self, states: Tensor, mask: Tensor) -> Tensor:
        """One row for each text."""
        import torch

        rows = torch.arange(len(states), device=states.device)
        if self._pooling == FIRST:
            return states[rows, mask.argmax(dim=1)]
        if self._pooling == LAST:
            places = torch.arange(mask.shape[1], device=mask.device)
            return states[rows, (mask * places).argmax(dim=1)]
        weights = mask.unsqueeze(-1).float()
        return (states.float() * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


def require_sentences(name: str) -> ModelUsed:
    """Raise what :meth:`SentenceEncoder.load` would for lack of something, without loading it."""
    needed("torch", PURPOSE)
    needed("transformers", PURPOSE)
    found = locate(name)
    remote_code(found, allowed=False)
    pooling_of(found.path)
    return ModelUsed(found.name, found.revision)


def pooling_of(folder: Path) -> str:
    """Which rows of the encoder make the sentence, or :class:`WeightsMissing` where this is made in
    a way that is not known here.
    """
    modules = [each for each in _said(folder / "modules.json", list) if isinstance(each, Mapping)]
    kinds = [str(each.get("type")).rpartition(".")[2] for each in modules]
    if others := [kind for kind in kinds if kind not in MODULES]:
        raise WeightsMissing(
            f"the model in {folder} ends with {', '.join(others)}, and finecut knows only "
            f"{', '.join(MODULES)}: give another model of sentences, such as "
            "sentence-transformers/all-MiniLM-L6-v2"
        )
    said = _said(folder / POOLING, dict)
    if "Pooling" in kinds and not said:
        raise WeightsMissing(
            f"{folder / POOLING} is missing, which says how the model makes a sentence of its "
            "words. Usually only files of the uppermost folder were downloaded or copied: download "
            "the whole folder again"
        )
    modes = [mode for mode, on in said.items() if mode.startswith("pooling_mode_") and on is True]
    if modes and (len(modes) > 1 or modes[0] not in (MEAN, FIRST, LAST)):
        raise WeightsMissing(
            f"the model in {folder} makes a sentence of its words by {', '.join(modes)}, and "
            f"finecut knows only one of {MEAN}, {FIRST} and {LAST}: give another model of sentences"
        )
    return modes[0] if modes else MEAN


def _said(path: Path, kind: type) -> Any:
    """What a small file says that need not be there."""
    said = read_json(path) if path.is_file() else kind()
    return said if isinstance(said, kind) else kind()


def _most_words(folder: Path, tokenizer: Any) -> int:
    said = _said(folder / "sentence_bert_config.json", dict).get("max_seq_length")
    known = [said, getattr(tokenizer, "model_max_length", None), MOST_WORDS]
    return min(each for each in known if isinstance(each, int) and each > 0)


def _before_questions(folder: Path) -> str:
    prompts = _said(folder / "config_sentence_transformers.json", dict).get("prompts")
    said = prompts.get("query") if isinstance(prompts, Mapping) else None
    return said if isinstance(said, str) else ""
