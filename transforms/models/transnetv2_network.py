"""The network TransNetV2, on one device.

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
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from finecut.transforms.models.transnetv2 import (
    BAND,
    DILATIONS,
    FILTERS,
    FRAME,
    NORMALISATION_EPSILON,
    Frames,
    Probabilities,
    block_name,
    check_frames,
    shapes_of_weights,
)


class Network:
    """TransNetV2 on one device, made by :func:`load`; threads may share it."""

    def __init__(self, weights: Mapping[str, torch.Tensor], place: str) -> None:
        layers = [name for name in shapes_of_weights() if not name.startswith("SDDCNN.")]
        self._weights = {name: weights[name].float().to(place) for name in layers}
        self._stacks = [
            [_block(weights, block_name(stack, block), place) for block in range(2)]
            for stack in range(len(FILTERS))
        ]
        self._device = place

    def probabilities_of(self, window: Frames) -> Probabilities:
        """For each frame of ``[T, 27, 48, 3]``: how likely it is the last one of its shot.

        The whole window is seen at once, and frames near its borders lack what is around them:
        films go through :func:`probabilities`.
        """
        check_frames(window, (max(1, len(window)), *FRAME), "The window")
        with torch.inference_mode():
            # Copied, because torch takes neither read-only nor backward arrays.
            pixels = torch.from_numpy(np.array(window, order="C")).to(self._device)
            return self._answers(pixels).cpu().numpy()

    def _answers(self, pixels: torch.Tensor) -> torch.Tensor:
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
        frames = len(features)
        directions = functional.normalize(features, dim=1)
        table = functional.pad(directions @ directions.T, (BAND // 2, BAND // 2))
        # Row t of the band begins at column t of the table: a view along the diagonal.
        width = frames + BAND - 1
        band = table.as_strided((frames, BAND), (width + 1, 1))
        return self._linear(layer, band).relu_()

    def _linear(self, layer: str, x: torch.Tensor) -> torch.Tensor:
        weights = self._weights
        return functional.linear(x, weights[f"{layer}.weight"], weights[f"{layer}.bias"])


class _Branch(NamedTuple):
    """One of the four pairs of convolutions in a block; the normalisation is in the second."""

    dilation: int
    #: Over the picture: ``[2F, C, 3, 3]``; ``None`` where :func:`_neighbourhoods` has gathered it.
    over_picture: torch.Tensor | None
    #: Over time: ``[F, 2F or 9C, 3, 1]``.
    over_time: torch.Tensor
    offset: torch.Tensor


def _block(weights: Mapping[str, torch.Tensor], name: str, place: str) -> list[_Branch]:
    def ready(weight: torch.Tensor) -> torch.Tensor:
        return weight.float().to(place, memory_format=torch.channels_last)

    scale, shift, mean, variance = (
        weights[f"{name}.bn.{part}"].double()
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    factors = scale / (variance + NORMALISATION_EPSILON).sqrt()
    offsets = (shift - factors * mean).chunk(len(DILATIONS))
    branches = []
    for dilation, factor, offset in zip(
        DILATIONS, factors.chunk(len(DILATIONS)), offsets, strict=True
    ):
        picture, time = _convolutions(weights, f"{name}.Conv3D_{dilation}.layers", factor)
        seen = None if picture is None else ready(picture)
        branches.append(_Branch(dilation, seen, ready(time), offset.float().to(place)))
    return branches


def _convolutions(
    weights: Mapping[str, torch.Tensor], layers: str, factor: torch.Tensor
) -> tuple[torch.Tensor | None, torch.Tensor]:
    """A branch's convolutions over the picture and over time, or both as one."""
    over_picture = weights[f"{layers}.0.weight"].double().squeeze(2)
    over_time = weights[f"{layers}.1.weight"].double().squeeze(4) * factor[:, None, None, None]
    if over_picture.shape[1] != FRAME[2]:
        return over_picture, over_time
    # f of F, m of 2F, t of 3 frames; c, i, j the colour and its place in the neighbourhood.
    return None, torch.einsum("fmto,mcij->fijcto", over_time, over_picture).flatten(1, 3)


def _through_stack(x: torch.Tensor, blocks: list[list[_Branch]]) -> torch.Tensor:
    first = _through_block(x, blocks[0]).relu_()
    return functional.avg_pool2d(_through_block(first, blocks[1]).relu_().add_(first), 2)


def _through_block(x: torch.Tensor, branches: list[_Branch]) -> torch.Tensor:
    gathered = None if branches[0].over_picture is not None else _neighbourhoods(x)
    results = [
        _over_time(
            gathered
            if branch.over_picture is None
            else functional.conv2d(x, branch.over_picture, padding=1),
            branch,
        )
        for branch in branches
    ]
    return torch.cat(results, 3).permute(0, 3, 1, 2)


def _neighbourhoods(x: torch.Tensor) -> torch.Tensor:
    """The 3×3 values around every place as its channels: ``[T, C, H, W]`` → ``[T, 9C, H, W]``."""
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
    frames, _, height, width = x.shape
    places = x.permute(0, 2, 3, 1).reshape(1, frames, height * width, -1).permute(0, 3, 1, 2)
    result = functional.conv2d(
        places,
        branch.over_time,
        branch.offset,
        padding=(branch.dilation, 0),
        dilation=(branch.dilation, 1),
    )
    return result.permute(0, 2, 3, 1).reshape(frames, height, width, -1)


def _histograms(pixels: torch.Tensor) -> torch.Tensor:
    """How often each of 512 colours (three bits of red, green and blue) occurs in each frame."""
    red, green, blue = (pixels.flatten(1, 2) >> 5).long().unbind(2)
    frames = len(pixels)
    bins = 512
    # Every frame counts in a row of its own.
    rows = torch.arange(frames, device=pixels.device)[:, None] * bins
    colours = rows + (red << 6) + (green << 3) + blue
    return torch.bincount(colours.flatten(), minlength=frames * bins).view(frames, bins).float()
