"""Videos on web servers: ``https://host/path/film.mp4``, read in ranges of one version.

A server says what changes when a file is replaced: its ETag, else when it was modified, with the
size. Every later part is asked for on the condition that it is still the same (``If-Range``), and
the answer is looked at, because not all servers know conditions. A server that knows no ranges
answers with everything: that becomes a copy (``copies.py``), from which all parts are read.
Nothing here tries again: ``files.py`` does.
"""

import contextlib
from dataclasses import replace
from http import HTTPStatus
from itertools import chain
from typing import BinaryIO, Final, NoReturn

from finecut.io.storage.copies import Copy, copy_of, copy_there, poured, too_large, was_copied
from finecut.io.storage.read_only import ReadOnlyStore
from finecut.io.storage.stores import FIRST_LOOK, Found, Opened, Page
from finecut.io.storage.web.urls import access_of, name_of
from finecut.io.storage.web.web_answers import (
    Changed,
    Range,
    Refused,
    WebError,
    check_no_page,
    range_of,
    replaced,
)
from finecut.io.storage.web.web_requests import Answer, Version, answer_to

#: What is read whole is a list or a document.
MOST_READ: Final = 256 << 20
#: Answers in which a part may come.
MOST_PARTS: Final = 64


class WebStore(ReadOnlyStore):
    """What can be read from a web server. Nothing can be listed there, or written."""

    def look(self, uri: str) -> Found | None:
        try:
            version = _version(uri)
        except FileNotFoundError:
            return None
        size = version.size
        # What a server does not say is known of what it has sent.
        if size < 0 and (copy := copy_there(name_of(uri), version.mark)) is not None:
            size = copy.size
            copy.close()
        return Found(uri, max(0, size), version.named, version.modified)

    def matching(self, pattern: str, most: int | None, after: str | None) -> Page:
        return Page([], [])

    def inside(self, folder: str, after: str | None) -> Page:
        return Page([], [])

    def read(self, uri: str) -> bytes:
        with contextlib.closing(answer_to("GET", uri, {})) as answer:
            data = b"".join(answer.pieces(MOST_READ + 1))
        if len(data) > MOST_READ:
            raise WebError(too_large(name_of(uri), MOST_READ))
        return data

    def open(self, uri: str) -> Opened:
        file = WebFile(uri)
        file.ask()
        return file

    def _refuse(self, uri: str) -> NoReturn:
        raise WebError(f"{name_of(uri)} is on a web server, which finecut only reads from")


class WebFile:
    """One version of a file, which the first answer tells. Until then nothing is asked."""

    def __init__(self, uri: str, is_whole: bool = True) -> None:
        """``is_whole``: all of it may be read, so that its size matters."""
        self._uri, self._is_whole = uri, is_whole
        self._version: Version | None = None
        self._copy: Copy | None = None
        #: What came with the first answer.
        self._first = b""

    def ask(self) -> None:
        """Ask for the beginning, unless something is known already."""
        if self._version is None:
            self._first = self._fetched(0, FIRST_LOOK)

    @property
    def is_copied(self) -> bool:
        return self._copy is not None

    @property
    def size(self) -> int:
        self.ask()
        return self._copy.size if self._copy is not None else self._known.size

    def fetch(self, start: int, length: int) -> bytes:
        data = self._first[start : start + length]
        # A server may send less than it was asked for, and say so.
        for _ in range(MOST_PARTS):
            if len(data) == length or (self._version and start + len(data) >= self.size >= 0):
                break
            data += self._fetched(start + len(data), length - len(data))
        return data

    def close(self) -> None:
        if self._copy is not None:
            self._copy.close()

    @property
    def _known(self) -> Version:
        assert self._version is not None
        return self._version

    def _fetched(self, start: int, length: int) -> bytes:
        if self._version is None and was_copied(name_of(self._uri)):
            # This server sends everything, whatever it is asked for: better not to ask again.
            version = _version(self._uri)
            self._copy = copy_there(name_of(self._uri), version.mark)
            self._version = version if self._copy is not None else None
        if self._copy is not None:
            return self._copy.fetch(start, length)
        with contextlib.closing(self._asked(start, length)) as answer:
            version = answer.version()
            if answer.status == HTTPStatus.PARTIAL_CONTENT:
                part = range_of(answer.header("Content-Range"))
                self._version = self._same(replace(version, size=part.total))
                self._refuse_large(part)
                if part.start != start:
                    raise WebError(f"{name_of(self._uri)}: the server sent another part than asked")
                data = b"".join(answer.pieces(length))
                if not start:
                    check_no_page(name_of(self._uri), version.kind, data)
                return data
            # All of it: either this server knows no ranges, or it is another version by now.
            self._version = self._same(version)
            self._copy = _copied(self._uri, version, answer)
        return self._copy.fetch(start, length)

    def _asked(self, start: int, length: int) -> Answer:
        wanted = {"Range": f"bytes={start}-{start + length - 1}"}
        known = self._version
        if known is not None and known.is_strong:
            wanted["If-Range"] = known.mark
        try:
            return answer_to("GET", self._uri, wanted, known.place if known else "")
        except Refused as error:
            if error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise
            if known is not None or start:
                raise Changed(replaced(name_of(self._uri))) from error
            # An empty file has no ranges; and some servers only know a few.
            return answer_to("GET", self._uri, {})

    def _same(self, version: Version) -> Version:
        """The version, if it is the one that was opened."""
        known = self._version
        if known is None:
            return version
        sizes = {known.size, version.size} - {-1}
        if (version.mark and known.mark and version.mark != known.mark) or len(sizes) > 1:
            raise Changed(replaced(name_of(self._uri)))
        return known if version.size < 0 else version

    def _refuse_large(self, part: Range) -> None:
        most = access_of(self._uri).most
        if self._is_whole and part.total > most:
            raise WebError(too_large(name_of(self._uri), most))


def _copied(uri: str, version: Version, answer: Answer) -> Copy:
    """A copy of all that this answer holds, made now unless there is one."""
    named, most = name_of(uri), access_of(uri).most
    if version.size > most:
        raise WebError(too_large(named, most))

    def fill(out: BinaryIO) -> None:
        pieces = answer.pieces()
        first = next(pieces, b"")
        check_no_page(named, version.kind, first)
        written = poured(chain([first], pieces), out, most, named)
        if version.size >= 0 and written != version.size:
            raise ConnectionError(f"{named}: {written} of {version.size} bytes came")

    return copy_of(named, version.mark, fill, size=version.size, most=most)


def _version(uri: str) -> Version:
    """What lies there now. A server that says too little without sending it is asked for a byte."""
    with contextlib.suppress(Refused, PermissionError, FileNotFoundError):
        with contextlib.closing(answer_to("HEAD", uri, {})) as answer:
            version = answer.version()
        if version.size > 0 and version.mark:
            return version
    try:
        with contextlib.closing(answer_to("GET", uri, {"Range": "bytes=0-0"})) as answer:
            version = answer.version()
            if answer.status == HTTPStatus.PARTIAL_CONTENT:
                return replace(version, size=range_of(answer.header("Content-Range")).total)
            return version
    except Refused as error:
        if error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
    with contextlib.closing(answer_to("GET", uri, {})) as answer:
        return answer.version()
