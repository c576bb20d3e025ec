"""The folders of an output: what is checked of their files, and what runs left out of it.

a folder ─┬─ Work, Work, …    files to be checked one by one
          └─ Piece, Piece, …  files that belong to clips and chunks: listed in parts
"""

import secrets
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from finecut.io.dataset.output import CLIP, JSON, Output
from finecut.io.layout import CATALOGUE, DEDUP, PACKS, TABLES, VECTORS, Layout, embedding_folder
from finecut.io.storage import files as shelf
from finecut.io.storage.fence import Fence
from finecut.io.storage.json_documents import usable_json
from finecut.io.storage.links import links_out_of
from finecut.io.storage.parts import begins_with_folder, divides, files_within, parts
from finecut.io.storage.retry import pass_on_outlasted
from finecut.io.storage.stores import ALL, Span
from finecut.io.tables.parquet import PARQUET
from finecut.io.tables.shards import TAR, ShardFolder
from finecut.transforms.beam.metrics import count
from finecut.transforms.catalogue.buckets import LINES, MOST_CHUNKS, Files, failed_path
from finecut.transforms.catalogue.compact import is_complete
from finecut.transforms.registry import ARTEFACTS
from finecut.transforms.verify.checks.catalogue import Newer, check_catalogue, newer_than
from finecut.transforms.verify.checks.chunks import check_chunk, unreadable
from finecut.transforms.verify.checks.documents import (
    check_duplicates,
    check_failures,
    check_note,
    check_run,
    check_video,
)
from finecut.transforms.verify.checks.findings import Claim, Entry, Finding, Verifying, share_of
from finecut.transforms.verify.checks.forgotten import (
    known_in,
    left_in,
    roots_of_page,
    wrong_with_notes,
)
from finecut.transforms.verify.checks.owned import owned_in_chunk
from finecut.transforms.verify.checks.packs import check_archive
from finecut.transforms.verify.checks.shards import check_shard, shards_in
from finecut.transforms.verify.owners import CLIPS, METAS, owner_of

#: A counter that progress shows.
TO_CHECK: Final = "clips to check"
#: Written last, by runs and by dedup.
SUMMARY: Final = "summary.json"


def _check_own(path: str, verifying: Verifying) -> Iterator[Any]:
    """What is written down for the next run: notes, and rows that wait for being compacted."""
    yield from (check_catalogue if path.endswith(LINES) else check_note)(path, verifying)


#: Folders of an output, and what checks each of their files.
CHECKS: Final[Mapping[str, Callable[[str, Verifying], Iterator[Any]]]] = {
    "processed_clip_chunks": check_chunk,
    "processed_videos": check_video,
    "failures": check_failures,
    "runs": check_run,
    ".finecut": _check_own,
    DEDUP: check_duplicates,
    CATALOGUE: check_catalogue,
    PACKS: check_archive,
}


@dataclass(frozen=True)
class Folder:
    """A folder to be looked into: one of the output, or one of shards."""

    path: str
    of_shards: bool = False

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Work:
    """A file to be checked: of an output by the name of its folder, or a shard by its own name."""

    path: str
    kind: str = ""
    shards: str = ""
    #: Of a file of the catalogue: what others say instead of it.
    newer: Newer | None = None


@dataclass(frozen=True)
class Piece:
    """A part of what lies in a folder whose files belong to clips and chunks."""

    path: str
    span: Span = ALL

    @property
    def is_of_documents(self) -> bool:
        return self.path.endswith(f"/{METAS}")


def work_in(folder: Folder, verifying: Verifying) -> Iterator[Work | Finding | Piece]:
    """What there is to check in a folder."""
    if folder.of_shards:
        names, found = shards_in(folder.path)
        yield from found
        yield from (Work(name, shards=folder.path) for name in names)
        return
    if folder.name not in CHECKS and folder.name != PAGES:
        beginning = "v0/" if folder.name == METAS else ""
        digits = verifying.digits
        # From a disk all names are read for each part, so only what lies deeper is shared.
        if begins_with_folder(f"{folder.path}/{beginning}"):
            digits = max(1, digits)
        yield from (Piece(folder.path, span) for span in parts(digits, beginning))
        return
    if folder.name == CATALOGUE:
        yield from _files_of_catalogue(folder, verifying)
        return
    if folder.name == DEDUP and not shelf.exists(f"{folder.path}/{SUMMARY}"):
        yield Finding(
            "unfinished",
            verifying.below(f"{folder.path}/{SUMMARY}"),
            "is missing",
            "is written last by finecut dedup",
        )
        return
    yield from (
        Finding(
            "run-broken",
            verifying.below(f"{run}/{SUMMARY}"),
            "is a folder",
            "should be the summary of a run",
        )
        for run in (shelf.folders_in(folder.path) if folder.name == "runs" else ())
        if f"{run}/{SUMMARY}" in shelf.folders_in(run)
    )
    yield from (Work(path, folder.name) for path in files_within(folder.path, ALL))


