"""What a run that watches says: lines for people, on a terminal or in a log, and in few words.

    watching   films: 12 videos are there, 10 done, 2 to do
    done       day 1/a.mp4: 14 clips kept, 2 rejected, 160.0 s
    failed     b.mp4: "b.mp4" is no video (again in 5 min)
    waiting    for new videos in films (every 30 s), and for c.mp4 to be complete
    removed    a.mp4: the clips stay

Trouble goes to standard error, also with ``--quiet``, and once for as long as it is the same.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from finecut.io.errors import UserError
from finecut.io.records import Failure
from finecut.pipeline.cli.outlets import shown
from finecut.pipeline.cli.progress import Counts, Progress, clock
from finecut.pipeline.one_pipeline import Closed
from finecut.pipeline.options import Options
from finecut.transforms.find.watching import NEVER, Known

#: Names that a line tells.
NAMED: Final = 3


@dataclass
class Words:
    """Says what is new, and nothing twice."""

    options: Options
    #: What was said last of waiting and of trouble.
    _waiting: str = ""
    _trouble: str = ""

    @property
    def _inputs(self) -> str:
        return ", ".join(self.options.input)

    @property
    def _every(self) -> str:
        return in_words(self.options.watch or 0.0)

    def beginning(self, known: Known) -> None:
        """What there is at the first look."""
        aside = sum(each.again == NEVER for each in known.failed.values())
        to_do = len(known.open) - aside
        more = f", {aside} set aside" if aside else ""
        there = counted(len(known.seen), "video is", "videos are")
        done = len(known.seen) - len(known.open)
        self.say(f"watching   {self._inputs}: {there} there, {done} done, {to_do} to do{more}")

    def done(self, relative: str, closed: Closed | None) -> None:
        """A video is finished."""
        what = "nothing in it is as long as a clip"
        if closed is not None:
            kept = counted(closed.kept, "clip", "clips")
            what = f"{kept} kept, {closed.rejected} rejected, {closed.seconds:.1f} s"
        self.say(f"done       {relative}: {what}")

    def forgotten(self, relative: str) -> None:
        """A video was taken back."""
        self.say(f"skipped    {relative}: forgotten")

    def finished(self, relative: str) -> None:
        """A video was finished before."""
        self.say(f"done       {relative}")

    def failed(self, failure: Failure, wait: float) -> None:
        """A video failed, and is tried again after so many seconds."""
        then = "set aside until it is replaced" if wait == NEVER else f"again in {in_words(wait)}"
        self.say(f"failed     {failure.source.relative}: {failure.message} ({then})")

    def removed(self, relatives: Sequence[str]) -> None:
        """Videos that are no longer there."""
        self.say(f"removed    {some(relatives)}: the clips stay")

    def gone(self, number: int) -> None:
        """No video is there any more."""
        were = counted(number, "video was", "videos were")
        self._in_trouble(
            f"nothing is left in {self._inputs}, where {were}. Usually a disk is not mounted. "
            f"Their clips stay, and finecut looks again every {self._every}"
        )

    def trouble(self, error: Exception) -> None:
        """The inputs, or the output, could not be looked at."""
        why = str(error)
        if isinstance(error, OSError) and not isinstance(error, UserError):
            place = error.filename or self._inputs
            why = f"{place} cannot be looked at ({error.strerror or error})"
        self._in_trouble(
            f"{why}. Usually a disk is not mounted, or a store does not answer: finecut looks "
            f"again every {self._every}"
        )

    def no_trouble(self) -> None:
        """All could be looked at."""
        if self._trouble:
            self._trouble = ""
            self.warn(f"{self._inputs} can be looked at again")

    def _in_trouble(self, text: str) -> None:
        if text != self._trouble:
            self._trouble, self._waiting = text, ""
            self.warn(text)

    def held(self, why: str, seconds: float) -> None:
        """Nothing is begun for so many seconds."""
        self.warn(f"{why}; finecut tries again in {in_words(seconds)}")

    def ending(self) -> None:
        """It was told to stop while it is at work."""
        self.warn("it stops when the videos it has begun are done; Ctrl-C again stops it at once")

    def at_work(self) -> None:
        """It does not wait any more."""
        self._waiting = ""

    def waiting(self, growing: Sequence[str], until: float) -> Progress:
        """It waits; on a terminal, a line shows how long."""
        more = f", and for {some(growing)} to be complete" if growing else ""
        line = f"waiting    for new videos in {self._inputs} (every {self._every}){more}"
        if line != self._waiting and not self._trouble:
            self._waiting = line
            self.say(line)
        moving = partial(_next_look, until=until)
        return Progress(not self.options.quiet, line=moving, passing=True)

    def say(self, text: str) -> None:
        """A line, unless nobody wants to hear."""
        if not self.options.quiet:
            sys.stdout.write(f"{shown(text)}\n")
            sys.stdout.flush()

    def warn(self, text: str) -> None:
        """A line about trouble."""
        sys.stderr.write(f"finecut: {shown(text)}\n")
        sys.stderr.flush()


def _next_look(_counts: Counts, _seconds: float, _ended: bool, until: float) -> str:
    return f"waiting    next look in {clock(max(0.0, until - time.monotonic()))}"


def some(names: Sequence[str]) -> str:
    """The first few names, and how many there are.

    >>> some(["a.mp4", "b.mp4"]), some(["a", "b", "c", "d"])
    ('a.mp4, b.mp4', '4 videos (a, b, c …)')
    """
    named = ", ".join(names[:NAMED])
    return named if len(names) <= NAMED else f"{len(names)} videos ({named} …)"


def counted(number: int, one: str, many: str) -> str:
    """
    >>> counted(1, "clip", "clips"), counted(0, "clip", "clips")
    ('1 clip', '0 clips')
    """
    return f"{number} {one if number == 1 else many}"


def in_words(seconds: float) -> str:
    """A time that somebody has to wait.

    >>> in_words(0.5), in_words(90), in_words(300)
    ('0.5 s', '90 s', '5 min')
    """
    return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:.3g} min"
