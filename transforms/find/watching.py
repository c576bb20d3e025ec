"""Watching: what is new, complete, replaced or gone, decided on plain listings.

    look 1   a.mp4  10 MB                     new
    look 2   a.mp4  90 MB                     still growing
    look 3   a.mp4  99 MB
    look 4   a.mp4  99 MB                     complete: unchanged for so many seconds, so it is due
    look 5   a.mp4  99 MB                     done, and not due again
    look 9   a.mp4  70 MB, written later      replaced: it begins anew

A file of a disk is complete when two looks, so many seconds apart, find the same size and time. So
it does not matter how it came: written slowly, copied with the time of the original, or moved in. A
store shows an object when all of it is there. Standard library only, but for what a listing says.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from finecut.io.storage.files import appears_whole
from finecut.io.storage.stores import Found

#: What programs add to the name of a file while they write it, or keep beside it until it is whole.
UNFINISHED: Final = (
    ".aria2",
    ".crdownload",
    ".download",
    ".filepart",
    ".part",
    ".partial",
    ".tmp",
)
#: Files that are remembered at most, of each kind.
MOST: Final = 10_000
#: What is not tried again.
NEVER: Final = math.inf
#: Seconds until a failed video is tried again, and by how much more each time; at most so many.
FIRST_RETRY, LATER, LAST_RETRY = 300.0, 4.0, 6 * 3600.0

Document = dict[str, Any]


class Seen(NamedTuple):
    """A version of a file, and since when it is there."""

    version: str
    since: float


class Failed(NamedTuple):
    """A version of a file that failed, and when it is tried again."""

    version: str
    again: float


class Changes(NamedTuple):
    """What a look found that the one before had not."""

    new: list[str]
    replaced: list[str]
    removed: list[str]


def held_back(paths: Collection[str]) -> set[str]:
    """The files beside which a program keeps another one until they are whole.

    >>> held_back(["/in/a.mp4", "/in/a.mp4.aria2", "/in/b.mp4"])
    {'/in/a.mp4'}
    """
    return {path.removesuffix(end) for path in paths for end in UNFINISHED if path.endswith(end)}


def compared(
    before: Mapping[str, Seen], now: Mapping[str, Found], at: float
) -> tuple[dict[str, Seen], Changes]:
    """What is there now, each since it was first seen like this, and what has changed."""
    seen: dict[str, Seen] = {}
    changes = Changes([], [], [])
    for path, found in now.items():
        old = before.get(path)
        if old is None:
            changes.new.append(path)
        elif old.version != found.version:
            changes.replaced.append(path)
        same = old is not None and old.version == found.version
        seen[path] = old if old is not None and same else Seen(found.version, at)
    changes.removed.extend(path for path in before if path not in now)
    return seen, changes


def is_complete(found: Found, seen: Seen, at: float, seconds: float) -> bool:
    """Whether a file that is seen so since then can be taken now. An empty one may still grow."""
    return found.size > 0 and (appears_whole(found.uri) or at - seen.since >= seconds)


def retry_after(attempts: int) -> float:
    """How many seconds after its last failure a video is tried again.

    >>> [retry_after(attempts) / 60 for attempts in (1, 2, 3, 9)]
    [5.0, 20.0, 80.0, 360.0]
    """
    return min(FIRST_RETRY * LATER ** min(max(attempts - 1, 0), 9), LAST_RETRY)


class Looked(NamedTuple):
    """What lies below the inputs at one moment."""

    #: The folder from which videos are named.
    root: str
    #: Videos, by their paths.
    videos: Mapping[str, Found]
    #: Files beside which a program keeps another one while it writes them.
    held: Set[str] = frozenset()


@dataclass
class Known:
    """What is known of the videos below the inputs, from look to look. Times are of one clock."""

    #: Seconds for which a file has to be unchanged.
    seconds: float
    seen: dict[str, Seen] = field(default_factory=dict)
    #: What is not done, and of it what failed.
    open: dict[str, Found] = field(default_factory=dict)
    failed: dict[str, Failed] = field(default_factory=dict)
    #: What was known before the first look, of files that may have grown since.
    before: dict[str, Seen] = field(default_factory=dict)
    held: Set[str] = frozenset()
    #: When the last look began.
    looked: float = -math.inf

    def look(self, looked: Looked, begun: float, ended: float) -> Changes:
        """Take in a look that lasted from then to then; what is new or replaced is open now.

        Where nothing at all is left, nothing is forgotten: a disk may not be mounted.
        """
        if self.seen and not looked.videos:
            self.held = self.seen.keys()
            return Changes([], [], [*self.seen])
        before = self.seen or self.before
        seen, changes = compared(before, looked.videos, ended)
        if not self.seen:  # the first look: all is new, also what was known before
            changes = Changes([*seen], [], [path for path in self.failed if path not in seen])
        self.seen, self.held, self.looked = seen, looked.held, begun
        for path in changes.removed:
            self.close(path)
        for path in (*changes.new, *changes.replaced):
            self.open[path] = looked.videos[path]
            if path in self.failed and self.failed[path].version != seen[path].version:
                del self.failed[path]
        return changes

    def close(self, path: str) -> None:
        """It is done, or gone."""
        self.open.pop(path, None)
        self.failed.pop(path, None)

    def put_off(self, path: str, again: float) -> None:
        """It failed, and is tried again then, or when it is replaced."""
        self.failed[path] = Failed(self.seen[path].version, again)

    def due(self, at: float) -> list[Found]:
        """The videos to be taken now, those that have waited longest first."""
        found = (one for one in self.open.values() if self._is_ready(one))
        ready = (one for one in found if at >= self._again(one))
        return sorted(ready, key=lambda one: (one.written, one.uri))

    def growing(self) -> list[str]:
        """The videos that are not complete yet."""
        return sorted(path for path, one in self.open.items() if not self._is_ready(one))

    def _is_ready(self, one: Found) -> bool:
        complete = is_complete(one, self.seen[one.uri], self.looked, self.seconds)
        return complete and one.uri not in self.held

    def _again(self, one: Found) -> float:
        return self.failed[one.uri].again if one.uri in self.failed else -math.inf

    @property
    def next_retry(self) -> float:
        """When the next of the failed videos is tried again."""
        return min((each.again for each in self.failed.values()), default=NEVER)


def taken(due: Iterable[Found], videos: int, size: int) -> list[Found]:
    """The first of these, until they are so many or have so many bytes."""
    batch: list[Found] = []
    held = 0
    for found in due:
        batch.append(found)
        held += found.size
        if len(batch) >= videos or held >= size:
            break
    return batch


# ── from one process to the next ─────────────────────────────────────────────────────────────────


def remembered(known: Known, zero: float) -> Document:
    """What a next process cannot find out: since when files that may grow are as they are, and when
    what failed is tried again. ``zero`` is the time of day at which the clock showed nothing.
    """
    growing = [(path, known.seen[path]) for path in known.growing()[:MOST]]
    failed = [each for each in sorted(known.failed.items()) if each[1].again < NEVER][:MOST]
    return {
        "growing": {path: [s.version, round(zero + s.since, 3)] for path, s in growing},
        "failed": {path: [f.version, round(zero + f.again, 3)] for path, f in failed},
    }


def recalled(said: Document | None, seconds: float, now: float, clock: float) -> Known:
    """The same again. Nothing is older than it has to be: the clock may have been put forward."""
    growing, failed = (dict(_entries(said, name)) for name in ("growing", "failed"))
    waited = {path: min(max(clock - since, 0.0), seconds) for path, (_, since) in growing.items()}
    wait = {path: min(max(again - clock, 0.0), LAST_RETRY) for path, (_, again) in failed.items()}
    return Known(
        seconds,
        before={path: Seen(growing[path][0], now - waited[path]) for path in growing},
        failed={path: Failed(failed[path][0], now + wait[path]) for path in failed},
    )


def _entries(said: Document | None, name: str) -> Iterator[tuple[str, tuple[str, float]]]:
    """What a document says of files, as far as it can be used: anybody may have edited it."""
    entries = (said or {}).get(name)
    for path, entry in entries.items() if isinstance(entries, dict) else ():
        if isinstance(entry, list) and [*map(type, entry)] in ([str, int], [str, float]):
            yield path, (entry[0], float(entry[1]))
