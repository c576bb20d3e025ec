"""In what two clips differ, by their rows of the catalogue.

What an output does not say (the reference writes neither digests nor reasons) is no difference
where nothing else could be expected: digests and reasons count only where both sides have them.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from finecut.transforms.catalogue.fields import Row
from finecut.transforms.registry import SCORES

#: Under which key a row has its vectors here, by algorithm.
VECTORS: Final = "vectors"
#: The names of scores that are numbers, and of those that are words.
NUMBERS: Final = tuple(score.name for score in SCORES.values() if not score.labels)
WORDS: Final = tuple(score.name for score in SCORES.values() if score.labels)
#: What of the catalogue is compared, or says which clip it is.
COLUMNS: Final = (
    *("id", "video", "chunk", "source_video", "source", "start", "end", "verdict", "reason"),
    *("valid", "width", "height", "framerate", "num_frames", "video_codec", "num_bytes", "sha256"),
    *("sound", "transcode", "transcode_reason", "frames_encoded", "copied_start", "copied_end"),
    *("windows", "errors", "models", "artefacts"),
    *SCORES,
    *("other_scores", "labels"),
)
#: The greatest distance that two vectors have: they point in opposite directions.
OPPOSITE: Final = 2.0


def _these(*names: str) -> Callable[[Row], Any]:
    return lambda row: [row[name] for name in names]


def _verdict(row: Row) -> str:
    """What became of it.

    >>> _verdict({"verdict": "rejected", "reason": "motion>0.1"})
    'rejected: motion>0.1'
    """
    verdict = str(row["verdict"])
    return f"{verdict}: {row['reason']}" if row["reason"] else verdict


def _captions(row: Row) -> list[Any]:
    return [
        [(said["name"], said["text"], said["status"]) for said in window["captions"]]
        for window in row["windows"] or ()
        if window["captions"]
    ]


def _windows(row: Row) -> list[Any]:
    return [(window["start_frame"], window["end_frame"]) for window in row["windows"] or ()]


def _models(row: Row) -> list[Any]:
    return [(used["name"], used["model"], used["revision"]) for used in row["models"] or ()]


def _labels(row: Row) -> dict[str, str]:
    own = {name: row[name] for name in WORDS if row[name] is not None}
    return own | {each["name"]: each["value"] for each in row["labels"] or ()}


#: What is said of a clip, by what that is called.
FIELDS: Final[Mapping[str, Callable[[Row], Any]]] = {
    "verdict": _verdict,
    "span": _these("start", "end"),
    "captions": _captions,
    "windows": _windows,
    "size": _these("width", "height"),
    "frames": _these("framerate", "num_frames"),
    "codec": _these("video_codec"),
    "bytes": _these("num_bytes", "sha256"),
    "sound": _these("sound"),
    "making": _these(
        *("transcode", "transcode_reason", "frames_encoded", "copied_start", "copied_end")
    ),
    "valid": _these("valid"),
    "errors": lambda row: [error["step"] for error in row["errors"] or ()],
    "models": _models,
    "labels": _labels,
    "source": _these("source"),
    "files": lambda row: sorted(made["kind"] for made in row["artefacts"] or ()),
}
#: What counts only where both sides say it, by what it is a part of.
_WHERE_BOTH: Final = ("reason", "sha256")


def changes(a: Row, b: Row) -> dict[str, tuple[Any, Any]]:
    """What is said otherwise of the same clip: by field, what either side says."""
    a, b = dict(a), dict(b)
    for name in _WHERE_BOTH:
        if a[name] is None or b[name] is None:
            a[name] = b[name] = None
    found = {name: (said(a), said(b)) for name, said in FIELDS.items()}
    return {name: (one, other) for name, (one, other) in found.items() if one != other}


def step_of(verdict: object) -> str:
    """A verdict without the rule that made it.

    >>> step_of("rejected: motion>0.1")
    'rejected'
    """
    return str(verdict).partition(":")[0]


def scores(row: Row) -> dict[str, float]:
    """Every score that is a number."""
    own = {name: float(row[name]) for name in NUMBERS if row[name] is not None}
    return own | {each["name"]: float(each["value"]) for each in row["other_scores"] or ()}


def distance(a: bytes, b: bytes) -> float:
    """How far vectors are apart: 1 - cosine, 0 of equal ones; opposite where sizes differ.

    >>> one, other = np.float32([3, 4]).tobytes(), np.float32([-4, 3]).tobytes()
    >>> distance(one, one), distance(one, other), distance(one, b"")
    (0.0, 1.0, 2.0)
    """
    if a == b:
        return 0.0
    one, other = (np.frombuffer(each, np.float32).astype(np.float64) for each in (a, b))
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other)) if len(one) == len(other) else 0.0
    return 1.0 - float(one @ other) / lengths if lengths else OPPOSITE
