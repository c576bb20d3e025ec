"""Frames: how a source stores them, the picture a clip shows, and what observers see of them.

Clips are upright, have square pixels, even sides and yuv420p in video range, because that is what
every training loader and player expects. Most sources are so already, and then the decoder's frame
is handed on untouched; only the others pass through a filter.

The cut decodes every frame once. A :class:`FrameView` is one of these frames; an observer sees
every frame of its clip, in order, and takes from it what it came for: a smaller picture, the grey
plane as it lies in memory, the motion vectors the decoder followed. Nothing is converted before it
is asked for, since most frames are not.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Protocol

import av
import numpy as np
from av.sidedata.motionvectors import MotionVectors
from av.sidedata.sidedata import SideData
from av.video.reformatter import Colorspace, VideoReformatter

from finecut.io.media.limits import FilmError

Array = np.typing.NDArray[Any]
Bytes = np.typing.NDArray[np.uint8]

#: FFmpeg's numbers of the kinds of pictures.
KINDS = {1: "I", 2: "P", 3: "B"}

#: Signs of the display matrix (a, b, c, d) → what turns the stored picture upright.
UPRIGHT: dict[tuple[int, int, int, int], tuple[str, ...]] = {
    (1, 0, 0, 1): (),
    (-1, 0, 0, 1): ("hflip",),
    (1, 0, 0, -1): ("vflip",),
    (-1, 0, 0, -1): ("hflip", "vflip"),
    (0, 1, -1, 0): ("transpose=clock",),
    (0, -1, 1, 0): ("transpose=cclock",),
    (0, 1, 1, 0): ("transpose=cclock_flip",),
    (0, -1, -1, 0): ("transpose=clock_flip",),
}

UNTURNED = (1, 0, 0, 1)

FULL_RANGE = 2

#: FFmpeg's number of a colour matrix → what the scaler calls it.
MATRICES = {1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 9: "bt2020nc"}
RGB, UNKNOWN, BT709, BT470BG, SMPTE170M, YCGCO = 0, 2, 1, 5, 6, 8
#: Those that neither the scaler nor most players know: taken for another, colours are wrong.
REFUSED = {
    10: "BT.2020 with constant luminance",
    11: "Y'D'zD'x (SMPTE ST 2085)",
    12: "derived from its primaries",
    13: "derived from its primaries, with constant luminance",
    14: "ICtCp",
    15: "IPT-C2",
    16: "YCgCo-Re",
    17: "YCgCo-Ro",
}
#: Formats that YCgCo is converted in; others are brought into the nearest of them first.
YCGCO_FORMATS = "yuv420p|yuv422p|yuv444p|yuv420p10le|yuv422p10le|yuv444p10le"
#: From this height on, RGB becomes the matrix of high definition.
HIGH_DEFINITION = 720

#: The same numbers → what PyAV's reformatter calls them; all others are standard definition.
_REFORMATTED = {1: "ITU709", 4: "FCC", 7: "SMPTE240M", 9: "BT2020"}

SQUARE = Fraction(1)
#: A stranger shape than this is a broken header, not a lens.
STRANGEST_PIXEL = 8


@dataclass(frozen=True)
class Stored:
    """How a frame lies in memory: everything that decides what has to be done to it."""

    width: int
    height: int
    pix_fmt: str
    full_range: bool
    sample_aspect_ratio: Fraction
    matrix: tuple[int, int, int, int] = UNTURNED
    colorspace: int = UNKNOWN
    primaries: int = UNKNOWN
    transfer: int = UNKNOWN


def stored(
    frame: av.VideoFrame, ratio: Fraction | None, matrix: tuple[int, int, int, int]
) -> Stored:
    """Read it off a decoded frame; the shape of its pixels and its turn are the stream's to say.

    Pixels are square when their aspect ratio is not given or absurd.
    """
    return Stored(
        width=frame.width,
        height=frame.height,
        pix_fmt=frame.format.name,
        full_range=frame.color_range == FULL_RANGE or frame.format.name.startswith("yuvj"),
        sample_aspect_ratio=(
            ratio if ratio and 1 <= max(ratio, 1 / ratio) <= STRANGEST_PIXEL else SQUARE
        ),
        matrix=matrix,
        colorspace=frame.colorspace,
        primaries=frame.color_primaries,
        transfer=frame.color_trc,
    )


def clip_colorspace(source: Stored) -> int:
    """The matrix of the clip's colours: the source's own, so that they stay what they are.

    (But RGB has none, and hardly any player knows YCgCo.)
    """
    if source.colorspace not in (RGB, YCGCO):
        return source.colorspace
    return BT709 if source.height >= HIGH_DEFINITION else SMPTE170M


def matrix_number(colorspace: int, height: int) -> int:
    """The matrix of the colours; where none is given, that which players assume."""
    return BT709 if colorspace == UNKNOWN and height >= HIGH_DEFINITION else colorspace


def matrix_name(colorspace: int, height: int = 0) -> str:
    """The same by the name that PyAV's reformatter knows it by."""
    refuse_matrix(colorspace)
    return _REFORMATTED.get(matrix_number(colorspace, height), "ITU601")


