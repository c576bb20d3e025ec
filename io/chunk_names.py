"""What documents of chunks are called: by their video, and a number."""

import re
from typing import Final

#: A line break is a character of a name like any other.
_CHUNK: Final = re.compile(r"(.+)_(\d+)\.json", re.DOTALL)


def chunk_numbered(name: str) -> tuple[str, int] | None:
    """The video (its path below the input) and the number of a chunk, by the name of its document
    below the folder of such; nothing for what is not named so.

    >>> chunk_numbered("films/a.mp4_12.json"), chunk_numbered("films/a.mp4")
    (('films/a.mp4', 12), None)
    """
    matched = _CHUNK.fullmatch(name)
    if matched is None or matched[1].endswith("/"):
        return None
    return matched[1], int(matched[2])
