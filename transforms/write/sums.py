"""What the clips of a chunk add to the sums of a run."""

from collections import Counter
from collections.abc import Sequence

from finecut.io.records import Clip
from finecut.io.summary import Summary


def of_chunk(clips: Sequence[Clip], kept: Sequence[Clip]) -> Summary:
    """Their part of what a run did."""
    rejected_by = Counter(clip.rejected_by for clip in clips if clip.rejected_by)
    return Summary(
        shots_kept=len(kept),
        shots_rejected=len(clips) - len(kept),
        rejected_by=dict(rejected_by),
        marked=dict(Counter(name for clip in clips if clip.file for name in clip.errors)),
        num_marked=sum(bool(clip.errors) for clip in clips if clip.file),
        seconds_cut=sum(clip.planned.span.length for clip in clips),
        seconds_kept=sum(clip.planned.span.length for clip in kept),
        clip_bytes=sum(clip.file.num_bytes for clip in clips if clip.file),
        frames=sum(clip.file.num_frames for clip in clips if clip.file),
        vectors=dict(Counter(name for clip in kept for name in clip.vectors)),
        captions=dict(
            Counter(
                told.status
                for clip in kept
                for window in clip.windows
                for told in window.outcomes.values()
            )
        ),
        seconds_rejected={
            rule: sum(clip.planned.span.length for clip in clips if clip.rejected_by == rule)
            for rule in rejected_by
        },
        models={
            name: f"{used.name}@{used.revision}" if used.revision else used.name
            for clip in clips
            for name, used in clip.models.items()
        },
        transcoded=dict(
            Counter(
                clip.file.transcoded.how for clip in clips if clip.file and clip.file.transcoded
            )
        ),
    )
