"""Being alone in an output, or there with runs that make the same."""

from __future__ import annotations

from contextlib import ExitStack

from finecut.io.storage import files as shelf
from finecut.io.storage.fence import LeadsOutside
from finecut.io.storage.publishing import Shelf
from finecut.io.storage.staging import MAKES_NO_CLIPS, alive, sweep_dead
from finecut.io.storage.stores import UnknownStore
from finecut.pipeline.engine import RunError
from finecut.pipeline.options import OptionError


def occupy(
    own: Shelf, configuration: str, at_work: ExitStack, *, elsewhere: bool, named: str
) -> None:
    """Be alone in an output, or with others that make the same; ``named`` as the user names it."""
    try:
        shelf.check_store(own.root)
    except UnknownStore as error:
        raise OptionError(f"{named}: {error}") from error
    try:
        at_work.enter_context(alive(own, configuration, elsewhere))
        own.prepare()
    except LeadsOutside as error:
        raise RunError(str(error)) from error
    except OSError as error:
        raise OptionError(
            f"{named} {own.root} cannot be written to ({error.strerror or error}): write a folder "
            "you may write to"
        ) from error
    for other in sweep_dead(own):
        # Two runs that make the same can work side by side; two that differ would undo each other.
        if other.configuration not in (configuration, MAKES_NO_CLIPS):
            raise OptionError(
                f"{named} is being written by another run with other options (process "
                f"{other.process} on {other.host}): wait until it has ended, or write to another "
                "folder"
            )