def _files_of_catalogue(folder: Folder, verifying: Verifying) -> Iterator[Work]:
    files = Files.of(verifying.layout)
    large = {*files.large.values()}
    # So that somebody knows how much there is before all folders are listed.
    count(TO_CHECK, sum(map(_num_rows, large)) if verifying.has_catalogue else 0)
    for path in files_within(folder.path, ALL):
        newer = newer_than(path, files)
        yield Work(path, folder.name, newer=newer)


def _num_rows(path: str) -> int:
    try:
        with shelf.open_file(path) as file:
            return int(pq.ParquetFile(file).metadata.num_rows)
    except (pa.ArrowException, OSError) as error:
        pass_on_outlasted(error)
        return 0  # it is named when it is its turn


def files_of(piece: Piece, verifying: Verifying) -> Iterator[tuple[str, str]]:
    """The owners of the files of a piece, and the files' paths below the output."""
    for path in map(verifying.below, files_within(piece.path, piece.span)):
        if (owner := owner_of(path)) is not None:
            yield owner, path


def check_work(work: Work, verifying: Verifying) -> Iterator[Any]:
    """All that is to be said of one file, and of what it promises."""
    try:
        if work.shards:
            yield from check_shard(work.shards, work.path, verifying.forgotten)
        elif work.kind == PAGES:
            yield from left_in(work.path, verifying, roots_of_page(verifying.layout))
        else:
            check = CHECKS[work.kind]
            if work.newer is not None:
                check = partial(check_catalogue, newer=work.newer)
            yield from check(work.path, verifying)
            if work.kind != PACKS and work.path != verifying.layout.forgetting():
                yield from left_in(work.path, verifying)
    except OSError as error:
        pass_on_outlasted(error)
        path = ShardFolder(work.shards).shard(work.path) if work.shards else work.path
        yield unreadable(path, error, verifying)


#: Files that say whose clips, files and rows there are.
SPEAKING: Final = ("processed_clip_chunks", ".finecut", DEDUP, CATALOGUE)


def owned_in(
    work: Work, verifying: Verifying, shares: Container[str]
) -> Iterator[tuple[str, Entry]]:
    """What a file says of the owners of these shares, again."""
    if work.shards or work.kind not in SPEAKING:
        return
    if work.kind == "processed_clip_chunks":
        said: Iterator[Any] = owned_in_chunk(work.path, verifying, shares)
    else:
        said = check_work(work, verifying)
    try:
        for outcome in said:
            owned = (share_of(outcome.owner), outcome) if isinstance(outcome, Claim) else outcome
            if isinstance(owned, tuple) and owned[0] in shares and isinstance(owned[1], Entry):
                yield owned
    except OSError as error:
        pass_on_outlasted(error)  # of anything else it was said already


# ── what lies there ──────────────────────────────────────────────────────────────────────────────

#: Folders that are looked into, besides those of artefacts.
KNOWN: Final = {*CHECKS, *CLIPS, METAS}
#: Folders of others in an output: what runs stage, and pages to look at.
STAGING, PAGES = ".staging", "report"


