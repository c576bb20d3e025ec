"""Tiny captioners and writers: checkpoints of the real classes, with random weights.

Each function saves a folder that looks like the published one (configuration, tokenizer, chat
template, preprocessor, weights of less than 2 MB), so that everything but the knowledge in the
weights is the real thing: loading, prompts, patches, positions, generating and ending. The
tokenizer is a byte-level BPE trained on the spot.

What they say is made of words and no sense, is the same every time, and depends on the pictures::

    folder = tiny_qwen25_vl(tmp_path / "captioner")
    Captioner.load(str(folder), max_tokens=20, device="cpu").answer([question])

Most texts end after some words by themselves, as those of the real ones do. ``eager=0`` makes a
model that never ends one, and a large number one that ends before its first word.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

END, PAD = "<|im_end|>", "<|endoftext|>"
SPECIAL = (
    PAD,
    "<|im_start|>",
    END,
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)

#: What the tokenizer learns its words from.
WORDS = (
    "A slow camera moves past an old house near the water. Two people walk along the shore and "
    "talk. The light is warm, the sky is grey and the wind moves the trees. In the distance a "
    "white boat turns. Describe the video in detail: what happens, who is there, what can be "
    "seen first and what comes last? You are a helpful assistant."
)

#: The form of the prompts of Qwen2.5-VL and of Qwen3-VL, which has no system message of its own.
SEEING = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' and default %}"
    "<|im_start|>system\n{{ default }}<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
#: The form of Qwen3's prompts: an empty thought says that there is to be none.
WRITING = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}"
    "<think>\n\n</think>\n\n{% endif %}{% endif %}"
)

_TEXT: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    # Larger weights than usual to begin with, or all pictures would be described alike.
    "initializer_range": 0.2,
}
_EYES: dict[str, Any] = {"depth": 2, "num_heads": 2, "hidden_size": 32, "out_hidden_size": 64}
_EYES |= {"intermediate_size": 48, "initializer_range": 0.2}


def tiny_qwen25_vl(folder: Path, seed: int = 0, eager: float = 2.0) -> Path:
    """A Qwen2.5-VL."""
    import transformers

    tokens = _save_tokenizer(folder, SEEING.replace("default", "'You are a helpful assistant.'"))
    config = transformers.Qwen2_5_VLConfig(
        text_config={
            **_TEXT,
            **_turns(tokens),
            "vocab_size": tokens["size"],
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [2, 3, 3],
            },
        },
        vision_config={
            **_EYES,
            "patch_size": 14,
            "window_size": 56,
            "fullatt_block_indexes": [1],
            "tokens_per_second": 2,
        },
        **_places(tokens),
    )
    _save_model(folder, transformers.Qwen2_5_VLForConditionalGeneration, config, seed, eager)
    _write(
        folder / "preprocessor_config.json",
        {
            "min_pixels": 3136,
            "max_pixels": 12845056,
            "patch_size": 14,
            "temporal_patch_size": 2,
            "merge_size": 2,
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711],
            "image_processor_type": "Qwen2VLImageProcessor",
            "processor_class": "Qwen2_5_VLProcessor",
        },
    )
    return folder


def tiny_qwen3_vl(folder: Path, seed: int = 0, eager: float = 2.0) -> Path:
    """A Qwen3-VL."""
    import transformers

    tokens = _save_tokenizer(folder, SEEING.replace("default", "false"))
    config = transformers.Qwen3VLConfig(
        text_config={
            **_TEXT,
            **_turns(tokens),
            "head_dim": 16,
            "vocab_size": tokens["size"],
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [4, 2, 2],
                "mrope_interleaved": True,
            },
        },
        vision_config={
            **_EYES,
            "patch_size": 16,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0],
        },
        **_places(tokens),
    )
    _save_model(folder, transformers.Qwen3VLForConditionalGeneration, config, seed, eager)
    shared = {
        "patch_size": 16,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "processor_class": "Qwen3VLProcessor",
    }
    _write(
        folder / "preprocessor_config.json",
        {**shared, "size": {"longest_edge": 16777216, "shortest_edge": 65536}},
    )
    _write(
        folder / "video_preprocessor_config.json",
        {**shared, "size": {"longest_edge": 25165824, "shortest_edge": 4096}},
    )
    return folder


def tiny_qwen2_vl(folder: Path, seed: int = 0, eager: float = 2.0) -> Path:
    """A Qwen2-VL, the oldest of the family, which is told no times."""
    import transformers

    tiny_qwen25_vl(folder)
    tokens = _tokens(folder)
    config = transformers.Qwen2VLConfig(
        text_config={
            **_TEXT,
            **_turns(tokens),
            "vocab_size": tokens["size"],
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [2, 3, 3],
            },
        },
        vision_config={
            "depth": 2,
            "embed_dim": 32,
            "num_heads": 2,
            "hidden_size": 64,
            "mlp_ratio": 2,
            "patch_size": 14,
        },
        **_places(tokens),
    )
    _save_model(folder, transformers.Qwen2VLForConditionalGeneration, config, seed, eager)
    return folder


def tiny_qwen3_vl_moe(folder: Path, seed: int = 0, eager: float = 2.0) -> Path:
    """A Qwen3-VL of several experts."""
    import transformers

    tiny_qwen3_vl(folder)
    tokens = _tokens(folder)
    held: Any = transformers.Qwen3VLConfig.from_pretrained(folder)
    config = transformers.Qwen3VLMoeConfig(
        text_config={
            **_TEXT,
            **_turns(tokens),
            "head_dim": 16,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 32,
            "vocab_size": tokens["size"],
            "rope_parameters": held.text_config.rope_parameters,
        },
        vision_config={
            **_EYES,
            "patch_size": 16,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0],
        },
        **_places(tokens),
    )
    _save_model(folder, transformers.Qwen3VLMoeForConditionalGeneration, config, seed, eager)
    return folder


def tiny_llm(folder: Path, seed: int = 0, eager: float = 1.6) -> Path:
    """A Qwen3 that sees nothing."""
    import transformers

    tokens = _save_tokenizer(folder, WRITING)
    config = transformers.Qwen3Config(
        **_TEXT,
        head_dim=16,
        vocab_size=tokens["size"],
        **_turns(tokens),
        tie_word_embeddings=False,
    )
    _save_model(folder, transformers.Qwen3ForCausalLM, config, seed, eager)
    return folder


def _turns(tokens: dict[str, int]) -> dict[str, Any]:
    names = {"eos_token_id": END, "bos_token_id": PAD, "pad_token_id": PAD}
    return {name: tokens[token] for name, token in names.items()}


def _places(tokens: dict[str, int]) -> dict[str, Any]:
    return {
        "image_token_id": tokens["<|image_pad|>"],
        "video_token_id": tokens["<|video_pad|>"],
        "vision_start_token_id": tokens["<|vision_start|>"],
        "vision_end_token_id": tokens["<|vision_end|>"],
        "tie_word_embeddings": False,
    }


def _save_tokenizer(folder: Path, template: str) -> dict[str, Any]:
    """The tokenizer in its folder; the numbers of the special tokens, and how many there are."""
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([WORDS], trainer)
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=list(SPECIAL),
        clean_up_tokenization_spaces=False,
        chat_template=template,
    )
    folder.mkdir(parents=True, exist_ok=True)
    fast.save_pretrained(folder)
    return _tokens(folder)


def _tokens(folder: Path) -> dict[str, Any]:
    import transformers

    fast = transformers.AutoTokenizer.from_pretrained(folder)
    return {"size": len(fast), **{token: fast.convert_tokens_to_ids(token) for token in SPECIAL}}


def _save_model(folder: Path, kind: Any, config: Any, seed: int, eager: float) -> None:
    """Random weights that say words only."""
    import torch
    import transformers

    fast = transformers.AutoTokenizer.from_pretrained(folder)
    words = fast.get_vocab()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = kind(config)
        dumb = [at for word, at in words.items() if not _sayable(word) and word != END]
        with torch.no_grad():
            # Of all the others one is always above nought.
            model.lm_head.weight[dumb] = 0
            model.lm_head.weight[words[END]] *= eager
    # As in the published ones; greedy decoding is for us to ask for.
    model.generation_config = transformers.GenerationConfig(
        eos_token_id=[words[END], words[PAD]],
        pad_token_id=words[PAD],
        do_sample=True,
        temperature=0.7,
        top_k=20,
        top_p=0.8,
    )
    bars = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(folder)
    if bars:
        transformers.utils.logging.enable_progress_bar()


def _sayable(word: str) -> bool:
    """Whether a token is a word behind a space, which byte-level tokens write as Ġ."""
    return word[0] == "Ġ" and word[1:].isascii() and word[1:].isalpha() and len(word) > 3


def _write(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2), encoding="utf-8")
