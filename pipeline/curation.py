"""The whole film on one screen: from inputs to a dataset on the shelf.

In a pipeline of your own::

    with beam.Pipeline() as pipeline:
        curated = curate(pipeline, Options(input=("films",), output="dataset"))
        curated.clips | ...           # the Clip records, also of rejected ones
        curated.written.metas | ...   # receipts of what was written

From beginning to end, with progress: ``run(Options(...))`` gives the run's ``Summary``.
"""

import hashlib
import uuid
from collections.abc import Iterable
from typing import NamedTuple

import apache_beam as beam

from finecut.io import shelf
from finecut.io.film.encoders import Encoding
from finecut.io.layout import Layout
from finecut.io.records import Clip, Failure, Reel, Source, Summary, Video, to_json
from finecut.io.shelf import Shelf
from finecut.pipeline.options import Options
from finecut.transforms.close import CloseEmptyVideos, WithdrawPromises
from finecut.transforms.cut import CutClips, Cutting
from finecut.transforms.find import Finding, FindVideos, ProbeVideos
from finecut.transforms.split import FixedStride, SplitVideos
from finecut.transforms.summary import Summarise
from finecut.transforms.write import WriteClips, WrittenClips
from finecut.transforms.writing import Writing


class Curated(NamedTuple):
    """Everything a run makes, by name."""

    sources: beam.PCollection[Source]
    videos: beam.PCollection[Video]
    reels: beam.PCollection[Reel]
    clips: beam.PCollection[Clip]
    written: WrittenClips
    failures: beam.PCollection[Failure]
    summary: beam.PCollection[Summary]


class Plan(NamedTuple):
    """What each step is told, derived from the options once."""

    finding: Finding
    split: FixedStride
    cutting: Cutting
    writing: Writing
    #: Name of this run's list of failures; the same command gives the same name.
    failures_path: str


def plan(options: Options, run: str | None = None) -> Plan:
    """The settings of every step. ``run`` names the staging folder only this run uses."""
    output = shelf.absolute(options.output)
    layout = Layout(output, options.shard_prefix)
    own = Shelf(output, layout.staging_of(run or uuid.uuid4().hex))
    inputs = tuple(shelf.absolute(spec) for spec in options.input)
    key = hashlib.sha256("\n".join(sorted(inputs)).encode()).hexdigest()[:12]
    return Plan(
        finding=Finding(
            inputs,
            options.named_as,
            options.video_limit,
            without=(layout.clips(), layout.clips(kept=False), layout.staging()),
        ),
        split=FixedStride(
            options.clip_length,
            options.stride,
            options.min_clip_length,
            options.limit_clips,
            options.chunk_seconds,
        ),
        cutting=Cutting(
            own,
            Encoding(
                options.encoder,
                options.preset,
                options.crf,
                options.bit_rate,
                options.encoder_threads,
                options.audio,
            ),
            options.use_input_bit_rate,
        ),
        writing=Writing(
            layout,
            own,
            upload_clips=not options.no_upload_clips,
            dry_run=options.dry_run,
            threads=options.write_threads,
        ),
        failures_path=layout.failure_list(key),
    )


def curate(pipeline: beam.Pipeline, options: Options) -> Curated:
    """Add the whole way to a pipeline: find → probe → split → cut → write → tidy up."""
    steps = plan(options.check())
    sources = pipeline | "FindVideos" >> FindVideos(steps.finding)
    curated, listed = build(sources, steps, options.is_local)
    _ = (curated.summary, listed) | "TidyUp" >> TidyUp(steps.writing.shelf)
    return curated


def build(
    sources: beam.PCollection[Source], steps: Plan, local: bool
) -> tuple[Curated, beam.PCollection[int]]:
    """What is done with sources; the second value appears when the list of failures is written."""
    begun = sources | "WithdrawPromises" >> WithdrawPromises(steps.writing)
    probed = begun | "ProbeVideos" >> ProbeVideos()
    reels = probed.videos | "SplitVideos" >> SplitVideos(steps.split)
    empty = reels | "WithoutShots" >> beam.Filter(lambda reel: not reel.shots)
    dealt = reels | "ShareOutReels" >> ShareOut(longest_first=local)
    cut = dealt | "CutClips" >> CutClips(steps.cutting)
    written = cut.clips | "WriteClips" >> WriteClips(steps.writing)
    emptied = empty | "CloseEmptyVideos" >> CloseEmptyVideos(steps.writing)

    failures = (
        probed.failures,
        cut.failures,
        written.failures,
        emptied.failures,
    ) | "AllFailures" >> beam.Flatten()
    events = (sources, reels, written.chunks, written.videos, emptied.closed, failures)
    summary = events | "Summarise" >> Summarise()
    listed = failures | "WriteFailures" >> WriteLines(steps.writing.shelf, steps.failures_path)
    return Curated(sources, probed.videos, reels, cut.clips, written, failures, summary), listed


class ShareOut(beam.PTransform[beam.PCollection[Reel], beam.PCollection[Reel]]):
    """Reels, dealt to the workers.

    A cluster hands out work as workers become free. The local runner deals it once, in turn; so
    there the longest reels are dealt first, and no worker is left alone with a long one at the end.
    """

    def __init__(self, longest_first: bool) -> None:
        super().__init__()
        self.longest_first = longest_first

    def expand(self, reels: beam.PCollection[Reel]) -> beam.PCollection[Reel]:
        if self.longest_first:
            reels = (
                reels
                | "All" >> beam.Map(lambda reel: (0, reel)).with_output_types(tuple[int, Reel])
                | "Together" >> beam.GroupByKey()
                | "Longest first"
                >> beam.FlatMap(lambda group: longest_first(group[1])).with_output_types(Reel)
            )
        return reels | "Deal" >> beam.Reshuffle()


def longest_first(reels: Iterable[Reel]) -> list[Reel]:
    """By seconds and picture size, falling; the name decides between equals."""
    return sorted(reels, key=lambda reel: (-_work(reel), reel.video.name, reel.chunk.index))


def _work(reel: Reel) -> float:
    seconds = sum(shot.span.length for shot in reel.shots)
    return seconds * reel.video.framerate * reel.video.width * reel.video.height


class WriteLines(beam.PTransform[beam.PCollection[Failure | Summary], beam.PCollection[int]]):
    """Records → one file of JSON lines, sorted; nothing is written when there are none."""

    def __init__(self, own: Shelf, path: str) -> None:
        super().__init__()
        self.own, self.path = own, path

    def expand(self, records: beam.PCollection[Failure | Summary]) -> beam.PCollection[int]:
        own, path = self.own, self.path

        def write(group: tuple[int, Iterable[str]]) -> int:
            return own.write(path, "".join(f"{line}\n" for line in sorted(group[1])).encode())

        return (
            records
            | "Lines"
            >> beam.Map(lambda record: (0, to_json(record))).with_output_types(tuple[int, str])
            | "One file" >> beam.GroupByKey()
            | "Write" >> beam.Map(write).with_output_types(int)
        )


_Ended = tuple[beam.PCollection[Summary], beam.PCollection[int]]


class TidyUp(beam.PTransform[_Ended, beam.PCollection[None]]):
    """Removes the run's staging folder when the summary is known and the failures are listed."""

    def __init__(self, own: Shelf) -> None:
        super().__init__()
        self.own = own

    def expand(self, ended: "_Ended") -> beam.PCollection[None]:
        summary, listed = ended
        own = self.own

        def sweep(_summary: Summary, _listed: list[int]) -> None:
            own.sweep()

        return summary | "Sweep" >> beam.Map(sweep, beam.pvalue.AsList(listed)).with_output_types(
            None
        )
