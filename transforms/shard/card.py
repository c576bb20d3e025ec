"""The dataset card of a folder of shards.

Hugging Face's ``datasets`` guesses the fields of a WebDataset from its first five samples and
refuses it when they are not alike, as with clips of which only some have a caption. So the card
names the fields, and ``load_dataset(FOLDER)`` gives each clip all of them, empty where there is
nothing.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from finecut.io.wording import count_of
from finecut.transforms.shard.books import Books
from finecut.transforms.write.documents import placed

#: A card without this line is somebody's own, and stays.
MARK: Final = "<!-- Written by finecut shard, again and again as long as this line stays. -->"
TEXT, NUMBER, COUNT, YES = "string", "float64", "int64", "bool"

#: What every document says, and of what type it is.
_SAID: Final[Mapping[str, Any]] = {
    "span_uuid": TEXT,
    "source_video": TEXT,
    "duration_span": [NUMBER],
    "width_source": COUNT,
    "height_source": COUNT,
    "framerate_source": NUMBER,
    "width": COUNT,
    "height": COUNT,
    "framerate": NUMBER,
    "num_frames": COUNT,
    "video_codec": TEXT,
    "num_bytes": COUNT,
    "sha256": TEXT,
    "valid": YES,
}


def card(books: Books) -> str:
    """The card's text."""
    # Shards lie in folders, one for each bin, or in none.
    pattern = "*/*.tar" if any(books.bins) else "*.tar"
    usual = f"{{00000..{books.shards - 1:05d}}}.tar"
    example = "BIN/{00000..LAST}.tar" if any(books.bins) else books.example or usual
    lines = [
        "---",
        "configs:",
        "- config_name: default",
        "  data_files:",
        "  - split: train",
        f'    path: "{pattern}"',
        "dataset_info:",
        "- config_name: default",
        "  features:",
        *_features(_fields(books), "  "),
        "---",
        MARK,
        "",
        "# Clips",
        "",
        f"{count_of(books.written, 'clip')}, {books.seconds / 3600:.1f} hours, in "
        f"{count_of(books.shards, 'shard')} of {books.num_bytes / 1e9:.1f} GB together. Each clip "
        "is a group of consecutive tar members that share a key: "
        f"{_members(books)}.",
        "",
        "```python",
        "from datasets import load_dataset",
        f'clips = load_dataset("FOLDER", split="train", streaming=True){" " * 8}# this folder',
        "",
        "import webdataset",
        f'clips = webdataset.WebDataset("FOLDER/{example}").decode()',
        "```",
        "",
        "`index.parquet` has a row for each clip: its scores, its shard, and the offset and the "
        "size of its video within that shard, so that a clip can be read with one range request. "
        "`metadata.parquet` is for a folder in which the shards were unpacked in place: "
        '`load_dataset("videofolder", data_dir="FOLDER")`.',
        "",
        *books.sources.words(),
    ]
    return "\n".join(lines)


def _fields(books: Books) -> dict[str, Any]:
    kinds = {name: TEXT if name in books.labels else NUMBER for name in sorted(books.scores)}
    windows = {"start_frame": COUNT, "end_frame": COUNT}
    windows |= dict.fromkeys(sorted(books.captions), TEXT)
    return {
        "mp4": "video",
        "json": {**_SAID, **placed(kinds), **books.sources.features(), "windows": [windows]},
        **({"txt": TEXT} if books.texts else {}),
        **({"npy": ["float32"]} if books.vectors else {}),
        "__key__": TEXT,
        "__url__": TEXT,
    }


def _features(fields: Mapping[str, Any], indent: str) -> Iterator[str]:
    """Fields as the card's YAML says them."""
    for name, kind in fields.items():
        what, inner = ("list", kind[0]) if isinstance(kind, list) else ("struct", kind)
        yield f"{indent}- name: {json.dumps(name)}"
        if isinstance(kind, str):
            yield f"{indent}  dtype: {kind}"
        elif isinstance(inner, str):
            yield f"{indent}  {what}: {inner}"
        else:
            yield f"{indent}  {what}:"
            yield from _features(inner, f"{indent}  ")


def _members(books: Books) -> str:
    members = {
        "the video (`mp4`)": True,
        "its document with all scores (`json`)": True,
        "its caption, if it has one (`txt`)": books.texts,
        "its vector, if it has one (`npy`, float32)": books.vectors,
    }
    return ", ".join(member for member, there in members.items() if there)
