"""The command: ``finecut curate``, ``launch``, ``describe``, ``doctor``, ``demo``, and what is done
with what was curated: ``dedup``, ``shard``, ``refilter``, ``verify``.

Nothing heavy is imported before a command really runs, so that ``--help`` answers at once.

Exit codes: 0 done, also where some inputs failed (they are listed); 1 the run could not be done or
made nothing, or the doctor found something that does not work; 2 the command line is wrong; 3 the
books do not balance; 130 and 143 stopped by Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from finecut.io import child
from finecut.pipeline.after import (
    AfterOptions,
)
from finecut.pipeline.flags import Parser, add_flags, parse_after, parse_options
from finecut.pipeline.options import OptionError, Options
from finecut.pipeline.stopping import stopping

#: What works in child processes.
CHILDREN = tuple(f"finecut.transforms.{name}" for name in ("isolated", "cut", "find", "detect"))

CURATE = "Turn a folder of videos into a training-ready set of clips."
DESCRIBE = "Print the pipeline that curate would run: steps, what flows between them, resources."
LAUNCH = (
    "Hand the job of curate over to a cluster and do not wait for its end. Needs --runner and the "
    "runner's own options."
)
DOCTOR = (
    "Find out by trying whether this machine can do what the options of curate ask: codecs, "
    "models, output. Needs no input."
)
#: What is done after curation: the options, and a sentence. What does it is the module of that name
#: in this package: its ``main(options, runner_arguments)`` gives the exit code.
AFTER: dict[str, tuple[type[AfterOptions], str]] = {}
DEMO = "Paint three short films, curate them, and say where to look."


def main(arguments: Sequence[str] | None = None) -> int:
    """The command's exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # There is a worker for each core already. NumPy's own threads wait for each other by spinning.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    parser = Parser(
        prog="finecut",
        description="Videos in, training-ready clips out.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    curate = commands.add_parser("curate", help=CURATE, description=CURATE)
    add_flags(curate)
    describe = commands.add_parser("describe", help=DESCRIBE, description=DESCRIBE)
    add_flags(describe)
    launch = commands.add_parser("launch", help=LAUNCH, description=LAUNCH)
    add_flags(launch)
    doctor = commands.add_parser("doctor", help=DOCTOR, description=DOCTOR)
    add_flags(doctor)
    after = {
        name: commands.add_parser(name, help=text, description=text)
        for name, (_, text) in AFTER.items()
    }
    for name, command in after.items():
        add_flags(command, kind=AFTER[name][0])
    demo = commands.add_parser("demo", help=DEMO, description=DEMO)
    demo.add_argument("--folder", default="demo", help="where to paint and write [demo]")

    if given[:1] == ["curate"]:
        options, rest = parse_options(curate, given[1:])
        # From here on, and not only when the run begins: importing Beam takes seconds.
        with stopping():
            return _curate(options, rest, curate)
    if given[:1] == ["describe"]:
        options, _ = parse_options(describe, given[1:])
        return _describe(options, describe)
    if given[:1] == ["launch"]:
        options, rest = parse_options(launch, given[1:])
        return _launch(options, rest, launch)
    if given[:1] == ["doctor"]:
        options, _ = parse_options(doctor, given[1:], whole=False)
        with stopping():
            return _doctor(options, doctor)
    if given[:1] and given[0] in after:
        with stopping():
            return _after(given[0], given[1:], after[given[0]])
    known = parser.parse_args(given)
    if known.command == "demo":
        return _demo(known.folder)
    if known.version:
        from importlib.metadata import version

        sys.stdout.write(f"finecut {version('finecut')}\n")
        return 0
    parser.print_help()
    return 0


def _curate(options: Options, rest: Sequence[str], parser: Parser) -> int:
    if options.is_local and not options.no_isolation:
        # It imports what this process does, at the same time.
        child.start(*CHILDREN)
    if not options.verbose:
        # Libraries warn their developers; whoever cuts films cannot act on it.
        warnings.simplefilter("ignore")
    from finecut.io.film.encoders import EncoderMissing
    from finecut.pipeline.engine import RunError
    from finecut.pipeline.planning import failures_path
    from finecut.pipeline.running import run
    from finecut.pipeline.words import exit_code, final_words, problems, stats_table
    from finecut.transforms.find import InputError
    from finecut.transforms.given import CutsError
    from finecut.transforms.models.weights import WeightsMissing
    from finecut.transforms.vectors import MixedVectors

    wrong_from_the_start = (
        InputError,
        EncoderMissing,
        OptionError,
        CutsError,
        WeightsMissing,
        MixedVectors,
    )
    try:
        ran = run(options, rest, progress=True)
    except wrong_from_the_start as error:
        parser.error(str(error))
    except RunError as error:
        sys.stderr.write(f"finecut: {error}\n")
        return 1
    if ran.summary.videos_found:
        listed = failures_path(options)
        words = final_words(options, ran.summary, ran.seconds, listed, ran.path)
        sys.stdout.write(words + "\n")
    if options.log_stats:
        sys.stdout.write("\n" + stats_table(ran.stats) + "\n")
    wrong = problems(options, ran.summary)
    for sentence in wrong:
        sys.stderr.write(f"finecut: {sentence}\n")
    return exit_code(ran.summary, wrong)


def _launch(options: Options, rest: Sequence[str], parser: Parser) -> int:
    if options.is_local:
        parser.error("--runner local has nobody to hand the job over to: write DataflowRunner")
    from finecut.pipeline.engine import quiet_libraries
    from finecut.pipeline.launch import launch

    quiet_libraries(options.verbose)
    try:
        job = launch(options, rest)
    except OptionError as error:
        parser.error(str(error))
    sys.stdout.write(f"handed over to {options.runner}: {_name_of(job)}\n")
    return 0


def _name_of(job: Any) -> str:
    """What a runner calls its job, where it calls it anything."""
    called = getattr(job, "job_id", None)
    return str(called() if callable(called) else called or "it said no name")


def _describe(options: Options, parser: Parser) -> int:
    from finecut.pipeline.describe import describe
    from finecut.transforms.given import CutsError
    from finecut.transforms.models.weights import WeightsMissing

    try:
        sys.stdout.write(describe(options) + "\n")
    except (CutsError, OptionError, WeightsMissing) as error:
        parser.error(str(error))
    return 0


def _doctor(options: Options, parser: Parser) -> int:
    warnings.simplefilter("ignore")
    from finecut.pipeline.doctor import doctor
    from finecut.pipeline.engine import quiet_libraries
    from finecut.transforms.given import CutsError
    from finecut.transforms.models.weights import WeightsMissing

    def say(text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    quiet_libraries(options.verbose)
    try:
        return doctor(options, say)
    except (CutsError, OptionError, WeightsMissing) as error:
        parser.error(str(error))


def _after(name: str, given: Sequence[str], parser: Parser) -> int:
    told, rest = parse_after(parser, given, AFTER[name][0])
    if not told.verbose:
        warnings.simplefilter("ignore")
    from finecut.io.drops import DropsError
    from finecut.io.output import NoDataset
    from finecut.pipeline.engine import RunError, quiet_libraries

    quiet_libraries(told.verbose)
    try:
        code: int = importlib.import_module(f"finecut.pipeline.{name}").main(told, rest)
    except (OptionError, NoDataset, DropsError) as error:
        parser.error(str(error))
    except RunError as error:
        sys.stderr.write(f"finecut: {error}\n")
        return 1
    return code


def _demo(folder: str) -> int:
    from finecut.pipeline.demo import demo

    return demo(folder)


if __name__ == "__main__":
    sys.exit(main())
