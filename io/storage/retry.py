"""Trying again: what a disk or a store could not do this time, it may do a moment later.

Only passing trouble is worth a second attempt: a store that is busy, a connection that broke, a
network disk that was away, a read that ended too early. A full disk, a missing file or a folder
one may not write to stay as they are, and waiting would only hide them.

Stores have libraries, and each has errors of its own. They are recognized by what they say (an HTTP
status, usually) and not by their types, so that nothing has to be imported for them.
"""

from __future__ import annotations

import errno
import http.client
import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import NoReturn, TypeVar

T = TypeVar("T")

LOG = logging.getLogger("finecut")

#: As long as Google's own library tries: what it gave up after is not begun anew.
DEADLINE_SECONDS = 120.0
#: The first pause, and the longest; each is twice as long as the one before, less some chance.
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 16.0

#: Errors of the system that pass. A network disk says EIO or ESTALE while its server is away.
PASSING = frozenset(
    {
        errno.EAGAIN,
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EIO,
        errno.ENETDOWN,
        errno.ENETRESET,
        errno.ENETUNREACH,
        errno.ENOTCONN,
        errno.EPIPE,
        errno.ESTALE,
        errno.ETIMEDOUT,
    }
)
REQUEST_TIMEOUT, TOO_MANY_REQUESTS, NOT_IMPLEMENTED = 408, 429, 501
#: What libraries call a connection that broke, where they give no number for it.
PASSING_NAMES = frozenset(
    {
        "ChunkedEncodingError",
        "ConnectionError",
        "DataCorruption",
        "ProtocolError",
        "Timeout",
        "TransportError",
    }
)
#: What a store's refusal is called on a disk.
AS_ERRNO = {401: errno.EACCES, 403: errno.EACCES, 404: errno.ENOENT}


class ShortRead(OSError):
    """A read that gave fewer bytes than there are."""


def retried(
    work: Callable[[], T],
    deadline_seconds: float = DEADLINE_SECONDS,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
    chance: Callable[[], float] = random.random,
) -> T:
    """What ``work`` gives, at the first attempt that is not spoiled by passing trouble.

    After the deadline the last error is raised. What a store's library raises comes out as an
    ``OSError``, so that a missing object is a ``FileNotFoundError`` wherever it was looked for.
    ``work`` may be done more than once, and in part: it has to bear that.
    """
    ends = clock() + deadline_seconds
    pauses, again = _pauses(chance), False
    while True:
        attempt = _Attempt()
        with attempt:
            return work()
        pause = next(pauses)
        # Once at least: work that takes longer than all the time there is may be tried again, too.
        if clock() + pause > ends and (again or pause > deadline_seconds):
            attempt.give_up()
        again = True
        LOG.info("trying again in %.1f s: %s", pause, attempt.error)
        sleep(pause)


def is_passing(error: BaseException) -> bool:
    """Whether the same work may succeed a moment later."""
    if isinstance(error, ShortRead | ConnectionError | TimeoutError | http.client.HTTPException):
        return True
    details = _details(error)
    if details:
        return all(_is_passing_status(d) if isinstance(d, int) else is_passing(d) for d in details)
    status = status_of(error)
    if status is not None:
        return _is_passing_status(status)
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in PASSING
    cause = getattr(error, "cause", None)  # what Google's library gave up on
    if isinstance(cause, BaseException):
        return is_passing(cause)
    return bool(PASSING_NAMES & {kind.__name__ for kind in type(error).__mro__})


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an error of a store's library carries, if it is one."""
    response = getattr(error, "response", None)
    codes = (
        getattr(error, "code", None),
        getattr(error, "status_code", None),
        getattr(response, "status_code", None),
    )
    numbers = (int(number) for number in codes if isinstance(number, int))
    return next((number for number in numbers if 400 <= number < 600), None)


class _Attempt(AbstractContextManager["_Attempt", bool]):
    """Keeps passing trouble, and lets all other errors through; those of stores as OSErrors."""

    error: Exception

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        if not isinstance(error, Exception):  # nothing, or somebody wants to end the program
            return False
        self.error = error
        if is_passing(error):
            return True
        if status_of(error) is not None:
            self.give_up()
        return False

    def give_up(self) -> NoReturn:
        """Raise the error, or what stands for it where only OSErrors are expected."""
        if isinstance(self.error, OSError):
            raise self.error
        number = AS_ERRNO.get(status_of(self.error) or 0, errno.EIO)
        raise OSError(number, f"{type(self.error).__name__}: {self.error}") from self.error


def _pauses(chance: Callable[[], float]) -> Iterator[float]:
    """Longer and longer; by chance between half and all, so that not all come back at once."""
    pause = FIRST_PAUSE
    while True:
        yield pause * (1 + chance()) / 2
        pause = min(2 * pause, LONGEST_PAUSE)


def _details(error: BaseException) -> list[BaseException | int]:
    """What Beam collects when it works on several files: an error or a status for each."""
    collected = getattr(error, "exception_details", None)
    if not isinstance(collected, dict):
        return []
    return [one for one in collected.values() if isinstance(one, BaseException | int)]


def _is_passing_status(status: int) -> bool:
    busy = status in (REQUEST_TIMEOUT, TOO_MANY_REQUESTS)
    return busy or (500 <= status < 600 and status != NOT_IMPLEMENTED)
