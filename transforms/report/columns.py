"""Columns: what an output tells of its clips, as a web page can read it.

    tables ──▶ columns of numbers (base64) and of texts ──▶ finecut.chunk("clips", 0, …)

A page that is opened from a disk may not read files, but it may load scripts: each chunk of columns
is one, and calls the page with its values. Films, models and strangers may have written what is in
a chunk, so it is data in the strictest form (:func:`script`) and nothing in it can end a script or
begin a tag.
"""

import base64
import json
import sys
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

#: Longer texts are cut: a page is for looking, and the document has all of it.
LONGEST_TEXT: Final = 8_000
REJECTED: Final = "rejected"
#: A score that could not be measured.
MISSING: Final = float("nan")
#: Numbers of a clip, and what each takes. Scores come on top, each by its name.
#: Four bytes are enough: a place in a film to a hundredth of a second, after a day of it.
NUMBERS: Final[Mapping[str, str]] = {
    "source": "u4",
    "start": "f4",
    "end": "f4",
    "duration": "f4",
    "reason": "u2",
    "width": "u2",
    "height": "u2",
    "rate": "f4",
    "frames": "u4",
    "bytes": "f4",
    "first": "i4",
    "last": "i4",
    "marked": "u1",
}


def number(value: object, otherwise: float = 0.0) -> float:
    """The value if it is a number that can be drawn."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return otherwise
    return float(value) if abs(value) <= sys.float_info.max else otherwise


def short(value: object, longest: int = LONGEST_TEXT) -> str:
    """The value as a text of at most that many characters; empty for None."""
    text = "" if value is None else str(value)
    return text if len(text) <= longest else f"{text[:longest]}…"


def fitted(values: NDArray[Any], kind: str) -> NDArray[Any]:
    """The values as numbers of this kind can hold them.

    >>> fitted(np.array([70_000.0, -3.0]), "u2").tolist(), fitted(np.array([0.5]), "f4").tolist()
    ([65535, 0], [0.5])
    """
    if kind == "f4":
        # A number that a float of four bytes cannot hold would become infinite.
        return np.clip(values, -3e38, 3e38).astype("<f4")
    if kind[0] in "iu":
        limits = np.iinfo(kind)
        return np.clip(values, limits.min, limits.max).astype(f"<{kind}")
    raise ValueError(f"{kind} is no kind of number that a page knows: give one of NUMBERS")


def ids_of(column: pa.ChunkedArray) -> NDArray[np.uint8]:
    """Sixteen bytes for each id."""
    text = "".join(column.to_pylist()).replace("-", "")
    return np.frombuffer(bytes.fromhex(text), np.uint8).reshape(-1, 16)


def packed(values: NDArray[Any]) -> str:
    """The numbers as bytes, the lowest first, in base64."""
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


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
