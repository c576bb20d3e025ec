"""What the JSON documents say: plain dictionaries, key by key in the order readers know."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from finecut.io.held import SCORES, SOURCE
from finecut.io.layout import PREVIEWS, Artefact, Layout
from finecut.io.records import Clip, ModelUsed, TextOutcome, Transcoded, Video, Window
from finecut.io.summary import Summary
from finecut.transforms.registry import HEADS, IN_HEADS

#: Of which file a video's clips were made, and by which configuration.
VERSION, CONFIGURATION = "source_version", "configuration"
#: What stands before the source's metadata, in the document of a clip, and of a video.
BEFORE_SOURCE: Final = ("source_video", "num_clip_chunks")

#: What names the clip's file.
LOCATION: Final = "clip_location"
#: The part of such a path that is below the dataset.
_BELOW = re.compile(r"(?:^|/)((?:filtered_)?clips/(?:[^/]{2}/)?[^/]+)$")
_SURROGATE = re.compile(r"\\ud[89a-f]")

Document = dict[str, Any]


def serialise(document: Document) -> bytes:
    """The bytes readers are used to: indented by four, ASCII, no newline at the end.

    Half a character, as names of files and models may have it, is told as ``\\udcff``: whoever
    reads documents refuses it.
    """
    return document_bytes(document, numbers_only=True)


def document_bytes(document: Mapping[str, Any], numbers_only: bool = False) -> bytes:
    """The same of anybody's document, which may hold numbers that ours must not."""
    text = json.dumps(document, indent=4, allow_nan=not numbers_only)
    if _SURROGATE.search(text):
        text = json.dumps(_writable(document), indent=4, allow_nan=not numbers_only)
    return text.encode("ascii")


