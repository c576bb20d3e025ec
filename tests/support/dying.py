"""Steps that break like a GPU that dies, and like a broken model (imported by their bare name)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

from finecut.io.records import Clip, Scores
from finecut.transforms.step import EachClip, Frames

#: Names the file that says that a GPU has died.
MARK = "FINECUT_TESTS_DIED"
#: The clip at which it does.
THIRD = 3


class Dying(EachClip):
    """Its GPU dies in the first process that is asked: there, everything fails from then on."""

    scores = ("glow",)
    asked: ClassVar[int] = 0
    dead: ClassVar[bool] = False

    def look(self, clip: Clip, frames: Frames) -> Scores:
        mark = Path(os.environ[MARK])
        Dying.asked += 1
        if not mark.exists() and Dying.asked >= THIRD:
            mark.touch()
            Dying.dead = True
        if Dying.dead:
            raise RuntimeError("CUDA error: unspecified launch failure\nCompile with …")
        return {"glow": 1.0}


class Broken(EachClip):
    """Marks every clip."""

    scores = ("glow",)

    def look(self, clip: Clip, frames: Frames) -> Scores:
        raise KeyError("glow")
