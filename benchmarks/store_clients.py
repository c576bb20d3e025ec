"""The clients of stores that are measured beside each other, in words that all have for it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

from seaweed import ADMIN


class Client(Protocol):
    """What is measured, in the words that all have for it."""

    def put(self, name: str, data: bytes) -> object: ...
    def create(self, name: str, data: bytes) -> object: ...
    def look(self, name: str) -> object: ...
    def fetch(self, name: str, start: int, length: int) -> bytes: ...
    def listed(self, prefix: str) -> int: ...
    def delete(self, names: list[str]) -> object: ...
    def upload(self, name: str, file: Path) -> object: ...


class Google:
    """Google's library; ``patient``: trying again by itself, which it does unless told not to."""

    def __init__(self, address: str, bucket: str, patient: str = "") -> None:
        os.environ["STORAGE_EMULATOR_HOST"] = address
        from finecut.io.storage.cloud import gcs

        self._client = gcs._client()
        self._bucket = self._client.bucket(bucket)
        self._more: dict[str, Any] = {} if patient else {"retry": None}
        self._parts = 8 << 20 if patient == "parts" else None

    def put(self, name: str, data: bytes) -> object:
        return self._bucket.blob(name).upload_from_string(data, **self._more)

    def create(self, name: str, data: bytes) -> object:
        return self._bucket.blob(name).upload_from_string(data, if_generation_match=0, **self._more)

    def look(self, name: str) -> object:
        return self._bucket.blob(name).reload(**self._more)

    def fetch(self, name: str, start: int, length: int) -> bytes:
        data: bytes = self._bucket.blob(name).download_as_bytes(
            start=start, end=start + length - 1, **self._more
        )
        return data

    def listed(self, prefix: str) -> int:
        return sum(1 for _ in self._client.list_blobs(self._bucket, prefix=prefix, **self._more))

    def delete(self, names: list[str]) -> object:
        if len(names) == 1:
            return self._bucket.blob(names[0]).delete(**self._more)
        for start in range(0, len(names), 100):  # a batch may have no more
            with self._client.batch():
                for name in names[start : start + 100]:
                    self._bucket.blob(name).delete(**self._more)
        return None

    def upload(self, name: str, file: Path) -> object:
        blob = self._bucket.blob(name, chunk_size=self._parts)
        return blob.upload_from_filename(str(file), **self._more)


class Obstore:
    """obstore, which is asked the same of every store."""

    def __init__(self, store: Any, *, in_parts: bool) -> None:
        import obstore

        self._do, self._store, self._in_parts = obstore, store, in_parts

    def put(self, name: str, data: bytes) -> object:
        return self._do.put(self._store, name, data)

    def create(self, name: str, data: bytes) -> object:
        return self._do.put(self._store, name, data, mode="create")

    def look(self, name: str) -> object:
        return self._do.head(self._store, name)

    def fetch(self, name: str, start: int, length: int) -> bytes:
        return bytes(self._do.get_range(self._store, name, start=start, length=length))

    def listed(self, prefix: str) -> int:
        return sum(len(page) for page in self._do.list(self._store, prefix, chunk_size=1000))

    def delete(self, names: list[str]) -> object:
        return self._do.delete(self._store, names)

    def upload(self, name: str, file: Path) -> object:
        return self._do.put(self._store, name, file, use_multipart=self._in_parts)


def client_of(kind: str, address: str, bucket: str) -> Client:
    kind, _, manner = kind.partition("+")
    if kind == "google":
        return Google(address, bucket, manner)
    from obstore.store import GCSStore, S3Store

    retry: Any = None if manner else {"max_retries": 0}
    more: Any = {"client_options": {"allow_http": True}, "retry_config": retry}
    if kind == "obstore-gs":
        told: Any = {"base_url": address, "bearer_token": "none"}
        return Obstore(GCSStore(bucket, config=told, **more), in_parts=False)
    told = {"endpoint": address, "region": "us-east-1"}
    told |= {"access_key_id": ADMIN[0], "secret_access_key": ADMIN[1]}
    return Obstore(S3Store(bucket, config=told, **more), in_parts=True)
