"""The dataset card of a folder of shards: what ``datasets`` has to be told, and people.

Hugging Face's ``datasets`` guesses the fields of a WebDataset from its first five samples and
refuses it when they are not alike, as with clips of which only some have a caption. So the card
names the fields, and ``load_dataset(FOLDER)`` gives each clip all of them, empty where there is
nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

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


@dataclass(frozen=True)
class Contents:
    """What a card speaks of."""

    clips: int
    seconds: float
    shards: int
    num_bytes: int
    scores: tuple[str, ...]
    #: Those of them that are labels and no numbers.
    labels: frozenset[str]
    captions: tuple[str, ...]
    has_texts: bool
    has_vectors: bool
    #: Whether shards lie in folders, one for each bin.
    has_bins: bool


def card(contents: Contents) -> str:
    """The card's text."""
    c = contents
    pattern = "*/*.tar" if c.has_bins else "*.tar"
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
        *_features(_fields(c), "  "),
        "---",
        MARK,
        "",
        "# Clips",
        "",
        f"{c.clips} clips, {c.seconds / 3600:.1f} hours, in {c.shards} shards of "
        f"{c.num_bytes / 1e9:.1f} GB together. A clip is a row of members with one key: "
        f"{_members(c)}.",
        "",
        "```python",
        "from datasets import load_dataset",
        f'clips = load_dataset("FOLDER", split="train", streaming=True){" " * 8}# this folder',
        "",
        "import webdataset",
        f'clips = webdataset.WebDataset("FOLDER/{_example(c)}").decode()',
        "```",
        "",
        "`index.parquet` has a row for each clip: its scores, its shard, and the offset and the "
        "size of its film in it, so that one clip is one ranged read. `metadata.parquet` serves a "
        "folder whose shards were unpacked where they lie: "
        '`load_dataset("videofolder", data_dir="FOLDER")`.',
        "",
    ]
    return "\n".join(lines)


def _fields(c: Contents) -> dict[str, Any]:
    kinds = {name: TEXT if name in c.labels else NUMBER for name in c.scores}
    document = {**_SAID, **placed(kinds)}
    windows = {"start_frame": COUNT, "end_frame": COUNT} | dict.fromkeys(c.captions, TEXT)
    document["windows"] = [windows]
    fields: dict[str, Any] = {"mp4": "video", "json": document}
    if c.has_texts:
        fields["txt"] = TEXT
    if c.has_vectors:
        fields["npy"] = ["float32"]
    return fields | {"__key__": TEXT, "__url__": TEXT}


def _features(fields: Mapping[str, Any], indent: str) -> Iterable[str]:
    """Fields as the card's YAML says them."""
    for name, kind in fields.items():
        yield f"{indent}- name: {json.dumps(name)}"
        if isinstance(kind, str):
            yield f"{indent}  dtype: {kind}"
        elif isinstance(kind, Sequence):
            [item] = kind
            if isinstance(item, str):
                yield f"{indent}  list: {item}"
            else:
                yield f"{indent}  list:"
                yield from _features(item, f"{indent}  ")
        else:
            yield f"{indent}  struct:"
            yield from _features(kind, f"{indent}  ")


def _members(c: Contents) -> str:
    members = ["the film (`mp4`)", "its document with all scores (`json`)"]
    if c.has_texts:
        members.append("its caption, if it has one (`txt`)")
    if c.has_vectors:
        members.append("its vector, if it has one (`npy`, float32)")
    return ", ".join(members)


def _example(c: Contents) -> str:
    if c.has_bins:
        return "BIN/{00000..LAST}.tar"
    return f"{{00000..{c.shards - 1:05d}}}.tar"
