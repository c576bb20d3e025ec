"""``finecut repack``: a packed dataset without what nobody wants, in fewer archives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finecut.io.wording import count_of
from finecut.pipeline.commands.base import DATA, DatasetCommand, DatasetOptions, Page
from finecut.transforms.option import option

if TYPE_CHECKING:
    from finecut.pipeline.commands.repack.work import Repacked


@dataclass(frozen=True)
class RepackOptions(DatasetOptions):
    pack_mb: int = option(
        64,
        DATA,
        "Put archives together that hold less than this; 0 means none.",
        metavar="MB",
        least=0,
        most=100_000,
    )


class Repack(DatasetCommand[RepackOptions, "Repacked"]):
    name = "repack"
    page = Page(
        "Drop the files of rejected clips from a packed dataset, and merge small archives.",
        """Documents of rejected clips stay, but not their videos: no later command can keep them
        again. Nothing else may work on the dataset at the same time. If the command is stopped,
        run it again.""",
        examples=(
            ("after finecut refilter", "finecut repack dataset"),
            ("of many short videos", "finecut repack dataset --pack-mb 512"),
        ),
    )
    Options = RepackOptions
    reads_packs = True
    does = "finecut.pipeline.commands.repack.work:repack_dataset"

    def tell(self, result: Repacked, seconds: float) -> Iterator[str]:
        yield (
            f"packs    {count_of(result.chunks, 'chunk')} repacked, "
            f"{count_of(result.removed, 'old archive')} removed"
        )
        yield f"dropped  files of {count_of(result.dropped, 'clip')}"
        yield f"time     {seconds:.1f} s"
        yield ""
        yield f"see {result.folder}"
