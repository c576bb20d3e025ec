"""Long films, made quickly: the packets of short ones, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av


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
