"""What the reference really wrote, and in what finecut differs from it on purpose.

The reference is NVIDIA NeMo Curator; its output trees (the *golden* cases) lie outside of the
repository, because they hold films. :data:`DIFFERENCES` is the whole list of what finecut does
otherwise and why; ``golden_expected`` applies it to a golden tree, each entry where it belongs and
nowhere else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from places import SHARED

#: The folder that holds the golden trees: beside the repository, or where this variable says.
GOLDEN = SHARED / "golden"

#: Where inputs and outputs lay when the reference ran: ids and documents carry these paths.
THERE = "/data/golden"

#: Cases that wrote no metas, and the case whose clips are the same.
SAME_CLIPS = {"full_5s_dry_run": "full_5s"}

Document = dict[str, Any]

#: What an error says that the golden documents only name.
MADE_UP = "as in the golden document"


class Difference(NamedTuple):
    """What each of the two does; the second says why as well."""

    reference: str
    finecut: str


#: Folders of which the reference knows nothing.
OURS = {".finecut", "catalogue", "runs", "report"}

DIFFERENCES = {
    "valid": Difference(
        "A clip is valid when it has caption windows: never without captioning, always with it, "
        "also after errors.",
        "A clip is valid when it is kept, has a file and no errors: one may train on it.",
    ),
    "encoded bytes": Difference(
        "Clips as its encoder makes them.",
        "Clips as ours makes them, so num_bytes is the size of our file; sha256 is its digest.",
    ),
    "two video streams": Difference(
        "Of a file with several video streams it describes the last and cuts the first: ids, "
        "spans, width_source, height_source, framerate_source and the video's document are those "
        "of a film that is not in the clips.",
        "Ids, spans and documents are those of the stream that is cut, which is the first.",
    ),
    "broken inputs": Difference(
        "A file that cannot be read gets a video document full of nulls and an empty chunk "
        "document, as if it had been processed.",
        "It gets neither, and an entry in failures/ that says what is wrong with it. A document "
        "under processed_videos/ says that the video is done.",
    ),
    "start between frames": Difference(
        "The length of a clip is counted from its first picture. Where a span begins between two "
        "pictures, the clip ends as much later, and may show the first picture of the next clip.",
        "A clip holds the pictures shown at start <= t < end: none twice, none missing.",
    ),
    "counted frames": Difference(
        "num_frames is duration times framerate, cut off: 16 frames in 1.001 s become 15, because "
        "the product of the two floats is 15.999999999999998.",
        "num_frames is the number of frames in the file.",
    ),
    "last picture": Difference(
        "With a variable frame rate, the last picture of a clip is as long as its packet says, "
        "which is often not how long it is shown; the clip's framerate follows.",
        "It is as long as the source shows it within the span. For the last one of a film, which "
        "no other follows, that is an estimate.",
    ),
    "windows": Difference(
        "A clip has windows when captions were prepared, and a rejected one never.",
        "Every clip that has a file has its windows: they say how it would be captioned.",
    ),
    "filtered_by": Difference(
        "The document of a rejected clip does not say which filter rejected it.",
        "It does, under a key of that name.",
    ),
    "error messages": Difference(
        "Of errors the document has the names, and nothing has the words.",
        "It has the words too, under error_messages.",
    ),
    "motion": Difference(
        "Vectors of the clip as it was encoded, from the first half of it; the score of a patch is "
        "that of the four pixels in its middle; pictures below 256 pixels score -1.",
        "Vectors of the source, from all of the span; the score of a patch is its mean; a small "
        "picture is one patch.",
    ),
    "resuming": Difference(
        "A video's document does not say which file was cut, nor how.",
        "It does, so that the next run knows whether there is anything left to do.",
    ),
    "parquet types": Difference(
        "Columns large_string and list<double>, whatever the model made.",
        "Columns string and list<float32>: what the models make, in half the space.",
    ),
}


@dataclass(frozen=True)
class Stream:
    """What a video's documents say of the stream they describe."""

    width: int
    height: int
    framerate: float
    num_frames: int
    duration: float


#: The first video stream of files that have two. Inputs of the other cases have one.
FIRST_STREAMS = {
    name: Stream(width=320, height=180, framerate=25.0, num_frames=325, duration=13.0)
    for name in ("nasa_multistream.mp4", "good.mp4")
}


@dataclass
class Tree:
    """Every file below a folder, by its path relative to it; documents read."""

    files: dict[str, bytes]
    documents: dict[str, Document] = field(init=False)

    def __post_init__(self) -> None:
        self.documents = {
            path: json.loads(data) for path, data in self.files.items() if path.endswith(".json")
        }

    @classmethod
    def read(cls, root: Path) -> Tree:
        # What begins with a dot is ours alone, and no reader's.
        files = (
            p for p in sorted(root.rglob("[!.]*")) if p.is_file() and not OURS.intersection(p.parts)
        )
        return cls({path.relative_to(root).as_posix(): path.read_bytes() for path in files})

    @property
    def paths(self) -> set[str]:
        return set(self.files)

    def below(self, folder: str) -> list[str]:
        return [path for path in self.files if path.startswith(f"{folder}/")]

    def metas(self) -> dict[str, Document]:
        """The clips' documents by id."""
        return {Path(path).stem: self.documents[path] for path in self.below("metas/v0")}


@cache
def golden(case: str) -> Tree:
    """What the reference wrote in this case."""
    return Tree.read(GOLDEN / case)


def metas_of(case: str) -> dict[str, Document]:
    """The documents of a case's clips by id, also of a case that did not write them."""
    return golden(SAME_CLIPS.get(case, case)).metas()


def serialised(document: Document) -> bytes:
    """The bytes of a document as the reference writes them."""
    return json.dumps(document, indent=4, ensure_ascii=True).encode("ascii")
