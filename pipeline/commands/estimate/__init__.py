"""``finecut estimate``: what a run would take and cost, before anything of it runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from finecut.pipeline.commands.base import Page, VideoCommand
from finecut.pipeline.options import Options
from finecut.transforms.option import ESTIMATE, option

if TYPE_CHECKING:
    from finecut.pipeline.commands.estimate.words import Estimate


@dataclass(frozen=True)
class EstimateOptions(Options):
    """The options of ``finecut curate``, and what only an estimate needs to know."""

    sample: int = option(
        10,
        ESTIMATE,
        "Curate parts of this many videos to see what they take: about 20 seconds of each.",
        metavar="N",
        above=0,
        most=1000,
        matters=False,
    )

    region: str = option(
        "us-central1",
        ESTIMATE,
        "The region whose prices are used, by its name in the table of prices.",
        metavar="NAME",
        matters=False,
    )

    machine: str = option(
        "n1-standard-4",
        ESTIMATE,
        "The machine that would do the work, by its name in the table of prices.",
        metavar="NAME",
        matters=False,
    )

    prices: str | None = option(
        None,
        ESTIMATE,
        "Your own table of prices, in place of the one that comes with finecut (docs/estimating.md "
        "describes the format).",
        metavar="FILE",
        shown="the built-in table",
        matters=False,
    )


class EstimateCost(VideoCommand["Estimate"]):
    name = "estimate"
    page = Page(
        "Estimate what curate would take and cost: clips, worker-hours, requests, bytes, money.",
        """Takes the options of curate. Finds and probes the videos, curates parts of a few of them
        in a temporary folder of this machine, and scales up what that took. Writes nothing to
        --output. The built-in prices are list prices that may have changed: check them, or give
        your own with --prices.""",
        examples=(
            (
                "before a large run",
                "finecut estimate --input gs://bucket/videos --output gs://bucket/dataset \\\n"
                "      --splitting-algorithm content --region europe-west4 --machine e2-standard-4",
            ),
        ),
        usage="--input PATH --output PATH [options]",
    )
    Options: ClassVar[type[Any]] = EstimateOptions
    options: EstimateOptions
    does = "finecut.pipeline.commands.estimate.work:estimate"
    answers = True

    def answer(self, result: Estimate) -> Iterator[str]:
        from finecut.pipeline.commands.estimate.words import lines_about

        yield from lines_about(result)

    def problems(self, result: Estimate) -> Sequence[str]:
        return result.problems
