"""The command ``finecut``: which command is meant, or a word for whoever mistyped.

Commands are found by lying in :mod:`finecut.pipeline.commands`; none is named here. Nothing heavy
is imported before one really runs, so that ``--help`` answers at once.

Exit codes: 0 done, also where some inputs failed (they are listed); 1 the run could not be done or
made nothing, the doctor found something that does not work, or words were all that was asked for
(help, a description) and could not be written; 2 the command line is wrong; 3 the books do not
balance; 130 and 143 stopped by Ctrl-C or SIGTERM. Work that is done counts, also where nobody could
be told of it (``>/dev/full``).
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence

from finecut.pipeline.cli.manual import main_parser, parser_of
from finecut.pipeline.cli.outlets import outlets, unwritten
from finecut.pipeline.cli.own_process import set_environment
from finecut.pipeline.cli.shell import execute
from finecut.pipeline.commands.registry import all_commands


def main(arguments: Sequence[str] | None = None) -> int:
    """The command's exit code."""
    alone = arguments is None
    given = list(sys.argv[1:] if arguments is None else arguments)
    with outlets(alone) as out:
        set_environment()
        kind = all_commands().get(given[0]) if given else None
        if kind is None:
            return _without_command(given) or unwritten(out)
        return execute(kind, given[1:], parser_of(kind), out, alone=alone)


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


if __name__ == "__main__":
    sys.exit(main())
