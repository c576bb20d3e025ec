"""Beside a video: the JSON file in which downloaders and archives say what it is.

    a.mp4   ◀── a.mp4.json    named by the whole file
            ◀── a.json        WebDataset
            ◀── a.info.json   yt-dlp             the first of these that is there

In an archive it is ``a.json``, too. Each folder is listed once, so that nobody asks a store for
files that are not there. What finecut itself wrote is never taken for metadata: documents of clips
lie beside clips that were unpacked from shards.
"""

import posixpath
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from finecut.io.process.threads import in_order
from finecut.io.records import Metadata
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import BadDocument, read_json
from finecut.transforms.beam.metrics import LOG
from finecut.transforms.find.metadata import Plain, plain, say_left_out

JSON: Final = ".json"
#: What follows the name of a video without its extension.
OTHERS: Final = (JSON, f".info{JSON}")
#: Keys that documents of finecut have, and of programs that write the same layout.
OWN: Final = (
    {"span_uuid", "source_video"},
    {"video", "num_clip_chunks"},
    {"video", "clip_chunk_index"},
)
#: Files that are read at the same time.
READERS: Final = 16


def told_beside(videos: Sequence[str]) -> dict[str, Metadata]:
    """What is said of these videos in files beside them."""
    pairs = list(_pairs(videos))

    def read(pair: tuple[str, str]) -> tuple[str, Plain]:
        return pair[0], _read(pair[1])

    told = dict(in_order(read, pairs, READERS))
    say_left_out("files beside the videos", [*told.values()])
    return {video: each.said for video, each in told.items() if each.said}


def beside(video: str, files: frozenset[str]) -> str | None:
    """The file about a video, of those that lie in its folder.

    >>> beside("/in/a.mp4", frozenset({"/in/a.info.json", "/in/a.json"}))
    '/in/a.json'
    """
    stem = posixpath.splitext(video)[0]
    names = (f"{video}{JSON}", *(f"{stem}{other}" for other in OTHERS))
    return next((name for name in names if name in files), None)


def is_own(document: Mapping[str, Any]) -> bool:
    """Whether finecut wrote this about a clip, a chunk or a video that it made."""
    return any(keys <= document.keys() for keys in OWN)


def _pairs(videos: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Videos, each with the file about it, if there is one."""
    folders: dict[str, list[str]] = defaultdict(list)
    for video in videos:
        if (packed := shelf.beside_member(video, JSON)) is not None:
            yield video, packed
        else:
            folders[posixpath.dirname(video)].append(video)
    for folder, inside in folders.items():
        files = _documents_in(folder)
        yield from ((each, found) for each in inside if (found := beside(each, files)))


def _documents_in(folder: str) -> frozenset[str]:
    """What could be about a video there. Who serves single files lists none."""
    with suppress(OSError, ValueError):
        return frozenset(path for path in shelf.files_in(folder) if path.endswith(JSON))
    return frozenset()


def _read(path: str) -> Plain:
    """What a file says; one that cannot be used is named, and costs nothing but what it says."""
    try:
        said = read_json(path) or {}
    except BadDocument as error:
        LOG.error("%s: no metadata is read from it", error)
        return Plain({})
    except OSError as error:
        LOG.error("%s cannot be read (%s): no metadata", path, error.strerror or error)
        return Plain({})
    return Plain({}) if is_own(said) else plain(said)
