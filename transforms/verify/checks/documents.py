"""Documents that anybody may have left, and those that are no chunk's: of videos, of runs, of what
is being done, and of dedup.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import pyarrow as pa

from finecut.io.dataset.output import JSON
from finecut.io.layout import DEDUP, GROUPS, chunk_id, is_clip_id
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import BadDocument, parsed, usable_json
from finecut.io.storage.retry import pass_on_outlasted
from finecut.io.tables.drops import DUPLICATES
from finecut.io.tables.parquet import PARQUET, from_parquet, tables_in
from finecut.io.wording import count_of
from finecut.transforms.find.lists import read_failure
from finecut.transforms.resume.note import MOST_CHUNKS
from finecut.transforms.verify.checks.findings import (
    ANYTHING,
    Checked,
    Claim,
    Finding,
    KindName,
    Mention,
    Verifying,
    mentioned,
)
from finecut.transforms.verify.checks.shapes import VIDEO, Document, Shape, faults, is_count


def document_in(
    data: bytes,
    path: str,
    should: str,
    shapes: Mapping[str, Shape] | None = None,
    *,
    kind: KindName = "document-broken",
) -> tuple[Document, list[Finding]]:
    """The document that these bytes are (empty if they are none), and what is wrong with it."""
    try:
        document = parsed(data)
    except BadDocument as broken:
        return {}, [Finding(kind, path, str(broken), f"should be {should}")]
    return document, [Finding(kind, path, *fault) for fault in faults(document, shapes or {})]


def listed(value: Any) -> list[Any]:
    """The value if it is a list, and else none."""
    return value if isinstance(value, list) else []


@dataclass(frozen=True)
class Facts:
    """What a video's document, or that of one of its chunks, says of the video."""

    #: Nothing of a video that is worked on, and that may have no document yet.
    path: str
    #: Which chunk's it is; the video's own is no chunk's.
    chunk: int = -1
    video: str = ""
    #: ``None`` where the document cannot be understood.
    num_clips: int | None = None
    num_chunks: int | None = None


def check_video(path: str, verifying: Verifying) -> Iterator[Finding | Checked | tuple[str, Facts]]:
    """A video's document by itself, and what it says of its chunks, by the path of the video."""
    name = verifying.below(path)
    facts = Facts(name)
    data = shelf.read_if_there(path)
    if data is not None:  # it was listed a moment ago: somebody is at work
        document, wrong = document_in(data, name, "a document of a video", VIDEO)
        yield from wrong
        if not wrong:
            facts = Facts(
                name,
                video=document["video"],
                num_clips=document["num_total_clips"],
                num_chunks=document["num_clip_chunks"],
            )
            if document["duration"] is None and document["width"] is None:
                yield Finding(
                    "not-read", name, "has no information about the video", "it could not be read"
                )
    yield Checked({"documents": 1, "videos": 1})
    yield name.partition("/")[2].removesuffix(JSON), facts


def wrong_in_video(
    relative: str, facts: Iterable[Facts], verifying: Verifying
) -> Iterator[Finding]:
    """What the documents of one video, which lies there below the input, say of each other."""
    known = list(facts)
    chunks = sorted((each for each in known if each.chunk >= 0), key=lambda each: each.chunk)
    video = next((each for each in known if each.path and each.chunk < 0), None)
    if relative in verifying.open_videos:
        yield Finding(
            "unfinished",
            f"{verifying.below(verifying.layout.open_videos())}/{relative}{JSON}",
            "notes that a run is working on the video",
            "its clips are not checked",
        )
    elif video is None:
        yield Finding(
            "video-missing",
            f"{verifying.below(verifying.layout.processed_videos())}/{relative}{JSON}",
            "is missing",
            f"{chunks[0].path} is a chunk of that video",
        )
    elif video.num_chunks is not None:
        yield from _wrong_in_chunks(relative, video, chunks, verifying)


def _wrong_in_chunks(
    relative: str, video: Facts, chunks: list[Facts], verifying: Verifying
) -> Iterator[Finding]:
    yield from (
        Finding(
            "document-differs",
            each.path,
            f"is about {each.video!r}",
            f"should be about {video.video!r}, as {video.path} says",
        )
        for each in chunks
        if each.num_clips is not None and each.video != video.video
    )
    promised = f"{video.path} promises {count_of(video.num_chunks or 0, 'chunk')}"
    # A video without clips has its first chunk's document too, and needs no other.
    expected = range(max(1, video.num_chunks or 0))
    folder = verifying.below(verifying.layout.processed_clip_chunks())
    yield from (
        Finding("chunk-missing", f"{folder}/{relative}_{index}{JSON}", "is missing", promised)
        for index in {*expected} - {each.chunk for each in chunks}
    )
    yield from (
        Finding("orphan", each.path, "belongs to no video", promised)
        for each in chunks
        if each.chunk not in expected
    )
    numbers = [c.num_clips for c in chunks if c.chunk in expected and c.num_clips is not None]
    if len(numbers) == len(expected) and sum(numbers) != video.num_clips:
        yield Finding(
            "count",
            video.path,
            f"num_total_clips is {video.num_clips}",
            f"should be {sum(numbers)}: its chunks list that many",
        )


# ── what runs say of themselves ──────────────────────────────────────────────────────────────────

#: Sums in a run's summary, and what each is the sum of.
SUMS: Final = (
    ("videos", "found", ("done", "empty", "failed", "skipped")),
    ("clips", "planned", ("kept", "rejected", "failed")),
)


