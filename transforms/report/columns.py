"""Columns: what an output tells of its clips, as a web page can read it.

    documents ──▶ rows ──▶ columns of numbers (base64) and of texts ──▶ finecut.chunk("clips", 0, …)

A page that is opened from a disk may not read files, but it may load scripts: each chunk of columns
is one, and calls the page with its values. Films, models and strangers may have written what is in
a chunk, so it is data in the strictest form (:func:`script`) and nothing in it can end a script or
begin a tag.
"""

import base64
import json
import math
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from finecut.io.dataset.output import Entry
from finecut.io.layout import SCORES, scores_held
from finecut.transforms.refilter.rewriting import has_file

#: Longer texts are cut: a page is for looking, and the document has all of it.
LONGEST_TEXT: Final = 8_000
REJECTED: Final = "rejected"
#: A score that could not be measured.
MISSING: Final = float("nan")
#: Numbers of a clip, and what each takes. Scores come on top, each by its name.
NUMBERS: Final[Mapping[str, str]] = {
    "source": "I",
    "start": "d",
    "end": "d",
    "reason": "H",
    "width": "H",
    "height": "H",
    "rate": "f",
    "frames": "I",
    "bytes": "d",
    "first": "i",
    "last": "i",
    "marked": "B",
}
TEXTS: Final = ("captions", "errors", "codec", "models", "made", "labels")
#: Rows of one script: of numbers, which are all loaded, and of texts, which wait to be asked for.
ROWS_OF_NUMBERS: Final = 8192
ROWS_OF_TEXTS: Final = 1024
MOST_SCORES: Final = 64
#: Further reasons are counted as one.
MOST_REASONS: Final = 1_000
OTHERWISE: Final = "another reason"
_LARGEST = {"I": 2**32 - 1, "H": 2**16 - 1, "B": 255, "i": 2**31 - 1}


