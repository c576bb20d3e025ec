"""Google's object store, through Google's own library: one client a process, one request an answer.

Nothing here tries again by itself, so that no two ladders of attempts stand on each other:
``files.py`` does, around each request. What makes a publication safe to repeat is that it
names the generations it speaks of: an object is replaced only if it is still the one that was
looked at. Documents are written whole, and of two writers the last one wins.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

import google.auth
from google.api_core.exceptions import (
    Forbidden,
    NotFound,
    PreconditionFailed,
    Redirection,
    Unauthorized,
)
from google.auth import _cloud_sdk
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import (
    DefaultCredentialsError,
    GoogleAuthError,
    InvalidOperation,
    RefreshError,
    TransportError,
)
from google.cloud import storage
from requests.adapters import HTTPAdapter
from requests.exceptions import JSONDecodeError

from finecut.io.storage.cloud.gcs_blobs import (
    SILENCE,
    TOGETHER,
    copy,
    known,
    removed_together,
)
from finecut.io.storage.cloud.names import glob_of, kind_of, translated
from finecut.io.storage.stores import (
    GOOGLE,
    Found,
    Opened,
    Page,
    Span,
    replaced,
)

#: Where Google's library looks for a stand-in of its store.
EMULATOR = "STORAGE_EMULATOR_HOST"
BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
#: More threads than any worker has; each keeps its connection.
CONNECTIONS: Final = 128
#: What Google's services say of themselves where the machine cannot be asked.
SERVICES: Final = (
    "GCE_METADATA_HOST",
    "GCE_METADATA_IP",
    "GCE_METADATA_ROOT",
    "K_SERVICE",
    "CLOUD_RUN_JOB",
    "CLOUD_RUN_WORKER_POOL",
)
LOG_IN: Final = (
    "run gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS to the "
    "path of a key"
)
#: What Google's machines call themselves.
MACHINE: Final = Path("/sys/class/dmi/id/product_name")


class GoogleStore:
    """``gs://bucket/object``."""

    def look(self, uri: str) -> Found | None:
        with _plainly(uri):
            if not _parts(uri)[1]:
                return None  # a bucket is no object
            blob = known(_blob(uri))
            return None if blob is None else _found(blob)

    def matching(self, pattern: str, most: int | None, after: str | None) -> Page:
        glob = glob_of(_parts(pattern)[1])
        page = _page(pattern, glob.prefix, after, "" if glob.deep else "/")
        named = re.compile(translated(pattern))
        return page._replace(objects=[one for one in page.objects if named.fullmatch(one.uri)])

    def inside(self, folder: str, after: str | None) -> Page:
        name = _parts(folder)[1]
        return _page(folder, f"{name.rstrip('/')}/" if name else "", after, "/")

    def divides(self, uri: str) -> bool:
        return True

    def between(self, folder: str, span: Span, after: str | None) -> Page:
        beginning = f"{_parts(folder)[1].rstrip('/')}/"
        # To the service the end does not belong to it, and to us it does.
        last = f"{beginning}{span.last}\0" if span.last else None
        return _page(
            folder, beginning, after, "", start_offset=beginning + span.first, end_offset=last
        )

    def read(self, uri: str) -> bytes:
        with _plainly(uri):
            return bytes(_blob(uri).download_as_bytes(timeout=SILENCE, retry=None))

    def open(self, uri: str) -> Opened:
        found = self.look(uri)
        if found is None:
            raise FileNotFoundError(2, "No such object", uri)
        return _Generation(found)

    def create(self, uri: str, data: bytes) -> None:
        with _plainly(uri):
            _blob(uri).upload_from_string(
                data, content_type=kind_of(uri), timeout=SILENCE, retry=None
            )

    def replace(self, uri: str, data: bytes, seen: Found | None) -> bool:
        only = 0 if seen is None else _generation(seen)
        with _plainly(uri), contextlib.suppress(PreconditionFailed):
            if data:
                _blob(uri).upload_from_string(
                    data,
                    content_type=kind_of(uri),
                    if_generation_match=only,
                    timeout=SILENCE,
                    retry=None,
                )
            elif seen is not None:
                with contextlib.suppress(NotFound):
                    _blob(uri).delete(if_generation_match=only, timeout=SILENCE, retry=None)
            return True
        return False

    def upload(self, uri: str, file: Path) -> None:
        self._upload(uri, file, None)

    def put(self, uri: str, file: Path, seen: Found | None) -> bool:
        try:
            self._upload(uri, file, 0 if seen is None else _generation(seen))
        except PreconditionFailed:
            return False
        return True

    def _upload(self, uri: str, file: Path, only: int | None) -> None:
        with _plainly(uri), _whole_or_again(uri):
            _blob(uri).upload_from_filename(
                str(file),
                content_type=kind_of(uri),
                if_generation_match=only,
                timeout=SILENCE,
                retry=None,
            )

    def move(self, staged: str, final: str) -> None:
        """The copy appears whole, and only in place of what was there when it was begun."""
        with _plainly(staged):
            source = _blob(staged)
            source.reload(timeout=SILENCE, retry=None)
            target = _blob(final)
            target.content_type = kind_of(final)
            copy(source, target, final)
            with contextlib.suppress(NotFound, PreconditionFailed):
                source.delete(if_generation_match=source.generation, timeout=SILENCE, retry=None)

    def delete(self, uri: str) -> None:
        with _plainly(uri), contextlib.suppress(NotFound):
            _blob(uri).delete(timeout=SILENCE, retry=None)

    def delete_all(self, uris: Sequence[str]) -> None:
        for start in range(0, len(uris), TOGETHER):
            some = uris[start : start + TOGETHER]
            with _plainly(some[0]):
                gone = removed_together(_client(), [_blob(uri) for uri in some])
            for uri in () if gone else some:
                self.delete(uri)

    def sign_in(self, uri: str) -> None:
        """Have credentials, or know that there are none."""
        with _plainly(uri):
            _client()

    def unreachable(self, bucket: str, why: str, signed_in: bool) -> str:
        """What to say of a bucket that gave no answer."""
        if not signed_in:
            host = os.environ.get("GCE_METADATA_HOST")
            named = f"GCE_METADATA_HOST={host}" if host else "the metadata server"
            return (
                f"{bucket} was not accessed, because there are no credentials: Google's "
                f"library looks for them at {named} ({why}). Usually this machine is not in "
                f"Google's cloud, or has no service account: {LOG_IN}; NO_GCE_CHECK=true ends "
                "the search"
            )
        if stand_in := os.environ.get(EMULATOR):
            return (
                f"{bucket} cannot be reached at {stand_in} ({why}). Usually {EMULATOR} is wrong, "
                "or no server runs there: start it, or unset the variable to reach Google's store"
            )
        return (
            f"{bucket} cannot be reached ({why}). Usually this machine has no network, or a "
            "proxy or firewall blocks storage.googleapis.com: fix that. If the bucket is not "
            f"public, also {LOG_IN}"
        )


