"""``finecut dedup``: which clips show the same, which of each kind stays, and a list of the others.

Nothing of the dataset is touched: the list is for ``finecut curate --drop`` and ``finecut shard
--drop``. Clusters and near pairs stay where they are, so another threshold costs seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finecut.pipeline.commands.base import DATA, DatasetCommand, DatasetOptions, Page
from finecut.transforms.option import option

if TYPE_CHECKING:
    from finecut.transforms.dedup.folder import Deduped, Deduping

LIKENESS, CLUSTERING = "likeness", "clustering"


@dataclass(frozen=True)
class DedupOptions(DatasetOptions):
    algorithm: str = option(
        "",
        DATA,
        "Whose vectors are compared, by the name of the embedder.",
        metavar="NAME",
        shown="the only ones there are",
    )
    embeddings: str = option(
        "",
        DATA,
        "Compare the vectors in this folder instead, which holds .parquet tables with the columns "
        "id and embedding.",
        metavar="FOLDER",
        shown="those of DATASET",
    )
    into: str = option(
        "",
        DATA,
        "Write to this folder.",
        metavar="FOLDER",
        shown="DATASET/dedup",
    )
    eps: float | None = option(
        None,
        LIKENESS,
        "Clips whose vectors have a cosine of at least 1 - EPS are duplicates, if their pictures "
        "agree.",
        metavar="EPS",
        shown="of the model, 0.3 for efficientnet-lite0",
        least=0,
        most=1,
    )
    no_confirm: bool = option(
        False,
        LIKENESS,
        "Believe the vectors alone, instead of comparing the pictures of near clips; the usual EPS "
        "is smaller then.",
    )
    which_to_keep: str = option(
        "hard",
        LIKENESS,
        "Which of several stays: the one farthest from the middle of its cluster, the nearest to "
        "it, or one by chance.",
        choices=("hard", "easy", "random"),
    )
    seed: int = option(
        42, LIKENESS, "Another number draws other samples and chances.", metavar="N", least=0
    )
    clusters: int = option(
        0,
        CLUSTERING,
        "Put the vectors into N clusters; 0 means one for each thousand.",
        metavar="N",
        least=0,
        most=65_536,
    )
    probes: int = option(
        4,
        CLUSTERING,
        "Compare each vector in its N nearest clusters; more finds more and takes longer.",
        metavar="N",
        above=0,
        most=64,
    )

    def contradictions(self) -> Iterator[str]:
        if self.algorithm and self.embeddings:
            yield "--algorithm does nothing with --embeddings, which names the folder: leave it out"


class FindDuplicates(DatasetCommand[DedupOptions, "tuple[Deduping, Deduped]"]):
    name = "dedup"
    page = Page(
        "Find clips that show the same, by their vectors and pictures, and list those to leave "
        "out.",
        """Clusters the vectors of DATASET, compares those that are near, and writes who is whose
        duplicate below DATASET/dedup/. Nothing of DATASET is changed or deleted: curate, refilter
        and shard take the list with --drop. What was compared is kept, so that another --eps or
        --which-to-keep takes seconds.""",
        examples=(
            ("find them", "finecut dedup dataset"),
            ("more strictly, of what was compared already", "finecut dedup dataset --eps 0.1"),
        ),
    )
    Options = DedupOptions
    does = "finecut.pipeline.commands.dedup.work:dedup"

    def folders(self) -> tuple[str, ...]:
        return self.options.dataset, self.options.into

    def troubles(self, result: tuple[Deduping, Deduped]) -> Iterator[str]:
        _, deduped = result
        yield from (f"finecut: left out: {trouble}" for trouble in deduped.troubles)

    def tell(self, result: tuple[Deduping, Deduped], seconds: float) -> list[str]:
        from finecut.pipeline.commands.dedup.work import final_words

        return final_words(*result, seconds)
