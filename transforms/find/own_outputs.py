"""Outputs of finecut among the inputs: clips that it made are not cut again by accident."""

import glob
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Final

from finecut.io.layout import PACKS, Layout
from finecut.io.storage import files as shelf
from finecut.transforms.beam.metrics import LOG
from finecut.transforms.find.lists import InputError

#: Folders of an output that hold films; ``previews/`` holds pictures.
OF_CLIPS: Final = ("clips", "filtered_clips", PACKS, ".staging")
#: What an output has from its first video on, whichever was written first.
MARKS: Final = (".finecut", "metas/v0", "processed_clip_chunks")


def check_apart(inputs: Iterable[str], output: str) -> None:
    """Refuse an output that is one of these inputs, or whose clips are to be its films."""
    place = _place(output)
    layout = Layout(place)
    own = (layout.clips(), layout.clips(kept=False), layout.packs(), layout.staging())
    for spec in inputs:
        folder = fixed_part(spec)
        if _place(folder) == place and not glob.has_magic(spec):
            raise InputError(
                f"--output {output} is the folder of the source videos itself, so clips would "
                "end up among them: give a separate folder, such as --output "
                f"{output.rstrip('/')}-clips"
            )
        if is_below(f"{_place(folder)}/", own):
            raise InputError(
                f"--input {folder} contains clips of --output {output}: to cut them again, give "
                "another --output"
            )


def _place(path: str) -> str:
    return shelf.identity(shelf.absolute(path))


def is_below(path: str, folders: Sequence[str]) -> bool:
    return any(path.startswith(f"{folder}/") for folder in folders)


def not_in(folders: Sequence[str], paths: Iterable[str]) -> Iterator[str]:
    """The paths that lie in none of these folders, by whichever links these are reached."""
    real = [shelf.identity(folder) for folder in folders]
    place = cache(shelf.identity)
    for path in paths:
        folder, _, name = path.rpartition("/")
        if not is_below(f"{place(folder)}/{name}", real):
            yield path


def not_made(paths: Iterable[str], root: str, told: set[str] | None = None) -> list[str]:
    """Those of the files below a folder that are no clips of an output in it; others are told,
    unless they were ``told`` already.
    """
    told = set() if told is None else told
    known = cache(is_output)
    outputs = {path: output_around(path, root, known) for path in paths}
    for output, number in Counter(filter(None, outputs.values())).items():
        if output in told:
            continue
        told.add(output)
        LOG.error(
            "%s is a dataset written by finecut, so its %d clips were not used as source videos. "
            "To cut the kept ones again, use --input %s/clips",
            output,
            number,
            output,
        )
    return [path for path, output in outputs.items() if output is None]


def output_around(path: str, root: str, known: Callable[[str], bool]) -> str | None:
    """The output, at or below a folder, whose clip this file is, if it is one.

    >>> output_around("/in/x/out/clips/a.mp4", "/in", lambda folder: folder == "/in/x/out")
    '/in/x/out'
    >>> output_around("/in/clips/a.mp4", "/in", lambda folder: False)
    """
    root = root.rstrip("/")
    *folders, _ = path[len(root) + 1 :].split("/")
    depths = (depth for depth, name in enumerate(folders) if name in OF_CLIPS)
    return next(filter(known, ("/".join([root, *folders[:depth]]) for depth in depths)), None)


def is_output(folder: str) -> bool:
    """Whether finecut, or a program that writes the same layout, has written there."""
    return any(shelf.exists(f"{folder}/{mark}") for mark in MARKS)


def fixed_part(pattern: str) -> str:
    """The folder in which a glob looks; what is no glob is that itself."""
    parts = pattern.split("/")
    magic = next((n for n, part in enumerate(parts) if glob.has_magic(part)), None)
    return pattern if magic is None else "/".join(parts[:magic]) or "/"
