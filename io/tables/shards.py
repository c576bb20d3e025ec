"""What lies in a folder of shards: archives and tables.

    OUTPUT/
    ├── 00000.tar …                  shards; with bins <bin>/00000.tar …
    ├── index.parquet                every clip: where it lies, and what is known of it
    ├── metadata.parquet             the same for a folder in which the shards were unpacked
    ├── clips.lance/                 the same with vectors, where a Lance table was asked for
    ├── README.md                    a dataset card: what the fields of a sample are
    ├── summary.json                 how many clips came in, and what became of them
    ├── failures.jsonl               clips that could not be written, if there are any
    └── .finecut/
        ├── shards.json              the shards that lie here, or may while they are written
        └── shards/00000.parquet …   receipts: a shard's rows, and of which plan it is

A receipt is written when its shard is complete and removed before its shard is replaced; the index
is written last of all and removed before anything else is touched. So who finds an index finds the
shards it speaks of.

The bytes of an archive depend on nothing but what is put in: no dates, no owners, no padding to a
tape's record::

    with open("00000.tar", "wb") as file:
        tar = Tar(file)
        tar.add("clip.json", b"{}")
        place = tar.add_pieces("clip.mp4", size, pieces)    # where its first byte lies
        tar.close()

A member is a header (512 bytes; more where a size or a name asks for it), its bytes, and zeros up
to the next 512.
"""

import json
import tarfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.parquet as pq

from finecut.io.held import OF_SOURCE, SOURCE
from finecut.io.storage import files as shelf
from finecut.io.storage.fence import plain_names
from finecut.io.storage.json_documents import usable_json
from finecut.io.storage.publishing import Shelf
from finecut.io.storage.retry import pass_on_outlasted
from finecut.io.tables.kinds import in_columns
from finecut.io.tables.lance_tables import index_vectors
from finecut.io.tables.parquet import to_parquet

TAR: Final = ".tar"
BLOCK: Final = 512
#: What an archive ends with.
END: Final = bytes(2 * BLOCK)
#: What plain ustar can say of a member.
_LONGEST_NAME, _LARGEST_SIZE = 100, 8 << 30
DIGEST, BYTES = "finecut.digest", "finecut.bytes"
VECTOR: Final = "vector"
FILE_NAME: Final = "file_name"
#: Columns that every clip has, in the order of the index; scores and captions follow by name.
COLUMNS: Final[Mapping[str, pa.DataType]] = {
    "id": pa.string(),
    "source_video": pa.string(),
    "start": pa.float64(),
    "end": pa.float64(),
    "width": pa.int64(),
    "height": pa.int64(),
    "framerate": pa.float64(),
    "num_frames": pa.int64(),
    "video_codec": pa.string(),
    "bin": pa.string(),
    "shard": pa.string(),
    "offset": pa.int64(),
    "num_bytes": pa.int64(),
    "sha256": pa.string(),
    "caption": pa.string(),
}
#: Rows that are written to a table together.
GROUP_ROWS: Final = 50_000

Row = Mapping[str, Any]


def _below(path: str) -> Callable[["ShardFolder"], str]:
    return lambda folder: f"{folder.root}/{path}"


@dataclass(frozen=True)
class ShardFolder:
    """The paths below a folder of shards. A shard's name has no ``.tar``."""

    root: str

    def shard(self, name: str) -> str:
        return f"{self.root}/{name}{TAR}"

    def receipt(self, name: str) -> str:
        return f"{self.root}/.finecut/shards/{name}.parquet"

    index = cached_property(_below("index.parquet"))
    metadata = cached_property(_below("metadata.parquet"))
    lance = cached_property(_below("clips.lance"))
    lance_note = cached_property(_below(".finecut/lance.json"))
    card = cached_property(_below("README.md"))
    summary = cached_property(_below("summary.json"))
    failures = cached_property(_below("failures.jsonl"))
    note = cached_property(_below(".finecut/shards.json"))

    def noted(self) -> list[str] | None:
        """The shards that may lie here; ``None`` where no shards were ever written."""
        said = self.noted_by_anybody()
        return None if said is None else plain_names(said, self.note)

    def noted_by_anybody(self) -> list[object] | None:
        """The same as it stands there: names that may lead elsewhere, if somebody edited it."""
        # A note that cannot be used knows of none: what lies there is then somebody else's.
        shards = (usable_json(self.note) or {}).get("shards")
        return shards if isinstance(shards, list) else None

    def write_note(self, own: Shelf, names: Iterable[str]) -> None:
        own.write(self.note, json.dumps({"shards": sorted(names)}, indent=4).encode())

    def tars(self) -> list[str]:
        """The archives that lie here, by the names of shards."""
        files = shelf.files_below(self.root) if shelf.exists(self.root) else ()
        names = (path[len(self.root) + 1 :] for path in files if path.endswith(TAR))
        return [name.removesuffix(TAR) for name in names if not name.startswith(".")]


