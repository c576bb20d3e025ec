"""Painted films: what is true of them, the number that every frame carries, and their pictures.

:mod:`finecut.io.media.testfilm.paint` makes one :class:`Scenery` per scene, a landscape with a
ball, and lets it draw each frame straight into the planes of a video frame.

A painted frame ends in a quiet strip of dark and light cells, one twentieth of the picture high and
as wide as the picture::

    | light dark | 20 cells: index, highest bit first | 8 cells: checksum | dark dark |

Everything is placed in parts of the width and height, so the strip outlives re-encoding,
another bit depth or chroma format, the loss of one row or column, and scaling, also by
different factors in the two directions.  Dark and light are measured on the strip itself,
so range and contrast do not matter.  The checksum and the end cells, which differ, make a
strip that is mirrored, upside down or blended from two frames unreadable instead of wrong.
"""

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, TypeAlias, cast

import numpy as np

Array: TypeAlias = np.typing.NDArray[Any]
Number: TypeAlias = Fraction | float | int

INDEX_BITS = 20
CHECK_BITS = 8
CELLS = 2 + INDEX_BITS + CHECK_BITS + 2
LARGEST_INDEX = 2**INDEX_BITS - 1
# Far enough apart to survive coarse quantisers, yet no hard black and white at the foot of
# the picture.
DARK, LIGHT = 44, 196

# A time this close to a frame means that frame: 1/30 as a float is not 1/30.
SAME = Fraction(1, 1_000_000)

# Sky above, sky at the horizon, far hills, near hills, ball.
_PALETTES = (
    ((44, 62, 110), (250, 190, 140), (150, 110, 130), (60, 48, 80), (255, 236, 190)),
    ((58, 130, 200), (205, 232, 240), (110, 160, 150), (38, 90, 70), (255, 250, 225)),
    ((60, 30, 80), (240, 110, 90), (120, 50, 90), (40, 20, 50), (255, 200, 120)),
    ((180, 220, 210), (245, 245, 225), (140, 190, 175), (60, 110, 105), (250, 140, 110)),
    ((10, 16, 40), (40, 60, 110), (30, 45, 80), (12, 18, 35), (235, 240, 255)),
    ((90, 160, 190), (250, 225, 180), (220, 160, 110), (150, 85, 55), (255, 245, 220)),
)


@dataclass(frozen=True)
class Scene:
    """One scene: its colours, the ball's velocity and the landscape's, in pixels per second.

    ``texture`` roughens the landscape by about this many levels of luma, in grains of all sizes,
    so that its motion can be seen everywhere and not only where the hills have their edges.
    """

    palette: int = 0
    velocity: tuple[float, float] = (0.0, 0.0)
    pan: float = 0.0
    texture: float = 0.0


@dataclass(frozen=True)
class Transition:
    """How one scene becomes the next, in how many seconds, half of them on each side of the cut."""

    kind: Literal["cut", "dissolve", "fade"] = "cut"
    seconds: Number = 0


@dataclass(frozen=True)
class Flash:
    """Some frames, from the one shown at a time on, that are nearly white."""

    at: Number
    frames: int = 2


@dataclass(frozen=True)
class Crossing:
    """A transition in its place: its picture is the old scene's until start, the new's from end."""

    kind: Literal["cut", "dissolve", "fade"]
    start: float
    end: float

    def progress(self, at: Number) -> float:
        """How far the transition has come at a time, from 0 to 1."""
        if self.start == self.end:
            return float(at >= self.start)
        return min(max((float(at) - self.start) / (self.end - self.start), 0.0), 1.0)


