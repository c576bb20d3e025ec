"""Verifying: an output is read again, and what is wrong with it is said.

    folders ─▶ List ─┬─ chunks' documents ─▶ check_chunk ─┬─ findings, what was checked ───────┐
                     ├─ videos' documents ─▶ video_facts ─┤                                    │
                     ├─ failures, runs, notes ────────────┤                                    ├─▶
                     │                                    ├─ facts ─ by video ─▶ wrong_in_video│
                     │                                    ├─ claims ┐                          │
                     └─ files ────────────────────────────┼─────────┴ by owner ─▶ orphans      │
                                                          └─ tables ─ by folder ─▶ one model ──┘

The unit of work is a chunk, as it was when the output was made. Nothing is written but findings.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from finecut.io.dataset.output import JSON
from finecut.io.layout import Layout
from finecut.io.records import CODING
from finecut.io.storage import files as shelf
from finecut.io.storage.fence import Fence
from finecut.io.tables.shards import ShardFolder
from finecut.transforms.beam.metrics import count
from finecut.transforms.resume.videos import read_document
from finecut.transforms.verify.checks import findings as kinds
from finecut.transforms.verify.checks.books import (
    ChunkFacts,
    VideoFacts,
    video_facts,
    wrong_in_video,
)
from finecut.transforms.verify.checks.chunks import Claim, check_chunk, named, unreadable
from finecut.transforms.verify.checks.duplicates import FOLDER as DEDUP
from finecut.transforms.verify.checks.duplicates import SUMMARY, check_duplicates
from finecut.transforms.verify.checks.findings import KINDS, Checked, Finding, together
from finecut.transforms.verify.checks.lists import check_failures, check_note, check_run
from finecut.transforms.verify.checks.orphans import (
    Entry,
    Mention,
    There,
    dealt,
    share_of,
    wrong_with_owners,
)
from finecut.transforms.verify.checks.shards import check_shard, shards_in
from finecut.transforms.verify.checks.vectors import Signed
from finecut.transforms.verify.checks.verifying import TABLES, VECTORS, Verifying

CHECKED: Final = "checked"
CLAIMS: Final = "claims"
FACTS: Final = "facts"
SIGNED: Final = "signed"
FILES: Final = "files"
FINDINGS: Final = "findings"

#: Counters, for who watches.
LOOKED_AT, TO_CHECK, WRONG = "verify/items", "clips to check", "things wrong"

#: Folders of an output, and the kind of work that each of their files is.
CHUNK, VIDEO, FAILURES, RUN, NOTE = "chunk", "video", "failures", "run", "note"
DUPLICATES, SHARD = "duplicates", "shard"
WORK: Final = {
    "processed_clip_chunks": CHUNK,
    "processed_videos": VIDEO,
    "failures": FAILURES,
    "runs": RUN,
    ".finecut": NOTE,
    DEDUP: DUPLICATES,
}
OPEN: Final = ".finecut/open/"

#: By a name in bytes: names of files are not always good text, and keys have to be.
Facts = tuple[bytes, ChunkFacts | VideoFacts]
Owned = tuple[str, Entry]


@dataclass(frozen=True)
class Folder:
    """A folder to be looked into: one of the output, or one of shards."""

    path: str
    of_shards: bool = False


@dataclass(frozen=True)
class Work:
    """A file to be checked."""

    kind: str
    path: str
    #: The folder of a shard.
    folder: str = ""


def work_in(folder: Folder, verifying: Verifying) -> Iterator[Work | Finding | tuple[str, There]]:
    """What there is to check in a folder: single files, and files by their owners."""
    if folder.of_shards:
        names, found = shards_in(folder.path)
        yield from found
        yield from (Work(SHARD, name, folder.path) for name in names)
        return
    files = shelf.files_below(folder.path)
    kind = WORK.get(verifying.below(f"{folder.path}/").partition("/")[0])
    if kind is None:
        yield from dealt(map(verifying.below, files))
        return
    if kind == DUPLICATES and not shelf.exists(f"{folder.path}/{SUMMARY}"):
        name = verifying.below(f"{folder.path}/{SUMMARY}")
        yield Finding(kinds.UNFINISHED, name, "is missing", "is written last by finecut dedup")
        return
    for run in shelf.folders_in(folder.path) if kind == RUN else ():
        if f"{run}/{SUMMARY}" in shelf.folders_in(run):
            name = verifying.below(f"{run}/{SUMMARY}")
            yield Finding(kinds.RUN_BROKEN, name, "is a folder", "should be the summary of a run")
    for path in files:
        if kind != NOTE or verifying.below(path).startswith(OPEN):
            yield Work(kind, path)


def check_work(work: Work, verifying: Verifying) -> Iterator[Any]:
    """All that is to be said of one file, and of what it promises."""
    try:
        yield from _checked(work, verifying)
    except OSError as error:
        path = ShardFolder(work.folder).shard(work.path) if work.folder else work.path
        yield unreadable(path, error, verifying)


def _checked(work: Work, verifying: Verifying) -> Iterator[Any]:
    if work.kind == CHUNK:
        yield from _by_video(check_chunk(work.path, verifying), verifying)
    elif work.kind == VIDEO:
        facts, found = video_facts(work.path, verifying)
        yield from found
        yield Checked({"documents": 1, "videos": 1})
        yield relative_of(facts.path), facts
    elif work.kind == FAILURES:
        yield from check_failures(work.path, verifying)
    elif work.kind == RUN and work.path.endswith("/summary.json"):
        yield from check_run(work.path, verifying)
    elif work.kind == DUPLICATES:
        yield from check_duplicates(work.path, verifying)
    elif work.kind == SHARD:
        yield from check_shard(work.folder, work.path)
    elif work.kind == NOTE:
        yield from check_note(work.path)
        yield verifying.below(work.path)[len(OPEN) : -len(JSON)], NOTHING_KNOWN


#: Of a video that is worked on, and that may have no document yet.
NOTHING_KNOWN: Final = VideoFacts("", None, None)


def _by_video(outcomes: Iterable[Any], verifying: Verifying) -> Iterator[Any]:
    folder = verifying.below(verifying.layout.processed_clip_chunks()) + "/"
    for outcome in outcomes:
        if isinstance(outcome, ChunkFacts):
            which = named(outcome.path.removeprefix(folder))
            assert which is not None
            yield which[0], outcome
        else:
            yield outcome


def relative_of(path: str) -> str:
    """The video's path below the input, by the path of its document."""
    return path.partition("/")[2].removesuffix(JSON)


