"""Lists of clips to leave out, as ``finecut dedup`` writes them, or by hand.

A list is a Parquet file with one column ``id``, a text with one id in a line, or a folder of
Parquet files. What stands behind a tab in a line of text is not read, nor are lines that begin with
``#``: the report writes tags and notes there. Such a file holds ids that are to go, never those
that stay. The groups beside it say for which clip each duplicate is to go: where that clip goes as
well, by a rule, nothing is left of the group.
"""

import hashlib
import io
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from finecut.io.errors import UserError
from finecut.io.layout import GROUPS, is_clip_id
from finecut.io.storage import files as shelf
from finecut.io.storage.retry import pass_on_outlasted
from finecut.io.tables.ids import BLOCK, IdMap, IdSet
from finecut.io.tables.parquet import PARQUET, from_parquet, tables_in, to_parquet
from finecut.io.tables.parted import files_of
from finecut.io.wording import count_of

#: Where :mod:`finecut.transforms.dedup.duplicates` puts its list, in the folder it writes.
DUPLICATES = "duplicates"


class DropsError(UserError, ValueError):
    """A file that is no list of clips; the message names it, and says what to write."""


def read_drops(paths: Iterable[str]) -> IdSet:
    """The ids on all of these lists; an empty name is no list."""
    return IdSet(id for path in paths if path for id in _ids_of(shelf.absolute(path)))


def digest_of(ids: IdSet) -> str:
    """What tells these ids from others, however many lists they are on."""
    digest, between = hashlib.sha256(), ""
    for id in ids:
        digest.update(f"{between}{id}".encode())
        between = "\n"
    return digest.hexdigest()


def drops_table(ids: Iterable[str]) -> bytes:
    """Such a list as a Parquet file."""
    ids = ids if isinstance(ids, IdSet) else IdSet(ids)
    return to_parquet(pa.table({"id": pa.array(iter(ids), pa.string())}), compression="zstd")


def _ids_of(path: str) -> Iterator[str]:
    data = None if path.endswith("/") else _read(path)
    if data is not None:
        yield from _ids_in(path, data)
        return
    tables = tables_in(f"{path}/{DUPLICATES}") or tables_in(path)
    if not tables:
        raise DropsError(
            f"{path} lists no clips: it is neither a file nor a folder with tables. Give the "
            "folder that finecut dedup wrote (DATASET/dedup), a .parquet file with one column "
            "id, or a text file with one id per line"
        )
    for table in tables:
        yield from _ids_in(table, _read(table) or b"")


def _read(path: str) -> bytes | None:
    try:
        return shelf.read_if_there(path)
    except OSError as error:
        pass_on_outlasted(error)
        raise DropsError(
            f"{path} cannot be read ({error.strerror or error}): give a list of clips that you "
            "may read"
        ) from error


def _ids_in(path: str, data: bytes) -> Iterator[str]:
    if path.endswith(PARQUET):
        try:
            table = from_parquet(data)
        except (pa.ArrowException, OSError) as error:  # damaged pages are the latter
            raise DropsError(
                f"{path} is not a Parquet table ({error}): usually a copy was cut short. Run "
                "finecut dedup again"
            ) from error
        # Tables with more to say list clips that stay, too.
        if table.column_names != ["id"]:
            raise DropsError(
                f"{path} is not a list of clips to drop, because it has the columns "
                f"{', '.join(table.column_names)} instead of just id: give the folder that "
                "finecut dedup wrote (DATASET/dedup)"
            )
        place, each = "row", "in each row"
        chunks = table.column("id").chunks
        said: Iterator[object] = (id for chunk in chunks for id in _values(chunk))
    else:
        # Some editors begin a text with a mark that is not part of it.
        place, each = "line", "on each line"
        text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", errors="replace")
        said = map(_id_on, text)
    for number, id in enumerate(said, 1):
        if id == "" and place == "line":
            continue
        if not is_clip_id(id):
            raise DropsError(
                f"{path}, {place} {number}: {str(id)[:60]!r} is not the id of a clip: put one id "
                f"{each}, as in the file names in clips/"
            )
        yield str(id)


def _id_on(line: str) -> str:
    """The id on a line; tags and notes may stand behind a tab, and a ``#`` begins a remark."""
    said = line.strip()
    return "" if said.startswith("#") else said.split("\t", 1)[0].rstrip()


def _values(chunk: pa.Array) -> Iterator[object]:
    """What stands in a column, never all of it as texts."""
    for start in range(0, len(chunk), BLOCK):
        yield from chunk.slice(start, BLOCK).to_pylist()


def keepers_of(lists: Iterable[str]) -> IdMap:
    """Duplicates, and the clip that each is to go for; of lists that are no such folder, none."""
    return IdMap(pair for path in lists if path for pair in _keepers_in(shelf.absolute(path)))


def _keepers_in(folder: str) -> Iterator[tuple[str, str]]:
    for path in files_of(f"{folder}/{GROUPS}"):
        yield from _keepers_of_file(path)


def _keepers_of_file(path: str) -> Iterator[tuple[str, str]]:
    try:
        table = from_parquet(shelf.read(path), columns=["id", "kept", "kept_id"], partitioning=None)
    except (pa.ArrowException, OSError) as error:
        pass_on_outlasted(error)
        raise DropsError(
            f"{path} is not a table of groups ({error}): usually a copy was cut short. Run "
            "finecut dedup again"
        ) from error
    gone = table.filter(pc.invert(table["kept"])).combine_chunks()
    columns = (_values(gone[name].combine_chunks()) for name in ("id", "kept_id"))
    for id, keeper in zip(*columns, strict=True):
        # Files are looked for by these names.
        if is_clip_id(id) and is_clip_id(keeper):
            yield id, keeper


def keepers_table(keepers: IdMap) -> bytes:
    """The groups again, as far as :func:`keepers_of` asks for them."""
    columns = {
        "id": pa.array(iter(keepers), pa.string()),
        "kept": pa.array([False] * len(keepers)),
        "kept_id": pa.array((keepers[id] for id in keepers), pa.string()),
    }
    return to_parquet(pa.table(columns), compression="zstd")


def unused_drops(number: int, where: str) -> str:
    """What to say of lists of clips to leave out that named none of those there are."""
    if not number:
        return "the --drop lists are empty, so no clip was left out because of them"
    return (
        f"the --drop lists contain {count_of(number, 'id')}, but no such clip is {where}; usually "
        "the lists were made for another dataset"
    )


def bereft_words(number: int) -> list[str]:
    """What to say of duplicates whose keepers go as well, if there are any."""
    if not number:
        return []
    were = "was" if number == 1 else "were"
    return [
        f"{number} of the duplicates {were} left out although the clip that should stay in their "
        "place is left out, too: first refilter with your rules, then run finecut dedup again"
    ]