def column_of(name: str) -> str:
    """What the column of a score or caption is called: its name, if no other column has that.

    >>> column_of("sharpness"), column_of("width")
    ('sharpness', 'score_width')
    """
    return f"score_{name}" if name in COLUMNS or name in (VECTOR, FILE_NAME) else name


def schema_of(
    scores: Iterable[str], captions: Iterable[str], labels: Collection[str] = ()
) -> pa.Schema:
    """The columns of an index; scores that are ``labels`` are texts."""
    said = {column_of(name): pa.string() for name in sorted(captions)}
    values = {
        column_of(name): pa.string() if name in labels else pa.float64() for name in sorted(scores)
    }
    return pa.schema(list({**COLUMNS, **said, **values}.items()))


def receipt_table(rows: Sequence[Row], schema: pa.Schema, digest: str, size: int) -> bytes:
    """A receipt: the rows of a shard's clips, its digest and its bytes."""
    schema = schema.append(pa.field(VECTOR, pa.list_(pa.float32())))
    schema = schema.with_metadata({DIGEST: digest, BYTES: str(size)})
    return to_parquet(pa.Table.from_pylist(list(rows), schema), compression="zstd")


def read_receipt(folder: ShardFolder, name: str) -> tuple[str, int] | None:
    """The digest and the bytes of a shard; ``None`` where there is no receipt."""
    said = _said_by(folder.receipt(name))
    if DIGEST.encode() not in said:
        return None
    return said[DIGEST.encode()].decode(), int(said[BYTES.encode()])


