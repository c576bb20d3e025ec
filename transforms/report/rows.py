"""Rows: what an output tells of a clip, in plain values that a page can show."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from finecut.io.dataset.output import Entry
from finecut.io.layout import SCORES, scores_held
from finecut.transforms.refilter.rewriting import has_file

#: Longer texts are cut: a page is for looking, and the document has all of it.
LONGEST_TEXT: Final = 8_000
REJECTED: Final = "rejected"
#: A score that could not be measured.
MISSING: Final = float("nan")


class Row(NamedTuple):
    """A clip in plain values."""

    id: str
    #: Why it was rejected; empty for a clip that is kept.
    reason: str
    start: float
    end: float
    numbers: Mapping[str, float]
    scores: Mapping[str, float]
    text: Mapping[str, Any]

    @property
    def place(self) -> tuple[float, float, str]:
        """Where it stands among the clips of its film."""
        return self.start, self.end, self.id


def row_of(entry: Entry, has_previews: bool) -> Row:
    """What a clip's document says, whoever wrote it: a value of another kind counts as missing."""
    said = entry.document
    start, end = _pair(said.get("duration_span"))
    first, last = _first_window(said) if has_previews and entry.kept else (-1, -1)
    errors = _named(said.get("error_messages") or dict.fromkeys(_texts(said.get("errors")), ""))
    # As the final message of a run counts them: clips that exist, kept or rejected.
    exists = entry.kept or has_file(said)
    marked = exists and (bool(errors) or (entry.kept and said.get("valid") is False))
    if marked and not errors:
        errors = [["valid", "its document says that the clip is invalid, but not why"]]
    return Row(
        id=entry.id,
        reason="" if entry.kept else short(said.get("filtered_by") or REJECTED),
        start=start,
        end=end,
        numbers={
            "width": number(said.get("width")),
            "height": number(said.get("height")),
            "rate": number(said.get("framerate")),
            "frames": number(said.get("num_frames")),
            "bytes": number(said.get("num_bytes")),
            "first": first,
            "last": last,
            "marked": float(marked),
        },
        scores=_scores(said),
        text={
            "captions": _captions(said),
            "errors": errors,
            "codec": short(said.get("video_codec")),
            "models": _named(_models(said.get("models"))),
            "made": _made(said),
            "labels": _named(_labels(said)),
        },
    )


def number(value: object, otherwise: float = 0.0) -> float:
    """The value if it is a number that can be drawn."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return otherwise
    return float(value) if abs(value) <= sys.float_info.max else otherwise


def short(value: object, longest: int = LONGEST_TEXT) -> str:
    """The value as a text of at most that many characters; empty for None."""
    text = "" if value is None else str(value)
    return text if len(text) <= longest else f"{text[:longest]}…"


def _pair(value: object) -> tuple[float, float]:
    if isinstance(value, Sequence) and len(value) == 2:
        start = max(0.0, number(value[0]))
        return start, max(start, number(value[1]))
    return 0.0, 0.0


def _windows(said: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    windows = said.get("windows")
    listed = windows if isinstance(windows, list) else []
    return [window for window in listed if isinstance(window, Mapping)]


def _first_window(said: Mapping[str, Any]) -> tuple[float, float]:
    """The frames that its first preview is named by."""
    window = next(iter(_windows(said)), {})
    return number(window.get("start_frame"), -1), number(window.get("end_frame"), -1)


def _captions(said: Mapping[str, Any]) -> list[list[str]]:
    """The texts of each captioner, windows joined by a blank."""
    texts: dict[str, list[str]] = {}
    for window in _windows(said):
        for name, text in window.items():
            if name.endswith("_caption") and isinstance(text, str) and text:
                texts.setdefault(name.removesuffix("_caption"), []).append(text)
    return _named({name: " ".join(parts) for name, parts in texts.items()})


def _scores(said: Mapping[str, Any]) -> dict[str, float]:
    drawn = {short(name, 80): number(value, MISSING) for name, value in _held(said).items()}
    return {name: value for name, value in drawn.items() if not math.isnan(value)}


def _labels(said: Mapping[str, Any]) -> dict[str, str]:
    """Scores that are words."""
    return {name: value for name, value in _held(said).items() if isinstance(value, str)}


def _held(said: Mapping[str, Any]) -> dict[str, Any]:
    others = said.get(SCORES)
    return scores_held({**said, SCORES: others if isinstance(others, Mapping) else {}})


def _models(value: object) -> dict[str, str]:
    models = value if isinstance(value, Mapping) else {}
    return {
        name: str(used.get("model")) + (f"@{used['revision']}" if used.get("revision") else "")
        for name, used in models.items()
        if isinstance(used, Mapping)
    }


def _made(said: Mapping[str, Any]) -> list[Any]:
    """How its pictures came of the film: how, why, how many were encoded, and from where to where.

    Nothing where nobody says so: then all of it was encoded.
    """
    if not isinstance(said.get("transcode"), str):
        return []
    span = _pair(said["copied_span"]) if said.get("copied_span") else None
    how, reason = short(said["transcode"], 200), short(said.get("transcode_reason"))
    return [how, reason, int(number(said.get("frames_encoded"))), span and [*span]]


def _texts(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []


def _named(value: object) -> list[list[str]]:
    if not isinstance(value, Mapping):
        return []
    return [[short(name, 200), short(text)] for name, text in value.items()]
