"""The choices of what is done after curation, once: options of ``dedup``, ``shard``, ``refilter``,
``report`` and ``verify``.

Like :class:`Options`, a field is a flag, an argument in Python and a row in docs/options.md.
Standard library only.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, make_dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from finecut.pipeline.choices.running import LOCAL_RUNNERS
from finecut.pipeline.options import OptionError, Options, StepOptions, cores, option_fields, spell
from finecut.transforms.filter.rules import parse_rule, parse_rule_on_output
from finecut.transforms.option import (
    DISABLE,
    LIMITS,
    LONGEST_WAIT,
    MOST_WORKERS,
    RUN,
    SCORE_ONLY,
    option,
)
from finecut.transforms.registry import STEPS
from finecut.transforms.spelling import did_you_mean

Self = TypeVar("Self", bound="AfterOptions")

DATA = "data"
CHOICE, SHARDS = "choice", "shards"
CHECK = "checking"
LIKENESS, CLUSTERING = "likeness", "clustering"
#: What clips can be sorted into bins by.
BINS = ("resolution", "aspect", "duration")
#: What clips may be left out for the want of.
NEEDS = ("caption", "vector")


@dataclass(frozen=True)
class AfterOptions:
    """What all of these commands are told."""

    dataset: str = option(
        "",
        DATA,
        "What finecut curate wrote: its --output.",
        metavar="DATASET",
        shown="required",
        positional=True,
    )
    runner: str = option(
        "local",
        RUN,
        "Where to run: local (this machine, no network), or a Beam runner by name with its own "
        "options.",
        metavar="NAME",
    )
    workers: int = option(
        0,
        RUN,
        "Pieces of work done at the same time on this machine; 0 means one for each core.",
        metavar="N",
        shown="cores",
        least=0,
        most=MOST_WORKERS,
    )
    verbose: bool = option(False, RUN, "Say what is done, and show warnings of libraries.")
    quiet: bool = option(
        False, RUN, "Say nothing but what went wrong: no progress, and no words at the end."
    )

    def __post_init__(self) -> None:
        spell(self)

    @property
    def is_local(self) -> bool:
        return self.runner in LOCAL_RUNNERS

    @property
    def local_workers(self) -> int:
        return self.workers or cores()

    def check(self: Self) -> Self:
        """Itself, or an :class:`OptionError` that says what to write instead."""
        from finecut.pipeline.contradictions import unknown_or_out_of_range

        if not self.dataset:
            raise OptionError("no DATASET: write the folder that finecut curate wrote to")
        for wrong in (*unknown_or_out_of_range(self), *self.contradictions()):
            raise OptionError(wrong)
        return self

    def contradictions(self) -> Iterator[str]:
        """What is wrong with options that belong to one command only."""
        yield from ()


@dataclass(frozen=True)
class DedupOptions(AfterOptions):
    """What ``finecut dedup`` is told."""

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
        "Put the vectors into so many clusters; 0 means one for each thousand.",
        metavar="N",
        least=0,
        most=65_536,
    )
    probes: int = option(
        4,
        CLUSTERING,
        "Compare each vector in so many of its nearest clusters; more finds more and takes longer.",
        metavar="N",
        above=0,
        most=64,
    )

    def contradictions(self) -> Iterator[str]:
        if self.algorithm and self.embeddings:
            yield "--algorithm does nothing with --embeddings, which names the folder: leave it out"


@dataclass(frozen=True)
class ReportOptions(AfterOptions):
    """What ``finecut report`` is told."""

    #: A page is always made here.
    hidden: ClassVar[tuple[str, ...]] = ("runner",)

    workers: int = option(
        0,
        RUN,
        "Documents read at the same time; 0 means 1 from a disk, and 16 from a bucket.",
        metavar="N",
        shown="1, or 16 from a bucket",
        least=0,
        most=MOST_WORKERS,
    )
    into: str = option(
        "",
        DATA,
        "Write the page to this folder, outside of the dataset; it finds the clips by a relative "
        "path, so both have to lie on one disk or in one bucket.",
        metavar="FOLDER",
        shown="DATASET/report",
    )
    neighbours: int = option(
        8,
        DATA,
        "Show so many of the nearest other clips beside each one, where there are vectors; 0 means "
        "none.",
        metavar="N",
        least=0,
        most=64,
    )

    def contradictions(self) -> Iterator[str]:
        from finecut.io.storage.files import store_of

        if self.into and store_of(self.dataset) != store_of(self.into):
            yield (
                f"--into {self.into} and {self.dataset} do not lie in one place, and a page can "
                "only show films that it can reach by a relative path: write the page beside the "
                "dataset, or copy the dataset first"
            )
        if not self.is_local:
            yield (
                "report is made on this machine, whatever --runner curated: leave --runner out "
                "(a dataset in a bucket is read from here)"
            )


@dataclass(frozen=True)
class ShardOptions(AfterOptions):
    """What ``finecut shard`` is told."""

    output: str = option(
        "",
        DATA,
        "Write the shards to this folder or bucket; what an earlier run with other options wrote "
        "there is replaced.",
        metavar="FOLDER",
        shown="required",
    )
    keep: tuple[str, ...] = option(
        (),
        CHOICE,
        "Take only clips whose scores hold these rules, as in 'aesthetic>=4' 'motion>0.001'.",
        metavar="RULE",
        shown="all",
    )
    drop: tuple[str, ...] = option(
        (),
        CHOICE,
        "Leave out the clips on these lists, as finecut dedup writes them (DATASET/dedup).",
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
        False, CHOICE, "Take also clips that are marked, because something in them broke down."
    )
    caption: str = option(
        "",
        CHOICE,
        "Whose captions go along as .txt, by the name in the documents (qwen for qwen_caption), or "
        "none.",
        metavar="NAME",
        shown="the first of each clip",
    )
    vectors: str = option(
        "",
        CHOICE,
        "Whose vectors go along as .npy, by the name of the embedder, or none.",
        metavar="NAME",
        shown="the only ones there are",
    )
    shard_mb: float = option(
        1000.0,
        SHARDS,
        "Megabytes of a shard at the most; a clip that is larger has one to itself.",
        metavar="MB",
        above=0,
        most=1_000_000,
    )
    shard_clips: int = option(
        10_000,
        SHARDS,
        "Clips in a shard at the most; 0 means any number.",
        metavar="N",
        least=0,
    )
    bin_by: tuple[str, ...] = option(
        (),
        SHARDS,
        "Put clips into folders by these: resolution (of the shorter side), aspect (width by "
        "height), duration.",
        known=BINS,
        metavar="WHAT",
        shown="nothing",
    )
    resolution_edges: tuple[str, ...] = option(
        (),
        SHARDS,
        "Pixels of the shorter side at which a bin ends and the next begins.",
        metavar="PIXELS",
        shown="480 720 1080",
    )
    aspect_edges: tuple[str, ...] = option(
        (),
        SHARDS,
        "Width divided by height at which a bin ends and the next begins.",
        metavar="RATIO",
        shown="0.8 1.25",
    )
    duration_edges: tuple[str, ...] = option(
        (),
        SHARDS,
        "Seconds at which a bin ends and the next begins.",
        metavar="SECONDS",
        shown="2 5 10 30",
    )
    no_mix: bool = option(
        False,
        SHARDS,
        "Keep clips of a video together, in their order, instead of mixing those of all videos.",
    )
    seed: int = option(0, SHARDS, "Another number mixes the clips in another order.", metavar="N")
    lance: bool = option(
        False, SHARDS, "Write the index and the vectors as a Lance table, too (clips.lance)."
    )

    @property
    def edges(self) -> dict[str, tuple[str, ...]]:
        """The edges that were given, by what they divide."""
        given = zip(
            BINS,
            (self.resolution_edges, self.aspect_edges, self.duration_edges),
            strict=True,
        )
        return {name: edges for name, edges in given if edges}

    def contradictions(self) -> Iterator[str]:
        if not self.output:
            yield "no --output: write --output FOLDER, where the shards shall lie"
        for flag, words, known in (
            ("--bin-by", self.bin_by, BINS),
            ("--need", self.need, NEEDS),
        ):
            for word in words:
                if word not in known:
                    yield f"{flag} {word} is unknown: {did_you_mean(word, known)}"
        for name in self.edges:
            if name not in self.bin_by:
                yield f"--{name}-edges divide nothing without --bin-by {name}: write both"
        for text in self.keep:
            try:
                parse_rule_on_output(text)
            except ValueError as error:
                yield f"--keep: {error}"
        for what, name in (("caption", self.caption), ("vector", self.vectors)):
            if name == "none" and what in self.need:
                yield f"--need {what} and none of them leave no clip: write one of the two"


@dataclass(frozen=True)
class VerifyOptions(AfterOptions):
    """What ``finecut verify`` is told."""

    quick: bool = option(
        False,
        CHECK,
        "Decode nothing: read documents, digests, sizes and vectors only.",
    )
    shards: tuple[str, ...] = option(
        (),
        CHECK,
        "Verify these folders of shards, too, which finecut shard wrote.",
        metavar="FOLDER",
        shown="none",
    )
    report: str = option(
        "",
        CHECK,
        "Write all findings to this file outside of the dataset, as JSON lines.",
        metavar="FILE",
        shown="none",
    )
    show: int = option(
        10,
        CHECK,
        "Show so many findings of each kind; the report has all of them.",
        metavar="N",
        least=0,
    )
    max_pixels: int = option(
        67_108_864,
        LIMITS,
        "Refuse clips with pictures of more pixels (8192 by 8192).",
        metavar="N",
        above=0,
    )
    no_isolation: bool = option(
        False,
        LIMITS,
        "Decode clips in the workers themselves; usually they are decoded in child processes, and "
        "one that crashes the decoder costs itself only.",
    )
    max_memory_mb: int = option(
        4096,
        LIMITS,
        "Memory that the work on one clip may take, in its child process.",
        metavar="MB",
        least=512,
        most=1_000_000,
    )
    max_cpu_seconds: float = option(
        14_400.0,
        LIMITS,
        "Processor time that the work on one clip may take there.",
        metavar="SECONDS",
        least=1,
    )
    max_stall_seconds: float = option(
        300.0,
        LIMITS,
        "How long it may take there without getting on.",
        metavar="SECONDS",
        least=1,
        most=LONGEST_WAIT,
    )

    def contradictions(self) -> Iterator[str]:
        if not self.is_local and not self.report:
            yield (
                "--runner has to know where to put what its workers find: write --report FILE, "
                "which they all can write to"
            )


def as_made(name: str, text: str | None = None) -> Any:
    """The option of ``curate`` of this name; where it is not given, it is as the output was made.

    ``text`` is said instead of what is said there.
    """
    [f] = [f for f in fields(Options) if f.name == name]
    told = {**f.metadata, "shown": "as it was made", "text": text or f.metadata["text"]}
    return field(default=() if isinstance(f.default, tuple) else None, metadata=told)


@dataclass(frozen=True)
class _Choices(AfterOptions):
    keep: tuple[str, ...] = as_made(
        "keep",
        "Keep only clips of which this is true, instead of the rules there were; of several, all "
        "must hold, and '' takes away those there were.",
    )
    drop: tuple[str, ...] = as_made(
        "drop",
        "Reject the clips on this list, instead of the lists there were: a folder that finecut "
        "dedup wrote, a .parquet with one column id, or a text with one id in a line; '' takes "
        "away those there were.",
    )


#: The filters and thresholds of all steps that score clips. For the type checker they are what
#: ``curate`` has; here they are ``None`` where they are not given.
if TYPE_CHECKING:

    class _StepChoices(StepOptions, _Choices): ...

else:
    _HINTS = typing.get_type_hints(StepOptions)
    _StepChoices = make_dataclass(
        "_StepChoices",
        [
            (f.name, _HINTS[f.name] | None, as_made(f.name))
            for f in option_fields()
            if f.metadata["refilter"]
        ],
        bases=(_Choices,),
        frozen=True,
    )


@dataclass(frozen=True)
class RefilterOptions(_StepChoices):
    """What ``finecut refilter`` is told."""

    dry_run: bool = option(
        False, RUN, "Say what would come of it, rule by rule, and change nothing."
    )
    yes: bool = option(
        False,
        RUN,
        "Remove vectors and captions of clips that are rejected now, which only curate makes "
        "again; without it nothing is changed where there are such.",
    )

    def contradictions(self) -> Iterator[str]:
        for name in ("keep", "drop"):
            several = getattr(self, name)
            if isinstance(several, str):
                yield f"{name} is one string: write {name}=({several!r},)"
                return
            if "" in several and len(several) > 1:
                yield f"--{name} '' takes away what there was: write it alone, or leave it out"
        for text in filter(None, self.keep):
            try:
                # Which scores custom steps give is known when the output is read.
                parse_rule(text, own=True)
            except ValueError as error:
                yield f"--keep {error}"
        for step in STEPS:
            if getattr(self, f"{step.name}_filter", None) == DISABLE:
                yield (
                    f"--{step.name}-filter {DISABLE} would throw away what was measured: write "
                    f"{SCORE_ONLY}, which rejects nothing"
                )


#: What is done after curation, by command. What does it is the module of that name in this package:
#: its ``main(options, runner_arguments)`` gives the exit code.
COMMANDS: dict[str, type[AfterOptions]] = {
    "dedup": DedupOptions,
    "refilter": RefilterOptions,
    "shard": ShardOptions,
    "report": ReportOptions,
    "verify": VerifyOptions,
}