@dataclass(frozen=True)
class Painting:
    """What is true of a painted film; times in seconds from its first frame."""

    path: str
    width: int
    height: int
    rate: Fraction
    times: tuple[Fraction, ...]
    duration: Fraction
    cuts: tuple[float, ...]
    scenes: tuple[Scene, ...]
    codec: str
    pix_fmt: str
    start: Fraction = Fraction(0)
    rotation: int = 0
    sample_aspect_ratio: Fraction = Fraction(1)
    full_range: bool = False
    sound: str | None = None
    sound_start: Fraction = Fraction(0)
    sample_rate: int = 48000
    beeps: tuple[float, ...] = ()
    #: One for each cut.
    transitions: tuple[Crossing, ...] = ()
    flashes: tuple[Flash, ...] = ()

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height once the picture is turned, before square pixels."""
        size = (self.width, self.height)
        return size[::-1] if self.rotation % 180 else size

    def indices_between(self, start: Number, end: Number) -> range:
        """The frames first shown in [start, end); a microsecond is forgiven at both ends."""
        first, last = (bisect_left(self.times, Fraction(at) - SAME) for at in (start, end))
        return range(first, max(first, last))

    @property
    def scene_starts(self) -> tuple[int, ...]:
        """The index of each scene's first frame."""
        return (0, *(bisect_left(self.times, Fraction(cut) - SAME) for cut in self.cuts))

    @property
    def changing(self) -> tuple[range, ...]:
        """For each cut the frames that change: those blended or darkened, or the last before it."""
        return tuple(
            range(first - 1, first)
            if crossing.start == crossing.end
            else range(
                bisect_right(self.times, Fraction(crossing.start) + SAME),
                bisect_left(self.times, Fraction(crossing.end) - SAME),
            )
            for first, crossing in zip(self.scene_starts[1:], self.transitions, strict=True)
        )

    @property
    def flashing(self) -> tuple[range, ...]:
        """For each flash its frames."""
        firsts = (bisect_left(self.times, Fraction(flash.at) - SAME) for flash in self.flashes)
        return tuple(
            range(first, first + flash.frames)
            for first, flash in zip(firsts, self.flashes, strict=True)
        )


# ── the number ───────────────────────────────────────────────────────────────────────────────────


def strip_height(height: int) -> int:
    """Rows of the strip in a picture of this height: even, to fit 4:2:0 chroma."""
    return max(6, 2 * round(height / 40))


def checksum(index: int) -> int:
    """CRC-8 (polynomial 0x07) of the index bits, started so that zero is not all dark."""
    crc = 0xFF
    for shift in (16, 8, 0):
        crc ^= (index >> shift) & 0xFF
        for _ in range(8):
            crc = ((crc << 1) ^ 0x07 if crc & 0x80 else crc << 1) & 0xFF
    return crc


def cells(index: int) -> Array:
    """The strip's cells for an index, left to right: 1 light, 0 dark."""
    word = (0b10 << (INDEX_BITS + CHECK_BITS)) | (index << CHECK_BITS) | checksum(index)
    return ((word << 2) >> np.arange(CELLS - 1, -1, -1)) & 1


