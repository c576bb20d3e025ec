"""The page that ``finecut report`` makes: its parts, as they are put together by :mod:`report`.

``index.html`` holds the places of things, ``page.css`` what they look like, and each script one
thing that the page can do. They share one object, ``finecut``, and what they are given is data:
texts become text nodes and nothing else (the page's policy forbids every other way).

    data.js      chunks of columns, asked for when they are needed
    columns.js   clips as columns of numbers, texts of those that are looked at, sources
    sorting.js   a million numbers in order at once
    packs.js     files that lie in archives
    media.js     posters, and what plays under the pointer
    lists.js     long lists and grids of which only what is seen exists
    charts.js    how a score is spread, and how many clips a threshold would keep
    timeline.js  a film as a line, with what became of each piece
    fields.js    what is known of source videos, and clips chosen by it
    marks.js     clips that somebody ticked, with tags and notes
    clips.js     the gallery: search, filters, order
    ticking.js   the boxes of clips, and what can be done with those that are ticked
    address.js   what is shown, in the page's address
    clip.js      one clip, large
    …            one for each of the other views; page.js begins
"""

import base64
import hashlib
import html
import re
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

from finecut.transforms.report.columns import plain_json

#: The page's parts, in the order in which they are put together.
STYLES = ("page.css",)
SCRIPTS = (
    "data.js",
    "columns.js",
    "sorting.js",
    "packs.js",
    "media.js",
    "lists.js",
    "charts.js",
    "timeline.js",
    "fields.js",
    "marks.js",
    "clips.js",
    "address.js",
    "clip.js",
    "ticking.js",
    "sources.js",
    "scores.js",
    "duplicates.js",
    "failures.js",
    "run.js",
    "page.js",
)

_HOLE = re.compile(r"\{\{(\w+)\}\}")


def page_text(facts: Mapping[str, Any]) -> str:
    """The page with all that it holds itself; what it may load stands in its policy."""

    def joined(names: Iterable[str]) -> str:
        return "".join(files(__name__).joinpath(name).read_text(encoding="utf-8") for name in names)

    style, code = joined(STYLES), joined(SCRIPTS)
    holes = {
        "title": html.escape(f"{facts['dataset']} · finecut"),
        "policy": html.escape(policy(style, code)),
        "style": style,
        "script": code,
        "facts": plain_json(facts),
    }
    return _HOLE.sub(lambda hole: holes[hole[1]], joined(["index.html"]))


def policy(style: str, code: str) -> str:
    """What the page may do: its own style and script, and files that lie beside it.

    ``'self'`` is the bucket it is read from, ``file:`` the disk, which has no other name, and
    ``blob:`` a part of an archive that lies there.
    """
    beside = "'self' file:"
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash(code)} {beside}",
            f"style-src {_hash(style)}",
            f"img-src {beside} blob:",
            f"media-src {beside} blob:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types finecut",
        )
    )


def policy_of_still(style: str) -> str:
    """What a page may do that has no script and nothing beside it."""
    return f"default-src 'none'; style-src {_hash(style)}; base-uri 'none'; form-action 'none'"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