def wrong_in_group(
    group: tuple[str, Iterable[ChunkFacts | VideoFacts]], verifying: Verifying
) -> Iterator[Finding]:
    """What the documents of one video say of each other."""
    relative, facts = group
    known = [*facts]
    videos = [each for each in known if isinstance(each, VideoFacts) and each.path]
    chunks = [each for each in known if isinstance(each, ChunkFacts)]
    yield from wrong_in_video(relative, videos[0] if videos else None, chunks, verifying)


def wrong_in_folder(folder: str, said: dict[str, tuple[int, str]]) -> Iterator[Finding]:
    """Tables of one folder that differ from most of the others in whose vectors they hold.

    ``said``: how many tables say so, and the path of the first.
    """
    usual = max(sorted(said), key=lambda each: said[each][0])
    for other in sorted(said):
        if other != usual:
            number, path = said[other]
            more = f" (and {number - 1} more tables)" if number > 1 else ""
            should = f"{said[usual][0]} tables of {folder}_parquet/ have {usual}"
            yield Finding(kinds.MODEL, path, f"has {other}{more}", should)


# ── the transform ────────────────────────────────────────────────────────────────────────────────


class VerifyOutput(beam.PTransform[beam.PCollection[Folder], Any]):
    """Folders of an output → ``findings``, and what was ``checked``, as one record."""

    def __init__(self, verifying: Verifying) -> None:
        super().__init__()
        self.verifying = verifying

    def expand(self, folders: beam.PCollection[Folder]) -> Any:
        verifying = self.verifying
        listed = folders | "List" >> beam.ParDo(_List(verifying)).with_outputs(
            FILES, FINDINGS, main="work"
        )
        checked = (
            listed.work
            | "Deal" >> beam.Reshuffle()
            | "Check"
            >> beam.ParDo(_Check(verifying)).with_outputs(
                CHECKED, CLAIMS, FACTS, SIGNED, main=FINDINGS
            )
        )
        videos = (
            checked[FACTS]
            | "By video" >> beam.GroupByKey()
            | "Check videos" >> beam.FlatMap(_wrong_in_group, verifying).with_output_types(Finding)
        )
        orphans = (
            (listed[FILES], checked[CLAIMS])
            | "Files and claims" >> beam.Flatten()
            | "By owner" >> beam.GroupByKey()
            | "Find orphans" >> beam.FlatMap(_wrong_with_share).with_output_types(Finding)
        )
        models = checked[SIGNED] | FindOtherModels(verifying)
        parts = [listed[FINDINGS], checked.findings, videos, orphans, models]
        findings = parts | "Findings" >> beam.Flatten()
        total = checked[CHECKED] | "Add up" >> beam.CombineGlobally(_add)
        return {FINDINGS: findings, CHECKED: total}


