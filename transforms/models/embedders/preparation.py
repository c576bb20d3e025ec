"""How frames are prepared for a model, by the settings in its folder.

Frames are prepared by Pillow, as the models' own processors do where torchvision is not installed;
finecut does without it. Processors that only exist for torchvision differ from that by the rounding
of a pixel. (The processors themselves are not used, because they differ in the last bit.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from finecut.transforms.caption.asking import Frame
from finecut.transforms.models.devices import Tensor
from finecut.transforms.models.embedders.kinds import PURPOSE, Kind
from finecut.transforms.models.picture_settings import SETTINGS, check_normal, settings_of
from finecut.transforms.models.weights.folders import WeightsMissing, first_line, needed

#: The parts of a file for all that may say it.
PARTS = ("video_processor", "image_processor")


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
        pixels = pixels * np.float32(self.factor)
        pixels -= np.array(self.mean, np.float32)
        pixels /= np.array(self.std, np.float32)
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        if not isinstance(self.size, int):
            return self.size
        short = min(height, width)
        return int(self.size * height / short), int(self.size * width / short)

    def check(self) -> None:
        """Refuse what no frame can be made to look like."""
        lengths = (*_pair(self.size), *(self.crop or ()))
        if min(lengths) < 1:
            raise ValueError(f"frames would be {min(lengths)} pixels long")
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
    if isinstance(size, int):
        return size, size
    if "shortest_edge" in size:
        return int(size["shortest_edge"]), int(size["shortest_edge"])
    return int(size["height"]), int(size["width"])
