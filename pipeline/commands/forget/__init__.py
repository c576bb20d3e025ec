"""``finecut forget``: a source is taken back, with everything that was made of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finecut.pipeline.commands.base import DATA, DatasetCommand, Page, ReadingOptions
from finecut.transforms.option import option

if TYPE_CHECKING:
    from finecut.pipeline.commands.forget.work import Forgot


@dataclass(frozen=True)
class ForgetOptions(ReadingOptions):
    source: tuple[str, ...] = option(
        (),
        DATA,
        "Forget this source video: its name in documents (source_video), its path below the "
        "input, or its full path or URL.",
        metavar="NAME",
        shown="none",
    )
    sources: tuple[str, ...] = option(
        (),
        DATA,
        "Forget the sources on these lists: .txt with one per line, .json, .jsonl, .csv or "
        ".parquet, as for curate.",
        metavar="LIST",
        shown="none",
    )
    shards: tuple[str, ...] = option(
        (),
        DATA,
        "Also take their samples out of these folders of shards outside of the dataset, which "
        "finecut shard wrote.",
        metavar="FOLDER",
        shown="those in the dataset",
    )
    allow: tuple[str, ...] = option(
        (),
        DATA,
        "Let these forgotten sources be curated again, and remove nothing.",
        metavar="NAME",
        shown="none",
    )
    receipt: str = option(
        "",
        DATA,
        "Write what was removed to this file, as JSON: counts, bytes, and digests in place of "
        "names.",
        metavar="FILE",
        shown="none",
    )
    dry_run: bool = option(False, DATA, "Say what would be removed, and change nothing.")

    def contradictions(self) -> Iterator[str]:
        if self.allow and (self.source or self.sources or self.receipt):
            yield (
                "--allow only lets sources be curated again: give it without --source, --sources "
                "and --receipt"
            )
        if self.dry_run and self.receipt:
            yield "--dry-run removes nothing, so there is no --receipt: leave one of the two out"
        yield from super().contradictions()


class Forget(DatasetCommand[ForgetOptions, "Forgot"]):
    name = "forget"
    page = Page(
        "Remove a source video and everything made from it, and keep it from coming back.",
        """Removes its clips, documents, captions, vectors, previews and failures, takes it out of
        the results of dedup, shards, summaries of runs and the report, and checks that nothing is
        left. Only digests stay, by which curate skips the source from now on. If it is stopped,
        finecut forget DATASET without --source finishes the rest.""",
        examples=(
            ("what would be removed", "finecut forget dataset --source a.mp4 --dry-run"),
            (
                "also from shards elsewhere, with a receipt",
                "finecut forget dataset --source a.mp4 --shards shards --receipt receipt.json",
            ),
            ("all sources on a list", "finecut forget dataset --sources gone.txt"),
            ("let it be curated again", "finecut forget dataset --allow a.mp4"),
        ),
    )
    Options = ForgetOptions
    reads_packs = True
    does = "finecut.pipeline.commands.forget.work:forget"

    def folders(self) -> tuple[str, ...]:
        return self.options.dataset, *self.options.shards

    def troubles(self, result: Forgot) -> Iterator[str]:
        from finecut.pipeline.commands.forget.words import troubles

        yield from troubles(result)

    def tell(self, result: Forgot, seconds: float) -> list[str]:
        from finecut.pipeline.commands.forget.words import final_words

        return final_words(result, self.options, seconds)

    def problems(self, result: Forgot) -> list[str]:
        from finecut.pipeline.commands.forget.words import problems

        return problems(result)
