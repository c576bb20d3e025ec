"""What lies in an output: which folders are looked into, and what runs left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from finecut.io.dataset.output import CLIP, JSON
from finecut.io.layout import TABLES, VECTORS, Layout
from finecut.io.storage import files as shelf
from finecut.io.storage.fence import Fence
from finecut.transforms.resume.videos import read_document
from finecut.transforms.verify.checks import findings as kinds
from finecut.transforms.verify.checks.findings import Finding
from finecut.transforms.verify.checks.verifying import Verifying
from finecut.transforms.verify.work import CHECKS, SUMMARY, Folder

#: Folders that are looked into, besides those of vectors.
KNOWN: Final = {*CHECKS, "clips", "filtered_clips", "metas", "previews"}
#: Folders of others in an output: what runs stage, and pages to look at.
STAGING, PAGES = ".staging", "report"


def folders_of(layout: Layout) -> tuple[list[Folder], list[Finding]]:
    """The folders of an output that are looked into, and what is known of the others."""
    folders: list[Folder] = []
    notes: list[Finding] = []
    for folder in map(Folder, shelf.folders_in(layout.root)):
        if folder.name in KNOWN or folder.name.endswith((VECTORS, TABLES)):
            folders.append(folder)
        elif folder.name == STAGING:
            notes += (_leftover(Folder(run)) for run in shelf.folders_in(folder.path))
        elif folder.name != PAGES:
            notes.append(
                Finding(
                    kinds.NOT_LOOKED_AT,
                    f"{folder.name}/",
                    "is a folder of something else",
                    "is not looked into",
                )
            )
    return folders, notes


def _leftover(run: Folder) -> Finding:
    return Finding(
        kinds.LEFTOVER,
        f"{STAGING}/{run.name}/",
        "is the staging folder of a run",
        "goes when the run ends",
    )


def links_out(fence: Fence) -> list[Finding]:
    """Links that lead out of the folders that are looked into."""
    return [
        Finding(
            kinds.LEADS_OUTSIDE,
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
        {name.removesuffix("_parquet") for name in names if name.endswith((VECTORS, TABLES))}
    )
    notes = {folder: _note(layout, folder) for folder in vectors}
    runs = _options_of_runs(layout)
    metas = shelf.some_file_in(layout.metas(), JSON) is not None
    clips = any(_holds_clips(layout.clips(kept)) for kept in (True, False))
    return Verifying(
        layout,
        # What no run left out has to be there, even if all of it is missing.
        has_metas=metas or not _left_out(runs, "dry_run"),
        has_clips=clips or not _left_out(runs, "dry_run", "no_upload_clips"),
        has_previews="previews" in names,
        open_videos=frozenset(_open_videos(layout)),
        vectors=tuple(vectors),
        notes={folder: note for folder, note in notes.items() if note},
        **settings,
    )


def _left_out(runs: Sequence[dict[str, Any]], *names: str) -> bool:
    """Whether a run had one of these options; of an output that no run speaks of, nobody knows."""
    return not runs or any(run.get(name) for run in runs for name in names)


def _options_of_runs(layout: Layout) -> list[dict[str, Any]]:
    summaries = (f"{folder}/{SUMMARY}" for folder in shelf.folders_in(layout.runs()))
    found = [(read_document(path) or {}).get("options") for path in summaries]
    return [options for options in found if isinstance(options, dict)]


def _holds_clips(folder: str) -> bool:
    return any(shelf.some_file_in(p, CLIP) for p in (folder, *shelf.folders_in(folder)))


def _open_videos(layout: Layout) -> Iterator[str]:
    folder = layout.open_videos()
    for path in shelf.files_below(folder) if shelf.exists(folder) else ():
        yield path[len(folder) + 1 :].removesuffix(JSON)


def _note(layout: Layout, folder: str) -> dict[str, str]:
    """Whose vectors lie in a folder, as the output notes it."""
    note = read_document(f"{layout.root}/.finecut/{folder}.json") or {}
    return {key: value for key, value in note.items() if isinstance(value, str)}
