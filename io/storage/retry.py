"""Trying again: what a disk or a store could not do this time, it may do a moment later. And
greeting: whether a store can be reached at all, asked once before the work and not for long.

Only passing trouble is worth a second attempt: a store that is busy, a connection that broke, a
network disk that was away, a read that ended too early. A full disk, a missing file or a folder
one may not write to stay as they are, and waiting would only hide them.

Stores have libraries, and each has errors of its own. They are recognized by what they say (an HTTP
status, usually) and not by their types, so that nothing has to be imported for them.

A store that is away for a moment is waited for, for minutes: the work of hours is worth it. One
that nobody here has ever heard is another matter. Usually there is no network, an address is wrong,
or a library looks for credentials on a server that only a cloud's machines have; whoever typed the
command should know that within seconds.
"""

import errno
import http.client
import logging
import random
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Final, NoReturn, TypeVar

from finecut.io.errors import NOT_DONE, UserError
from finecut.io.storage.stores import (
    Greeted,
    ShortRead,
    UnknownStore,
    is_greeted,
    store_for,
)

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

#: What an error is marked with that outlasted all attempts.
OUTLASTED: Final = "finecut_outlasted"
STILL_BUSY: Final = "was still busy after all attempts"
#: Up to what an engine writes behind it.
_NOTED: Final = re.compile(
    rf"finecut: (\S.*? {STILL_BUSY} \(.*?\))(?= \[while running|\\n|$)", re.MULTILINE
)

#: Seconds for everything: credentials, the name of the server, a connection, an answer.
PATIENCE: Final = 5.0
#: Seconds in which what failed at once is tried again.
AGAIN: Final = 2.0
#: An object that is asked for although there is none of that name.
NOT_THERE: Final = ".finecut/is-this-a-store"


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
        # Some servers say how long they want to be left alone.
        pause = max(next(pauses), getattr(attempt.error, "retry_after", 0.0))
        # Once at least: work that takes longer than all the time there is may be tried again, too.
        if clock() + pause > ends and (again or pause > deadline_seconds):
            attempt.give_up()
        again = True
        LOG.info("trying again in %.1f s: %s", pause, attempt.error)
        sleep(pause)


def note_outlasted(error: Exception, address: str) -> None:
    """If it is trouble that passes, note that all attempts at this address of a store were over
    before it did; without an address nothing is noted.

    (A web server that is gone for good looks the same, and costs only its own videos.)
    """
    if address and not has_outlasted(error) and is_passing(error):
        error.__dict__[OUTLASTED] = address
        # It stands in what engines make of the error, too: they hand on texts, and not errors.
        said = (str(error) or repr(error)).splitlines()[0].rstrip(".")
        error.add_note(f"finecut: {address} {STILL_BUSY} ({type(error).__name__}: {said})")


def has_outlasted(error: BaseException) -> bool:
    """Whether that is noted of the error, or of one that led to it."""
    return next(_outlasted(error), None) is not None


def outlasted_at(error: BaseException) -> str:
    """The address of which that is noted, if it is known in this process."""
    addresses = (getattr(one, OUTLASTED) for one in _outlasted(error))
    return next((address for address in addresses if isinstance(address, str)), "")


def away(error: BaseException | str) -> str:
    """The sentence for a command that cannot go on because of that, also by the text that an engine
    made of it; nothing if a store was not what went wrong.

    >>> away("E: 503\\nfinecut: gs://b/a was still busy after all attempts (E: 503)\\nmore")[:56]
    'gs://b/a was still busy after all attempts (E: 503). Usu'
    """
    texts = [str(error)]
    if isinstance(error, BaseException):
        texts += (note for one in _outlasted(error) for note in getattr(one, "__notes__", ()))
    found = next(filter(None, map(_NOTED.search, texts)), None)
    if found is None:
        return ""
    return (
        f"{found[1]}. Usually the store is overloaded, or the network to it is down, so nothing "
        "was concluded about what lies there: run the same command again later. What is finished "
        "stays"
    )


def pass_on_outlasted(error: BaseException) -> None:
    """Raise it again if a store was still busy: nothing follows from that for what lies there."""
    if has_outlasted(error):
        raise error


