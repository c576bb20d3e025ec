"""The files of an output as work: what is checked of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from finecut.io.layout import DEDUP
from finecut.io.storage import files as shelf
from finecut.io.tables.shards import ShardFolder
from finecut.transforms.verify.checks import findings as kinds
from finecut.transforms.verify.checks.chunks import check_chunk, unreadable
from finecut.transforms.verify.checks.duplicates import check_duplicates
from finecut.transforms.verify.checks.findings import Finding
from finecut.transforms.verify.checks.lists import check_failures, check_note, check_run
from finecut.transforms.verify.checks.orphans import There, dealt
from finecut.transforms.verify.checks.shards import check_shard, shards_in
from finecut.transforms.verify.checks.verifying import Verifying
from finecut.transforms.verify.checks.videos import check_video

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
            kinds.UNFINISHED,
            verifying.below(summary),
            "is missing",
            "is written last by finecut dedup",
        )
        return
    for run in shelf.folders_in(folder.path) if folder.name == "runs" else ():
        if f"{run}/{SUMMARY}" in shelf.folders_in(run):
            yield Finding(
                kinds.RUN_BROKEN,
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
