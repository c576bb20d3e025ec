"""Scene detection as a pipeline does it, by worker processes whose work is measured.

    a video → its segments → dealt to the workers → watched, each by one of them → chunks

Workers are processes that Beam starts, in which nobody has limited the threads of any library. What
a segment costs is what its worker and all that it began used while it was watched.
"""

# Annotations are read by Beam.
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from finecut.io.process.processor_time import processor_seconds
from finecut.io.records import Failure, PlannedChunk, Segment, Video, from_json, to_json
from finecut.pipeline.dealing import ShareOut, deal_segments
from finecut.pipeline.engine import local_arguments
from finecut.transforms.split.spans import Splitting
from finecut.transforms.split.videos import InSegments, SplitVideos

SUPPORT = str(Path(__file__).parent)
#: Limits that this program has, and a worker that an engine starts has not.
LIMITS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Look:
    """A segment that was watched: which, by which process, for how long."""

    number: int
    worker: int
    cpu: float
    began: float
    ended: float


@dataclass(frozen=True)
class Detected:
    """What became of a video, and what that took."""

    chunks: list[PlannedChunk]
    looks: list[Look]

    @property
    def cpu(self) -> float:
        return sum(look.cpu for look in self.looks)

    @property
    def wall(self) -> float:
        """From the first look at a segment to the end of the last."""
        ends = [look.ended for look in self.looks]
        return max(ends) - min(look.began for look in self.looks)

    @property
    def busiest(self) -> float:
        """Processor seconds of the worker that had the most to do."""
        shares = dict.fromkeys((look.worker for look in self.looks), 0.0)
        for look in self.looks:
            shares[look.worker] += look.cpu
        return max(shares.values())

    @property
    def longest(self) -> float:
        """Processor seconds of the segment that took the most."""
        return max(look.cpu for look in self.looks)


def environment() -> dict[str, str]:
    """That of a program whose workers find this module, and limit nothing."""
    free = {name: value for name, value in os.environ.items() if name not in LIMITS}
    return free | {"PYTHONPATH": os.pathsep.join(filter(None, [SUPPORT, free.get("PYTHONPATH")]))}


def detect(
    video: Video, splitting: Splitting, workers: int, folder: Path, *, in_threads: bool = False
) -> Detected:
    """Split a video by so many worker processes; what comes of it is put into a new folder.

    ``in_threads`` of this process, as the command does it: then a look is not told from another.
    """
    folder.mkdir(parents=True)
    processes = ["--direct_running_mode=multi_processing"]
    arguments = [*local_arguments(workers), *([] if in_threads else processes)]
    with beam.Pipeline(options=PipelineOptions(arguments)) as pipeline:
        videos = pipeline | beam.Create([video]).with_output_types(Video)
        segments = videos | InSegments(splitting)
        dealt = segments | "ShareOutVideos" >> ShareOut(deal_segments, workers)
        looked = dealt | "Look" >> beam.ParDo(_Measure(str(folder)))
        made = looked | "SplitVideos" >> SplitVideos(splitting, list)
        for name, records in (("chunk", made.reels), ("failure", made.failures)):
            _ = records | f"Keep {name}" >> beam.Map(_keep, str(folder), name)
    if failed := _kept(folder, "failure"):
        raise AssertionError(failed)
    chunks = [from_json(PlannedChunk, text) for text in _kept(folder, "chunk")]
    looks = [Look(**json.loads(text)) for text in _kept(folder, "look")]
    return Detected(
        sorted(chunks, key=lambda planned: planned.chunk.index),
        sorted(looks, key=lambda look: look.number),
    )


class _Measure(beam.DoFn):
    """What is yielded is worked on by the steps behind, until they ask for more."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def process(self, segment: Segment) -> Iterator[Segment]:
        used, began = _used(), time.monotonic()
        yield segment
        ended = time.monotonic()
        look = Look(segment.number, os.getpid(), _used() - used, began, ended)
        Path(self.folder, f"look-{segment.number}").write_text(json.dumps(asdict(look)))


def _used() -> float:
    """The most of some readings: one misses a child, and all it did, that ends meanwhile."""
    return max(processor_seconds() for _ in range(3))


def _keep(record: PlannedChunk | Failure, folder: str, name: str) -> None:
    number = record.chunk.index if isinstance(record, PlannedChunk) else 0
    Path(folder, f"{name}-{number}").write_text(to_json(record))


def _kept(folder: Path, name: str) -> Sequence[str]:
    return [path.read_text() for path in folder.glob(f"{name}-*")]
