"""The findings as a file of JSON lines, in order, however many there are.

    findings ─▶ sorted, some at a time ─▶ few: kept, many: a file ─▶ merged into one file

The last line says what was checked. Nobody holds all of them: neither a worker nor who reads them.
"""

import hashlib
import heapq
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO, Final

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindows

from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.transforms.verify.checks.findings import KINDS, Checked, Finding, KindName

#: Findings that a worker sorts in memory.
SORTED: Final = 100_000
#: Bytes of them that need no file of their own.
FEW: Final = 16 << 10

Key = tuple[int, str, str, str]
_ORDER: Final = {name: place for place, name in enumerate(KINDS)}


@dataclass(frozen=True)
class Part:
    """Findings in order, as lines: here, or in a file."""

    lines: bytes = b""
    path: str = ""


def key_of(finding: Finding) -> Key:
    """Where it stands in the report."""
    return _ORDER[finding.kind], finding.path, finding.wrong, finding.should


def lines_of(findings: Iterable[Finding]) -> bytes:
    """A line for each, in order, and none twice."""
    return "".join(f"{_line(each)}\n" for each in sorted(set(findings), key=key_of)).encode()


def _line(finding: Finding) -> str:
    kind = KINDS[finding.kind]
    level = "wrong" if kind.wrong else "note"
    return json.dumps({"level": level, **asdict(finding), "usually": kind.usually, "do": kind.do})


def part_of(findings: Iterable[Finding], own: Shelf) -> Part:
    """These findings, where who merges them can read them. Done again, it is the same file."""
    lines = lines_of(findings)
    if len(lines) <= FEW:
        return Part(lines)
    path = f"{own.staging}/findings/{hashlib.sha256(lines).hexdigest()}.jsonl"
    own.write(path, lines)
    return Part(path=path)


def merge(parts: Iterable[Part], checked: Checked, out: BinaryIO) -> None:
    """Write all of them in order, and what was checked."""
    small = heapq.merge(*(_keyed(part.lines.splitlines()) for part in parts if not part.path))
    with ExitStack() as opened:
        large = [
            _keyed(opened.enter_context(shelf.open_file(path)))
            for path in sorted({part.path for part in parts if part.path})
        ]
        before = None
        for key, line in heapq.merge(small, *large):
            if key != before:
                out.write(line + b"\n")
            before = key
    out.write(json.dumps({"checked": dict(checked.counts)}).encode() + b"\n")


def _keyed(lines: Iterable[bytes]) -> Iterator[tuple[Key, bytes]]:
    return ((key_of(_finding(json.loads(line))), line.rstrip(b"\n")) for line in lines)


def _finding(said: Mapping[str, Any]) -> Finding:
    return Finding(said["kind"], said["path"], said["wrong"], said["should"])


class Sorting(beam.DoFn):
    """Findings → parts of the report."""

    def __init__(self, own: Shelf) -> None:
        self.own = own

    def start_bundle(self) -> None:
        self.waiting: list[Finding] = []

    def process(self, finding: Finding) -> Iterator[Part]:
        self.waiting.append(finding)
        if len(self.waiting) == SORTED:
            yield part_of(self.waiting, self.own)
            self.waiting = []

    def finish_bundle(self) -> Iterator[Any]:
        if self.waiting:
            yield GlobalWindows.windowed_value(part_of(self.waiting, self.own))


_Report = tuple[beam.PCollection[Finding], beam.PCollection[Checked]]


@dataclass(eq=False, repr=False)
class WriteFindings(beam.PTransform[_Report, beam.PCollection[int]]):
    """(Findings, what was checked) → one file of JSON lines."""

    own: Shelf
    path: str

    def expand(self, inputs: _Report) -> beam.PCollection[int]:
        own, path = self.own, self.path

        def write(checked: Checked, parts: Iterable[Part]) -> int:
            with own.bench() as bench:
                file = bench / "report.jsonl"
                with file.open("wb") as out:
                    merge([*parts], checked, out)
                return own.publish(own.stage(file), path)

        findings, checked = inputs
        parts = findings | "Sort" >> beam.ParDo(Sorting(own)).with_output_types(Part)
        return checked | "Write" >> beam.Map(
            write, parts=beam.pvalue.AsIter(parts)
        ).with_output_types(int)


# ── read again ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Verified:
    """What a verification found: the first findings of each kind, and how many there are."""

    findings: tuple[Finding, ...]
    checked: Mapping[str, float]
    counts: Mapping[KindName, int] = field(default_factory=dict)

    @property
    def wrong(self) -> list[Finding]:
        return [each for each in self.findings if KINDS[each.kind].wrong]

    @property
    def notes(self) -> list[Finding]:
        return [each for each in self.findings if not KINDS[each.kind].wrong]

    @property
    def num_wrong(self) -> int:
        return sum(number for kind, number in self.counts.items() if KINDS[kind].wrong)


def read_report(lines: Iterable[bytes], most: int | None = None) -> Verified:
    """What such a file says; of each kind no more findings than asked for."""
    counts = Counter[KindName]()
    shown: dict[KindName, list[Finding]] = defaultdict(list)
    checked: Mapping[str, float] = {}
    for line in lines:
        said = json.loads(line)
        if "checked" in said:
            checked = said["checked"]
            continue
        finding = _finding(said)
        counts[finding.kind] += 1
        if most is None or counts[finding.kind] <= most:
            shown[finding.kind].append(finding)
    found = (finding for several in shown.values() for finding in several)
    return Verified(tuple(found), checked, counts)
