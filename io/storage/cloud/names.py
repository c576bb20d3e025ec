"""What all object stores have in common in their names: globs, what they begin with, and kinds."""

import mimetypes
import re
from typing import NamedTuple

_PLAIN = re.compile(r"(?:[^*?\[]|\[[*?\[]\])*")


class Glob(NamedTuple):
    """The name in a pattern, as a listing is asked for it."""

    #: All names begin with this, without the brackets that make signs plain.
    prefix: str
    #: Whether what it names may lie in folders below the prefix's.
    deep: bool


def glob_of(name: str) -> Glob:
    """How to list what a glob names.

    >>> glob_of("films/[*]a*.mp4"), glob_of("films/**")
    (Glob(prefix='films/*a', deep=False), Glob(prefix='films/', deep=True))
    """
    plain = _PLAIN.match(name)
    fixed = plain[0] if plain else ""
    rest = name[len(fixed) :]
    return Glob(re.sub(r"\[([*?\[])\]", r"\1", fixed), "/" in rest or "**" in rest)


def translated(pattern: str) -> str:
    """A glob as a regular expression.

    >>> bool(re.fullmatch(translated("gs://b/f/**/[ab]*.mp4"), "gs://b/f/a.mp4"))
    True
    """
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[!?[^\]]+\])", pattern)
    return "(?s)" + "".join(_translated(part) for part in parts)


def _translated(part: str) -> str:
    signs = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    if part in signs:
        return signs[part]
    if part.startswith("[") and part.endswith("]"):
        inner = part[1:-1].replace("\\", "\\\\").replace("[", "\\[")
        return f"[^{inner[1:]}]" if inner.startswith("!") else f"[{inner}]"
    return re.escape(part)


def kind_of(uri: str) -> str:
    """So that a browser shows clips and previews out of the bucket."""
    if uri.endswith(".webp"):  # Python knows it from 3.13 on
        return "image/webp"
    return mimetypes.guess_type(uri)[0] or "application/octet-stream"
