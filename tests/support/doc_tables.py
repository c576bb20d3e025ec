"""``make tables``: writes what is made from code: tables of the docs, and the metadata of the Flex
Template.
"""

from __future__ import annotations

from hostile import table
from places import ROOT

from finecut.pipeline.cli.flags import with_tables
from finecut.pipeline.engines.support import ENGINES, TABLE, verdict
from finecut.pipeline.template import commands, metadata_text
from finecut.transforms.catalogue.fields import COLUMNS, Column, Records

OPTIONS, HOSTILE = ROOT / "docs/options.md", ROOT / "docs/hostile.md"
CATALOGUE = ROOT / "docs/catalogue.md"
ENGINES_PAGE = ROOT / "docs/design/engines.md"
METADATA = ROOT / "templates/metadata.json"
OF_COMMANDS = ROOT / "templates/metadata"


def filled(page: str, name: str, text: str) -> str:
    """A page with this text between its marks of this name."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    before, _, rest = page.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"there is no place for the {name}: write {begin.strip()} and its end")
    return "".join((before, begin, "\n", text, "\n\n", end, after))


def with_cases(page: str) -> str:
    """docs/hostile.md with its table as it is now."""
    return filled(page, "cases", table())


def with_columns(page: str) -> str:
    """docs/catalogue.md with its table as it is now."""
    rows = [f"| `{each.name}` | {kind_of(each)} | {each.meaning} |" for each in COLUMNS]
    return filled(
        page, "columns", "\n".join(["| column | type | meaning |", "| --- | --- | --- |", *rows])
    )


def kind_of(column: Column) -> str:
    """The type of a column in a word or two.

    >>> kind_of(Column("a", Records((("b", "string"),)), ""))
    'list of `b`'
    """
    if not isinstance(column.kind, Records):
        return column.kind
    return "list of " + ", ".join(f"`{name}`" for name, _ in column.kind.fields)


def with_engines(page: str) -> str:
    """docs/design/engines.md with its tables as they are now."""
    return filled(filled(page, "engines", engines()), "features", features())


def engines() -> str:
    """What was run on each engine, and where it says what it supports."""
    rows = [f"| {e.name} | {e.run} | {'; '.join(e.sources)} |" for e in ENGINES]
    return "\n".join(["| engine | run | where it says so |", "| --- | --- | --- |", *rows])


def features() -> str:
    """Each feature beside each engine, with notes of what is missing."""
    names = [engine.name for engine in ENGINES]
    notes: list[str] = []
    rows = []
    for feature in TABLE:
        cells = []
        for but in (verdict(feature, name) for name in names):
            if but is None:
                cells.append("yes")
                continue
            if but.why not in notes:
                notes.append(but.why)
            cells.append(f"{but.verdict} ({notes.index(but.why) + 1})")
        rows.append(f"| `{feature.name}` | {feature.use} | {' | '.join(cells)} |")
    head = [f"| feature | what for | {' | '.join(names)} |", f"|{' --- |' * (len(names) + 2)}"]
    said = [f"{number}. {why}" for number, why in enumerate(notes, 1)]
    return "\n".join([*head, *rows, "", *said])


if __name__ == "__main__":
    for page, fill in (
        (OPTIONS, with_tables),
        (HOSTILE, with_cases),
        (CATALOGUE, with_columns),
        (ENGINES_PAGE, with_engines),
    ):
        page.write_text(fill(page.read_text(encoding="utf-8")), encoding="utf-8")
    METADATA.write_text(metadata_text(), encoding="utf-8")
    OF_COMMANDS.mkdir(exist_ok=True)
    for path in OF_COMMANDS.iterdir():
        path.unlink()
    for command in commands():
        path = OF_COMMANDS / f"{command}.json"
        path.write_text(metadata_text(command), encoding="utf-8")
