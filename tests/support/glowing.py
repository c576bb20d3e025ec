"""A step that asks for a GPU and needs none (imported by its bare name)."""

from __future__ import annotations

from finecut.io.records import Clip, Scores
from finecut.transforms.models.resources import Resources
from finecut.transforms.step import EachClip, Frames


class Glowing(EachClip):
    """Every second clip glows."""

    scores = ("glow",)
    resources = Resources(gpus=1)

    def look(self, clip: Clip, frames: Frames) -> Scores:
        return {"glow": float(clip.planned.index % 2)}
