"""``finecut verify``: an output is read again from end to end, and what is wrong is reported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

from finecut.io.errors import NOT_DONE
from finecut.pipeline.commands.base import DONE, DatasetCommand, DatasetOptions, Page
from finecut.transforms.option import LIMITS, LONGEST_WAIT, option

if TYPE_CHECKING:
    from finecut.transforms.verify.findings_file import Verified

CHECK = "checking"


@dataclass(frozen=True)
class VerifyOptions(DatasetOptions):
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
        "Show N findings of each kind; the report has all of them.",
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


class Verify(DatasetCommand[VerifyOptions, "Verified"]):
    name = "verify"
    page = Page(
        "Read everything again that was curated, and say what is wrong and where.",
        """Every document, clip, vector, preview and shard: whether it can be read, whether it is
        what others say of it, and whether the books balance. Nothing is changed. Ends with 1 if
        something is wrong.""",
        examples=(
            ("everything, also each picture of each clip", "finecut verify dataset"),
            (
                "without decoding, with shards, all findings to a file",
                "finecut verify dataset --quick --shards shards --report findings.jsonl",
            ),
        ),
    )
    Options = VerifyOptions
    does = "finecut.pipeline.commands.verify.work:verify"

    def folders(self) -> tuple[str, ...]:
        return self.options.dataset, *self.options.shards

    def troubles(self, result: Verified) -> Iterator[str]:
        """Findings by kind, with what usually causes them and what to do."""
        from finecut.transforms.verify.checks.findings import KINDS

        for several in (result.wrong, result.notes):
            for name, group in groupby(several, key=lambda finding: finding.kind):
                findings, kind = list(group), KINDS[name]
                mark = "" if kind.wrong else " (nothing wrong by itself)"
                yield f"{name}{mark}: {len(findings)}. Usually {kind.usually}. {kind.do}"
                for finding in islice(findings, self.options.show):
                    yield f"  {finding.line}"
                if more := len(findings[self.options.show :]):
                    yield f"  … and {more} more: {self.options.report or '--report FILE lists all'}"

    def tell(self, result: Verified, seconds: float) -> Iterator[str]:
        """What was checked, how fast, and what became of it."""
        checked = result.checked

        def number(name: str) -> int:
            return int(checked.get(name, 0))

        speed = number("clips") / max(seconds, 1e-3)
        yield (
            f"checked  {number('documents')} documents of {number('videos')} videos in "
            f"{number('chunks')} chunks, {number('runs')} runs"
        )
        yield (
            f"clips    {number('clips')} files, {number('clips decoded')} decoded to the end "
            f"({checked.get('seconds', 0):.1f} s, {number('frames')} frames){_undigested(checked)}"
        )
        yield (
            f"more     {number('vectors')} vectors, {number('previews')} previews "
            f"({number('previews shown')} shown){_shards(checked)}"
        )
        yield f"speed    {speed:.1f} clips a second, {seconds:.1f} s"
        if self.options.quick:
            yield "quick    nothing was decoded"
        if self.options.report:
            yield f"report   {self.options.report}"
        wrong = len(result.wrong)
        bad = "1 thing is wrong" if wrong == 1 else f"{wrong} things are wrong"
        yield bad if wrong else "all well"

    def exit_code(self, result: Verified) -> int:
        return NOT_DONE if result.wrong else DONE


def _undigested(checked: Mapping[str, Any]) -> str:
    without = int(checked.get("clips without digest", 0))
    return f", {without} without a digest to compare with" if without else ""


def _shards(checked: Mapping[str, Any]) -> str:
    if "shards" not in checked:
        return ""
    from finecut.transforms.verify.checks.shards import reader

    return (
        f", {int(checked['clips in shards'])} clips in {int(checked['shards'])} shards, read by "
        f"{reader()}"
    )
