"""The command: ``finecut curate``, ``launch``, ``describe``, ``doctor``, ``demo``, and what is done
with what was curated: ``dedup``, ``shard``, ``refilter``, ``verify``.

Nothing heavy is imported before a command really runs, so that ``--help`` answers at once.

Exit codes: 0 done, also where some inputs failed (they are listed); 1 the run could not be done or
made nothing, the doctor found something that does not work, or words were all that was asked for
(help, a description) and could not be written; 2 the command line is wrong; 3 the books do not
balance; 130 and 143 stopped by Ctrl-C or SIGTERM. Work that is done counts, also where nobody could
be told of it (``>/dev/full``).
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib
import io
import sys
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from finecut.io.errors import WRONG_COMMAND, UserError
from finecut.io.process import children as child
from finecut.io.storage.stores import GOOGLE, modules_behind
from finecut.pipeline.cli.flags import Parser, add_flags, parse_after, parse_options
from finecut.pipeline.cli.manual import PAGES, Page
from finecut.pipeline.cli.outlets import Outlet, outlets, said
from finecut.pipeline.cli.own_process import (
    ignore_warnings,
    import_lean,
    look_here_too,
    quiet_libraries,
    set_environment,
)
from finecut.pipeline.cli.stopping import stopping
from finecut.pipeline.commands.options import COMMANDS, AfterOptions
from finecut.pipeline.options import Options

#: What works in child processes.
CHILDREN = tuple(
    f"finecut.transforms.{name}"
    for name in ("cut.isolated", "find.probe", "cut.reel", "registry", "measure.clip_meters")
)

#: Values that are files or folders.
PATHS = ("PATH", "FILE", "FOLDER", "LIST", "DATASET", "ROOT")
#: What has to be read to say what a run would do.
READ_BEFORE_WORK = {"describe": ("cuts", "drop"), "doctor": ("cuts", "drop", "model_dir")}
SHELLS = ("bash", "zsh", "fish", "tcsh", "powershell")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command's exit code."""
    alone = arguments is None
    with outlets(alone) as out:
        return _command(list(sys.argv[1:] if arguments is None else arguments), out, alone)


def _command(given: Sequence[str], out: Outlet, alone: bool) -> int:
    set_environment()
    parser, commands = parsers()
    if not given or given[0] not in commands:
        return _without_command(given, parser) or said(out)
    command = commands[given[0]]
    try:
        return _done(given, command, out, alone)
    except UserError as error:
        if error.exit_code == WRONG_COMMAND:
            command.error(str(error))
        sys.stderr.write(f"finecut: {error}\n")
        return error.exit_code


def _done(given: Sequence[str], command: Parser, out: Outlet, alone: bool) -> int:
    name, rest = given[0], given[1:]
    if name in COMMANDS:
        with stopping():
            return _after(name, rest, command, alone)
    if name == "demo":
        return _demo(command.parse_args(rest).folder, alone)
    if name == "completion":
        return _completion(command.parse_args(rest).shell) or said(out)
    options, runners = parse_options(command, rest, whole=name != "doctor")
    if options.step:
        look_here_too()
    _require_stores(options, READ_BEFORE_WORK.get(name, ()))
    if name == "describe":
        return _describe(options) or said(out)
    if name == "launch":
        return _launch(options, runners, command)
    # From here on, and not only when the run begins: importing Beam takes seconds.
    with stopping():
        if name == "doctor":
            return _doctor(options)
        return _curate(options, runners, alone)


