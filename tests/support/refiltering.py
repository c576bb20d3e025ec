"""How tests refilter: a small output to curate, the command, and what it wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from finecut.io.records import Summary
from finecut.pipeline.commands.options import RefilterOptions
from finecut.pipeline.commands.refilter import main
from finecut.pipeline.options import Options
from finecut.pipeline.running import run

#: Between what moves and what stands still, and between the two things that move.
LOW, HIGH = 0.0005, 0.005
USUAL: dict[str, Any] = {
    "clip_length": 1.0,
    "min_clip_length": 0.5,
    "chunk_seconds": 2,
    "workers": 1,
    "motion_filter": "score-only",
    "no_generate_embeddings": True,
    "no_isolation": True,
    "no_report": True,
}


def choices(films: Path, **others: Any) -> dict[str, Any]:
    return {"input": (str(films),), **USUAL, **others}


def curated(films: Path, output: Path, **others: Any) -> Summary:
    summary = run(Options(output=str(output), **choices(films, **others))).summary
    assert summary.imbalances() == []
    return summary


def refiltered(output: Path, yes: bool = True, **given: Any) -> int:
    return main(RefilterOptions(dataset=str(output), workers=1, yes=yes, **given).check(), ())


def tree(output: Path, *others: Path) -> dict[str, bytes]:
    """Every file but what runs say of themselves; roots that documents name stand as ROOT."""
    found = {}
    for path in sorted(output.rglob("*")):
        name = path.relative_to(output).as_posix()
        if path.is_file() and not name.startswith(("runs/", "report/", ".staging/")):
            data = path.read_bytes()
            for root in (output, *others):
                data = data.replace(bytes(root), b"ROOT")
            found[name] = data
    return found
