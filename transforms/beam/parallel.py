"""Writing side by side: many small writes wait for disk or network, not for each other."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Literal, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.utils.windowed_value import WindowedValue

from finecut.io.records import Clip, Failure, Written
from finecut.transforms.beam.guard import FAILURES, guarded
from finecut.transforms.beam.metrics import count
from finecut.transforms.beam.of_run import of_run

#: Writes that may wait for their turn, per thread: enough to keep all busy, few enough to be small.
BACKLOG = 4

Write = Callable[[Clip], Iterable[Written]]


class _Pending(NamedTuple):
    outcome: Future[tuple[list[Written | Failure], int]]
    timestamp: Any
    window: Any


class WriteInParallel(beam.DoFn):
    """Clip → what ``write`` wrote of it, in order; an accident → ``failures``.

    All writes of a bundle are finished when the bundle is, so a runner that keeps a bundle keeps
    its files.
    """

    def __init__(self, step: str, write: Write, threads: int, run: str) -> None:
        super().__init__()
        self.step, self.write, self.threads, self.run = step, write, threads, run
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
    ) -> Iterable[Written | TaggedOutput[Literal["failures"], Failure]]:
        future = self._pool.submit(self._attempt, clip)
        self._pending.append(_Pending(future, timestamp, window))
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
            if isinstance(outcome, Failure):
                item: Any = TaggedOutput(FAILURES, _at(pending, outcome))
            else:
                count(f"{self.step}/items")
                count(f"{self.step}/bytes", outcome.num_bytes)
                item = _at(pending, outcome)
            yield item


def _at(pending: _Pending, value: Any) -> WindowedValue:
    return WindowedValue(value, pending.timestamp, (pending.window,))
