"""What obstore complains of, in the words that a disk has for it.

Its errors are texts: a few classes say what kind of trouble it is, and what the server said stands
inside. What passes becomes a ``ConnectionError`` or a ``TimeoutError``, which :mod:`retry` waits
out; what does not says what to do.
"""

import errno
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NamedTuple, NoReturn

from finecut.io.storage.cloud.obstore_clients import (
    endpoint_of_s3,
    endpoint_variable,
    is_nobody,
    place_of,
)
from finecut.io.storage.cloud.obstore_here import library
from finecut.io.storage.cloud.obstore_names import root_of

#: Status codes that pass: timeouts, conflicts with another request, too many of them, or no server.
PASSING: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
NOT_THERE: Final = frozenset({404, 410})
REFUSED: Final = frozenset({401, 403})

_STATUS: Final = re.compile(r"status code: (\d{3})")
#: S3 and Azure both write it so; what is wrong with one of many objects stands behind it.
_CODE: Final = re.compile(r"<Code>(\w+)</Code>|\(code: (\w+)\)")
_MESSAGE: Final = re.compile(r"<Message>([^<]+)</Message>")
_KIND: Final = re.compile(r"HttpError \{\s*kind: (\w+)")
_REASON: Final = re.compile(r'(?:message|error): "([^"]+)"')
#: Not the store was asked, but who gives out credentials; some of their addresses are not shown.
_CREDENTIALS: Final = re.compile(
    r"/latest/(?:api|meta-data)/|token request|\w+ REDACTED in|oauth2/"
)
#: What follows is the same again, for programmers.
_DEBUG: Final = "\n\nDebug source"

#: So much of what a server says is shown, from its end.
LONGEST: Final = 400

#: What a server says that passes although its status does not tell.
BUSY: Final = frozenset(
    {
        *("InternalError", "OperationAborted", "RequestTimeout", "ServerBusy", "SlowDown"),
        "Throttling",
        # An upload in parts was completed, nobody heard of it, and it is to be completed again.
        *("InvalidBlockList", "NoSuchUpload"),
    }
)
CLOCK: Final = frozenset({"RequestTimeTooSkewed", "RequestExpired", "RequestNotYetValid"})
WRONG_KEYS: Final = frozenset(
    {"AuthFailure", "InvalidAccessKeyId", "InvalidAuthenticationInfo", "SignatureDoesNotMatch"}
)
EXPIRED: Final = frozenset({"ExpiredToken", "InvalidToken", "TokenRefreshRequired"})
ELSEWHERE: Final = frozenset(
    {"AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"}
)

#: What obstore makes of an answer that is none of a store's.
NO_STORE: Final = ("Header missing from response", "Got invalid list response")

SAY_WHO: Final[Mapping[bool, str]] = {
    True: "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    False: "set AZURE_STORAGE_CONNECTION_STRING or AZURE_STORAGE_ACCOUNT_KEY, or run az login",
}


class Busy(ConnectionError):
    """A store that answers, but not with what was asked for."""

    def __init__(self, message: str, code: int = 503) -> None:
        super().__init__(message)
        self.code = code


class Said(NamedTuple):
    """What an error tells."""

    #: Of HTTP; 0 if there was no answer.
    status: int
    #: The server's word for it.
    code: str
    #: Why there was no answer: ``Connect``, ``Timeout`` …
    kind: str
    #: The bottom of it, in words.
    reason: str
    text: str


def said_by(error: BaseException) -> Said:
    """What stands in an error of obstore's."""
    text = str(error)
    status, code, kind = _STATUS.search(text), _CODE.search(text), _KIND.search(text)
    reasons, message = _REASON.findall(text), _MESSAGE.search(text)
    shown = " ".join((message[1] if message else text.partition(_DEBUG)[0]).split())[-LONGEST:]
    return Said(
        status=int(status[1]) if status else 0,
        code=(code[1] or code[2]) if code else "",
        kind=kind[1] if kind else "",
        reason=reasons[-1] if reasons else shown,
        text=shown,
    )


@contextmanager
def plainly(uri: str) -> Iterator[None]:
    """What is not there or not allowed, in the words that a disk has for it."""
    try:
        yield
    except FileNotFoundError as error:
        if (said := said_by(error)).code in BUSY:
            _raise(said, uri, error)
        raise _not_there(uri) from error
    except library().exceptions.BaseError as error:
        _raise(said_by(error), uri, error)


def is_condition(error: BaseException) -> bool:
    """Whether somebody else was faster: an object is there already, or is another one."""
    kinds = library().exceptions
    return isinstance(error, kinds.PreconditionError | kinds.AlreadyExistsError)


def _not_there(uri: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, "No such object or bucket", uri)


