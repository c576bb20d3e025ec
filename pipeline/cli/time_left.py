"""How long the rest of a run will take, from what it has counted so far.

    counts ──▶ how much of each kind of work is done, and how much there will be
           ──▶ what each kind has cost ──▶ what the rest will cost ──▶ a time that moves evenly

    skip   videos that are finished            ████████████████████
    probe  videos that are not                 ███████████▌             not begun: counted ahead
    watch  videos, by pixels and bits          █████████▌               not probed: by their bytes
    cut    planned clips, by pixels and bits   ████▌                    not split: as the others
    write  clips                               ████

A run on this machine does batch after batch, and in each one kind of work after the other; on an
engine, kinds overlap. So each piece of time is ascribed to what was done in it. What has not begun
yet costs what it usually does (:mod:`usual_costs`), on a machine as fast as this one was so far.

No time is told before it can be right: while most of what is left is of kinds of which too little
was seen, as when all scenes are detected before the first clip is cut, nobody knows it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from finecut.pipeline.cli.usual_costs import (
    CUT,
    PROBE,
    REPORT,
    SKIP,
    WATCH,
    WORK,
    WRITE,
    UsualCosts,
)

Counts = Mapping[str, int]
#: Something for each kind of work.
Kinds = Mapping[str, float]

#: A piece of time has so many seconds, or this share of what has passed, at least and at most.
PIECE, PIECE_OF_ALL, LONGEST_OF_ALL = 1.0, 0.03, 0.12
#: What a kind usually costs counts like this share of all there is of it.
BELIEF: Final = 0.015
#: Of a kind of which this share was done it is known what it costs here. A time is told when the
#: kinds that are known make this share of what is left, and when this share of it has passed.
SEEN, SURE, EARLIEST = 0.02, 0.75, 0.12
#: How often time is ascribed anew, with what is then known of the costs.
ROUNDS: Final = 8
#: What is shown follows what is known within this share of the time that has passed, in seconds at
#: least and at most.
FOLLOWS, SOONEST, LATEST = 0.05, 1.0, 20.0


class Amount(NamedTuple):
    """How much of a kind of work is done, and how much there will be."""

    done: float
    total: float


class Piece(NamedTuple):
    """Seconds, and how much of each kind was done in them."""

    seconds: float
    done: Kinds


class Outlook(NamedTuple):
    """How much of its time has passed, and the seconds that are left; ``None``: nobody knows."""

    share: float
    left: float | None = None


UNKNOWN, ENDED = Outlook(0.0), Outlook(1.0)


def amounts(counts: Counts, counted: str, usual: UsualCosts) -> dict[str, Amount] | None:
    """Of each kind of work; nothing as long as no video says how much there is of it.

    ``counted`` counts the clips that are written.
    """
    found, probed = counts.get("videos found", 0), counts.get("probe/items", 0)
    tried = probed + counts.get("videos failed", 0)
    to_do = _to_do(counts)
    rest = max(0.0, to_do - tried)
    if not found or (rest and not probed):
        return None
    work = counts.get("work probed", 0) + (_work_of(rest, counts) if rest else 0.0)
    to_watch = counts.get("work to watch", 0) * work / max(1, counts.get("work probed", 0))
    if WATCH not in usual.costs:
        to_watch = 0.0
    clips = _clips(rest, counts, usual)
    ended = min(counts.get(counted, 0), counts.get("clips cut", 0)) + counts.get("shots failed", 0)
    return {
        SKIP: _amount(counts.get("videos skipped", 0), found - to_do),
        PROBE: _amount(tried, to_do),
        WATCH: _amount(counts.get("work watched", 0), to_watch),
        CUT: _amount(counts.get("work cut", 0), _to_cut(work, counts, usual)),
        WRITE: _amount(ended, clips),
        REPORT: Amount(0, clips + counts.get("clips skipped", 0)),
    }


def _amount(done: float, total: float) -> Amount:
    # A bundle that is repeated counts twice.
    return Amount(min(done, total), total)


def _to_do(counts: Counts) -> float:
    """How many videos are not finished. A run on this machine counts them ahead; on an engine it is
    as many as have not been skipped so far."""
    found, ahead = counts.get("videos found", 0), counts.get("videos weighed", 0)
    if ahead:
        return counts.get("videos to do", 0) * max(1.0, found / ahead)
    return max(0, found - counts.get("videos skipped", 0))


def _work_of(rest: float, counts: Counts) -> float:
    """Of so many videos that are not probed yet: by their bytes, or as much as the others."""
    known, read = counts.get("work probed", 0), counts.get("bytes probed", 0)
    if read and (held := counts.get("bytes to do", 0)):
        ahead = counts.get("videos weighed", 0)
        in_all = held * max(1.0, counts.get("videos found", 0) / max(1, ahead))
        return known * max(0.0, in_all - read) / read
    return known * rest / max(1, counts.get("probe/items", 0))


def _to_cut(work: float, counts: Counts, usual: UsualCosts) -> float:
    """How much will be cut: of videos that are not split, as much as of those that are."""
    planned, split = counts.get("work planned", 0), counts.get("work split", 0)
    belief = BELIEF * work
    kept = (planned + usual.kept * belief) / (split + belief) if work else 0.0
    return planned + max(0.0, work - split) * kept


def _clips(rest: float, counts: Counts, usual: UsualCosts) -> float:
    """How many there will be: of a second of videos that are not split, as many as of the others.

    Large pictures are much work in few clips, so that work does not say how many."""
    probed, split = counts.get("milliseconds probed", 0), counts.get("milliseconds split", 0)
    in_all = probed * (1 + rest / max(1, counts.get("probe/items", 0)))
    belief, planned = BELIEF * in_all, counts.get("shots planned", 0)
    each = (planned + usual.clips * belief) / (split + belief) if in_all else 0.0
    return planned + max(0.0, in_all - split) * each


def costs_of(pieces: Sequence[Piece], totals: Kinds, usual: UsualCosts) -> dict[str, float]:
    """The seconds that one of each kind takes: what it usually does, until more is known.

    Which kind a piece of time was spent on is known only by what they cost, and that only by which
    they were spent on: so both are refined in turn.
    """
    done = {kind: sum(piece.done.get(kind, 0.0) for piece in pieces) for kind in totals}
    costs = dict(usual.costs)
    for _ in range(ROUNDS):
        spent = dict.fromkeys(totals, 0.0)
        for piece in pieces:
            shares = {kind: more * costs.get(kind, 0.0) for kind, more in piece.done.items()}
            whole = sum(shares.values()) or 1.0
            for kind, share in shares.items():
                spent[kind] += piece.seconds * share / whole
        pace = _pace(done, spent, usual)
        for kind, total in totals.items():
            usually = usual.costs.get(kind, 0.0) * (pace if kind in WORK else 1.0)
            belief = max(1e-9, BELIEF * total)
            costs[kind] = (belief * usually + spent[kind]) / (belief + done[kind])
    return costs


def _pace(done: Kinds, spent: Kinds, usual: UsualCosts) -> float:
    """How long what usually takes a second takes here."""
    usually = sum(done.get(kind, 0.0) * usual.costs.get(kind, 0.0) for kind in WORK)
    took = sum(spent.get(kind, 0.0) for kind in WORK)
    return took / usually if usually and took else 1.0 / usual.workers


@dataclass
class TimeLeft:
    """Looks at what a run counts, again and again, and says how long it will take."""

    usual: UsualCosts
    #: What is counted as a clip that is written.
    counted: str
    _pieces: list[Piece] = field(default_factory=list)
    _costs: Kinds = field(default_factory=dict)
    #: When the piece began that has not ended, and what was done then.
    _began: float = 0.0
    _before: Kinds = field(default_factory=dict)
    _ahead: int = 0
    #: What was done when anything moved for the last time, and when that was.
    _last: Kinds = field(default_factory=dict)
    _moved: float = 0.0
    #: What was shown, and when.
    _shown: float | None = None
    _at: float = 0.0
    _share: float = 0.0
    _is_sure: bool = False

    def __call__(self, counts: Counts, seconds: float) -> Outlook:
        """What there is to say after that many seconds."""
        now = amounts(counts, self.counted, self.usual)
        if now is None:
            return UNKNOWN
        totals = {kind: of.total for kind, of in now.items()}
        ahead = counts.get("clips cut", 0) - counts.get(self.counted, 0)
        if self._cut_piece({kind: of.done for kind, of in now.items()}, seconds, ahead):
            self._costs = costs_of(self._pieces, totals, self.usual)
        if not self._has_seen_enough(totals):
            # Of a run of seconds nothing else is ever known.
            self._share = max(self._share, self._counted_share(counts))
            return Outlook(self._share)
        left = sum(self._costs[kind] * (of.total - of.done) for kind, of in now.items())
        left = self._shown_now(left, seconds)
        # It never falls: that more work was found than was expected is told by the time left.
        self._share = max(self._share, seconds / max(1e-3, seconds + left))
        self._is_sure = self._is_sure or (self._share >= EARLIEST and self._knows_costs(now))
        return Outlook(self._share, left if self._is_sure else None)

    def _knows_costs(self, now: Mapping[str, Amount]) -> bool:
        """Whether most of what is left is of kinds that were seen at work here."""
        rest = {kind: self._costs[kind] * (of.total - of.done) for kind, of in now.items()}
        seen = sum(rest[kind] for kind, of in now.items() if of.done >= SEEN * of.total)
        return seen >= SURE * sum(rest.values())

    def _counted_share(self, counts: Counts) -> float:
        """How many of the clips there are, when no more will be planned."""
        videos, probed = counts.get("videos found", 0), counts.get("probe/items", 0)
        planned = counts.get("shots planned", 0) if probed >= videos else 0
        return min(1.0, counts.get(self.counted, 0) / planned) if planned else 0.0

    def _has_seen_enough(self, totals: Kinds) -> bool:
        """Whether any work was seen, or there is none to do."""
        if any(piece.done.get(kind) for piece in self._pieces for kind in WORK):
            return True
        return bool(self._pieces) and not any(totals[kind] for kind in WORK)

    def _cut_piece(self, done: Kinds, seconds: float, ahead: int) -> bool:
        """Whether a piece of time has ended: it is long enough, and something was done in it.

        Of clips that were cut, no more are ``ahead`` of writing than when it began: else it would
        seem to be spent on cutting alone, and the next one on writing.
        """
        self._leave_out_starts(done, seconds)
        passed = seconds - self._began
        more = {kind: max(0.0, now - self._before.get(kind, 0.0)) for kind, now in done.items()}
        if passed < max(PIECE, PIECE_OF_ALL * seconds) or not any(more.values()):
            return False
        if ahead > self._ahead and passed < LONGEST_OF_ALL * seconds:
            return False
        self._pieces.append(Piece(passed, more))
        self._begin(done, seconds, ahead)
        return True

    def _leave_out_starts(self, done: Kinds, seconds: float) -> None:
        """Until the first of a kind is done, it only starts: models are loaded, and many clips are
        begun before one is ended. That tells nothing about the rest.
        """
        if any(now and not self._last.get(kind) for kind, now in done.items()):
            self._began += seconds - self._moved
            # With what else was done meanwhile: or that would seem to have taken no time.
            self._before = {
                kind: self._before.get(kind, 0.0) + now - self._last.get(kind, 0.0)
                for kind, now in done.items()
            }
        if done != self._last:
            self._last, self._moved = done, seconds

    def _begin(self, done: Kinds, seconds: float, ahead: int) -> None:
        self._began, self._before, self._ahead = seconds, done, ahead

    def _shown_now(self, left: float, seconds: float) -> float:
        """It goes down with the clock, and gently towards what is known now."""
        if self._shown is not None:
            passed = seconds - self._at
            within = min(max(FOLLOWS * seconds, SOONEST), LATEST)
            by_clock = max(0.0, self._shown - passed)
            left = by_clock + (left - by_clock) * (1 - math.exp(-passed / within))
        self._shown, self._at = left, seconds
        return left


def rounded(seconds: float) -> int:
    """As exact as anybody can know it.

    >>> [rounded(seconds) for seconds in (12.3, 96, 754, 5000)]
    [12, 95, 780, 5100]
    """
    for most, step in ((60, 1), (600, 5), (3600, 60)):
        if seconds < most:
            return round(seconds / step) * step
    return round(seconds / 300) * 300
