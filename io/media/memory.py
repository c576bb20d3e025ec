"""Giving memory back: what a finished clip needed does not stay with the process.

Two habits keep it otherwise. The C library holds freed blocks of up to 32 MB for later, in pieces
that rarely fit the next film; asked to, it takes blocks of a frame's size from the system and
returns them at once. And PyAV's containers and streams refer to each other, so an encoder with the
frames it holds (100 MB at 720p) lives until Python's collector happens to run.
"""

from __future__ import annotations

import ctypes
import gc
from functools import cache

#: ``M_MMAP_THRESHOLD`` of GNU's ``mallopt``.
THRESHOLD = -3
FRAME_BYTES = 1 << 20


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
