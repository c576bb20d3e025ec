"""What runs say of themselves: lists of failures, summaries, and notes of what is being done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from finecut.io.layout import chunk_id
from finecut.io.storage import files as shelf
from finecut.transforms.find.lists import read_failure
from finecut.transforms.resume.note import MOST_CHUNKS
from finecut.transforms.verify.checks import findings as kinds
from finecut.transforms.verify.checks.chunks import ANYTHING, Claim
from finecut.transforms.verify.checks.findings import Checked, Finding
from finecut.transforms.verify.checks.shapes import Broken, is_count, is_id, parsed
from finecut.transforms.verify.checks.verifying import Verifying


def check_failures(path: str, verifying: Verifying) -> Iterator[Finding | Checked]:
    """A list of failures: one on each line."""
    name = verifying.below(path)
    lines = shelf.read(path).decode("utf-8", "replace").split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            read_failure(line)
        except ValueError as error:
            should = "should be the record of a failure"
            yield Finding(
                kinds.FAILURES_BROKEN, name, f"line {number} is none: {str(error)[:120]}", should
            )
        else:
            yield Checked({"failures": 1})


def check_run(path: str, verifying: Verifying) -> Iterator[Finding | Checked]:
    """What a run said of itself: whether its sums are sums."""
    name = verifying.below(path)
    try:
        document = parsed(shelf.read(path))
    except Broken as broken:
        yield Finding(kinds.RUN_BROKEN, name, str(broken), "should be the summary of a run")
        return
    yield Checked({"runs": 1})
    for whole, key, parts in (
        ("videos", "found", ("done", "empty", "failed", "skipped")),
        ("clips", "planned", ("kept", "rejected", "failed")),
    ):
        numbers = document.get(whole)
        counts = _counts(numbers, (key, *parts))
        if counts is None:
            should = f"should be numbers of {', '.join((key, *parts))}"
            yield Finding(kinds.RUN_BROKEN, name, f"{whole} is {str(numbers)[:60]}", should)
        elif counts[0] != sum(counts[1:]):
            should = f"{' + '.join(parts)} is {sum(counts[1:])}"
            yield Finding(kinds.RUN_BROKEN, name, f"{whole}: {key} is {counts[0]}", should)


def _counts(numbers: Any, keys: tuple[str, ...]) -> list[int] | None:
    if not isinstance(numbers, Mapping):
        return None
    counts: list[Any] = [numbers.get(key) for key in keys]
    return counts if all(map(is_count, counts)) else None


def check_note(path: str) -> Iterator[Claim]:
    """Clips of a video that is worked on may lie about, old ones and new ones."""
    data = shelf.read_if_there(path)
    try:
        said = parsed(data or b"{}")
    except Broken:
        return
    for key in ("old", "new"):
        ids = said.get(key)
        for id in ids if isinstance(ids, list) else ():
            if is_id(id):
                yield Claim(id, path, (ANYTHING,))
    names, chunks = said.get("names"), said.get("chunks")
    for name in names if isinstance(names, list) else ():
        for index in range(min(chunks, MOST_CHUNKS) if type(chunks) is int else 0):
            yield Claim(chunk_id(str(name), index), path, (ANYTHING,))
