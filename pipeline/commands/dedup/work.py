"""The work of ``finecut dedup``: planned, withdrawn, found, and read back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import apache_beam as beam
import pyarrow as pa

from finecut.io.errors import RunError, UserError
from finecut.io.storage import files as shelf
from finecut.pipeline.at_work import occupying
from finecut.pipeline.commands.dedup import FindDuplicates
from finecut.pipeline.commands.dedup.plan import planned
from finecut.pipeline.commands.dedup.words import progress_line
from finecut.pipeline.disk import refusal
from finecut.transforms.dedup.duplicates import (
    SUMMARY,
    UNSEEN,
    Dedup,
    Deduped,
    Deduping,
    summary_of,
)
from finecut.transforms.dedup.reuse import forget, withdraw


def dedup(command: FindDuplicates) -> tuple[Deduping, Deduped]:
    """What was found, and how. Raises when there is nothing to compare."""
    deduping = planned(command)
    own = deduping.clustering.own
    with (
        occupying(own, "--into", is_local=command.options.is_local),
        _doubting(deduping),
        command.showing(progress_line),
    ):
        withdraw(deduping)
        command.run_pipeline(partial(_build, deduping), own)
        unseen = shelf.read_if_there(f"{own.staging}/{UNSEEN}")
    if unseen is not None:
        raise _nothing_seen(deduping, int(unseen))
    deduped = summary_of(own.root)
    if deduped is None:
        raise RunError(f"the run ended without {deduping.path(SUMMARY)}: see the runner's own log")
    return deduping, deduped


@contextmanager
def _doubting(deduping: Deduping) -> Iterator[None]:
    """Where no disk is to blame, what was used again may be what went wrong: the next run makes it
    anew.
    """
    try:
        yield
    except (RuntimeError, ValueError, OSError, pa.ArrowException) as error:
        if not isinstance(error, UserError) and refusal(error) is None:
            forget(deduping)
        raise


def _nothing_seen(deduping: Deduping, pairs: int) -> RunError:
    assert deduping.clips is not None
    return RunError(
        f"not one of the {pairs} near pairs could be looked at, so nothing was listed: the clips "
        f"are not in {deduping.clips.clips()}, or cannot be read. Usually they were moved, or are "
        "still being copied: put them there, or write --no-confirm, and vectors alone decide"
    )


def _build(deduping: Deduping, pipeline: beam.Pipeline) -> None:
    _ = pipeline | "Dedup" >> Dedup(deduping)
