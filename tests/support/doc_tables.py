"""``make tables``: writes those tables of the docs that are made from code into their pages."""

from __future__ import annotations

from hostile import table
from places import ROOT

from finecut.pipeline.cli.flags import with_tables

OPTIONS, HOSTILE = ROOT / "docs/options.md", ROOT / "docs/hostile.md"
BEGIN, END = "<!-- cases -->\n", "<!-- end of cases -->\n"


def with_cases(page: str) -> str:
    """docs/hostile.md with its table as it is now."""
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"there is no place for the table of cases: write {BEGIN.strip()} and end")
    return "".join((before, BEGIN, "\n", table(), "\n\n", END, after))


if __name__ == "__main__":
    for page, filled in ((OPTIONS, with_tables), (HOSTILE, with_cases)):
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
