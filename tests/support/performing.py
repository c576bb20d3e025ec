"""Commands on a dataset: their results, as a program calls them, and as the shell performs them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from finecut.pipeline.cli.command import perform
from finecut.pipeline.commands.base import all_commands
from finecut.pipeline.commands.dedup import DedupOptions, FindDuplicates
from finecut.pipeline.commands.shard import Shard, ShardOptions
from finecut.pipeline.commands.shard.work import Ran
from finecut.pipeline.commands.verify import Verify, VerifyOptions
from finecut.transforms.dedup.folder import Deduped, Deduping
from finecut.transforms.verify.report import Verified


def dedup(options: DedupOptions, runner: Sequence[str] = ()) -> tuple[Deduping, Deduped]:
    return FindDuplicates(options, runner).run()


def shard(options: ShardOptions, runner: Sequence[str] = ()) -> Ran:
    return Shard(options, runner).run()


def verify(options: VerifyOptions, runner: Sequence[str] = ()) -> Verified:
    return Verify(options, runner).run()


def performed(options: Any, runner: Sequence[str] = ()) -> int:
    """The exit code of the command that has such options."""
    [kind] = [kind for kind in all_commands().values() if kind.Options is type(options)]
    return perform(kind(options, runner, progress=not options.quiet))
