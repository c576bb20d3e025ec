"""``finecut verify``: an output is read again from end to end, and what is wrong is reported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finecut.io.errors import NOT_DONE
from finecut.io.wording import count_of
from finecut.pipeline.choices.running import LOCAL_RUNNERS
from finecut.pipeline.cli.outlets import lines_of
from finecut.pipeline.commands.base import DONE, DatasetCommand, DatasetOptions, Page
from finecut.pipeline.engines import PRISM
from finecut.transforms.option import LIMITS, LONGEST_WAIT, option

if TYPE_CHECKING:
    from finecut.transforms.verify.report import Verified

CHECK = "checking"


@dataclass(frozen=True)
class VerifyOptions(DatasetOptions):
    quick: bool = option(
        False,
        CHECK,
        "Decode nothing; read only documents, digests, sizes and vectors.",
    )
    shards: tuple[str, ...] = option(
        (),
        CHECK,
        "Also verify these folders of shards, which finecut shard wrote.",
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
        "Refuse clips with more pixels per frame than this (8192 by 8192).",
        metavar="N",
        above=0,
    )
    no_isolation: bool = option(
        False,
        LIMITS,
        "Decode clips in the workers themselves, not in child processes. Then a clip that "
        "crashes the decoder ends the whole run.",
    )
    max_memory_mb: int = option(
        4096,
        LIMITS,
        "Memory limit of the child process that decodes a clip.",
        metavar="MB",
        least=512,
        most=1_000_000,
    )
    max_cpu_seconds: float = option(
        14_400.0,
        LIMITS,
        "CPU time limit for one clip.",
        metavar="SECONDS",
        least=1,
    )
    max_stall_seconds: float = option(
        300.0,
        LIMITS,
        "Stop a child process that makes no progress for this long.",
        metavar="SECONDS",
        least=1,
        most=LONGEST_WAIT,
    )

    def contradictions(self) -> Iterator[str]:
        if self.runner not in (*LOCAL_RUNNERS, *PRISM) and not self.report:
            yield (
                "--runner works on other machines, so it needs a place for what its workers "
                "find: give --report FILE, with a path to which all of them can write"
            )


class Verify(DatasetCommand[VerifyOptions, "Verified"]):
    name = "verify"
    page = Page(
        "Read a whole dataset again, and report what is wrong and where.",
        """Checks every document, clip, vector, preview and shard: whether it can be read,
        whether it matches what other files say about it, and whether the counts add up. Nothing
        is changed. The exit code is 1 if something is wrong.""",
        examples=(
            ("check everything, including each frame of each clip", "finecut verify dataset"),
            (
                "without decoding, including shards, with all findings in a file",
                "finecut verify dataset --quick --shards shards --report findings.jsonl",
            ),
        ),
    )
    Options = VerifyOptions
    reads_packs = True
    does = "finecut.pipeline.commands.verify.work:verify"
    builds = "finecut.pipeline.commands.verify.work:build"

    def folders(self) -> tuple[str, ...]:
        return self.options.dataset, *self.options.shards

    def troubles(self, result: Verified) -> Iterator[str]:
        """Findings by kind, with what usually causes them and what to do."""
        from finecut.transforms.verify.checks.findings import KINDS

        # What is wrong comes first.
        for name, kind in sorted(KINDS.items(), key=lambda each: not each[1].wrong):
            if not (number := result.counts.get(name, 0)):
                continue
            mark = "" if kind.wrong else " (not an error)"
            yield f"{name}{mark}: {number}. Usually {kind.usually}. {kind.do}"
            shown = [finding for finding in result.findings if finding.kind == name]
            yield from (f"  {finding.line}" for finding in shown)
            if more := number - len(shown):
                yield f"  … and {more} more: {self.options.report or '--report FILE lists all'}"

    def tell(self, result: Verified, seconds: float) -> list[str]:
        """What was checked, how fast, and what became of it."""
        checked, wrong = result.checked, result.num_wrong

        def number(name: str) -> int:
            return int(checked.get(name, 0))

        def many(noun: str) -> str:
            return count_of(number(f"{noun}s"), noun)

        undigested = number("clips without digest")
        without = f", {undigested} without a digest" if undigested else ""
        bad = f"{count_of(wrong, 'problem')} found"
        return lines_of(
            [
                f"checked  {many('document')} of {many('video')} in {many('chunk')}, {many('run')}",
                f"clips    {count_of(number('clips'), 'file')}, {number('clips decoded')} "
                f"decoded completely ({checked.get('seconds', 0):.1f} s, {many('frame')}){without}",
                f"other    {many('vector')}, {many('preview')} ({number('previews shown')} "
                f"decoded){_shards(checked)}",
                f"speed    {number('clips') / max(seconds, 1e-3):.1f} clips per second, "
                f"{seconds:.1f} s",
                (self.options.quick, "quick    nothing was decoded"),
                (self.options.report, f"report   {self.options.report}"),
                bad if wrong else "no problems found",
            ]
        )

    def exit_code(self, result: Verified) -> int:
        return NOT_DONE if result.num_wrong else DONE


def _shards(checked: Mapping[str, Any]) -> str:
    if "shards" not in checked:
        return ""
    from finecut.transforms.verify.checks.shards import reader

    return (
        f", {count_of(checked['clips in shards'], 'clip')} in "
        f"{count_of(checked['shards'], 'shard')}, read by {reader()}"
    )
