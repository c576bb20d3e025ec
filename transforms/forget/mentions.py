"""Mentions: where a text, a document or a path speaks of a source that is taken back.

A source is spoken of by its name, by the place of its file, by its path below the input (as
documents are named), and by the ids of its clips and chunks. Names are looked for as a whole:
``films/a.mp4`` is no part of ``more films/a.mp4``, nor of ``films/a.mp4.mp4``.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

#: What stands in place of a name.
GONE: Final = "(forgotten)"
#: What ids of clips and chunks look like.
ID: Final = re.compile(r"(?<![0-9a-f])[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}(?![0-9a-f])")
#: Names of documents follow on the names of videos; then a name has to end.
_END: Final = r"(?:_\d+)?(?:\.jsonl?)?(?![\w/-])(?!\.\w)"
#: A path begins a text, stands in quotation marks, or behind the folder of documents.
_BEFORE: Final = (
    r"(?:^|(?<=['\"`(\n])|(?<=processed_videos/)|(?<=processed_clip_chunks/)"
    r"|(?<=\.finecut/open/)|(?<=\.finecut/cut/))"
)


@dataclass(frozen=True)
class Mentions:
    """By what some sources are spoken of."""

    #: Whole names, and the places of files.
    names: frozenset[str] = frozenset()
    #: Paths below the input.
    relatives: frozenset[str] = frozenset()
    #: Ids of clips and chunks.
    ids: frozenset[str] = frozenset()

    @cached_property
    def _spoken(self) -> re.Pattern[str] | None:
        whole = sorted((n for n in self.names if "/" in n), key=len, reverse=True)
        short = {n for n in self.names if "/" not in n} | self.relatives
        parts = [rf"(?<![\w./-]){re.escape(name)}{_END}" for name in whole]
        parts += [
            rf"{_BEFORE}{re.escape(name)}{_END}"
            for name in sorted(filter(None, short), key=len, reverse=True)
        ]
        return re.compile("|".join(parts)) if parts else None

    @cached_property
    def _words(self) -> tuple[str, ...]:
        return tuple(filter(None, self.names | self.relatives))

    def in_text(self, text: str) -> bool:
        if any(found in self.ids for found in ID.findall(text)):
            return True
        # Of many names, looking for each is faster than one pattern of all.
        if self._spoken is None or not any(word in text for word in self._words):
            return False
        return self._spoken.search(text) is not None

    def in_value(self, value: Any) -> bool:
        """Whether anything that JSON says speaks of them."""
        if isinstance(value, str):
            return self.in_text(value)
        if isinstance(value, Mapping):
            return any(self.in_text(key) or self.in_value(each) for key, each in value.items())
        return isinstance(value, list) and any(map(self.in_value, value))

    def in_bytes(self, data: bytes) -> bool:
        """Whether these bytes do, whatever they are: as text, or as JSON writes it."""
        text = data.decode(errors="replace")
        if self.in_text(text):
            return True
        return self._escaped.in_text(text)

    @cached_property
    def _escaped(self) -> "Mentions":
        """The names that JSON writes otherwise, as it does."""
        kinds = (self.names, self.relatives)
        return Mentions(*(frozenset({json.dumps(n)[1:-1] for n in kind} - kind) for kind in kinds))

    def without(self, text: str) -> str:
        """The text without names."""
        text = ID.sub(lambda found: GONE if found[0] in self.ids else found[0], text)
        return text if self._spoken is None else self._spoken.sub(GONE, text)

    def cleaned(self, value: Any) -> Any:
        """What JSON says without what it says of them: records and ids that are listed go, and of
        what stands alone the name.
        """
        if isinstance(value, str):
            return self.without(value)
        if isinstance(value, list):
            return [self.cleaned(each) for each in value if not self._goes(each)]
        if isinstance(value, Mapping):
            return {key: self.cleaned(each) for key, each in value.items() if not self.in_text(key)}
        return value

    def _goes(self, each: Any) -> bool:
        """Whether an item of a list goes as a whole."""
        return each in self.ids if isinstance(each, str) else self.in_value(each)

    def cleaned_document(self, path: str, data: bytes) -> bytes:
        """A document, a list of JSON lines or a text without them: the same bytes where nothing
        speaks of them.
        """
        text = data.decode(errors="surrogateescape")
        if path.endswith(".jsonl"):
            lines = [line for line in text.split("\n") if line.strip()]
            stay = [line for line in lines if not self._in_line(line)]
            whole = "".join(f"{line}\n" for line in stay)
            return data if len(stay) == len(lines) else whole.encode(errors="surrogateescape")
        said = _parsed(text) if path.endswith(".json") else None
        if said is None:
            return self.without(text).encode(errors="surrogateescape")
        if not self.in_value(said):
            return data
        return json.dumps(self.cleaned(said), indent=4).encode(errors="surrogatepass")

    def _in_line(self, line: str) -> bool:
        said = _parsed(line)
        return self.in_text(line) if said is None else self.in_value(said)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def together(several: Iterable[Mentions]) -> Mentions:
    """The mentions of all of these."""
    found = list(several)
    return Mentions(
        *(
            frozenset().union(*(getattr(each, field) for each in found))
            for field in ("names", "relatives", "ids")
        )
    )