class _Generation:
    """One generation of an object: what replaced it is another one."""

    def __init__(self, found: Found) -> None:
        self._uri, self.size = found.uri, found.size
        self._generation = _generation(found)

    def fetch(self, start: int, length: int) -> bytes:
        blob, end = _blob(self._uri, self._generation), start + length - 1  # inclusive
        with _plainly(self._uri):
            try:
                data = blob.download_as_bytes(start=start, end=end, timeout=SILENCE, retry=None)
            except NotFound as error:
                if known(_blob(self._uri)) is None:
                    raise
                raise replaced(self._uri) from error
            return bytes(data)

    def close(self) -> None:
        """Nothing is held open."""


def _page(uri: str, prefix: str, after: str | None, delimiter: str, **span: str | None) -> Page:
    """A part of a bucket's listing."""
    bucket = _parts(uri)[0]
    with _plainly(uri):
        listing = _client().list_blobs(
            bucket,
            prefix=prefix,
            page_token=after,
            timeout=SILENCE,
            retry=None,
            delimiter=delimiter or None,
            **span,
        )
        # Some tools write an empty object of such a name where people make a folder.
        blobs = [blob for blob in next(listing.pages, ()) if not blob.name.endswith("/")]
        folders = {name.rstrip("/") for name in listing.prefixes} - {""}
        return Page(
            [_found(blob) for blob in blobs],
            sorted(f"{GOOGLE}{bucket}/{name}" for name in folders),
            listing.next_page_token,
        )


@contextmanager
def _whole_or_again(uri: str) -> Iterator[None]:
    """What a store has only a part of, it has none of: the next attempt sends all of it."""
    try:
        yield
    except (ValueError, Redirection) as error:
        raise ConnectionError(f"{uri} was not read completely: {error}") from error


