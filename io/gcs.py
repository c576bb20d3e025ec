"""Google's object store, through Google's own library: one client a process, one request an answer.

Nothing here tries again by itself, so that no two ladders of attempts stand on each other: the
shelf does (``retry.py``). What makes an attempt safe to repeat is that it names the generations it
speaks of: an object is replaced only if it is still the one that was looked at.
"""

from __future__ import annotations

import contextlib
import mimetypes
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

import google.auth
from apache_beam.io.filesystem import FileSystem
from google.api_core.exceptions import Forbidden, NotFound, PreconditionFailed, Unauthorized
from google.auth import _cloud_sdk
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from requests.adapters import HTTPAdapter

from finecut.io.store import GOOGLE, Found, Opened

#: Where Google's library looks for a stand-in of its store.
EMULATOR = "STORAGE_EMULATOR_HOST"
#: Seconds that one request may be silent.
SILENCE: Final = 60
#: More threads than any worker has; each keeps its connection.
CONNECTIONS: Final = 128
#: Somebody else published the same name in the meantime; so often it is looked at again.
LOOKS: Final = 5
#: Unless told not to, Google's library asks for the bucket itself now and then, for its traces.
os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
#: What Google's machines call themselves.
MACHINE: Final = Path("/sys/class/dmi/id/product_name")


class GoogleStore:
    """``gs://bucket/object``."""

    def look(self, uri: str) -> Found | None:
        with _plainly(uri):
            blob = _known(_blob(uri))
            return None if blob is None else _found(blob)

    def below(self, folder: str, limit: int | None = None) -> list[Found]:
        bucket, name = _parts(folder)
        prefix = f"{name.rstrip('/')}/" if name else ""
        return [_found(blob) for blob in self._listed(bucket, prefix, limit)]

    def inside(self, folder: str) -> tuple[list[str], list[str]]:
        bucket, name = _parts(folder)
        prefix = f"{name.rstrip('/')}/" if name else ""
        with _plainly(folder):
            listing = _client().list_blobs(
                bucket, prefix=prefix, delimiter="/", timeout=SILENCE, retry=None
            )
            # The prefixes are known when the last object was told.
            objects = [_uri(blob) for blob in listing if blob.name != prefix]
            folders = [f"{GOOGLE}{bucket}/{found.rstrip('/')}" for found in listing.prefixes]
        return objects, sorted(folders)

    def some(self, folder: str, suffix: str) -> str | None:
        bucket, name = _parts(folder)
        with _plainly(folder):
            listing = _client().list_blobs(
                bucket, prefix=f"{name}/", delimiter="/", timeout=SILENCE, retry=None
            )
            return next((_uri(blob) for blob in listing if blob.name.endswith(suffix)), None)

    def matching(self, pattern: str) -> list[Found]:
        """As Beam understands patterns: ``*`` stays within a folder, ``**`` does not."""
        bucket, name = _parts(pattern)
        fixed = name[: min((name.find(sign) for sign in "*?[" if sign in name), default=len(name))]
        told = re.compile(FileSystem.translate_pattern(pattern))
        found = (_found(blob) for blob in self._listed(bucket, fixed))
        return [one for one in found if told.fullmatch(one.uri)]

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
                data, content_type=_kind(uri), timeout=SILENCE, retry=None
            )

    def upload(self, uri: str, file: Path) -> None:
        with _plainly(uri):
            _blob(uri).upload_from_filename(
                str(file), content_type=_kind(uri), timeout=SILENCE, retry=None
            )

    def move(self, staged: str, final: str) -> None:
        """The copy appears whole, and only in place of what was there when it was begun."""
        with _plainly(staged):
            source = _blob(staged)
            source.reload(timeout=SILENCE, retry=None)
            self._copy(source, final)
            with contextlib.suppress(NotFound, PreconditionFailed):
                source.delete(if_generation_match=source.generation, timeout=SILENCE, retry=None)

    def delete(self, uris: list[str]) -> None:
        for uri in uris:
            with _plainly(uri), contextlib.suppress(NotFound):
                _blob(uri).delete(timeout=SILENCE, retry=None)

    def _listed(self, bucket: str, prefix: str, limit: int | None = None) -> Iterator[storage.Blob]:
        with _plainly(f"{GOOGLE}{bucket}/{prefix}"):
            listing = _client().list_blobs(
                bucket, prefix=prefix, max_results=limit, timeout=SILENCE, retry=None
            )
            # Empty objects that end in a slash stand for folders in some tools.
            yield from (blob for blob in listing if not blob.name.endswith("/"))

    def _copy(self, source: storage.Blob, final: str) -> None:
        for _ in range(LOOKS):
            there = _known(_blob(final))
            if there is not None and _same(there, source):
                return  # an attempt was heard, and only its answer was lost
            # Unless somebody is faster: then it is looked at again.
            with contextlib.suppress(PreconditionFailed):
                self._rewrite(source, final, 0 if there is None else there.generation)
                return
        raise TimeoutError(
            f"{final} is being replaced by others all the time. Usually two runs write the same "
            "output; wait until the other has ended, and run the same command again."
        )

    def _rewrite(self, source: storage.Blob, final: str, generation: int) -> None:
        token = None
        target = _blob(final)
        target.content_type = _kind(final)
        while True:  # large objects are copied in parts, and appear with the last
            token, _, _ = target.rewrite(
                source,
                token=token,
                if_generation_match=generation,
                if_source_generation_match=source.generation,
                timeout=SILENCE,
                retry=None,
            )
            if token is None:
                return


