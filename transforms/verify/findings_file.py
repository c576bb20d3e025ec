"""The findings of a verification as a file: JSON lines, the last of which says what was checked.

Findings come out of the pipeline as this one file, so it is the same on a cluster.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import apache_beam as beam

from finecut.io.storage.publishing import Shelf
from finecut.transforms.verify.checks.findings import KINDS, Checked, Finding


@dataclass(frozen=True)
class Verified:
    """What a verification found."""

    findings: tuple[Finding, ...]
    checked: Mapping[str, float]

    @property
    def wrong(self) -> list[Finding]:
        return [each for each in self.findings if KINDS[each.kind].wrong]

    @property
    def notes(self) -> list[Finding]:
        return [each for each in self.findings if not KINDS[each.kind].wrong]


_Report = tuple[beam.PCollection[Finding], beam.PCollection[Checked]]


class WriteFindings(beam.PTransform[_Report, beam.PCollection[int]]):
    """(Findings, what was checked) → one file of JSON lines."""

    def __init__(self, own: Shelf, path: str) -> None:
        super().__init__()
        self.own, self.path = own, path

    def expand(self, inputs: _Report) -> beam.PCollection[int]:
        own, path = self.own, self.path

        def write(checked: Checked, findings: Iterable[Finding]) -> int:
            return own.write(path, report_of(findings, checked))

        findings, checked = inputs
        return checked | "Write" >> beam.Map(
            write, findings=beam.pvalue.AsIter(findings)
        ).with_output_types(int)


def report_of(findings: Iterable[Finding], checked: Checked) -> bytes:
    """JSON lines: a finding on each, and at last what was checked."""
    order = {name: place for place, name in enumerate(KINDS)}
    ordered = sorted(set(findings), key=lambda f: (order[f.kind], f.path, f.wrong, f.should))
    lines = [_line(finding) for finding in ordered]
    lines.append(json.dumps({"checked": dict(checked.counts)}))
    return "".join(f"{line}\n" for line in lines).encode()


def _line(finding: Finding) -> str:
    kind = KINDS[finding.kind]
    level = "wrong" if kind.wrong else "note"
    line = {"level": level, **asdict(finding), "usually": kind.usually, "do": kind.do}
    return json.dumps(line)


def read_report(data: bytes) -> Verified:
    """What :func:`report_of` wrote down."""
    *lines, last = [json.loads(line) for line in data.decode().splitlines()]
    keys = ("kind", "path", "wrong", "should")
    return Verified(
        tuple(Finding(**{key: line[key] for key in keys}) for line in lines), last["checked"]
    )