def refuse_matrix(colorspace: int) -> None:
    """Colours that nobody here can turn into those of a clip are not guessed at."""
    if colorspace in REFUSED:
        raise FilmError(
            f"the colours of its frames are stored as {REFUSED[colorspace]} (matrix {colorspace}). "
            "They cannot be converted here, and would be wrong if treated as something else. "
            "Usually the file is a studio master, or its header is damaged. Export it with BT.709 "
            "or BT.2020 (non-constant luminance) colours."
        )


def display_matrix(frame: av.VideoFrame) -> tuple[int, int, int, int]:
    """Signs of the rotation in the frame's display matrix; a slanted one counts as upright.

    Ask the first frame only: a frame whose side data was looked at refers to itself, and stays in
    memory until the collector runs.
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if isinstance(matrix, SideData):
        a, b, _, c, d = struct.unpack("=9i", bytes(matrix))[:5]
        signs = (_sign(a), _sign(b), _sign(c), _sign(d))
        if signs in UPRIGHT:
            return signs
    return UNTURNED


def upright_size(source: Stored) -> tuple[int, int]:
    """Width and height of the clip: turned, square pixels (never by throwing some away), even."""
    width, height, ratio = source.width, source.height, source.sample_aspect_ratio
    if source.matrix[0] == 0:
        width, height, ratio = height, width, 1 / ratio
    if ratio > 1:
        width = round(width * ratio)
    elif ratio < 1:
        height = round(height / ratio)
    return max(2, width - width % 2), max(2, height - height % 2)


def filters(source: Stored, size: tuple[int, int], colorspace: int | None = None) -> list[str]:
    """The filter chain that makes the picture of this size, empty when there is nothing to do.

    ``colorspace`` is the clip's matrix, where it may be another than the source would have.
    """
    refuse_matrix(source.colorspace)
    wanted = clip_colorspace(source) if colorspace is None else colorspace
    chain = list(UPRIGHT[source.matrix])
    if source.colorspace == YCGCO:
        chain += _from_ycgco(source)
        source = replace(source, colorspace=BT709, full_range=False)
    turned = (source.width, source.height)
    if source.matrix[0] == 0:
        turned = turned[::-1]
    if turned != size and (turned[0] // 2 * 2, turned[1] // 2 * 2) == size:
        # An odd side loses one line: resampling the whole picture would blur it.
        chain.append(f"crop={size[0]}:{size[1]}:0:0:exact=1")
        turned = size
    if (
        turned != size
        or source.full_range
        or source.pix_fmt != "yuv420p"
        or _others(source, size, wanted)
    ):
        chain.append(_scale(source, size, wanted))
    if chain:
        chain += ["setsar=1", "format=yuv420p"]
    if "vflip" in chain:
        # It only says that rows are to be read upwards, which not everybody does.
        chain.append("copy")
    return chain


def _others(source: Stored, size: tuple[int, int], wanted: int) -> bool:
    """Whether the clip's colours are made by another matrix than the source's."""
    return source.colorspace != RGB and _meant(source.colorspace, source.height) != _meant(
        wanted, size[1]
    )


def _meant(colorspace: int, height: int) -> str:
    """The matrix that players use, by the scaler's name; the two of standard definition are one."""
    colorspace = matrix_number(colorspace, height)
    return MATRICES[colorspace if colorspace in MATRICES and colorspace != BT470BG else SMPTE170M]


def _from_ycgco(source: Stored) -> list[str]:
    """The steps that make BT.709 of YCgCo, which the scaler does not know."""
    read = "full" if source.full_range else "tv"
    # Only the matrix is another: primaries and transfer are the same in both.
    same = ":".join(f"{name}=bt709" for name in ("iprimaries", "primaries", "itrc", "trc"))
    return [
        "setparams=colorspace=unknown",
        f"scale=flags=bicubic:in_range={read}:out_range=tv",
        f"format={YCGCO_FORMATS}",
        f"colorspace=ispace=ycgco:space=bt709:irange=tv:range=tv:fast=1:{same}",
    ]


def _scale(source: Stored, size: tuple[int, int], wanted: int) -> str:
    """The step that changes size, range, format or matrix, or says that colours are to stay.

    By default, the scaler turns every matrix into that of standard definition on its way.
    """
    scale = f"scale={size[0]}:{size[1]}:flags=bicubic:out_range=tv"
    if source.full_range:
        scale += ":in_range=full"
    if _others(source, size, wanted):
        read, made = _meant(source.colorspace, source.height), _meant(wanted, size[1])
        scale = scale.replace("bicubic", "bicubic+accurate_rnd+full_chroma_int")
        return f"{scale}:out_color_matrix={made}:in_color_matrix={read}"
    if wanted in MATRICES:
        scale += f":out_color_matrix={MATRICES[wanted]}"
        if source.colorspace != RGB:
            scale += f":in_color_matrix={MATRICES[wanted]}"
    return scale


