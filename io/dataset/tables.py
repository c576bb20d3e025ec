"""Tables: one row for each clip, for pandas, Polars, DuckDB and whatever else reads Arrow.

    table("dataset").to_pandas()
    polars.from_arrow(table("dataset"))
    clips = table("dataset");  duckdb.sql("select source_video, count(*) from clips group by all")

:func:`batches` is the same piece by piece, in constant memory.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import pyarrow as pa

from finecut.io.dataset.order import ahead
from finecut.io.dataset.output import Entry
from finecut.io.dataset.places import NoDataset
from finecut.io.dataset.sources import Source, open_source
from finecut.io.held import OF_SOURCE
from finecut.io.tables.kinds import Kinds, in_columns

#: Columns that every clip has, in this order. Scores, captions and what is known of the sources
#: (``source.license``) follow by name, then the vector.
COLUMNS: Final = pa.schema(
    [
        ("id", pa.string()),
        ("kept", pa.bool_()),
        ("filtered_by", pa.string()),
        ("source_video", pa.string()),
        ("start", pa.float64()),
        ("end", pa.float64()),
        ("width", pa.int64()),
        ("height", pa.int64()),
        ("framerate", pa.float64()),
        ("num_frames", pa.int64()),
        ("valid", pa.bool_()),
        ("path", pa.string()),
    ]
)
VECTOR: Final = "vector"
#: Rows that are in memory at the same time.
ROWS: Final = 1024

Row = dict[str, Any]


def table(root: str, vectors: str | None = None) -> pa.Table:
    """All clips of an output (kept ones and rejected ones), or of a folder of shards.

    ``vectors`` names whose vectors come as a column ``vector``.
    """
    return batches(root, vectors).read_all()


def batches(root: str, vectors: str | None = None, rows: int = ROWS) -> pa.RecordBatchReader:
    """The same, ``rows`` rows at a time.

    Every clip's document is read twice: first to learn which scores and captions there are.
    """
    source = open_source(root, rejected=True)
    if vectors is not None:
        source.check_vectors(vectors)
    schema = _schema(source, vectors)
    return pa.RecordBatchReader.from_batches(schema, _batches(source, vectors, schema, rows))


def _schema(source: Source, vectors: str | None) -> pa.Schema:
    scores: set[str] = set()
    labels: set[str] = set()
    captions: set[str] = set()
    kinds = Kinds()
    for entry in ahead(source.entry, range(len(source.listing))):
        found = entry.scores
        scores |= found.keys()
        labels |= {name for name, value in found.items() if isinstance(value, str)}
        captions |= _captions(entry).keys()
        kinds.add(entry.source)
    fields = [
        (_column(name), pa.string() if name in labels else pa.float64()) for name in sorted(scores)
    ]
    texts = [(_column(name), pa.string()) for name in sorted(captions)]
    vector = [] if vectors is None else [(VECTOR, pa.list_(pa.float32()))]
    return pa.schema([*COLUMNS, *fields, *texts, *kinds.columns(), *vector])


def _batches(
    source: Source, vectors: str | None, schema: pa.Schema, rows: int
) -> Iterator[pa.RecordBatch]:
    # A label may be a number in other clips.
    labels = {
        name
        for name in {*schema.names} - {*COLUMNS.names}
        if not name.startswith(OF_SOURCE) and pa.types.is_string(schema.field(name).type)
    }

    def read(number: int) -> Row:
        entry = source.entry(number)
        row = _row(entry)
        row |= {name: str(row[name]) for name in labels if row.get(name) is not None}
        if vectors is not None:
            row[VECTOR] = source.vector(vectors, number)
        return row | in_columns(entry.source, schema)

    read_rows = ahead(read, range(len(source.listing)))
    while some := list(islice(read_rows, rows)):
        yield pa.RecordBatch.from_pylist(some, schema)


def _row(entry: Entry) -> Row:
    try:
        start, end = entry.span
    except KeyError as error:
        raise NoDataset(
            f"the document of the clip {entry.id} ({entry.path}) has no {error}. Usually it was "
            "edited by hand: finecut verify lists everything that is wrong"
        ) from error
    return {
        **{name: entry.document.get(name) for name in COLUMNS.names},
        "id": entry.id,
        "kept": entry.kept,
        "start": start,
        "end": end,
        "path": entry.path,
        **{_column(name): value for name, value in entry.scores.items()},
        **{_column(name): text for name, text in _captions(entry).items()},
    }


def _captions(entry: Entry) -> dict[str, str]:
    """Of shards, one text is the caption of them all."""
    said = entry.document.get("caption")
    return {**({"caption": said} if said else {}), **entry.captions}


def _column(name: str) -> str:
    """What the column of a score or a caption is called: its name, if no other column has that."""
    return f"score_{name}" if name in COLUMNS.names or name == VECTOR else name
