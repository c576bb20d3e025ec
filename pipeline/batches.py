"""Batches of videos: a local run is a pipeline for each, so that memory does not grow with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from finecut.io.records import Source
from finecut.io.storage import files as shelf
from finecut.pipeline.planning import Plan
from finecut.transforms.resume.note import looks_finished

#: Finished videos that are as little work as one that is not.
FINISHED_FOR_ONE = 50


def batches_of(
    sources: Iterable[tuple[Source, float, int]], videos: int, size: int
) -> Iterator[list[Source]]:
    """Consecutive sources, until they count for ``videos`` or have ``size`` bytes."""
    batch: list[Source] = []
    counted, held = 0.0, 0
    for source, counts, num_bytes in sources:
        batch.append(source)
        counted, held = counted + counts, held + num_bytes
        if counted >= videos or held >= size:
            yield batch
            batch, counted, held = [], 0.0, 0
    if batch:
        yield batch


def weighed(sources: Iterable[Source], steps: Plan) -> Iterator[tuple[Source, float, int]]:
    """Each source, for how many it counts, and its bytes; finished ones are hardly any work."""
    for source in sources:
        if not steps.again.overwrite and looks_finished(source, steps.writing):
            yield source, 1 / FINISHED_FOR_ONE, 0
        else:
            yield source, 1, _size(source)


def _size(source: Source) -> int:
    """Bytes of a local file; what is missing or far away is found out when it is its turn."""
    try:
        if shelf.is_remote(source.uri) or not shelf.exists(source.uri):
            return 0
        return shelf.size_of(source.uri)
    except (OSError, ValueError):
        return 0
