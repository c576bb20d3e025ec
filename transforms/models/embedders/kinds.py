"""The kinds of encoders that are known, how models of each are asked, and how frames are prepared
for a model, by the settings in its folder.

Frames are prepared by Pillow, as the models' own processors do where torchvision is not installed;
finecut does without it. Processors that only exist for torchvision differ from that by the rounding
of a pixel. (The processors themselves are not used, because they differ in the last bit.)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from finecut.transforms.caption.asking import Frame
from finecut.transforms.models.loading import (
    CLIP_MEAN,
    CLIP_STD,
    HALF,
    NET_MEAN,
    NET_STD,
    SETTINGS,
    Tensor,
    check_normal,
    settings_of,
)
from finecut.transforms.models.weights.folders import WeightsMissing, first_line, needed

PURPOSE = "turn clips into vectors"

#: Pillow's numbers for its filters, which are also those of the settings.
BILINEAR, BICUBIC = 2, 3

#: The parts of a file for all that may say it.
PARTS = ("video_processor", "image_processor")


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
    own = (
        " It has its own Python code, and finecut can use such models only if they are "
        "cosmos-embed1-224p (336p, 448p) or internvideo2"
        f"{', even with --trust-remote-code' if trust_remote_code else ''}."
    )
    raise WeightsMissing(
        f"the model {name!r} is of the kind {kind!r}, and finecut cannot get vectors of clips "
        f"from that kind.{own if 'auto_map' in config else ''} Give --embedding-algorithm a model "
        f"of one of these kinds: {', '.join(KINDS)}."
    )


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How one model wants to see frames."""

    #: The shorter side, or height and width.
    size: int | tuple[int, int]
    #: Height and width of what is cut out of the middle.
    crop: tuple[int, int] | None = None
    factor: float = 1 / 255
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resample: int
    #: The processor that cuts frames into patches, for models that want them so.
    patcher: Any = None

    @property
    def side(self) -> int:
        """How long the shorter side of frames has to be, so that none has to be made larger."""
        return self.size if isinstance(self.size, int) else min(self.size)

    def given(self, frames: Sequence[Frame], name: str) -> dict[str, Tensor]:
        """Pictures as the model takes them."""
        if self.patcher is None:
            return {name: self.pixels(frames)}
        return dict(self.patcher(images=list(frames), return_tensors="pt"))

    def pixels(self, frames: Sequence[Frame]) -> Tensor:
        """Frames of one size: (frames, 3, height, width)."""
        import torch

        return torch.from_numpy(np.stack([self.prepared(frame) for frame in frames]))

    def prepared(self, frame: Frame) -> NDArray[np.float32]:
        """One frame: made smaller, cut, from 0 to 1, normalised."""
        rows, columns = self._resized(*frame.shape[:2])
        picture = Image.fromarray(np.ascontiguousarray(frame))
        filter_ = Image.Resampling(self.resample)
        pixels = np.asarray(picture.resize((columns, rows), filter_), np.float32)
        if self.crop is not None:
            top, left = (rows - self.crop[0]) // 2, (columns - self.crop[1]) // 2
            pixels = pixels[top : top + self.crop[0], left : left + self.crop[1]]
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        pixels = (pixels * np.float32(self.factor) - mean) / std
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        if not isinstance(self.size, int):
            return self.size
        short = min(height, width)
        return int(self.size * height / short), int(self.size * width / short)

    def check(self) -> None:
        """Refuse what no frame can be made to look like."""
        if (shortest := min(*_pair(self.size), *(self.crop or ()))) < 1:
            raise ValueError(f"frames would be {shortest} pixels long")
        check_normal(self.mean, self.std)
        Image.Resampling(self.resample)


def preparation_of(files: Mapping[str, Any], kind: Kind, name: str) -> Preparation:
    """How a model wants to see frames, by the files of its folder."""
    settings = settings_of(files, *PARTS)
    if settings is None:
        raise WeightsMissing(
            f"the model {name!r} does not describe its input frames: {SETTINGS[1]} is missing "
            "from its folder, or empty. Usually only the weights were downloaded or copied; "
            "download the whole folder again."
        )
    try:
        made = _patches(settings, kind) if kind.patches else _whole(settings, kind)
        made.check()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsMissing(
            f"the preprocessor_config.json of the model {name!r} cannot be understood "
            f'({first_line(error)}). It needs a size of the form {{"shortest_edge": 224}} or '
            '{"height": 224, "width": 224}.'
        ) from error
    height, width = _pair(made.size)
    if made.crop is not None and (made.crop[0] > height or made.crop[1] > width):
        raise WeightsMissing(
            f"the model {name!r} crops frames to {made.crop[1]} × {made.crop[0]}, but scales "
            f"them only to {width} × {height}. Usually its preprocessor_config.json belongs to "
            "another model; download the whole folder again."
        )
    return made


def _whole(settings: Mapping[str, Any], kind: Kind) -> Preparation:
    """Frames of one size."""

    def does(what: str, usual: bool = True) -> bool:
        value = settings.get(f"do_{what}")
        return usual if value is None else bool(value)

    mean, std = (settings.get("image_mean") or kind.mean, settings.get("image_std") or kind.std)
    crop = _pair(settings.get("crop_size", 224)) if does("center_crop", kind.crops) else None
    size = _size(settings.get("size", 224), kind)
    if kind.margin is not None:
        crop = _pair(settings.get("crop_size", 256))
        size = int(crop[0] * kind.margin)
    return Preparation(
        size=size,
        crop=crop,
        factor=float(settings.get("rescale_factor", 1 / 255)) if does("rescale") else 1.0,
        mean=tuple(map(float, mean)) if does("normalize") else (0.0,) * 3,
        std=tuple(map(float, std)) if does("normalize") else (1.0,) * 3,
        resample=int(settings.get("resample", kind.resample)),
    )


def _patches(settings: Mapping[str, Any], kind: Kind) -> Preparation:
    """Frames in their own shape, as a number of patches at most."""
    module = "transformers.models.siglip2.image_processing_pil_siglip2"
    known = ("patch_size", "max_num_patches", "image_mean", "image_std", "rescale_factor")
    given = {key: settings[key] for key in known if settings.get(key) is not None}
    patcher = needed(module, PURPOSE).Siglip2ImageProcessorPil(**given)
    side = int(patcher.patch_size * patcher.max_num_patches**0.5)
    return Preparation(
        size=side, mean=kind.mean, std=kind.std, resample=kind.resample, patcher=patcher
    )


def _size(size: Any, kind: Kind) -> int | tuple[int, int]:
    if isinstance(size, int):
        return size if kind.shorter else (size, size)
    return int(size["shortest_edge"]) if "shortest_edge" in size else _pair(size)


def _pair(size: Any) -> tuple[int, int]:
    """Height and width."""
    if isinstance(size, tuple):
        return size
    edge = size if isinstance(size, int) else size.get("shortest_edge")
    return (int(size["height"]), int(size["width"])) if edge is None else (int(edge), int(edge))
