"""The one place that catches everything: an accident becomes a Failure and costs only itself.

A step that touches files or pixels wraps its work in :func:`guarded`. What went well comes out as
it is, the accident as a ``Failure`` with the evidence; the rest of the run goes on.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final, TypeVar

from finecut.io.records import Failure, Source
from finecut.transforms.secrets import redacted

T = TypeVar("T")

#: Tag of the dead-letter output that every guarded step has.
FAILURES: Final = "failures"

#: How much of a traceback is kept: enough to find the line, not the whole library.
EVIDENCE_LINES = 6


class ChildFailure(Exception):
    """What another process's guard caught, on its way to a guard here."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def guarded(
    step: str,
    source: Source,
    work: Callable[[], Iterable[T]],
    lost: Callable[[], Iterable[str]] = tuple,
) -> Iterator[T | Failure]:
    """Everything ``work`` yields, then a Failure if it broke; ``lost`` names the shots it cost."""
    try:
        yield from work()
    except Exception as error:
        yield failure(step, source, error, lost())


def attempted(work: Callable[[], T]) -> T | Exception:
    """What ``work`` gives, or what it broke with: for who has another way to try."""
    try:
        return work()
    except Exception as error:
        return error


def failure(step: str, source: Source, error: BaseException, lost: Iterable[str] = ()) -> Failure:
    """The record of this accident."""
    if isinstance(error, ChildFailure):
        return replace(error.failure, lost_shots=tuple(lost))
    evidence = "".join(traceback.format_tb(error.__traceback__)).splitlines()[-EVIDENCE_LINES:]
    return Failure(
        step=step,
        source=source,
        error=type(error).__name__,
        message=redacted(str(error) or repr(error)),
        evidence=redacted("\n".join(line.strip() for line in evidence)),
        lost_shots=tuple(lost),
        attempts=source.attempts + 1,
    )
