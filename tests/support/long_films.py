"""Long films, made quickly: the packets of short ones, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from finecut.io.media.testfilm.paint import Painting, Transition, paint

#: Seconds of the piece that is painted for a film of hours.
PIECE = 300
KINDS = (Transition(), Transition(), Transition("dissolve", 1), Transition(), Transition("fade", 1))


def in_a_row(pieces: Sequence[Path], target: Path, seconds: int) -> Path:
    """One film of pieces of so many seconds each, of the same encoder; they have no sound."""
    with av.open(str(target), "w") as written:
        track: Any = None
        for number, piece in enumerate(pieces):
            with av.open(str(piece)) as source:
                track = track or written.add_stream_from_template(source.streams.video[0])
                for packet in source.demux(video=0):
                    if packet.pts is not None and packet.dts is not None:
                        later = round(seconds * number / packet.time_base)
                        packet.pts, packet.dts = packet.pts + later, packet.dts + later
                        packet.stream = track
                        written.mux(packet)
    return target


def key_frames(film: str) -> list[Fraction]:
    """When key frames are shown, from the first of them."""
    with av.open(film) as source:
        shown = [
            (packet.pts * packet.time_base, packet.is_keyframe)
            for packet in source.demux(video=0)
            if packet.pts is not None
        ]
    first, _ = min(shown)
    return [seconds - first for seconds, is_key in shown if is_key]


def film_of_hours(folder: Path, hours: int, rate: int) -> tuple[Painting, Path]:
    """A tiny film with a cut, a dissolve or a fade every few seconds, and its piece."""
    cuts = [3 + 5.1 * number + 1.3 * (number % 4) for number in range(57)]
    transitions = [KINDS[number % len(KINDS)] for number in range(len(cuts))]
    piece = paint(
        folder / "piece.mp4",
        width=64,
        height=36,
        rate=rate,
        seconds=PIECE,
        cuts=cuts,
        transitions=transitions,
        gop=10 * rate,
    )
    times = hours * 3600 // PIECE
    return piece, in_a_row([Path(piece.path)] * times, folder / "film.mp4", PIECE)
