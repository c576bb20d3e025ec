"""Texts as lists of words, column by column: whatever is searched is compared word by word.

    "A dog's café, 2nd floor"  ─▶  " a  dog  s  cafe  2nd  floor "

Each word has a blank on both sides, so that a word is found by searching for a text, and Arrow does
all of it without Python. Letters are compared without case and accents. Where a script writes no
blanks (Chinese, Japanese), each character is a word.
"""

import json
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from finecut.io.held import source_held
from finecut.transforms.catalogue.columns import SCHEMA, texts

#: Texts of a clip itself, by the columns of the catalogue, as far as there are such.
OF_CLIP: Final = tuple(name for name in ("caption", "transcript") if name in SCHEMA.names)
#: Of its source video: its path, and what its metadata say.
OF_SOURCE: Final = ("video", "source")
#: How much a word counts that stands in what is said of the source: all clips of it have that.
SOURCE_WEIGHT: Final = 0.5
#: What may follow a part of a word, where others that begin with it are meant, too.
ANY_END: Final = "*"

_ACCENTS: Final = r"[\x{300}-\x{36f}]+"
_OWN_WORDS: Final = r"([\p{Han}\p{Hiragana}\p{Katakana}])"
_BETWEEN: Final = r"[^\p{L}\p{N}\p{M}]+"


class Term(NamedTuple):
    """A word that is searched for, or the beginning of one."""

    word: str
    begins: bool = False

    @property
    def needle(self) -> str:
        """What a text of words has as often as the term."""
        return f" {self.word}" if self.begins else f" {self.word} "


def as_words(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Each text as its words; without any it is empty.

    >>> as_words(pa.array(["A dog's Café!", "狗 in 東京", " … ", None])).to_pylist()
    [' a  dog  s  cafe ', ' 狗  in  東  京 ', '', '']
    """
    said = pc.fill_null(column, "")
    if isinstance(said, pa.ChunkedArray):
        said = said.combine_chunks()
    said = pc.utf8_lower(pc.utf8_normalize(said, form="NFKD"))
    said = pc.replace_substring_regex(said, pattern=_ACCENTS, replacement="")
    said = pc.replace_substring_regex(said, pattern=_OWN_WORDS, replacement=r" \1 ")
    said = pc.replace_substring_regex(said, pattern=_BETWEEN, replacement="  ")
    said = pc.utf8_trim(said, characters=" ")
    framed = pc.binary_join_element_wise(" ", said, " ", "")
    return pc.if_else(pc.equal(said, ""), "", framed)


def terms_of(query: str) -> tuple[Term, ...]:
    """The words of a query, each once, in order.

    >>> terms_of("Running dog*, running")
    (Term(word='running', begins=False), Term(word='dog', begins=True))
    """
    parts = query.split()
    found = []
    for part, words in zip(parts, as_words(texts(parts)).to_pylist(), strict=True):
        each = [Term(word) for word in words.split()]
        if each and part.rstrip(",.;").endswith(ANY_END):
            each[-1] = each[-1]._replace(begins=True)
        found += each
    return tuple(dict.fromkeys(found))


def lengths(words: pa.Array) -> pa.Array:
    """How many words each text has."""
    several = pc.add(pc.count_substring(words, pattern="  "), 1)
    return pc.if_else(pc.equal(words, ""), pa.scalar(0, several.type), several)


def texts_in(table: pa.Table, fields: Iterable[str]) -> dict[str, pa.Array]:
    """The words of each field of these rows."""
    return {name: _words_of(table[name], name) for name in fields}


def _words_of(column: pa.ChunkedArray, name: str) -> pa.Array:
    if name not in OF_SOURCE:
        return as_words(column)
    # The clips of a video all say the same.
    encoded = column.combine_chunks().dictionary_encode()
    different = encoded.dictionary
    if name == "source":
        different = texts(map(_told, different.to_pylist()))
    return pc.fill_null(as_words(different).take(encoded.indices), "")


def _told(metadata: str) -> str:
    """What is said of a source, without the names under which it is said."""
    try:
        held = source_held(json.loads(metadata))
    except ValueError:
        return metadata
    return " ".join(_flat(each) for each in held.values())


def _flat(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
