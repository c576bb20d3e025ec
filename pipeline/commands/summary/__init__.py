"""``finecut summary``: what a whole dataset holds in numbers, whichever runs and parts made it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from finecut.pipeline.commands.base import (
    DATA,
    DONE,
    UNBALANCED,
    DatasetCommand,
    DatasetOptions,
    Page,
)
from finecut.transforms.option import MOST_WORKERS, RUN, option

if TYPE_CHECKING:
    from finecut.pipeline.commands.summary.work import Sums

#: Videos and bad documents that are named.
SHOWN: Final = 5


@dataclass(frozen=True)
class SummaryOptions(DatasetOptions):
    #: Documents are read here, wherever the dataset was made.
    hidden: ClassVar[tuple[str, ...]] = ("runner",)

    workers: int = option(
        0,
        RUN,
        "How many documents are read at the same time; 0 means 1 from a disk, and 16 from a "
        "bucket.",
        metavar="N",
        shown="1, or 16 from a bucket",
        least=0,
        most=MOST_WORKERS,
    )
    json: bool = option(
        False,
        DATA,
        "Write the sums to standard output as JSON, with the keys of runs/…/summary.json.",
    )

    def contradictions(self) -> Iterator[str]:
        if not self.is_local:
            yield (
                "it runs on this machine, whichever --runner made the dataset: leave "
                "--runner out (it can read a dataset in a bucket from here)"
            )


class SumUp(DatasetCommand[SummaryOptions, "Sums"]):
    name = "summary"
    page = Page(
        "Print what a whole dataset holds: videos, clips, vectors, captions, length, bytes.",
        """Adds up the documents that lie there, whichever runs made them: one, several after
        each other, or parts side by side (curate --part). The exit code is 3 if they do not add
        up: a document is missing or broken, a video is not finished, or a part has not run.""",
        examples=(
            ("after the last of several parts", "finecut summary dataset"),
            ("for a program", "finecut summary dataset --json"),
        ),
    )
    Options = SummaryOptions
    does = "finecut.pipeline.commands.summary.work:sum_up"
    answers = True

    def tell(self, result: Sums, _seconds: float) -> Iterator[str]:
        from finecut.pipeline.cli.final_words import words_of_dataset

        if not self.options.json:
            yield from words_of_dataset(result.summary, len(result.unfinished))

    def answer(self, result: Sums) -> Iterator[str]:
        if self.options.json:
            yield json.dumps(result.document, indent=4)

    def problems(self, result: Sums) -> list[str]:
        return [f"it does not add up: {sentence}" for sentence in result.wrong(SHOWN)]

    def exit_code(self, result: Sums) -> int:
        return UNBALANCED if self.problems(result) else DONE
