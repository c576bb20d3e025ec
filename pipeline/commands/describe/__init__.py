"""``finecut describe``: the pipeline before it runs, as it will really be built."""

from __future__ import annotations

from collections.abc import Iterator

from finecut.pipeline.commands.base import Page, VideoCommand


class Describe(VideoCommand[str]):
    name = "describe"
    page = Page(
        "Print the pipeline that curate would run: steps, what flows between them, resources.",
        "Takes the options of curate. Reads nothing but the lists and models that they name.",
        examples=(
            (
                "what would be done",
                "finecut describe --input films --output dataset --generate-captions",
            ),
        ),
        usage="--input PATH --output PATH [options]",
    )
    does = "finecut.pipeline.commands.describe.work:describe"
    stores = ("cuts", "drop")
    answers = True

    def work(self) -> str:
        from finecut.pipeline.commands.describe.work import describe

        return describe(self.options)

    def answer(self, result: str) -> Iterator[str]:
        yield result
