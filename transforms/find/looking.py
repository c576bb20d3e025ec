"""Looking: what lies below the inputs at one moment, for who looks again and again.

A look is one listing of each input, with sizes, versions and times; nothing is asked of a single
object. An input that cannot be listed is trouble, and never an empty one.
"""

import errno
import glob
import os
from collections.abc import Iterable

from finecut.io.records import Source
from finecut.io.storage import files as shelf
from finecut.io.storage.stores import Found
from finecut.io.storage.web.urls import is_archive
from finecut.transforms.find.inputs import (
    VIDEO_EXTENSIONS,
    Finding,
    common_root,
    each_once,
    is_video,
    readable,
    source_below,
)
from finecut.transforms.find.lists import LIST_EXTENSIONS, InputError
from finecut.transforms.find.own_outputs import fixed_part, not_in, not_made
from finecut.transforms.find.watching import Looked, held_back


def look(finding: Finding, told: set[str] | None = None) -> Looked:
    """The videos of all inputs, each once. Outputs that are ``told`` of are not told of again."""
    roots: list[str] = []
    found: dict[str, Found] = {}
    held: set[str] = set()
    for spec in map(shelf.absolute, finding.inputs):
        is_glob = glob.has_magic(spec) and not shelf.exists(spec)
        roots.append(root := fixed_part(spec) if is_glob else spec)
        if is_glob and not shelf.is_remote(root) and not shelf.exists(root):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), root)
        here = shelf.found_matching(spec) if is_glob else shelf.found_below(spec)
        files = {one.uri: one for one in here}
        videos = not_made(not_in(finding.without, filter(is_video, files)), root, told)
        found |= {path: files[path] for path in videos}
        held |= held_back(files)
    return Looked(common_root(roots), {path: found[path] for path in each_once(found)}, held)


def named(path: str, root: str, finding: Finding) -> Source:
    """The source of a video that was found below this root."""
    return source_below(readable(path), readable(root), finding)


def check_watchable(inputs: Iterable[str]) -> None:
    """Refuse inputs in which no new video can appear."""
    for spec in inputs:
        path = shelf.absolute(spec)
        if is_archive(path):
            raise InputError(
                f"--watch looks for new videos, and --input {spec} names archives: curate archives "
                "in a run without --watch"
            )
        is_file = path.lower().endswith((*VIDEO_EXTENSIONS, *LIST_EXTENSIONS))
        if is_file and not glob.has_magic(path) and not shelf.is_folder(path):
            raise InputError(
                f"--watch looks for new videos in folders, and --input {spec} names "
                f"{'one video' if is_video(path) else 'a list'}: give the folder that contains "
                "the videos, or a glob in quotes"
            )
