"""Tombstones: which sources were taken back, known by digests alone.

``.finecut/forgotten.json`` has one for each source, with digests of

    path     its name without a protocol, as ids are made of it; also the place of its file, and
             that behind links
    version  the size of the file and when it was written, or its version in a store, where that
             tells it from other files
    placed   its path below the input, with the size of the file: the same film mounted elsewhere
    relative the path alone, by which a user may name it; no file is known by it

A digest is keyed with a salt that lies beside it. So it is no secret: whoever has the dataset can
try names. The salt makes that work for each dataset anew, and the digests of two datasets cannot be
compared.
"""

import hashlib
import hmac
import json
import posixpath
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final, Self

from finecut.io.errors import NOT_DONE, UserError
from finecut.io.layout import Layout
from finecut.io.records import CODING, Source
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import BadDocument, read_json
from finecut.io.storage.publishing import Shelf

PATH, VERSION, PLACED, RELATIVE = KINDS = ("path", "version", "placed", "relative")
#: Digits of a time in nanoseconds, and its whole seconds.
OF_NANOSECONDS, SECOND = 18, 10**9

Stone = Mapping[str, Any]


def plain(name: str) -> str:
    """A name without its protocol: files that have the same make the same ids.

    >>> plain("gs://films/a.mp4"), plain("/data//films/a.mp4")
    ('films/a.mp4', '/data/films/a.mp4')
    """
    _, scheme, rest = name.partition("://")
    return rest if scheme else posixpath.normpath(name) if name else ""


def size_in(version: str) -> str:
    """The size of a file, by its version; nothing where that does not say it."""
    size = version.partition(" ")[0]
    return size if size.isdigit() else ""


def is_telling(version: str) -> bool:
    """Whether only one file has this version, as far as can be told.

    Of files that were unpacked or copied without their times, many may have the same whole second.

    >>> is_telling("812 1700000000123456789"), is_telling("812 1700000000000000000"), is_telling("")
    (True, False, False)
    """
    size, _, rest = version.partition(" ")
    if not size.isdigit() or not rest:
        return False
    return len(rest) <= OF_NANOSECONDS or not rest.isdigit() or int(rest) % SECOND != 0


def facts_of(
    names: Iterable[str], relative: str = "", version: str = ""
) -> Iterator[tuple[str, str]]:
    """What a source is known by, each with its kind."""
    for name in names:
        yield from ((PATH, text) for text in {plain(name), plain(shelf.identity(name))} if text)
    if is_telling(version):
        yield VERSION, version
    if relative:
        yield RELATIVE, relative
    if relative and (size := size_in(version)):
        yield PLACED, f"{size} {relative}"


_SO: Final = (
    ", so it is unknown what must not come back. Usually the file was edited by hand, or a copy "
    "was cut short: restore it from a copy, or remove it, and forget the sources again"
)


class Illegible(UserError, ValueError):
    """Tombstones that cannot be read are no permission to bring anything back."""

    exit_code = NOT_DONE


@dataclass(frozen=True)
class Forgotten:
    """The tombstones of a dataset."""

    salt: str = ""
    stones: tuple[Stone, ...] = ()

    @classmethod
    def at(cls, layout: Layout) -> Self:
        """Those that lie there; :class:`Illegible` if nobody can say what they are."""
        path = layout.forgotten()
        try:
            said = read_json(path)
        except BadDocument as error:
            raise Illegible(f"{error}{_SO}") from error
        if said is None:
            return cls()
        salt, stones = said.get("salt"), said.get("forgotten")
        listed = isinstance(salt, str) and isinstance(stones, list)
        if not listed or not all(isinstance(each, dict) for each in stones or ()):
            raise Illegible(f"{path} lists nothing that was forgotten{_SO}")
        return cls(str(salt), tuple(stones or ()))

    def digest(self, kind: str, text: str) -> str:
        said = f"{kind}\0{text}".encode(*CODING)
        return hmac.new(self.salt.encode(), said, hashlib.sha256).hexdigest()

    @cached_property
    def _known(self) -> frozenset[tuple[str, str]]:
        return frozenset(each for stone in self.stones for each in _digests_on(stone))

    def knows(self, kind: str, text: str) -> bool:
        return bool(self.stones) and (kind, self.digest(kind, text)) in self._known

    def has(self, source: Source) -> bool:
        """Whether this source was forgotten, under this name or as the same file elsewhere."""
        facts = facts_of((source.name, source.uri), source.relative, source.version)
        return bool(self.stones) and any(
            self.knows(kind, text) for kind, text in facts if kind != RELATIVE
        )

    def has_name(self, name: str) -> bool:
        """Whether a source of this name was."""
        return self.knows(PATH, plain(name))

    def named(self, text: str) -> list[Stone]:
        """The tombstones that a user means: by a name, the place of a file, or a path below the
        input.
        """
        wanted = {(kind, self.digest(kind, each)) for kind, each in facts_of((text,), text)}
        return [
            stone
            for stone in self.stones
            if any(
                (kind, digest) in wanted for kind in KINDS for digest in _listed(stone.get(kind))
            )
        ]

    def stone(self, facts: Iterable[tuple[str, str]], **more: str) -> Stone:
        """A tombstone for what is known by these facts."""
        digests: dict[str, list[str]] = {}
        for kind, text in facts:
            digests.setdefault(kind, []).append(self.digest(kind, text))
        return {**{kind: sorted({*found}) for kind, found in digests.items()}, **more}


#: Where nobody took anything back.
NOTHING_FORGOTTEN: Final = Forgotten()


def _digests_on(stone: Stone) -> Iterator[tuple[str, str]]:
    return ((kind, digest) for kind in KINDS for digest in _listed(stone.get(kind)))


def _listed(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def salted(forgotten: Forgotten) -> Forgotten:
    """The same; with a salt, if it is the first of a dataset."""
    return forgotten if forgotten.salt else Forgotten(secrets.token_hex(16), forgotten.stones)


def write_forgotten(forgotten: Forgotten, layout: Layout, own: Shelf) -> None:
    """Write what was forgotten, or remove the file where that is nothing."""
    if not forgotten.stones:
        own.remove(layout.forgotten())
        return
    said = {"salt": forgotten.salt, "forgotten": [*forgotten.stones]}
    own.write(layout.forgotten(), json.dumps(said, indent=4).encode())


@lru_cache(maxsize=8)
def of_run(layout: Layout, _staging: str) -> Forgotten:
    """What was forgotten, read once in a run: nobody forgets while others write."""
    return Forgotten.at(layout)
