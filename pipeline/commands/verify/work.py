"""The work of ``finecut verify``: every check on every folder, and the report of what is wrong.

Nothing in the output is written to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final

import apache_beam as beam

from finecut.io.dataset.output import NoDataset
from finecut.io.errors import RunError
from finecut.io.layout import Layout
from finecut.io.media.limits import Limits
from finecut.io.process import children as child
from finecut.io.process.children import ChildLimits, possible
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.io.storage.temporary import temporary_folder
from finecut.pipeline.at_work import beside_runs, shelf_in
from finecut.pipeline.cli.progress import counted_line
from finecut.pipeline.commands.verify import Verify, VerifyOptions
from finecut.pipeline.options import OptionError
from finecut.transforms.verify.checks.findings import Finding
from finecut.transforms.verify.findings_file import Verified, WriteFindings, read_report
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


def verify(command: Verify) -> Verified:
    """What is wrong with an output. Raises when it is none, or cannot be read."""
    options = command.options
    layout = Layout(shelf.absolute(options.dataset))
    report = _report_of(options, layout)
    limits = _child_limits(options)
    if limits is not None and options.is_local and not options.quick:
        child.start(DECODING)
    folders, notes = folders_of(layout)
    notes += links_out(command.fence)
    _refuse_others(layout, folders)
    verifying = verifying_of(
        layout,
        folders,
        quick=options.quick,
        film=Limits(pixels=options.max_pixels),
        limits=limits,
        fence=command.fence,
    )
    folders += [Folder(shelf.absolute(each), of_shards=True) for each in options.shards]

    def build(pipeline: beam.Pipeline, own: Shelf, path: str) -> None:
        made = pipeline | "Folders" >> beam.Create(folders) | "Verify" >> VerifyOutput(verifying)
        known = pipeline | "Notes" >> beam.Create(notes).with_output_types(Finding)
        findings = [made[FINDINGS], known] | "All findings" >> beam.Flatten()
        _ = (findings, made[CHECKED]) | "Report" >> WriteFindings(own, path)

    line = counted_line("checking", LOOKED_AT, "clips", TO_CHECK, failed=(WRONG,))
    # Beam puts trouble with a disk into words of its own, so here the report is written by us.
    with _written_by_workers(None if command.ends_with_us else report) as path:
        own = shelf_in(path.rpartition("/")[0])
        try:
            with command.showing(line):
                command.run_pipeline(partial(build, own=own, path=path), own)
        finally:
            own.sweep()
        data = shelf.read(path)
    if report and command.ends_with_us:
        _write_report(report, data)
    return read_report(data)


def _write_report(path: str, data: bytes) -> None:
    own = shelf_in(path.rpartition("/")[0])
    try:
        with beside_runs(own, only_marked=True):
            own.write(path, data)
    except OSError as error:
        raise RunError(
            f"--report {path} could not be written ({error.strerror or error}), although "
            "everything was checked. Make room, or write it to another folder, and run the same "
            "command again"
        ) from error
    finally:
        own.sweep()


@contextmanager
def _written_by_workers(report: str | None) -> Iterator[str]:
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
            f"--report {options.report} is inside the dataset, where verify writes nothing: "
            "write it beside the dataset"
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
            f"{layout.root} is not a dataset: it has neither processed_clip_chunks/ nor "
            "processed_videos/. Give the folder that was the --output of finecut curate"
        )
