"""What a comparison counts, pair by pair: nothing of it grows with the number of clips."""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from finecut.transforms.catalogue.fields import Row
from finecut.transforms.compare.joining import Pair
from finecut.transforms.compare.pairs import VECTORS, changes, distance, scores, step_of

#: What a clip is called in lists: its id and video, and its span.
Named = dict[str, Any]


def named(row: Row, **more: Any) -> Named:
    return {key: row[key] for key in ("id", "video", "start", "end")} | more


@dataclass
class Difference:
    """In how many clips something is other than it was, and some of them."""

    clips: int = 0
    examples: list[Named] = field(default_factory=list)

    def add(self, example: Named, most: int) -> None:
        self.clips += 1
        if len(self.examples) < most:
            self.examples.append(example)


@dataclass
class Measured:
    """A score, or the distance of vectors, over all clips that both sides have."""

    tolerance: float = 0.0
    compared: int = 0
    #: Of these, those that are no further apart than is tolerated, and those that are the same.
    within: int = 0
    equal: int = 0
    largest: float = 0.0
    total: float = 0.0
    only_a: int = 0
    only_b: int = 0
    #: The clips that are furthest apart: how far, a number so that no two are compared, the clip.
    furthest: list[tuple[float, int, Named]] = field(default_factory=list)

    def add(self, apart: float, clip: Named, most: int) -> None:
        self.compared += 1
        self.equal += apart == 0
        self.within += apart <= self.tolerance
        self.largest, self.total = max(self.largest, apart), self.total + apart
        if apart and most:
            held = (apart, -self.compared, clip | {"difference": apart})
            (heapq.heappush if len(self.furthest) < most else heapq.heappushpop)(
                self.furthest, held
            )

    @property
    def mean(self) -> float:
        return self.total / self.compared if self.compared else 0.0

    @property
    def differs(self) -> bool:
        return self.within < self.compared or self.only_a + self.only_b > 0

    def document(self) -> dict[str, Any]:
        return {
            "compared": self.compared,
            "equal": self.equal,
            "within_tolerance": self.within,
            "tolerance": self.tolerance,
            "largest": self.largest,
            "mean": self.mean,
            "only_in_a": self.only_a,
            "only_in_b": self.only_b,
            "differ_most": [clip for _, _, clip in sorted(self.furthest, reverse=True)],
            "differs": self.differs,
        }


@dataclass
class Comparison:
    """All that is found. ``most``: how many clips of a kind are named."""

    tolerances: Mapping[str, float] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()
    most: int = 20
    clips_a: int = 0
    clips_b: int = 0
    matched_by_id: int = 0
    matched_by_place: int = 0
    only_a: Difference = field(default_factory=Difference)
    only_b: Difference = field(default_factory=Difference)
    changed: dict[str, Difference] = field(default_factory=dict)
    #: How many clips went from which verdict to which.
    verdicts: Counter[tuple[str, str]] = field(default_factory=Counter)
    scores: dict[str, Measured] = field(default_factory=dict)
    vectors: dict[str, Measured] = field(default_factory=dict)

    def add_all(self, pairs: Iterable[Pair]) -> None:
        for pair in pairs:
            self.clips_a += pair.a is not None
            self.clips_b += pair.b is not None
            if pair.a is not None and pair.b is not None:
                self.matched_by_id += pair.by_id
                self.matched_by_place += not pair.by_id
                self._both(pair.a, pair.b)
            elif pair.a is not None:
                self.only_a.add(named(pair.a, verdict=pair.a["verdict"]), self.most)
            elif pair.b is not None:
                self.only_b.add(named(pair.b, verdict=pair.b["verdict"]), self.most)

    def _both(self, a: Row, b: Row) -> None:
        found = changes(a, b)
        for name, (one, other) in found.items():
            if name not in self.ignored:
                difference = self.changed.setdefault(name, Difference())
                difference.add(named(a, a=one, b=other), self.most)
        if "verdict" in found and "verdict" not in self.ignored:
            self.verdicts[step_of(found["verdict"][0]), step_of(found["verdict"][1])] += 1
        self._measure(a, (scores(a), scores(b)))
        ours, theirs = a.get(VECTORS) or {}, b.get(VECTORS) or {}
        for name in sorted({*ours, *theirs} - self.ignored):
            measured = self._measured(self.vectors, name)
            if name in ours and name in theirs:
                measured.add(distance(ours[name], theirs[name]), named(a), self.most)
            else:
                measured.only_a += name in ours
                measured.only_b += name in theirs

    def _measure(self, clip: Row, sides: tuple[dict[str, float], dict[str, float]]) -> None:
        ours, theirs = sides
        for name in sorted({*ours, *theirs} - self.ignored):
            measured = self._measured(self.scores, name)
            if name in ours and name in theirs:
                one, other = ours[name], theirs[name]
                measured.add(abs(one - other), named(clip, a=one, b=other), self.most)
            else:
                measured.only_a += name in ours
                measured.only_b += name in theirs

    def _measured(self, among: dict[str, Measured], name: str) -> Measured:
        return among.setdefault(name, Measured(self.tolerances.get(name, 0.0)))

    @property
    def differs(self) -> bool:
        measured = (*self.scores.values(), *self.vectors.values())
        return bool(
            self.only_a.clips
            or self.only_b.clips
            or self.changed
            or any(each.differs for each in measured)
        )

    def document(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "same": not self.differs,
            "clips": {
                "a": self.clips_a,
                "b": self.clips_b,
                "matched_by_id": self.matched_by_id,
                "matched_by_name_and_span": self.matched_by_place,
                "only_in_a": self.only_a.clips,
                "only_in_b": self.only_b.clips,
            },
            "only_in_a": self.only_a.examples,
            "only_in_b": self.only_b.examples,
            "changed": {
                name: {"clips": each.clips, "examples": each.examples}
                for name, each in sorted(self.changed.items())
            },
            "verdicts": [
                {"a": a, "b": b, "clips": n} for (a, b), n in sorted(self.verdicts.items())
            ],
            "scores": {name: each.document() for name, each in sorted(self.scores.items())},
            "vectors": {name: each.document() for name, each in sorted(self.vectors.items())},
        }
