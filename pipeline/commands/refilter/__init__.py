"""``finecut refilter``: other rules for a finished output, without decoding or models."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, make_dataclass
from typing import TYPE_CHECKING, Any

from finecut.io.wording import count_of
from finecut.pipeline.commands.base import BOOKS, DatasetCommand, DatasetOptions, Page
from finecut.pipeline.options import Options, StepOptions, option_fields
from finecut.transforms.filter.rules import parse_rule
from finecut.transforms.filter.shares import read_share
from finecut.transforms.option import DISABLE, RUN, SCORE_ONLY, option
from finecut.transforms.registry import STEPS

if TYPE_CHECKING:
    from finecut.pipeline.commands.refilter.made import Done


def as_made(name: str, text: str | None = None) -> Any:
    """The option of ``curate`` of this name; where it is not given, it is as the output was made.

    ``text`` stands instead of the sentence there.
    """
    [f] = [f for f in fields(Options) if f.name == name]
    return field(
        default=() if isinstance(f.default, tuple) else None,
        metadata={**f.metadata, "shown": "unchanged", "text": text or f.metadata["text"]},
    )


@dataclass(frozen=True)
class _Choices(DatasetOptions):
    keep: tuple[str, ...] = as_made(
        "keep",
        "Keep only clips that satisfy this rule, instead of the previous rules: a limit, or a "
        "share of all clips, as in 'sharpness top 80%'. Several rules must all be satisfied; '' "
        "removes the previous rules.",
    )
    drop: tuple[str, ...] = as_made(
        "drop",
        "Reject the clips on this list, instead of the previous lists: a folder that finecut "
        "dedup wrote, a .parquet file with one column id, or a text file with one id per line. "
        "'' removes the previous lists.",
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
    dry_run: bool = option(False, RUN, "Print what each rule would do, and change nothing.")
    yes: bool = option(
        False,
        RUN,
        "Confirm that the vectors and captions of newly rejected clips may be deleted; only curate "
        "can make them again. Without --yes, nothing is changed if any would be deleted.",
    )

    def contradictions(self) -> Iterator[str]:
        for name in ("keep", "drop"):
            several = getattr(self, name)
            if isinstance(several, str):
                yield f"{name} is a single string: give {name}=({several!r},)"
                return
            if "" in several and len(several) > 1:
                yield f"--{name} '' removes what was there before: give it alone, or leave it out"
        for text in filter(None, self.keep):
            try:
                # Which scores custom steps give is known when the output is read, and so is what
                # a share comes to.
                if read_share(text) is None:
                    parse_rule(text, own=True)
            except ValueError as error:
                yield f"--keep {error}"
        yield from (
            f"--{step.name}-filter {DISABLE} would discard the measured scores: give "
            f"{SCORE_ONLY}, which rejects nothing"
            for step in STEPS
            if getattr(self, f"{step.name}_filter", None) == DISABLE
        )


class Refilter(DatasetCommand[RefilterOptions, "Done"]):
    name = "refilter"
    page = Page(
        "Change the rules and thresholds of a finished dataset, without decoding or models.",
        """Prints how much each rule would reject, in clips, seconds and bytes. Then it moves clips
        between clips/ and filtered_clips/ and rewrites everything that refers to them, as if
        curate had used the new rules from the start. Options that you do not give stay as they
        were. Videos with clips that only curate can judge (a score was never measured, a vector
        is missing) are left alone and listed.""",
        examples=(
            ("what would happen", "finecut refilter dataset --keep 'sharpness>=0.3' --dry-run"),
            ("without duplicates", "finecut refilter dataset --drop dataset/dedup"),
        ),
    )
    Options = RefilterOptions
    reads_packs = True
    does = "finecut.pipeline.commands.refilter.work:refilter_dataset"

    def tell(self, result: Done, _seconds: float) -> Iterator[str]:
        from finecut.pipeline.commands.refilter.work import final_words

        yield final_words(result)

    def problems(self, result: Done) -> list[str]:
        """Done is also what leaves some videos to curation."""
        from finecut.pipeline.cli.disk import disk_trouble
        from finecut.transforms.refilter.changing import REFILTERED, UNCHANGED

        if refused := disk_trouble(result.yields.failures, result.new.options.output):
            return [refused]
        if result.lost:
            return [f"{BOOKS}: {count_of(result.lost, 'clip')} unaccounted for"]
        done = result.yields.videos.get(REFILTERED) or result.yields.videos.get(UNCHANGED)
        return [] if done else ["no video could be refiltered"]
