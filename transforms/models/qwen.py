"""How a Qwen-VL wants to see a video: patches, and a place in the prompt for each.

The families Qwen2-VL, Qwen2.5-VL and Qwen3-VL look at a video in the same way::

    frames ─▶ one size, multiples of 28 (32) ─▶ two by two in time, the last one twice if need be
           ─▶ squares of 14 (16) pixels, four neighbours in a row ─▶ one row of numbers for each
           ─▶ the model ─▶ one token for four neighbours

and they learn about it differently. In the prompt of the older two there is one block of
places, and the seconds between them go in beside it; Qwen3-VL has a block for each two frames and
the time written in front of it, ``<0.2 seconds>``.

The video processors that transformers has for this want torchvision, which finecut does without:
what they do is little, and here torch does the same alone. Frames change their size in whole
numbers (torch's own bicubic for bytes), so that they are the same on every machine; Pillow's differ
from them by two of 255 steps at most.

How large frames may be is in two files of the model's folder, and by the limits with which the
models were published to be used: 768 tokens for two frames, and for the older families 24,576 for a
video (Qwen3-VL's own file says as much). Without them one minute of 1080p would be 160,000 tokens.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finecut.transforms.caption.asking import Frame
from finecut.transforms.models.loading import (
    CLIP_MEAN,
    CLIP_STD,
    HALF,
    SETTINGS,
    Tensor,
    check_normal,
    settings_of,
    small_files,
)
from finecut.transforms.models.weights.folders import WeightsMissing, first_line

#: ``model_type`` of the models that see like this → whether times stand in their prompt.
FAMILIES = {"qwen2_vl": False, "qwen2_5_vl": False, "qwen3_vl": True, "qwen3_vl_moe": True}
#: Only this one is given the seconds between its patches beside the prompt.
TIMED = "qwen2_5_vl"

START, VIDEO, END = "<|vision_start|>", "<|video_pad|>", "<|vision_end|>"
#: How chat templates leave room for a video.
ROOM = START + VIDEO + END
#: What the model is when a prompt does not say it, in the families that have a word for that.
SYSTEM = "You are a helpful assistant."

#: Tokens that two frames are at most, and a video of the older families.
FRAME_TOKENS, VIDEO_TOKENS = 768, 24576
#: The longer side of a picture may be this many times the shorter one.
LONGEST = 200


@dataclass(frozen=True)
class Eyes:
    """How one model sees."""

    #: Pixels of a patch's side, patches of a token's side, frames of a patch.
    patch: int
    merge: int
    frames: int
    #: The fewest and most pixels: of one frame, or of the video where times stand in the prompt.
    least: int
    most: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    #: Each two frames have a block of their own, with the time in front.
    times: bool

    @property
    def step(self) -> int:
        """Heights and widths are multiples of this."""
        return self.patch * self.merge


def eyes(folder: Path, family: str) -> Eyes:
    """How the model in this folder sees, by its own files."""
    try:
        settings = settings_of(small_files(folder), "video_processor")
        if settings is None:
            raise ValueError(f"{SETTINGS[1]} is missing, or not an object with names and values")
        return _eyes(settings, FAMILIES[family])
    except (WeightsMissing, TypeError, ValueError, AttributeError) as error:
        raise WeightsMissing(
            f"{folder} has no valid picture settings ({first_line(error)}). Usually only the "
            "weights were downloaded or copied, or one of the files was edited by hand or belongs "
            "to another model; download the whole folder again."
        ) from error


def _eyes(settings: Mapping[str, Any], times: bool) -> Eyes:
    patch = int(settings.get("patch_size", 16 if times else 14))
    merge = int(settings.get("merge_size", 2))
    step = patch * merge
    size = settings.get("size") or {}
    least = settings.get("min_pixels") or size.get("shortest_edge") or size.get("min_pixels")
    most = settings.get("max_pixels") or size.get("longest_edge") or size.get("max_pixels")
    see = Eyes(
        patch=patch,
        merge=merge,
        frames=int(settings.get("temporal_patch_size", 2)),
        least=int(least or (4096 if times else 4 * step**2)),
        most=int(most or (VIDEO_TOKENS * step**2 if times else FRAME_TOKENS * step**2)),
        mean=tuple(settings.get("image_mean") or (HALF if times else CLIP_MEAN)),
        std=tuple(settings.get("image_std") or (HALF if times else CLIP_STD)),
        times=times,
    )
    if min(see.patch, see.merge, see.frames, see.least) < 1 or see.most < see.least:
        raise ValueError("its sizes are not whole numbers above 0")
    check_normal(see.mean, see.std)
    return see


# ── pixels ───────────────────────────────────────────────────────────────────────────────────────


def fitting(count: int, height: int, width: int, see: Eyes) -> tuple[int, int]:
    """The height and width in which this many frames are shown.

    The nearest multiples of the step, unless that is too many pixels or too few: then the largest
    below, or the smallest above, of about the same shape.

    >>> see = Eyes(
    ...     patch=14, merge=2, frames=2, least=3136, most=12845056, mean=(), std=(), times=False
    ... )
    >>> fitting(8, 720, 1280, see)
    (560, 1008)
    """
    if max(height, width) > LONGEST * min(height, width):
        raise ValueError(
            f"frames of {width} × {height} pixels cannot be described: one side is more than "
            f"{LONGEST} times as long as the other."
        )
    step, frame = see.step, FRAME_TOKENS * see.step**2
    floor = int(see.least * 1.05)
    if see.times:
        if min(height, width) < step:
            grow = max(step / height, step / width)
            height, width = int(height * grow), int(width * grow)
        # The limits are for the video: as many frames as there are, and as many as are shown.
        have, shown = count, round(count / see.frames) * see.frames
        most = max(min(frame, see.most // count), floor) * count
    else:
        have = shown = 1
        share = VIDEO_TOKENS * step**2 * see.frames // count
        most = max(min(see.most, frame, share), floor)
    rows, columns = round(height / step) * step, round(width / step) * step
    if shown * rows * columns > most:
        shrink = math.sqrt(have * height * width / most)
        rows = max(step, math.floor(height / shrink / step) * step)
        columns = max(step, math.floor(width / shrink / step) * step)
    elif shown * rows * columns < see.least:
        grow = math.sqrt(see.least / (have * height * width))
        rows = math.ceil(height * grow / step) * step
        columns = math.ceil(width * grow / step) * step
    return rows, columns


def stacked(frames: Sequence[Frame]) -> NDArray[np.uint8]:
    """The frames as one array, at least two of them."""
    require_frames(frames)
    # One frame is a video that stands still.
    return np.stack([*frames, frames[0]] if len(frames) == 1 else list(frames))


def require_frames(frames: Sequence[Frame]) -> None:
    """Refuse to describe nothing."""
    if not len(frames):
        raise ValueError(
            "there is no frame to describe. Usually the clip is shorter than the time between "
            "two sampled frames: sample more frames per second."
        )


def fitted(frames: Sequence[Frame], see: Eyes) -> NDArray[np.uint8]:
    """The frames in the size in which they are shown, at least two of them."""
    import torch

    stack = stacked(frames)
    count, height, width, _ = stack.shape
    rows, columns = fitting(count, height, width, see)
    if (rows, columns) == (height, width):
        return stack
    resized = torch.nn.functional.interpolate(
        torch.from_numpy(stack).permute(0, 3, 1, 2).contiguous(),
        size=(rows, columns),
        mode="bicubic",
        align_corners=False,
        antialias=True,
    )
    return np.ascontiguousarray(resized.permute(0, 2, 3, 1).numpy())


def patches(video: NDArray[np.uint8], see: Eyes) -> tuple[Tensor, tuple[int, int, int]]:
    """A row of numbers for each patch, and how many there are in time, height and width.

    ``video`` are frames in a size that fits, as :func:`fitted` gives them.
    """
    import torch

    if missing := -len(video) % see.frames:
        video = np.concatenate([video, np.repeat(video[-1:], missing, axis=0)])
    count, rows, columns, channels = video.shape
    grid = (count // see.frames, rows // see.patch, columns // see.patch)
    # Every side falls apart into tokens, patches of a token and pixels of a patch …
    apart = torch.from_numpy(video).reshape(
        *(grid[0], see.frames),
        *(grid[1] // see.merge, see.merge, see.patch),
        *(grid[2] // see.merge, see.merge, see.patch, channels),
    )
    # … of which tokens come first, then the patches of a token, then what is in a patch.
    ordered = apart.permute(0, 2, 5, 3, 6, 8, 1, 4, 7).reshape(math.prod(grid), channels, -1)
    # In one step, as the models' processors do it: in two the last bit differs.
    mean, std = (torch.tensor(values)[:, None] * 255 for values in (see.mean, see.std))
    return ordered.float().sub_(mean).div_(std).flatten(1), grid


# ── words ────────────────────────────────────────────────────────────────────────────────────────


def places(grid: tuple[int, int, int], count: int, rate: float, see: Eyes) -> str:
    """What stands in the prompt where the template leaves room for the video."""
    tokens = grid[1] * grid[2] // see.merge**2
    if not see.times:
        return START + VIDEO * (grid[0] * tokens) + END
    block = START + VIDEO * tokens + END
    return "".join(f"<{time:.1f} seconds>{block}" for time in moments(count, rate, see.frames))


def moments(count: int, rate: float, together: int) -> list[float]:
    """When each patch was: in the middle between its first frame and its last.

    >>> moments(5, 2.0, 2)
    [0.25, 1.25, 2.0]
    """
    return [
        (first + min(first + together - 1, count - 1)) / rate / 2
        for first in range(0, count, together)
    ]


def require_rate(rate: float) -> None:
    """Refuse frames of which nobody knows when they were."""
    if not (math.isfinite(rate) and rate > 0):
        raise ValueError(
            f"{rate} frames per second is impossible, and the model needs to know the time of "
            "each frame. Usually the length of the clip is unknown; give its frame rate."
        )


def chatml(text: str, system: str, family: str) -> str:
    """The prompt in the form with which these models were published, for folders without one."""
    if not system and not FAMILIES.get(family, False):
        system = SYSTEM
    head = f"<|im_start|>system\n{system}<|im_end|>\n" if system else ""
    return f"{head}<|im_start|>user\n{ROOM}{text}<|im_end|>\n<|im_start|>assistant\n"
