"""Lists of videos that somebody wrote, and lists of what failed, which are inputs again."""

import posixpath
from contextlib import suppress
from dataclasses import replace
from typing import Any

from finecut.io.errors import UserError
from finecut.io.layout import check_relative
from finecut.io.records import Failure, Source, from_json
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import csv_rows, list_text, parsed_text
from finecut.transforms.beam.metrics import LOG

LIST_EXTENSIONS = (".txt", ".json", ".jsonl", ".csv")
FAILURE_LIST = ".jsonl"
LIST_COLUMNS = ("path", "uri", "video", "file")


class InputError(UserError, ValueError):
    """An input that names nothing usable; the message says what to give instead."""


def failures_in(path: str | None) -> list[Failure]:
    """What an earlier run listed as failed."""
    try:
        data = None if path is None else shelf.read_if_there(path)
    except shelf.NotAFile as error:
        LOG.error("%s %s: earlier failures are unknown", path, error.strerror)
        data = None
    failures = []
    for line in _lines((data or b"").decode(errors="replace")):
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
    return isinstance(said, dict) and isinstance(said.get("source"), dict)


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
    return failure


def failed_source(failure: Failure) -> Source:
    """The source of a failure, as the next attempt finds it."""
    trouble = failure.source.trouble if failure.set_aside else failure.message
    return replace(failure.source, attempts=failure.attempts, trouble=trouble)


def read_list(text: str, extension: str) -> list[str]:
    """The paths in a list file, in order.

    >>> read_list('{"path": "a.mp4", "why": "retry"}', ".jsonl")
    ['a.mp4']
    """
    if extension == ".json":
        entries = parsed_text(text)
        if not isinstance(entries, list):
            raise InputError('it does not contain an array; write ["a.mp4", "b.mp4"]')
        return [_path_in(entry) for entry in entries]
    if extension == ".jsonl":
        return [_path_in(parsed_text(line)) for line in _lines(text)]
    if extension == ".csv":
        return _read_csv(text)
    lines = (line.strip() for line in _lines(text))
    return [line for line in lines if line and not line.startswith("#")]


def _read_csv(text: str) -> list[str]:
    rows = csv_rows(text)
    header = [cell.strip().lower() for row in rows[:1] for cell in row]
    named = [header.index(column) for column in LIST_COLUMNS if column in header]
    body = rows[1:] if named else rows
    column = named[0] if named else 0
    return [row[column] for row in body if len(row) > column and row[column].strip()]


def _path_in(entry: Any) -> str:
    said = entry if isinstance(entry, dict) else {LIST_COLUMNS[0]: entry}
    path = next((said[key] for key in LIST_COLUMNS if isinstance(said.get(key), str)), None)
    if path is None:
        raise InputError(
            f"list entry {str(entry)[:80]!r} names no file. An entry is a path, or an object with "
            f"one of the keys {', '.join(LIST_COLUMNS)}."
        )
    return path


def _lines(text: str) -> list[str]:
    """The lines of a text, which end at newlines only: names may hold all other separators."""
    return [line for line in text.replace("\r\n", "\n").split("\n") if line.strip()]
