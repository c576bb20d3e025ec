"""``finecut report``: an output as a page to look at, without a server and without network."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from finecut.io.wording import count_of
from finecut.pipeline.commands.base import DATA, DatasetCommand, DatasetOptions, Page
from finecut.transforms.option import option

#: Bad documents that are named.
SHOWN_BAD: Final = 20


@dataclass(frozen=True)
class ReportOptions(DatasetOptions):
    into: str = option(
        "",
        DATA,
        "Write the page to this folder, outside of the dataset. The page finds clips by relative "
        "paths, so both have to be on the same disk or in the same bucket.",
        metavar="FOLDER",
        shown="DATASET/report",
    )
    neighbours: int = option(
        8,
        DATA,
        "Show the N nearest other clips beside each one, where there are vectors; 0 means none.",
        metavar="N",
        least=0,
        most=64,
    )

    clips: int = option(
        1_000_000,
        DATA,
        "Show at most about N clips. Of larger datasets whole source videos are left out, evenly; "
        "totals speak of all.",
        metavar="N",
        least=1,
        most=10_000_000,
    )
    picture_width: int = option(
        160,
        DATA,
        "Width of the picture of each clip.",
        metavar="PIXELS",
        least=64,
        most=640,
    )
    no_pictures: bool = option(
        False,
        DATA,
        "Make no pictures. The page then shows thumbnails and previews where there are some, and "
        "reads the clips themselves otherwise.",
    )

    def contradictions(self) -> Iterator[str]:
        from finecut.io.storage.files import store_of

        if self.into and store_of(self.dataset) != store_of(self.into):
            yield (
                f"--into {self.into} and {self.dataset} are not on the same disk or in the same "
                "bucket, but the page can only show clips that it reaches by a relative path: "
                "write the page beside the dataset, or copy the dataset first"
            )
        yield from super().contradictions()


class Made(NamedTuple):
    """A page that was made: where it lies, of how many clips, and what could not be read."""

    path: str
    clips: int
    unreadable: int
    #: What is wrong with documents that are there and cannot be used.
    bad: tuple[str, ...] = ()


class Report(DatasetCommand[ReportOptions, Made]):
    name = "report"
    page = Page(
        "Write a page about a dataset for any browser: clips, source videos, scores, failures.",
        """Writes DATASET/report/index.html, which needs no server and no network. curate makes
        it at its end, too; this makes it again after something was changed.""",
        examples=(
            ("of this dataset", "finecut report dataset"),
            ("without nearest neighbours", "finecut report dataset --neighbours 0"),
        ),
    )
    Options = ReportOptions
    reads_packs = True
    does = "finecut.pipeline.commands.report.work:report"

    def folders(self) -> tuple[str, ...]:
        return self.options.dataset, self.options.into

    def troubles(self, result: Made) -> Iterator[str]:
        if result.unreadable:
            yield (
                f"finecut: {count_of(result.unreadable, 'missing or broken clip document')}, left "
                "out of the report: finecut verify lists everything that is wrong"
            )
        yield from (f"finecut: left out: {wrong}" for wrong in result.bad[:SHOWN_BAD])
        if len(result.bad) > SHOWN_BAD:
            yield f"finecut: … and {len(result.bad) - SHOWN_BAD} more"

    def tell(self, result: Made, seconds: float) -> Iterator[str]:
        yield f"report   {count_of(result.clips, 'clip')}, {seconds:.1f} s"
        yield f"open: {result.path}"
