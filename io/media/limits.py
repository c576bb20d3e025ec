"""How much one file may ask for, so that a small file cannot take a machine away from the others.

A film is known by its header long before it is decoded, and headers lie: a few hundred bytes can
ask for gigabytes, or promise a hundred years. What lies beyond these limits is refused, before the
first picture is decoded where the header says it, else as soon as it shows.

And what a finished clip needed does not stay with the process. Two habits keep it otherwise. The C
library holds freed blocks of up to 32 MB for later, in pieces that rarely fit the next film; asked
to, it takes blocks of a frame's size from the system and returns them at once. And PyAV's
containers and streams refer to each other, so an encoder with the frames it holds (100 MB at 720p)
lives until Python's collector happens to run.
"""

import ctypes
import gc
from dataclasses import dataclass
from functools import cache

#: ``M_MMAP_THRESHOLD`` of GNU's ``mallopt``.
THRESHOLD = -3
FRAME_BYTES = 1 << 20


class FilmError(Exception):
    """A file that cannot be cut; the message says what it is and what usually made it so."""


@dataclass(frozen=True)
class Limits:
    """The most one film may have; generous for films, narrow for bombs."""

    #: Of one picture: 8192 by 8192 (8K is 33 million).
    pixels: int = 67_108_864
    seconds: float = 86_400.0
    #: A day at 115 frames a second.
    frames: int = 10_000_000
    #: Tracks of any kind in one file.
    streams: int = 64

    @property
    def decoder_pixels(self) -> int:
        """What decoders are given: they pad pictures to whole blocks, of up to 64 by 64."""
        return self.pixels * 5 // 4 + 65_536

    def refuse_pixels(self, width: int, height: int) -> None:
        if width * height > self.pixels:
            raise FilmError(
                f"a frame has {width} by {height} = {width * height:,} pixels, and the limit is "
                f"{self.pixels:,}. Usually a header is damaged, or the file was made "
                "to exhaust memory; scale it down, or raise --max-pixels."
            )

    def refuse_frames(self, frames: float) -> None:
        if frames > self.frames:
            raise FilmError(
                f"the video has {frames:,.0f} frames or more; the limit is {self.frames:,}. "
                "Usually its header is damaged or has a wrong frame rate. Remux the file with "
                "its real rate, split it, or raise --max-frames."
            )


USUAL_LIMITS = Limits()


# ── giving memory back ───────────────────────────────────────────────────────────────────────────


@cache
def prepare_process() -> None:
    """For a process of our own, once, before the first cut: large blocks go back at once, and
    collecting becomes cheap.

    What has been built until now (most of it Beam) stays anyway, so the collector need not visit
    it after every clip: 0.3 ms instead of 60 to 170. Only once, because an encoder that another
    thread has open at that moment would never be collected.
    """
    return_large_blocks()
    gc.collect()
    gc.freeze()


def return_large_blocks() -> None:
    """Have the C library give blocks of a frame's size back as soon as they are freed."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(THRESHOLD, FRAME_BYTES)


def let_go() -> None:
    """Free the encoders and decoders nobody refers to any more."""
    gc.collect()


def let_go_of_frames() -> None:
    """Free frames that refer to themselves, while they are young: this takes a tenth of the time.

    Not while such a frame is in use: the collector would take it for a lasting thing.
    """
    gc.collect(1)
