"""Rows of a table that anybody may have written, as plain values."""

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import BadList
from finecut.io.storage.on_disk import NotAFile
from finecut.io.storage.retry import pass_on_outlasted


def rows_at(path: str) -> list[dict[str, Any]]:
    """The rows of this Parquet table; columns of bytes (pictures, say) are not read."""
    try:
        file = pq.ParquetFile(io.BytesIO(shelf.read(path)))
        texts = [field.name for field in file.schema_arrow if not _is_bytes(field.type)]
        table = file.read(columns=texts)
        coarser = pa.schema(map(_coarser, table.schema))
        rows: list[dict[str, Any]] = table.cast(coarser, safe=False).to_pylist()
    except FileNotFoundError as error:
        raise BadList("the file does not exist") from error
    except NotAFile as error:
        raise BadList(f"it cannot be read ({error.strerror})") from error
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        pass_on_outlasted(error)
        raise BadList(
            f"it is not a Parquet table that can be read ({str(error).partition(chr(10))[0][:200]})"
        ) from error
    return rows


def _is_bytes(kind: pa.DataType) -> bool:
    of_bytes = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    return any(is_one(kind) for is_one in of_bytes)


def _coarser(field: pa.Field) -> pa.Field:
    """The column with times that Python can tell: of nanoseconds it knows nothing."""
    kind = field.type
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return field.with_type(pa.timestamp("us", kind.tz))
    if pa.types.is_duration(kind) and kind.unit == "ns":
        return field.with_type(pa.duration("us"))
    return field.with_type(pa.time64("us")) if kind == pa.time64("ns") else field
