"""What runs say of themselves: lists of failures, summaries, and notes of what is being done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from finecut.io.dataset.output import JSON
from finecut.io.layout import chunk_id, is_clip_id
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import usable_json
from finecut.transforms.find.lists import read_failure
from finecut.transforms.resume.note import MOST_CHUNKS
from finecut.transforms.verify.checks.documents import Wanted, document_in
from finecut.transforms.verify.checks.findings import Checked, Finding
from finecut.transforms.verify.checks.orphans import ANYTHING, Claim
from finecut.transforms.verify.checks.shapes import is_count
from finecut.transforms.verify.checks.verifying import Verifying
from finecut.transforms.verify.checks.videos import NOTHING_KNOWN, VideoFacts

RUN: Final = Wanted("should be the summary of a run", kind="run-broken")
#: Sums in a run's summary, and what each is the sum of.
SUMS: Final = (
    ("videos", "found", ("done", "empty", "failed", "skipped")),
    ("clips", "planned", ("kept", "rejected", "failed")),
)


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
            yield Finding(
                "failures-broken",
                name,
                f"line {number} cannot be read: {str(error)[:120]}",
                "should be the record of a failure",
            )
        else:
            yield Checked({"failures": 1})


def check_run(path: str, verifying: Verifying) -> Iterator[Finding | Checked]:
    """What a run said of itself: whether its sums are sums."""
    if not path.endswith("/summary.json"):
        return
    name = verifying.below(path)
    document, broken = document_in(shelf.read(path), name, RUN)
    yield from broken
    if broken:
        return
    yield Checked({"runs": 1})
    for whole, key, parts in SUMS:
        numbers = document.get(whole)
        counts = _counts(numbers, (key, *parts))
        if counts is None:
            yield Finding(
                "run-broken",
                name,
                f"{whole} is {str(numbers)[:60]}",
                f"should be numbers of {', '.join((key, *parts))}",
            )
        elif counts[0] != sum(counts[1:]):
            yield Finding(
                "run-broken",
                name,
                f"{whole}: {key} is {counts[0]}",
                f"{' + '.join(parts)} is {sum(counts[1:])}",
            )


def _counts(numbers: Any, keys: tuple[str, ...]) -> list[int] | None:
    counts: list[Any] = [numbers.get(key) if isinstance(numbers, dict) else None for key in keys]
    return counts if all(map(is_count, counts)) else None


def check_note(path: str, verifying: Verifying) -> Iterator[Claim | tuple[str, VideoFacts]]:
    """Clips of a video that is worked on may lie about, old ones and new ones."""
    folder = verifying.layout.open_videos()
    if not path.startswith(f"{folder}/"):
        return
    note = usable_json(path) or {}
    for key in ("old", "new"):
        for id in filter(is_clip_id, _list(note.get(key))):
            yield Claim(id, path, (ANYTHING,))
    chunks = note.get("chunks")
    for name in _list(note.get("names")):
        for index in range(min(chunks, MOST_CHUNKS) if type(chunks) is int else 0):
            yield Claim(chunk_id(str(name), index), path, (ANYTHING,))
    yield path[len(folder) + 1 :].removesuffix(JSON), NOTHING_KNOWN


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
