"""What is said of shards: the books, the card, the tables, and the index last.

The books count what became of each clip that a dataset lists. All that says that shards are there
is withdrawn before one is written, and promised again when all of them are.

Hugging Face's ``datasets`` guesses the fields of a WebDataset from its first five samples and
refuses it when they are not alike, as with clips of which only some have a caption. So the card
names the fields, and ``load_dataset(FOLDER)`` gives each clip all of them, empty where there is
nothing.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from finecut.io.process.threads import in_order
from finecut.io.records import Failure, to_json
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import usable_json
from finecut.io.storage.publishing import Shelf
from finecut.io.tables.shards import (
    DIGEST,
    VECTOR,
    ShardFolder,
    digest_of_index,
    for_unpacked,
    grouped,
    named_files,
    read_receipt,
    remove_folder,
    rows_of,
    schema_of,
    sources_in,
    write_lance,
    write_table,
)
from finecut.io.wording import count_of
from finecut.transforms.shard.material import Sharding
from finecut.transforms.shard.plan import FORMAT, Shards
from finecut.transforms.shard.source_fields import SourceFields
from finecut.transforms.write.documents import placed, serialise

#: Failures that are shown; all of them are in the list.
SHOWN_FAILURES: Final = 5
#: Receipts that are read at the same time.
READERS: Final = 16

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
    #: What is known of the sources of the clips that are written.
    sources: SourceFields = field(default_factory=SourceFields)
    #: Ids on the lists that were given, and clips of the dataset that have one of them.
    drops: int = 0
    on_lists: int = 0
    #: Lists of duplicates that would have been taken.
    fit: list[str] = field(default_factory=list)
    #: Duplicates that went for a clip that is left out itself.
    bereft: int = 0
    #: Clips in the shards that dedup listed, and nobody left out.
    not_left_out: int = 0

    #: How readers name the shards, if their numbers do not say it.
    example: str = ""

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
        return ", ".join(
            f"{count} {reason}"
            for reason, count in sorted(self.left_out.items(), key=lambda item: (-item[1], item[0]))
        )

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
            self.failures.setdefault(" ".join(failure.lost_shots) or failure.source.name, failure)


# ── the card ─────────────────────────────────────────────────────────────────────────────────────


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


# ── the promise ──────────────────────────────────────────────────────────────────────────────────


def withdraw(sharding: Sharding) -> None:
    folder, own = sharding.folder, sharding.shelf
    own.remove(folder.index)  # what promises the others goes first
    own.remove(folder.metadata, folder.summary, folder.failures)
    _remove_lance(sharding)


def _remove_lance(sharding: Sharding) -> None:
    sharding.shelf.remove(sharding.folder.lance_note)
    remove_folder(sharding.shelf, sharding.folder.lance, first="_versions")


def promise(
    sharding: Sharding, books: Books, shards: Shards, *, summary: dict[str, Any], lance: bool
) -> None:
    """Write what says that the shards are there; the index goes last."""
    folder, own = sharding.folder, sharding.shelf
    schema = schema_of(books.scores, books.captions, books.labels)
    for column in books.sources.columns():
        schema = schema.append(column)
    digest = _digest_of_all(folder, shards, schema)
    schema = schema.with_metadata({DIGEST: digest})
    if (folder.noted() or []) != sorted(shards.names):
        folder.write_note(own, shards.names)
    there = shelf.read_if_there(folder.card)
    if there is None or MARK.encode() in there:
        _put(own, folder.card, card(books).encode())
    failures = "".join(sorted(f"{to_json(one)}\n" for one in books.failures.values()))
    _put(own, folder.failures, failures.encode(errors="surrogateescape"))
    _put(own, folder.summary, serialise(summary))
    # The table has vectors that the index has not: it is written on its own account.
    if lance and (usable_json(folder.lance_note) or {}).get("digest") != digest:
        _write_lance(sharding, books.dimensions - {None}, shards, schema)
    if digest_of_index(folder.index) == digest and shelf.exists(folder.metadata):
        return
    own.remove(folder.index)
    unpacked, names = for_unpacked(schema), map(named_files, _tables(folder, shards))
    write_table(own, folder.metadata, grouped(names, unpacked), unpacked)
    write_table(own, folder.index, grouped(_tables(folder, shards), schema), schema)


def _tables(folder: ShardFolder, shards: Shards) -> Iterator[pa.Table]:
    """The rows of all shards, in order."""
    return in_order(partial(rows_of, folder), shards.names, READERS)


def _receipts(folder: ShardFolder, shards: Shards) -> Iterator[tuple[str, int] | None]:
    return in_order(partial(read_receipt, folder), shards.names, READERS)


def add_up(folder: ShardFolder, shards: Shards, books: Books) -> None:
    """Enter what was written into the books."""
    told = zip(shards.names, _receipts(folder, shards), _tables(folder, shards), strict=True)
    for name, receipt, rows in told:
        size = receipt[1] if receipt else 0
        books.written += len(rows)
        books.shards += 1
        books.num_bytes += size
        books.seconds += pc.sum(pc.subtract(rows["end"], rows["start"])).as_py() or 0.0
        books.sources.add_all(sources_in(rows))
        books.texts += len(rows) - rows["caption"].null_count
        books.vectors += len(rows) - rows[VECTOR].null_count
        books.dimensions.update(pc.unique(pc.list_value_length(rows[VECTOR])).to_pylist())
        books.bins.setdefault(name.rpartition("/")[0], Counter()).update(
            {"clips": len(rows), "shards": 1, "bytes": size}
        )


def _digest_of_all(folder: ShardFolder, shards: Shards, schema: pa.Schema) -> str:
    """Stands for an index: what shards it speaks of, and in which columns."""
    digest = hashlib.sha256(FORMAT + str(schema).encode())
    for name, receipt in zip(shards.names, _receipts(folder, shards), strict=True):
        digest.update(f" {name} {receipt}".encode())
    return digest.hexdigest()


def _write_lance(
    sharding: Sharding, dimensions: set[int], shards: Shards, schema: pa.Schema
) -> None:
    folder, own = sharding.folder, sharding.shelf
    _remove_lance(sharding)
    wide = schema.remove_metadata()
    if dimensions:
        # Lance searches among vectors of one size.
        kind = pa.list_(pa.float32(), *(dimensions if len(dimensions) == 1 else ()))
        wide = wide.append(pa.field(VECTOR, kind))
    write_lance(own, folder.lance, grouped(_tables(folder, shards), wide))
    said = {"digest": schema.metadata[DIGEST.encode()].decode()}
    own.write(folder.lance_note, json.dumps(said).encode())


def _put(own: Shelf, path: str, data: bytes) -> None:
    """Write a file that is not there yet like this; none at all for nothing."""
    if not data:
        own.remove(path)
    elif shelf.read_if_there(path) != data:
        own.write(path, data)