class FindOtherModels(beam.PTransform[beam.PCollection[Signed], beam.PCollection[Finding]]):
    """What tables say of their vectors → findings, where no note says what is right."""

    def __init__(self, verifying: Verifying) -> None:
        super().__init__()
        self.verifying = verifying

    def expand(self, signed: beam.PCollection[Signed]) -> beam.PCollection[Finding]:
        without_note = signed | "Without note" >> beam.Filter(
            lambda each: each.folder not in self.verifying.notes
        )
        return (
            without_note
            | "By signature"
            >> beam.Map(lambda each: ((each.folder, each.said), (1, each.path))).with_output_types(
                tuple[tuple[str, str], tuple[int, str]]
            )
            | "Count tables" >> beam.CombinePerKey(_count_tables)
            | "By folder"
            >> beam.MapTuple(lambda key, value: (key[0], (key[1], value))).with_output_types(
                tuple[str, tuple[str, tuple[int, str]]]
            )
            | "Signatures" >> beam.GroupByKey()
            | "Compare"
            >> beam.FlatMapTuple(
                lambda folder, said: wrong_in_folder(folder, dict(said))
            ).with_output_types(Finding)
        )


class _List(beam.DoFn):
    """A folder → its files, as work or by their owners."""

    def __init__(self, verifying: Verifying) -> None:
        super().__init__()
        self.verifying = verifying

    def process(
        self, folder: Folder
    ) -> Iterable[
        Work | TaggedOutput[Literal["files"], Owned] | TaggedOutput[Literal["findings"], Finding]
    ]:
        clips = holds_clips(folder, self.verifying)
        for each in work_in(folder, self.verifying):
            if clips and isinstance(each, tuple):
                count(TO_CHECK, len(each[1].paths))
            yield _sorted_in(each)


class _Check(beam.DoFn):
    """A file → findings about it and what it promises, and what others have to know."""

    def __init__(self, verifying: Verifying) -> None:
        super().__init__()
        self.verifying = verifying

    def process(
        self, work: Work
    ) -> Iterable[
        Finding
        | TaggedOutput[Literal["checked"], Checked]
        | TaggedOutput[Literal["claims"], Owned]
        | TaggedOutput[Literal["facts"], Facts]
        | TaggedOutput[Literal["signed"], Signed]
    ]:
        for outcome in check_work(work, self.verifying):
            yield _sorted_out(outcome)


def _sorted_in(each: Work | Finding | tuple[str, There]) -> Any:
    if isinstance(each, Work):
        return each
    return TaggedOutput(FINDINGS if isinstance(each, Finding) else FILES, each)


def _sorted_out(outcome: Any) -> Any:
    if isinstance(outcome, Finding):
        if KINDS[outcome.kind].wrong:
            count(WRONG)
        return outcome
    if isinstance(outcome, Checked):
        count(LOOKED_AT, int(outcome.counts.get("clip documents", 0)))
        return TaggedOutput(CHECKED, outcome)
    if isinstance(outcome, Claim):
        return TaggedOutput(CLAIMS, (share_of(outcome.owner), outcome))
    if isinstance(outcome, Signed):
        return TaggedOutput(SIGNED, outcome)
    if isinstance(outcome[1], Mention):
        return TaggedOutput(CLAIMS, outcome)
    relative, facts = outcome
    return TaggedOutput(FACTS, (relative.encode(*CODING), facts))


def _wrong_in_group(
    group: tuple[bytes, Iterable[ChunkFacts | VideoFacts]], verifying: Verifying
) -> Iterator[Finding]:
    return wrong_in_group((group[0].decode(*CODING), group[1]), verifying)


def _wrong_with_share(group: tuple[str, Iterable[Entry]]) -> Iterator[Finding]:
    return wrong_with_owners(group[1])


def _add(several: Iterable[Checked]) -> Checked:
    return together(list(several))


