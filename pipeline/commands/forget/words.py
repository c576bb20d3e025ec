"""What ``finecut forget`` says when it has ended."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from finecut.pipeline.cli.outlets import lines_of, shown
from finecut.pipeline.commands.forget import ForgetOptions

if TYPE_CHECKING:
    from finecut.pipeline.commands.forget.work import Forgot

#: Files that are named.
SHOWN: Final = 10


def final_words(forgot: "Forgot", options: ForgetOptions, seconds: float) -> list[str]:
    """A short table for people."""
    if options.allow:
        return [f"{shown(name)} may be curated again" for name in forgot.allowed]
    would = "would be " if forgot.foreseen else ""
    rewritten = sum(forgot.removed.rewritten.values())
    return lines_of(
        [
            *(f"{would}forgotten: {shown(name)}" for name in forgot.names[:SHOWN]),
            (len(forgot.names) > SHOWN, f"… and {len(forgot.names) - SHOWN} more"),
            *(f"forgotten before: {shown(name)}" for name in forgot.already[:SHOWN]),
            (forgot.continued, "a run that was stopped before is finished now"),
            *_of_files(forgot, would),
            (rewritten, f"written again without: {rewritten} documents, tables and archives"),
            *_of_shards(forgot),
            *_of_duplicates(forgot, options.dataset),
            (
                forgot.looked_at and not forgot.left,
                f"checked  {forgot.looked_at} files: nothing is left, {seconds:.1f} s",
            ),
            (options.receipt, f"receipt  {options.receipt}"),
            forgot.page,
        ]
    )


def _of_files(forgot: "Forgot", would: str) -> Iterator[str]:
    removed = forgot.removed
    for kind, number in sorted(removed.files.items()):
        size = removed.num_bytes.get(kind, 0)
        what = "samples" if kind == "shards" else "files"
        yield f"{kind:<24} {number} {what} {would}removed, {size:,} bytes"


def _of_shards(forgot: "Forgot") -> Iterator[str]:
    for each in forgot.shards:
        yield f"{each.root}: {each.samples} samples in {each.archives} archives"
        if each.lance_lost:
            yield (
                "  its Lance table was removed, because the library that writes one is not "
                "installed: pip install 'finecut[lance]', then finecut shard --lance"
            )


def _of_duplicates(forgot: "Forgot", dataset: str) -> list[str]:
    if forgot.released is None:
        return []
    kept, rejected = len(forgot.released.kept), len(forgot.released.rejected)
    return lines_of(
        [
            (
                kept,
                f"no duplicates any more, since they went for a clip that is gone: {kept} clips",
            ),
            (
                rejected,
                f"rejected as duplicates of a clip that is gone: {rejected} clips, which finecut "
                f"refilter {dataset} --drop {dataset}/dedup brings back",
            ),
            f"duplicates among the others: run finecut dedup {dataset} again",
        ]
    )


def troubles(forgot: "Forgot") -> Iterator[str]:
    yield from (f"finecut: still there: {shown(path)}" for path in forgot.left[:SHOWN])
    if len(forgot.left) > SHOWN:
        yield f"finecut: … and {len(forgot.left) - SHOWN} more"


def problems(forgot: "Forgot") -> list[str]:
    found = [shown(each) for each in forgot.unknown]
    if forgot.left:
        found.append(
            f"{len(forgot.left)} files still speak of what was forgotten. finecut did not write "
            "them, or somebody wrote them meanwhile: look at them, remove them, and run the same "
            "command again"
        )
    return found
