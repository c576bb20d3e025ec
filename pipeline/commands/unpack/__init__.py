"""``finecut unpack``: of a packed dataset comes one of files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finecut.io.wording import count_of
from finecut.pipeline.commands.base import DATA, DatasetCommand, DatasetOptions, Page
from finecut.transforms.option import option

if TYPE_CHECKING:
    from finecut.pipeline.commands.unpack.work import Unpacked


@dataclass(frozen=True)
class UnpackOptions(DatasetOptions):
    output: str = option(
        "",
        DATA,
        "The folder for the files: a new one.",
        metavar="FOLDER",
        shown="required",
    )

    def contradictions(self) -> Iterator[str]:
        if not self.output:
            yield "no --output: give --output FOLDER, the folder for the files"


class Unpack(DatasetCommand[UnpackOptions, "Unpacked"]):
    name = "unpack"
    page = Page(
        "Make files of a packed dataset (--layout packed).",
        """What is written is, byte for byte, what curate would have written with --layout files:
        clips, documents, previews, vectors and tables. The packed dataset stays as it is. If the
        command is stopped, run it again.""",
        usage="DATASET --output FOLDER [options]",
        examples=(("for commands that work on files", "finecut unpack dataset --output files"),),
    )
    Options = UnpackOptions
    reads_packs = True
    does = "finecut.pipeline.commands.unpack.work:unpack_dataset"

    def folders(self) -> Iterable[str]:
        return (self.options.dataset, self.options.output)

    def tell(self, result: Unpacked, seconds: float) -> Iterator[str]:
        yield f"clips    {count_of(result.clips, 'clip')}"
        yield f"speed    {result.clips / max(seconds, 1e-3):,.0f} clips per second, {seconds:.1f} s"
        yield ""
        yield f"see {result.folder}"
