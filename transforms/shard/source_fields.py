"""What is known of the sources of clips in shards: columns of the index, and words of the card.

The card counts the clips of each licence, each language and so on: of fields with a few values that
come again, and not of titles.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final, Self

from finecut.io.held import SOURCE
from finecut.io.tables.kinds import NUMBER, TEXT, TRUTH, WHOLE, Kinds, joined
from finecut.transforms.caption.prompts import in_a_line

#: A field with more values than this is not counted out.
MOST_VALUES: Final = 24
#: Letters of a value on the card.
LONGEST: Final = 60
#: What Hugging Face calls the kinds that a sample's document may have.
FEATURES: Final[Mapping[str, str]] = {
    TRUTH: "bool",
    WHOLE: "int64",
    NUMBER: "float64",
    TEXT: "string",
}


class SourceFields(Kinds):
    """The kinds of all fields, and how many clips have which of their values."""

    def __init__(self) -> None:
        super().__init__()
        self.clips = 0
        self.counts: dict[str, Counter[str]] = {}

    @classmethod
    def of(
        cls, kinds: Mapping[str, str], counts: Mapping[str, Mapping[str, int]], clips: int
    ) -> Self:
        """What was known in another place."""
        made = cls()
        made.known, made.clips = dict(kinds), clips
        made.counts = {name: Counter(values) for name, values in counts.items()}
        return made

    @staticmethod
    def joined(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
        """The kinds of fields that both have seen."""
        return {
            name: joined(one.get(name, other.get(name, "")), other.get(name, one.get(name, "")))
            for name in sorted({*one, *other})
        }

    def add_counted(self, metadata: Mapping[str, Any], clips: int) -> None:
        """This is known of the sources of so many clips."""
        self.clips += clips
        self.add(metadata)
        for name, value in metadata.items():
            values = self.counts.setdefault(name, Counter())
            if len(values) <= MOST_VALUES:
                values[in_a_line(value)[:LONGEST]] += clips

    def features(self) -> dict[str, dict[str, str]]:
        """The fields of ``source`` in a sample's document that are of one plain kind: of others,
        readers that want one type for all samples are told nothing.
        """
        kinds = sorted(self.known.items())
        plain = {name: FEATURES[kind] for name, kind in kinds if kind in FEATURES}
        return {SOURCE: plain} if plain else {}

    def words(self) -> Iterator[str]:
        """The card's lines about the sources; none where nothing is known of any."""
        if not self.known:
            return
        yield from ("## Sources", "")
        yield "What is known of the source videos is `source` in each document, and columns "
        yield "`source.…` of the tables."
        yield ""
        for name in sorted(self.known):
            yield f"- `{name}`: {', '.join(self._counted(name))}"
        yield ""

    def _counted(self, name: str) -> Iterator[str]:
        values = self.counts[name]
        if len(values) > MOST_VALUES:
            yield f"more than {MOST_VALUES} values"
            return
        for value, clips in sorted(values.items(), key=lambda item: (-item[1], item[0])):
            yield f"{_quoted(value)} {clips}"
        if missing := self.clips - values.total():
            yield f"none {missing}"


def merged_values(
    one: Mapping[str, Mapping[str, int]], other: Mapping[str, Mapping[str, int]]
) -> dict[str, dict[str, int]]:
    """How many clips have which values of fields; of fields with too many, too many of them."""
    found = {}
    for name in sorted({*one, *other}):
        values = Counter(one.get(name, {})) + Counter(other.get(name, {}))
        found[name] = dict(sorted(values.items())[: MOST_VALUES + 1])
    return found


def _quoted(value: str) -> str:
    """The value as code, in which Markdown and HTML mean nothing."""
    return f"`{value.replace('`', chr(39))}`"
