"""``finecut shard``: a dataset becomes shards that training reads from beginning to end.

Killed anywhere, the same command goes on where it was: a shard whose receipt is of the same plan is
not written again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finecut.io.errors import NOT_DONE
from finecut.pipeline.commands.base import BOOKS, DATA, DatasetCommand, DatasetOptions, Page
from finecut.transforms.filter.rules import parse_rule_on_output
from finecut.transforms.option import RUN, did_you_mean, option

if TYPE_CHECKING:
    from finecut.pipeline.commands.shard.work import Ran

CHOICE, SHARDS = "selection", "shards"
#: What clips can be sorted into bins by.
BINS = ("resolution", "aspect", "duration")
#: What clips may be left out for the want of.
NEEDS = ("caption", "vector")


@dataclass(frozen=True)
class ShardOptions(DatasetOptions):
    output: str = option(
        "",
        DATA,
        "Write the shards to this folder or bucket path; shards that an earlier run wrote there "
        "with other options are replaced.",
        metavar="FOLDER",
        shown="required",
    )
    keep: tuple[str, ...] = option(
        (),
        CHOICE,
        "Include only clips whose scores satisfy these rules, as in 'aesthetic>=4' 'motion>0.001'.",
        metavar="RULE",
        shown="all",
    )
    drop: tuple[str, ...] = option(
        (),
        CHOICE,
        "Leave out the clips on these lists; finecut dedup writes such a list (DATASET/dedup).",
        metavar="LIST",
        shown="none",
    )
    need: tuple[str, ...] = option(
        (),
        CHOICE,
        "Leave out clips without these: caption, vector.",
        known=NEEDS,
        metavar="WHAT",
        shown="nothing",
    )
    take_invalid: bool = option(
        False, CHOICE, "Also include marked clips (clips for which a step failed)."
    )
    caption: str = option(
        "",
        CHOICE,
        "Whose captions to include as .txt: the captioner's name in the documents (qwen for "
        "qwen_caption), or none.",
        metavar="NAME",
        shown="the first that a clip has",
    )
    vectors: str = option(
        "",
        CHOICE,
        "Whose vectors to include as .npy: the name of the embedder, or none.",
        metavar="NAME",
        shown="the only set, if there is one",
    )
    shard_mb: float = option(
        1000.0,
        SHARDS,
        "Maximum size of a shard in megabytes; a larger clip gets a shard of its own.",
        metavar="MB",
        above=0,
        most=1_000_000,
    )
    shard_clips: int = option(
        10_000,
        SHARDS,
        "Maximum number of clips in a shard; 0 means any number.",
        metavar="N",
        least=0,
    )
    bin_by: tuple[str, ...] = option(
        (),
        SHARDS,
        "Put clips into folders by these properties: resolution (of the shorter side), aspect "
        "(width by height), duration.",
        known=BINS,
        metavar="WHAT",
        shown="nothing",
    )
    resolution_edges: tuple[str, ...] = option(
        (),
        SHARDS,
        "Resolutions, in pixels of the shorter side, at which one bin ends and the next begins.",
        metavar="PIXELS",
        shown="480 720 1080",
    )
    aspect_edges: tuple[str, ...] = option(
        (),
        SHARDS,
        "Aspect ratios (width by height) at which one bin ends and the next begins.",
        metavar="RATIO",
        shown="0.8 1.25",
    )
    duration_edges: tuple[str, ...] = option(
        (),
        SHARDS,
        "Durations in seconds at which one bin ends and the next begins.",
        metavar="SECONDS",
        shown="2 5 10 30",
    )
    no_mix: bool = option(
        False,
        SHARDS,
        "Keep the clips of each video together and in order, instead of mixing the clips of "
        "all videos.",
    )
    seed: int = option(0, SHARDS, "Seed for the order of the clips.", metavar="N")
    lance: bool = option(
        False, SHARDS, "Also write the index and the vectors as a Lance table (clips.lance)."
    )
    lance_clips: bool = option(
        False,
        SHARDS,
        "Also write that table with the files of the clips in it, so that it needs no shards.",
    )

    dry_run: bool = option(
        False, RUN, "Print how many clips and shards there would be, and write nothing."
    )

    @property
    def edges(self) -> dict[str, tuple[str, ...]]:
        """The edges that were given, by what they divide."""
        return {name: edges for name in BINS if (edges := getattr(self, f"{name}_edges"))}

    def contradictions(self) -> Iterator[str]:
        if not self.output:
            yield "no --output: write --output FOLDER, where the shards go"
        yield from (
            f"{flag} {word} is unknown: {did_you_mean(word, known)}"
            for flag, words, known in (
                ("--bin-by", self.bin_by, BINS),
                ("--need", self.need, NEEDS),
            )
            for word in words
            if word not in known
        )
        yield from (
            f"--{name}-edges does nothing without --bin-by {name}: give both"
            for name in self.edges
            if name not in self.bin_by
        )
        for text in self.keep:
            try:
                parse_rule_on_output(text)
            except ValueError as error:
                yield f"--keep: {error}"
        yield from (
            f"--need {what} and none of them leave no clip: give only one of the two"
            for what, name in (("caption", self.caption), ("vector", self.vectors))
            if name == "none" and what in self.need
        )


class Shard(DatasetCommand[ShardOptions, "Ran"]):
    name = "shard"
    page = Page(
        "Write a dataset as WebDataset shards with an index, ready for training.",
        """Each clip is a sample in a tar: its video (mp4), its document (json), its caption
        (txt) and its vector (npy). Clips of all videos are mixed, always in the same order.
        index.parquet says where each one is, and the folder can be loaded as a Hugging Face
        dataset. A run that was killed continues where it stopped.""",
        examples=(
            ("everything that was kept", "finecut shard dataset --output shards"),
            (
                "only sharp clips, without duplicates, in bins of resolution, shape and length",
                "finecut shard dataset --output shards --drop dataset/dedup \\\n"
                "      --keep 'sharpness>=0.2' --bin-by resolution aspect duration",
            ),
        ),
    )
    Options = ShardOptions
    reads_packs = True
    does = "finecut.pipeline.commands.shard.work:shard"

    def folders(self) -> tuple[str, ...]:
        return self.options.dataset, self.options.output

    def tell(self, result: Ran, seconds: float) -> list[str]:
        from finecut.pipeline.commands.shard.work import final_words

        return final_words(result, self.options, seconds)

    def problems(self, result: Ran) -> list[str]:
        wrong = None if result.foreseen else result.books.imbalance()
        return [f"{BOOKS}: {wrong}"] if wrong else []

    def exit_code(self, result: Ran) -> int:
        return super().exit_code(result) or (0 if result.clips else NOT_DONE)
