"""Tallies: what each worker process has counted, left where the process that waits can read it.

    worker 1   <staging>/tally/6f1c….json   {"PublishClips/items": 212, "cut/items": 230, …}
    worker 2   <staging>/tally/a90b….json   {"PublishClips/items": 198, …}
    driver     its own board and all of these make the progress line

An engine's own counters are no substitute on every engine: Beam's Prism shows those of one bundle
while it runs, and loses those of the first ones. A worker writes only where somebody reads: the
driver leaves a sign.
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

from finecut.io.storage import files
from finecut.io.storage.publishing import Shelf
from finecut.transforms.beam.guard import attempted
from finecut.transforms.beam.metrics import BOARD

Counts = Mapping[str, int]

#: Seconds between two writings of a worker, and between two readings of the driver. Each is a
#: request where the folder lies in a store.
EVERY: Final = {False: 0.5, True: 5.0}
#: A reading that takes long is repeated after this many times as long.
REST: Final = 10.0


class _Process:
    """The name of this process: the driver adds its own board, and must not read it twice."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self.name = uuid.uuid4().hex


_THIS: Final = _Process()
os.register_at_fork(after_in_child=_THIS.renew)


def keep_tally(run: str, keeper: object) -> None:
    """Write what this process counts for the run, for as long as ``keeper`` lives."""
    words = (run, weakref.ref(keeper), BOARD.since())
    threading.Thread(target=_keep, args=words, name="finecut-tally", daemon=True).start()


def _keep(run: str, keeper: Callable[[], object], read: Callable[[], Counts]) -> None:
    own, path = Shelf(run, run), f"{_folder(run)}/{_THIS.name}.json"
    written: Counts = {}
    pause = threading.Event()  # nobody sets it
    ended = False
    # Without the sign nobody reads, or the run has ended and was swept.
    while not ended and attempted(lambda: files.exists(_sign(run))) is True:
        ended = keeper() is None
        if (counts := read()) != written:
            # A tally is worth less than the work: what cannot be written now is in the next one.
            attempted(partial(own.write, path, json.dumps(counts).encode()))
            written = counts
        pause.wait(0 if ended else EVERY[files.is_remote(run)])


class Tallies:
    """Reads all that is counted for a run from now on, in this process and in its workers'."""

    def __init__(self, run: str, wanted: bool = True) -> None:
        self._run, self._board, self._wanted = run, BOARD.since(), wanted
        self._others: Counter[str] = Counter()
        self._stale = 0.0
        #: The engine's own counters, as soon as it has the job.
        self.engine: Callable[[], Counts] = dict
        #: What is known for certain, when the job has ended.
        self.known: dict[str, int] = {}
        if wanted:
            attempted(lambda: Shelf(run, run).write(_sign(run), b""))

    def __call__(self) -> dict[str, int]:
        """Each number is a floor: an engine may lose some, and a worker not have written yet."""
        if self._wanted and time.monotonic() >= self._stale:
            began = time.monotonic()
            self._others = sum(self._written(), Counter())
            ended = time.monotonic()
            self._stale = ended + max(EVERY[files.is_remote(self._run)], REST * (ended - began))
        tallied = self._others + Counter(self._board())
        engine = self.engine() if self._wanted else {}
        return dict(tallied | Counter(engine)) | self.known

    def _written(self) -> Iterator[Counter[str]]:
        found: Any = attempted(lambda: [*files.files_below(_folder(self._run))])
        for path in () if isinstance(found, Exception) else found:
            if path.endswith(".json") and _THIS.name not in path:
                tally: Any = attempted(partial(_read, path))
                yield Counter(tally if isinstance(tally, dict) else {})


def _read(path: str) -> Any:
    return json.loads(files.read(path))


def _folder(run: str) -> str:
    return f"{run}/tally"


def _sign(run: str) -> str:
    return f"{_folder(run)}/wanted"
