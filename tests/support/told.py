"""Google's own fake Pub/Sub, a bucket, and jobs that hear of what is written there.

``make pubsub`` builds the fake. It is a process of its own, and lives as long as the block.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from faulty_store import FaultyStore

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "finecut"
PROGRAM = CACHE / "pubsub" / "fake-pubsub"
needs_pubsub = pytest.mark.skipif(
    not PROGRAM.exists(), reason=f"{PROGRAM} is not there: make pubsub builds it"
)
TOPIC, SUBSCRIPTION = "projects/proj-1/topics/topic-1", "projects/proj-1/subscriptions/sub-1"
BUCKET = "bucket"


@contextmanager
def pubsub(*words: str) -> Iterator[Callable[[dict[str, str]], None]]:
    """A Pub/Sub with one subscription, and what publishes a message with these attributes."""
    # Not everywhere installed, and its types are unknown.
    from google.cloud import pubsub_v1

    server = subprocess.Popen([str(PROGRAM), *words], stdout=subprocess.PIPE, text=True)
    before = os.environ.get("PUBSUB_EMULATOR_HOST")
    try:
        assert server.stdout is not None
        os.environ["PUBSUB_EMULATOR_HOST"] = server.stdout.readline().strip()
        publisher: Any = pubsub_v1.PublisherClient()
        subscriber: Any = pubsub_v1.SubscriberClient()
        with subscriber:
            publisher.create_topic(name=TOPIC)
            subscriber.create_subscription(name=SUBSCRIPTION, topic=TOPIC, ack_deadline_seconds=60)
        yield lambda attributes: publisher.publish(TOPIC, b"{}", **attributes).result(30)
        publisher.stop()
    finally:
        server.kill()
        server.wait()
        if before is None:
            os.environ.pop("PUBSUB_EMULATOR_HOST", None)
        else:
            os.environ["PUBSUB_EMULATOR_HOST"] = before


class Bucket:
    """Objects, written as others write them."""

    def __init__(self, store: FaultyStore) -> None:
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage

        client: Any = storage.Client(
            "proj-1",
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": store.address},
        )
        self._bucket = client.bucket(BUCKET)

    def write(self, name: str, data: bytes) -> None:
        self._bucket.blob(name).upload_from_string(data)

    def remove(self, name: str) -> None:
        self._bucket.blob(name).delete()


def notice(name: str, event: str = "OBJECT_FINALIZE") -> dict[str, str]:
    """The attributes of the bucket's notification about an object."""
    return {"eventType": event, "bucketId": BUCKET, "objectId": name}


class Job:
    """``finecut curate`` in a process of its own, which goes on until it is ended."""

    def __init__(self, words: list[str], log: Path) -> None:
        program = str(Path(sys.executable).with_name("finecut"))
        self.log = log
        with log.open("w", encoding="utf-8") as file:
            self.process = subprocess.Popen(
                [program, "curate", *words], stdout=file, stderr=subprocess.STDOUT
            )

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def end(self, signal: int) -> int:
        self.process.send_signal(signal)
        return self.process.wait(60)


def wait_until(true: Callable[[], bool], seconds: float, why: Callable[[], str] = str) -> None:
    """Looks again and again."""
    pause, ends = threading.Event(), time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends, f"not in {seconds:g} s: {why()}"
        pause.wait(0.2)
