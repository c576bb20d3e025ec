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

LIKENESS, CLUSTERING = "similarity", "clustering"


@dataclass(frozen=True)
class DedupOptions(DatasetOptions):
    algorithm: str = option(
        "",
        DATA,
        "Compare the vectors of this embedder.",
        metavar="NAME",
        shown="the only set, if there is one",
    )
    embeddings: str = option(
        "",
        DATA,
        "Compare the vectors in this folder instead: .parquet tables with the columns id and "
        "embedding.",
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
        "Clips are duplicates if their vectors have a cosine of at least 1 - EPS and their "
        "pictures agree.",
        metavar="EPS",
        shown="depends on the model; 0.4 for efficientnet-lite0",
        least=0,
        most=1,
    )
    no_confirm: bool = option(
        False,
        LIKENESS,
        "Decide by the vectors alone, without comparing the pictures of similar clips; the "
        "default EPS is then smaller.",
    )
    confirm_model: str = option(
        "",
        LIKENESS,
        "Also ask this model for copies (an ONNX file such as SSCD) about close pairs whose "
        "pictures do not agree.",
        metavar="FILE",
        shown="none",
    )
    which_to_keep: str = option(
        "best",
        LIKENESS,
        "Which of several duplicates stays: the best copy (most pixels, then most bits for each, "
        "then the longest, as the catalogue has them), the one farthest from the centre of its "
        "cluster (hard), the nearest (easy), or a random one.",
        choices=("best", "hard", "easy", "random"),
    )
    seed: int = option(42, LIKENESS, "Seed for samples and random choices.", metavar="N", least=0)
    clusters: int = option(
        0,
        CLUSTERING,
        "Number of clusters; 0 means one per thousand vectors.",
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
            yield (
                "--algorithm does nothing with --embeddings, which already names the folder: "
                "leave it out"
            )
        if self.confirm_model and self.no_confirm:
            yield (
                "--confirm-model does nothing with --no-confirm, which compares no clips: leave "
                "one of them out"
            )


class FindDuplicates(DatasetCommand[DedupOptions, "tuple[Deduping, Deduped]"]):
    name = "dedup"
    page = Page(
        "Find duplicate clips by their vectors and pictures, and list those to leave out.",
        """Clusters the vectors of DATASET, compares those that are close, and writes which
        clips are duplicates of each other to DATASET/dedup/. Nothing else in DATASET is changed
        or deleted: curate, refilter and shard take the list with --drop. The comparisons are
        saved, so running it again with another --eps or --which-to-keep takes seconds.""",
        examples=(
            ("find them", "finecut dedup dataset"),
            ("more strictly, using the saved comparisons", "finecut dedup dataset --eps 0.1"),
        ),
    )
    Options = DedupOptions
    reads_packs = True
    does = "finecut.pipeline.commands.dedup.work:dedup"

    def folders(self) -> tuple[str, ...]:
        return self.options.dataset, self.options.into

    def troubles(self, result: tuple[Deduping, Deduped]) -> Iterator[str]:
        yield from (f"finecut: left out: {trouble}" for trouble in result[1].troubles)

    def tell(self, result: tuple[Deduping, Deduped], seconds: float) -> list[str]:
        from finecut.pipeline.commands.dedup.work import final_words

        return final_words(*result, seconds)