@cache
def _client_of(_process: int, _stand_in: str | None) -> storage.Client:
    credentials, project = _credentials()
    client = storage.Client(project=project, credentials=credentials)
    # With it, Google's library asks for the bucket itself now and then, for its traces.
    client._bucket_metadata_cache = None
    client._http.mount("https://", HTTPAdapter(pool_maxsize=CONNECTIONS))
    client._http.mount("http://", HTTPAdapter(pool_maxsize=CONNECTIONS))
    return client


def _client() -> storage.Client:
    """This process's own; a copy of the process makes another, and shares no connection."""
    return _client_of(os.getpid(), os.environ.get(EMULATOR))


def _credentials() -> tuple[Any, str]:
    """Who we are. Nobody, where nothing says so: then only public buckets can be read.

    Google's library looks for credentials on a server that only Google's machines have, and waits
    for it for up to a minute everywhere else.
    """
    if may_have_credentials():
        try:
            credentials, project = google.auth.default(
                scopes=["https://www.googleapis.com/auth/devstorage.read_write"]
            )
            return credentials, project or "none"
        except DefaultCredentialsError:
            if _named_by_a_file() or _is_googles():
                raise  # otherwise it is a cluster, but not one of Google's
    return AnonymousCredentials(), "none"


def may_have_credentials() -> bool:
    """Whether it is worth looking for credentials: a file names them, or this machine has some."""
    on_a_cluster = bool(os.environ.get("KUBERNETES_SERVICE_HOST")) and not _never_look()
    return not _stands_in() and (_named_by_a_file() or _is_googles() or on_a_cluster)


def _never_look() -> bool:
    """Whether the environment forbids Google's library to look for a metadata server."""
    return os.environ.get("NO_GCE_CHECK") == "true"


def _named_by_a_file() -> bool:
    named = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    return bool(named) or Path(_cloud_sdk.get_application_default_credentials_path()).is_file()


def _is_googles() -> bool:
    """Whether this is a machine, or a container, that Google runs."""
    if _never_look():
        return False
    if any(os.environ.get(name) for name in SERVICES):
        return True
    with contextlib.suppress(OSError):
        return MACHINE.read_text().startswith("Google")
    return False


def _stands_in() -> bool:
    """Whether the store is a stand-in, which knows nobody."""
    return EMULATOR in os.environ


def _blob(uri: str, generation: int | None = None) -> storage.Blob:
    bucket, name = _parts(uri)
    if not name:
        raise IsADirectoryError(21, "This is a bucket, not an object", uri)
    return _client().bucket(bucket).blob(name, generation=generation)


def _parts(uri: str) -> tuple[str, str]:
    bucket, _, name = uri.removeprefix(GOOGLE).partition("/")
    if not BUCKET.fullmatch(bucket):
        raise FileNotFoundError(2, f"{bucket!r} is not the name of a bucket", uri)
    return bucket, name


def _found(blob: storage.Blob) -> Found:
    written = blob.updated.timestamp() if blob.updated else 0.0
    uri, version = f"{GOOGLE}{blob.bucket.name}/{blob.name}", f"{blob.size} {blob.generation}"
    return Found(uri, int(blob.size or 0), version, written)


def _generation(found: Found) -> int:
    return int(found.version.split()[1])


@contextmanager
def _plainly(uri: str) -> Iterator[None]:
    """What is not there or not allowed, in the words that a disk has for it."""
    try:
        yield
    except NotFound as error:
        raise FileNotFoundError(2, "No such object or bucket", uri) from error
    except (Forbidden, Unauthorized) as error:
        raise PermissionError(13, _refusal(), uri) from error
    except JSONDecodeError as error:
        raise OSError("a server answers there, but not as a store does") from error
    except GoogleAuthError as error:
        if _is_passing(error):
            raise ConnectionError(f"there are no usable credentials: {error}") from error
        raise PermissionError(13, f"{_refusal()} ({error})", uri) from error


def _is_passing(error: GoogleAuthError) -> bool:
    """Whether the server that gives out credentials was only away."""
    # Its absence has these words, and so is its refusal to be asked too often.
    asked = isinstance(error, RefreshError | DefaultCredentialsError) and _is_googles()
    refused = asked and not isinstance(error, InvalidOperation)
    return bool(error.retryable) or isinstance(error, TransportError) or refused


def _refusal() -> str:
    if may_have_credentials() or _stands_in():
        return (
            "Google Cloud Storage denied access. Usually this account lacks a role there, such "
            "as Storage Object User on the bucket"
        )
    return (
        "Google Cloud Storage denied access, and there are no credentials on this machine: "
        f"{LOG_IN}"
    )
