"""The shell around every command: what all of them do alike on the command line, written once.

    signals ─▶ options ─▶ stores answer? ─▶ imports ─▶ the command's work ─▶ words ─▶ exit code

What a command adds to that is declared by its class (:mod:`finecut.pipeline.commands.base`).
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Sequence
from typing import Any, TypeVar

from finecut.io.errors import WRONG_COMMAND, UserError
from finecut.io.storage.stores import GOOGLE
from finecut.pipeline.cli.flags import Parser, parse_options
from finecut.pipeline.cli.outlets import Outlet, shown, unwritten
from finecut.pipeline.cli.own_process import (
    ignore_warnings,
    import_lean,
    look_here_too,
    quiet_libraries,
    said_once,
)
from finecut.pipeline.cli.stopping import stopping
from finecut.pipeline.commands.base import Command

R = TypeVar("R")


def execute(
    kind: type[Command[Any, Any]], words: Sequence[str], parser: Parser, out: Outlet, *, alone: bool
) -> int:
    """Do what these words ask of a command; its exit code.

    ``alone``: the process is for nothing else.
    """
    # From here on, and not only when the work begins: importing Beam takes seconds.
    with stopping():
        try:
            options, rest = parse_options(parser, words, kind.Options, kind.whole)
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
    if remote := [uri for uri in command.uris() if uri.startswith(GOOGLE)]:
        from finecut.io.storage.retry import greet  # Google's library takes a second

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
    with said_once(command.options.is_local and not command.options.verbose):
        result = command.run()
    for line in command.troubles(result):
        sys.stderr.write(shown(line) + "\n")
    lines = list(command.answer(result))
    if not command.options.quiet:
        lines = [*command.tell(result, time.monotonic() - began), *lines]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    for problem in command.problems(result):
        sys.stderr.write(f"finecut: {problem}\n")
    return command.exit_code(result)
