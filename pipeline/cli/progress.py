"""A line that moves: what a run has done so far, and how long the rest will take."""

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self, TextIO

from finecut.io.wording import count_of
from finecut.pipeline.cli.time_left import ENDED, UNKNOWN, Outlook, TimeLeft, rounded
from finecut.pipeline.cli.usual_costs import UsualCosts
from finecut.transforms.beam.metrics import BOARD

#: Seconds between two looks: short where a line can be overwritten, long where lines pile up.
LIVE, PLAIN = 0.25, 1.5
#: What a terminal is taken for that does not say how wide it is.
USUAL_COLUMNS = 80
#: Counters of what went wrong.
FAILED = ("videos failed", "videos not split", "shots failed")
#: What is counted as a clip: one that lies there, or where none is written, one that was cut.
WRITTEN, CUT = "PublishClips/items", "clips cut"
#: Less than this is not told in numbers: how a run starts and ends weighs as much. Nor is what is
#: left of a run that takes less than this in all.
FEW, SHORT = 10, 20


Counts = Mapping[str, int]
#: What is shown of these counts after that many seconds; the last one says whether all is done.
Line = Callable[[Counts, float, bool], str]


class Progress:
    """Shows what was counted on standard error while the block runs.

    ``read`` gives the counts: those of this process from now on (all workers of a local run count
    there, those of another run beside it, too), or of an engine that runs elsewhere. ``passing``:
    it is for a terminal alone, and nothing of it stays there.
    """

    def __init__(
        self,
        wanted: bool = True,
        out: TextIO | None = None,
        line: Line | None = None,
        read: Callable[[], Counts] | None = None,
        *,
        passing: bool = False,
    ) -> None:
        self._line, self._read = line or _without_time_left, read or BOARD.since()
        self._out = out or sys.stderr
        self._live = self._out.isatty()
        self._wanted, self._passing = wanted and (self._live or not passing), passing
        self._done = threading.Event()
        self._began = time.monotonic()
        self._width, self._said = 0, ""
        self._thread = threading.Thread(target=self._watch, name="finecut-progress", daemon=True)

    def __enter__(self) -> Self:
        if self._wanted:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._wanted:
            self._done.set()
            self._thread.join()
            if self._passing:
                self._out.write("\r" + " " * self._width + "\r")
                self._out.flush()
                return
            self._show(last=True, ended=kind is None)

    def _watch(self) -> None:
        while not self._done.wait(LIVE if self._live else PLAIN):
            self._show()

    def _show(self, last: bool = False, ended: bool = False) -> None:
        line = self._line(self._read(), time.monotonic() - self._began, ended)
        if not self._live:
            # A stream says the same for hours, and what it says may go to a file.
            if line != self._said:
                self._out.write(f"{line}\n")
            self._said = line
        else:
            # A line that is wrapped could not be written over.
            line = fitting(line, columns_of(self._out))
            self._out.write("\r" + line.ljust(self._width) + ("\n" if last else ""))
            self._width = len(line)
        self._out.flush()


def columns_of(out: TextIO) -> int:
    """How wide the terminal is; 0 where it does not say, as some consoles, recorders and serial
    lines."""
    try:
        return os.get_terminal_size(out.fileno()).columns
    except OSError:  # it has gone meanwhile
        return 0


def fitting(line: str, columns: int) -> str:
    """As much of the line as fits into that many columns; one stays free, or the cursor would wrap.

    >>> fitting("finding    videos", 8), fitting("finding    videos", 0)
    ('finding', 'finding    videos')
    """
    return line[: (columns if columns > 0 else USUAL_COLUMNS) - 1]


def run_line(usual: UsualCosts, counted: str = CUT) -> Line:
    """A line about a run, whose steps usually cost so much; what is counted is a clip."""
    time_left = TimeLeft(usual, counted)

    def line(counts: Counts, seconds: float, ended: bool) -> str:
        outlook = ENDED if ended else time_left(counts, seconds)
        return progress_line(counts, seconds, outlook, counted)

    return line


