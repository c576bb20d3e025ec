"""The work of ``finecut verify``: every check on every folder, and the report of what is wrong.

Nothing in the output is written to.
"""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import apache_beam as beam

from finecut.io.dataset.arrangement import found
from finecut.io.dataset.places import NoDataset
from finecut.io.errors import RunError
from finecut.io.layout import Layout
from finecut.io.media.limits import Limits
from finecut.io.process import children
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.io.storage.staging import temporary_folder
from finecut.pipeline.at_work import beside_runs, shelf_in
from finecut.pipeline.cli.progress import counted_line
from finecut.pipeline.commands.chosen import path_beside
from finecut.pipeline.commands.verify import Verify, VerifyOptions
from finecut.pipeline.options import OptionError
from finecut.transforms.verify.checks.findings import Finding
from finecut.transforms.verify.folders import TO_CHECK, Folder, folders_of, links_out, verifying_of
from finecut.transforms.verify.output import (
    CHECKED,
    FINDINGS,
    LOOKED_AT,
    WRONG,
    VerifyOutput,
)
from finecut.transforms.verify.report import Verified, WriteFindings, read_report

DECODING: Final = "finecut.transforms.verify.checks.decoding"


def verify(command: Verify) -> Verified:
    """What is wrong with an output. Raises when it is none, or cannot be read."""
    options = command.options
    report = _report_of(options)
    if _limits(options) is not None and options.is_local and not options.quick:
        children.start(DECODING)
    # Beam puts trouble with a disk into words of its own, so here the report is written by us.
    with temporary_folder() as folder:
        path = report if report and not command.ends_with_us else f"{folder}/report.jsonl"
        own = shelf_in(path.rpartition("/")[0])
        add = partial(_add, command=command, own=own, path=path)
        try:
            with command.showing(
                counted_line("checking", LOOKED_AT, "clips", TO_CHECK, failed=(WRONG,))
            ):
                command.run_pipeline(add, own)
        finally:
            own.sweep()
        if report and command.ends_with_us:
            _write_report(report, Path(path))
        with shelf.open_file(path) as lines:
            return read_report(lines, options.show)


def build(command: Verify, pipeline: beam.Pipeline) -> None:
    """All of it as one job, which says what is wrong in its report."""
    path = _report_of(command.options)
    if not path:
        raise OptionError("no --report FILE: nobody waits for what the job finds")
    own = shelf_in(path.rpartition("/")[0])
    written = _add(pipeline, command=command, own=own, path=path)
    _ = written | "Sweep" >> beam.Map(lambda _: own.sweep())


def _add(
    pipeline: beam.Pipeline, *, command: Verify, own: Shelf, path: str
) -> beam.PCollection[int]:
    """Every check on every folder, and one report of what they find."""
    options = command.options
    layout = found(Layout(shelf.absolute(options.dataset)))
    folders, notes = folders_of(layout)
    _refuse_others(layout, folders)
    verifying = verifying_of(
        layout,
        folders,
        quick=options.quick,
        film=Limits(pixels=options.max_pixels),
        limits=_limits(options),
        fence=command.fence,
    )
    folders += [Folder(shelf.absolute(each), of_shards=True) for each in options.shards]
    made = pipeline | "Folders" >> beam.Create(folders) | "Verify" >> VerifyOutput(verifying)
    known = pipeline | "Notes" >> beam.Create(notes).with_output_types(Finding)
    links = (
        pipeline
        | "Fence" >> beam.Create([command.fence])
        | "Links" >> beam.FlatMap(links_out).with_output_types(Finding)
    )
    findings = [made[FINDINGS], known, links] | "All findings" >> beam.Flatten()
    return (findings, made[CHECKED]) | "Report" >> WriteFindings(own, path)


def _limits(options: VerifyOptions) -> children.ChildLimits | None:
    """What a child that decodes a clip may take; none, if it is decoded in the worker itself."""
    if options.no_isolation or not children.possible():
        return None
    return children.ChildLimits(
        options.max_memory_mb, options.max_cpu_seconds, options.max_stall_seconds
    )


def _write_report(path: str, made: Path) -> None:
    own = shelf_in(path.rpartition("/")[0])
    try:
        with beside_runs(own, only_marked=True), own.bench() as bench:
            own.publish(own.stage(Path(shutil.copy(made, bench))), path)
    except OSError as error:
        raise RunError(
            f"--report {path} could not be written ({error.strerror or error}), although "
            "everything was checked. Make room, or write it to another folder, and run the same "
            "command again"
        ) from error
    finally:
        own.sweep()


def _report_of(options: VerifyOptions) -> str | None:
    root = shelf.absolute(options.dataset)
    return path_beside(options.report, root, flag="--report", command="verify")


def _refuse_others(layout: Layout, folders: Sequence[Folder]) -> None:
    """A folder that is no output is not an output of which all is missing."""
    if not {folder.path.rsplit("/", 1)[-1] for folder in folders} & {
        "processed_clip_chunks",
        "processed_videos",
        "failures",
        "metas",
        "packs",
    }:
        raise NoDataset(
            f"{layout.root} is not a dataset: it has neither processed_clip_chunks/ nor "
            "processed_videos/. Give the folder that was the --output of finecut curate"
        )
