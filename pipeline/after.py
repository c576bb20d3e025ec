"""The choices of what is done after curation, once: options of ``dedup``, ``shard``, ``refilter``
and ``verify``.

Like :class:`Options`, a field is a flag, an argument in Python and a row in the README. Standard
library only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from finecut.pipeline.options import (
    LOCAL_RUNNERS,
    MOST_WORKERS,
    RUN,
    OptionError,
    cores,
    option,
)

Self = TypeVar("Self", bound="AfterOptions")

DATA = "data"


@dataclass(frozen=True)
class AfterOptions:
    """What all of these commands are told."""

    dataset: str = option(
        "",
        DATA,
        "What finecut curate wrote: its --output.",
        metavar="DATASET",
        shown="required",
        positional=True,
    )
    runner: str = option(
        "local",
        RUN,
        "Where to run: local (this machine, no network), or a Beam runner by name with its own "
        "options.",
        metavar="NAME",
    )
    workers: int = option(
        0,
        RUN,
        "Pieces of work done at the same time on this machine; 0 means one for each core.",
        metavar="N",
        shown="cores",
        least=0,
        most=MOST_WORKERS,
    )
    verbose: bool = option(False, RUN, "Say what is done, and show warnings of libraries.")

    @property
    def is_local(self) -> bool:
        return self.runner in LOCAL_RUNNERS

    @property
    def local_workers(self) -> int:
        return self.workers or cores()

    def check(self: Self) -> Self:
        """Itself, or an :class:`OptionError` that says what to write instead."""
        from finecut.pipeline.contradictions import unknown_or_out_of_range

        if not self.dataset:
            raise OptionError("no DATASET: write the folder that finecut curate wrote to")
        for wrong in (*unknown_or_out_of_range(self), *self.contradictions()):
            raise OptionError(wrong)
        return self

    def contradictions(self) -> Iterator[str]:
        """What is wrong with options that belong to one command only."""
        yield from ()
