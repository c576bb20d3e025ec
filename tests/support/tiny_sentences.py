"""A tiny model of sentences with random weights, in a folder as such models are published."""

from __future__ import annotations

import json
from pathlib import Path

#: Words that it knows; others are unknown to it.
WORDS = ("a", "red", "blue", "boat", "dog", "harbour", "runs", "sleeps", "in", "the", "field")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WIDTH = 24


def tiny_sentences(folder: Path, mode: str | None = None, prompt: str = "") -> Path:
    """The model in its folder; without a ``mode`` nothing says how it makes sentences."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    vocabulary = {word: at for at, word in enumerate((*SPECIAL, *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )
    fast.save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=40,
    )
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = transformers.BertModel(config)
        with torch.no_grad():
            # Larger ones than usual, or all sentences would be alike.
            model.embeddings.word_embeddings.weight.normal_(0, 1)
    model.save_pretrained(folder)
    say(folder, "sentence_bert_config.json", {"max_seq_length": 16})
    if prompt:
        say(folder, "config_sentence_transformers.json", {"prompts": {"query": prompt}})
    if mode is not None:
        kinds = ("Transformer", "Pooling", "Normalize")
        modules = [
            {"idx": at, "path": f"{at}_{kind}", "type": f"sentence_transformers.models.{kind}"}
            for at, kind in enumerate(kinds)
        ]
        say(folder, "modules.json", modules)
        say(folder, "1_Pooling/config.json", {"word_embedding_dimension": WIDTH, mode: True})
    return folder


def say(folder: Path, name: str, said: object) -> None:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(said), encoding="utf-8")
