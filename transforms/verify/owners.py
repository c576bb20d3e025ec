"""Whose a file is, and what is wrong with the files and rows of clips: they are missing in one of
the places that speak of them, or of nobody.

    a chunk's document ──Claim(clip, paths)──┐
                                             ├─ by owner ─▶ what lies there and nobody claims
    a folder, listed ────There(clip, path)───┘

A file is named by its owner: a clip, or for tables a chunk.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from finecut.transforms.registry import ARTEFACTS
from finecut.transforms.verify.checks.catalogue import wrong_with_rows
from finecut.transforms.verify.checks.findings import (
    ANYTHING,
    Claim,
    Entry,
    Finding,
    Mention,
    There,
    by_share,
)

CLIPS: Final = ("clips", "filtered_clips")
#: The folder with as many files as there are clips to check.
METAS: Final = "metas"


def owner_of(path: str) -> str | None:
    """The clip or chunk that a file is named by, if it is one that a chunk's document may list.

    >>> owner_of("clips/d2/d2d0.mp4"), owner_of("previews/d2d0/0_255.webp"), owner_of("runs/a/b")
    ('d2d0', 'd2d0', None)
    """
    folder, _, rest = path.partition("/")
    artefact = next((each for each in ARTEFACTS if each.lies_in(folder)), None)
    if artefact is not None and artefact.per == "window":
        return rest.partition("/")[0]
    if artefact is not None or folder in (*CLIPS, METAS):
        return rest.rpartition("/")[2].rpartition(".")[0] or rest
    return None


def dealt(owned: Iterable[tuple[str, str]]) -> Iterator[tuple[str, There]]:
    """Paths of files, with their owners, by the share of these, many at once."""
    return ((share, There(together)) for share, together in by_share(owned))


def wrong_with_owners(entries: Iterable[Entry]) -> Iterator[Finding]:
    """Files of one share of owners that nobody claims, and those that two claim."""
    claimed: dict[str, set[str]] = defaultdict(set)
    by: dict[str, set[str]] = defaultdict(set)
    known = list(entries)
    for claim in (each for each in known if isinstance(each, Claim)):
        claimed[claim.owner].update(claim.paths)
        if ANYTHING not in claim.paths:  # documents of what is worked on promise nothing
            by[claim.owner].add(claim.by)
    for owner, claiming in sorted(by.items()):
        first, *others = sorted(claiming)
        for other in others:
            yield Finding("listed-twice", other, f"lists {owner}", f"{first} lists it, too")
    for path in sorted(p for each in known if isinstance(each, There) for p in each.paths):
        owner = owner_of(path) or ""
        paths = claimed.get(owner, set())
        if path not in paths and ANYTHING not in paths:
            yield _orphan(path, owner, paths)
    yield from wrong_with_rows(known, claimed)
    yield from (
        Finding("duplicates-differ", each.path, f"names {id}", "no chunk document lists that clip")
        for each in known
        if isinstance(each, Mention)
        for id in each.ids
        if id not in claimed
    )


def _orphan(path: str, owner: str, claimed: set[str]) -> Finding:
    if not claimed:
        return Finding("orphan", path, "belongs to no clip", "no document lists it")
    other = next((each for each in sorted(claimed) if each.partition("/")[0] in CLIPS), None)
    if other is not None and path.partition("/")[0] in CLIPS:
        return Finding("clip-twice", path, "is here", f"should be in {other} only")
    return Finding(
        "orphan", path, "belongs to no clip", f"the document of {owner} does not list it"
    )
