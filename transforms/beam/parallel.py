"""Writing side by side: many small writes wait for disk or network, not for each other.

What they share, a process keeps as long as a step of the run is at work in it, and no longer::

    kept = of_run(writing.shelf.staging)      # in a DoFn's setup; its teardown lets go of it
    kept.once("pool", make_pool)              # made by the first of them, shared by all

Runs that follow each other in one process, or are at work at once, do not meet.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Final, Literal, NamedTuple, TypeVar, cast
from weakref import WeakValueDictionary

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.utils.windowed_value import WindowedValue

from finecut.io.records import Clip, Failure, Lost, Written
from finecut.transforms.beam.guard import FAILURES, LOST, guarded
from finecut.transforms.beam.metrics import count
from finecut.transforms.beam.tally import keep_tally

#: Writes that may wait for their turn, per thread: enough to keep all busy, few enough to be small.
BACKLOG = 4

Write = Callable[[Clip], Iterable[Written]]
T = TypeVar("T")


class OfRun:
    """Things by name, each made once."""

    def __init__(self, run: str) -> None:
        keep_tally(run, self)
        self._lock = threading.Lock()
        self._things: dict[Hashable, Any] = {}

    def once(self, name: Hashable, make: Callable[[], T]) -> T:
        with self._lock:
            if name not in self._things:
                self._things[name] = make()
            return cast(T, self._things[name])


_RUNS: Final[WeakValueDictionary[str, OfRun]] = WeakValueDictionary()
_FINDING: Final = threading.Lock()


def of_run(run: str) -> OfRun:
    """What is kept of a run, which is known by its staging folder."""
    with _FINDING:
        return _RUNS.get(run) or _RUNS.setdefault(run, OfRun(run))


class _Pending(NamedTuple):
    clip: Clip
    outcome: Future[tuple[list[Written | Failure], int]]
    timestamp: Any
    window: Any

    def placed(self, item: object) -> Any:
        """What comes of the clip, at its place in the stream."""
        return WindowedValue(item, self.timestamp, (self.window,))


class WriteInParallel(beam.DoFn):
    """Clip → what ``write`` wrote of it, in order; an accident → ``failures``.

    All writes of a bundle are finished when the bundle is, so a runner that keeps a bundle keeps
    its files.
    """

    def __init__(
        self, step: str, write: Write, *, threads: int, run: str, tells_lost: bool = False
    ) -> None:
        super().__init__()
        self.step, self.write, self.threads, self.run = step, write, threads, run
        self.tells_lost = tells_lost
        self._pending: deque[_Pending] = deque()

    def setup(self) -> None:
        self._kept = of_run(self.run)
        # All writers of all workers of a run together use this many threads.
        self._pool = self._kept.once(
            "threads", partial(ThreadPoolExecutor, self.threads, thread_name_prefix="finecut-write")
        )

    def teardown(self) -> None:
        del self._kept, self._pool

    def start_bundle(self) -> None:
        self._pending = deque()

    def process(
        self,
        clip: Clip,
        timestamp: Any = beam.DoFn.TimestampParam,
        window: Any = beam.DoFn.WindowParam,
    ) -> Iterable[
        Written | TaggedOutput[Literal["failures"], Failure] | TaggedOutput[Literal["lost"], Lost]
    ]:
        attempt = self._pool.submit(self._attempt, clip)
        self._pending.append(_Pending(clip, attempt, timestamp, window))
        while self._pending and (
            len(self._pending) > self.threads * BACKLOG or self._pending[0].outcome.done()
        ):
            yield from self._deliver(self._pending.popleft())

    def finish_bundle(self) -> Iterable[Any]:
        while self._pending:
            yield from self._deliver(self._pending.popleft())

    def _attempt(self, clip: Clip) -> tuple[list[Written | Failure], int]:
        began = time.perf_counter()
        outcomes = list(
            guarded(self.step, clip.video.source, lambda: self.write(clip), lambda: (clip.id,))
        )
        return outcomes, int((time.perf_counter() - began) * 1e6)

    def _deliver(self, pending: _Pending) -> Iterator[Any]:
        # Counted here: Beam's metrics know the bundle's own thread only.
        outcomes, microseconds = pending.outcome.result()
        count(f"{self.step}/microseconds", microseconds)
        for outcome in outcomes:
            item = pending.placed(outcome)
            if isinstance(outcome, Failure):
                item = TaggedOutput(FAILURES, item)
                if self.tells_lost:
                    lost = Lost(pending.clip.video, pending.clip.chunk, (outcome,))
                    yield TaggedOutput(LOST, pending.placed(lost))
            else:
                count(f"{self.step}/items")
                count(f"{self.step}/bytes", outcome.num_bytes)
            yield item
