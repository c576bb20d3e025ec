"""``finecut launch``: a command becomes a job of a cluster, and nobody here waits for its end.

    finecut launch --input … --output … --runner …       curate
    finecut launch dedup DATASET --runner …              any command that works on a dataset

Which commands can be launched is nowhere listed: those whose result is in the dataset
(:attr:`~finecut.pipeline.commands.base.Command.launchable`). A command that ``builds`` its whole
job is that job. Others run several jobs one after the other, or none: the job is then one step, and
a worker does the command in it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from finecut.pipeline.choices.running import LOCAL
from finecut.pipeline.commands.base import (
    Command,
    DatasetCommand,
    DatasetOptions,
    Page,
    VideoCommand,
    all_commands,
)
from finecut.pipeline.commands.curate import Curate
from finecut.pipeline.engines import ends_with_us
from finecut.pipeline.options import OptionError

if TYPE_CHECKING:
    from apache_beam.runners.runner import PipelineResult

DATAFLOW: Final = "DataflowRunner"


def launchable() -> dict[str, type[Command[Any, Any]]]:
    """The commands that can be launched, by their names."""
    return {name: kind for name, kind in all_commands().items() if kind.launchable}


class Launch(VideoCommand["PipelineResult"]):
    name = "launch"
    page = Page(
        "Submit a job to a cluster and return without waiting for it.",
        """COMMAND is curate, if none is given, or any command whose result is in the dataset, such
        as dedup or shard. Takes the options of that command (finecut launch COMMAND --help lists
        them); also needs --runner and the runner's own options.""",
        examples=(
            (
                "on Dataflow",
                "finecut launch --input gs://bucket/videos --output gs://bucket/dataset \\\n"
                "      --runner DataflowRunner --project P --region R --temp_location gs://bucket/tmp",
            ),
            (
                "what follows",
                "finecut launch dedup gs://bucket/dataset \\\n"
                "      --runner DataflowRunner --project P --region R --temp_location gs://bucket/tmp",
            ),
        ),
        usage="[COMMAND] [options of COMMAND] --runner NAME [options of the runner]",
    )
    does = "finecut.pipeline.commands.curate.launch:launch"

    @classmethod
    def meant(cls, words: Sequence[str]) -> tuple[type[Command[Any, Any]], Sequence[str]]:
        if not words or words[0].startswith("-"):
            return cls, words
        name, rest = words[0], words[1:]
        if name == Curate.name:
            return cls, rest
        kinds = launchable()
        if name in kinds:
            return launching(kinds[name]), rest
        raise OptionError(
            f"{name} cannot be launched: give one of {', '.join(kinds)}, or leave it out for curate"
        )

    def begin(self) -> None:
        _refuse_here(self, Curate.name)

    def tell(self, result: PipelineResult, _seconds: float) -> Iterator[str]:
        yield _submitted(self.options.runner, result)


class Launching(DatasetCommand[DatasetOptions, "PipelineResult"]):
    """A command on a dataset that is launched."""

    #: The command.
    kind: ClassVar[type[Command[Any, Any]]]
    does = "finecut.pipeline.commands.launch.work:launch"

    @property
    def command(self) -> Command[Any, Any]:
        return self.kind(self.options, self.runner_arguments)

    def folders(self) -> Sequence[str]:
        return [*self.command.folders()]

    def begin(self) -> None:
        _refuse_here(self, self.kind.name)

    def tell(self, result: PipelineResult, _seconds: float) -> Iterator[str]:
        yield _submitted(self.options.runner, result)


def launching(kind: type[Command[Any, Any]]) -> type[Launching]:
    """The command that launches this one."""
    page = kind.page._replace(
        sentence=f"Submit a job and return without waiting for it. {kind.page.sentence}",
        usage=kind.page.usage.replace("[options]", "--runner NAME [options]"),
        examples=(),
    )
    return type(
        f"Launch{kind.__name__}",
        (Launching,),
        {
            "name": f"{Launch.name} {kind.name}",
            "page": page,
            "kind": kind,
            "Options": launched_options(kind.Options),
        },
    )


def launched_options(kind: type[Any]) -> type[Any]:
    """The same options for a command that is launched: where it runs can be chosen, although it may
    be a command that works in one process, which is then a worker's.
    """
    hidden = getattr(kind, "hidden", ())
    if "runner" not in hidden:
        return kind

    def contradictions(self: Any) -> Iterator[str]:
        return iter(kind.contradictions(replace(self, runner=LOCAL)))

    others = tuple(name for name in hidden if name != "runner")
    return type(kind.__name__, (kind,), {"hidden": others, "contradictions": contradictions})


def _refuse_here(command: Command[Any, Any], name: str) -> None:
    if ends_with_us(command.options.runner, command.runner_arguments):
        raise OptionError(
            "launch needs a cluster: add --runner NAME, such as --runner DataflowRunner, or "
            f"use finecut {name}"
        )


def _submitted(runner: str, result: PipelineResult) -> str:
    # What Dataflow writes to a template has no id yet; other runners give none, or a text.
    named = getattr(result, "job_id", None) if getattr(result, "has_job", True) else None
    name = named() if callable(named) else named
    return f"submitted to {runner}: {name or 'it gave no name'}"


def launcher(arguments: Sequence[str]) -> int:
    """The exit code of the launcher of a Flex Template, which is called with its parameters."""
    from finecut.pipeline.cli.command import main as finecut
    from finecut.pipeline.template import words_for

    try:
        words = words_for(arguments)
    except OptionError as error:
        sys.stderr.write(f"finecut launch: {error}\n")
        return error.exit_code
    if not any(word.split("=")[0] == "--runner" for word in words):
        words.append(f"--runner={DATAFLOW}")
    return finecut([Launch.name, *words])
