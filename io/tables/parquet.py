"""Vectors on the shelf: one Parquet file per chunk, one pickle per clip.

A table says in its metadata which model its vectors are of (``finecut.algorithm``, ``.model``,
``.revision``, ``.dimension``), so that nobody compares vectors of two models.

A vector is read out of a pickle that may be anybody's, without running it.
A pickle is a program, and whoever unpickles one does what it says. Here the steps are those of
:mod:`pickle`, and what they may call is nothing of NumPy: of the four names that an array of
numbers needs each stands for a note of what was said to it, and every other name is refused. An
array is made of the notes afterwards, when its bytes have been counted::

    _reconstruct(ndarray, (0,), b"b")  then its state: (1, shape, dtype, order, the bytes)
    _frombuffer(the bytes, dtype, shape, order)                    (protocol 5)

Names are not all: a pickle of ten bytes may ask for gigabytes, for a number it remembers (a place
among them) or a length it says. So the steps are looked through first. An array needs few kinds of
them, and remembers few places.
"""

import io
import math
import pickle
import pickletools
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from finecut.io.storage import files as shelf

PARQUET = ".parquet"
SCHEMA = pa.schema([("id", pa.string()), ("embedding", pa.list_(pa.float32()))])
#: What a table's facts are called in its metadata.
PREFIX = "finecut."

#: The steps of which arrays are made. LONG_BINPUT is not among them: it may say any place.
STEPS: Final = frozenset(
    {"PROTO", "FRAME", "STOP", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2"}
    | {"BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
    | {"MARK", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}
    | {"MEMOIZE", "BINPUT", "BINGET", "LONG_BINGET"}
    | {"GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"}
)
FLOATS: Final = {"f2", "f4", "f8"}
#: What broken pickles raise.
BROKEN: Final = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    LookupError,
    OverflowError,
    TypeError,
    ValueError,
)


def embedding_table(
    rows: Sequence[tuple[str, Sequence[float]]], facts: Mapping[str, str] | None = None
) -> bytes:
    """A Parquet file with the columns ``id`` and ``embedding`` (a list of float32).

    ``facts`` go into the file's metadata.
    """
    table = pa.table(
        {
            "id": pa.array([identifier for identifier, _ in rows], pa.string()),
            "embedding": pa.array([vector for _, vector in rows], pa.list_(pa.float32())),
        },
        schema=SCHEMA,
    )
    if facts:
        table = table.replace_schema_metadata({PREFIX + key: said for key, said in facts.items()})
    return to_parquet(table)


def to_parquet(
    table: pa.Table, row_group_size: int | None = None, compression: str = "snappy"
) -> bytes:
    """A table as the bytes of a Parquet file."""
    out = io.BytesIO()
    pq.write_table(table, out, compression=compression, row_group_size=row_group_size)
    return out.getvalue()


def from_parquet(data: bytes, **settings: Any) -> pa.Table:
    """The table that these bytes of a Parquet file hold."""
    return pq.read_table(io.BytesIO(data), **settings)


def tables_in(folder: str) -> list[str]:
    """The Parquet files that lie in a folder, in order."""
    return [path for path in shelf.files_in(folder) if path.endswith(PARQUET)]


def rows_of(table: bytes) -> list[tuple[str, list[float]]]:
    """The rows that :func:`embedding_table` was given."""
    rows = from_parquet(table, columns=["id", "embedding"]).to_pylist()
    return [(row["id"], row["embedding"]) for row in rows]


def facts_of(table: bytes) -> dict[str, str]:
    """What :func:`embedding_table` was told about its vectors; nothing of others' tables."""
    metadata = pq.read_schema(io.BytesIO(table)).metadata or {}
    named = {key.decode(): said.decode() for key, said in metadata.items()}
    return {key.removeprefix(PREFIX): v for key, v in named.items() if key.startswith(PREFIX)}


def embedding_pickle(vector: Sequence[float]) -> bytes:
    """A float32 array of shape (1, D), pickled: written because readers expect it."""
    return pickle.dumps(np.asarray([vector], dtype=np.float32), protocol=4)


class NoVector(ValueError):
    """A pickle that holds no array of numbers, or does more than that; the message says what."""


class _Note:
    """What was said to a name; nothing is called."""

    def __init__(self, *said: Any) -> None:
        self.said = said
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Array(_Note):
    """Of ``_reconstruct``, whose array is in its state."""


class _Buffer(_Note):
    """Of ``_frombuffer``, whose array is in its arguments."""


class _Dtype(_Note):
    """A type of numbers."""


#: NumPy 2 keeps its inside in ``_core``, older ones in ``core``.
NAMES: Final[dict[tuple[str, str], type[_Note]]] = {
    ("numpy", "ndarray"): _Note,
    ("numpy", "dtype"): _Dtype,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.numeric", "_frombuffer"): _Buffer,
    ("numpy.core.numeric", "_frombuffer"): _Buffer,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in NAMES:
            raise NoVector(
                f"it would call {f'{module}.{name}'[:80]!r}, which an array of numbers does "
                "not need"
            )
        return NAMES[module, name]


def read_vector(data: bytes) -> NDArray[Any]:
    """The array of floats in this pickle, or :class:`NoVector`."""
    try:
        # Whoever looks through it also finds lengths that lead out of the data.
        for step, _, _ in pickletools.genops(data):
            if step.name not in STEPS:
                raise NoVector(
                    f"it contains an instruction ({step.name}) that an array of numbers does not "
                    "need"
                )
        return _array(_Unpickler(io.BytesIO(data)).load())
    except NoVector:
        raise
    except BROKEN as error:
        raise NoVector(f"it is cut short, or not a pickle ({error})") from error


def _array(made: Any) -> NDArray[Any]:
    if isinstance(made, _Array):
        _version, shape, dtype, fortran, data = made.state
        order = "F" if fortran else "C"
    elif isinstance(made, _Buffer):
        data, dtype, shape, order = made.said
    else:
        raise NoVector(
            f"it contains a {type(made).__name__.lstrip('_').lower()} instead of an array"
        )
    kind = _dtype(dtype)
    if not isinstance(data, bytes | bytearray) or math.prod(shape) * kind.itemsize != len(data):
        raise NoVector(f"its numbers do not fill an array of the shape {shape}")
    return np.frombuffer(bytes(data), kind).reshape(shape, order="F" if order == "F" else "C")


def _dtype(made: Any) -> np.dtype[Any]:
    if not isinstance(made, _Dtype) or made.said[0] not in FLOATS:
        raise NoVector("it contains no floats")
    order = "<" if made.state[1] == "<" else ">"
    return np.dtype(f"{order}{made.said[0]}")
