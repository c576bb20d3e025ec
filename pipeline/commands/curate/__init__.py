"""The commands that take the options of ``finecut curate``: curate, describe and doctor.

curate      videos become clips; :mod:`finecut.pipeline.running` does it
describe    the pipeline before it runs, as it will really be built
doctor      whether this machine can do what the options ask, found out by doing it
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from finecut.io.errors import NOT_DONE
from finecut.io.process import children
from finecut.io.storage.stores import modules_behind
from finecut.pipeline.commands.base import DONE, Page, VideoCommand

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
    launchable = True
    page = Page(
        "Turn a folder of videos into a training-ready dataset of clips.",
        """Finds the videos in --input, cuts each into clips, measures them, filters them by
        rules, embeds and captions them, and writes everything to --output: clips/,
        filtered_clips/, metas/, previews/, vectors, and a document for each finished video.

        Videos that an earlier run finished are skipped, so after an interruption the same
        command finishes the rest. A video that fails is listed in failures/; the run goes on.""",
        examples=(
            (
                "all videos in a folder, in clips of ten seconds",
                "finecut curate --input videos --output dataset",
            ),
            (
                "cut at scene changes, keep only clips that move and are sharp, with previews",
                "finecut curate --input videos --output dataset --splitting-algorithm content \\\n"
                "      --motion-filter enable --quality-filter enable --generate-previews",
            ),
            (
                "every video that arrives in films/, until it is stopped",
                "finecut curate --input films --output dataset --watch 30",
            ),
            (
                "in buckets, on Dataflow",
                "finecut curate --input gs://bucket/videos --output gs://bucket/dataset \\\n"
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
        if o.is_local and not (o.no_isolation or o.profile or o.gpus):
            # It imports its own, while this process imports Beam.
            children.start(*CHILDREN, *modules_behind(o.input))

    def work(self) -> Ran:
        from finecut.pipeline.on_gpus import on_all_gpus
        from finecut.pipeline.running import run

        return run(on_all_gpus(self.options), self.runner_arguments, progress=self.progress)

    def tell(self, result: Ran, _seconds: float) -> Iterator[str]:
        from finecut.pipeline.cli.final_words import final_words
        from finecut.pipeline.planning import failures_path
        from finecut.transforms.find.lists import named_as_input

        if not result.summary.videos_found and result.elsewhere:
            yield (
                f"part {self.options.part} has none of the {result.elsewhere} videos that were "
                "found: there is nothing to do"
            )
        if result.summary.videos_found:
            listed = failures_path(self.options)
            if result.summary.failures:
                listed = named_as_input(listed)
            yield final_words(
                self.options,
                result.summary,
                result.seconds,
                listed,
                document=result.path,
                report=result.report,
            )

    def answer(self, result: Ran) -> Iterator[str]:
        from finecut.pipeline.cli.final_words import stats_table

        if self.options.log_stats:
            yield "\n" + stats_table(result.stats)

    def problems(self, result: Ran) -> Sequence[str]:
        from finecut.pipeline.cli.final_words import problems

        if result.broken:
            return (*result.misdone, *result.broken)
        if not result.summary.videos_found and result.elsewhere:
            return ()
        if self.options.watch is not None and not result.summary.imbalances():
            return result.misdone  # it may well be that nothing came
        return result.misdone or problems(self.options, result.summary)

    def exit_code(self, result: Ran) -> int:
        return max(super().exit_code(result), result.code)


class Describe(VideoCommand[str]):
    name = "describe"
    page = Page(
        "Print the pipeline that curate would run: steps, what flows between them, resources.",
        "Takes the options of curate. Reads nothing but the lists and models that they name.",
        examples=(
            (
                "what would be done",
                "finecut describe --input videos --output dataset --generate-captions",
            ),
        ),
        usage="--input PATH --output PATH [options]",
    )
    does = "finecut.pipeline.commands.curate.describe:describe"
    stores = ("cuts", "drop")
    answers = True

    def answer(self, result: str) -> Iterator[str]:
        yield result


class Doctor(VideoCommand[bool]):
    name = "doctor"
    page = Page(
        "Test whether this machine can do what the options of curate ask for: codecs, models, "
        "output.",
        "Takes the options of curate; none is required, and --input is not tested. PLACE is "
        "short for --output PLACE. The exit code is 1 if something does not work.",
        examples=(
            ("before a long run", "finecut doctor --output dataset --generate-captions"),
            ("what a store can do, and whether you may", "finecut doctor s3://bucket/dataset"),
        ),
        usage="[PLACE] [options of curate]",
    )
    does = "finecut.pipeline.commands.curate.doctor:doctor"
    stores = ("cuts", "drop", "model_dir")
    whole = False

    @classmethod
    def typed(cls, words: Sequence[str]) -> Sequence[str]:
        return ["--output", *words] if words and not words[0].startswith("-") else words

    def say(self, text: str) -> None:
        """What was found is what was asked for: also with ``--quiet``."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def exit_code(self, result: bool) -> int:
        return DONE if result else NOT_DONE
