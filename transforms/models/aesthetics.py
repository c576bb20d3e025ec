"""How pleasing a clip looks, by the scale of NeMo Curator's aesthetic filter (about 1 to 10).

Two published models in a row: CLIP's picture tower says what a frame shows, and a small head that
was fitted to people's ratings says how they would have liked it::

    frame ─▶ short side to 224, centre 224 × 224, normalised
          ─▶ CLIP ViT-L/14 ─▶ 768 numbers of length 1
          ─▶ 768 · 1024 · 128 · 64 · 16 · 1 ─▶ score

The head is a row of linear layers with nothing between them (its dropouts are for training only).
A clip's score is its worst frame's (``min``) or the mean over its frames.

Frames are prepared one by one and scored in batches of a fixed size, a clip at a time: what else is
scored has no say, and memory stays small however many frames there are. Weights of half precision
are widened on reading; everything is computed in float32.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finecut.io.records import ModelUsed
from finecut.transforms.models.loading import (
    CLIP_MEAN,
    CLIP_STD,
    Tensor,
    device_of,
    load_model,
    unfit,
)
from finecut.transforms.models.weights.folders import (
    WEIGHTS,
    Located,
    WeightsMissing,
    locate,
    needed,
)

CLIP = "openai/clip-vit-large-patch14"
HEAD = "ttj/sac-logos-ava1-l14-linearMSE"

#: Frames that go through the network together.
BATCH = 16
PURPOSE = "score the aesthetics of clips"

_LAYER = re.compile(r"layers\.(\d+)\.(weight|bias)")


class AestheticScorer:
    """Scores a clip by its frames: ``aesthetic_score``."""

    def __init__(
        self,
        vision: Any,
        head: Sequence[tuple[Tensor, Tensor]],
        reduction: str,
        used: Mapping[str, ModelUsed],
    ) -> None:
        self._vision, self._head, self._used = vision, head, used
        self._combine: Callable[[list[float]], float] = min if reduction == "min" else fmean

    @classmethod
    def load(
        cls,
        clip: str = CLIP,
        head: str = HEAD,
        model_dir: str | None = None,
        reduction: str = "min",
        device: str = "auto",
    ) -> AestheticScorer:
        """Both models from folders, stores or the hub (see :mod:`~.weights`) onto the device."""
        needed("torch", PURPOSE)
        device = device_of(device)
        tower, top = locate(clip, model_dir), locate(head, model_dir, needs=())
        vision = _read_vision(tower, device)
        layers = [(w.to(device), b.to(device)) for w, b in _read_head(top.path)]
        width, wanted = vision.config.projection_dim, layers[0][0].shape[1]
        if width != wanted:
            raise WeightsMissing(
                f"the head {head!r} takes {wanted} numbers per picture, but {clip!r} gives "
                f"{width}. They do not belong together: the published head works only with "
                f"{CLIP}."
            )
        used = {"aesthetic": tower.used, "aesthetic_head": top.used}
        return cls(vision, layers, reduction, used)

    def which(self) -> Mapping[str, ModelUsed]:
        """Names and revisions, by the scores they give."""
        return self._used

    def __call__(self, frames: Sequence[NDArray[np.uint8]]) -> dict[str, float]:
        """The score of a clip whose sampled frames these are."""
        return {"aesthetic_score": self._combine(self.frame_scores(frames))} if frames else {}

    def frame_scores(self, frames: Sequence[NDArray[np.uint8]]) -> list[float]:
        """One score for each frame."""
        import torch

        size = self._vision.config.image_size
        scores: list[float] = []
        with torch.inference_mode():
            for first in range(0, len(frames), BATCH):
                batch = [prepared(frame, size) for frame in frames[first : first + BATCH]]
                pixels = torch.stack(batch).to(self._vision.device)
                values = self._vision(pixel_values=pixels).image_embeds
                values = torch.nn.functional.normalize(values, dim=-1)
                for weight, bias in self._head:
                    values = torch.nn.functional.linear(values, weight, bias)
                scores.extend(values[:, 0].tolist())
        return scores


def require_aesthetics(clip: str, head: str, model_dir: str | None) -> None:
    """Raise what :meth:`AestheticScorer.load` would for lack of something, without loading it."""
    needed("torch", PURPOSE)
    needed("transformers", PURPOSE)
    locate(clip, model_dir)
    locate(head, model_dir, needs=())


def prepared(frame: NDArray[np.uint8], size: int) -> Tensor:
    """One frame as CLIP wants it: (3, size, size), normalised."""
    import torch

    height, width = frame.shape[:2]
    short = min(height, width)
    rows, columns = int(size * height / short), int(size * width / short)
    # A copy: frames may be read-only or mirrored, and torch has neither.
    pixels = torch.tensor(np.ascontiguousarray(frame)).permute(2, 0, 1)[None].float()
    pixels = torch.nn.functional.interpolate(
        pixels, size=(rows, columns), mode="bicubic", align_corners=False, antialias=True
    )
    # Bicubic curves overshoot at edges; a picture has whole values from 0 to 255.
    pixels = pixels[0].round().clamp(0, 255)
    top, left = round((rows - size) / 2), round((columns - size) / 2)
    pixels = pixels[:, top : top + size, left : left + size] / 255
    mean, std = (torch.tensor(values)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
    return (pixels - mean) / std


def _read_vision(found: Located, device: str) -> Any:
    """The picture tower and its projection, in float32; the tower for text is left where it is."""
    import torch

    folder = found.path
    transformers = needed("transformers", PURPOSE)
    try:
        kind = transformers.CLIPConfig.get_config_dict(folder)[0].get("model_type")
    except (OSError, ValueError) as error:
        raise unfit(folder, f"it cannot be read ({error})") from error
    if kind == "clip":
        whole = transformers.CLIPConfig.from_pretrained(folder)
        config = whole.vision_config
        # The towers meet in the width the whole model says; the tower's own entry may be unset.
        config.projection_dim = whole.projection_dim
    elif kind == "clip_vision_model":
        config = transformers.CLIPVisionConfig.from_pretrained(folder)
    else:
        raise WeightsMissing(
            f"the model in {folder} is of the kind {kind!r}, but a CLIP model is needed to "
            f"{PURPOSE}. Usually --model-dir names another model's folder; give the folder that "
            f"contains {CLIP}."
        )
    tower = transformers.CLIPVisionModelWithProjection
    return load_model(tower, found, device, config=config, dtype=torch.float32)


def _read_head(folder: Path) -> list[tuple[Tensor, Tensor]]:
    """The head's layers in their order: (weight, bias)."""
    load_file = needed("safetensors.torch", PURPOSE).load_file
    tensors = {
        match.groups(): tensor.float()
        for key, tensor in load_file(folder / WEIGHTS).items()
        if (match := _LAYER.fullmatch(key))
    }
    places = sorted({place for place, _ in tensors}, key=int)
    halves = {(place, half) for place in places for half in ("weight", "bias")}
    if not places or halves != set(tensors):
        raise _no_head(folder, "it does not contain weight and bias of layers.0, layers.2, …")
    layers = [(tensors[place, "weight"], tensors[place, "bias"]) for place in places]
    if any(weight.ndim != 2 or bias.shape != weight.shape[:1] for weight, bias in layers):
        raise _no_head(folder, "its layers are not matrices with one bias per row")
    widths = [(weight.shape[1], weight.shape[0]) for weight, _ in layers]
    if any(before[1] != after[0] for before, after in pairwise(widths)) or widths[-1][1] != 1:
        raise _no_head(
            folder, f"its layers do not fit together, or do not end in one number: {widths}"
        )
    return layers


def _no_head(folder: Path, why: str) -> WeightsMissing:
    return WeightsMissing(
        f"{folder / WEIGHTS} is not an aesthetic head: {why}. Usually another model's folder was "
        f"named; the published head is {HEAD}."
    )
