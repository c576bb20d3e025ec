"""Trying again: what passes is waited out, what stays is said at once."""

from __future__ import annotations

import errno
import http.client

import pytest
from apache_beam.io.filesystem import BeamIOError
from fake_clock import Clock
from hypothesis import given
from hypothesis import strategies as st

from finecut.io.storage.retry import is_passing, retried, status_of
from finecut.io.storage.stores import ShortRead


class Refusal(Exception):
    """An error as a store's library has them: not an OSError, with a status."""

    def __init__(self, code: object) -> None:
        super().__init__(f"{code} No")
        self.code = code


class Answered(Exception):
    """An error as libraries for HTTP have them: the status is the response's."""

    def __init__(self, status_code: int) -> None:
        super().__init__(f"answered {status_code}")
        self.response = type("Response", (), {"status_code": status_code})()


class Exhausted(Exception):
    """What Google's library raises when it has tried long enough."""

    def __init__(self, cause: Exception) -> None:
        super().__init__("Timeout of 120.0s exceeded")
        self.cause = cause


class ChunkedEncodingError(Exception):
    """A connection that broke, known by its name only."""


PASSING = (
    OSError(errno.EIO, "the server of the disk is away"),
    OSError(errno.ESTALE, "it came back as another"),
    ConnectionResetError(errno.ECONNRESET, "reset"),
    ConnectionError("without a number"),
    TimeoutError("too late"),
    http.client.IncompleteRead(b"half"),
    ShortRead("half"),
    Refusal(408),
    Refusal(429),
    Refusal(500),
    Refusal(503),
    Answered(502),
    Exhausted(Refusal(503)),
    ChunkedEncodingError("broken"),
    BeamIOError("Rename", {("a", "b"): 503, ("c", "d"): Refusal(429)}),
    BeamIOError("Match", {"a": BeamIOError("List", {"a": Refusal(503)})}),
)
LASTING = (
    OSError(errno.ENOSPC, "full"),
    OSError(errno.EROFS, "read-only"),
    OSError(errno.EDQUOT, "enough"),
    PermissionError(errno.EACCES, "no"),
    FileNotFoundError(errno.ENOENT, "gone"),
    IsADirectoryError(errno.EISDIR, "a folder"),
    OSError("the run is being stopped"),
    ValueError("nonsense"),
    Refusal(400),
    Refusal(403),
    Refusal(404),
    Refusal(501),
    Refusal("503"),
    Answered(412),
    Exhausted(Refusal(403)),
    BeamIOError("Rename", {("a", "b"): 503, ("c", "d"): 404}),
    BeamIOError("Nothing said"),
)


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_passing_trouble_is_waited_out(error: Exception) -> None:
    clock, work = Clock(), Work([error, error, error])
    assert clock.retried(work, 60) == "done"
    assert work.attempts == 4
    assert 0 < clock.now <= 60


@pytest.mark.parametrize("error", LASTING, ids=repr)
def test_what_stays_as_it_is_is_said_at_once(error: Exception) -> None:
    clock, work = Clock(), Work([error])
    with pytest.raises((type(error), OSError)):
        clock.retried(work)
    assert (work.attempts, clock.now) == (1, 0.0)


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_the_last_error_is_an_oserror_and_comes_after_the_deadline(error: Exception) -> None:
    clock, work = Clock(), Work([error] * 1000)
    with pytest.raises(OSError) as raised:  # noqa: PT011
        clock.retried(work, 60)
    assert raised.value is error or raised.value.__cause__ is error
    assert 60 - 16 <= clock.now <= 60
    assert 5 <= work.attempts <= 20


@pytest.mark.parametrize(
    ("status", "kind"), [(404, FileNotFoundError), (403, PermissionError), (400, OSError)]
)
def test_what_a_store_refuses_is_called_as_on_a_disk(status: int, kind: type[OSError]) -> None:
    with pytest.raises(kind, match=f"Refusal: {status} No"):
        Clock().retried(Work([Refusal(status)]))


def test_a_slow_attempt_uses_up_the_deadline() -> None:
    clock = Clock()

    def work() -> None:
        clock.sleep(100)
        raise TimeoutError("nobody answered")

    with pytest.raises(TimeoutError):
        clock.retried(work, 120)
    assert clock.now < 220


def test_whoever_ends_the_program_is_not_held_back() -> None:
    def work() -> None:
        raise SystemExit(503)

    with pytest.raises(SystemExit):
        Clock().retried(work)


def test_a_status_is_an_error_only_among_the_errors() -> None:
    assert status_of(Refusal(503)) == 503
    assert status_of(Refusal(200)) is None
    assert status_of(Refusal(11)) is None


@given(chance=st.floats(0, 1, exclude_max=True), deadline=st.floats(0, 1000))
def test_pauses_grow_and_never_pass_the_deadline(chance: float, deadline: float) -> None:
    clock = Clock()
    with pytest.raises(ShortRead):
        retried(
            Work([ShortRead("half")] * 10_000),
            deadline,
            clock=clock.monotonic,
            sleep=clock.sleep,
            chance=lambda: chance,
        )
    assert clock.now <= deadline
    assert all(0.1 <= pause <= 16 for pause in clock.pauses)
    assert clock.pauses == sorted(clock.pauses)


def test_all_who_are_waiting_do_not_come_back_at_once() -> None:
    firsts = []
    for _ in range(20):
        clock = Clock()
        clock.retried(Work([ShortRead("half")]))
        firsts += clock.pauses
    assert len(set(firsts)) > 10


def test_nothing_is_said_to_be_passing_that_nobody_knows() -> None:
    assert not is_passing(Exception("who knows"))
    assert not is_passing(Refusal(None))


class Work:
    """Breaks with one error after the other, and is done then."""

    def __init__(self, errors: list[Exception]) -> None:
        self.errors = errors
        self.attempts = 0

    def __call__(self) -> str:
        self.attempts += 1
        if self.attempts <= len(self.errors):
            raise self.errors[self.attempts - 1]
        return "done"
