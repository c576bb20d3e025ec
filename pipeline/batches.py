"""Batches: a run on this machine does so many videos in one pipeline, and the others in the next.

The local runner keeps everything between two stages in memory, so a pipeline is small. Finished
videos are hardly any work, and their batches are larger.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress

from finecut.io.process.threads import in_order
from finecut.io.records import Source
from finecut.io.storage import files as shelf
from finecut.pipeline.planning import Plan
from finecut.transforms.beam.metrics import BOARD
from finecut.transforms.resume.begin import looks_finished

#: A batch ends at this many videos or bytes: large enough that the workers rarely wait for its
#: last chunk, small enough to hold and to lose.
BATCH_VIDEOS = 200
BATCH_BYTES = 2_000_000_000
#: The first one may have so many videos for each worker, if they are at most one in so many.
FIRST_VIDEOS, FIRST_OF = 2, 12
#: Finished videos that are as little work as one that is not.
FINISHED_FOR_ONE = 50
#: So many videos are weighed before they are worked on.
AHEAD = 20_000


def first_batch(videos: int, workers: int) -> int:
    """How many videos the first batch should have; 0: as many as the others.

    Where videos are watched before they are cut, a small one shows early what cutting costs. Of few
    videos it would leave workers idle.
    """
    first = FIRST_VIDEOS * workers
    return first if first < min(videos / FIRST_OF, BATCH_VIDEOS) else 0


def batches_of(
    sources: Iterable[tuple[Source, float, int]], videos: int, size: int, first: int = 0
) -> Iterator[list[Source]]:
    """Consecutive sources, until they count for ``videos`` or have ``size`` bytes.

    ``first`` is for how many those of the first batch count, if it is another number.
    """
    batch: list[Source] = []
    counted, held, most = 0.0, 0, first or videos
    for source, counts, num_bytes in sources:
        batch.append(source)
        counted, held = counted + counts, held + num_bytes
        if counted >= most or held >= size:
            yield batch
            batch, counted, held, most = [], 0.0, 0, videos
    if batch:
        yield batch


def weighed(sources: Iterable[Source], steps: Plan) -> Iterator[tuple[Source, float, int]]:
    """Each source, for how many it counts, and its bytes; finished ones are hardly any work.

    Far ahead of whoever reads this, so that it is known how much there is to do.
    """

    def weigh(source: Source) -> tuple[Source, float, int]:
        finished = not steps.again.overwrite and looks_finished(source, steps.writing)
        size = 0 if finished else _size(source)
        BOARD.add("videos to do", not finished)
        BOARD.add("bytes to do", size)
        BOARD.add("videos weighed", 1)
        return source, 1 / FINISHED_FOR_ONE if finished else 1, size

    return in_order(weigh, sources, threads=1, each=AHEAD)


def _size(source: Source) -> int:
    """Bytes of a local file; what is missing or far away is found out when it is its turn."""
    with suppress(OSError, ValueError):
        if not shelf.is_remote(source.uri) and shelf.exists(source.uri):
            return shelf.size_of(source.uri)
    return 0