class Upright:
    """Makes every frame of a film the same kind of picture, whatever changes on its way."""

    def __init__(self, first: Stored) -> None:
        self.first = first
        self.size = upright_size(first)
        self.colorspace = clip_colorspace(first)
        self._made_for: Stored | None = None
        self._graph: av.filter.Graph | None = None

    def __call__(self, frame: av.VideoFrame, source: Stored) -> av.VideoFrame:
        if source != self._made_for:
            self._graph, self._made_for = self._build(frame, source), source
        if self._graph is None:
            return frame
        self._graph.vpush(frame)
        return self._graph.vpull()

    def _build(self, frame: av.VideoFrame, source: Stored) -> av.filter.Graph | None:
        chain = filters(source, self.size, self.colorspace)
        if not chain:
            return None
        graph = av.filter.Graph()
        graph.link_nodes(
            graph.add_buffer(
                width=frame.width,
                height=frame.height,
                format=frame.format,
                time_base=frame.time_base,
            ),
            *(
                graph.add(name, arguments or None)
                for name, _, arguments in (step.partition("=") for step in chain)
            ),
            graph.add("buffersink"),
        )
        graph.configure()
        return graph


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)


# ── what observers see ───────────────────────────────────────────────────────────────────────────


class Observer(Protocol):
    """Sees every frame of one clip."""

    def see(self, view: "FrameView", seconds: Fraction) -> None:
        """This frame is shown this many seconds after the clip's first one."""

    def end(self) -> None:
        """There are no more frames."""


class Sampler(Observer, Protocol):
    """Sees some frames of one clip: those that are cheap to decode."""

    def wants(self, times: Sequence[Fraction]) -> set[int]:
        """All frames are shown at these times: the numbers of those it would like to see."""

    def more(self, times: Sequence[Fraction]) -> int:
        """Frames shown at these times can be had next: how many it wants, from the first on.

        It is asked again when it has seen them, about those that are left.
        """


class Scalers:
    """One scaler for each size that is asked for: making one costs more than using it."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, int, str], VideoReformatter] = {}

    def __call__(
        self,
        frame: av.VideoFrame,
        width: int,
        height: int,
        form: str,
        matrix: Colorspace | None = None,
    ) -> av.VideoFrame:
        if matrix is None and frame.colorspace == YCGCO:
            # The scaler does not know this one; of such frames only the grey plane is asked for.
            matrix = Colorspace.ITU601
        return self._made.setdefault((width, height, form), VideoReformatter()).reformat(
            frame, width, height, form, src_colorspace=matrix, interpolation="AREA"
        )


class FrameView:
    """One frame on its way through the cut."""

    def __init__(self, decoded: av.VideoFrame, picture: av.VideoFrame, scalers: Scalers) -> None:
        #: As the source stores it, which is what motion vectors count in; and as the clip shows it.
        self.decoded, self.picture = decoded, picture
        self._scalers = scalers
        #: Noted now: the encoder overwrites it.
        self.kind = KINDS.get(decoded.pict_type, "")
        self._small: dict[tuple[int, int], Bytes] = {}
        #: Whether the frame stays in memory until the collector runs: its side data was read.
        self.clings = False
        self._vectors: np.typing.NDArray[Any] | None = None

    def vectors(self) -> np.typing.NDArray[Any] | None:
        """The codec's motion vectors; ``None`` when it has none (or none for this frame)."""
        if not self.clings:
            self.clings = True
            found = self.decoded.side_data.get("MOTION_VECTORS")
            self._vectors = found.to_ndarray() if isinstance(found, MotionVectors) else None
        return self._vectors

    def luma(self) -> Bytes:
        """The grey plane of the clip's picture, as it lies in memory: do not change it."""
        return plane(self.picture, 0)

    def small_luma(self, width: int, height: int) -> Bytes:
        """The grey plane of the stored picture, shrunk."""
        size = (width, height)
        if size not in self._small:
            self._small[size] = plane(self._scalers(self.decoded, width, height, "gray"), 0)
        return self._small[size]

    def shrunk(self, width: int, height: int) -> Bytes:
        """The clip's picture as yuv420p of this (even) size: three planes below each other."""
        return pixels(self._scalers(self.picture, width, height, "yuv420p"))


def pixels(frame: av.VideoFrame) -> Bytes:
    """The whole picture of an 8-bit format, copied."""
    return np.asarray(frame.to_ndarray(), np.uint8)


def plane(frame: av.VideoFrame, index: int) -> Bytes:
    """A plane without the padding at the end of its rows; no copy."""
    part = frame.planes[index]
    rows = np.frombuffer(part, np.uint8).reshape(-1, part.line_size)  # type: ignore[call-overload]
    return np.asarray(rows[: part.height, : part.width])
