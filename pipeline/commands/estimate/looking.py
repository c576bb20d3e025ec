"""Looking: which videos there are to do, and what their probes say.

inputs ──▶ sources ──finished already?──▶ probed in child processes ──▶ videos, failures
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final

from finecut.io.records import Failure, Source, Video
from finecut.pipeline.planning import Plan
from finecut.transforms.beam.metrics import BOARD
from finecut.transforms.cut.isolated import isolated
from finecut.transforms.find.inputs import find_sources
from finecut.transforms.find.probe import probe_source
from finecut.transforms.resume.begin import looks_finished, set_aside

#: Of more videos than this, these many are probed, evenly spread, and speak for all.
MOST_PROBED: Final = 10_000
FOUND, PROBED = "videos found", "videos looked at"


@dataclass(frozen=True)
class Seen:
    """What there is, as far as probes tell."""

    found: int
    #: How many of those were looked at.
    probed: int
    videos: Sequence[Video]
    failures: Sequence[Failure]

    @property
    def finished(self) -> int:
        """How many of the probed ones an earlier run finished."""
        return self.probed - len(self.videos) - len(self.failures)

    @property
    def scale(self) -> float:
        """How many videos each probed one speaks for."""
        return self.found / self.probed if self.probed else 1.0


def look(steps: Plan, workers: int) -> Seen:
    """Find the videos that a run would find, and probe those that it would do."""
    sources = [one for one in find_sources(steps.finding) if one.name in steps.finding.part]
    chosen = spread(sources, MOST_PROBED)
    BOARD.add(FOUND, len(chosen))
    with ThreadPoolExecutor(workers, "finecut-estimate") as threads:
        known = [one for one in threads.map(partial(_known, steps=steps), chosen) if one]
    videos = [one for one in known if isinstance(one, Video)]
    failures = [one for one in known if isinstance(one, Failure)]
    return Seen(len(sources), len(chosen), videos, failures)


def spread(things: Sequence[Source], most: int) -> list[Source]:
    """At most so many of them, evenly spread."""
    if len(things) <= most:
        return list(things)
    return [things[(2 * number + 1) * len(things) // (2 * most)] for number in range(most)]


def _known(source: Source, steps: Plan) -> Video | Failure | None:
    """What a run would find it to be; ``None``: finished already."""
    try:
        if not steps.again.overwrite and looks_finished(source, steps.writing):
            return None
        if not steps.again.overwrite and 0 < steps.again.most_attempts <= source.attempts:
            return set_aside(source)
        return next(_probed(source, steps))
    finally:
        BOARD.add(PROBED, 1)


def _probed(source: Source, steps: Plan) -> Iterator[Video | Failure]:
    probing = partial(probe_source, limits=steps.cutting.film)
    yield from isolated("probe", source, probing, source, limits=steps.cutting.limits)
