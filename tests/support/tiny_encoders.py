"""Tiny encoders of every kind that finecut knows, with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from finecut.transforms.models.embedders.kinds import KINDS
from finecut.transforms.models.loading import quiet

SIZE, PATCH = 32, 8
#: Of every tower here; large weights, or all pictures would have nearly the same vector.
TOWER: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
WORDS = {**TOWER, "vocab_size": 20, "max_position_embeddings": 8}
SEES = {**TOWER, "image_size": SIZE, "patch_size": PATCH}
CLIP_LIKE = {"projection_dim": 12, "text_config": WORDS, "vision_config": SEES}
SHORTEST = {"size": {"shortest_edge": SIZE}, "crop_size": {"height": SIZE, "width": SIZE}}
SQUARE = {"size": {"height": SIZE, "width": SIZE}}

#: ``model_type`` → configuration, settings of the frames, frames, length of the vectors.
MODELS: dict[str, tuple[dict[str, Any], dict[str, Any], int, int]] = {
    "clip": (CLIP_LIKE, SHORTEST, 8, 12),
    "clip_vision_model": ({**SEES, "projection_dim": 12}, {"size": SIZE, "crop_size": SIZE}, 8, 12),
    "metaclip_2": (CLIP_LIKE, SHORTEST, 8, 12),
    "siglip": ({"text_config": WORDS, "vision_config": SEES}, SQUARE, 8, 16),
    "siglip_vision_model": (SEES, {"size": SIZE}, 8, 16),
    "siglip2": (
        {"text_config": WORDS, "vision_config": {**TOWER, "patch_size": PATCH, "num_patches": 16}},
        {"patch_size": PATCH, "max_num_patches": 16},
        8,
        16,
    ),
    "dinov2": (SEES, SHORTEST, 8, 16),
    "dinov2_with_registers": (SEES, SHORTEST, 8, 16),
    "dinov3_vit": (SEES, SQUARE, 8, 16),
    "xclip": (
        {
            "projection_dim": 12,
            "text_config": WORDS,
            "vision_config": {
                **SEES,
                "num_frames": 4,
                "mit_hidden_size": 12,
                "mit_intermediate_size": 24,
                "mit_num_hidden_layers": 1,
                "mit_num_attention_heads": 2,
            },
        },
        SHORTEST,
        4,
        12,
    ),
    "videomae": ({**SEES, "num_frames": 4}, SHORTEST, 4, 16),
    "vjepa2": (
        {
            **{key: value for key, value in TOWER.items() if key != "intermediate_size"},
            "crop_size": SIZE,
            "patch_size": PATCH,
            "frames_per_clip": 6,
            "pred_hidden_size": 12,
            "pred_num_attention_heads": 2,
            "pred_num_hidden_layers": 1,
            "num_pooler_layers": 1,
        },
        {"crop_size": SIZE, "size": {"shortest_edge": 50}},
        6,
        16,
    ),
}


def saved(folder: Path, kind: str) -> Path:
    """A model of this kind with random weights, saved by its own class."""
    import torch
    import transformers

    settings, looks, _, _ = MODELS[kind]
    torch.manual_seed(len(kind))
    with quiet():
        config = transformers.AutoConfig.for_model(kind, **settings)
        model = getattr(transformers, KINDS[kind].model)(config)
    with torch.no_grad():
        for tensor in model.parameters():
            if tensor.ndim > 1 and tensor.numel():
                tensor.normal_(0, 2 / tensor[0].numel() ** 0.5)
    with quiet():
        model.save_pretrained(folder)
    file = "video_preprocessor_config.json" if kind == "vjepa2" else "preprocessor_config.json"
    (folder / file).write_text(json.dumps(looks))
    return folder
