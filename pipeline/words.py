"""Final words: what came in, what came out, what failed, how fast, and where to look next."""

from __future__ import annotations

from finecut.io.records import Summary
from finecut.pipeline.options import Options

SHOWN_FAILURES = 5


def final_words(options: Options, summary: Summary, seconds: float, failures_path: str) -> str:
    """A short table for people."""
    s = summary
    lines = [
        f"videos   {_sum(s.videos_found, 'found', done=s.videos_done, empty=s.videos_empty)}"
        f" + {s.videos_failed} failed",
        f"shots    {_sum(s.shots_planned, 'planned', kept=s.shots_kept, rejected=s.shots_rejected)}"
        f" + {s.shots_failed} failed",
        f"film     {_duration(s.seconds_found)} in, {_duration(s.seconds_kept)} kept, "
        f"{s.frames} frames, {_bytes(s.clip_bytes)}",
        f"speed    {s.seconds_found / max(seconds, 1e-3):.1f}x real time, {seconds:.1f} s",
    ]
    if s.rejected_by:
        most = sorted(s.rejected_by.items(), key=lambda item: (-item[1], item[0]))
        said = ", ".join(f"{count} by {rule}" for rule, count in most)
        lines.insert(2, f"rejected {said}")
    if s.failures:
        number = "1 failure" if s.num_failures == 1 else f"{s.num_failures} failures"
        lines += ["", f"{number}, listed in {failures_path}" if failures_path else number]
        lines += [
            f"  {failure.step}: {failure.source.name}: {failure.message}"
            for failure in s.failures[:SHOWN_FAILURES]
        ]
        if s.num_failures > SHOWN_FAILURES:
            lines.append(f"  … and {s.num_failures - SHOWN_FAILURES} more")
    lines += ["", _where(options, s.shots_rejected)]
    return "\n".join(lines)


def problems(options: Options, summary: Summary) -> list[str]:
    """Why the run, although it came to its end, did not do what was asked; empty when it did."""
    found = [f"the books do not balance: {sentence}" for sentence in summary.imbalances()]
    if not summary.videos_found:
        found.append(
            f"no videos found in {', '.join(options.input)}. Files must end in .mp4, .mov, .avi, "
            ".mkv or .webm (in any case)."
        )
    elif not summary.shots_kept and not summary.shots_rejected:
        found.append(
            "not one clip was made. Every video failed or is shorter than --min-clip-length "
            f"{options.min_clip_length:g} s."
        )
    return found


def stats_table(stats: dict[str, int]) -> str:
    """Items, seconds and bytes of every step."""
    steps = sorted({name.split("/")[0] for name in stats if "/" in name})
    rows = [f"{'step':<18}{'items':>10}{'seconds':>12}{'bytes':>16}"]
    for step in steps:
        micros = stats.get(f"{step}/microseconds")
        size = stats.get(f"{step}/bytes")
        rows.append(
            f"{step:<18}{stats.get(f'{step}/items', 0):>10}"
            f"{'-' if micros is None else f'{micros / 1e6:.2f}':>12}"
            f"{'-' if size is None else size:>16}"
        )
    return "\n".join(rows)


def _where(options: Options, rejected: int) -> str:
    if options.dry_run:
        return (
            "dry run: nothing but processed_videos/, processed_clip_chunks/ and failures/ "
            f"in {options.output}"
        )
    parts = "metas/v0/ and processed_videos/"
    clips = "" if options.no_upload_clips else "clips/, "
    if options.generate_previews:
        clips += "previews/, "
    if rejected and not options.no_upload_clips:
        clips += "filtered_clips/, "
    return f"look into {options.output}: {clips}{parts}"


def _sum(total: int, verb: str, **parts: int) -> str:
    return f"{total} {verb} = " + " + ".join(f"{value} {name}" for name, value in parts.items())


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _bytes(size: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return ""
