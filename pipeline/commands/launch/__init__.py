"""``finecut launch``: a job is built and handed over, and nobody here waits for its end."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from finecut.pipeline.commands.base import Page, VideoCommand
from finecut.pipeline.engines import ends_with_us
from finecut.pipeline.options import OptionError

if TYPE_CHECKING:
    from apache_beam.runners.runner import PipelineResult

DATAFLOW: Final = "DataflowRunner"


class Launch(VideoCommand["PipelineResult"]):
    name = "launch"
    page = Page(
        "Submit a curate job to a cluster and return without waiting for it.",
        "Takes the options of curate; also needs --runner and the runner's own options.",
        examples=(
            (
                "on Dataflow",
                "finecut launch --input gs://bucket/films --output gs://bucket/dataset \\\n"
                "      --runner DataflowRunner --project P --region R --temp_location gs://bucket/tmp",
            ),
        ),
        usage="--input PATH --output PATH --runner NAME [options]",
    )
    does = "finecut.pipeline.commands.launch.work:launch"

    def begin(self) -> None:
        if ends_with_us(self.options.runner, self.runner_arguments):
            raise OptionError("launch needs a cluster: give DataflowRunner")

    def work(self) -> PipelineResult:
        from finecut.pipeline.commands.launch.work import launch

        return launch(self.options, self.runner_arguments)

    def tell(self, result: PipelineResult, _seconds: float) -> Iterator[str]:
        # What Dataflow writes to a template has no id yet; other runners give none, or a text.
        named = getattr(result, "job_id", None) if getattr(result, "has_job", True) else None
        name = named() if callable(named) else named
        yield f"submitted to {self.options.runner}: {name or 'it gave no name'}"


def main(arguments: Sequence[str]) -> int:
    """The exit code of the launcher of a Flex Template, which is called with its parameters."""
    from finecut.pipeline.cli.command import main as finecut
    from finecut.pipeline.template import arguments_of

    try:
        words = arguments_of(arguments)
    except OptionError as error:
        sys.stderr.write(f"finecut launch: {error}\n")
        return error.exit_code
    if not any(word.split("=")[0] == "--runner" for word in words):
        words.append(f"--runner={DATAFLOW}")
    return finecut([Launch.name, *words])
