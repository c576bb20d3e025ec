"""Python files that a model brings along: run only when that was permitted, and as they were read.

They run with all rights, so they are taken only from the model's own folder, and from the hub only
at a commit that somebody named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from finecut.transforms.models.weights.missing import CodeRefused, read_json
from finecut.transforms.models.weights.naming import CONFIG, Located

_CLASS = re.compile(r"([A-Za-z_]\w*)\.[A-Za-z_]\w*")


def remote_code(located: Located, allowed: bool) -> bool:
    """Whether this model is loaded with Python files of its own, which must then be permitted.

    Only files that lie in the model's own folder are run, and from the hub only those of a commit
    that somebody named: otherwise what runs tomorrow is not what was looked at today.
    """
    classes = list(_own_classes(located.path))
    if not classes:
        return False
    what = f"the model {located.name!r} in {located.path}"
    if not allowed:
        raise CodeRefused(not_permitted(located.name, f"{located.path}, for example {classes[0]}"))
    if located.unpinned:
        raise CodeRefused(no_commit(located.name, str(located.path)))
    for one in classes:
        if "--" in one:
            raise CodeRefused(
                f"{what} takes its code from another repository, {one.partition('--')[0]}, "
                "without naming a commit, so the code may change at any time. Copy the Python "
                f"files of that repository into the folder and let {CONFIG} name them without "
                "the repository."
            )
        match = _CLASS.fullmatch(one)
        if match is None or not (located.path / f"{match[1]}.py").is_file():
            file = "its Python file" if match is None else f"{match[1]}.py"
            raise CodeRefused(
                f"{what} needs the class {one} from its own code, but {file} is missing. "
                "Usually only the weights were downloaded or copied: download its Python files, "
                "too."
            )
    return True


def not_permitted(name: str, where: str) -> str:
    """Why a model's own code is not run."""
    return (
        f"the model {name!r} comes with its own Python code ({where}), which runs with all your "
        "rights: it can read, send and delete whatever you can. If you trust its publisher, add "
        "--trust-remote-code."
    )


def no_commit(name: str, where: str) -> str:
    """Why code that may be another tomorrow is not run."""
    return (
        f"the model {name!r} ({where}) comes with its own Python code but was requested without "
        "a commit, so its owner could run other code here tomorrow. Give the commit that you "
        f"checked, {name}@COMMIT, or give the folder that contains {name} as --model-dir."
    )


def _own_classes(folder: Path) -> Iterator[str]:
    """The classes that a model's configuration names beyond those of its library."""
    # Also the processors': whichever of them is loaded, it is found by a file of this kind.
    for path in sorted(folder.glob("*config.json")):
        yield from _mapped(read_json(path))


def _mapped(value: Any, inside: bool = False) -> Iterator[str]:
    """What every ``auto_map`` points at; parts of a model have configurations of their own."""
    if isinstance(value, str) and inside:
        yield value
    elif isinstance(value, list):
        for inner in value:
            yield from _mapped(inner, inside)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _mapped(inner, inside or key == "auto_map")
