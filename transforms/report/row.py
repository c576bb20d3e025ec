"""A clip's document in plain values, as ``finecut summary`` adds them up.

Whoever wrote it: a value of another kind counts as missing.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from finecut.io.dataset.output import Entry
from finecut.transforms.refilter.rewriting import has_file
from finecut.transforms.report.columns import REJECTED, number, short


class Row(NamedTuple):
    """A clip in plain values."""

    #: Why it was rejected; empty for a clip that is kept.
    reason: str
    start: float
    end: float
    bytes: int
    frames: int
    #: Whether it exists although a step failed, and which steps did.
    marked: bool
    errors: tuple[str, ...]
    models: Mapping[str, str]


def row_of(entry: Entry) -> Row:
    """What a clip's document says."""
    said = entry.document
    start, end = _pair(said.get("duration_span"))
    listed = said.get("errors")
    errors = [
        *(_mapping(said.get("error_messages")) or (listed if isinstance(listed, list) else ()))
    ]
    # As the final message of a run counts them: clips that exist, kept or rejected.
    marked = (entry.kept or has_file(said)) and (
        bool(errors) or (entry.kept and said.get("valid") is False)
    )
    return Row(
        reason="" if entry.kept else short(said.get("filtered_by") or REJECTED),
        start=start,
        end=end,
        bytes=int(number(said.get("num_bytes"))),
        frames=int(number(said.get("num_frames"))),
        marked=marked,
        errors=tuple(short(name, 200) for name in errors) or ("valid",) * marked,
        models={
            short(name, 200): short(_model(used))
            for name, used in _mapping(said.get("models")).items()
            if isinstance(used, Mapping)
        },
    )


def _model(used: Mapping[str, Any]) -> str:
    return str(used.get("model")) + (f"@{used['revision']}" if used.get("revision") else "")


def _pair(value: object) -> tuple[float, float]:
    if isinstance(value, Sequence) and len(value) == 2:
        start = max(0.0, number(value[0]))
        return start, max(start, number(value[1]))
    return 0.0, 0.0


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
