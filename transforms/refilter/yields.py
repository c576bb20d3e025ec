"""Yields: what rules let through, in clips and seconds, now and then; added up over all videos."""

import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from finecut.io.records import Failure, Scores
from finecut.transforms.filter.comparing import SAMENESS, Rule

#: What kept clips are counted under, where others are counted under the rule that rejects them.
KEPT: Final = ""
#: Clips whose scores are remembered, to say what other limits would let through. The first by their
#: ids, which are as good as drawn by lot, and the same ones each time.
SAMPLE: Final = 2000
#: Videos that are named one by one; all of them are counted.
NAMED: Final = 1000
#: Parts of the clips at which a curve is shown.
PARTS: Final = (0.9, 0.75, 0.5, 0.25, 0.1)


@dataclass(frozen=True)
class Amount:
    """So many clips, and how long they are together."""

    clips: int = 0
    seconds: float = 0.0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.clips + other.clips, self.seconds + other.seconds)


@dataclass(frozen=True, order=True)
class Untouched:
    """A video that was left as it is, and why."""

    video: str
    why: str
    clips: int


@dataclass(frozen=True)
class Yields:
    """What comes of videos that are judged anew. Sums do not depend on what is added first."""

    #: By what is done to them.
    videos: Mapping[str, int] = field(default_factory=dict)
    #: What is kept, and what each rule rejects, before and after.
    now: Mapping[str, Amount] = field(default_factory=dict)
    then: Mapping[str, Amount] = field(default_factory=dict)
    #: Clips that lose something only models can make again, by what that is.
    losing: Mapping[str, int] = field(default_factory=dict)
    #: The first few by name.
    untouched: tuple[Untouched, ...] = ()
    clips_untouched: int = 0
    failures: tuple[Failure, ...] = ()
    num_failures: int = 0
    clips_failed: int = 0
    #: Clips that are on a list; and those of them that go for a clip that goes by a rule.
    on_lists: int = 0
    bereft: int = 0
    #: Scores that rules speak of, of some clips.
    sample: Mapping[str, Scores] = field(default_factory=dict)

    @property
    def clips(self) -> int:
        """All of them, whatever becomes of them."""
        return (
            sum(amount.clips for amount in self.then.values())
            + self.clips_untouched
            + self.clips_failed
        )

    def trimmed(self) -> "Yields":
        """The same, no larger than it has to be."""
        return replace(
            self,
            untouched=tuple(sorted(self.untouched)[:NAMED]),
            failures=tuple(sorted(self.failures, key=lambda f: f.source.name)[:NAMED]),
            sample={id: self.sample[id] for id in sorted(self.sample)[:SAMPLE]},
        )


def merged(many: Iterable[Yields]) -> Yields:
    """One record of what several say."""
    total = Yields()
    for one in many:
        total = Yields(
            **{f.name: _together(getattr(total, f.name), getattr(one, f.name)) for f in fields(one)}
        ).trimmed()
    return total


def _together(one: Any, other: Any) -> Any:
    if not isinstance(one, Mapping):
        return one + other
    shared = [name for name in one if name in other and not isinstance(one[name], Mapping)]
    return {**one, **other, **{name: one[name] + other[name] for name in shared}}


def curve(sample: Mapping[str, Scores], rule: Rule) -> list[tuple[float, float]]:
    """Limits of this rule, and which part of the clips it alone would let through at each; of a
    rule on labels there are none.

    >>> clips = {str(n): {"sharpness": n / 10} for n in range(10)}
    >>> curve(clips, Rule("sharp", "sharpness", ">=", 0.3))[:2]
    [(0.1, 0.9), (0.2, 0.8)]
    """
    found = (scores.get(rule.score) for scores in sample.values())
    values = sorted(value for value in found if isinstance(value, int | float))
    if not values or rule.comparison in SAMENESS:
        return []
    limits = dict.fromkeys(_limit(values, part, rule) for part in PARTS)
    return [(limit, _part(values, replace(rule, limit=limit))) for limit in limits]


def _limit(values: Sequence[float], part: float, rule: Rule) -> float:
    """Where about this part of the values is let through."""
    through = max(1, round(part * len(values)))
    return values[-through] if rule.comparison[0] == ">" else values[through - 1]


def _part(values: Sequence[float], rule: Rule) -> float:
    side = bisect.bisect_left if rule.comparison in (">=", "<") else bisect.bisect_right
    below = side(values, float(rule.limit))
    return (len(values) - below if rule.comparison[0] == ">" else below) / len(values)
