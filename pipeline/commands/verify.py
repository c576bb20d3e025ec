"""``finecut verify``: an output is read again from end to end, and what is wrong with it is said.

Findings come out of the pipeline as one file of JSON lines, the last of which says what was
checked; so it is the same on a cluster. Nothing in the output is written to.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import groupby, islice
from typing import Any, Final

import apache_beam as beam

from finecut.io.dataset.output import NoDataset
from finecut.io.layout import Layout
from finecut.io.media.limits import Limits
from finecut.io.process import children as child
from finecut.io.process.children import ChildLimits, possible
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.io.storage.temporary import temporary_folder
from finecut.pipeline.cli.progress import Progress, counted_line
from finecut.pipeline.commands.options import VerifyOptions
from finecut.pipeline.commands.shell import Command, beside_runs, perform, shelf_in
from finecut.pipeline.engine import RunError, run_pipeline
from finecut.pipeline.options import OptionError
from finecut.transforms.verify.checks.findings import KINDS, Checked, Finding
from finecut.transforms.verify.checks.shards import reader
from finecut.transforms.verify.checks.verifying import Verifying
from finecut.transforms.verify.folders import Folder, folders_of, links_out, verifying_of
from finecut.transforms.verify.output import (
    CHECKED,
    FINDINGS,
    LOOKED_AT,
    TO_CHECK,
    WRONG,
    VerifyOutput,
)

DECODING: Final = "finecut.transforms.verify.checks.decoding"
ALL_WELL, SOMETHING_WRONG = 0, 1


@dataclass(frozen=True)
class Verified:
    """What a verification found."""

    findings: tuple[Finding, ...]
    checked: Mapping[str, float]
    seconds: float = 0.0

    @property
    def wrong(self) -> list[Finding]:
        return [each for each in self.findings if KINDS[each.kind].wrong]

    @property
    def notes(self) -> list[Finding]:
        return [each for each in self.findings if not KINDS[each.kind].wrong]


class Verify(Command[VerifyOptions, Verified]):
    """What is wrong with an output."""

    def folders(self) -> tuple[str, ...]:
        return self.options.dataset, *self.options.shards

    def work(self) -> Verified:
        began, options = time.monotonic(), self.options
        layout = Layout(shelf.absolute(options.dataset))
        report = _report_of(options, layout)
        limits = _child_limits(options)
        if limits is not None and options.is_local and not options.quick:
            child.start(DECODING)
        folders, notes = folders_of(layout)
        notes += links_out(self.fence)
        _refuse_others(layout, folders)
        verifying = verifying_of(
            layout,
            folders,
            quick=options.quick,
            film=Limits(pixels=options.max_pixels),
            limits=limits,
            fence=self.fence,
        )
        folders += [Folder(shelf.absolute(each), of_shards=True) for each in options.shards]
        # Beam puts trouble with a disk into words of its own, so here the report is written by us.
        with _tray(None if options.is_local else report) as path:
            self._check(folders, notes, verifying, path)
            data = shelf.read(path)
        verified = read_report(data)
        if report and options.is_local:
            _write_report(report, data)
        return Verified(verified.findings, verified.checked, time.monotonic() - began)

    def _check(
        self, folders: Sequence[Folder], notes: Sequence[Finding], verifying: Verifying, path: str
    ) -> None:
        options, own = self.options, shelf_in(path.rpartition("/")[0])

        def build(pipeline: beam.Pipeline) -> None:
            made = (
                pipeline
                | "Folders" >> beam.Create(list(folders))
                | "Verify" >> VerifyOutput(verifying)
            )
            known = pipeline | "Notes" >> beam.Create(list(notes)).with_output_types(Finding)
            findings = [made[FINDINGS], known] | "All findings" >> beam.Flatten()
            _ = (findings, made[CHECKED]) | "Report" >> WriteReport(own, path)

        line = counted_line("checking", LOOKED_AT, "clips", TO_CHECK, failed=(WRONG,))
        try:
            with Progress(self.progress and options.is_local, line=line):
                run_pipeline(
                    build,
                    options.runner,
                    options.local_workers,
                    self.runner_arguments,
                    own=own,
                )
        finally:
            own.sweep()

    def unreachable(self, error: OSError) -> str:
        layout = Layout(shelf.absolute(self.options.dataset))
        report = _report_of(self.options, layout)
        return (
            f"{layout.root} or {report or 'the folder for temporary files'} could not be read or "
            f"written ({error}). Usually there is no permission, no room, or no network: mend "
            "that, and run the same command again"
        )

    def troubles(self, result: Verified) -> Iterator[str]:
        return told(result, self.options)

    def tell(self, result: Verified, seconds: float) -> list[str]:
        del seconds  # those of the work itself stand in the result
        return final_words(result, self.options)

    def exit_code(self, result: Verified) -> int:
        return SOMETHING_WRONG if result.wrong else ALL_WELL


def main(options: VerifyOptions, runner_arguments: Sequence[str]) -> int:
    """Verify, say what was found, and whether all is well."""
    return perform(Verify(options, runner_arguments, progress=not options.quiet))


def verify(
    options: VerifyOptions, runner_arguments: Sequence[str] = (), progress: bool = False
) -> Verified:
    """What is wrong with an output. Raises when it is none, or cannot be read."""
    return Verify(options, runner_arguments, progress).run()


_Report = tuple[beam.PCollection[Finding], beam.PCollection[Checked]]


class WriteReport(beam.PTransform[_Report, beam.PCollection[int]]):
    """(Findings, what was checked) → one file of JSON lines."""

    def __init__(self, own: Shelf, path: str) -> None:
        super().__init__()
        self.own, self.path = own, path

    def expand(self, inputs: _Report) -> beam.PCollection[int]:
        own, path = self.own, self.path

        def write(checked: Checked, findings: Iterable[Finding]) -> int:
            return own.write(path, report_of(findings, checked))

        findings, checked = inputs
        return checked | "Write" >> beam.Map(
            write, findings=beam.pvalue.AsIter(findings)
        ).with_output_types(int)


# ── the report ───────────────────────────────────────────────────────────────────────────────────


def report_of(findings: Iterable[Finding], checked: Checked) -> bytes:
    """JSON lines: a finding on each, and at last what was checked."""
    order = {name: place for place, name in enumerate(KINDS)}
    ordered = sorted(set(findings), key=lambda f: (order[f.kind], f.path, f.wrong, f.should))
    lines = [_line(finding) for finding in ordered]
    lines.append(json.dumps({"checked": dict(checked.counts)}))
    return "".join(f"{line}\n" for line in lines).encode()


def _line(finding: Finding) -> str:
    kind = KINDS[finding.kind]
    level = "wrong" if kind.wrong else "note"
    said = {"level": level, **asdict(finding), "usually": kind.usually, "do": kind.do}
    return json.dumps(said)


def read_report(data: bytes) -> Verified:
    """What :func:`report_of` wrote down."""
    *lines, last = [json.loads(line) for line in data.decode().splitlines()]
    keys = ("kind", "path", "wrong", "should")
    return Verified(
        tuple(Finding(**{key: said[key] for key in keys}) for said in lines), last["checked"]
    )


def _write_report(path: str, data: bytes) -> None:
    own = shelf_in(path.rpartition("/")[0])
    try:
        with beside_runs(own, only_marked=True):
            own.write(path, data)
    except OSError as error:
        raise RunError(
            f"--report {path} could not be written ({error.strerror or error}), although all was "
            "checked. Make room, or write it to another folder, and run the same command again"
        ) from error
    finally:
        own.sweep()


@contextmanager
def _tray(report: str | None) -> Iterator[str]:
    """Where workers write the report: where it is wanted, or where it is only read from."""
    if report is not None:
        yield report
        return
    with temporary_folder() as folder:
        yield f"{folder}/report.jsonl"


def _report_of(options: VerifyOptions, layout: Layout) -> str | None:
    if not options.report:
        return None
    report = shelf.absolute(options.report)
    if report.startswith(f"{layout.root}/"):
        raise OptionError(
            f"--report {options.report} lies in the dataset, where verify writes nothing: write it "
            "beside it"
        )
    return report


def _child_limits(options: VerifyOptions) -> ChildLimits | None:
    if options.no_isolation or not possible():
        return None
    return ChildLimits(options.max_memory_mb, options.max_cpu_seconds, options.max_stall_seconds)


def _refuse_others(layout: Layout, folders: Sequence[Folder]) -> None:
    """A folder that is no output is not an output of which all is missing."""
    names = {folder.path.rsplit("/", 1)[-1] for folder in folders}
    if not names & {"processed_clip_chunks", "processed_videos", "failures", "metas"}:
        raise NoDataset(
            f"{layout.root} is no output: there is neither processed_clip_chunks/ nor "
            "processed_videos/ in it. Write the folder that was the --output of finecut curate"
        )


# ── words ────────────────────────────────────────────────────────────────────────────────────────


def told(verified: Verified, options: VerifyOptions) -> Iterator[str]:
    """Findings for people: by kind, with what usually causes them and what to do."""
    for several in (verified.wrong, verified.notes):
        for name, group in groupby(several, key=lambda finding: finding.kind):
            findings, kind = list(group), KINDS[name]
            mark = "" if kind.wrong else " (nothing wrong by itself)"
            yield f"{name}{mark}: {len(findings)}. Usually {kind.usually}. {kind.do}"
            for finding in islice(findings, options.show):
                yield f"  {finding.line}"
            if len(findings) > options.show:
                where = options.report or "--report FILE lists all"
                yield f"  … and {len(findings) - options.show} more: {where}"


def final_words(verified: Verified, options: VerifyOptions) -> list[str]:
    """What was checked, how fast, and what became of it."""
    checked = verified.checked

    def number(name: str) -> int:
        return int(checked.get(name, 0))

    speed = number("clips") / max(verified.seconds, 1e-3)
    lines = [
        f"checked  {number('documents')} documents of {number('videos')} videos in "
        f"{number('chunks')} chunks, {number('runs')} runs",
        f"clips    {number('clips')} files, {number('clips decoded')} decoded to the end "
        f"({checked.get('seconds', 0):.1f} s, {number('frames')} frames){_undigested(checked)}",
        f"more     {number('vectors')} vectors, {number('previews')} previews "
        f"({number('previews shown')} shown){_shards(checked)}",
        f"speed    {speed:.1f} clips a second, {verified.seconds:.1f} s",
    ]
    if options.quick:
        lines.append("quick    nothing was decoded")
    if options.report:
        lines.append(f"report   {options.report}")
    wrong = len(verified.wrong)
    said = "1 thing is wrong" if wrong == 1 else f"{wrong} things are wrong"
    lines.append(said if wrong else "all well")
    return lines


def _undigested(checked: Mapping[str, Any]) -> str:
    without = int(checked.get("clips without digest", 0))
    return f", {without} without a digest to compare with" if without else ""


def _shards(checked: Mapping[str, Any]) -> str:
    if "shards" not in checked:
        return ""
    return (
        f", {int(checked['clips in shards'])} clips in {int(checked['shards'])} shards, read by "
        f"{reader()}"
    )
