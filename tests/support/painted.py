"""What a painted film says of itself: the number that each frame carries, and its beeps.

``read_index(frame)`` reads an upright frame and refuses any other; ``find_index(frame)``
tries the eight ways a picture can lie and also says which one it was::

    index = read_index(frame)
    index, lie = find_index(frame)      # lie == UPRIGHT, or how the picture lies

A frame is an ``av.VideoFrame`` in any pixel format, an RGB array (height, width, 3), or a
grey array (height, width). ``hear_beeps(path)`` decodes any file's sound and says when beeps
begin, on the clock of the picture.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import av
import numpy as np
from av.container import InputContainer

from finecut.io.media.sound import samples_of
from finecut.io.media.testfilm.scenery import (
    CELLS,
    CHECK_BITS,
    LARGEST_INDEX,
    Array,
    cells,
)

Picture: TypeAlias = "av.VideoFrame | Array"

# Cells are read as far inside as this, in parts of a cell and of the picture's height, so
# that neither a neighbour nor the picture above bleeds into the reading.
_ACROSS = np.array([0.44, 0.5, 0.56])
_DOWN = 1 - np.array([0.036, 0.030, 0.024, 0.018, 0.012])
_LEAST_CONTRAST = 24.0
_UNSURE = 0.12

# Quieter than this (full scale is 1) is not a beep but what a codec made of silence.
_AUDIBLE = 0.05
# Two periods of the tone: long enough for a steady loudness, short enough to be sharp.
_WINDOW_SECONDS = 0.002
# Beeps closer together than this are heard as one.
_PAUSE_SECONDS = 0.02
# Samples judged at a time, to keep memory small.
_BLOCK = 2**20


class Orientation(NamedTuple):
    """How a picture lies: mirrored left to right first, then turned counter-clockwise."""

    turned: int
    mirrored: bool


UPRIGHT = Orientation(0, False)
ORIENTATIONS = tuple(
    Orientation(turned, flip) for flip in (False, True) for turned in (0, 90, 180, 270)
)


def grey(picture: Picture) -> Array:
    """The picture as a two-dimensional array of brightness."""
    if isinstance(picture, av.VideoFrame):
        return picture.to_ndarray(format="gray")
    array: Array = np.asarray(picture)
    if array.ndim == 3 and array.shape[2] == 3:
        weighed: Array = array @ np.array([0.299, 0.587, 0.114])
        return weighed
    if array.ndim == 2:
        return array
    raise ValueError(
        f"An index cannot be read from a picture of the shape {array.shape}: give (height, "
        "width, 3) for RGB or (height, width) for grey."
    )


def read_index(frame: Picture) -> int:
    """The index of an upright painted frame; ValueError if there is none to read."""
    index, why = _decode(grey(frame))
    if index is None:
        raise ValueError(
            f"No frame index can be read from this picture: {why}. If it may be rotated or "
            "mirrored, use find_index()."
        )
    return index


def find_index(frame: Picture) -> tuple[int, Orientation]:
    """The index of a painted frame in any orientation, and how the frame lies."""
    picture = grey(frame)
    for lie in ORIENTATIONS:
        index, _ = _decode(_set_upright(picture, lie))
        if index is not None:
            return index, lie
    height, width = picture.shape
    raise ValueError(
        f"No frame index can be found in this picture of {width}x{height} pixels in any of its "
        "8 orientations: it was not painted, or lost its strip to cropping, blur or scaling."
    )


def _set_upright(picture: Array, lie: Orientation) -> Array:
    turned_back = np.rot90(picture, -lie.turned // 90)
    return turned_back[:, ::-1] if lie.mirrored else turned_back


def _decode(picture: Array) -> tuple[int | None, str]:
    """The index of an upright grey picture, or None and the reason."""
    height, width = picture.shape
    columns = ((np.arange(CELLS)[:, None] + _ACROSS) * (width / CELLS)).astype(int)
    rows = (_DOWN * height).astype(int)
    patches = picture[np.ix_(rows, columns.ravel())].astype(float)
    values = patches.reshape(len(rows), CELLS, -1).mean(axis=(0, 2))
    light, dark = values[0], values[[1, -2, -1]].max()
    contrast = light - dark
    if contrast < _LEAST_CONTRAST:
        return None, f"the strip's end cells differ by only {contrast:.0f} of 255 levels"
    place = (values - dark) / contrast
    if np.any(np.abs(place - 0.5) < _UNSURE):
        return None, "a cell is neither dark nor light, as when two frames were blended"
    word = int("".join("1" if cell else "0" for cell in place > 0.5), 2)
    index = (word >> (CHECK_BITS + 2)) & LARGEST_INDEX
    wanted = int("".join(map(str, cells(index))), 2)
    if word != wanted:
        return None, "the checksum or the end cells are wrong"
    return index, ""


def hear_beeps(path: str | os.PathLike[str]) -> list[float]:
    """When beeps begin in a file's sound: seconds after its first video frame is shown.

    A beep that is already under way at the first sample is reported there.  Without video,
    seconds count from 0 on the container's clock.  The whole sound is held in memory, in 16 bits.
    """
    with av.open(os.fspath(path)) as container:
        if not container.streams.audio:
            raise ValueError(f"No beeps can be heard in {path}: the file has no sound track.")
        samples, clock = _hear(container)
        rate = container.streams.audio[0].codec_context.sample_rate
    if not len(samples):
        return []
    window = max(1, round(_WINDOW_SECONDS * rate))
    peak = max(block.max() for _, block in _power(samples, window))
    if peak < _AUDIBLE**2 / 2:
        return []
    # The centred window is half full exactly at the onset.
    loud = np.concatenate(
        [first + np.flatnonzero(block > peak / 2) for first, block in _power(samples, window)]
    )
    fresh = np.diff(loud, prepend=-rate) > _PAUSE_SECONDS * rate
    origin = _first_shown(path)
    return [clock(int(sample)) - origin for sample in loud[fresh]]


def _power(samples: Array, window: int) -> Iterator[tuple[int, Array]]:
    """The loudness around each sample, in blocks with the number of their first sample."""
    kernel = np.full(window, 1 / window, np.float32)
    for first in range(0, len(samples), _BLOCK):
        before = min(first, window)
        piece = samples[first - before : first + _BLOCK + window].astype(np.float32) / 32768
        power = np.convolve(piece**2, kernel, "same")[before : before + _BLOCK]
        yield first, power[: len(samples) - first]


def _hear(container: InputContainer) -> tuple[Array, Callable[[int], float]]:
    """All samples in 16 bits, mixed to one channel, and the container's clock for each.

    Times come from each decoded frame's timestamp, for there FFmpeg has already applied edit
    lists and cut off the codec's priming.
    """
    chunks: list[Array] = []
    starts, times = [0], []
    for frame in container.decode(audio=0):
        chunks.append(_mono(frame))
        starts.append(starts[-1] + len(chunks[-1]))
        times.append(float(frame.time or 0))
        rate = frame.sample_rate

    def clock(sample: int) -> float:
        at = int(np.searchsorted(starts, sample, "right")) - 1
        return times[at] + (sample - starts[at]) / rate

    return np.concatenate(chunks) if chunks else np.zeros(0, np.int16), clock


def _mono(frame: av.AudioFrame) -> Array:
    array: Array = samples_of(frame)
    mixed: Array = array.mean(axis=0, dtype=np.float32)
    whole = array.dtype.kind == "i"
    scale = 2.0 ** (16 - 8 * array.dtype.itemsize) if whole else 32767
    levels: Array = np.clip(np.rint(mixed * scale), -32768, 32767)
    return levels.astype(np.int16)


def _first_shown(path: str | os.PathLike[str]) -> float:
    with av.open(os.fspath(path)) as container:
        if not container.streams.video:
            return 0.0
        for frame in container.decode(video=0):
            return float(frame.time or 0)
    raise ValueError(f"The beeps in {path} cannot be timed: no frame of its video can be decoded.")
