"""Final words: what came in, what came out, what failed, how fast, and where to look next."""

import shlex
from collections.abc import Mapping

from finecut.io.layout import embedding_folder
from finecut.io.media.remux.copying import ENCODED
from finecut.io.storage import files as shelf
from finecut.io.storage.addresses import public
from finecut.io.summary import Summary
from finecut.io.wording import count_of, in_bytes
from finecut.pipeline.cli.disk import disk_trouble
from finecut.pipeline.cli.outlets import lines_of, shown
from finecut.pipeline.cli.progress import clock
from finecut.pipeline.commands.base import BOOKS
from finecut.pipeline.options import Options
from finecut.transforms.cut.chunk import NO_FRAMES
from finecut.transforms.registry import ARTEFACTS

SHOWN_FAILURES = 5
#: Of fewer clips a share says nothing.
LEAST_JUDGED = 8


def final_words(
    options: Options,
    summary: Summary,
    seconds: float,
    failures_path: str = "",
    document: str | None = None,
    report: str = "",
) -> str:
    """A short table for people."""
    s = summary
    encoded = s.transcoded.get(ENCODED) and not options.dry_run
    why = "; see transcode_reason in metas/v0/" if encoded else ""
    where = "" if options.dry_run else "; see errors in metas/v0/"
    aside = f" ({s.videos_set_aside} of the failed are set aside)" if s.videos_set_aside else ""
    finished = s.videos_skipped - s.videos_forgotten
    lines = lines_of(
        [
            f"videos   {_sum(s.videos_found, 'found', done=s.videos_done, empty=s.videos_empty)}"
            f" + {s.videos_failed} failed + {s.videos_skipped} skipped{aside}",
            *_of_clips(s, strict=_strict(options, s), where=where, why=why),
            f"speed    {s.seconds_cut / max(seconds, 1e-3):.1f}x real time, {seconds:.1f} s",
            *_of_failures(s, failures_path, options.output),
            (
                finished,
                f"\n{finished} skipped: an earlier run finished them (--overwrite "
                "processes them again)",
            ),
            (
                s.shots_resumed,
                f"\n{count_of(s.shots_resumed, 'clip')} of videos half done were there already: an "
                "earlier run was stopped",
            ),
            (
                s.videos_retold,
                f"{s.videos_retold} of them have other metadata now: their documents say so, and "
                "nothing was cut again. Run finecut shard again if you made shards of them",
            ),
            (
                s.videos_forgotten,
                f"\n{count_of(s.videos_forgotten, 'video')} skipped: forgotten (finecut forget "
                "--allow lets one be processed again)",
            ),
            (document, f"\nall counts: {document}"),
            "",
            *filter(None, [_where(options, s), report]),
        ]
    )
    return "\n".join(lines)


def _of_clips(s: Summary, strict: str = "", where: str = "", why: str = "") -> list[str]:
    """What became of clips, and what there is of them."""
    marked = count_of(s.num_marked, "clip")
    clips = _sum(s.shots_planned, "planned", kept=s.shots_kept, rejected=s.shots_rejected)
    return lines_of(
        [
            f"clips    {clips} + {s.shots_failed} failed",
            (s.rejected_by, f"rejected {_counts(s.rejected_by, '{} by {}')}{strict}"),
            (s.marked, f"marked   {marked}: {_counts(s.marked, '{} with {}')}{where}"),
            (s.transcoded, f"encoding {_counts(s.transcoded, '{} {}')}{why}"),
            (s.vectors, f"vectors  {_counts(s.vectors, '{} of {}')}"),
            (s.captions, f"captions {_counts(s.captions, '{} {}')}"),
            f"length   {_duration(s.seconds_found)} in, {_duration(s.seconds_kept)} kept, "
            f"{s.frames} frames, {in_bytes(s.clip_bytes)}",
        ]
    )


def words_of_dataset(s: Summary, unfinished: int = 0) -> list[str]:
    """The same short table of a whole dataset, whichever runs made it."""
    aside = f" ({s.videos_set_aside} of the failed are set aside)" if s.videos_set_aside else ""
    more = f" + {unfinished} unfinished" if unfinished else ""
    videos = _sum(s.videos_found, "found", done=s.videos_done, empty=s.videos_empty)
    return [f"videos   {videos} + {s.videos_failed} failed{aside}{more}", *_of_clips(s)]


