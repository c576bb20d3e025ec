"""Lists of videos that somebody wrote, and lists of what failed, which are inputs again."""

import glob
import posixpath
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, NamedTuple

from finecut.io.errors import UserError
from finecut.io.layout import check_relative
from finecut.io.records import Failure, Source, from_json, to_json
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import csv_rows, list_text, parsed_text
from finecut.io.storage.on_disk import NotAFile
from finecut.transforms.beam.metrics import LOG
from finecut.transforms.find.metadata import plain

TABLE: Final = ".parquet"
LIST_EXTENSIONS = (".txt", ".json", ".jsonl", ".csv", TABLE)
FAILURE_LIST = ".jsonl"
LIST_COLUMNS = ("path", "uri", "url", "video", "file")
#: Cells of a CSV that are numbers: nothing is lost when they are written again. A zero in front
#: belongs to a name, and more digits do not fit into 64 bits.
_WHOLE: Final = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?")
#: What is added to the name of a list of failures for each of its files, if there are several.
_PIECE: Final = re.compile(r"-[0-9]{5}-of-[0-9]{5}\.jsonl")
_WORDS: Final[Mapping[str, bool]] = {"true": True, "false": False}


class Row(NamedTuple):
    """An entry of a list: the video it names, and what else it says."""

    path: str
    told: Mapping[str, Any] = {}


class InputError(UserError, ValueError):
    """An input that names nothing usable; the message says what to give instead."""


def piece_of(path: str, number: int, of: int) -> str:
    """A file of a list of failures that is too long for one.

    >>> piece_of("/out/failures/1f3a.jsonl", 2, 31)
    '/out/failures/1f3a-00002-of-00031.jsonl'
    """
    return f"{path.removesuffix(FAILURE_LIST)}-{number:05}-of-{of:05}{FAILURE_LIST}"


def pieces_of(path: str) -> list[str]:
    """The files of a list of failures that lie there: itself, or those that it was divided into."""
    start = path.removesuffix(FAILURE_LIST)
    # One listing tells of all: of a bucket it is a request.
    found = {*shelf.matching(f"{glob.escape(start)}*{FAILURE_LIST}")}
    pieces = sorted(one for one in found if _PIECE.fullmatch(one.removeprefix(start)))
    return [path, *pieces] if path in found else pieces


def named_as_input(path: str) -> str:
    """What to give as an input for all that is on a list of failures."""
    pieces = pieces_of(path)
    return path if pieces in ([], [path]) else f"{path.removesuffix(FAILURE_LIST)}*{FAILURE_LIST}"


def list_of_failures(given: str, folder: str) -> str | None:
    """The list in this folder that an input names, whole or one of its files."""
    if is_failure_list(given, folder):
        return given
    path = f"{given.removesuffix(f'*{FAILURE_LIST}')}{FAILURE_LIST}"
    if path == given or posixpath.dirname(path) != folder or glob.has_magic(path):
        return None
    return path if named_as_input(path) == given else None


def failures_listed(path: str | None) -> Iterator[Failure]:
    """What an earlier run listed as failed, in however many files."""
    for piece in [] if path is None else pieces_of(path):
        yield from failures_in(piece)


def failures_in(path: str | None) -> list[Failure]:
    """What an earlier run listed as failed in this file."""
    try:
        data = None if path is None else shelf.read_if_there(path)
    except NotAFile as error:
        LOG.error("%s %s: earlier failures are unknown", path, error.strerror)
        data = None
    return failures_on(data or b"", path)


def failures_on(data: bytes, path: str | None) -> list[Failure]:
    """What a list says, which lies there."""
    failures = []
    for line in _lines(data.decode(errors="replace")):
        try:
            failures.append(read_failure(line))
        except ValueError as error:
            LOG.error(
                "%s: a line is not the record of a failure (%s) and is left out: %.80r",
                path,
                error,
                line,
            )
    return failures


def still_listed(data: bytes, path: str, tried: Container[str]) -> list[str]:
    """The lines of this list of failures that stay: of videos that were not tried since."""
    failures = failures_on(data, path)
    return [to_json(failure) for failure in failures if failure.source.name not in tried]


def is_failure_list(path: str, folder: str) -> bool:
    """Whether this is a list that a run wrote into its folder of failures."""
    with suppress(ValueError):
        return path.endswith(FAILURE_LIST) and (
            posixpath.dirname(path) == folder and bool(sources_in(list_text(path)))
        )
    return False


def sources_in(text: str) -> list[Source]:
    """The sources of a list of failures, each once; nothing if it is a list of another kind.

    They keep their names, which a path alone does not tell, and the number of their attempts.
    """
    lines = _lines(text)
    if not lines or not all(map(_is_failure, lines)):
        return []
    sources = (failed_source(read_failure(line)) for line in lines)
    return list({source.name: source for source in sources}.values())


