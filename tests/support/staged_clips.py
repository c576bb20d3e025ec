"""Clips of a video that was never there, staged as the cut leaves them."""

from __future__ import annotations

from pathlib import Path

from finecut.io.layout import PREVIEWS, chunk_id, clip_id
from finecut.io.records import Chunk, Clip, ClipFile, PlannedClip, Source, Span, Video, Window
from finecut.transforms.write.writing import Writing

NAME = "/data/a.mp4"
VIDEO = Video(
    Source(NAME, NAME, "a.mp4"), 9, 0, 64, 36, 10.0, 80, 8.0, "h264", "yuv420p", None, 2000, 0
)


def make_clips(writing: Writing, chunks: int = 2, per_chunk: int = 2) -> list[Clip]:
    """Staged clips of one video, the last of each chunk rejected."""
    clips = []
    for index in range(chunks * per_chunk):
        span = Span(float(index), float(index + 1))
        clip = PlannedClip(clip_id(NAME, index * 10, index * 10 + 10), index, span)
        data = f"clip {index}".encode()
        staged = Path(writing.shelf.staging, f"stage{index}", f"{clip.id}.mp4")
        staged.parent.mkdir(parents=True, exist_ok=True)
        staged.write_bytes(data)
        preview = staged.with_suffix(".webp")
        preview.write_bytes(b"preview")
        which, place = divmod(index, per_chunk)
        clips.append(
            Clip(
                VIDEO,
                Chunk(chunk_id(NAME, which), which, per_chunk, chunks, chunks * per_chunk),
                clip,
                ClipFile(64, 36, 10.0, 10, "h264", len(data), "00"),
                staged=str(staged),
                windows=(Window(0, 9, {"qwen2.5": f"says {index}"}),),
                artefacts={PREVIEWS.path(clip.id, 0, 9): str(preview)},
                vectors={"cosmos-embed1-224p": (float(index), 0.5)},
                rejected_by="motion" if place == per_chunk - 1 else None,
            )
        )
    return clips


def tree(root: str) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in Path(root).rglob("*") if p.is_file())