def check_failures(path: str, verifying: Verifying) -> Iterator[Finding | Checked]:
    """A list of failures: one on each line."""
    name = verifying.below(path)
    for number, line in enumerate(shelf.read(path).decode("utf-8", "replace").split("\n"), start=1):
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
    document, broken = document_in(
        shelf.read(path), name, "the summary of a run", kind="run-broken"
    )
    yield from broken
    if broken:
        return
    yield Checked({"runs": 1})
    for whole, key, parts in SUMS:
        numbers = document.get(whole)
        named = numbers if isinstance(numbers, dict) else {}
        counts: list[Any] = [named.get(each) for each in (key, *parts)]
        if not all(map(is_count, counts)):
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


def check_note(path: str, verifying: Verifying) -> Iterator[Claim | tuple[str, Facts]]:
    """Clips of a video that is worked on may lie about, old ones and new ones."""
    folder = verifying.layout.open_videos()
    if not path.startswith(f"{folder}/"):
        return
    note = usable_json(path) or {}
    chunks = note.get("chunks")
    clips = filter(is_clip_id, [*listed(note.get("old")), *listed(note.get("new"))])
    numbers = range(min(chunks, MOST_CHUNKS) if type(chunks) is int else 0)
    tables = (chunk_id(str(n), index) for n in listed(note.get("names")) for index in numbers)
    yield from (Claim(owner, path, (ANYTHING,)) for owner in chain(clips, tables))
    yield path[len(folder) + 1 :].removesuffix(JSON), Facts("")


# ── what finecut dedup wrote ─────────────────────────────────────────────────────────────────────

#: Columns of ids, of any of its tables.
IDS: Final = ("id", "max_id", "kept_id", "first", "second")
#: What the table of groups has to have.
NEEDED: Final = ("group", "id", "kept")
#: What reading a table may break with.
UNREADABLE: Final = (pa.ArrowException, OSError, ValueError, KeyError)

Columns = Mapping[str, Sequence[Any]]


def check_duplicates(
    path: str, verifying: Verifying
) -> Iterator[Finding | Checked | tuple[str, Mention]]:
    """One file of the folder; of the groups, also against the list of those that are to go."""
    name = verifying.below(path)
    if path.endswith(".json"):
        should = "the summary that finecut dedup wrote"
        yield from document_in(shelf.read(path), name, should, kind="duplicates-broken")[1]
    if not path.endswith(PARQUET):
        return
    try:
        columns = _columns(path)
    except UNREADABLE as error:
        pass_on_outlasted(error)
        yield Finding(
            "duplicates-broken",
            name,
            f"cannot be read ({str(error)[:200]})",
            "should be a table that names clips",
        )
        return
    yield Checked({"tables in dedup": 1})
    yield from mentioned({str(id) for key in IDS for id in columns.get(key, ())}, name)
    # One file, or a folder of some with whole groups in each.
    if name != f"{DEDUP}/{GROUPS}" and not name.startswith(f"{DEDUP}/{GROUPS}/"):
        return
    if missing := [key for key in NEEDED if key not in columns]:
        yield Finding(
            "duplicates-broken",
            name,
            f"has no column {', '.join(missing)}",
            "should have group, id, kept",
        )
    else:
        yield from _wrong_in_groups(name, columns)
    if not {"id", "kept"} & {*missing}:
        yield from _wrong_in_list(path, columns, verifying)


def _columns(path: str) -> Columns:
    """The columns that are checked, as far as the table has them."""
    table = from_parquet(shelf.read(path), partitioning=None)
    return {key: table.column(key).to_pylist() for key in {*IDS, *NEEDED} & {*table.column_names}}


def _wrong_in_groups(name: str, columns: Columns) -> Iterator[Finding]:
    """A clip is in one group, and goes for one that stays."""
    stay = {g for g, stays in zip(columns["group"], columns["kept"], strict=True) if stays}
    for wrong, should in (
        *(
            (f"lists {id} {number} times", "should be in one group, once")
            for id, number in Counter(columns["id"]).items()
            if number > 1
        ),
        *(
            (f"group {group} keeps none", "should keep at least one of its clips")
            for group in {*columns["group"]} - stay
        ),
        *(
            (f"{id} does not stay", "others are removed for it")
            for id in {*columns.get("kept_id", ())} - _those(columns, stay=True)
        ),
    ):
        yield Finding("duplicates-differ", name, wrong, should)


def _those(columns: Columns, stay: bool) -> set[str]:
    return {
        str(id)
        for id, kept in zip(columns["id"], columns["kept"], strict=True)
        if bool(kept) == stay
    }


def _wrong_in_list(path: str, columns: Columns, verifying: Verifying) -> Iterator[Finding]:
    """The list has all that do not stay; it may have others, of an earlier run."""
    folder = f"{path[: path.rindex(f'/{GROUPS}')]}/{DUPLICATES}"
    tables = tables_in(folder)
    try:
        ids = {str(id) for table in tables for id in _columns(table).get("id", ())}
    except UNREADABLE as error:
        pass_on_outlasted(error)
        return  # it is named when it is its turn
    for id in _those(columns, stay=False) - ids:
        yield Finding(
            "duplicates-differ",
            verifying.below(folder),
            f"does not list {id}",
            f"{verifying.below(path)} says that it is removed",
        )