def folders_of(layout: Layout) -> tuple[list[Folder], list[Finding]]:
    """The folders of an output that are looked into, and what is known of the others."""
    folders: list[Folder] = []
    notes: list[Finding] = [*wrong_with_notes(layout)]
    for folder in map(Folder, shelf.folders_in(layout.root)):
        if folder.name in KNOWN or any(each.lies_in(folder.name) for each in ARTEFACTS):
            folders.append(folder)
        elif folder.name == STAGING:
            notes += [
                Finding(
                    "leftover",
                    f"{STAGING}/{run.name}/",
                    "is the staging folder of a run",
                    "is removed when the run ends",
                )
                for run in map(Folder, shelf.folders_in(folder.path))
            ]
        elif folder.name == PAGES:
            folders += [folder] if shelf.exists(layout.forgotten()) else []
        else:
            notes.append(
                Finding(
                    "not-looked-at",
                    f"{folder.name}/",
                    "is a folder with other content",
                    "is not checked",
                )
            )
    return folders, notes


def links_out(fence: Fence) -> list[Finding]:
    """Links that lead out of the folders that are looked into."""
    return [
        Finding(
            "leads-outside",
            path.removeprefix(f"{fence.roots[0]}/"),
            f"is a link to {target}, outside of {root}",
            "should be a file or a folder of its own",
        )
        for root in fence.roots
        for path, target in links_out_of(root)
    ]


def verifying_of(layout: Layout, folders: Sequence[Folder], **settings: Any) -> Verifying:
    """What every check needs to know of an output."""
    names = {folder.name for folder in folders}
    vectors = sorted(
        {
            name.removesuffix("_parquet")
            for name in names
            if VECTORS.lies_in(name) or TABLES.lies_in(name)
        }
    )
    runs = _options_of_runs(layout)
    if layout.packed:
        vectors = [*map(embedding_folder, Output(layout).algorithms())]
        has_metas, has_clips = (
            shelf.some_file_in(layout.packs(), ending) is not None for ending in (PARQUET, TAR)
        )
    else:
        has_metas = shelf.some_file_in(layout.metas(), JSON) is not None
        has_clips = any(_holds_clips(layout.clips(kept)) for kept in (True, False))
    return Verifying(
        layout,
        # What no run left out has to be there, even if all of it is missing.
        has_metas=has_metas or not _left_out(runs, "dry_run"),
        has_clips=has_clips or not _left_out(runs, "dry_run", "no_upload_clips"),
        folders=frozenset(names),
        has_catalogue=is_complete(layout),
        open_videos=frozenset(_open_videos(layout)),
        vectors=tuple(vectors),
        notes={folder: note for folder in vectors if (note := _note(layout, folder))},
        forgotten=known_in(layout),
        digits=_digits(layout),
        secret=secrets.token_bytes(16),
        names_clips=DEDUP in names or shelf.exists(failed_path(layout)),
        **settings,
    )


#: Files that one worker lists, about.
TOGETHER: Final = 50_000
#: Rows of the catalogue for each chunk.
USUAL_CHUNK: Final = 20


def _digits(layout: Layout) -> int:
    """In how many parts folders are listed; in one, where all names are read for each part."""
    if not divides(layout.root):
        return 0
    files = Files.of(layout)
    rows = USUAL_CHUNK * (MOST_CHUNKS * len(files.large) + len(files.loose))
    return next(digits for digits in range(8) if TOGETHER * 16**digits >= rows)


def _left_out(runs: Sequence[dict[str, Any]], *names: str) -> bool:
    """Whether a run had one of these options; of an output that no run speaks of, nobody knows."""
    return not runs or any(run.get(name) for run in runs for name in names)


def _options_of_runs(layout: Layout) -> list[dict[str, Any]]:
    runs = (usable_json(f"{run}/{SUMMARY}") or {} for run in shelf.folders_in(layout.runs()))
    return [options for run in runs if isinstance(options := run.get("options"), dict)]


def _holds_clips(folder: str) -> bool:
    # In a folder that has clips itself there may be millions, and none is asked for twice.
    if shelf.some_file_in(folder, CLIP):
        return True
    return any(shelf.some_file_in(p, CLIP) for p in shelf.folders_in(folder))


def _open_videos(layout: Layout) -> Iterator[str]:
    folder = layout.open_videos()
    paths = shelf.files_below(folder) if shelf.exists(folder) else ()
    return (path[len(folder) + 1 :].removesuffix(JSON) for path in paths)


def _note(layout: Layout, folder: str) -> dict[str, str]:
    """Whose vectors lie in a folder, as the output notes it."""
    note = usable_json(f"{layout.root}/.finecut/{folder}.json") or {}
    return {key: value for key, value in note.items() if isinstance(value, str)}
