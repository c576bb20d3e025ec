"""``finecut compact``: the catalogue's many small files become few large ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finecut.io.errors import NOT_DONE
from finecut.io.wording import count_of
from finecut.pipeline.commands.base import DATA, DONE, DatasetCommand, DatasetOptions, Page
from finecut.transforms.option import option

if TYPE_CHECKING:
    from finecut.pipeline.commands.compact.work import Compacted


@dataclass(frozen=True)
class CompactOptions(DatasetOptions):
    rebuild: bool = option(
        False,
        DATA,
        "Make the catalogue anew from the documents, also if it seems to be complete.",
    )


class Compact(DatasetCommand[CompactOptions, "Compacted"]):
    name = "compact"
    page = Page(
        "Compact the catalogue (catalogue/), and complete it from the documents.",
        """curate and refilter do this at their end. It is left to you for a stream or --watch,
        for clips that your own pipeline wrote with WriteClips, and for datasets of earlier
        versions or of NeMo Curator, which have no catalogue yet.""",
        examples=(
            ("once a day, beside a stream", "finecut compact gs://bucket/dataset"),
            ("from the documents", "finecut compact dataset --rebuild"),
        ),
    )
    Options = CompactOptions
    reads_packs = True
    does = "finecut.pipeline.commands.compact.work:compact_dataset"
    builds = "finecut.pipeline.commands.compact.work:build"

    def troubles(self, result: Compacted) -> Iterator[str]:
        if result.left_out:
            yield (
                f"{count_of(result.left_out, 'chunk')} could not be read and is not in the "
                f"catalogue: finecut verify {self.options.dataset} names what is wrong"
            )

    def tell(self, result: Compacted, seconds: float) -> Iterator[str]:
        yield f"clips    {count_of(result.rows, 'row')} in {count_of(result.files, 'file')}"
        yield f"speed    {result.rows / max(seconds, 1e-3):,.0f} rows per second, {seconds:.1f} s"
        yield ""
        yield f"see {result.folder}"

    def exit_code(self, result: Compacted) -> int:
        return NOT_DONE if result.left_out else DONE
