"""What became of each clip that a dataset lists, while it becomes shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from finecut.io.records import Failure

#: Failures that are shown; all of them are in the list.
SHOWN_FAILURES: Final = 5


@dataclass
class Books:
    """What became of the clips that the dataset lists."""

    listed: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    #: By the clip, or by what was to be read where it is not known which clips that cost.
    failures: dict[str, Failure] = field(default_factory=dict)
    written: int = 0
    shards: int = 0
    #: Shards of this plan that lay there already.
    kept: int = 0
    num_bytes: int = 0
    seconds: float = 0.0
    texts: int = 0
    vectors: int = 0
    dimensions: set[int] = field(default_factory=set)
    bins: dict[str, Counter[str]] = field(default_factory=dict)
    scores: set[str] = field(default_factory=set)
    captions: set[str] = field(default_factory=set)
    #: Those of the scores that are labels.
    labels: set[str] = field(default_factory=set)
    #: Ids on the lists that were given, and clips of the dataset that have one of them.
    drops: int = 0
    on_lists: int = 0
    #: Lists of duplicates that would have been taken.
    fit: list[str] = field(default_factory=list)
    #: Duplicates that went for a clip that is left out itself.
    bereft: int = 0
    #: Clips in the shards that dedup listed, and nobody left out.
    not_left_out: int = 0

    @property
    def failed(self) -> int:
        return len({clip for one in self.failures.values() for clip in one.lost_shots})

    @property
    def sums(self) -> str:
        left_out = sum(self.left_out.values())
        return (
            f"{self.listed} listed = {self.written} written + {left_out} left out + "
            f"{self.failed} failed"
        )

    @property
    def reasons(self) -> str:
        """Why clips were left out, the most frequent reason first."""
        most = sorted(self.left_out.items(), key=lambda item: (-item[1], item[0]))
        return ", ".join(f"{count} {reason}" for reason, count in most)

    @property
    def failures_in_order(self) -> list[Failure]:
        return sorted(self.failures.values(), key=lambda one: (one.lost_shots, one.source.name))

    @property
    def first_failures(self) -> str:
        return "; ".join(self.failure_lines) or "No reason was given"

    @property
    def failure_lines(self) -> list[str]:
        failures = self.failures_in_order
        lines = [
            f"{' '.join(one.lost_shots[:1]) or one.source.name}: {one.message}"
            for one in failures[:SHOWN_FAILURES]
        ]
        more = len(failures) - len(lines)
        return [*lines, f"… and {more} more"] if more else lines

    def imbalance(self) -> str | None:
        """What is wrong with the sums, if anything is."""
        left_out = sum(self.left_out.values())
        became = self.written + left_out + self.failed
        if became == self.listed:
            return None
        return (
            f"{self.listed} clips were listed, but {self.written} written + {left_out} left out + "
            f"{self.failed} failed = {became}"
        )

    def enter(self, failures: Iterable[Failure]) -> None:
        for failure in failures:
            # A clip that fails in two passes is one failure.
            key = " ".join(failure.lost_shots) or failure.source.name
            self.failures.setdefault(key, failure)
