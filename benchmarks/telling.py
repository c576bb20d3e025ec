"""What was measured, as a table for people and as JSON for machines."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from judging import WORSE, Change, Measured, Verdict, ratios, worse
from metering import cores
from variants import (
    ALL,
    COPY,
    COPY_JUDGE,
    COPY_LOOK,
    CUT,
    DECODE,
    EACH,
    FEW,
    FEW_PLAIN,
    FFMPEG,
    MANY,
    MANY_PLAIN,
    PEER,
    PEER_SAME,
    PLAIN,
    SHORT,
    SHORT_PLAIN,
    SMART,
    START,
    length_name,
    powers,
    workers_name,
)

TEXTS = {
    START: "finecut, 2 s of film",
    FFMPEG: "one ffmpeg per film, all clips",
    PLAIN: "the same by the plainest PyAV program",
    EACH: "(b) one process per clip",
    CUT: "(c) finecut, cutting alone",
    ALL: "(d) finecut, everything",
    COPY: "finecut, `--transcode copy`",
    COPY_LOOK: "the same, with motion",
    COPY_JUDGE: "the same, with motion and quality",
    SMART: "finecut, `--transcode smart`",
    DECODE: "decoding that film, one thread",
    FEW: "finecut, {few} films of one second",
    FEW_PLAIN: "the plainest program, the same films",
    MANY: "finecut, {many} films of one second",
    MANY_PLAIN: "the plainest program, the same films",
    SHORT: "finecut, {short_clips} clips of one second",
    SHORT_PLAIN: "the plainest program, the same clips",
    PEER: "NeMo Curator's stages, a painted film, VP9",
    PEER_SAME: "finecut, the same, VP9",
}
#: What is compared with (a): they work on the same films.
AS_LIMIT = (FFMPEG, PLAIN, EACH, CUT, ALL)


def markdown(
    measured: Measured, found: Sequence[Verdict], changed: Sequence[Change], remarks: Sequence[str]
) -> str:
    """The whole page."""
    parts = [
        "\n".join(_about(measured)),
        "\n".join(_rows(measured)),
        "\n".join(_scaling(measured)),
        "\n".join(_verdicts(found)),
        "\n".join(_compared(changed)),
        "\n".join(f"- {remark}" for remark in remarks),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _about(measured: Measured) -> Iterator[str]:
    machine = measured.machine
    yield (
        f"{machine['processor']}, {measured.cores} cores, {machine['memory_gb']} GB; "
        + ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
        + f"; load {machine['load']} before."
    )
    yield ""
    yield (
        f"(a) to (d): {measured.seconds:.0f} s of film ({', '.join(measured.films)}), clips of "
        f"10 s. Copied: {measured.copied_seconds:.0f} s. CPU (of all processes) and elapsed "
        "(less what the host took): medians of as many runs as the last column says, beside "
        "others, in turns "
        "(aims beside (a): medians of what each round says). Peak (proportional set size of all "
        "processes, sampled), busy (CPU of the time that all cores had) and first clip: of one "
        "more run, alone. Rows marked alone have all figures from that run."
    )
    if measured.quick:
        yield ""
        yield "This was the quick benchmark: starting is much of what its short films cost."


def _rows(measured: Measured) -> Iterator[str]:
    yield (
        "| | CPU s | elapsed s | peak MB | busy | first clip, s | CPU, (a) is 1 "
        "| elapsed, (a) is 1 | runs beside others |"
    )
    yield "| --- | --: | --: | --: | --: | --: | --: | --: | --: |"
    limit = measured[measured.limit]
    for name, row in sorted(measured.rows.items(), key=_place):
        compared = ["", ""]
        if name in AS_LIMIT and row.runs and limit.runs:
            compared = [f"{row.cpu / limit.cpu:.2f}", f"{row.wall / limit.wall:.2f}"]
        cells = [f"{row.cpu:.2f}", f"{row.wall:.2f}", f"{row.peak_mb:.0f}", f"{row.busy:.0%}"]
        runs = str(row.runs or "alone")
        cells.append("" if row.first is None else f"{row.first:.2f}")
        yield f"| {' | '.join([_text(name, measured), *cells, *compared, runs])} |"


def _place(named: tuple[str, Any]) -> int:
    """As they are listed above; what has no text there comes last."""
    return [*TEXTS, named[0]].index(named[0])


def _text(name: str, measured: Measured) -> str:
    text = TEXTS.get(name, f"finecut, {name}").format_map(vars(measured))
    if name in map(length_name, measured.lengths):
        text += ", with motion and quality"
    return f"(a) {text}" if name == measured.limit else text


def _scaling(measured: Measured) -> Iterator[str]:
    """How much faster more workers are."""
    rows = [(n, measured.rows.get(workers_name(n))) for n in powers(measured.cores)]
    alone = measured.rows.get(workers_name(1))
    faster = [
        f"{alone.wall / row.wall:.2f} with {n}"
        for n, row in rows[1:]
        if alone and row and alone.runs and row.runs
    ]
    if faster:
        yield (
            f"Cutting the painted films, as multiples of one worker's speed: {', '.join(faster)}."
        )


def _verdicts(found: Sequence[Verdict]) -> Iterator[str]:
    yield "| aim | measured | wanted | |"
    yield "| --- | --: | --: | --- |"
    words = {True: "met", False: "**not met**", None: "films too short to say"}
    for verdict in found:
        figure, word = "–", "not measured"
        if verdict.figure is not None:
            figure, word = f"{verdict.figure:.3g} {verdict.aim.unit}".rstrip(), words[verdict.met]
        yield f"| {verdict.aim.what} | {figure} | {verdict.aim.wanted} | {word} |"


def _compared(changed: Sequence[Change]) -> Iterator[str]:
    """What got worse; nothing where nothing was compared."""
    if not changed:
        return
    bad = list(worse(changed))
    if not bad:
        first = changed[0]
        yield (
            f"Compared with the baseline, of {len(changed)} figures none got worse by more than "
            f"{WORSE - 1:.0%}; the worst is {first.what}, {first.ratio:.2f} of what it was."
        )
        return
    yield f"Worse than the baseline by more than {WORSE - 1:.0%}:"
    yield ""
    for change in bad:
        yield (
            f"- {change.what}: {change.now:.3g} instead of {change.before:.3g} "
            f"({change.ratio:.2f} of it)"
        )


def document(measured: Measured, found: Sequence[Verdict]) -> dict[str, Any]:
    """Everything, for the next comparison."""
    return {
        "machine": dict(measured.machine),
        "cores": measured.cores,
        "quick": measured.quick,
        "limit": measured.limit,
        "films": list(measured.films),
        "rows": {name: asdict(row) for name, row in measured.rows.items()},
        "aims": {
            verdict.aim.what: {"figure": verdict.figure, "met": verdict.met} for verdict in found
        },
        "ratios": ratios(measured, measured.limit),
    }


# ── the machine ──────────────────────────────────────────────────────────────────────────────────


def machine() -> dict[str, Any]:
    """What it is, what is installed, and how busy it is."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": _processor(),
        "cores": cores(),
        "memory_gb": round(pages / 1e9),
        "system": platform.platform(),
        "load": round(os.getloadavg()[0], 1),
        "versions": {
            "Python": platform.python_version(),
            **{name: _version(name) for name in ("finecut", "apache-beam", "av")},
            "ffmpeg": _ffmpeg(),
        },
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _ffmpeg() -> str:
    program = shutil.which("ffmpeg")
    if program is None:
        return "none"
    said = subprocess.run([program, "-version"], capture_output=True, text=True, check=False).stdout
    return said.split()[2] if len(said.split()) > 2 else "unknown"
