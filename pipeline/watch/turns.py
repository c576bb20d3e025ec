"""Watching: a run without an end. It looks for new videos again and again, and curates them batch
by batch, until it is told to stop.

    look ─▶ anything complete and not done? ─┬─▶ a batch is curated ─▶ a line for each video ─┐
     ▲                                       └─▶ wait                                         │
     └────────────────────────────────────────────────────────────────────────────────────────┘

It is one run: seen by others in the output from beginning to end, with one document
(``runs/<when>/summary.json``) that is written again after each batch. What is done is known from
the documents of the videos, as ever; what a next process could not find out stands in
``.finecut/watch/<inputs>.json``, as long as there is anything of that kind.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Final, NamedTuple

from finecut.io.records import Failure, Source
from finecut.io.storage import files as shelf
from finecut.io.storage.fence import look_again
from finecut.io.storage.json_documents import usable_json
from finecut.io.storage.retry import is_passing
from finecut.io.storage.stores import Found
from finecut.io.summary import Summary
from finecut.pipeline.cli.disk import refused_writing, why_refused
from finecut.pipeline.cli.stopping import asked_to_end
from finecut.pipeline.keeping import list_failures
from finecut.pipeline.one_pipeline import Batch, Closed
from finecut.pipeline.options import Options
from finecut.pipeline.planning import Plan
from finecut.pipeline.watch.words import Words
from finecut.transforms.find.inputs import as_it_failed
from finecut.transforms.find.lists import InputError, failed_source, failures_listed, read_failure
from finecut.transforms.find.looking import look, named
from finecut.transforms.find.parts import WHOLE
from finecut.transforms.find.watching import (
    NEVER,
    Changes,
    Known,
    Looked,
    recalled,
    remembered,
    retry_after,
    taken,
)
from finecut.transforms.resume.begin import is_finished, tombstones_of, with_version
from finecut.transforms.resume.leftovers import forget_folders
from finecut.transforms.write.documents import serialise
from finecut.transforms.write.summary import NAMED_FAILURES
from finecut.transforms.write.writing import Writing

#: A batch is a minute or a few of work: videos are closed at its end, and no new ones begun before.
#: Of short videos, so many for each worker keep all of them busy; of long ones, so many bytes do.
BATCH_FOR_EACH, BATCH_BYTES = 4, 500_000_000
#: Seconds between two attempts at a disk or a store that refused, at most.
LONGEST_PAUSE: Final = 600.0
#: The page is made when there is nothing else to do, and never takes more than this share of time.
SHARE_FOR_PAGE: Final = 0.05
#: Documents of a store that are asked for at the same time.
READERS: Final = 16


class Work(NamedTuple):
    """What is done with batches, and when something was done."""

    curate: Callable[[Sequence[Source]], Batch]
    #: Write down what was done so far, in so many seconds.
    keep: Callable[[Summary, float], object]
    #: Make the page.
    report: Callable[[], object]


def watch_key(options: Options) -> str:
    """What tells apart those who watch other inputs, or other parts of them."""
    told = [*sorted(map(shelf.absolute, options.input)), options.part or str(WHOLE)]
    return hashlib.sha256("\n".join(told).encode(errors="surrogatepass")).hexdigest()[:12]


def watch(options: Options, steps: Plan, work: Work) -> None:
    """Curate what is there and what comes, until somebody says that it is enough."""
    watching = Watching(options, steps, work)
    with asked_to_end(watching.end):
        while not watching.ended.is_set():
            watching.turn()


def unfinished(
    found: Sequence[Found], name: Callable[[str], Source], writing: Writing
) -> list[Found]:
    """Those of these files of which no earlier run finished this version."""

    def is_open(one: Found) -> bool:
        source = replace(name(one.uri), version=one.version)
        with suppress(ValueError):  # no document can have such a name: it is told when tried
            document = usable_json(writing.layout.processed_video(source.relative))
            return document is None or not is_finished(document, source, writing)
        return True

    if not shelf.is_remote(writing.layout.root):
        return [one for one in found if is_open(one)]
    with ThreadPoolExecutor(READERS) as readers:
        opened = zip(found, readers.map(is_open, found), strict=True)
        return [one for one, wanted in opened if wanted]


class Watching:
    """A run that watches, from turn to turn."""

    def __init__(self, options: Options, steps: Plan, work: Work) -> None:
        self.options, self.steps, self.work = options, steps, work
        self.words = Words(options)
        self.ended = threading.Event()
        self._path = steps.writing.layout.watched(watch_key(options))
        said = usable_json(self._path)
        #: What is remembered in the output.
        self._kept = b"" if said is None else serialise(said)
        self._zero = time.time() - time.monotonic()
        self.seconds = options.watch or 0.0
        self.known: Known = recalled(said, self.seconds, time.monotonic(), time.time())
        #: The folder from which videos are named.
        self._root = ""
        #: New versions of which nobody has asked yet whether they are done; outputs among them.
        self._unasked: dict[str, Found] = {}
        self._outputs: set[str] = set()
        self._has_looked = self._in_trouble = self._is_working = False
        #: When to look again; before when nothing is begun, and the last pause.
        self._next_look = self._not_before = self._pause = 0.0
        self._summary, self._worked = Summary(), 0.0
        #: Whether something was done that the page does not show, and when it may be made.
        self._unshown, self._next_page = False, 0.0

    def end(self) -> None:
        """Begin nothing more. From any thread."""
        if self._is_working:
            self.words.ending()
        self.ended.set()

    def turn(self) -> None:
        """Look, if it is time; then do a batch, or wait."""
        if time.monotonic() >= self._next_look:
            self._look()
        now = time.monotonic()
        due = [] if self._in_trouble else self.known.due(now)
        most = BATCH_FOR_EACH * self.options.local_workers
        first = taken(due, most, BATCH_BYTES) if now >= self._not_before else []
        # A store's may be replaced meanwhile, too: that is found out when they are read.
        batch = [one for one in first if shelf.is_remote(one.uri) or _is_as_found(one)]
        if batch:
            self._do(batch)
            return
        if not due:
            self._make_page()
        self._wait()

    # ── looking ──────────────────────────────────────────────────────────────────────────────────

    def _look(self) -> None:
        try:
            begun = time.monotonic()
            looked = self._of_this_part(look(self.steps.finding, self._outputs))
            self._root = looked.root
            changes = self.known.look(looked, begun, time.monotonic())
            self._ask(looked, changes)
        except (OSError, InputError) as error:
            self._in_trouble = True
            self.words.trouble(error)
            return
        finally:
            self._next_look = time.monotonic() + self.seconds
        self._in_trouble = False
        if changes.removed and not looked.videos:
            self.words.gone(len(changes.removed))
            return
        self.words.no_trouble()
        if changes.removed:
            self.words.removed([self._named(path).relative for path in changes.removed])
        if not self._has_looked:
            self._has_looked = True
            self.words.beginning(self.known)
        self._remember()

    def _of_this_part(self, looked: Looked) -> Looked:
        part, finding = self.steps.finding.part, self.steps.finding
        if part == WHOLE:
            return looked
        every = looked.videos.items()
        mine = {p: one for p, one in every if named(p, looked.root, finding).name in part}
        return looked._replace(videos=mine)

    def _ask(self, looked: Looked, changes: Changes) -> None:
        """Find out which of those that are new or replaced are done, or set aside, already."""
        self._unasked |= {p: looked.videos[p] for p in (*changes.new, *changes.replaced)}
        asked = [one for path, one in self._unasked.items() if path in self.known.open]
        if not asked:
            return
        wanted = {one.uri for one in unfinished(asked, self._named, self.steps.writing)}
        failed = self._failed()
        for one in asked:
            before = failed.get(self._named(one.uri).name)
            if one.uri not in wanted:
                self.known.close(one.uri)
            elif before and before.version == one.version and self._is_aside(before):
                self.known.put_off(one.uri, NEVER)
        self._unasked.clear()

    def _failed(self) -> dict[str, Source]:
        """What is listed as failed, by name."""
        listed = failures_listed(self.steps.failures_path)
        return {failure.source.name: failed_source(failure) for failure in listed}

    def _is_aside(self, source: Source) -> bool:
        return 0 < self.options.max_attempts <= source.attempts

    def _named(self, path: str) -> Source:
        return named(path, self._root, self.steps.finding)

    # ── a batch ──────────────────────────────────────────────────────────────────────────────────

    def _do(self, batch: Sequence[Found]) -> None:
        try:
            # What could not be written as a whole may be done in part.
            batch = self._still_open(batch) if self._pause else batch
            if not self._curated(batch):
                return
        except (OSError, RuntimeError) as error:
            if (why := _passing(error)) is None:
                raise
            self._hold(why)
            return
        self._pause, self._unshown = 0.0, True
        self._remember()

    def _curated(self, batch: Sequence[Found]) -> bool:
        """Whether this batch, and what is known of it, could be written."""
        # What an ordinary run finds out once.
        look_again()
        forget_folders()
        failed = self._failed()
        sources = {one.uri: as_it_failed(self._named(one.uri), failed) for one in batch}
        with self._at_work():
            done = self.work.curate([*sources.values()])
        failures = _by_name(done.failures)
        refused = refused_writing(failures.values(), self.options.output)
        if refused is not None:
            # That was no fault of the videos: it does not count as an attempt at them.
            self._hold(f"the disk could not be written to ({refused.why}). {refused.remedy}")
            return False
        list_failures(self.steps, done.failures, {source.name for source in sources.values()})
        summary = self._summary + done.summary
        # Named ones would add up for ever; all are listed.
        self._summary = replace(summary, failures=summary.failures[-NAMED_FAILURES:])
        self.work.keep(self._summary, self._worked)
        closed = _by_video(done.closed)
        for path, source in sources.items():
            self._enter(path, failures.get(source.name), source, closed.get(source.relative))
        return True

    def _enter(
        self, path: str, failure: Failure | None, source: Source, closed: Closed | None
    ) -> None:
        """What became of a video is known from now on."""
        if failure is None:
            self.known.close(path)
            if closed is None and tombstones_of(self.steps.writing).has(with_version(source)):
                self.words.forgotten(source.relative)
            else:
                self.words.done(source.relative, closed)
            return
        aside = failure.set_aside or self._is_aside(failed_source(failure))
        wait = NEVER if aside else retry_after(failure.attempts)
        self.known.put_off(path, time.monotonic() + wait)
        self.words.failed(failure, wait)

    def _still_open(self, batch: Sequence[Found]) -> list[Found]:
        wanted = unfinished(batch, self._named, self.steps.writing)
        for one in batch:
            if one not in wanted:
                self.known.close(one.uri)
                self.words.finished(self._named(one.uri).relative)
        return wanted

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        self.words.at_work()
        began, self._is_working = time.monotonic(), True
        try:
            yield
        finally:
            self._is_working = False
            self._worked += time.monotonic() - began

    def _hold(self, why: str) -> None:
        """Begin nothing for a while, longer each time."""
        self._pause = min(max(2 * self._pause, self.seconds), LONGEST_PAUSE)
        self._not_before = time.monotonic() + self._pause
        self.words.held(why, self._pause)

    # ── between batches ──────────────────────────────────────────────────────────────────────────

    def _make_page(self) -> None:
        """Show what was done, when there is nothing else to do and it is not too much."""
        began = time.monotonic()
        if self._unshown and began >= self._next_page:
            self._unshown = False
            self.work.report()
            ended = time.monotonic()
            self._next_page = ended + (ended - began) / SHARE_FOR_PAGE

    def _wait(self) -> None:
        now = time.monotonic()
        until = max(self._next_look, now)
        if self._not_before > now:
            until = min(until, self._not_before)
        growing = [self._named(path).relative for path in self.known.growing()]
        with self.words.waiting(growing, until):
            self.ended.wait(until - now)

    def _remember(self) -> None:
        """Write down what a next process could not find out; nothing, if there is nothing."""
        said = remembered(self.known, self._zero)
        data = serialise(said) if any(said.values()) else b""
        if data == self._kept:
            return
        own = self.steps.writing.shelf
        # Where there is no room for it, the next process looks longer, and that is all.
        with suppress(OSError):
            if data:
                own.write(self._path, data)
            else:
                own.remove(self._path)
            self._kept = data


def _is_as_found(one: Found) -> bool:
    """Whether it is as it was when it was looked at."""
    with suppress(OSError):
        return shelf.version_of(one.uri) == one.version
    return False


def _by_name(lines: Iterable[str]) -> dict[str, Failure]:
    """The first failure of each video."""
    failures = [read_failure(line) for line in lines]
    return {failure.source.name: failure for failure in reversed(failures)}


def _by_video(chunks: Iterable[Closed]) -> dict[str, Closed]:
    """The sums of each video."""
    videos: dict[str, Closed] = {}
    for one in chunks:
        sums = videos.get(one.relative, Closed(one.relative, 0, 0, 0.0))
        videos[one.relative] = Closed(
            one.relative,
            sums.kept + one.kept,
            sums.rejected + one.rejected,
            sums.seconds + one.seconds,
        )
    return videos


def _passing(error: BaseException) -> str | None:
    """Why a disk or a store refused, if it may be different later."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, Exception) and (why := why_refused(cause)):
            return f"the disk could not be written to ({why}). Make room there, or mend it"
        if isinstance(cause, OSError) and is_passing(cause):
            return f"{cause.filename or 'the store'} does not answer ({cause.strerror or cause})"
        cause = cause.__cause__
    return None