def _count_tables(several: Iterable[tuple[int, str]]) -> tuple[int, str]:
    counted = list(several)
    return sum(number for number, _ in counted), min((path for _, path in counted), default="")


# ── what lies there ──────────────────────────────────────────────────────────────────────────────

#: Folders that are looked into, besides those of vectors.
KNOWN: Final = {*WORK, "clips", "filtered_clips", "metas", "previews"}
#: Folders of others in an output: what runs stage, and pages to look at.
STAGING, PAGES = ".staging", "report"


def folders_of(layout: Layout) -> tuple[list[Folder], list[Finding]]:
    """The folders of an output that are looked into, and what is known of the others."""
    folders: list[Folder] = []
    notes: list[Finding] = []
    for path in shelf.folders_in(layout.root):
        name = path.rsplit("/", 1)[-1]
        if name in KNOWN or name.endswith((VECTORS, TABLES)):
            folders.append(Folder(path))
        elif name == STAGING:
            notes += _leftovers(path)
        elif name != PAGES:
            wrong = "is a folder of something else"
            notes.append(Finding(kinds.NOT_LOOKED_AT, f"{name}/", wrong, "is not looked into"))
    return folders, notes


def links_out(fence: Fence) -> list[Finding]:
    """Links that lead out of the folders that are looked into."""
    should = "should be a file or a folder of its own"
    return [
        Finding(kinds.LEADS_OUTSIDE, path.removeprefix(f"{fence.roots[0]}/"), wrong, should)
        for root in fence.roots
        for path, target in shelf.links_out_of(root)
        for wrong in [f"is a link to {target}, outside of {root}"]
    ]


def _leftovers(staging: str) -> Iterator[Finding]:
    for path in shelf.folders_in(staging):
        run = path.rsplit("/", 1)[-1]
        wrong = "is the staging folder of a run"
        yield Finding(kinds.LEFTOVER, f"{STAGING}/{run}/", wrong, "goes when the run ends")


def verifying_of(layout: Layout, folders: Sequence[Folder], **settings: Any) -> Verifying:
    """What every check is told of an output."""
    names = {folder.path.rsplit("/", 1)[-1] for folder in folders}
    vectors = {name.removesuffix("_parquet") for name in names if name.endswith((VECTORS, TABLES))}
    runs = _options_of_runs(layout)
    metas = shelf.some_file_in(layout.metas(), JSON) is not None
    clips = any(_holds_files(layout.clips(kept)) for kept in (True, False))
    return Verifying(
        layout,
        # What no run was told to leave out has to be there, even if all of it is missing.
        has_metas=metas or not _left_out(runs, "dry_run"),
        has_clips=clips or not _left_out(runs, "dry_run", "no_upload_clips"),
        has_previews="previews" in names,
        open_videos=frozenset(_open_videos(layout)),
        vectors=tuple(sorted(vectors)),
        notes={folder: note for folder in sorted(vectors) if (note := _note(layout, folder))},
        **settings,
    )


def _left_out(runs: Sequence[dict[str, Any]], *names: str) -> bool:
    """Whether a run was told so; of an output that no run speaks of, nobody knows."""
    return not runs or any(run.get(name) for run in runs for name in names)


def _options_of_runs(layout: Layout) -> list[dict[str, Any]]:
    found = []
    for folder in shelf.folders_in(f"{layout.root}/runs"):
        document = read_document(f"{folder}/summary.json") or {}
        options = document.get("options")
        if isinstance(options, dict):
            found.append(options)
    return found


def _holds_files(folder: str) -> bool:
    if shelf.some_file_in(folder, ".mp4") is not None:
        return True
    return any(shelf.some_file_in(each, ".mp4") is not None for each in shelf.folders_in(folder))


def _open_videos(layout: Layout) -> Iterator[str]:
    folder = layout.open_videos()
    if shelf.exists(folder):
        for path in shelf.files_below(folder):
            yield path[len(folder) + 1 :].removesuffix(JSON)


def _note(layout: Layout, folder: str) -> dict[str, str]:
    """Whose vectors lie in a folder, as the output notes it."""
    said = read_document(f"{layout.root}/.finecut/{folder}.json") or {}
    return {key: value for key, value in said.items() if isinstance(value, str)}


def holds_clips(folder: Folder, verifying: Verifying) -> bool:
    """Whether as many files lie there as clips are to be checked."""
    return verifying.below(f"{folder.path}/") == "metas/"
