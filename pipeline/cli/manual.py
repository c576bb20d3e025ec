"""The page of each command, and what reads the command line: made of what commands declare."""

from __future__ import annotations

import argparse
import textwrap
from typing import Any, Final

from finecut.pipeline.cli.flags import Parser, add_flags
from finecut.pipeline.commands.base import Command, Page
from finecut.pipeline.commands.registry import all_commands

ENDS: Final = """\
exit codes:
  0    done; if some inputs failed, they are listed
  1    the command could not do its work, or made nothing, or a check failed
  2    the command line is wrong; nothing was changed
  3    the books do not balance (this is a bug in finecut)
  130  stopped by Ctrl-C; 143 by SIGTERM. No file is incomplete: run the same command again"""
WIDTH: Final = 92


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
        epilog="finecut COMMAND --help has more.",
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
    paragraphs = [page.sentence, *filter(None, page.more.split("\n\n"))]
    return "\n\n".join(textwrap.fill(" ".join(p.split()), WIDTH) for p in paragraphs)


def _epilog(page: Page) -> str:
    shown = [f"  # {what}\n  {command}" for what, command in page.examples]
    return "\n\n".join((["examples:\n" + "\n\n".join(shown)] if shown else []) + [ENDS])