def strip_row(index: int, width: int) -> Array:
    """One row of the strip as luma values for limited-range video."""
    levels = np.where(cells(index), LIGHT, DARK).astype(np.uint8)
    return levels[(2 * np.arange(width) + 1) * CELLS // (2 * width)]


# ── the pictures ─────────────────────────────────────────────────────────────────────────────────


class Scenery:
    """One scene, made ready so that a frame costs three copies and a small blend."""

    def __init__(
        self, scene: Scene, number: int, size: tuple[int, int], halving: int, full_range: bool
    ) -> None:
        self.scene = scene
        self.width, self.height = size
        self.full = full_range
        self.steps = (1, halving, halving)
        colours = np.array(_PALETTES[self.scene.palette % len(_PALETTES)], np.float32)
        # Twice as wide as the picture and repeating, so that panning is a matter of slicing.
        self.period = 2 * self.width if self.scene.pan else self.width
        land = _landscape(self.period, self.height, colours, number)
        if self.scene.texture:
            land = land + self.scene.texture * _grain(self.period, self.height, number)[..., None]
        if self.scene.pan:
            land = np.concatenate([land, land[:, : self.width]], axis=1)
        self.land = self._planes(land)
        self.size = max(8, 2 * round(min(self.width, self.height) * 0.17))
        ball, alpha = _ball(self.size, colours[4])
        alphas = [alpha[::step, ::step] for step in self.steps]
        # 8-bit fixed point: background * (256 - alpha) + colour * alpha.
        self.keep = [256 - a for a in alphas]
        self.ball = [
            plane.astype(np.uint16) * alpha
            for plane, alpha in zip(self._planes(ball), alphas, strict=True)
        ]

    def draw(self, planes: list[Array], index: int, seconds: float) -> None:
        """Draw the frame of this index, this many seconds after the scene's first."""
        strip = strip_height(self.height)
        # Even places keep the halved chroma on the same grid as the luma.
        offset = int(self.scene.pan * seconds % self.period) // 2 * 2
        x, y = (
            int(_bounce(room * 0.3 + speed * seconds, room)) // 2 * 2
            for room, speed in zip(
                (self.width - self.size, self.height - strip - self.size),
                self.scene.velocity,
                strict=True,
            )
        )
        for part, (plane, step) in enumerate(zip(planes, self.steps, strict=True)):
            left = offset // step
            plane[:] = self.land[part][:, left : left + plane.shape[1]]
            side = self.keep[part].shape[0]
            spot = plane[y // step : y // step + side, x // step : x // step + side]
            spot[:] = (spot * self.keep[part] + self.ball[part]) >> 8
            plane[plane.shape[0] - strip // step :] = 128
        row = strip_row(index, self.width)
        planes[0][self.height - strip :] = _stretched(row) if self.full else row

    def _planes(self, rgb: Array) -> list[Array]:
        """Y, Cb and Cr planes of a picture in RGB, BT.601."""
        luma = rgb @ np.array([0.299, 0.587, 0.114], np.float32)
        blue = (rgb[..., 2] - luma) * 0.564
        red = (rgb[..., 0] - luma) * 0.713
        if not self.full:
            luma, blue, red = 16 + luma * (219 / 255), blue * (224 / 255), red * (224 / 255)
        return [
            np.clip(np.rint(plane[::step, ::step]), 0, 255).astype(np.uint8)
            for plane, step in zip((luma, blue + 128, red + 128), self.steps, strict=True)
        ]


def _stretched(luma: Array) -> Array:
    """Limited-range luma as full range."""
    wide: Array = np.rint((luma.astype(np.float32) - 16) * (255 / 219))
    return np.clip(wide, 0, 255).astype(np.uint8)


def _bounce(place: float, room: int) -> float:
    """A place that travels on and on, folded into [0, room]."""
    if room <= 0:
        return 0.0
    folded = place % (2 * room)
    return min(folded, 2 * room - folded)


def _landscape(width: int, height: int, colours: Array, seed: int) -> Array:
    """Sky and two ranges of hills in RGB; its right edge continues at its left."""
    above, horizon, far, near, _ = colours
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    land = np.broadcast_to(above + (horizon - above) * np.minimum(y / 0.8, 1), (height, width, 3))
    around = np.arange(width, dtype=np.float32) * np.float32(2 * math.pi / width)
    for level, colour, waves in ((0.6, far, (2, 3, 7)), (0.78, near, (1, 4, 9))):
        ridge = level - sum(
            np.sin(around * wave + seed * 1.7 + wave) * (0.1 / wave**0.7) for wave in waves
        )
        depth = (y[..., 0] - ridge) * height
        # One row of soft edge; lower slopes fade towards the haze of the horizon.
        cover = np.clip(depth + 0.5, 0, 1)[..., None]
        haze = np.clip(depth / height * 0.9, 0, 0.35)[..., None]
        land = land + (colour + (horizon - colour) * haze - land) * cover
    # A trace of noise hides the bands that 8 bits would show in a slow gradient.
    noise = np.random.default_rng(seed).random((height, width, 1), np.float32)
    return cast(Array, land + (noise - 0.5))


def _grain(width: int, height: int, seed: int) -> Array:
    """Random hills and dales within -1..1; the right edge continues at the left.

    The finest grain is four pixels wide: finer ones would not outlive an encoder.
    """
    random = np.random.default_rng((seed, width, height))
    total, sizes = np.zeros((height, width), np.float32), (4, 8, 16, 32, 64)
    for size in sizes:
        across, down = max(2, round(width / size)), max(2, round(height / size))
        heights = random.uniform(-1, 1, (down, across)).astype(np.float32)
        total += _between(height, down).T @ heights @ _between(width, across)
    return cast(Array, total / len(sizes))


def _between(pixels: int, knots: int) -> Array:
    """How much each of some knots on a ring counts at each pixel of it: (knots, pixels)."""
    places = np.arange(pixels) * (knots / pixels)
    before = places.astype(int)
    share = (places - before).astype(np.float32)
    weights = np.zeros((knots, pixels), np.float32)
    weights[before % knots, np.arange(pixels)] = 1 - share
    weights[(before + 1) % knots, np.arange(pixels)] += share
    return weights


def _ball(size: int, colour: Array) -> tuple[Array, Array]:
    """A shaded ball in a halo: RGB, and its opacity in 1/256 as unsigned integers."""
    across = (np.arange(size, dtype=np.float32) + 0.5) / (size / 2) - 1
    x, y = across[None, :], across[:, None]
    radius = np.hypot(x, y)
    core = np.clip((0.6 - radius) * size / 2, 0, 1)
    halo = 0.45 * np.clip((1 - radius) / 0.4, 0, 1) ** 2
    shade = 1 - 0.25 * np.clip(np.hypot(x + 0.2, y + 0.2) / 0.8, 0, 1) ** 2
    rgb = colour * shade[..., None].astype(np.float32)
    return rgb, np.rint(np.maximum(core, halo) * 256).astype(np.uint16)