class _Generation:
    """One generation of an object: what replaced it is another one."""

    def __init__(self, found: Found) -> None:
        self._uri, self.size = found.uri, found.size
        self._generation = int(found.version.split()[1])

    def fetch(self, start: int, length: int) -> bytes:
        with _plainly(self._uri):
            blob = _blob(self._uri, self._generation)
            end = start + length - 1  # inclusive
            return bytes(blob.download_as_bytes(start=start, end=end, timeout=SILENCE, retry=None))

    def close(self) -> None:
        pass


@cache
def _client_of(_process: int, _stand_in: str | None) -> storage.Client:
    credentials, project = _credentials()
    client = storage.Client(project=project, credentials=credentials)
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
    if not may_have_credentials():
        return AnonymousCredentials(), "none"
    credentials, project = google.auth.default(
        scopes=["https://www.googleapis.com/auth/devstorage.read_write"]
    )
    return credentials, project or "none"


def may_have_credentials() -> bool:
    """Whether it is worth looking for credentials: a file names them, or this machine has some."""
    if _stands_in():
        return False
    if any(name in os.environ for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GCE_METADATA_HOST")):
        return True
    if Path(_cloud_sdk.get_application_default_credentials_path()).is_file():
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
        raise IsADirectoryError(21, "A bucket and no object", uri)
    return _client().bucket(bucket).blob(name, generation=generation)


def _parts(uri: str) -> tuple[str, str]:
    bucket, _, name = uri.removeprefix(GOOGLE).partition("/")
    return bucket, name


def _uri(blob: storage.Blob) -> str:
    return f"{GOOGLE}{blob.bucket.name}/{blob.name}"


def _found(blob: storage.Blob) -> Found:
    written = blob.updated.timestamp() if blob.updated else 0.0
    return Found(_uri(blob), int(blob.size or 0), f"{blob.size} {blob.generation}", written)


def _known(blob: storage.Blob) -> storage.Blob | None:
    """The same with what the store knows of it, or nothing if there is no such object."""
    try:
        blob.reload(timeout=SILENCE, retry=None)
    except NotFound:
        return None
    return blob


def _same(one: storage.Blob, other: storage.Blob) -> bool:
    return bool((one.size, one.crc32c) == (other.size, other.crc32c))


def _kind(uri: str) -> str:
    """So that a browser shows clips and previews out of the bucket."""
    return mimetypes.guess_type(uri)[0] or "application/octet-stream"


@contextmanager
def _plainly(uri: str) -> Iterator[None]:
    """What is not there or not allowed, said as it is said of a disk."""
    try:
        yield
    except NotFound as error:
        raise FileNotFoundError(2, "No such object or bucket", uri) from error
    except (Forbidden, Unauthorized) as error:
        raise PermissionError(13, _refusal(), uri) from error


def _refusal() -> str:
    if may_have_credentials() or _stands_in():
        return (
            "Google Cloud Storage refused it: usually this account has no role there, such as "
            "Storage Object User on the bucket"
        )
    return (
        "Google Cloud Storage refused it, and there are no credentials on this machine: run "
        "gcloud auth application-default login, or point GOOGLE_APPLICATION_CREDENTIALS to a key"
    )
