"""Models of sentences: each text gets the vector that the folder means, whoever is beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_sentences import say, tiny_sentences

from finecut.transforms.models.sentences import (
    FIRST,
    LAST,
    MEAN,
    SentenceEncoder,
    pooling_of,
    require_sentences,
)
from finecut.transforms.models.weights.folders import WeightsMissing

transformers = pytest.importorskip("transformers")

TEXTS = ("a red boat", "the dog sleeps in the field", "blue", "a red boat in the harbour")


def states_of(folder: Path, text: str) -> Any:
    """What the encoder says of each word of a text, asked about it alone."""
    import torch

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        return model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].numpy()


@pytest.mark.parametrize("mode", [None, MEAN, FIRST, LAST])
def test_a_sentence_is_made_as_the_folder_says(mode: str | None, tmp_path: Path) -> None:
    folder = tiny_sentences(tmp_path / "model", mode)
    found = SentenceEncoder.load(str(folder)).vectors(TEXTS)
    for text, vector in zip(TEXTS, found, strict=True):
        rows = states_of(folder, text)
        row = {FIRST: rows[0], LAST: rows[-1]}.get(mode or "", rows.mean(axis=0))
        np.testing.assert_allclose(vector, row / np.linalg.norm(row), atol=1e-5)


def test_neighbours_have_no_say(tmp_path: Path) -> None:
    encoder = SentenceEncoder.load(str(tiny_sentences(tmp_path / "model", MEAN)))
    together = encoder.vectors(TEXTS)
    alone = np.concatenate([encoder.vectors([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_what_comes_before_a_question_is_put_there(tmp_path: Path) -> None:
    encoder = SentenceEncoder.load(str(tiny_sentences(tmp_path / "model", MEAN, "the dog ")))
    [expected] = encoder.vectors(["the dog runs"])
    np.testing.assert_array_equal(encoder.question("runs"), expected)


def test_long_texts_are_cut_as_the_folder_says(tmp_path: Path) -> None:
    encoder = SentenceEncoder.load(str(tiny_sentences(tmp_path / "model")))
    [long, longer] = encoder.vectors(["dog " * 30, "dog " * 500])
    np.testing.assert_array_equal(long, longer)


def test_what_is_made_in_an_unknown_way_is_refused(tmp_path: Path) -> None:
    folder = tiny_sentences(tmp_path / "model", MEAN)
    assert require_sentences(str(folder)).name == str(folder)
    say(folder, "1_Pooling/config.json", {"pooling_mode_max_tokens": True})
    with pytest.raises(WeightsMissing, match="pooling_mode_max_tokens"):
        pooling_of(folder)
    (folder / "1_Pooling/config.json").unlink()
    with pytest.raises(WeightsMissing, match="download the whole folder"):
        require_sentences(str(folder))
    say(folder, "modules.json", [{"type": "sentence_transformers.models.Dense"}])
    with pytest.raises(WeightsMissing, match="ends with Dense"):
        SentenceEncoder.load(str(folder))


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing):
        require_sentences(str(tmp_path))
