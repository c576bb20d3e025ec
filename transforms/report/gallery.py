"""Gallery: what an output tells of its clips, as columns that a page of the web can read.

    documents ──▶ rows ──▶ columns of numbers (base64) and of texts ──▶ finecut.chunk("clips", 0, …)

A page that is opened from a disk may not read files, but it may load scripts: each chunk of columns
is one, and calls the page with its values. What is in a chunk was said by films, models and
strangers, so it is data in the strictest form (:func:`script`) and nothing in it can end a script
or begin a tag.
"""

from __future__ import annotations

import base64
import json
import math
import sys
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from finecut.io.dataset.output import Entry
from finecut.io.dataset.score_keys import SCORES, scores_held
from finecut.io.layout import clip_id
from finecut.transforms.filter.comparing import SAMENESS
from finecut.transforms.filter.rules import Rule, parse_rule
from finecut.transforms.refilter.rewriting import has_file
from finecut.transforms.split.spans import fixed_stride_spans

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
#: Longer texts are cut: a page is for looking, and the document has all of it.
LONGEST_TEXT: Final = 8_000
MOST_SCORES: Final = 64
#: Other reasons than these many are counted as one.
MOST_REASONS: Final = 1_000
OTHERWISE: Final = "another reason"
REJECTED: Final = "rejected"
_LARGEST = {"I": 2**32 - 1, "H": 2**16 - 1, "B": 255, "i": 2**31 - 1}
_MISSING = float("nan")


class Row(NamedTuple):
    """A clip, said in plain values."""

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
    # As the final words of a run count them: clips that exist, kept or rejected.
    exists = entry.kept or has_file(said)
    marked = exists and (bool(errors) or (entry.kept and said.get("valid") is False))
    if marked and not errors:
        errors = [["valid", "its document says that it is not valid, and not why"]]
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
    try:
        told = float(value)
    except OverflowError:
        return otherwise
    return told if math.isfinite(told) else otherwise


def short(value: object, longest: int = LONGEST_TEXT) -> str:
    """The value as a text of no more than so many characters; nothing where there is none."""
    text = "" if value is None else str(value)
    return text if len(text) <= longest else f"{text[:longest]}…"


def _pair(value: object) -> tuple[float, float]:
    if isinstance(value, Sequence) and len(value) == 2:
        start = max(0.0, number(value[0]))
        return start, max(start, number(value[1]))
    return 0.0, 0.0


def _windows(said: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    windows = said.get("windows")
    if isinstance(windows, list):
        yield from (window for window in windows if isinstance(window, Mapping))


def _first_window(said: Mapping[str, Any]) -> tuple[float, float]:
    """The frames that its first preview is named by."""
    for window in _windows(said):
        return number(window.get("start_frame"), -1), number(window.get("end_frame"), -1)
    return -1, -1


def _captions(said: Mapping[str, Any]) -> list[list[str]]:
    """Who said something, and what, windows joined by a blank."""
    texts: dict[str, list[str]] = {}
    for window in _windows(said):
        for name, text in window.items():
            if name.endswith("_caption") and isinstance(text, str) and text:
                texts.setdefault(name.removesuffix("_caption"), []).append(text)
    return _named({name: " ".join(parts) for name, parts in texts.items()})


def _scores(said: Mapping[str, Any]) -> dict[str, float]:
    drawn = {short(name, 80): number(value, _MISSING) for name, value in _held(said).items()}
    return {name: value for name, value in drawn.items() if not math.isnan(value)}


def _labels(said: Mapping[str, Any]) -> dict[str, str]:
    """Scores that are words."""
    return {name: value for name, value in _held(said).items() if isinstance(value, str)}


def _held(said: Mapping[str, Any]) -> dict[str, Any]:
    others = said.get(SCORES)
    return scores_held({**said, SCORES: others if isinstance(others, Mapping) else {}})


def _models(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        return {}
    told = {}
    for name, used in value.items():
        if isinstance(used, Mapping):
            revision = used.get("revision")
            told[name] = f"{used.get('model')}@{revision}" if revision else str(used.get("model"))
    return told


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
        #: How many somebody said something about.
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
                self._scores[name] = array("f", [_MISSING]) * before
            self._scores[name].append(fitted(scores.get(name, _MISSING), "f"))

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


# ── sources ──────────────────────────────────────────────────────────────────────────────────────


def video_of(chunk: str) -> tuple[str, int]:
    """To what video the document of a chunk belongs, by its name, and which of its chunks it is.

    >>> video_of("processed_clip_chunks/a.mp4_12.json")
    ('processed_clip_chunks/a.mp4', 12)
    """
    name, _, index = chunk.removesuffix(".json").rpartition("_")
    return (name, int(index)) if index.isascii() and index.isdigit() else (chunk, 0)


def spans_of_lost(
    name: str,
    lost: Collection[str],
    rate: float,
    known: Sequence[tuple[float, float]],
    stride: tuple[float, float] | None,
) -> list[tuple[float, float]]:
    """Where the shots lay that did not become clips, as far as their ids give it away.

    An id is made of two frames, so a place can be tried: those of a fixed stride (the length and
    the distance), and what is left open between the clips that there are.
    """
    if not lost or rate <= 0:
        return []
    left, found = set(lost), []
    for start, end in _places(known, stride, len(lost)):
        shot = clip_id(name, int(start * rate), int(end * rate))
        if shot in left:
            left.remove(shot)
            found.append((start, end))
    return sorted(found)


def _places(
    known: Sequence[tuple[float, float]], stride: tuple[float, float] | None, lost: int
) -> Iterator[tuple[float, float]]:
    open_from = 0.0
    for start, end in sorted(known):
        if start > open_from:
            yield open_from, start
        open_from = max(open_from, end)
    if stride is not None:
        length, distance = stride
        until = open_from + lost * distance + length
        for span in fixed_stride_spans(int(until * 1000), 1000.0, length, distance, length):
            yield span.start, span.end


def common_folder(names: Sequence[str]) -> str:
    """The folders that all of these lie in, with the slash at the end.

    >>> common_folder(["gs://b/films/a.mp4", "gs://b/films/x/b.mp4"])
    'gs://b/films/'
    """
    least, most = min(names, default=""), max(names, default="")
    same = 0
    while same < min(len(least), len(most)) and least[same] == most[same]:
        same += 1
    return least[: least.rfind("/", 0, same) + 1]


# ── rules ────────────────────────────────────────────────────────────────────────────────────────


def rules_drawn(rules: Iterable[Rule], reasons: Iterable[str]) -> list[dict[str, Any]]:
    """The rules on numbers that a run had, and those that reasons speak of: score, comparison,
    limit, name.
    """
    drawn = [rule for rule in rules if rule.comparison not in SAMENESS]
    found = {(rule.score, rule.comparison, rule.limit): rule for rule in drawn}
    for reason in reasons:
        try:
            rule = parse_rule(reason)
        except ValueError:
            continue  # a name, as in "motion", or what another program says
        if rule.comparison not in SAMENESS:
            found.setdefault((rule.score, rule.comparison, rule.limit), rule)
    return [
        {"score": rule.score, "comparison": rule.comparison, "limit": rule.limit, "name": rule.name}
        for rule in found.values()
    ]
