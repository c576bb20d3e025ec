"""A film whose channels of sound beep one after the other, however many there are."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RATE = 48_000
BEEP = 0.05
BETWEEN = 0.1


def film_of(path: Path, codec: str, layout: str) -> Path:
    """A film whose channels beep one after the other, the first of them at 0.1 s.

    Its sound is mixed by nobody here: each sample is written where it belongs.
    """
    known = av.AudioLayout(layout)
    count = known.nb_channels
    seconds = 0.3 + BETWEEN * count
    with av.open(str(path), "w") as film:
        pictures = film.add_stream("libx264", rate=20, options={"preset": "ultrafast"})
        assert isinstance(pictures, av.VideoStream)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 36, "yuv420p"
        # Opus gives more than eight channels no places.
        told = {"mapping_family": "255"} if codec == "libopus" and count > 8 else {}
        sound = film.add_stream(codec, rate=RATE, layout=layout, options=told)
        assert isinstance(sound, av.AudioStream)
        for number in range(math.ceil(seconds * 20)):
            frame = av.VideoFrame(64, 36, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 20)
            film.mux(pictures.encode(frame))
        film.mux(pictures.encode(None))
        samples = np.zeros((round(seconds * RATE), count), np.int16)
        tone = np.sin(np.arange(round(BEEP * RATE)) * (2 * np.pi * 1000 / RATE)) * 16_000
        for channel in range(count):
            onset = round((0.1 + BETWEEN * channel) * RATE)
            samples[onset : onset + len(tone), channel] = tone
        for first in range(0, len(samples), 960):
            part = np.ascontiguousarray(samples[first : first + 960])
            heard = av.AudioFrame(format="s16", layout=layout, samples=len(part))
            heard.planes[0].update(part.tobytes())
            heard.sample_rate, heard.pts, heard.time_base = RATE, first, Fraction(1, RATE)
            film.mux(sound.encode(heard))
        film.mux(sound.encode(None))
    return path
