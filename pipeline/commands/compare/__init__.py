"""``finecut compare``: in what two outputs differ, clip by clip."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from finecut.io.errors import NOT_DONE, WRONG_COMMAND, UserError
from finecut.pipeline.commands.base import DATA, DONE, DatasetCommand, Page, ReadingOptions
from finecut.transforms.option import option

if TYPE_CHECKING:
    from finecut.pipeline.commands.compare.work import Compared

COMPARE: Final = "comparing"


class CannotCompare(UserError, ValueError):
    """One of the two cannot be read, or what was found cannot be written."""

    exit_code: ClassVar[int] = WRONG_COMMAND


@dataclass(frozen=True)
class CompareOptions(ReadingOptions):
    hidden: ClassVar[tuple[str, ...]] = ("runner", "workers")

    other: str = option(
        "",
        DATA,
        "What to compare it with: another output, of any version of finecut, or of NeMo Curator.",
        metavar="OTHER",
        shown="required",
        positional=True,
    )
    tolerance: tuple[str, ...] = option(
        (),
        COMPARE,
        "How far a score may be off, as motion_global_mean=0.001; or vectors, under the name of "
        "their algorithm: 1 - cosine.",
        metavar="SCORE=X",
        shown="0",
    )
    ignore: tuple[str, ...] = option(
        (),
        COMPARE,
        "Leave these out: a score, an algorithm, or what the comparison calls a change (verdict, "
        "span, captions, bytes, models …).",
        metavar="NAME",
        shown="none",
    )
    examples: int = option(
        20, COMPARE, "Name this many clips of each kind.", metavar="N", least=0, most=100_000
    )
    json: str = option(
        "", DATA, "Also write all that was found to this file.", metavar="FILE", shown="none"
    )
    html: str = option(
        "", DATA, "Also write it as a page to look at.", metavar="FILE", shown="none"
    )

    def contradictions(self) -> Iterator[str]:
        yield from super().contradictions()
        if not self.other:
            yield "no OTHER: give the output to compare with (finecut compare DATASET OTHER)"
        for text in self.tolerance:
            if tolerance_of(text) is None:
                yield (
                    f"--tolerance {text} is not a score and how far it may be off: write it as "
                    "motion_global_mean=0.001"
                )

    @property
    def tolerances(self) -> dict[str, float]:
        return dict(filter(None, map(tolerance_of, self.tolerance)))


def tolerance_of(text: str) -> tuple[str, float] | None:
    """A score and how far it may be off, or ``None``.

    >>> tolerance_of("sharpness=0.01"), tolerance_of("sharpness"), tolerance_of("sharpness=-1")
    (('sharpness', 0.01), None, None)
    """
    name, _, number = text.partition("=")
    try:
        value = float(number)
    except ValueError:
        return None
    return (name.strip(), value) if name.strip() and 0 <= value < math.inf else None


class Compare(DatasetCommand[CompareOptions, "Compared"]):
    name = "compare"
    page = Page(
        "Say in what two outputs differ: clips, verdicts, captions, scores, vectors.",
        """Reads two outputs, which may be of other options, models or versions, or of NeMo Curator.
        Clips are the same if their ids are; where ids differ because the videos lay elsewhere, if
        the name of the video and the span are. The exit code is 0 if nothing differs, 1 if
        something does, and 2 if one of the two cannot be read.""",
        examples=(
            ("what another option changed", "finecut compare dataset dataset-2"),
            (
                "in CI, with a page to look at",
                "finecut compare dataset dataset-2 --tolerance motion_global_mean=0.001 "
                "--ignore bytes --html compared.html",
            ),
        ),
        usage="DATASET OTHER [options]",
    )
    Options = CompareOptions
    reads_packs = True
    does = "finecut.pipeline.commands.compare.work:compare"
    answers = True
    launchable = False

    def folders(self) -> Iterable[str]:
        return (self.options.dataset, self.options.other)

    def troubles(self, result: Compared) -> Iterator[str]:
        yield from result.troubles

    def answer(self, result: Compared) -> Iterator[str]:
        from finecut.pipeline.commands.compare.words import words_of

        yield from words_of(result.found)

    def tell(self, _result: Compared, _seconds: float) -> Iterator[str]:
        for name in ("json", "html"):
            if path := getattr(self.options, name):
                yield f"{name:<8} {path}"

    def exit_code(self, result: Compared) -> int:
        return NOT_DONE if result.found.differs else DONE
