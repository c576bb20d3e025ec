"""``finecut summary``: what a whole dataset holds in numbers, whichever runs and parts made it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from finecut.pipeline.commands.base import (
    DATA,
    DONE,
    UNBALANCED,
    DatasetCommand,
    Page,
    ReadingOptions,
)
from finecut.transforms.option import option

if TYPE_CHECKING:
    from finecut.pipeline.commands.summary.work import Sums

#: Videos and bad documents that are named.
SHOWN: Final = 5


@dataclass(frozen=True)
class SummaryOptions(ReadingOptions):
    json: bool = option(
        False,
        DATA,
        "Write the sums to standard output as JSON, with the keys of runs/…/summary.json.",
    )


class SumUp(DatasetCommand[SummaryOptions, "Sums"]):
    name = "summary"
    page = Page(
        "Print what a whole dataset holds: videos, clips, vectors, captions, length, bytes.",
        """Adds up the documents in the dataset, whichever runs made them: one, several after
        each other, or parts side by side (curate --part). The exit code is 3 if they do not add
        up: a document is missing or broken, a video is not finished, or a part has not run.""",
        examples=(
            ("after the last of several parts", "finecut summary dataset"),
            ("for a program", "finecut summary dataset --json"),
        ),
    )
    Options = SummaryOptions
    reads_packs = True
    does = "finecut.pipeline.commands.summary.work:sum_up"
    answers = True
    launchable = False

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
