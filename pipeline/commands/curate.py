"""``finecut curate``: videos become clips; see :mod:`finecut.pipeline.running`, which does it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from finecut.io.process import children
from finecut.io.storage.stores import modules_behind
from finecut.pipeline.commands.base import Page, VideoCommand

if TYPE_CHECKING:
    from finecut.pipeline.running import Ran

#: What works in child processes.
CHILDREN: Final = tuple(
    f"finecut.transforms.{name}"
    for name in (
        "cut.isolated",
        "find.probe",
        "cut.chunk",
        "registry",
        "measure.motion",
        "measure.quality",
    )
)


class Curate(VideoCommand["Ran"]):
    name = "curate"
    page = Page(
        "Turn a folder of videos into a training-ready dataset of clips.",
        """Finds the videos below --input, cuts each into clips, measures them, filters them by
        rules, embeds and captions them, and writes everything below --output: clips/,
        filtered_clips/, metas/, previews/, vectors, and a document for each finished video.

        Videos that an earlier run finished are skipped, so after an interruption the same
        command does the rest. A video that fails is listed in failures/, and the run goes on.""",
        examples=(
            (
                "all videos below films/, in clips of ten seconds",
                "finecut curate --input films --output dataset",
            ),
            (
                "cut at scene changes, keep only clips that move and are sharp, with previews",
                "finecut curate --input films --output dataset --splitting-algorithm content \\\n"
                "      --motion-filter enable --quality-filter enable --generate-previews",
            ),
            (
                "in buckets, on Dataflow",
                "finecut curate --input gs://bucket/films --output gs://bucket/dataset \\\n"
                "      --runner DataflowRunner --project P --region R --temp_location gs://bucket/tmp",
            ),
            (
                "again, only what failed",
                "finecut curate --input dataset/failures/LIST.jsonl --output dataset",
            ),
        ),
        usage="--input PATH [PATH …] --output PATH [options]",
    )
    does = "finecut.pipeline.running:run"

    def begin(self) -> None:
        o = self.options
        if o.is_local and not (o.no_isolation or o.profile):
            # It imports its own, while this process imports Beam.
            children.start(*CHILDREN, *modules_behind(o.input))

    def work(self) -> Ran:
        from finecut.pipeline.running import run

        return run(self.options, self.runner_arguments, progress=self.progress)

    def tell(self, result: Ran, _seconds: float) -> Iterator[str]:
        from finecut.pipeline.cli.final_words import final_words
        from finecut.pipeline.planning import failures_path

        if result.summary.videos_found:
            yield final_words(
                self.options,
                result.summary,
                result.seconds,
                failures_path(self.options),
                document=result.path,
                report=result.report,
            )

    def answer(self, result: Ran) -> Iterator[str]:
        from finecut.pipeline.cli.final_words import stats_table

        if self.options.log_stats:
            yield "\n" + stats_table(result.stats)

    def problems(self, result: Ran) -> Sequence[str]:
        from finecut.pipeline.cli.final_words import problems

        return result.misdone or problems(self.options, result.summary)
