"""The books of sharding: what became of each clip that a dataset lists; and the dataset card.

Hugging Face's ``datasets`` guesses the fields of a WebDataset from its first five samples and
refuses it when they are not alike, as with clips of which only some have a caption. So the card
names the fields, and ``load_dataset(FOLDER)`` gives each clip all of them, empty where there is
nothing.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from finecut.io.records import Failure
from finecut.transforms.write.documents import placed

#: Failures that are shown; all of them are in the list.
SHOWN_FAILURES: Final = 5

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


@dataclass
class Books:
    """What became of the clips that the dataset lists."""

    listed: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    #: By the clip, or by what was to be read where it is not known which clips that cost.
    failures: dict[str, Failure] = field(default_factory=dict)
    written: int = 0
    shards: int = 0
    #: Shards of this plan that lay there already.
    kept: int = 0
    num_bytes: int = 0
    seconds: float = 0.0
    texts: int = 0
    vectors: int = 0
    dimensions: set[int] = field(default_factory=set)
    bins: dict[str, Counter[str]] = field(default_factory=dict)
    scores: set[str] = field(default_factory=set)
    captions: set[str] = field(default_factory=set)
    #: Those of the scores that are labels.
    labels: set[str] = field(default_factory=set)
    #: Ids on the lists that were given, and clips of the dataset that have one of them.
    drops: int = 0
    on_lists: int = 0
    #: Lists of duplicates that would have been taken.
    fit: list[str] = field(default_factory=list)
    #: Duplicates that went for a clip that is left out itself.
    bereft: int = 0
    #: Clips in the shards that dedup listed, and nobody left out.
    not_left_out: int = 0

    @property
    def failed(self) -> int:
        return len({clip for one in self.failures.values() for clip in one.lost_shots})

    @property
    def sums(self) -> str:
        left_out = sum(self.left_out.values())
        return (
            f"{self.listed} listed = {self.written} written + {left_out} left out + "
            f"{self.failed} failed"
        )

    @property
    def reasons(self) -> str:
        """Why clips were left out, the most frequent reason first."""
        most = sorted(self.left_out.items(), key=lambda item: (-item[1], item[0]))
        return ", ".join(f"{count} {reason}" for reason, count in most)

    @property
    def failures_in_order(self) -> list[Failure]:
        return sorted(self.failures.values(), key=lambda one: (one.lost_shots, one.source.name))

    @property
    def first_failures(self) -> str:
        return "; ".join(self.failure_lines) or "No reason was given"

    @property
    def failure_lines(self) -> list[str]:
        lines = [
            f"{' '.join(one.lost_shots[:1]) or one.source.name}: {one.message}"
            for one in self.failures_in_order[:SHOWN_FAILURES]
        ]
        more = len(self.failures) - len(lines)
        return [*lines, f"… and {more} more"] if more else lines

    def imbalance(self) -> str | None:
        """What is wrong with the sums, if anything is."""
        left_out = sum(self.left_out.values())
        became = self.written + left_out + self.failed
        if became == self.listed:
            return None
        return (
            f"{self.listed} clips were listed, but {self.written} written + {left_out} left out + "
            f"{self.failed} failed = {became}"
        )

    def enter(self, failures: Iterable[Failure]) -> None:
        for failure in failures:
            # A clip that fails in two passes is one failure.
            key = " ".join(failure.lost_shots) or failure.source.name
            self.failures.setdefault(key, failure)


# ── the card ─────────────────────────────────────────────────────────────────────────────────────


def card(books: Books) -> str:
    """The card's text."""
    # Shards lie in folders, one for each bin, or in none.
    pattern = "*/*.tar" if any(books.bins) else "*.tar"
    example = (
        "BIN/{00000..LAST}.tar" if any(books.bins) else f"{{00000..{books.shards - 1:05d}}}.tar"
    )
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
        f"{books.written} clips, {books.seconds / 3600:.1f} hours, in {books.shards} shards of "
        f"{books.num_bytes / 1e9:.1f} GB together. A clip is a row of members with one key: "
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
        "size of its film in it, so that one clip is one ranged read. `metadata.parquet` serves a "
        "folder whose shards were unpacked where they lie: "
        '`load_dataset("videofolder", data_dir="FOLDER")`.',
        "",
    ]
    return "\n".join(lines)


def _fields(books: Books) -> dict[str, Any]:
    kinds = {name: TEXT if name in books.labels else NUMBER for name in sorted(books.scores)}
    windows = {"start_frame": COUNT, "end_frame": COUNT}
    windows |= dict.fromkeys(sorted(books.captions), TEXT)
    document = {**_SAID, **placed(kinds), "windows": [windows]}
    fields: dict[str, Any] = {"mp4": "video", "json": document}
    if books.texts:
        fields["txt"] = TEXT
    if books.vectors:
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


def _members(books: Books) -> str:
    members = ["the film (`mp4`)", "its document with all scores (`json`)"]
    if books.texts:
        members.append("its caption, if it has one (`txt`)")
    if books.vectors:
        members.append("its vector, if it has one (`npy`, float32)")
    return ", ".join(members)