def placeless(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The document of a clip, wherever the dataset lies: its file is named by its path below.

    >>> placeless({"clip_location": "/out/clips/ab/abc.mp4"})
    {'clip_location': 'clips/ab/abc.mp4'}
    """
    return {**document, LOCATION: path} if (path := _place_in(document)[1]) else document


def place_of(document: Mapping[str, Any]) -> str:
    """Where the dataset was written, as the document of a clip has it.

    >>> place_of({"clip_location": "/out/clips/abc.mp4"})
    '/out/'
    """
    return _place_in(document)[0]


def _place_in(document: Mapping[str, Any]) -> tuple[str, str]:
    said = document.get(LOCATION)
    found = _BELOW.search(said) if isinstance(said, str) else None
    return (found.string[: found.start(1)], found[1]) if found else ("", "")


def told_of_document(document: Mapping[str, Any]) -> tuple[int, str]:
    """What the catalogue, and whoever plans shards, has to know of a clip's document: how large it
    is, and what stands for its bytes; wherever the dataset lies.
    """
    data = document_bytes(placeless(document))
    return len(data), hashlib.sha256(data).hexdigest()[:32]


def _writable(said: Any) -> Any:
    if isinstance(said, str):
        return said.encode(errors="backslashreplace").decode()
    if isinstance(said, Mapping):
        return {_writable(key): _writable(each) for key, each in said.items()}
    return [*map(_writable, said)] if isinstance(said, list | tuple) else said


def with_source(document: Document, metadata: Mapping[str, Any]) -> Document:
    """The document of a clip or a video when this is known of the source; what was known goes."""
    said = [(key, value) for key, value in document.items() if key != SOURCE]
    if not metadata:
        return dict(said)
    keys = [key for key, _ in said]
    place = next((keys.index(key) + 1 for key in BEFORE_SOURCE if key in keys), len(keys))
    return dict([*said[:place], (SOURCE, dict(metadata)), *said[place:]])


def clip_document(clip: Clip, layout: Layout) -> Document:
    """``metas/v0/<clip>.json``."""
    video, file = clip.video, clip.file
    document: Document = {
        "span_uuid": clip.id,
        "source_video": video.name,
        "duration_span": [clip.planned.span.start, clip.planned.span.end],
        "width_source": video.width,
        "height_source": video.height,
        "framerate_source": video.framerate,
        LOCATION: layout.clip(clip.id, clip.kept),
    }
    if file is not None:
        document |= {
            "width": file.width,
            "height": file.height,
            "framerate": file.framerate,
            "num_frames": file.num_frames,
            "video_codec": file.video_codec,
            "num_bytes": file.num_bytes,
        } | ({"sha256": file.sha256} if file.sha256 else {})
        document |= _transcoded(file.transcoded)
        document |= {"sound": file.sound} if file.sound else {}
    document |= placed(clip.scores)
    more = {
        "filtered_by": clip.rejected_by,
        "errors": [*clip.errors] or None,
        "error_messages": {**clip.errors} or None,
        "models": {name: _model(used) for name, used in clip.models.items()} or None,
    }
    document |= {key: value for key, value in more.items() if value is not None}
    document["windows"] = [_window_document(window) for window in clip.windows]
    document["valid"] = is_valid(clip)
    return with_source(document, video.source.metadata)


def placed(scores: Mapping[str, Any]) -> Document:
    """Scores where a clip's document has them."""
    document: Document = {}
    for key, held in HEADS.items():
        if scores.keys() & held.keys():
            found = {below: scores.get(name) for name, below in held.items()}
            document[key] = found.get("", found)
    others = {name: value for name, value in scores.items() if name not in IN_HEADS}
    return document | ({SCORES: others} if others else {})


def _transcoded(told: Transcoded | None) -> Document:
    """How its pictures came about; nothing is said where all clips are encoded anyway."""
    if told is None:
        return {}
    more = {
        "transcode_reason": told.reason,
        "copied_span": told.span and [told.span.start, told.span.end],
        "frames_encoded": told.frames_encoded,
    }
    return {"transcode": told.how} | {key: value for key, value in more.items() if value}


def is_valid(clip: Clip) -> bool:
    """Kept, and a whole file without errors: a clip one may train on."""
    return clip.kept and clip.file is not None and not clip.errors


def chunk_document(video: Video, index: int, clips: Sequence[Clip]) -> Document:
    """``processed_clip_chunks/<video>_<index>.json``; ``clips`` in the order of the video."""
    kept = [clip for clip in clips if clip.kept]
    rejected = [clip for clip in clips if not clip.kept]
    lengths = [clip.planned.span.length for clip in kept + rejected]
    return {
        "video": video.name,
        "clip_chunk_index": index,
        "num_clips_filtered_by_motion": _rejected_by("motion", clips),
        "num_clips_filtered_by_aesthetic": _rejected_by("aesthetic", clips),
        "num_clips_passed": len(kept),
        "num_clips_transcoded": sum(clip.file is not None for clip in clips),
        "num_clips_with_embeddings": sum(bool(clip.vectors) for clip in kept),
        "num_clips_with_caption": sum(any(w.captions for w in clip.windows) for clip in kept),
        "num_clips_with_webp": sum(has_artefact(clip, PREVIEWS) for clip in kept),
        "total_clip_duration": float(sum(lengths)),
        "max_clip_duration": max(lengths, default=0.0),
        "clips": [clip.id for clip in kept],
        "filtered_clips": [clip.id for clip in rejected],
        "all_windows": {clip.id: _texts(clip.windows, "captions") for clip in kept},
        "all_windows_enhanced_caption": {
            clip.id: _texts(clip.windows, "enhanced_captions") for clip in kept
        },
    }


def has_artefact(clip: Clip, artefact: Artefact) -> bool:
    """Whether any file of this kind was made of the clip."""
    return any(artefact.lies_in(path.partition("/")[0]) for path in clip.artefacts)


def video_document(
    video: Video, num_total_clips: int, num_clip_chunks: int, configuration: str = ""
) -> Document:
    """``processed_videos/<video>.json``."""
    document = {
        "video": video.name,
        "height": video.height,
        "width": video.width,
        "framerate": video.framerate,
        "num_frames": video.num_frames,
        "duration": video.duration,
        "video_codec": video.video_codec,
        "pixel_format": video.pixel_format,
        "audio_format": video.audio_codec,
        "num_total_clips": num_total_clips,
        "num_clip_chunks": num_clip_chunks,
    }
    document = with_source(document, video.source.metadata)
    # What a run of another program wrote is never taken for finished, so it need not say more.
    return document | (
        {VERSION: video.source.version, CONFIGURATION: configuration} if configuration else {}
    )


def _window_document(window: Window) -> Document:
    document: Document = {"start_frame": window.start_frame, "end_frame": window.end_frame}
    document |= {f"{model}_caption": text for model, text in window.captions.items()}
    document |= {
        f"{model}_enhanced_caption": text for model, text in window.enhanced_captions.items()
    }
    for model, told in window.outcomes.items():
        document |= _told(f"{model}_caption", told)
    for model, told in window.enhanced_outcomes.items():
        document |= _told(f"{model}_enhanced_caption", told)
    return document


def _told(name: str, told: TextOutcome) -> Document:
    """What became of a text, and its tokens where they are known."""
    counts = {"prompt": told.prompt_tokens, "output": told.output_tokens}
    known = {side: number for side, number in counts.items() if number is not None}
    return {f"{name}_status": told.status} | ({f"{name}_tokens": known} if known else {})


def _model(used: ModelUsed) -> Document:
    dimension = {} if used.dimension is None else {"dimension": used.dimension}
    return {"model": used.name, "revision": used.revision, **dimension}


def _texts(windows: Sequence[Window], kind: str) -> dict[str, str]:
    """``{"<first>_<last>": text}`` with the first model's text of every window that has one."""
    return {
        f"{window.start_frame}_{window.end_frame}": next(iter(said.values()))
        for window in windows
        if (said := getattr(window, kind))
    }


def _rejected_by(rule: str, clips: Sequence[Clip]) -> int:
    return sum(clip.rejected_by is not None and clip.rejected_by.startswith(rule) for clip in clips)


def summary_document(s: Summary) -> Document:
    """What a run did, or what an output holds, in numbers: the sums of ``runs/…/summary.json``."""
    return {
        "balanced": not s.imbalances(),
        "imbalances": s.imbalances(),
        "videos": {
            "found": s.videos_found,
            "done": s.videos_done,
            "empty": s.videos_empty,
            "failed": s.videos_failed,
            "skipped": s.videos_skipped,
            **({"retold": s.videos_retold} if s.videos_retold else {}),
            "set_aside": s.videos_set_aside,
            "failed_by": dict(s.failed_by),
            # Said only where there are some: other documents stay as they were.
            **({"forgotten": s.videos_forgotten} if s.videos_forgotten else {}),
        },
        "clips": {
            "planned": s.shots_planned,
            **({"resumed": s.shots_resumed} if s.shots_resumed else {}),
            "kept": s.shots_kept,
            "rejected": s.shots_rejected,
            "failed": s.shots_failed,
            "rejected_by": dict(s.rejected_by),
            "marked": dict(s.marked),
            "num_marked": s.num_marked,
            "transcoded": dict(s.transcoded),
            "vectors": dict(s.vectors),
            "captions": dict(s.captions),
            "bytes": s.clip_bytes,
            "frames": s.frames,
        },
        "film_seconds": {
            "found": s.seconds_found,
            "planned": s.seconds_planned,
            "cut": s.seconds_cut,
            "kept": s.seconds_kept,
            "rejected_by": dict(s.seconds_rejected),
            "failed": max(0.0, s.seconds_planned - s.seconds_cut),
            "skipped": s.seconds_skipped,
        },
    }
