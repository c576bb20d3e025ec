"""How much of a picture is text: subtitles, watermarks, slides.

The detector of PP-OCRv4 (Apache-2.0) gives each pixel a probability of lying in the *core* of a
line of text: the line shrunk on all sides, so that neighbouring lines stay apart::

    ┌──────────────────────────┐
    │  ······················  │  outline (unknown)      area ≈ 2.6 · core
    │  · core, prob. > 0.3  ·  │
    │  ······················  │
    └──────────────────────────┘

Whoever wants outlines grows each core by ``1.6 · area / perimeter``; around a line that adds 1.6
times its area, so the share of the picture that is text follows from the cores without finding a
single outline. Subtitles and slides come out within a tenth of the boxes around their lines; in
pictures less than 400 pixels wide it is up to half as much again, because cores of letters that
small are fat.

Large smooth shapes (a sun behind hills, a vase) can look like one huge letter, but not at two
sizes: so the detector also sees the picture 0.6 times as large, and cores count where both agree.
Lines too small for that, a few pixels high, count without it; it never mistakes these at the first
size. A core higher and wider than a quarter of the picture would be a letter that fills it, and
does not count.

Every picture is scored by itself, so its score does not depend on its neighbours. The model lies
in the package ``rapidocr-onnxruntime`` and is read as a file: the package itself needs OpenCV.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from finecut.transforms.models.weights.packages import PackagedModel, PackagedScorer

MODEL = PackagedModel(
    "rapidocr-onnxruntime",
    "1.4.4",
    ("rapidocr_onnxruntime", "models", "ch_PP-OCRv4_det_infer.onnx"),
    purpose="measure how much of a picture is text",
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


class TextScorer(PackagedScorer):
    """Scores a clip by its frames: ``text_coverage`` and ``text_max``, shares from 0 to 1."""

    score, model = "text", MODEL

    def __call__(self, frames: Sequence[NDArray[np.uint8]]) -> dict[str, float]:
        """The mean share of text over the frames, and the largest in one frame."""
        if not frames:
            return {}
        shares = [self.share(frame) for frame in frames]
        return {"text_coverage": math.fsum(shares) / len(shares), "text_max": max(shares)}

    def share(self, frame: NDArray[np.uint8]) -> float:
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
