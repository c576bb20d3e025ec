"""The one place that catches everything: an accident becomes a Failure and costs only itself.

A step that touches files or pixels wraps its work in :func:`guarded`. What went well comes out as
it is, the accident as a ``Failure`` with the evidence; the rest of the run goes on.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final, TypeVar

from finecut.io.records import Failure, Source
from finecut.transforms.beam.evidence import causes
from finecut.transforms.write.secrets import redacted

T = TypeVar("T")

#: Tag of the dead-letter output that every guarded step has.
FAILURES: Final = "failures"

#: Where in our code it broke; shown with ``--verbose``.
LOG: Final = logging.getLogger("finecut")


def told(stack: str) -> None:
    """Log it; shown with ``--verbose``."""
    LOG.info("%s", stack)


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
    tell: Callable[[str], None] = told,
) -> Iterator[T | Failure]:
    """Everything ``work`` yields, then a Failure if it broke; ``lost`` names the clips it cost.

    ``tell`` gets the stack.
    """
    try:
        yield from work()
    except Exception as error:
        if not isinstance(error, ChildFailure):
            tell(stack_of(step, source, error))
        yield failure(step, source, error, lost())


def attempted(work: Callable[[], T]) -> T | Exception:
    """What ``work`` gives, or the exception that it raised: for callers with another way to try."""
    try:
        return work()
    except Exception as error:
        return error


def stack_of(step: str, source: Source, error: BaseException) -> str:
    """Where in our code it broke, for the log."""
    stack = "".join(traceback.format_exception(error))
    return redacted(f"{step} of {source.name} broke down:\n{stack}")


def failure(step: str, source: Source, error: BaseException, lost: Iterable[str] = ()) -> Failure:
    """The record of this accident."""
    if isinstance(error, ChildFailure):
        return replace(error.failure, lost_shots=tuple(lost))
    return Failure(
        step=step,
        source=source,
        error=type(error).__name__,
        message=redacted(str(error) or repr(error)),
        evidence=redacted("\n".join(causes(error))),
        lost_shots=tuple(lost),
        attempts=source.attempts + 1,
    )