def _outlasted(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        if getattr(cause, OUTLASTED, False):
            yield cause
        cause = cause.__cause__ or cause.__context__


def is_passing(error: BaseException | int) -> bool:
    """Whether the same work may succeed a moment later, after an error or a status of HTTP."""
    if isinstance(error, ShortRead | ConnectionError | TimeoutError | http.client.HTTPException):
        return True
    # What Beam collects when it works on several files: an error or a status for each.
    collected = getattr(error, "exception_details", None)
    details = collected.values() if isinstance(collected, dict) else ()
    known = [is_passing(one) for one in details if isinstance(one, BaseException | int)]
    if known:
        return all(known)
    status = error if isinstance(error, int) else status_of(error)
    if status is not None:
        busy = status in (REQUEST_TIMEOUT, TOO_MANY_REQUESTS)
        return busy or (500 <= status < 600 and status != NOT_IMPLEMENTED)
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in PASSING
    cause = getattr(error, "cause", None)  # what Google's library gave up on
    if isinstance(cause, BaseException):
        return is_passing(cause)
    return bool(PASSING_NAMES & {kind.__name__ for kind in type(error).__mro__})


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an error of a store's library carries, if it is one."""
    codes = (
        getattr(error, "code", None),
        getattr(error, "status_code", None),
        getattr(getattr(error, "response", None), "status_code", None),
    )
    return next((int(code) for code in codes if isinstance(code, int) and 400 <= code < 600), None)


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


def within(seconds: float, work: Callable[[], T]) -> T:
    """What ``work`` gives; a ``TimeoutError`` if that takes longer, and it is left alone."""
    outcome: list[T | OSError] = []

    def attempt() -> None:
        try:
            outcome.append(work())
        except OSError as error:
            outcome.append(error)

    worker = threading.Thread(target=attempt, name="finecut-greeting", daemon=True)
    worker.start()
    worker.join(seconds)
    if not outcome:
        raise TimeoutError(f"no answer within {seconds:g} s")
    if isinstance(outcome[0], OSError):
        raise outcome[0]
    return outcome[0]


class StoreAway(UserError, OSError):
    """A store that does not answer; the message says why, and what to do."""

    exit_code = NOT_DONE


def greet(uris: Iterable[str], seconds: float = PATIENCE) -> None:
    """Raise :class:`StoreAway` if one of the buckets these lie in gives no answer.

    A refusal is an answer: what is wrong comes up when a file is asked for.
    """
    for bucket in sorted({"/".join(uri.split("/")[:3]) for uri in uris if is_greeted(uri)}):
        try:
            store = store_for(bucket)
        except UnknownStore:
            continue  # reported in its place, with the option that names it
        if isinstance(store, Greeted):
            greeting = _Greeting(bucket, store)
            greeting.start()
            greeting.join(seconds)
            if isinstance(greeting.trouble, UserError):
                raise greeting.trouble
            if greeting.is_alive() or greeting.trouble is not None:
                raise StoreAway(greeting.message(seconds))


class _Greeting(threading.Thread):
    """One question to one bucket. A thread can be left alone with what takes too long."""

    def __init__(self, bucket: str, store: Greeted) -> None:
        super().__init__(name="finecut-greeting", daemon=True)
        self.bucket, self.store = bucket, store
        self.trouble: OSError | None = None
        self._has_credentials = False

    def run(self) -> None:
        try:
            retried(self._ask, AGAIN)
        except (FileNotFoundError, PermissionError):
            pass
        except OSError as error:
            if status_of(error) is None and status_of(error.__cause__ or error) is None:
                self.trouble = error

    def _ask(self) -> None:
        self.store.sign_in(self.bucket)
        self._has_credentials = True
        page = self.store.inside(self.bucket, None)
        # Whatever a server that is no store answers may pass for a list of nothing.
        nothing = not page.objects and not page.folders
        if nothing and self.store.look(f"{self.bucket}/{NOT_THERE}") is not None:
            raise OSError("a server answers there, but not as a store does")

    def message(self, seconds: float) -> str:
        why = f"no answer within {seconds:g} s" if self.trouble is None else _short(self.trouble)
        return self.store.unreachable(self.bucket, why, self._has_credentials)


def _short(trouble: OSError) -> str:
    """What went wrong at the bottom, without the layers of libraries around it."""
    [first, *_] = trouble.args or (trouble,)
    reason = getattr(first, "reason", None)
    return str(trouble) if reason is None else str(reason).rpartition("): ")[2] or str(trouble)
