"""Where videos are cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from finecut.transforms.option import CUT, SCENES, option

FIXED_STRIDE, TRANSNETV2, CONTENT = "fixed_stride", "transnetv2", "content"
LEAST_STRIDE: Final = 0.001


@dataclass(frozen=True, kw_only=True)
class CutChoices:
    splitting_algorithm: str = option(
        FIXED_STRIDE,
        CUT,
        "Where to cut: at regular intervals, at scene changes found by a neural network, or at "
        "scene changes found by simple arithmetic on the pictures (needs no model).",
        choices=(FIXED_STRIDE, TRANSNETV2, CONTENT),
    )

    cuts: str | None = option(
        None,
        CUT,
        "Cut at the times in this file instead (.json or .csv: cuts or scenes of each video).",
        metavar="FILE",
        shown="none",
    )

    clip_length: float = option(
        10.0, CUT, "Length of a clip in seconds, with a fixed stride.", metavar="SECONDS", above=0
    )

    clip_stride: float | None = option(
        None,
        CUT,
        "Distance from the start of one clip to the start of the next; if it is less than the "
        "length, clips overlap.",
        metavar="SECONDS",
        shown="the length",
        above=0,
    )

    min_clip_length: float = option(
        2.0,
        CUT,
        "Drop clips that are shorter than this, at the end of a video or of a scene.",
        metavar="SECONDS",
        least=0,
    )

    chunk_seconds: int = option(
        256,
        CUT,
        "Close a chunk (the unit of work, and of one Parquet file) when its clips add up to this "
        "many seconds.",
        metavar="SECONDS",
        above=0,
    )

    limit_clips: int = option(
        0, CUT, "Cut at most this many clips from each video; 0 means all.", metavar="N", least=0
    )

    max_clip_length: float = option(
        10.0,
        SCENES,
        "Divide longer scenes into several clips; 0 means no limit.",
        metavar="SECONDS",
        least=0,
    )

    long_scenes: str = option(
        "stride",
        SCENES,
        "What to do with a scene that is longer: clips one after the other, or one clip from "
        "its beginning.",
        choices=("stride", "truncate"),
    )

    crop: float | None = option(
        None,
        SCENES,
        "Leave out this much at both ends of a scene, where a transition may be visible.",
        metavar="SECONDS",
        shown="0.5; 0 with --cuts",
        least=0,
    )

    crop_every_piece: bool = option(
        False, SCENES, "Crop every clip of a long scene at both ends, as NeMo Curator does."
    )

    transnetv2_threshold: float = option(
        0.4,
        SCENES,
        "Probability above which a frame belongs to a transition (transnetv2).",
        metavar="P",
        least=0,
        most=1,
    )

    skip_uncut: bool = option(
        False, SCENES, "Make no clip from a video in which no transition is found."
    )