def _of_failures(s: Summary, path: str, output: str) -> list[str]:
    """The first failures; ``path`` is where all of them are listed."""
    if not s.failures:
        return []
    number = count_of(s.num_failures, "failure")
    more = s.num_failures - SHOWN_FAILURES
    return lines_of(
        [
            f"\n{number}, listed in {path}" if path else f"\n{number}",
            *(
                shown(f"  {failure.step}: {failure.source.name}: {failure.message}")
                for failure in s.failures[:SHOWN_FAILURES]
            ),
            (more > 0, f"  … and {more} more"),
            (
                path,
                "once these files are repaired, run the same command again, or process only them: "
                f"{shlex.join(['--input', path, '--output', output])}",
            ),
        ]
    )


def problems(options: Options, summary: Summary) -> list[str]:
    """Why the run, although it came to its end, did not do what was asked; empty when it did."""
    if refused := disk_trouble(summary.failures, options.output):
        return [refused]
    found = [f"{BOOKS}: {sentence}" for sentence in summary.imbalances()]
    if not summary.videos_found:
        found.append(
            f"no videos found in {', '.join(map(public, options.input))}. Files must end in .mp4, "
            ".mov, .avi, .mkv or .webm (in any case)."
        )
    elif not (
        summary.shots_kept
        or summary.shots_rejected
        or summary.shots_resumed
        or summary.videos_skipped
    ):
        found.append(
            f"no clips were made: all {count_of(summary.videos_found, 'video')} failed (see above)."
            if summary.videos_failed == summary.videos_found
            else "no clips were made: nothing in the videos is as long as --min-clip-length "
            f"({options.min_clip_length:g} s){_scenes(options)}."
        )
    return found


def _strict(options: Options, s: Summary) -> str:
    """A word on a rule that takes most of it: usually its limit was meant for other films."""
    name, most = max(s.rejected_by.items(), key=lambda item: item[1], default=(NO_FRAMES, 0))
    judged = s.shots_kept + s.shots_rejected
    if options.dry_run or name == NO_FRAMES or most <= judged / 2 or judged < LEAST_JUDGED:
        return ""
    return (
        f"\n         {name} alone rejects {most / judged:.0%}: finecut refilter "
        f"{shlex.quote(options.output)} --dry-run shows what other thresholds would keep"
    )


def stats_table(stats: dict[str, int]) -> str:
    """Items, seconds and bytes of every step."""
    rows = [f"{'step':<18}{'items':>10}{'seconds':>12}{'bytes':>16}"]
    for step in sorted({name.split("/")[0] for name in stats if "/" in name}):
        micros = stats.get(f"{step}/microseconds")
        size = stats.get(f"{step}/bytes")
        rows.append(
            f"{step:<18}{stats.get(f'{step}/items', 0):>10}"
            f"{'-' if micros is None else f'{micros / 1e6:.2f}':>12}"
            f"{'-' if size is None else size:>16}"
        )
    return "\n".join(rows)


def _scenes(options: Options) -> str:
    """What else shortens or drops scenes."""
    if not options.cuts_at_scenes:
        return ""
    return " between two transitions, less --crop" + (
        ", or has no transition (--skip-uncut)" if options.skip_uncut else ""
    )


def _counts(counts: Mapping[str, int], form: str) -> str:
    """The most frequent first."""
    return ", ".join(
        form.format(count, name)
        for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )


def _where(options: Options, summary: Summary) -> str:
    if options.dry_run:
        where = _look_into(options, ["processed_videos", "processed_clip_chunks", "failures"])
        return f"dry run: no clip was written{where and f'; {where}'}"
    folders = [
        "clips",
        *(artefact.folder for artefact in ARTEFACTS if "*" not in artefact.folder),
        *map(embedding_folder, summary.vectors),
        "filtered_clips",
        "metas/v0",
        "processed_videos",
    ]
    return _look_into(options, folders)


def _look_into(options: Options, folders: list[str]) -> str:
    """Where to look, of these folders: what is there; nothing where none is."""
    there = [f"{name}/" for name in folders if _is_there(f"{options.output}/{name}")]
    words = " and ".join(filter(None, [", ".join(there[:-1]), *there[-1:]]))
    return f"see {options.output}: {words}" if there else ""


def _is_there(folder: str) -> bool:
    """Whether a folder of this output holds anything, of this run or of an earlier one."""
    try:
        return bool(shelf.some_file_in(folder, "") or shelf.folders_in(folder))
    except OSError:
        return False  # it cannot be looked into: then nobody is sent there


def _sum(total: int, verb: str, **parts: int) -> str:
    return f"{total} {verb} = " + " + ".join(f"{value} {name}" for name, value in parts.items())


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else clock(seconds)
