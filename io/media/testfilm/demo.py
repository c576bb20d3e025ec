"""The films of ``finecut demo``."""

from __future__ import annotations

import os
from pathlib import Path

from finecut.io.media.testfilm.paint import Painting, Scene, Transition, paint


def demo_films(folder: str | os.PathLike[str]) -> list[Painting]:
    """Three short films to show and to try the cutter on, painted into a folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return [
        paint(
            folder / "morning.mp4",
            width=640,
            height=360,
            rate=30,
            seconds=12,
            cuts=(3.5, 7.0, 9.2),
            sound="aac",
            scenes=(
                Scene(0, (90, -12), 90, texture=8),
                Scene(1, (40, 30)),
                Scene(3, (-110, 40), 120, texture=8),
                Scene(2, (60, 10), -90, texture=8),
            ),
        ),
        paint(
            folder / "night.webm",
            width=480,
            height=270,
            rate=24,
            seconds=10,
            cuts=(2.75, 6.25),
            sound="libopus",
            codec="libvpx-vp9",
            transitions=(Transition("dissolve", 0.6), Transition()),
            scenes=(
                Scene(2, (70, -8), 96, texture=8),
                Scene(4, (45, 12)),
                Scene(0, (-80, -15), -72, texture=8),
            ),
        ),
        paint(
            folder / "desert.mov",
            width=426,
            height=240,
            rate=25,
            seconds=9,
            cuts=(2.4, 5.0, 7.6),
            transitions=(Transition(), Transition("fade", 0.8), Transition()),
            sound="pcm_s16le",
            scenes=(
                Scene(5, (80, 15), 100, texture=8),
                Scene(1, (-60, 20), 50, texture=8),
                Scene(3, (50, -30), -100, texture=8),
                Scene(5, (0, 0)),
            ),
        ),
    ]
