"""Reading: the frames of a clip as a training loop wants them, chosen before any is decoded.

    packets      I  p  b  b  p  b  b │ I  p  b  b  p  b  b     their times are read, nothing decoded
    wanted                           │    ↑        ↑
    decoded                          │ I  p  b  .  p           from the last key frame before them;
                                                               what no other frame needs is left out

The frames that come out are those that decoding everything would give, pixel by pixel.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from numbers import Integral, Real
from typing import Any, BinaryIO, TypeAlias

import av
import numpy as np

from finecut.io.media.frame_view import Bytes, Scalers, matrix_name, pixels
from finecut.io.media.frames.contact_sheet import NEARLY, Seconds, nearest_indices, sampled_indices
from finecut.io.media.limits import USUAL_LIMITS, FilmError, Limits
from finecut.io.media.source import clock_of, decode, open_clip, packets

Size: TypeAlias = int | tuple[int, int] | None


@dataclass(frozen=True)
class Pictures:
    """Which frames of a clip are read, and how large they are.

    ``frames``            N, at the middles of equal parts of the clip
    ``fps``               N a second, from the first one on
    both                  ``frames`` that are ``1 / fps`` apart, from the middle of the clip
    neither               every frame

    No frame comes twice. A clip that has fewer than ``frames`` (with ``fps``, in the time that they
    take) is :class:`TooFew`, unless it may be padded.
    """

    frames: int | None = None
    fps: float | None = None
    #: The shorter side (a smaller picture is not enlarged), or height and width: as much of the
    #: middle of the picture as has that shape, scaled to exactly that size.
    size: Size = None
    #: What is missing of ``frames`` is filled with the last one that there is.
    pad: bool = False

    def __post_init__(self) -> None:
        _check_kinds(self.frames, self.fps, self.size)
        sides = self.size if isinstance(self.size, tuple) else (self.size,)
        for name, value in (("frames", self.frames), *(("size", side) for side in sides)):
            if value is not None and value < 1:
                raise ValueError(f"{name}={value} is impossible: give a whole number above 0")
        if self.fps is not None and not 0 < self.fps < float("inf"):
            raise ValueError(
                f"fps={self.fps} is impossible: give a number of frames per second above 0"
            )


def _check_kinds(frames: object, fps: object, size: object) -> None:
    """Numbers of NumPy will do as well."""
    if frames is not None and not isinstance(frames, Integral):
        raise TypeError(
            f"frames={frames!r} is not a number of frames: give a whole number, such as 16"
        )
    if fps is not None and not isinstance(fps, Real):
        raise TypeError(f"fps={fps!r} is not a frame rate: give a number, such as 4 or 12.5")
    sides = size if isinstance(size, tuple) else (size, size)
    if size is not None and (
        len(sides) != 2 or not all(isinstance(side, Integral) for side in sides)
    ):
        raise TypeError(
            f"size={size!r} is not a size: give the shorter side as a whole number, such as 256, "
            "or height and width, such as (224, 224)"
        )


class TooFew(FilmError):
    """A clip that is sound, and has fewer frames than are wanted of it."""


@dataclass(frozen=True)
class Frames:
    """Frames of a clip, upright."""

    #: RGB, shape (T, H, W, 3).
    pictures: Bytes
    #: When each is shown, from the clip's first frame on.
    seconds: tuple[float, ...]
    #: The first N are frames of their own; those behind them show the last of these again.
    real: int


def chosen(times: Sequence[Seconds], wanted: Pictures) -> list[int]:
    """Which of the frames shown at these times are wanted, by their numbers, each once, in order;
    fewer than are wanted, where there are no more.

    >>> chosen([0, 1, 2, 3, 4, 5], Pictures(frames=3))
    [1, 3, 5]
    >>> chosen([0, 1, 2, 3, 4, 5], Pictures(frames=2, fps=0.5))
    [1, 3]
    >>> chosen([0, 1, 2], Pictures(frames=9)), chosen([0, 1, 2], Pictures(frames=9, fps=0.5))
    ([0, 1, 2], [0, 2])
    """
    if wanted.frames is None:
        return list(range(len(times))) if wanted.fps is None else sampled_indices(times, wanted.fps)
    if not times:
        return []
    number, last = wanted.frames, Fraction(times[-1])
    if wanted.fps is None:
        number = min(number, len(times))
        # The last frame is shown as long as the one before it.
        length = last + (last - Fraction(times[-2]) if len(times) > 1 else 0)
        middles = [length * (2 * i + 1) / (2 * number) for i in range(number)]
        return _apart(nearest_indices(times, middles), len(times))
    step = 1 / Fraction(wanted.fps)
    first = max(Fraction(0), (last - (number - 1) * step) / 2)
    # Up to half a step past the last frame, as in sampling: further away it is shown no more.
    moments = (first + i * step for i in range(number))
    within = [moment for moment in moments if moment < last + step / 2 - NEARLY]
    return sorted(set(nearest_indices(times, within)))


def _apart(numbers: Sequence[int], count: int) -> list[int]:
    """Numbers below ``count`` as near to these ascending ones as they can be, and none twice.

    Where a frame is shown for long, it is nearest to several middles of equal parts.

    >>> _apart([0, 0, 0, 3, 4, 4], 6)
    [0, 1, 2, 3, 4, 5]
    """
    apart = list(accumulate(numbers, lambda last, number: max(number, last + 1)))
    return [min(number, count - len(apart) + place) for place, number in enumerate(apart)]


def read_frames(
    file: str | BinaryIO, wanted: Pictures, threads: int = 1, limits: Limits = USUAL_LIMITS
) -> Frames:
    """The wanted frames of a clip, or a :class:`FilmError` when any of them cannot be had."""
    with open_clip(file, limits, threads) as (container, stream, _):
        film = _Packets(container, stream, limits)
        numbers = chosen(film.times, wanted)
        real = len(numbers)
        if wanted.frames is not None and real < wanted.frames:
            if not wanted.pad:
                raise TooFew(
                    f"it has only {real} frames, but frames={wanted.frames} were requested"
                    if wanted.fps is None
                    else f"frames={wanted.frames} at fps={wanted.fps:g} were requested, but its "
                    f"{len(film.times)} frames ({float(film.times[-1]):.3f} s from the first to "
                    f"the last) contain only {real} of these: the clip is too short, or has fewer "
                    "frames per second"
                )
            numbers += [numbers[-1]] * (wanted.frames - real)
        pictures = film.decoded(numbers, wanted.size, limits)
    return Frames(pictures, tuple(float(film.times[number]) for number in numbers), real)


class _Packets:
    """A clip, not yet decoded."""

    def __init__(
        self, container: av.container.InputContainer, stream: av.VideoStream, limits: Limits
    ) -> None:
        self.stream = stream
        #: In the order of decoding, the last one empty.
        self.packets = list(packets(container, stream))
        # What an edit list hides is decoded and not shown.
        shown = [packet for packet in self.packets if packet.size and not packet.is_discard]
        limits.refuse_frames(len(shown))
        if sum(packet.size > 0 for packet in self.packets) < stream.frames or any(
            packet.is_corrupt for packet in self.packets
        ):
            raise FilmError(
                f"its index lists {stream.frames} frames, but it has {len(shown)}. Usually the "
                "file was cut short when it was copied: copy it again."
            )
        #: Of every frame, in the order of showing: its tick, and the seconds since the first.
        self.ticks = sorted({packet.pts for packet in shown if packet.pts is not None})
        if not self.ticks:
            raise FilmError(
                "no frame of its video track has a time. Usually the file was cut short: curate "
                "its video again."
            )
        clock = clock_of(stream, None, self.ticks[0])
        self.times = [clock.seconds(tick) for tick in self.ticks]

    def decoded(self, numbers: Sequence[int], size: Size, limits: Limits) -> Bytes:
        """The frames of these numbers (ascending), one picture for each number."""
        missing: dict[int, list[int]] = {}
        for place, number in enumerate(numbers):
            missing.setdefault(self.ticks[number], []).append(place)
        pictures: Bytes | None = None
        scalers = Scalers()
        start = self._start(min(missing))
        for first in (start, 0) if start else (0,):
            self.stream.codec_context.flush_buffers()
            for frame in self._shown(self.packets[first:], set(missing), limits):
                if frame.pts in missing:
                    picture = _picture(frame, scalers, size)
                    # Filled in place: of a whole clip there is no room for a second copy.
                    if pictures is None:
                        pictures = np.empty((len(numbers), *picture.shape), np.uint8)
                    if picture.shape != pictures.shape[1:]:
                        raise FilmError(
                            "its frames change their size, so they do not fit into one array: "
                            "give a size as height and width"
                        )
                    pictures[missing.pop(frame.pts)] = picture
                if pictures is not None and not missing:
                    return pictures
            # Nothing can be decoded from some key frames: then from the beginning.
        raise FilmError(
            f"{len(missing)} of the {len(set(numbers))} requested frames cannot be decoded, the "
            f"first at {float(self.times[self.ticks.index(min(missing))]):.3f} s. Usually the "
            "file is damaged: curate its video again."
        )

    def _shown(
        self, some: Sequence["av.Packet[Any]"], wanted: set[int], limits: Limits
    ) -> Iterator[av.VideoFrame]:
        """Frames of these packets, and all that are wanted among them."""
        for packet in some:
            # Others may be built on what is not wanted, unless it says that none are.
            needed = packet.pts is None or packet.pts in wanted
            self.stream.codec_context.skip_frame = "DEFAULT" if needed else "NONREF"
            # Not those that the decoder made up because data is missing.
            yield from (f for f in decode(packet, limits) or () if not f.is_corrupt)

    def _start(self, tick: int) -> int:
        """Where decoding has to begin to show this tick: at the last key frame until then."""
        return max(
            (
                place
                for place, packet in enumerate(self.packets)
                if packet.is_keyframe and packet.pts is not None and packet.pts <= tick
            ),
            default=0,
        )


def _picture(frame: av.VideoFrame, scalers: Scalers, size: Size) -> Bytes:
    """The frame in RGB, of the wanted size."""
    width, height = _scaled(frame.width, frame.height, size)
    matrix = av.video.reformatter.Colorspace[matrix_name(frame.colorspace, frame.height)]
    picture = pixels(scalers(frame, width, height, "rgb24", matrix=matrix))
    if isinstance(size, tuple):
        top, left = (height - size[0]) // 2, (width - size[1]) // 2
        picture = picture[top : top + size[0], left : left + size[1]]
    return picture


def _scaled(width: int, height: int, size: Size) -> tuple[int, int]:
    if size is None:
        return width, height
    if isinstance(size, tuple):
        scale = max(Fraction(size[0], height), Fraction(size[1], width))
    else:
        scale = min(Fraction(1), Fraction(size, min(width, height)))
    return max(1, round(width * scale)), max(1, round(height * scale))
