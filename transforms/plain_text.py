"""Texts that strangers wrote (models, servers, lists), as they may lie in documents and prompts.

Standard library only.
"""

import unicodedata
from typing import Final

#: The kind of characters that are spaces, by Unicode; those that break lines; and two invisible
#: ones that words are made with.
SPACE: Final = "Zs"
BREAKS: Final = "\n\r\x0b\x0c\x85\u2028\u2029"
JOINERS: Final = "\u200c\u200d"


def cleaned(text: str, most: int | None = None) -> str:
    """Text that may lie in a document: no control characters, no halves of letters, not endless.

    Spaces of all kinds become plain ones; what joins letters and pictures of other scripts stays.

    >>> cleaned(" A dog\\x00 runs.\\x1b[2J ", 100)
    'A dog runs.[2J'
    """
    if text.isprintable():  # most are, and spaces are the only ones of their kind in these
        return text.strip()[:most].rstrip()
    plain = (
        c
        if c == "\t" or c in JOINERS
        else "\n"
        if c in BREAKS
        else " "
        if (kind := unicodedata.category(c)) == SPACE
        else ""
        if kind[0] == "C"
        else c
        for c in text
    )
    return "".join(plain).strip()[:most].rstrip()