def _is_failure(line: str) -> bool:
    said = parsed_text(line)
    # Somebody's list may have a column of this name, too, but says where the video is.
    return isinstance(said, dict) and isinstance(said.get("source"), dict) and not _column_in(said)


def read_failure(line: str) -> Failure:
    """The failure on a line of a list, which somebody may have edited."""
    try:
        failure = from_json(Failure, line)
        source = failure.source
        texts = [source.uri, source.name, source.relative, source.version, source.trouble]
        texts += [failure.step, failure.error, failure.message, failure.evidence]
        "".join((*texts, *failure.lost_shots)).encode()
        check_relative(source.relative)
    except (TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"it contains something else: {error}") from error
    if not all(type(number) is int for number in (source.attempts, failure.attempts)):
        raise ValueError("its number of attempts is invalid")
    metadata: Any = source.metadata
    if not isinstance(metadata, dict):
        raise ValueError("its metadata is no object")
    return replace(failure, source=replace(source, metadata=plain(metadata).said))


def failed_source(failure: Failure) -> Source:
    """The source of a failure, as the next attempt finds it."""
    trouble = failure.source.trouble if failure.set_aside else failure.message
    return replace(failure.source, attempts=failure.attempts, trouble=trouble)


def read_list(text: str, extension: str) -> list[Row]:
    """The entries of a list file, in order.

    >>> read_list('{"path": "a.mp4", "why": "retry"}', ".jsonl")
    [Row(path='a.mp4', told={'why': 'retry'})]
    """
    if extension == ".json":
        entries = parsed_text(text)
        if not isinstance(entries, list):
            raise InputError('it does not contain an array; write ["a.mp4", "b.mp4"]')
        return [_row_of(entry) for entry in entries]
    if extension == ".jsonl":
        return [_row_of(parsed_text(line)) for line in _lines(text)]
    if extension == ".csv":
        return _read_csv(text)
    lines = (line.strip() for line in _lines(text))
    return [Row(line) for line in lines if line and not line.startswith("#")]


def read_table(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The entries of a table; rows that name nothing are left out, as in a CSV."""
    named = [row for row in rows if any(row.get(key) not in (None, "") for key in LIST_COLUMNS)]
    if rows and not named:
        raise InputError(
            f"it has no column {', '.join(LIST_COLUMNS[:-1])} or {LIST_COLUMNS[-1]} with the paths "
            f"of videos, but {', '.join(map(str, rows[0])) or 'none'}"[:400]
        )
    return [*map(_row_of, named)]


def _read_csv(text: str) -> list[Row]:
    rows = csv_rows(text)
    names = [cell.strip() for row in rows[:1] for cell in row]
    header = [name.lower() for name in names]
    named = [header.index(column) for column in LIST_COLUMNS if column in header]
    column = named[0] if named else 0
    body = rows[1:] if named else rows
    body = [row for row in body if len(row) > column and row[column].strip()]
    others = [n for n in range(len(names) if named else 0) if n != column and names[n]]
    typed = {n: _typed([row[n].strip() if len(row) > n else "" for row in body]) for n in others}
    return [
        Row(row[column], {names[n]: cells[at] for n, cells in typed.items()})
        for at, row in enumerate(body)
    ]


def _typed(cells: Sequence[str]) -> Sequence[Any]:
    """The cells of a column: numbers, or true and false, if all of them are; otherwise texts."""
    said = [cell for cell in cells if cell]
    read: Any = None
    if all(map(_WHOLE.fullmatch, said)):
        read = int
    elif all(map(_NUMBER.fullmatch, said)):
        read = float
    elif all(cell.lower() in _WORDS for cell in said):
        read = _truth
    return cells if read is None else [read(cell) if cell else None for cell in cells]


def _truth(cell: str) -> bool:
    return _WORDS[cell.lower()]


def _row_of(entry: Any) -> Row:
    said = entry if isinstance(entry, dict) else {LIST_COLUMNS[0]: entry}
    key = _column_in(said)
    if key is None:
        raise InputError(
            f"list entry {str(entry)[:80]!r} names no file. An entry is a path, or an object with "
            f"one of the keys {', '.join(LIST_COLUMNS)}"
        )
    return Row(said[key], {name: value for name, value in said.items() if name != key})


def _column_in(said: Mapping[str, Any]) -> str | None:
    """The key under which an entry names its file."""
    return next((key for key in LIST_COLUMNS if isinstance(said.get(key), str)), None)


def _lines(text: str) -> list[str]:
    """The lines of a text, which end at newlines only: names may hold all other separators."""
    return [line for line in text.replace("\r\n", "\n").split("\n") if line.strip()]
