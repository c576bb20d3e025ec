"""The kinds of encoders that are known, and how models of each are asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from finecut.transforms.models.picture_settings import (
    CLIP_MEAN,
    CLIP_STD,
    HALF,
    NET_MEAN,
    NET_STD,
)
from finecut.transforms.models.weights.folders import WeightsMissing

PURPOSE = "turn clips into vectors"

#: Pillow's numbers for its filters, which are also those of the settings.
BILINEAR, BICUBIC = 2, 3


@dataclass(frozen=True)
class Kind:
    """What models of one ``model_type`` have in common."""

    #: The ``model_type``, and the class in ``transformers``.
    name: str
    model: str
    #: Where the configuration says how long vectors are.
    width: tuple[str, ...]
    #: The method that is asked; the model itself is called without one.
    method: str = ""
    #: Where the configuration says how many frames are wanted; nowhere for picture models.
    frames: tuple[str, ...] = ()
    pixels: str = "pixel_values"
    #: What the kind's own processor does where its settings say nothing.
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD
    resample: int = BICUBIC
    crops: bool = True
    #: One number as size is the shorter side, and not both.
    shorter: bool = True
    #: Cuts frames into patches, keeping their shape, instead of bringing them to one size.
    patches: bool = False
    #: Frames are this much larger than what is cut out of them, whatever the settings say.
    margin: float | None = None


_CLIP = Kind("clip", "CLIPModel", ("projection_dim",), "get_image_features")
_SIGLIP = Kind(
    "siglip",
    "SiglipModel",
    ("vision_config", "hidden_size"),
    "get_image_features",
    mean=HALF,
    std=HALF,
    crops=False,
    shorter=False,
)
_DINO = Kind("dinov2", "Dinov2Model", ("hidden_size",), mean=NET_MEAN, std=NET_STD)

#: ``model_type`` of a configuration → how such models are asked.
KINDS = {
    kind.name: kind
    for kind in (
        _CLIP,
        replace(_CLIP, name="clip_vision_model", model="CLIPVisionModelWithProjection", method=""),
        replace(_CLIP, name="metaclip_2", model="MetaClip2Model"),
        _SIGLIP,
        replace(
            _SIGLIP,
            name="siglip_vision_model",
            model="SiglipVisionModel",
            method="",
            width=("hidden_size",),
        ),
        replace(_SIGLIP, name="siglip2", model="Siglip2Model", resample=BILINEAR, patches=True),
        _DINO,
        replace(_DINO, name="dinov2_with_registers", model="Dinov2WithRegistersModel"),
        replace(
            _DINO,
            name="dinov3_vit",
            model="DINOv3ViTModel",
            resample=BILINEAR,
            crops=False,
            shorter=False,
        ),
        replace(
            _CLIP,
            name="xclip",
            model="XCLIPModel",
            method="get_video_features",
            frames=("vision_config", "num_frames"),
        ),
        replace(
            _DINO,
            name="videomae",
            model="VideoMAEModel",
            frames=("num_frames",),
            resample=BILINEAR,
        ),
        replace(
            _DINO,
            name="vjepa2",
            model="VJEPA2Model",
            method="get_vision_features",
            frames=("frames_per_clip",),
            pixels="pixel_values_videos",
            resample=BILINEAR,
            margin=256 / 224,
        ),
    )
}


def kind_of(config: Any, name: str, trust_remote_code: bool = False) -> Kind:
    """The kind of the model that a configuration describes; others are refused."""
    config = config if isinstance(config, dict) else {}
    kind = config.get("model_type")
    if isinstance(kind, str) and kind in KINDS:
        return KINDS[kind]
    own = ""
    if "auto_map" in config:
        own = (
            " It has its own Python code, and finecut can use such models only if they are "
            "cosmos-embed1-224p (336p, 448p) or internvideo2"
            f"{', even with --trust-remote-code' if trust_remote_code else ''}."
        )
    raise WeightsMissing(
        f"the model {name!r} is of the kind {kind!r}, and finecut cannot get vectors of clips "
        f"from that kind.{own} Give --embedding-algorithm a model of one of these kinds: "
        f"{', '.join(KINDS)}."
    )
