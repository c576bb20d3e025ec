"""The summary of a run, which can be added up: what became of videos and of planned clips."""

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from finecut.io.records import Failure


@dataclass(frozen=True)
class Summary:
    """What a run did. The laws of conservation are checked by :meth:`imbalances`."""

    videos_found: int = 0
    videos_done: int = 0
    videos_empty: int = 0
    videos_failed: int = 0
    shots_planned: int = 0
    shots_kept: int = 0
    shots_rejected: int = 0
    shots_failed: int = 0
    seconds_found: float = 0.0
    seconds_kept: float = 0.0
    clip_bytes: int = 0
    frames: int = 0
    failures: tuple[Failure, ...] = ()
    num_failures: int = 0
    #: How many planned clips each rule rejected.
    rejected_by: Mapping[str, int] = field(default_factory=dict)
    #: How many clips are marked with each kind of error, although they exist.
    marked: Mapping[str, int] = field(default_factory=dict)
    #: How many clips have a vector of each embedder, and what became of how many captions.
    vectors: Mapping[str, int] = field(default_factory=dict)
    captions: Mapping[str, int] = field(default_factory=dict)
    #: Of all clips that were worked on, kept or rejected.
    seconds_cut: float = 0.0
    #: Not touched, because an earlier run wrote all of them.
    videos_skipped: int = 0
    #: Of the failed ones: not tried again.
    videos_set_aside: int = 0
    #: Of all clips that were planned; of the videos that were skipped; by rule that rejected.
    seconds_planned: float = 0.0
    seconds_skipped: float = 0.0
    seconds_rejected: Mapping[str, float] = field(default_factory=dict)
    #: Why videos failed, by step and exception, and how many.
    failed_by: Mapping[str, int] = field(default_factory=dict)
    #: Which model said what, by the names of scores, vectors and captions.
    models: Mapping[str, str] = field(default_factory=dict)
    #: How many clips were copied, spliced or encoded after all, where copying was asked for.
    transcoded: Mapping[str, int] = field(default_factory=dict)
    #: How many clips are marked, each counted once, whatever it is marked with.
    num_marked: int = 0
    #: Of the skipped ones: whose metadata changed.
    videos_retold: int = 0
    #: Of the skipped ones: taken back by ``finecut forget``.
    videos_forgotten: int = 0
    #: Clips of videos that an earlier run had done in part: these were there already, and are none
    #: of those that were planned.
    shots_resumed: int = 0

    def __add__(self, other: typing.Self) -> typing.Self:
        """What two runs over different videos did together."""
        return dataclasses.replace(
            self, **{name: _together(one, getattr(other, name)) for name, one in vars(self).items()}
        )

    def imbalances(self) -> list[str]:
        """Sentences that say which law is broken; empty when the books balance."""
        ended = self.videos_done + self.videos_empty + self.videos_failed + self.videos_skipped
        became = self.shots_kept + self.shots_rejected + self.shots_failed
        named = sum(self.rejected_by.values())
        laws = (
            (
                ended == self.videos_found,
                f"{self.videos_found} videos were found, but {self.videos_done} done + "
                f"{self.videos_empty} empty + {self.videos_failed} failed + "
                f"{self.videos_skipped} skipped = {ended}",
            ),
            (
                became == self.shots_planned,
                f"{self.shots_planned} clips were planned, but {self.shots_kept} kept + "
                f"{self.shots_rejected} rejected + {self.shots_failed} failed = {became}",
            ),
            (
                named == self.shots_rejected,
                f"{self.shots_rejected} clips were rejected, but only {named} by a named rule",
            ),
        )
        return [sentence for holds, sentence in laws if not holds]


def _together(one: Any, other: Any) -> Any:
    """Two numbers or tuples added, two counts added name by name, two sets of names united."""
    if not isinstance(one, Mapping):
        return one + other
    if any(isinstance(value, str) for value in (*one.values(), *other.values())):
        return dict(sorted({**one, **other}.items()))
    return {name: one.get(name, 0) + other.get(name, 0) for name in sorted({*one, *other})}
