"""Orphans: files of an output that no document lists.

    a chunk's document ──Claim(clip, paths)──┐
                                             ├─ by owner ─▶ what lies there and nobody claims
    a folder, listed ────There(clip, path)───┘

A file is named by its owner: a clip, or for tables a chunk. Owners are dealt to a number of
*shares*, each looked at as one, so that no worker has to know all clips.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from finecut.transforms.registry import ARTEFACTS
from finecut.transforms.verify.checks.findings import Finding

#: Hexadecimal digits of an owner's share: 4,096 of them.
DIGITS: Final = 3
#: Paths or ids that travel together.
TOGETHER: Final = 500
CLIPS: Final = ("clips", "filtered_clips")
#: Anything that lies there of this owner belongs to it.
ANYTHING: Final = "*"


@dataclass(frozen=True)
class Claim:
    """Files that belong to a clip or chunk (its owner), as a document says."""

    owner: str
    by: str
    paths: tuple[str, ...]


@dataclass(frozen=True)
class There:
    """Files that lie in an output."""

    paths: tuple[str, ...]


@dataclass(frozen=True)
class Mention:
    """Clips that a table speaks of, and that have to exist."""

    path: str
    ids: tuple[str, ...]


Entry = Claim | There | Mention


def share_of(owner: str) -> str:
    return hashlib.md5(owner.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()[
        :DIGITS
    ]


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
    return ((share, There(together)) for share, together in _by_share(owned))


def mentioned(ids: Iterable[str], path: str) -> Iterator[tuple[str, Mention]]:
    """Clips that a table speaks of, by their shares."""
    shares = _by_share((id, id) for id in ids)
    return ((share, Mention(path, together)) for share, together in shares)


def _by_share(owned: Iterable[tuple[str, str]]) -> Iterator[tuple[str, tuple[str, ...]]]:
    waiting: dict[str, list[str]] = defaultdict(list)
    for owner, item in owned:
        share = share_of(owner)
        waiting[share].append(item)
        if len(waiting[share]) == TOGETHER:
            yield share, tuple(waiting.pop(share))
    for share, together in waiting.items():
        yield share, tuple(together)


def wrong_with_owners(entries: Iterable[Entry]) -> Iterator[Finding]:
    """Files of one share of owners that nobody claims, and those that two claim."""
    claimed: dict[str, set[str]] = defaultdict(set)
    by: dict[str, set[str]] = defaultdict(set)
    there: list[str] = []
    mentions: list[Mention] = []
    for entry in entries:
        if isinstance(entry, There):
            there += entry.paths
        elif isinstance(entry, Mention):
            mentions.append(entry)
        else:
            claimed[entry.owner].update(entry.paths)
            if ANYTHING not in entry.paths:  # documents of what is worked on promise nothing
                by[entry.owner].add(entry.by)
    for owner in sorted(by):
        first, *others = sorted(by[owner])
        for other in others:
            yield Finding("listed-twice", other, f"lists {owner}", f"{first} lists it, too")
    for path in sorted(there):
        owner = owner_of(path) or ""
        paths = claimed.get(owner, set())
        if path not in paths and ANYTHING not in paths:
            yield _orphan(path, owner, paths)
    for mention in sorted(mentions, key=lambda each: each.path):
        for id in mention.ids:
            if id not in claimed:
                yield Finding(
                    "duplicates-differ",
                    mention.path,
                    f"names {id}",
                    "no chunk document lists that clip",
                )


def _orphan(path: str, owner: str, claimed: set[str]) -> Finding:
    if not claimed:
        return Finding("orphan", path, "belongs to no clip", "no document lists its clip")
    other = next((each for each in sorted(claimed) if each.partition("/")[0] in CLIPS), None)
    if other is not None and path.partition("/")[0] in CLIPS:
        return Finding("clip-twice", path, "is here", f"should be in {other} only")
    return Finding(
        "orphan", path, "belongs to no clip", f"the document of {owner} does not list it"
    )
