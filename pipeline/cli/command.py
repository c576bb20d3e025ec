"""The command ``finecut``: which command is meant, or a word for whoever mistyped.

Commands are found by lying in :mod:`finecut.pipeline.commands`; none is named here. Nothing heavy
is imported before one really runs, so that ``--help`` answers at once.

Exit codes: 0 done, also where some inputs failed (they are listed); 1 the run could not be done or
made nothing, the doctor found something that does not work, or words were all that was asked for
(help, a description) and could not be written; 2 the command line is wrong; 3 the counts do not
balance, of a run or of what lies in a dataset; 130 and 143 stopped by Ctrl-C or SIGTERM. Work that
is done counts, also where nobody could be told of it (``>/dev/full``).

What all commands do alike is written once, here; what each adds to that is declared by its class
(:mod:`finecut.pipeline.commands.base`):

    signals ─▶ options ─▶ stores answer? ─▶ imports ─▶ the command's work ─▶ words ─▶ exit code
"""

import argparse
import difflib
import importlib
import sys
import textwrap
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from typing import Any, Final, TypeVar

from finecut.io.errors import WRONG_COMMAND, UserError
from finecut.io.storage.stores import is_greeted
from finecut.pipeline.cli.flags import Parser, add_flags, parse_options
from finecut.pipeline.cli.outlets import Outlet, outlets, shown, unwritten
from finecut.pipeline.cli.own_process import (
    ignore_warnings,
    import_lean,
    look_here_too,
    quiet_libraries,
    said_once,
    set_environment,
)
from finecut.pipeline.cli.stopping import stopping
from finecut.pipeline.commands.base import Command, Page, all_commands

R = TypeVar("R")

ENDS: Final = """\
exit codes:
  0    done; if some inputs failed, they are listed
  1    the command could not do its work, or made nothing, or a check failed
  2    the command line is wrong; nothing was changed
  3    the counts do not add up (a bug in finecut; summary: the dataset is incomplete or damaged)
  130  stopped by Ctrl-C; 143 by SIGTERM. No file is incomplete: run the same command again"""
WIDTH: Final = 92


def main(arguments: Sequence[str] | None = None) -> int:
    """The command's exit code."""
    alone = arguments is None
    given = list(sys.argv[1:] if arguments is None else arguments)
    with outlets(alone) as out:
        set_environment()
        kind = all_commands().get(given[0]) if given else None
        if kind is None:
            return _without_command(given) or unwritten(out)
        try:
            kind, words = kind.meant(given[1:])
        except UserError as error:
            parser_of(kind).error(str(error))
        return execute(kind, words, parser_of(kind), out, alone=alone)


def _without_command(given: Sequence[str]) -> int:
    parser, commands = main_parser()
    if given and not given[0].startswith("-"):
        near = difflib.get_close_matches(given[0], commands, n=1)
        hint = f"did you mean {near[0]}?" if near else "finecut --help lists all commands."
        parser.error(f"unknown command {given[0]}: {hint}")
    if parser.parse_args(list(given)).version:
        from importlib.metadata import version

        sys.stdout.write(f"finecut {version('finecut')}\n")
        return 0
    parser.print_help()
    return 0


def execute(
    kind: type[Command[Any, Any]], words: Sequence[str], parser: Parser, out: Outlet, *, alone: bool
) -> int:
    """Do what these words ask of a command; its exit code.

    ``alone``: the process is for nothing else.
    """
    # From here on, and not only when the work begins: importing Beam takes seconds.
    with stopping():
        try:
            options, rest = parse_options(parser, kind.typed(words), kind.Options, kind.whole)
            command = kind(options, rest, progress=not options.quiet)
            _make_ready(command, alone)
            code = perform(command)
        except UserError as error:
            if error.exit_code == WRONG_COMMAND:
                parser.error(str(error))
            sys.stderr.write(f"finecut: {error}\n")
            return error.exit_code
    return code or (unwritten(out) if kind.answers else code)


def _make_ready(command: Command[Any, Any], alone: bool) -> None:
    """Find out what can be found out before the work, and import what does it."""
    options = command.options
    if remote := [uri for uri in command.uris() if is_greeted(uri)]:
        from finecut.io.storage.retry import greet  # the stores' libraries take a second

        greet(remote)
    command.begin()
    if not options.verbose:
        ignore_warnings()
    module = command.does.partition(":")[0]
    if module and alone:
        import_lean(module, without_unused=command.lean)
    elif module:
        importlib.import_module(module)
    if command.has_custom_steps:
        look_here_too()
    quiet_libraries(options.verbose)


def perform(command: Command[Any, R]) -> int:
    """Run it, say what came of it, and give the exit code."""
    began = time.monotonic()
    _refuse_packed(command)
    with nullcontext() if command.options.verbose else said_once(command.options.is_local):
        result = command.run()
    sys.stderr.write("".join(f"{shown(line)}\n" for line in command.troubles(result)))
    lines = list(command.answer(result))
    if not command.options.quiet:
        lines = [*command.tell(result, time.monotonic() - began), *lines]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stderr.write("".join(f"finecut: {problem}\n" for problem in command.problems(result)))
    return command.exit_code(result)


def _refuse_packed(command: Command[Any, Any]) -> None:
    """Refuse a packed dataset for a command that looks for files: most would find it damaged."""
    dataset = getattr(command.options, "dataset", "")
    if not dataset or getattr(command, "reads_packs", False):
        return
    from finecut.io.dataset.arrangement import found, refuse_packed  # help does without
    from finecut.io.layout import Layout
    from finecut.io.storage import files as shelf

    with suppress(OSError):  # of which the command tells
        refuse_packed(found(Layout(shelf.absolute(dataset))))


def parser_of(kind: type[Command[Any, Any]]) -> Parser:
    """What reads the command line of this command."""
    parser = Parser(
        prog=f"finecut {kind.name}",
        usage=f"finecut {kind.name} {kind.page.usage}",
        description=description(kind.page),
        epilog=_epilog(kind.page),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_flags(parser, kind=kind.Options)
    return parser


def main_parser() -> tuple[Parser, dict[str, Parser]]:
    """What reads ``finecut`` itself, which lists the commands; and where their flags may go."""
    parser = Parser(
        prog="finecut",
        description="Videos in, training-ready clips out.",
        epilog="Run finecut COMMAND --help for details.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    added = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    commands = {
        name: added.add_parser(name, help=kind.page.sentence)
        for name, kind in all_commands().items()
    }
    return parser, commands


def parsers() -> tuple[Parser, dict[str, Parser]]:
    """The same with the flags of all commands."""
    parser, commands = main_parser()
    for name, kind in all_commands().items():
        add_flags(commands[name], kind=kind.Options)
    return parser, commands


def description(page: Page) -> str:
    return "\n\n".join(
        textwrap.fill(" ".join(p.split()), WIDTH)
        for p in [page.sentence, *filter(None, page.more.split("\n\n"))]
    )


def _epilog(page: Page) -> str:
    shown = [f"  # {what}\n  {command}" for what, command in page.examples]
    return "\n\n".join((["examples:\n" + "\n\n".join(shown)] if shown else []) + [ENDS])


if __name__ == "__main__":
    sys.exit(main())
