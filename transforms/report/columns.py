"""Columns: what an output tells of its clips, as a web page can read it.

    documents ──▶ rows ──▶ columns of numbers (base64) and of texts ──▶ finecut.chunk("clips", 0, …)

A page that is opened from a disk may not read files, but it may load scripts: each chunk of columns
is one, and calls the page with its values. Films, models and strangers may have written what is in
a chunk, so it is data in the strictest form (:func:`script`) and nothing in it can end a script or
begin a tag.
"""

from __future__ import annotations

import base64
import json
import math
import sys
from array import array
from collections.abc import Iterator, Mapping
from typing import Any, Final

from finecut.transforms.report.rows import MISSING, Row

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
#: Rows of one script: of numbers, which are all loaded, and of texts, which wait to be asked for.
ROWS_OF_NUMBERS: Final = 8192
ROWS_OF_TEXTS: Final = 1024
MOST_SCORES: Final = 64
#: Further reasons are counted as one.
MOST_REASONS: Final = 1_000
OTHERWISE: Final = "another reason"
_LARGEST = {"I": 2**32 - 1, "H": 2**16 - 1, "B": 255, "i": 2**31 - 1}


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
        #: How many exist, and say that something in them broke down.
        self.marked = 0
        self._known = {"": 0}
        self._clear_numbers()
        self._clear_texts()

    def add(self, row: Row, source: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """One more; the chunks that are full now come out, each with the name of its kind."""
        reason = self._reason(row.reason)
        self._count(row, reason)
        at = {"source": source, "start": row.start, "end": row.end, "reason": reason}
        for name, values in self._numbers.items():
            values.append(fitted({**row.numbers, **at}[name], values.typecode))
        self._ids += bytes.fromhex(row.id.replace("-", ""))
        self._add_scores(row.scores)
        for name, texts in self._texts.items():
            texts.append(row.text[name])
        if len(self._numbers["source"]) == ROWS_OF_NUMBERS:
            yield "clips", self._numbers_out()
        if len(self._texts["codec"]) == ROWS_OF_TEXTS:
            yield "texts", self._texts_out()

    def rest(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The chunks that are not full."""
        if len(self._numbers["source"]):
            yield "clips", self._numbers_out()
        if self._texts["codec"]:
            yield "texts", self._texts_out()

    def _count(self, row: Row, reason: int) -> None:
        self.count += 1
        total = self.totals.setdefault(reason, [0, 0.0])
        total[0] += 1
        total[1] += row.end - row.start
        self.bytes += row.numbers["bytes"]
        self.captioned += bool(row.text["captions"])
        self.marked += row.numbers["marked"] > 0

    def _reason(self, text: str) -> int:
        if text not in self._known and len(self.reasons) >= MOST_REASONS:
            text = OTHERWISE
        if text not in self._known:
            self._known[text] = len(self.reasons)
            self.reasons.append(text)
        return self._known[text]

    def _add_scores(self, scores: Mapping[str, float]) -> None:
        before = len(self._numbers["source"]) - 1
        for name in scores:
            if name not in self.scores and len(self.scores) < MOST_SCORES:
                self.scores.append(name)
        for name in self.scores:
            if name not in self._scores:
                self._scores[name] = array("f", [MISSING]) * before
            self._scores[name].append(fitted(scores.get(name, MISSING), "f"))

    def _clear_numbers(self) -> None:
        self._numbers = {name: array(kind) for name, kind in NUMBERS.items()}
        self._scores: dict[str, array[float]] = {}
        self._ids = bytearray()

    def _clear_texts(self) -> None:
        self._texts: dict[str, list[Any]] = {
            name: [] for name in ("captions", "errors", "codec", "models", "made", "labels")
        }

    def _numbers_out(self) -> dict[str, Any]:
        out: dict[str, Any] = {"count": len(self._numbers["source"])}
        out["id"] = base64.b64encode(self._ids).decode()
        out |= {name: packed(values) for name, values in self._numbers.items()}
        # Pairs: in a script, what an object has under some names (__proto__) is not a value.
        out["scores"] = [[name, packed(values)] for name, values in self._scores.items()]
        self._clear_numbers()
        return out

    def _texts_out(self) -> dict[str, Any]:
        out = dict(self._texts)
        self._clear_texts()
        return out


def fitted(value: float, kind: str) -> Any:
    """The value as an array of this kind can hold it.

    >>> fitted(70_000.0, "H"), fitted(-1, "i"), fitted(0.5, "f")
    (65535, -1, 0.5)
    """
    if kind not in _LARGEST:
        # A number that a float of four bytes cannot hold would become infinite.
        return value if kind == "d" or math.isnan(value) else min(max(value, -3e38), 3e38)
    least = -1 if kind == "i" else 0
    return int(min(max(value, least), _LARGEST[kind]))


def packed(values: array[Any]) -> str:
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