def _raise(said: Said, uri: str, error: BaseException) -> NoReturn:
    if _CREDENTIALS.search(str(error).partition(_DEBUG)[0]):
        _raise_without_credentials(said, uri, error)
    if said.code in CLOCK:
        raise PermissionError(
            errno.EACCES,
            "the store refused the request because its clock and this machine's differ too much: "
            "set this machine's clock (timedatectl set-ntp true)",
            uri,
        ) from error
    if said.code in ELSEWHERE or "Received redirect" in said.text:
        raise PermissionError(errno.EACCES, _elsewhere(said), uri) from error
    if said.code in BUSY or said.status in PASSING:
        busy = f"the store is busy ({said.status} {said.code}".rstrip()
        raise Busy(f"{busy}): {uri}", said.status) from error
    if said.status in NOT_THERE:
        raise _not_there(uri) from error
    if said.status in REFUSED or said.code in (WRONG_KEYS | EXPIRED) or "AccessDenied" in said.code:
        raise PermissionError(errno.EACCES, refusal(said, uri), uri) from error
    if said.status:
        refused = f"the store refused the request ({said.status} {said.code}".rstrip()
        raise OSError(f"{uri}: {refused}): {said.text}") from error
    _raise_unanswered(said, uri, error)


def _raise_without_credentials(said: Said, uri: str, error: BaseException) -> NoReturn:
    why = f"{said.status or ''} {said.code or said.reason}".strip()
    if said.status in PASSING or (said.kind and not _is_misspelled(said)):
        raise ConnectionError(f"who gives out credentials is away ({why}): {uri}") from error
    is_s3 = place_of(root_of(uri)).is_s3
    variable = "AWS_SKIP_SIGNATURE" if is_s3 else "AZURE_SKIP_SIGNATURE"
    raise PermissionError(
        errno.EACCES,
        f"this machine's role or identity gave no credentials ({why}). Usually it has none: give "
        f"it one, or {SAY_WHO[is_s3]}; for a public bucket, set {variable}=true",
        uri,
    ) from error


def _is_misspelled(said: Said) -> bool:
    return "Name or service not known" in said.reason or "nodename nor" in said.reason


def _raise_unanswered(said: Said, uri: str, error: BaseException) -> NoReturn:
    if said.kind == "Timeout":
        raise TimeoutError(f"the store did not answer in time: {uri}") from error
    if _is_misspelled(said):
        raise OSError(
            f"{uri}: there is no server of that name ({said.reason}): look at "
            f"{_endpoint_variable(uri)}"
        ) from error
    if "InvalidContentType" in str(error):
        raise OSError(
            f"{uri}: the server does not speak TLS: begin {_endpoint_variable(uri)} with http:// "
            "instead of https://"
        ) from error
    if "invalid peer certificate" in str(error):
        raise OSError(
            f"{uri}: the server's certificate is not trusted here: if it is your own, set "
            "AWS_CA_BUNDLE to a file with the certificate of who signed it"
        ) from error
    if "PermissionError" in said.text:  # what gives out credentials said why not
        raise PermissionError(errno.EACCES, said.text, uri) from error
    if any(words in said.text for words in NO_STORE):
        raise OSError(
            f"{uri}: the server there answers, but not as this kind of store does: look at "
            f"{_endpoint_variable(uri)}"
        ) from error
    if said.kind:
        raise ConnectionError(f"the connection to the store failed: {said.reason}") from error
    raise OSError(f"{uri}: {said.text}") from error


def _endpoint_variable(uri: str) -> str:
    return endpoint_variable(place_of(root_of(uri)))


def _elsewhere(said: Said) -> str:
    right = re.search(r"expecting '([a-z0-9-]+)'", said.text)
    named = right[1] if right else "the bucket's region"
    return f"the bucket lies in another region: set AWS_REGION to {named}"


def refusal(said: Said, uri: str) -> str:
    """Why we were not allowed to, and what to do."""
    place = place_of(root_of(uri))
    name = "the store" if place.is_s3 and endpoint_of_s3() else "Amazon S3"
    name = name if place.is_s3 else "Azure"
    if said.code in EXPIRED:
        return f"{name} says that the credentials have expired: log in again, or get new ones"
    if is_nobody(place):
        return f"{name} denied access, and there are no credentials: {SAY_WHO[place.is_s3]}"
    if said.code in WRONG_KEYS or said.code == "AuthenticationFailed":
        return (
            f"{name} does not accept the credentials ({said.code}). Usually a key is misspelled, "
            f"has been deleted, or belongs to another store: {SAY_WHO[place.is_s3]}"
        )
    lacking = (
        "s3:GetObject, s3:ListBucket, or for an output s3:PutObject and s3:DeleteObject"
        if place.is_s3
        else "Storage Blob Data Contributor (or Reader, for inputs)"
    )
    return f"{name} denied access. Usually this account lacks a permission there: {lacking}"
