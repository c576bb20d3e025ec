"""Noticing: a stream of notifications about new objects → the videos among them.

A bucket tells a Pub/Sub topic of every object that was written, in the attributes of a message
(``gcloud storage buckets notifications create gs://BUCKET --topic=TOPIC``)::

    eventType=OBJECT_FINALIZE  bucketId=films  objectId=day 7/a.mp4  →  gs://films/day 7/a.mp4

Only videos below the inputs are taken. The same object may be told of twice: the second time it is
finished, and is skipped.
"""

from collections.abc import Iterable, Mapping

import apache_beam as beam
from apache_beam.io.gcp.pubsub import PubsubMessage

from finecut.io.records import Source
from finecut.transforms.beam.metrics import LOG, count
from finecut.transforms.find.inputs import Finding, is_video, source_below
from finecut.transforms.find.own_outputs import is_output, output_around

#: The only event that is about a new or a new version of an object.
WRITTEN = "OBJECT_FINALIZE"


def noticed(attributes: Mapping[str, str], finding: Finding) -> Source | None:
    """The video that a notification is about, or ``None`` if it is about something else."""
    if attributes.get("eventType", WRITTEN) != WRITTEN:
        return None
    bucket, name = attributes.get("bucketId"), attributes.get("objectId")
    if not bucket or not name:
        LOG.error("a message is not a notification about an object: it has %s", sorted(attributes))
        return None
    path = f"gs://{bucket}/{name}"
    if not is_video(path) or _below(path, finding.without) is not None:
        return None
    root = _below(path, finding.inputs)
    if root is None or output_around(path, root, is_output) is not None:
        return None
    return source_below(path, root, finding)


def _below(path: str, folders: Iterable[str]) -> str | None:
    """The deepest of these folders that holds the file."""
    return max((each for each in folders if path.startswith(f"{each}/")), key=len, default=None)


class NoticeVideos(beam.PTransform[beam.PCollection[PubsubMessage], beam.PCollection[Source]]):
    """Notifications → Sources."""

    def __init__(self, finding: Finding) -> None:
        super().__init__()
        self.finding = finding

    def expand(self, messages: beam.PCollection[PubsubMessage]) -> beam.PCollection[Source]:
        return messages | "Notice" >> beam.FlatMap(_noticed, self.finding)


def _noticed(message: PubsubMessage, finding: Finding) -> Iterable[Source]:
    source = noticed(message.attributes or {}, finding)
    if source is not None:
        count("videos found")
        yield source