def _without_time_left(counts: Counts, seconds: float, ended: bool) -> str:
    return progress_line(counts, seconds, ENDED if ended else UNKNOWN)


def progress_line(
    counts: Counts, seconds: float, outlook: Outlook = UNKNOWN, written: str = CUT
) -> str:
    """One line about these counts, after that many seconds.

    >>> progress_line({"videos found": 3, "probe/items": 3}, 1.0)
    'probing    3 of 3 videos'
    """
    # When all clips are written, and so the same is known, there may still be a page to make.
    ended = outlook is ENDED
    is_known = outlook.share > 0 or outlook.left is not None or ended
    share = f"{outlook.share:.0%}, " if is_known else ""
    rest = f", {words}" if (words := in_words(outlook, seconds)) else ""
    videos, probed = counts.get("videos found", 0), counts.get("probe/items", 0)
    planned, cut = counts.get("shots planned", 0), counts.get(written, 0)
    probed += counts.get("videos failed", 0) + counts.get("videos skipped", 0)
    failed = sum(counts.get(what, 0) for what in FAILED)
    trouble = f", {failed} failed" if failed else ""
    if not videos:
        return "finding    videos"
    watched = counts.get("milliseconds watched", 0)
    if watched and not cut:
        return (
            f"detecting  scenes in {clock(watched / 1000)} of video, "
            f"{count_of(planned, 'clip')}, {share}"
            f"{watched / 1000 / max(seconds, 1e-3):.1f}x real time{rest}{trouble}"
        )
    if not planned:
        return f"probing    {probed} of {count_of(videos, 'video')}{rest}{trouble}"
    speed = counts.get("milliseconds cut", 0) / 1000 / max(seconds, 1e-3)
    if ended:
        rest = f", {clock(seconds)}"
    return (
        f"{'done' if ended else 'cutting':<10} {count_of(cut, 'clip')}, {probed} of "
        f"{count_of(videos, 'video')} probed, {share}"
        f"{speed:.1f}x real time{rest}{trouble}"
    )


def counted_line(
    verb: str, items: str, what: str, total: str = "", failed: tuple[str, ...] = ()
) -> Line:
    """A line about one kind of thing: how many, of how many, how fast, how long it will take.

    >>> line = counted_line("checking", "verify/items", "clips", "clips to check")
    >>> line({"verify/items": 20, "clips to check": 80}, 10.0, False)
    'checking   20 of 80 clips,  25%, 2.0 per second, 0:30 left'
    """

    def line(counts: Counts, seconds: float, ended: bool) -> str:
        done, expected = counts.get(items, 0), counts.get(total, 0)
        wrong = sum(counts.get(name, 0) for name in failed)
        trouble = f", {wrong} failed" if wrong else ""
        speed = f"{done / max(seconds, 0.001):.1f} per second"
        word = "done" if ended else verb
        if not expected:
            return f"{word:<10} {done} {what}, {speed}{trouble}"
        share = 1.0 if ended else min(1.0, done / expected)
        told = in_words(Outlook(share, seconds / share - seconds), seconds) if 0 < share < 1 else ""
        rest = f", {told}" if told else ""
        return f"{word:<10} {done} of {expected} {what}, {share:4.0%}, {speed}{rest}{trouble}"

    return line


def in_words(outlook: Outlook, seconds: float) -> str:
    """How long it will take, after so many seconds; nothing if nobody knows.

    >>> in_words(Outlook(0.1, 754), 90), in_words(Outlook(0.9, 8), 90), in_words(UNKNOWN, 90)
    ('13:00 left', 'a few seconds left', '')
    """
    if outlook.left is None:
        return ""
    if outlook.left < FEW or seconds + outlook.left < SHORT:
        return "a few seconds left"
    return f"{clock(rounded(outlook.left))} left"


def clock(seconds: float) -> str:
    """Minutes and seconds, with hours where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes}:{rest:02d}"
        if minutes < 60
        else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
    )