def _said_by(path: str) -> Mapping[bytes, bytes]:
    """What a table says of itself; nothing if it is missing, or was cut short in a copy."""
    try:
        return shelf.patiently(path, lambda: _metadata(path))
    except (pa.ArrowException, FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        pass_on_outlasted(error)
        if error.errno is not None:
            raise
        return {}  # no trouble with the disk, but a damaged table


def _metadata(path: str) -> Mapping[bytes, bytes]:
    with shelf.open_source(path) as file:
        return pq.read_schema(file).metadata or {}


def rows_of(folder: ShardFolder, name: str, columns: Collection[str] | None = None) -> pa.Table:
    """What a receipt says of its clips, with their vectors; or these columns, if it has them."""
    path = folder.receipt(name)
    return shelf.patiently(path, lambda: _read_columns(path, columns))


def _read_columns(path: str, columns: Collection[str] | None) -> pa.Table:
    with shelf.open_source(path) as file:
        table = pq.ParquetFile(file)
        there = table.schema_arrow.names
        wanted = there if columns is None else [name for name in there if name in columns]
        return table.read(columns=wanted, use_threads=False)


def schema_of_receipt(folder: ShardFolder, name: str) -> pa.Schema:
    """The columns of a receipt."""
    with shelf.open_source(folder.receipt(name)) as file:
        return pq.read_schema(file)


def digest_of_index(path: str) -> str | None:
    """The digest of the shards that an index lists; ``None`` without an index."""
    return _said_by(path).get(DIGEST.encode(), b"").decode() or None


def grouped(tables: Iterable[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
    """The same rows in the columns of ``schema``, put together to groups that readers like."""
    held: list[pa.Table] = []
    count = 0
    for table in tables:
        held.append(_in_columns(table, schema))
        count += len(table)
        if count >= GROUP_ROWS:
            yield pa.concat_tables(held).combine_chunks()
            held, count = [], 0
    if held:
        yield pa.concat_tables(held).combine_chunks()


def write_table(own: Shelf, path: str, groups: Iterable[pa.Table], schema: pa.Schema) -> None:
    """Write groups of rows as one Parquet file, one after the other."""
    with own.bench() as bench:
        part = bench / "table.parquet"
        with pq.ParquetWriter(str(part), schema, compression="zstd") as writer:
            for group in groups:
                writer.write_table(group, row_group_size=len(group) or 1)
        own.publish(str(part), path)


def for_unpacked(schema: pa.Schema) -> pa.Schema:
    """The columns of ``metadata.parquet``: the name of a clip's file comes first."""
    without = [field for field in schema if field.name not in ("shard", "offset")]
    return pa.schema([pa.field(FILE_NAME, pa.string()), *without])


def named_files(table: pa.Table) -> pa.Table:
    """The rows with the names that the clips' files have when their shard is unpacked where it
    lies."""
    names = [
        f"{bin}/{id}.mp4" if bin else f"{id}.mp4"
        for bin, id in zip(table["bin"].to_pylist(), table["id"].to_pylist(), strict=True)
    ]
    return table.append_column(FILE_NAME, pa.array(names, pa.string()))


def write_lance(own: Shelf, folder: str, groups: Iterator[pa.Table]) -> None:
    """Write groups of rows as a Lance table, with an index of its vectors if there are many; what
    says that they are there goes last.
    """
    import lance

    first = next(groups)
    batches = (batch for group in chain([first], groups) for batch in group.to_batches())
    with own.bench() as bench:
        made = bench / "clips.lance"
        lance.write_dataset(
            pa.RecordBatchReader.from_batches(first.schema, batches), str(made), mode="create"
        )
        index_vectors(str(made))
        files = (path for path in made.rglob("*") if path.is_file())
        for path in sorted(files, key=lambda path: ("_versions" in path.parts, path)):
            own.publish(str(path), f"{folder}/{path.relative_to(made).as_posix()}")


def remove_folder(own: Shelf, folder: str, first: str) -> None:
    """Remove every file of a folder, those of its folder ``first`` before the others; nothing
    where a link lies in its place.
    """
    if not shelf.exists(folder) or shelf.is_symlink(folder):
        return
    files = list(shelf.files_below(folder))
    own.remove(*(path for path in files if f"/{first}/" in path))
    own.remove(*(path for path in files if f"/{first}/" not in path))


def sources_in(table: pa.Table) -> Iterator[Mapping[str, Any]]:
    """What is known of the source of each clip of a receipt."""
    said = table[SOURCE].to_pylist() if SOURCE in table.column_names else [None] * len(table)
    return (json.loads(text) if text else {} for text in said)


def _in_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    if any(field.name.startswith(OF_SOURCE) for field in schema):
        table = _with_sources(table, schema)
    return pa.table(
        [
            table[field.name].cast(field.type)
            if field.name in table.column_names
            else pa.nulls(len(table), field.type)
            for field in schema
        ],
        schema=schema,
    )


def _with_sources(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with what is known of the sources in columns of their own."""
    rows = [in_columns(said, schema) for said in sources_in(table)]
    for field in schema:
        if field.name.startswith(OF_SOURCE):
            values = pa.array([row.get(field.name) for row in rows], field.type)
            table = table.append_column(field, values)
    return table


def header(name: str, size: int) -> bytes:
    """What stands before a member's bytes: plain ustar, and pax only where that cannot say it."""
    said = tarfile.TarInfo(name)
    said.size, said.mode, said.mtime = size, 0o644, 0
    return said.tobuf(tarfile.PAX_FORMAT)


def padding(size: int) -> int:
    """How many zeros follow ``size`` bytes.

    >>> padding(1), padding(512)
    (511, 0)
    """
    return -size % BLOCK


def size_in_tar(members: Mapping[str, int]) -> int:
    """The bytes that members of these names and sizes take in an archive."""
    return sum(_header_size(name, size) + size + padding(size) for name, size in members.items())


def _header_size(name: str, size: int) -> int:
    """How long a header is; most are a block, as plain ustar has them."""
    plain = name.isascii() and len(name) <= _LONGEST_NAME and size < _LARGEST_SIZE
    return BLOCK if plain else len(header(name, size))


class Tar:
    """An archive that is being written. What was begun can be taken back (``rewind``)."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        #: Bytes so far: where the next member begins.
        self.size = 0
        #: Why the archive could not be written to, if that happened.
        self.broken: OSError | None = None

    def add(self, name: str, data: bytes) -> int:
        """Add a member; the place of its first byte comes back."""
        return self.add_pieces(name, len(data), (data,))

    def add_pieces(self, name: str, size: int, pieces: Iterable[bytes]) -> int:
        """The same, piece by piece. They have to be of that size altogether: who finds out that
        they are not rewinds."""
        self._write(header(name, size))
        place = self.size
        for piece in pieces:
            self._write(piece)
        written = self.size - place
        if written != size:
            raise ValueError(
                f"{name} has {written} bytes instead of the {size} that were announced"
            )
        self._write(bytes(padding(size)))
        return place

    def copy(self, pieces: Iterable[bytes]) -> None:
        """Add members as they are in another archive, from a header to the end of a padding."""
        for piece in pieces:
            self._write(piece)

    def rewind(self, size: int) -> None:
        """Forget everything from this place on."""
        self._file.seek(size)
        self._file.truncate()
        self.size = size

    def close(self) -> int:
        """End the archive; its size comes back."""
        self._write(END)
        return self.size

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            self.broken = error
            raise
        self.size += len(data)
