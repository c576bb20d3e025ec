"""Outputs among inputs: clips that finecut made are not cut again by accident.

An output may lie in a folder of films, and so may those of earlier runs. Each is known by marks
that nothing else makes, and what lies in its folders of clips is not found. To cut clips again,
name their folder (``dataset/clips``), or the clips themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Final

from finecut.io.errors import UserError
from finecut.io.layout import Layout
from finecut.io.storage import files as shelf
from finecut.transforms.beam.metrics import LOG

#: Folders of an output that hold films; ``previews/`` holds pictures.
OF_CLIPS: Final = ("clips", "filtered_clips", ".staging")
#: What an output has from its first video on, whichever was written first.
MARKS: Final = (".finecut", "metas/v0", "processed_clip_chunks")


class NotApart(UserError, ValueError):
    """An output that would be its own input; the message says what to write instead."""


def check_apart(inputs: Iterable[str], output: str) -> None:
    """Refuse an output that is one of these inputs, or whose clips are to be its films."""
    inputs = list(inputs)
    for folder in inputs:
        if _place(folder) == _place(output):
            raise NotApart(
                f"--output {output} is the folder of the source videos itself, so clips would "
                "end up among them: give a separate folder, such as --output "
                f"{output.rstrip('/')}-clips"
            )
    check_no_clips(inputs, output)


def check_no_clips(inputs: Iterable[str], output: str) -> None:
    """Refuse an output whose clips are to be its films."""
    layout = Layout(_place(output))
    own = (layout.clips(), layout.clips(kept=False), layout.staging())
    for folder in inputs:
        if is_below(f"{_place(folder)}/", own):
            raise NotApart(
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


def not_made(paths: Iterable[str], root: str) -> list[str]:
    """Those of the files below a folder that are no clips of an output in it; others are told."""
    known = cache(is_output)
    made: dict[str, int] = {}
    films: list[str] = []
    for path in paths:
        output = output_around(path, root, known)
        if output is None:
            films.append(path)
        else:
            made[output] = made.get(output, 0) + 1
    for output, number in made.items():
        LOG.error(
            "%s is an output of finecut, so its %d clips are not source videos of this run. To "
            "cut them again, give %s/clips as the input",
            output,
            number,
            output,
        )
    return films


def output_around(path: str, root: str, known: Callable[[str], bool]) -> str | None:
    """The output, at or below a folder, whose clip this file is, if it is one.

    >>> output_around("/in/x/out/clips/a.mp4", "/in", lambda folder: folder == "/in/x/out")
    '/in/x/out'
    >>> output_around("/in/clips/a.mp4", "/in", lambda folder: False)
    """
    root = root.rstrip("/")
    *folders, _ = path[len(root) + 1 :].split("/")
    for depth, name in enumerate(folders):
        folder = "/".join([root, *folders[:depth]])
        if name in OF_CLIPS and known(folder):
            return folder
    return None


def is_output(folder: str) -> bool:
    """Whether finecut, or a program that writes the same layout, has written there."""
    return any(shelf.exists(f"{folder}/{mark}") for mark in MARKS)
