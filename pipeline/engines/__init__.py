"""Engines, by their names: which of them end with this process, and which work inside it.

Light: what is asked here is asked before Beam is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from finecut.pipeline.choices.running import LOCAL_RUNNERS

#: Ours and Beam's name for Beam's own portable runner.
PRISM: Final = ("prism", "PrismRunner")
ENVIRONMENT, LOOPBACK = "--environment_type", "LOOPBACK"


def is_our_prism(runner: str, arguments: Sequence[str]) -> bool:
    """Whether a Prism has to be started: one that is up already is named by its endpoint."""
    return runner in PRISM and value_of(arguments, "--job_endpoint") is None


def ends_with_us(runner: str, arguments: Sequence[str]) -> bool:
    """Whether nothing of the job is at work any more when this process has ended."""
    return runner in LOCAL_RUNNERS or is_our_prism(runner, arguments)


def does_again(runner: str) -> bool:
    """Whether it does a bundle again that failed. The local runner and Prism fail with it."""
    return runner not in (*LOCAL_RUNNERS, *PRISM)


def in_process(runner: str, arguments: Sequence[str]) -> bool:
    """Whether its workers are threads of this process."""
    where = value_of(arguments, ENVIRONMENT) or LOOPBACK
    return runner in LOCAL_RUNNERS or (is_our_prism(runner, arguments) and where == LOOPBACK)


def value_of(arguments: Sequence[str], name: str) -> str | None:
    """
    >>> value_of(["--a=1", "--b", "2"], "--b"), value_of(["--a=1"], "--a"), value_of([], "--a")
    ('2', '1', None)
    """
    for at, word in enumerate(arguments):
        given, equals, value = word.partition("=")
        if given == name:
            return value if equals else next(iter(arguments[at + 1 : at + 2]), None)
    return None
