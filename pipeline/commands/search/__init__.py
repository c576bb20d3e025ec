"""``finecut search``: clips by what is said of them, or by what they look like."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from finecut.io.layout import is_clip_id
from finecut.io.wording import count_of
from finecut.pipeline.choices.running import LOCAL_RUNNERS
from finecut.pipeline.commands.base import DATA, DatasetCommand, DatasetOptions, Page
from finecut.pipeline.engines import PRISM
from finecut.transforms.option import option

if TYPE_CHECKING:
    from finecut.pipeline.commands.search.work import Found
    from finecut.transforms.search.hits import Hit

SEARCH: Final = "searching"
VERDICTS: Final = ("kept", "rejected", "any")
#: Letters of a caption that are shown.
SHOWN: Final = 100
#: Clips that an address of the report names: longer addresses are not opened everywhere.
SEEN: Final = 40


@dataclass(frozen=True)
class SearchOptions(DatasetOptions):
    text: str = option(
        "",
        DATA,
        "What is said of the clips: words, in any order. A word that ends with * stands for all "
        "that begin like it.",
        metavar="TEXT",
        shown="none",
        positional=True,
    )
    like: str = option(
        "",
        SEARCH,
        "Find the clips that look like the clip with this id, by their vectors.",
        metavar="CLIP",
        shown="none",
    )
    algorithm: str = option(
        "",
        SEARCH,
        "With --like: whose vectors to compare, if the dataset has those of several embedders.",
        metavar="NAME",
        shown="the only one",
    )
    model: str = option(
        "",
        SEARCH,
        "Compare what captions mean, by this model of sentences: the folder of one. Each caption "
        "is read by the model, so this takes its time.",
        metavar="FOLDER",
        shown="none: words are compared",
    )
    verdict: str = option(
        "kept",
        SEARCH,
        "Which clips to search: kept ones, rejected ones, or any.",
        choices=VERDICTS,
    )
    limit: int = option(20, SEARCH, "Find this many clips.", metavar="N", least=1, most=1_000_000)
    least: float = option(
        0.0,
        SEARCH,
        "Leave out clips with a lower score than this.",
        metavar="X",
        shown="none",
    )
    ids: str = option(
        "",
        DATA,
        "Also write the ids to this file outside of the dataset, which --drop can read: one per "
        "line, or a table if its name ends with .parquet.",
        metavar="FILE",
        shown="none",
    )
    json: bool = option(False, DATA, "Print the clips as JSON lines, with all that is known.")

    def contradictions(self) -> Iterator[str]:
        if not self.text.strip() and not self.like:
            yield 'nothing to search for: give words (finecut search DATASET "red boat") or --like'
        elif self.text and self.like:
            yield "a text and --like are two searches: leave one of them out"
        elif self.like and not is_clip_id(self.like):
            yield (
                f"--like {self.like} is not the id of a clip: give one such as "
                "ce2f3d69-8b98-57fe-98fe-70d008e354f3, as in the names of the files in clips/"
            )
        elif self.like and self.model:
            yield "--model reads captions, and --like compares vectors: leave one of them out"
        elif self.algorithm and not self.like:
            yield "--algorithm says whose vectors --like compares: give --like too"
        elif self.like and self.verdict == "rejected":
            yield "--like compares vectors, which rejected clips do not have: leave --verdict out"
        if self.runner not in (*LOCAL_RUNNERS, *PRISM) and self.dataset and not self._is_reached():
            yield (
                f"--runner works on other machines, which cannot read {self.dataset}: give a "
                "dataset in a bucket"
            )

    def _is_reached(self) -> bool:
        from finecut.io.storage.files import is_remote

        return is_remote(self.dataset)


class Search(DatasetCommand[SearchOptions, "Found"]):
    name = "search"
    page = Page(
        "Find clips by what is said of them, or by what they look like.",
        """Searches captions and the metadata of source videos, word by word; or captions by
        their meaning, with a model of sentences (--model); or vectors, with --like. Prints the
        best clips, and writes their ids if asked, for --drop and for your own programs.""",
        examples=(
            ("by words", 'finecut search dataset "red boat harbour"'),
            (
                "everything that looks like one clip, as a list to leave out",
                "finecut search dataset --like ce2f3d69-8b98-57fe-98fe-70d008e354f3 "
                "--least 0.9 --limit 10000 --ids similar.txt",
            ),
        ),
        usage="DATASET [TEXT] [options]",
    )
    Options = SearchOptions
    reads_packs = True
    does = "finecut.pipeline.commands.search.work:search"
    answers = True

    def troubles(self, result: Found) -> Iterator[str]:
        yield from result.troubles

    def answer(self, result: Found) -> Iterator[str]:
        if self.options.json:
            yield from (json.dumps(asdict(hit)) for hit in result.hits)
        elif result.hits:
            yield "score    clip                                  seconds          video"
            for hit in result.hits:
                yield from _shown(hit)

    def tell(self, result: Found, seconds: float) -> Iterator[str]:
        if self.options.json:
            return
        yield f"found    {count_of(len(result.hits), 'clip')}, {seconds:.1f} s"
        if self.options.ids:
            yield f"ids      {self.options.ids}"
        if result.page and result.hits:
            ids = ",".join(hit.id for hit in result.hits[:SEEN])
            yield f"see      {result.page}#clips?ids={ids}"


def _shown(hit: Hit) -> Iterator[str]:
    from finecut.pipeline.cli.outlets import shown

    span = "" if hit.start is None or hit.end is None else f"{hit.start:.1f}–{hit.end:.1f}"
    mark = "" if hit.verdict == "kept" else f" ({hit.verdict})"
    yield shown(f"{hit.score:<8.4g} {hit.id}  {span:<16} {hit.video}{mark}")
    if hit.caption:
        said = " ".join(hit.caption.split())
        yield shown(f"         {said[:SHOWN]}{'…' if len(said) > SHOWN else ''}")