def parsers() -> tuple[Parser, dict[str, Parser]]:
    """What reads the command line, and what reads that of each command."""
    parser = Parser(
        prog="finecut",
        description="Videos in, training-ready clips out.",
        epilog="finecut COMMAND --help says more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    added = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)

    def add(name: str, page: Page) -> Parser:
        commands[name] = added.add_parser(
            name,
            usage=f"finecut {name} {page.usage}",
            help=page.sentence,
            description=page.description,
            epilog=page.epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        return commands[name]

    commands: dict[str, Parser] = {}
    add_flags(add("curate", PAGES["curate"]))
    for name, kind in COMMANDS.items():
        add_flags(add(name, PAGES[name]), kind=kind)
    for name in ("describe", "launch", "doctor"):
        add_flags(add(name, PAGES[name]))
    demo = add("demo", PAGES["demo"])
    demo.add_argument("--folder", default="demo", help="where to paint and write [demo]")
    completion = add("completion", PAGES["completion"])
    completion.add_argument("shell", choices=SHELLS, help="whose")
    return parser, commands


def _require_stores(options: Options | AfterOptions, only: Sequence[str] = ()) -> None:
    """Raise where an option names a store that does not answer."""
    values = (getattr(options, f.name) for f in fields(options) if not only or f.name in only)
    paths = [path for value in values for path in (value if isinstance(value, tuple) else [value])]
    remote = [path for path in paths if isinstance(path, str) and path.startswith(GOOGLE)]
    if remote:
        from finecut.io.storage.reachable import greet  # Google's library takes a second

        greet(remote)


def _without_command(given: Sequence[str], parser: Parser) -> int:
    if given and not given[0].startswith("-"):
        near = difflib.get_close_matches(given[0], list(PAGES), n=1)
        hint = f"did you mean {near[0]}?" if near else "finecut --help lists what there is."
        parser.error(f"there is no command {given[0]}: {hint}")
    if parser.parse_args(list(given)).version:
        from importlib.metadata import version

        sys.stdout.write(f"finecut {version('finecut')}\n")
        return 0
    parser.print_help()
    return 0


def _completion(shell: str) -> int:
    import shtab

    parser, commands = parsers()
    for command in commands.values():
        for action in command._actions:
            if action.metavar in PATHS:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    sys.stdout.write(shtab.complete(parser, shell) + "\n")
    return 0


def _curate(options: Options, rest: Sequence[str], alone: bool) -> int:
    if options.is_local and not (options.no_isolation or options.profile):
        # It imports its own, while this process imports Beam.
        child.start(*CHILDREN, *modules_behind(options.input))
    if not options.verbose:
        ignore_warnings()
    _import("finecut.pipeline.running", alone, lean=options.is_local and not options.step)
    quiet_libraries(options.verbose)
    from finecut.pipeline.cli.final_words import exit_code, final_words, problems, stats_table
    from finecut.pipeline.planning import failures_path
    from finecut.pipeline.running import run

    ran = run(options, rest, progress=not options.quiet)
    if ran.summary.videos_found and not options.quiet:
        listed = failures_path(options)
        words = final_words(options, ran.summary, ran.seconds, listed, ran.path, ran.report)
        sys.stdout.write(words + "\n")
    if options.log_stats:
        sys.stdout.write("\n" + stats_table(ran.stats) + "\n")
    if ran.misdone:
        for sentence in ran.misdone:
            sys.stderr.write(f"finecut: {sentence}\n")
        return 1
    wrong = problems(options, ran.summary)
    for sentence in wrong:
        sys.stderr.write(f"finecut: {sentence}\n")
    return exit_code(ran.summary, wrong)


def _launch(options: Options, rest: Sequence[str], parser: Parser) -> int:
    if options.is_local:
        parser.error("--runner local has nobody to hand the job over to: write DataflowRunner")
    from finecut.pipeline.commands.launch import launch

    quiet_libraries(options.verbose)
    job = launch(options, rest)
    sys.stdout.write(f"handed over to {options.runner}: {_name_of(job)}\n")
    return 0


def _name_of(job: Any) -> str:
    """What a runner calls its job, where it calls it anything."""
    called = getattr(job, "job_id", None)
    return str(called() if callable(called) else called or "it said no name")


def _describe(options: Options) -> int:
    from finecut.pipeline.commands.describe import describe

    sys.stdout.write(describe(options) + "\n")
    return 0


def _doctor(options: Options) -> int:
    ignore_warnings()
    from finecut.pipeline.commands.doctor import doctor

    def say(text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    quiet_libraries(options.verbose)
    return doctor(options, say)


def _after(name: str, given: Sequence[str], parser: Parser, alone: bool) -> int:
    told, rest = parse_after(parser, given, COMMANDS[name])
    _require_stores(told)
    if not told.verbose:
        ignore_warnings()
    _import(f"finecut.pipeline.commands.{name}", alone, lean=told.is_local)
    look_here_too()  # an output may have been made with custom steps
    quiet_libraries(told.verbose)
    words = io.StringIO()
    quiet = contextlib.redirect_stdout(words) if told.quiet else contextlib.nullcontext()
    with quiet:
        code: int = importlib.import_module(f"finecut.pipeline.commands.{name}").main(told, rest)
    return code


def _import(module: str, alone: bool, lean: bool) -> None:
    """Import what does a command's work; fast, where this process is for nothing else."""
    if alone:
        import_lean(module, without_unused=lean)
    else:
        importlib.import_module(module)


def _demo(folder: str, alone: bool) -> int:
    _import("finecut.pipeline.commands.demo", alone, lean=True)
    quiet_libraries(verbose=False)
    from finecut.pipeline.commands.demo import demo

    return demo(folder)


if __name__ == "__main__":
    sys.exit(main())