# ── rows: a clip in values that a page can show ──────────────────────────────────────────────────


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
    # Its first preview is named by the frames of its window.
    window = next(iter(_windows(said) if has_previews and entry.kept else ()), {})
    errors = _named(
        said.get("error_messages") or dict.fromkeys(map(str, _list(said.get("errors"))), "")
    )
    # As the final message of a run counts them: clips that exist, kept or rejected.
    marked = (entry.kept or has_file(said)) and (
        bool(errors) or (entry.kept and said.get("valid") is False)
    )
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
            "first": number(window.get("start_frame"), -1),
            "last": number(window.get("end_frame"), -1),
            "marked": float(marked),
        },
        scores=_scores(said),
        text={
            "captions": _captions(said),
            "errors": errors,
            "codec": short(said.get("video_codec")),
            "models": _named(_models(said.get("models"))),
            "made": _made(said),
            # Scores that are words.
            "labels": _named({k: word for k, word in _held(said).items() if isinstance(word, str)}),
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
    return [window for window in _list(said.get("windows")) if isinstance(window, Mapping)]


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


def _held(said: Mapping[str, Any]) -> dict[str, Any]:
    return scores_held({**said, SCORES: _mapping(said.get(SCORES))})


def _models(value: object) -> dict[str, str]:
    return {
        name: str(used.get("model")) + (f"@{used['revision']}" if used.get("revision") else "")
        for name, used in _mapping(value).items()
        if isinstance(used, Mapping)
    }


def _made(said: Mapping[str, Any]) -> list[Any]:
    """How its pictures came of the film: how, why, how many were encoded, and from where to where.

    Nothing where nobody says so: then all of it was encoded.
    """
    if not isinstance(said.get("transcode"), str):
        return []
    span = _pair(said["copied_span"]) if said.get("copied_span") else None
    return [
        short(said["transcode"], 200),
        short(said.get("transcode_reason")),
        int(number(said.get("frames_encoded"))),
        span and [*span],
    ]


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _named(value: object) -> list[list[str]]:
    return [[short(name, 200), short(text)] for name, text in _mapping(value).items()]


# ── columns ──────────────────────────────────────────────────────────────────────────────────────


class Clips:
    """Columns that grow clip by clip, and leave as chunks when they are full."""

    def __init__(self) -> None:
        self.count = 0
        #: What rejected clips were rejected by; the first stands for none.
        self.reasons: list[str] = [""]
        self.scores: list[str] = []
        #: Seconds and clips by reason.
        self.totals: dict[int, list[float]] = {}
        self.bytes = 0.0
        #: How many have a caption.
        self.captioned = 0
        #: How many exist although a step failed in them.
        self.marked = 0
        self._known = {"": 0}
        #: Those of which numbers and texts have not left yet.
        self._rows: list[Row] = []
        self._texts: list[Mapping[str, Any]] = []

    def add(self, row: Row, source: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """One more; the chunks that are full now come out, each with the name of its kind."""
        reason = self._reason(row.reason)
        self._count(row, reason)
        at = {"source": source, "start": row.start, "end": row.end, "reason": reason}
        self._rows.append(row._replace(numbers={**row.numbers, **at}, text={}))
        self._texts.append(row.text)
        return self._chunks(ROWS_OF_NUMBERS, ROWS_OF_TEXTS)

    def rest(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The chunks that are not full."""
        return self._chunks(1, 1)

    def _chunks(self, of_numbers: int, of_texts: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """What has so many rows."""
        if len(self._rows) >= of_numbers:
            yield "clips", _columns_of(self._rows, self.scores)
            self._rows = []
        if len(self._texts) >= of_texts:
            yield "texts", {name: [text[name] for text in self._texts] for name in TEXTS}
            self._texts = []

    def _count(self, row: Row, reason: int) -> None:
        self.count += 1
        total = self.totals.setdefault(reason, [0, 0.0])
        total[0] += 1
        total[1] += row.end - row.start
        self.bytes += row.numbers["bytes"]
        self.captioned += bool(row.text["captions"])
        self.marked += row.numbers["marked"] > 0
        new = [name for name in row.scores if name not in self.scores]
        self.scores += new[: MOST_SCORES - len(self.scores)]

    def _reason(self, text: str) -> int:
        if text not in self._known and len(self.reasons) >= MOST_REASONS:
            text = OTHERWISE
        if text not in self._known:
            self._known[text] = len(self.reasons)
            self.reasons.append(text)
        return self._known[text]


def _columns_of(rows: Sequence[Row], scores: Iterable[str]) -> dict[str, Any]:
    ids = b"".join(bytes.fromhex(row.id.replace("-", "")) for row in rows)
    out: dict[str, Any] = {"count": len(rows), "id": base64.b64encode(ids).decode()}
    for name, kind in NUMBERS.items():
        out[name] = packed(array(kind, [fitted(row.numbers[name], kind) for row in rows]))
    # Pairs: in a script, what an object has under some names (__proto__) is not a value.
    out["scores"] = [
        [name, packed(array("f", [fitted(row.scores.get(name, MISSING), "f") for row in rows]))]
        for name in scores
    ]
    return out


def fitted(value: float, kind: str) -> Any:
    """The value as an array of this kind can hold it.

    >>> fitted(70_000.0, "H"), fitted(-1, "i"), fitted(0.5, "f")
    (65535, -1, 0.5)
    """
    if kind not in _LARGEST:
        # A number that a float of four bytes cannot hold would become infinite.
        return value if kind == "d" or math.isnan(value) else min(max(value, -3e38), 3e38)
    return int(min(max(value, -1 if kind == "i" else 0), _LARGEST[kind]))


def packed(values: "array[Any]") -> str:
    """The numbers as bytes, the lowest first, in base64."""
    if sys.byteorder != "little":
        values = values[:]
        values.byteswap()
    return base64.b64encode(values.tobytes()).decode()


def plain_json(value: Any) -> str:
    r"""JSON that may stand in a page or a script: no character in it can mean anything else.

    >>> plain_json("</script>\u2028é")
    '"\\u003c/script\\u003e\\u2028\\u00e9"'
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def script(kind: str, index: int, columns: Mapping[str, Any]) -> bytes:
    """A chunk of columns as the script that hands it to the page."""
    return f"finecut.chunk({plain_json(kind)},{index},{plain_json(columns)});\n".encode()
