"""One video: its document, and against those of its chunks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from finecut.io.dataset.output import JSON
from finecut.io.storage import files as shelf
from finecut.transforms.verify.checks.documents import VIDEO, document_in
from finecut.transforms.verify.checks.findings import Checked, Finding
from finecut.transforms.verify.checks.verifying import Verifying


@dataclass(frozen=True)
class ChunkFacts:
    """A chunk's document, as far as its video is concerned."""

    path: str
    index: int
    #: ``None`` where the document cannot be understood.
    num_clips: int | None
    video: str = ""


@dataclass(frozen=True)
class VideoFacts:
    """A video's document; where it cannot be understood, its path."""

    path: str
    num_chunks: int | None = None
    num_clips: int | None = None
    video: str = ""


#: Of a video that is worked on, and that may have no document yet.
NOTHING_KNOWN: Final = VideoFacts("")

Facts = ChunkFacts | VideoFacts


def check_video(
    path: str, verifying: Verifying
) -> Iterator[Finding | Checked | tuple[str, VideoFacts]]:
    """A video's document by itself, and what it says of its chunks, by the path of the video."""
    name = verifying.below(path)
    facts = VideoFacts(name)
    data = shelf.read_if_there(path)
    if data is not None:  # it was listed a moment ago: somebody is at work
        document, wrong = document_in(data, name, VIDEO)
        yield from wrong
        if not wrong:
            chunks, clips = document["num_clip_chunks"], document["num_total_clips"]
            facts = VideoFacts(name, chunks, clips, document["video"])
            if document["duration"] is None and document["width"] is None:
                yield Finding(
                    "not-read", name, "has no information about the video", "it could not be read"
                )
    yield Checked({"documents": 1, "videos": 1})
    yield name.partition("/")[2].removesuffix(JSON), facts


def wrong_in_video(
    relative: str, facts: Iterable[Facts], verifying: Verifying
) -> Iterator[Finding]:
    """What the documents of one video, which lies there below the input, say of each other."""
    known = list(facts)
    chunks = sorted((f for f in known if isinstance(f, ChunkFacts)), key=lambda f: f.index)
    video = next((f for f in known if isinstance(f, VideoFacts) and f.path), None)
    if relative in verifying.open_videos:
        path = f"{verifying.below(verifying.layout.open_videos())}/{relative}{JSON}"
        yield Finding(
            "unfinished",
            path,
            "notes that a run is working on the video",
            "its clips are not checked",
        )
    elif video is None:
        path = f"{verifying.below(verifying.layout.processed_videos())}/{relative}{JSON}"
        yield Finding(
            "video-missing", path, "is missing", f"{chunks[0].path} is a chunk of that video"
        )
    elif video.num_chunks is not None:
        yield from _wrong_in_chunks(relative, video, chunks, verifying)


def _wrong_in_chunks(
    relative: str, video: VideoFacts, chunks: list[ChunkFacts], verifying: Verifying
) -> Iterator[Finding]:
    for chunk in chunks:
        if chunk.num_clips is not None and chunk.video != video.video:
            yield Finding(
                "document-differs",
                chunk.path,
                f"is about {chunk.video!r}",
                f"should be about {video.video!r}, as {video.path} says",
            )
    promised = f"{video.path} says that there are {video.num_chunks} chunks"
    # A video without clips has its first chunk's document too, and needs no other.
    expected = range(max(1, video.num_chunks or 0))
    folder = verifying.below(verifying.layout.processed_clip_chunks())
    for index in sorted({*expected} - {chunk.index for chunk in chunks}):
        path = f"{folder}/{relative}_{index}{JSON}"
        yield Finding("chunk-missing", path, "is missing", promised)
    for chunk in chunks:
        if chunk.index not in expected:
            yield Finding("orphan", chunk.path, "belongs to no video", promised)
    numbers = [c.num_clips for c in chunks if c.index in expected and c.num_clips is not None]
    if len(numbers) == len(expected) and sum(numbers) != video.num_clips:
        yield Finding(
            "count",
            video.path,
            f"num_total_clips is {video.num_clips}",
            f"should be {sum(numbers)}: its chunks list that many",
        )
