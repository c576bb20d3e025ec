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
sizes: so the picture is also looked at 0.6 times as large, and cores count where both looks agree.
Lines too small for the second look, a few pixels high, count without it; these the first never
mistakes. A core higher and wider than a quarter of the picture would be a letter that fills it, and
is none.

Every picture is looked at by itself, so its score does not depend on its neighbours. The model lies
in the package ``rapidocr-onnxruntime`` and is read as a file: the package itself needs OpenCV.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finecut.io.records import ModelUsed
from finecut.transforms.models.weights.folders import needed, open_packaged
from finecut.transforms.models.weights.packages import packaged
from finecut.transforms.steps.text import INSTALL, PACKAGE

MODEL = (PACKAGE, "models", "ch_PP-OCRv4_det_infer.onnx")
PURPOSE = "measure how much of a picture is text"

#: The longest side of what the detector sees: letters of 10 of 640 pixels are found.
LONGEST = 640
#: The second, smaller look.
SMALLER = 0.6
#: The detector halves a picture five times.
STEP = 32
#: From this probability on a pixel is core, as in the settings the model was published with.
LIKELY = 0.3
#: An outline's area in cores: 1, and what growing by 1.6 · area / perimeter adds.
OUTLINE = 1 + 1.6
#: Cores no higher (or no wider) than so many pixels need no second look.
THIN = 10
#: The largest core, as a part of the shorter side.
LARGEST = 0.25


class TextScorer:
    """Scores a clip by its frames: ``text_coverage`` and ``text_max``, shares from 0 to 1."""

    def __init__(self, session: Any, pillow: Any) -> None:
        self._session = session
        # Which model it is, for the documents.
        self._used = {"text": packaged("rapidocr-onnxruntime")}
        self._input = session.get_inputs()[0].name
        self._pillow = pillow

    @classmethod
    def load(cls) -> TextScorer:
        session = open_packaged(*MODEL, install=INSTALL, purpose=PURPOSE)
        return cls(session, needed("PIL.Image", "pip install pillow", PURPOSE))

    def which(self) -> Mapping[str, ModelUsed]:
        """Names and revisions, by the scores they give."""
        return self._used

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
        first = self._look(frame, longest)
        found = first > LIKELY
        if not found.any():
            return found
        second = self._pillow.fromarray(self._look(frame, longest * SMALLER))
        both = np.asarray(second.resize(found.shape[::-1], self._pillow.BILINEAR)) > LIKELY
        size = np.minimum(heights(found), heights(found.T).T)
        largest = LARGEST * min(found.shape)
        kept: NDArray[np.bool_] = found & (both | (size <= THIN)) & (size <= largest)
        return kept

    def _look(self, frame: NDArray[np.uint8], longest: float) -> NDArray[np.float32]:
        """The probability of being core, for a picture whose longest side is about ``longest``."""
        height, width = frame.shape[:2]
        scale = longest / max(height, width)
        size = [max(STEP, round(side * scale / STEP) * STEP) for side in (width, height)]
        picture = self._pillow.fromarray(frame).resize(size, self._pillow.BILINEAR)
        # The model was trained on pictures as OpenCV reads them: blue first. From -1 to 1.
        values = np.asarray(picture, np.float32)[..., ::-1] / 127.5 - 1
        batch = np.ascontiguousarray(values.transpose(2, 0, 1)[None])
        probability: NDArray[np.float32] = self._session.run(None, {self._input: batch})[0][0, 0]
        return probability


def heights(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each pixel, how many set pixels stand above one another there; 0 where it is not set."""
    rows = len(mask)
    row = np.arange(rows)[:, None]
    above = np.maximum.accumulate(np.where(mask, -1, row))
    below = np.minimum.accumulate(np.where(mask, rows, row)[::-1])[::-1]
    return np.where(mask, below - above - 1, 0)
