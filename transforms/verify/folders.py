"""The folders of an output: what is checked of their files, and what runs left out of it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from finecut.io.dataset.output import CLIP, JSON
from finecut.io.layout import DEDUP, PREVIEWS, TABLES, VECTORS, Layout
from finecut.io.storage import files as shelf
from finecut.io.storage.fence import Fence
from finecut.io.storage.json_documents import usable_json
from finecut.io.tables.shards import ShardFolder
from finecut.transforms.registry import ARTEFACTS
from finecut.transforms.verify.checks.chunks import check_chunk, unreadable
from finecut.transforms.verify.checks.documents import (
    check_duplicates,
    check_failures,
    check_note,
    check_run,
    check_video,
)
from finecut.transforms.verify.checks.findings import Finding, Verifying
from finecut.transforms.verify.checks.orphans import There, dealt
from finecut.transforms.verify.checks.shards import check_shard, shards_in

#: Written last, by runs and by dedup.
SUMMARY: Final = "summary.json"

#: Folders of an output, and what checks each of their files.
CHECKS: Final[Mapping[str, Callable[[str, Verifying], Iterator[Any]]]] = {
    "processed_clip_chunks": check_chunk,
    "processed_videos": check_video,
    "failures": check_failures,
    "runs": check_run,
    ".finecut": check_note,
    DEDUP: check_duplicates,
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
    if folder.name not in CHECKS:
        yield from dealt(map(verifying.below, files))
        return
    summary = f"{folder.path}/{SUMMARY}"
    if folder.name == DEDUP and not shelf.exists(summary):
        yield Finding(
            "unfinished",
            verifying.below(summary),
            "is missing",
            "is written last by finecut dedup",
        )
        return
    for run in shelf.folders_in(folder.path) if folder.name == "runs" else ():
        if f"{run}/{SUMMARY}" in shelf.folders_in(run):
            yield Finding(
                "run-broken",
                verifying.below(f"{run}/{SUMMARY}"),
                "is a folder",
                "should be the summary of a run",
            )
    yield from (Work(path, folder.name) for path in files)


def check_work(work: Work, verifying: Verifying) -> Iterator[Any]:
    """All that is to be said of one file, and of what it promises."""
    try:
        if work.shards:
            yield from check_shard(work.shards, work.path)
        else:
            yield from CHECKS[work.kind](work.path, verifying)
    except OSError as error:
        path = ShardFolder(work.shards).shard(work.path) if work.shards else work.path
        yield unreadable(path, error, verifying)


# ── what lies there ──────────────────────────────────────────────────────────────────────────────

#: Folders that are looked into, besides those of artefacts.
KNOWN: Final = {*CHECKS, "clips", "filtered_clips", "metas"}
#: Folders of others in an output: what runs stage, and pages to look at.
STAGING, PAGES = ".staging", "report"


def folders_of(layout: Layout) -> tuple[list[Folder], list[Finding]]:
    """The folders of an output that are looked into, and what is known of the others."""
    folders: list[Folder] = []
    notes: list[Finding] = []
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
        elif folder.name != PAGES:
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
        for path, target in shelf.links_out_of(root)
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
        has_previews=PREVIEWS.folder in names,
        folders=frozenset(names),
        open_videos=frozenset(_open_videos(layout)),
        vectors=tuple(vectors),
        notes={folder: note for folder in vectors if (note := _note(layout, folder))},
        **settings,
    )


def _left_out(runs: Sequence[dict[str, Any]], *names: str) -> bool:
    """Whether a run had one of these options; of an output that no run speaks of, nobody knows."""
    return not runs or any(run.get(name) for run in runs for name in names)


def _options_of_runs(layout: Layout) -> list[dict[str, Any]]:
    summaries = (f"{folder}/{SUMMARY}" for folder in shelf.folders_in(layout.runs()))
    found = [(usable_json(path) or {}).get("options") for path in summaries]
    return [options for options in found if isinstance(options, dict)]


def _holds_clips(folder: str) -> bool:
    return any(shelf.some_file_in(p, CLIP) for p in (folder, *shelf.folders_in(folder)))


def _open_videos(layout: Layout) -> Iterator[str]:
    folder = layout.open_videos()
    for path in shelf.files_below(folder) if shelf.exists(folder) else ():
        yield path[len(folder) + 1 :].removesuffix(JSON)


def _note(layout: Layout, folder: str) -> dict[str, str]:
    """Whose vectors lie in a folder, as the output notes it."""
    note = usable_json(f"{layout.root}/.finecut/{folder}.json") or {}
    return {key: value for key, value in note.items() if isinstance(value, str)}
