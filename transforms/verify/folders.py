"""The folders of an output: what is checked of their files, what runs left out of it, and orphans:
files that no document lists.

    a chunk's document ──Claim(clip, paths)──┐
                                             ├─ by owner ─▶ what lies there and nobody claims
    a folder, listed ────There(clip, path)───┘

A file is named by its owner: a clip, or for tables a chunk.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from finecut.io.dataset.output import CLIP, JSON
from finecut.io.layout import CATALOGUE, DEDUP, TABLES, VECTORS, Layout
from finecut.io.storage import files as shelf
from finecut.io.storage.fence import Fence
from finecut.io.storage.json_documents import usable_json
from finecut.io.storage.links import links_out_of
from finecut.io.storage.retry import pass_on_outlasted
from finecut.io.tables.shards import ShardFolder
from finecut.transforms.catalogue.buckets import LINES
from finecut.transforms.catalogue.compact import is_complete
from finecut.transforms.registry import ARTEFACTS
from finecut.transforms.verify.checks.catalogue import check_catalogue, wrong_with_rows
from finecut.transforms.verify.checks.chunks import check_chunk, unreadable
from finecut.transforms.verify.checks.documents import (
    check_duplicates,
    check_failures,
    check_note,
    check_run,
    check_video,
)
from finecut.transforms.verify.checks.findings import (
    ANYTHING,
    Claim,
    Entry,
    Finding,
    Mention,
    There,
    Verifying,
    by_share,
)
from finecut.transforms.verify.checks.forgotten import (
    known_in,
    left_in,
    roots_of_page,
    wrong_with_notes,
)
from finecut.transforms.verify.checks.shards import check_shard, shards_in

CLIPS: Final = ("clips", "filtered_clips")
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


def work_in(folder: Folder, verifying: Verifying) -> Iterator[Work | Finding | tuple[str, There]]:
    """What there is to check in a folder: single files, and files by their owners."""
    if folder.of_shards:
        names, found = shards_in(folder.path)
        yield from found
        yield from (Work(name, shards=folder.path) for name in names)
        return
    files = shelf.files_below(folder.path)
    if folder.name not in CHECKS and folder.name != PAGES:
        yield from dealt(map(verifying.below, files))
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
    yield from (Work(path, folder.name) for path in files)


def check_work(work: Work, verifying: Verifying) -> Iterator[Any]:
    """All that is to be said of one file, and of what it promises."""
    try:
        if work.shards:
            yield from check_shard(work.shards, work.path, verifying.forgotten)
        elif work.kind == PAGES:
            yield from left_in(work.path, verifying, roots_of_page(verifying.layout))
        else:
            yield from CHECKS[work.kind](work.path, verifying)
            if work.path != verifying.layout.forgetting():
                yield from left_in(work.path, verifying)
    except OSError as error:
        pass_on_outlasted(error)
        path = ShardFolder(work.shards).shard(work.path) if work.shards else work.path
        yield unreadable(path, error, verifying)


# ── what lies there ──────────────────────────────────────────────────────────────────────────────

#: Folders that are looked into, besides those of artefacts.
KNOWN: Final = {*CHECKS, *CLIPS, "metas"}
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
        **settings,
    )


def _left_out(runs: Sequence[dict[str, Any]], *names: str) -> bool:
    """Whether a run had one of these options; of an output that no run speaks of, nobody knows."""
    return not runs or any(run.get(name) for run in runs for name in names)


def _options_of_runs(layout: Layout) -> list[dict[str, Any]]:
    runs = (usable_json(f"{run}/{SUMMARY}") or {} for run in shelf.folders_in(layout.runs()))
    return [options for run in runs if isinstance(options := run.get("options"), dict)]


def _holds_clips(folder: str) -> bool:
    return any(shelf.some_file_in(p, CLIP) for p in (folder, *shelf.folders_in(folder)))


def _open_videos(layout: Layout) -> Iterator[str]:
    folder = layout.open_videos()
    paths = shelf.files_below(folder) if shelf.exists(folder) else ()
    return (path[len(folder) + 1 :].removesuffix(JSON) for path in paths)


def _note(layout: Layout, folder: str) -> dict[str, str]:
    """Whose vectors lie in a folder, as the output notes it."""
    note = usable_json(f"{layout.root}/.finecut/{folder}.json") or {}
    return {key: value for key, value in note.items() if isinstance(value, str)}


# ── orphans ──────────────────────────────────────────────────────────────────────────────────────


def owner_of(path: str) -> str | None:
    """The clip or chunk that a file is named by, if it is one that a chunk's document may list.

    >>> owner_of("clips/d2/d2d0.mp4"), owner_of("previews/d2d0/0_255.webp"), owner_of("runs/a/b")
    ('d2d0', 'd2d0', None)
    """
    folder, _, rest = path.partition("/")
    artefact = next((each for each in ARTEFACTS if each.lies_in(folder)), None)
    if artefact is not None and artefact.per == "window":
        return rest.partition("/")[0]
    if artefact is not None or folder in (*CLIPS, "metas"):
        return rest.rpartition("/")[2].rpartition(".")[0] or rest
    return None


def dealt(paths: Iterable[str]) -> Iterator[tuple[str, There]]:
    """Paths of files by the share of their owners, many at once."""
    owned = ((owner, path) for path in paths if (owner := owner_of(path)) is not None)
    return ((share, There(together)) for share, together in by_share(owned))


def wrong_with_owners(entries: Iterable[Entry]) -> Iterator[Finding]:
    """Files of one share of owners that nobody claims, and those that two claim."""
    claimed: dict[str, set[str]] = defaultdict(set)
    by: dict[str, set[str]] = defaultdict(set)
    known = list(entries)
    for claim in (each for each in known if isinstance(each, Claim)):
        claimed[claim.owner].update(claim.paths)
        if ANYTHING not in claim.paths:  # documents of what is worked on promise nothing
            by[claim.owner].add(claim.by)
    for owner, claiming in sorted(by.items()):
        first, *others = sorted(claiming)
        for other in others:
            yield Finding("listed-twice", other, f"lists {owner}", f"{first} lists it, too")
    for path in sorted(p for each in known if isinstance(each, There) for p in each.paths):
        owner = owner_of(path) or ""
        paths = claimed.get(owner, set())
        if path not in paths and ANYTHING not in paths:
            yield _orphan(path, owner, paths)
    yield from wrong_with_rows(known, claimed)
    yield from (
        Finding("duplicates-differ", each.path, f"names {id}", "no chunk document lists that clip")
        for each in known
        if isinstance(each, Mention)
        for id in each.ids
        if id not in claimed
    )


def _orphan(path: str, owner: str, claimed: set[str]) -> Finding:
    if not claimed:
        return Finding("orphan", path, "belongs to no clip", "no document lists it")
    other = next((each for each in sorted(claimed) if each.partition("/")[0] in CLIPS), None)
    if other is not None and path.partition("/")[0] in CLIPS:
        return Finding("clip-twice", path, "is here", f"should be in {other} only")
    return Finding(
        "orphan", path, "belongs to no clip", f"the document of {owner} does not list it"
    )
