"""The shell of a command: what all commands on a dataset do alike, written once.

    options ─▶ fence around its folders ─▶ work ─▶ troubles (standard error) ─▶ words ─▶ exit code
                                             └─ a disk that fails ─▶ a sentence that says so

A command is one class: which folders it works in, its work, and how it tells what came of it.
"""

from __future__ import annotations

import sys
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from finecut.io.errors import UserError
from finecut.io.layout import Layout
from finecut.io.storage import files as shelf
from finecut.io.storage.fence import Fence, LeadsOutside, standing
from finecut.io.storage.publishing import Shelf
from finecut.io.storage.staging import MAKES_NO_CLIPS, alive, sweep_dead
from finecut.pipeline.cli.final_words import shown
from finecut.pipeline.commands.options import AfterOptions
from finecut.pipeline.engine import RunError

O = TypeVar("O", bound=AfterOptions)  # noqa: E741
R = TypeVar("R")

DONE = 0


@dataclass(frozen=True)
class Command(ABC, Generic[O, R]):
    """Work on a dataset that has a result."""

    options: O
    runner_arguments: Sequence[str] = ()
    #: Show how far it is, on standard error.
    progress: bool = False

    @abstractmethod
    def folders(self) -> Iterable[str]:
        """Folders that it works in: no link in one of them is followed to outside."""

    @abstractmethod
    def work(self) -> R:
        """Do it. Raises a :class:`UserError` where the user can mend something."""

    @abstractmethod
    def unreachable(self, error: OSError) -> str:
        """The sentence for a disk, or a store, that could not be read or written."""

    @abstractmethod
    def tell(self, result: R, seconds: float) -> Iterable[str]:
        """What came of it, line by line."""

    def troubles(self, result: R) -> Iterable[str]:
        """What has to be said although it ended well, also with ``--quiet``."""
        del result
        return ()

    def exit_code(self, result: R) -> int:
        del result
        return DONE

    @property
    def fence(self) -> Fence:
        return Fence(tuple(shelf.absolute(each) for each in self.folders() if each))

    def run(self) -> R:
        """The result, without a word; as a program calls it."""
        try:
            with standing(self.fence):
                return self.work()
        except LeadsOutside as error:
            raise RunError(str(error)) from error
        except OSError as error:
            if isinstance(error, UserError):
                raise
            raise RunError(self.unreachable(error)) from error


def perform(command: Command[O, R]) -> int:
    """Run it, say what came of it, and give the exit code; as the command line calls it."""
    began = time.monotonic()
    result = command.run()
    for line in command.troubles(result):
        sys.stderr.write(shown(line) + "\n")
    if not command.options.quiet:
        lines = command.tell(result, time.monotonic() - began)
        sys.stdout.write("".join(f"{line}\n" for line in lines))
    return command.exit_code(result)


def shelf_in(folder: str) -> Shelf:
    """A shelf on this folder, with a staging folder that only this command uses."""
    return Shelf(folder, Layout(folder).staging_of(uuid.uuid4().hex))


@contextmanager
def beside_runs(own: Shelf, only_marked: bool = False) -> Iterator[None]:
    """At work in a folder where runs may be, too; what killed ones left there is swept first.

    ``only_marked``: the folder need not be finecut's, so only what bears its mark is.
    """
    with alive(own, MAKES_NO_CLIPS):
        sweep_dead(own, only_marked=only_marked)
        yield
