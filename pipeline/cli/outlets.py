"""Standard output and standard error, whatever is at their other end.

The reader may leave (``| head -1``), the disk behind may be full, or nothing may be connected
(``>&-``). Words are not the work: what cannot be written is dropped, and the work goes on. At the
end one line on standard error says that words were lost, and why.
"""

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO, cast

#: The exit code where words were all there was to give, and they could not be written.
UNWRITTEN = 1
#: A descriptor that is closed is given to the next file that is opened, a clip for instance.
STANDARD = (0, 1, 2)


class Outlet:
    """A text stream that takes all words, and remembers why it could not hand them on."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.lost: str | None = None
        #: Whether somebody read as much as they wanted, and left.
        self.was_left = False

    def write(self, text: str) -> int:
        if text and self._stream is None:
            self.lost = "it is closed"
        self._try(lambda stream: stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(lambda stream: stream.flush())

    def isatty(self) -> bool:
        return self._stream is not None and self.lost is None and self._stream.isatty()

    def let_go(self) -> None:
        """Have Python find nothing wrong when it flushes what is left, at the very end."""
        if self.lost is None or self._stream is None:
            return
        with contextlib.suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), self._stream.fileno())

    def _try(self, do: Callable[[TextIO], object]) -> None:
        if self._stream is None or self.lost is not None:
            return
        try:
            do(self._stream)
        except OSError as error:
            self.was_left = error.errno == errno.EPIPE
            self.lost = error.strerror or str(error)
        except ValueError as error:  # of a stream that a program closed
            self.lost = str(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def outlets(alone: bool) -> Iterator[Outlet]:
    """Within, no writing can fail; the outlet is that of standard output.

    ``alone``: the process is for nothing else, so that its descriptors are ours.
    """
    if alone:
        _hold_descriptors()
    out, err = Outlet(_spelled(sys.stdout, alone)), Outlet(_spelled(sys.stderr, alone))
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = cast(TextIO, out), cast(TextIO, err)
    try:
        yield out
    except SystemExit as end:
        out.flush()
        if not end.code and out.lost and not out.was_left:  # --help: its words were the work
            raise SystemExit(UNWRITTEN) from None
        raise
    finally:
        out.flush()
        if out.lost:
            err.write(f"finecut: some output could not be written to standard output: {out.lost}\n")
        err.flush()
        sys.stdout, sys.stderr = before
        if alone:
            out.let_go()
            err.let_go()


def unwritten(out: Outlet) -> int:
    """The exit code of a command that gives words and nothing else."""
    out.flush()
    return UNWRITTEN if out.lost and not out.was_left else 0


def shown(text: str) -> str:
    r"""The text without characters that would command a terminal.

    >>> print(shown("a\x1b[2Jb é"))
    a\x1b[2Jb é
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def lines_of(told: Iterable[str | tuple[object, str]]) -> list[str]:
    """These lines; one that has a condition in front only where that holds.

    >>> lines_of(["always", (0, "if there are any")])
    ['always']
    """
    pairs = ((True, each) if isinstance(each, str) else each for each in told)
    return [line for wanted, line in pairs if wanted]


def _hold_descriptors() -> None:
    """Have something at each standard descriptor, so that no file of ours takes its place."""
    for number in STANDARD:
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest that is free, which is this one


def _spelled(stream: TextIO | None, alone: bool) -> TextIO | None:
    """Names of files are not always text that the stream can spell: they are escaped then."""
    # Typeshed does not know that a standard stream is missing where its descriptor is closed.
    reconfigure = getattr(stream, "reconfigure", None)
    if alone and reconfigure is not None:
        reconfigure(errors="backslashreplace")
    return stream
