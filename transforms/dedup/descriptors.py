"""Descriptors: what a copy-detection model says of a clip, if the user has one (an ONNX file).

Tiny pictures find what is the same but for its edges, colours and side. A network that was trained
on copies also finds pictures in pictures, heavy crops and turned ones. Each clip is described once,
a picture a second; two of a pair are held against each other moment by moment::

    model   float32 [n, 3, height, width], as torchvision's networks take them ─▶ [n, numbers]
    pair    at each moment the nearest of the other's, a second around it; their mean ≥ ALIKE

It only adds to what pictures say, and nothing where the camera stands still in both: such a model
tells the room, and not who is in it.
"""

import hashlib
import io
from functools import lru_cache
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from finecut.io.media.frames.small_pictures import colour_pictures
from finecut.io.storage import files as shelf
from finecut.transforms.dedup.clusters import Floats, normalised
from finecut.transforms.models.weights.naming import onnx_session

#: Pictures that are described: one a second, of the first 16 seconds.
RATE, MOST = 1, 16
#: So alike are copies: the threshold that the authors of SSCD name for a precision of 90 %.
ALIKE: Final = 0.75
#: The side of pictures for a model that takes any.
SIDE: Final = 288
#: What networks of torchvision expect to be taken away from colours, and divided by.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class NoDescriber(ValueError):
    """The file is no model that describes pictures; the message is a sentence."""


class Describer:
    """A model that is ready to describe pictures."""

    def __init__(self, model: bytes) -> None:
        try:
            from onnxruntime.capi import onnxruntime_pybind11_state as errors
        except ImportError:
            raise NoDescriber(
                "needs onnxruntime, which is not installed: install it with pip install onnxruntime"
            ) from None
        # They have no class of their own in common.
        refusals = (
            *(errors.InvalidProtobuf, errors.InvalidArgument, errors.InvalidGraph, errors.Fail),
            *(errors.NotImplemented, errors.NoSuchFile, errors.RuntimeException),
        )
        try:
            self._session = onnx_session(model)
        except refusals as error:
            raise NoDescriber(
                f"is no ONNX model that onnxruntime can load ({error}). Usually a download was cut "
                "short, or the model has parts in other files: export it as one file"
            ) from error
        inputs = self._session.get_inputs()
        shape = inputs[0].shape if len(inputs) == 1 else []
        if len(shape) != 4 or shape[1] != 3:
            raise NoDescriber(
                f"takes {[each.shape for each in inputs]}, but has to take pictures as float32 "
                "[n, 3, height, width] and nothing else. Usually it was exported without its "
                "preprocessing's order of axes"
            )
        self._name = inputs[0].name
        self.height, self.width = (n if isinstance(n, int) and n > 0 else SIDE for n in shape[2:])

    def __call__(self, pictures: NDArray[np.uint8]) -> Floats:
        """One row of length 1 for each picture (RGB, ``[n, height, width, 3]``)."""
        colours = pictures.astype(np.float32) / 255
        colours = (colours - np.array(MEAN, np.float32)) / np.array(DEVIATION, np.float32)
        planes = np.ascontiguousarray(colours.transpose(0, 3, 1, 2), np.float32)
        # One by one: a model may have been exported for batches of one.
        rows = [self._session.run(None, {self._name: plane[None]})[0] for plane in planes]
        return normalised(np.concatenate([np.asarray(r, np.float32).reshape(1, -1) for r in rows]))


def digest_of_model(path: str) -> str:
    """What tells this model from others; raises :class:`NoDescriber` if it cannot be used."""
    data = shelf.read_if_there(path)
    if data is None:
        raise NoDescriber("is not there, or is no file")
    Describer(data)
    return _digest(data)


@lru_cache(maxsize=1)
def describer_at(path: str, digest: str) -> Describer:
    """Loaded once in a process. Raises :class:`NoDescriber` if it is not the model of this digest
    any more: what it says would be taken for that one's word.
    """
    data = shelf.read(path)
    if _digest(data) != digest:
        raise NoDescriber(f"{path} was replaced while dedup was running: start it again")
    return Describer(data)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def described(file: str | BinaryIO, describer: Describer) -> bytes:
    """A clip's rows, as they are laid down."""
    pictures = colour_pictures(file, RATE, MOST, size=(describer.width, describer.height))
    out = io.BytesIO()
    np.save(out, describer(pictures))
    return out.getvalue()


def rows_in(data: bytes) -> Floats:
    """What :func:`described` laid down."""
    rows: Any = np.load(io.BytesIO(data))
    return np.asarray(rows, np.float32)


def agreement(one: Floats, other: Floats) -> float:
    """How alike two clips are: at each moment of the shorter the nearest a second around it.

    >>> film = np.eye(4, dtype=np.float32)
    >>> agreement(film, film), agreement(film[1:], film), agreement(film[:1], film[3:])
    (1.0, 1.0, 0.0)
    """
    short, long = sorted((one, other), key=len)
    cosines = short @ long.T
    apart = np.abs(np.arange(len(short))[:, None] - np.arange(len(long)))
    best = np.where(apart <= RATE, cosines, -1).max(axis=1)
    if len(one) == len(other):
        # Either may be the shorter one.
        best = np.minimum(best.mean(), np.where(apart <= RATE, cosines, -1).max(axis=0).mean())
    return float(np.mean(best))
