"""What the work of a run usually costs: a guess for what it has not done yet (:mod:`time_left`).

Only the ratios count, since how fast a machine is soon shows. What was seen soon outweighs a guess;
only of what begins late, such as cutting where scenes are detected first, it has to be a good one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from finecut.pipeline.choices.cutting import COPY, ENCODE_ALL, FIXED_STRIDE, SMART, TRANSNETV2

if TYPE_CHECKING:
    from finecut.pipeline.options import Options

#: Kinds of work, in the order in which they begin.
SKIP, PROBE, WATCH, CUT, WRITE, REPORT = "skip", "probe", "watch", "cut", "write", "report"
#: Those that need processors; of the others, the time is spent waiting, or by one process.
WORK: Final = (WATCH, CUT, WRITE)

# Processor seconds. Those of what is watched and cut are for a billion of the
# pixels that ``finecut.transforms.amount`` counts: 30 seconds of an ordinary video in 720p.
BILLION: Final = 1e6
SKIPPED, PROBED, WRITTEN, REPORTED = 0.005, 0.05, 0.01, 0.001
WATCHED, WATCHED_BY_NETWORK = 0.85, 4.0
MADE: Final = {ENCODE_ALL: 7.0, SMART: 1.6, COPY: 0.2}
#: Encoders, beside the usual one.
DEARER: Final = {"libvpx-vp9": 9.0}
#: What each measure that is taken meanwhile adds.
MEASURED: Final = 0.3

#: How much of a video becomes clips: scenes are cropped, and some are too short.
OF_SCENES, OF_ALL = 0.8, 1.0
#: Seconds of a scene that becomes a clip.
SCENE: Final = 5.0


class UsualCosts(NamedTuple):
    """Processor seconds, and what becomes of videos."""

    #: Of each kind of work that is done, for one that is counted.
    costs: Mapping[str, float]
    #: How much of a video becomes clips.
    kept: float
    #: How many clips come of a millisecond.
    clips: float
    workers: int


def usual_costs(options: Options) -> UsualCosts:
    """What is usual with these options."""
    given = options.cuts is not None
    scenes = options.splitting_algorithm != FIXED_STRIDE and not given
    steps = (*options.measuring, *options.making)
    made = MADE[options.transcode] * DEARER.get(options.encoder, 1.0)
    made += MEASURED * sum(not step.stage for step in steps)
    costs = {
        SKIP: SKIPPED,
        PROBE: PROBED,
        CUT: made / BILLION,
        WRITE: WRITTEN + sum(step.usual_seconds for step in steps),
        REPORT: 0.0 if options.no_report or options.dry_run else REPORTED,
    }
    if scenes:
        network = options.splitting_algorithm == TRANSNETV2
        costs[WATCH] = (WATCHED_BY_NETWORK if network else WATCHED) / BILLION
    return UsualCosts(
        costs,
        OF_SCENES if scenes or given else OF_ALL,
        1e-3 / (SCENE if scenes or given else options.clip_length),
        options.local_workers,
    )
