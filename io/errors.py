"""Errors that whoever gave the command can mend. Standard library only."""

from typing import ClassVar, Final

#: The command, or what it names, is wrong: nothing was begun.
WRONG_COMMAND: Final = 2
#: The work could not be done, or not be said to be done.
NOT_DONE: Final = 1


class UserError(Exception):
    """What a user can mend: its message says what is wrong, with which value, and what to do.

    Each names what else it is, too (``class NoDataset(UserError, ValueError)``), for programs that
    call us. Everything that is none of these is a defect of ours, and ends with its stack.
    """

    #: What a command that it ends says to who called it.
    exit_code: ClassVar[int] = WRONG_COMMAND


class RunError(UserError, RuntimeError):
    """Work that could not be done, or not be said to be done."""

    exit_code = NOT_DONE
