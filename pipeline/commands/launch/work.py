"""The work of ``finecut launch`` for commands on datasets: their jobs.

    builds its job          the job of the command itself
    runs several, or none   one step: a worker conducts the command, and submits its jobs

Who conducts is a worker and no machine of a user's, so nobody has to stay connected. If it dies,
the engine has another one begin again, as a user would: commands go on where they were.
"""

import importlib
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final

import apache_beam as beam
from apache_beam.runners.runner import PipelineResult

from finecut.io.errors import RunError
from finecut.pipeline.choices.running import LOCAL
from finecut.pipeline.cli.flags import is_hidden, words_of
from finecut.pipeline.commands.base import Command
from finecut.pipeline.commands.launch import Launching
from finecut.pipeline.engine import check_runner, new_pipeline, taken
from finecut.pipeline.options import option_fields
from finecut.transforms.beam.metrics import LOG

#: Beam's own, of one job only.
OF_ONE_JOB: Final = ("--job_name", "--template_location", "--dry_run", "--update")
#: Last lines of a command that are repeated if it fails.
LAST: Final = 5


def launch(launching: Launching) -> PipelineResult:
    """Hand the job over; raises :class:`RunError` where nobody takes it."""
    options = launching.options
    check_runner(options.runner, launching.runner_arguments)
    return taken(job_of(launching.command), options.runner)


def job_of(command: Command[Any, Any]) -> beam.Pipeline:
    """The whole job of a command, not yet handed over."""
    runner, arguments = command.options.runner, command.runner_arguments
    command.options.check()
    pipeline = new_pipeline([f"--runner={runner}", *arguments], runner)
    if command.builds:
        module, _, function = command.builds.partition(":")
        getattr(importlib.import_module(module), function)(command, pipeline)
    else:
        words = [*words_on_worker(command)]
        once = pipeline | "Once" >> beam.Create([0])
        _ = once | command.name.capitalize() >> beam.Map(_conduct, words).with_output_types(int)
    return pipeline


def words_on_worker(command: Command[Any, Any]) -> Iterator[str]:
    """The command line with which a worker does this."""
    yield command.name
    options, kind = command.options, type(command).Options
    yield from words_of(options, ("runner",))
    if any(f.name == "runner" and is_hidden(f, kind) for f in option_fields(kind)):
        return
    if options.runner != LOCAL:
        yield f"--runner={options.runner}"
        yield from of_every_job(command.runner_arguments)


def of_every_job(arguments: Sequence[str]) -> list[str]:
    """A runner's arguments without those that are of one job only.

    >>> of_every_job(["--job_name", "a", "--region=r", "--dry_run", "--template_location=gs://b/t"])
    ['--region=r']
    """
    kept: list[str] = []
    follows = False
    for word in arguments:
        is_flag = word.startswith("--")
        if is_flag:
            flag, _, _ = word.partition("=")
            follows = flag in OF_ONE_JOB
        if not follows:
            kept.append(word)
    return kept


def _conduct(_once: int, words: Sequence[str]) -> int:
    """Do a command in a process of its own; what it says goes to the log of the job."""
    command = [sys.executable, "-m", "finecut.pipeline.cli.command", *words]
    last = deque[str](maxlen=LAST)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        for line in process.stdout or ():
            LOG.info("%s", line.rstrip())
            last.append(line.strip())
    if process.returncode:
        raise RunError(
            f"finecut {words[0]} ended with {process.returncode} on a worker: {' '.join(last)}"
        )
    return process.returncode
