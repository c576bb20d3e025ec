"""What web servers answer instead of a video, in plain sentences."""

import errno
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from time import time
from typing import Final, NamedTuple

#: What pages begin with.
PAGE: Final = re.compile(rb"\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body|script)", re.I)
_RANGE: Final = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")
#: Seconds that a server may ask to wait for, at most.
LONGEST_WAIT: Final = 60.0


class WebError(OSError):
    """What no second attempt mends; the message says why."""


class Changed(WebError):
    """The file was replaced while it was read."""


class TooManyRedirects(WebError):
    """A server that leads nowhere."""


class Refused(WebError):
    """An answer that is none; its status says whether a second attempt may help."""

    def __init__(self, said: str, code: int, retry_after: float = 0.0) -> None:
        super().__init__(said)
        self.code, self.retry_after = code, retry_after


class Range(NamedTuple):
    """The part of a file that an answer holds."""

    start: int
    total: int


def range_of(header: str) -> Range:
    found = _RANGE.fullmatch(header.strip())
    if found is None:
        raise WebError(
            f"the server sent a part of a file, but did not say which ({header[:60]!r}). Usually a "
            "proxy between is broken; download the file"
        )
    return Range(int(found[1]), int(found[3]))


def replaced(named: str) -> str:
    return (
        f"{named} was replaced on its server while finecut was reading it. Usually it was still "
        "being uploaded. Run the same command again when the upload is complete"
    )


def check_no_page(named: str, kind: str, head: bytes) -> None:
    """Raise :class:`WebError` if this is a page, as servers send it where a video was."""
    if PAGE.match(head) or (kind.startswith("text/html") and head.lstrip()[:1] == b"<"):
        raise WebError(
            f"{named} is a web page, not a video. Usually it is the page that shows the video, a "
            "page to log in, or one that says that the video is gone. Give the URL of the file"
        )


def refusal(status: int, named: str, headers: Mapping[str, str], is_signed: bool) -> OSError:
    """The error for a status that is no success."""
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        usual = (
            "Usually the signature of the URL has expired: make a list with new ones"
            if is_signed
            else "Usually it needs a login: write https://USER:PASSWORD@…, or put it into ~/.netrc"
        )
        return PermissionError(errno.EACCES, f"the server denied access ({status}). {usual}", named)
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        return FileNotFoundError(errno.ENOENT, f"the server has no such file ({status})", named)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        said = "the server wants fewer requests (429). Use fewer --workers, or run again later"
    elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        said = f"the server is in trouble ({status}). Run the same command again later"
    else:
        said = f"the server refused the request ({status} {_phrase(status)})"
    return Refused(f"{named}: {said}", status, _wait(headers.get("Retry-After", "")))


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in {*HTTPStatus} else "?"


def _wait(header: str) -> float:
    """The seconds that a server asks to wait for."""
    try:
        is_number = header.isascii() and header.isdigit()
        seconds = float(header) if is_number else parsedate_to_datetime(header).timestamp() - time()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(0.0, seconds), LONGEST_WAIT)
