"""The reference's trees as finecut has to write them: the differences, applied one after the other.

:func:`as_curated` and :func:`as_written` say which entries they needed. What comes out is the tree
finecut has to write, byte for byte as far as documents are concerned.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pyarrow as pa
import pyarrow.parquet as pq
from golden import (
    DIFFERENCES,
    FIRST_STREAMS,
    GOLDEN,
    MADE_UP,
    THERE,
    Document,
    Stream,
    Tree,
    golden,
    metas_of,
)


@dataclass
class Expected:
    """What finecut has to write, and the differences it took to say so."""

    documents: dict[str, Document]
    #: Every file there has to be, documents too.
    paths: set[str]
    differences: set[str] = field(default_factory=set)

    @classmethod
    def like(cls, tree: Tree) -> Expected:
        return cls(json.loads(json.dumps(tree.documents)), tree.paths)

    def metas(self) -> Iterator[Document]:
        return (d for path, d in self.documents.items() if path.startswith("metas/"))

    def videos(self) -> Iterator[Document]:
        return (d for path, d in self.documents.items() if path.startswith("processed_videos/"))

    def chunks(self) -> Iterator[Document]:
        folder = "processed_clip_chunks/"
        return (d for path, d in self.documents.items() if path.startswith(folder))

    def differ(self, difference: str, document: Document, **values: Any) -> None:
        """Set what the difference is about; it counts as needed if that changes anything."""
        assert difference in DIFFERENCES
        for key, value in values.items():
            assert key in document, f"{key} is not in this document: {document}"
            if document[key] != value:
                self.differences.add(difference)
                document[key] = value

    def rename(self, old: str, new: str) -> None:
        """Use another id, in names as in documents."""
        self.paths = {path.replace(old, new) for path in self.paths}
        self.documents = json.loads(json.dumps(self.documents).replace(old, new))

    def drop(self, paths: Iterable[str]) -> None:
        for path in paths:
            self.paths.discard(path)
            self.documents.pop(path, None)


def as_written(case: str, root: Path) -> Expected:
    """The golden tree of a case as ``WriteClips`` has to write it below this folder."""
    expected = Expected.like(golden(case))
    _move(expected, case, root)
    _mark_valid(expected)
    _say_by_what(expected)
    _keep_messages(expected)
    _look_into_tables(expected, case)
    return expected


def as_curated(case: str, root: Path, ours: Tree, looks: bool = False) -> Expected:
    """The golden tree of a case as a run without models has to write it below this folder.

    ``ours`` is what the run wrote; only sizes of encoded files and scores of motion are taken from
    it, and the frame rate where two are right (see :func:`_time_last_pictures`). With ``looks`` the
    run measured motion and made previews.
    """
    expected = Expected.like(golden(case))
    _take_models_away(expected, case, looks)
    _move(expected, case, root)
    _follow_first_streams(expected, case)
    _leave_out_broken_inputs(expected)
    _count_frames(expected)
    _time_last_pictures(expected, ours)
    _count_bytes(expected, ours)
    _open_windows(expected)
    _measure_motion(expected, ours)
    _mark_valid(expected)
    _say_of_what(expected, ours)
    return expected


def _say_of_what(expected: Expected, ours: Tree) -> None:
    for path, document in expected.documents.items():
        if path.startswith("processed_videos/"):
            expected.differences.add("resuming")
            for key in ("source_version", "configuration"):
                document[key] = ours.documents[path][key]
                assert document[key]


@cache
def frame_times(name: str) -> tuple[float, ...]:
    """When the first video stream of a source shows its frames, in seconds after the first."""
    with av.open(str(GOLDEN / name.removeprefix(f"{THERE}/"))) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        ticks = sorted(p.pts for p in container.demux(stream) if p.size and p.pts is not None)
        return tuple(float((tick - ticks[0]) * stream.time_base) for tick in ticks)


#: Bounds of spans are sums of floats.
NEARLY = 1e-6


def frames_of_finecut(name: str, start: float, end: float) -> list[float]:
    """The frames a clip of finecut holds: those shown within the span."""
    return [t for t in frame_times(name) if start - NEARLY <= t < end - NEARLY]


def frames_of_reference(name: str, start: float, end: float) -> list[float]:
    """The frames a clip of the reference holds: as long as the span, from its first frame on."""
    first = min(t for t in frame_times(name) if t >= start - NEARLY)
    return frames_of_finecut(name, start, first + (end - start))


def _move(expected: Expected, case: str, root: Path) -> None:
    """Documents name clips by where they lie, and the tree lies somewhere else now."""
    for meta in expected.metas():
        there = f"{THERE}/{case}/"
        assert meta["clip_location"].startswith(there)
        meta["clip_location"] = f"{root}/{meta['clip_location'].removeprefix(there)}"


def _mark_valid(expected: Expected) -> None:
    for meta in expected.metas():
        kept = "/filtered_clips/" not in meta["clip_location"]
        expected.differ("valid", meta, valid=kept and "num_bytes" in meta and "errors" not in meta)


def _follow_first_streams(expected: Expected, case: str) -> None:
    for old, meta in metas_of(case).items():
        name = meta["source_video"]
        stream = _first_stream(name)
        if stream is not None:
            # The reference's own document says which stream is in its clip.
            assert (meta["width"], meta["height"]) == (stream.width, stream.height)
            new = _clip_id(name, _first_stream_span(meta), stream.framerate)
            expected.rename(old, new)
    for meta in expected.metas():
        stream = _first_stream(meta["source_video"])
        if stream is not None:
            expected.differ(
                "two video streams",
                meta,
                duration_span=_first_stream_span(meta),
                width_source=stream.width,
                height_source=stream.height,
                framerate_source=stream.framerate,
            )
    for video in expected.videos():
        stream = _first_stream(video["video"])
        if stream is not None:
            expected.differ("two video streams", video, **vars(stream))
    for path, chunk in golden(case).documents.items():
        if path in expected.documents and "clips" in chunk and _first_stream(chunk["video"]):
            spans = [_first_stream_span(metas_of(case)[clip]) for clip in chunk["clips"]]
            seconds = sum(end - start for start, end in spans)
            expected.differ(
                "two video streams", expected.documents[path], total_clip_duration=seconds
            )


def _first_stream(name: str) -> Stream | None:
    return FIRST_STREAMS.get(Path(name).name)


def _first_stream_span(meta: Document) -> list[float]:
    """A span within the first stream of a file that has two."""
    return [
        min(second, FIRST_STREAMS[Path(meta["source_video"]).name].duration)
        for second in meta["duration_span"]
    ]


def _clip_id(name: str, span: Sequence[float], framerate: float) -> str:
    events = "_".join(str(int(second * framerate)) for second in span)
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{name}_{events}"))


def _leave_out_broken_inputs(expected: Expected) -> None:
    broken = broken_inputs(expected.documents)
    for name in broken:
        expected.differences.add("broken inputs")
        expected.drop([f"processed_videos/{name}.json", f"processed_clip_chunks/{name}_0.json"])


def broken_inputs(documents: Mapping[str, Document]) -> list[str]:
    """The inputs of which the reference knows nothing but the name."""
    folder = "processed_videos/"
    return [
        path.removeprefix(folder).removesuffix(".json")
        for path, document in documents.items()
        if path.startswith(folder) and document["duration"] is None
    ]


def _count_frames(expected: Expected) -> None:
    for meta in expected.metas():
        name, (start, end) = meta["source_video"], meta["duration_span"]
        theirs = len(frames_of_reference(name, start, end))
        duration = round(theirs / meta["framerate"], 6)
        assert meta["num_frames"] == int(duration * meta["framerate"])
        expected.differ("counted frames", meta, num_frames=theirs)
        ours = len(frames_of_finecut(name, start, end))
        expected.differ("start between frames", meta, num_frames=ours)


def _time_last_pictures(expected: Expected, ours: Tree) -> None:
    for meta in expected.metas():
        times = frame_times(meta["source_video"])
        steps = [after - before for before, after in pairwise(times)]
        if max(steps) - min(steps) < 0.002:  # one rate; Matroska rounds to milliseconds
            continue
        start, end = meta["duration_span"]
        shown = frames_of_finecut(meta["source_video"], start, end)
        following = next((t for t in times if t > shown[-1]), None)
        framerate = ours.documents[f"metas/v0/{meta['span_uuid']}.json"]["framerate"]
        length = len(shown) / framerate - (shown[-1] - shown[0])
        if following is None:
            assert min(steps) - NEARLY <= length <= max(steps) + NEARLY
        else:
            assert abs(length - (min(following, end) - shown[-1])) < 1e-4  # ticks of the clip
        expected.differ("last picture", meta, framerate=framerate)


def _count_bytes(expected: Expected, ours: Tree) -> None:
    for meta in expected.metas():
        clip = meta["span_uuid"]
        file = ours.files.get(f"clips/{clip}.mp4") or ours.files.get(f"filtered_clips/{clip}.mp4")
        said = ours.documents[f"metas/v0/{clip}.json"]
        assert said["num_bytes"] > 0
        assert re.fullmatch(r"[0-9a-f]{64}", said["sha256"])
        expected.differ(
            "encoded bytes", meta, num_bytes=said["num_bytes"] if file is None else len(file)
        )
        digest = said["sha256"] if file is None else hashlib.sha256(file).hexdigest()
        _insert_after("num_bytes", meta, sha256=digest)


def _insert_after(place: str, document: dict[str, Any], **more: Any) -> None:
    said = list(document.items())
    document.clear()
    for key, value in said:
        document[key] = value
        if key == place:
            document |= more


def _open_windows(expected: Expected) -> None:
    for meta in expected.metas():
        # No golden clip is so long that it has two.
        assert 4 <= meta["num_frames"] <= 256
        windows = [{"start_frame": 0, "end_frame": meta["num_frames"] - 1}]
        if meta["windows"]:
            there = meta["windows"][0]
            assert (there["start_frame"], there["end_frame"] + 1 - meta["num_frames"]) == (0, 0)
            assert len(meta["windows"]) == 1
        expected.differ("windows", meta, windows=windows)


def _measure_motion(expected: Expected, ours: Tree) -> None:
    for meta in expected.metas():
        if "motion_score" in meta:
            scores = ours.documents[f"metas/v0/{meta['span_uuid']}.json"]["motion_score"]
            assert list(scores) == list(meta["motion_score"])
            assert 0 <= scores["per_patch_min_256"] < scores["global_mean"] + 1e-9 < 0.1
            there = meta["motion_score"]["global_mean"]
            # Not the same, but of one size; pictures below 256 pixels have no score there.
            assert there == -1 or 0.5 < scores["global_mean"] / there < 2
            expected.differ("motion", meta, motion_score=scores)


def _say_by_what(expected: Expected) -> None:
    """(Only motion was filtered by.) The key stands before the windows."""
    for path, meta in expected.documents.items():
        if path.startswith("metas/") and "/filtered_clips/" in meta["clip_location"]:
            expected.differences.add("filtered_by")
            items = list(meta.items())
            place = list(meta).index("windows")
            items.insert(place - ("errors" in meta), ("filtered_by", "motion"))
            expected.documents[path] = dict(items)


def _keep_messages(expected: Expected) -> None:
    """(The test made up what they say.)"""
    for path, meta in expected.documents.items():
        if path.startswith("metas/") and "errors" in meta:
            expected.differences.add("error messages")
            items = list(meta.items())
            messages = dict.fromkeys(meta["errors"], MADE_UP)
            items.insert(list(meta).index("errors") + 1, ("error_messages", messages))
            expected.documents[path] = dict(items)


def _look_into_tables(expected: Expected, case: str) -> None:
    """Parquet files are compared by what they hold; here is only noted that their types differ."""
    for path in golden(case).below("ce1_embd_parquet"):
        schema = pq.read_schema(pa.BufferReader(golden(case).files[path]))
        assert schema.field("id").type == pa.large_string()
        assert schema.field("embedding").type.value_type == pa.float64()
        expected.differences.add("parquet types")


def _take_models_away(expected: Expected, case: str, looks: bool) -> None:
    """No embeddings and captions; nothing is rejected. Without looks no scores and previews."""
    made = ("ce1_embd",) if looks else ("ce1_embd", "previews/")
    expected.drop([p for p in expected.paths if p.startswith(made)])
    expected.paths = {p.replace("filtered_clips/", "clips/") for p in expected.paths}
    for meta in expected.metas():
        meta["clip_location"] = meta["clip_location"].replace("/filtered_clips/", "/clips/")
        meta.pop("errors", None)
        if looks:
            for window in meta["windows"]:
                window.pop("qwen2.5_caption", None)
                window.pop("qwen_lm_enhanced_caption", None)
        else:
            meta.pop("motion_score", None)
            meta["windows"] = []
    starts = {clip: meta["duration_span"][0] for clip, meta in metas_of(case).items()}
    for chunk in expected.chunks():
        clips = sorted(chunk["clips"] + chunk["filtered_clips"], key=starts.__getitem__)
        assert chunk["num_clips_transcoded"] == len(clips)
        chunk |= {
            "num_clips_filtered_by_motion": 0,
            "num_clips_passed": len(clips),
            "num_clips_with_embeddings": 0,
            "num_clips_with_caption": 0,
            "num_clips_with_webp": len(clips) if looks else 0,
            "clips": clips,
            "filtered_clips": [],
            "all_windows": {clip: {} for clip in clips},
            "all_windows_enhanced_caption": {clip: {} for clip in clips},
        }
