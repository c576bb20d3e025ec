"""At work in a folder: seen there by others, given up when stopped, and swept at the end.

    store known? ─▶ writable? ─▶ nobody else there? ─▶ the work ─▶ what was staged is removed

For curation, and for every command that writes to a folder.
"""

import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Final

from finecut.io.dataset.arrangement import arranged
from finecut.io.errors import RunError
from finecut.io.layout import FILES, PACKED, Layout
from finecut.io.storage import files as shelf
from finecut.io.storage.addresses import is_read_only, public
from finecut.io.storage.fence import NO_FENCE, Fence, LeadsOutside, halt
from finecut.io.storage.publishing import Shelf
from finecut.io.storage.retry import pass_on_outlasted
from finecut.io.storage.staging import (
    MAKES_NO_CLIPS,
    alive,
    sweep_dead,
    sweep_temporary,
    temporary_folder,
)
from finecut.io.storage.stores import UnknownStore
from finecut.pipeline.cli.stopping import given_up_by
from finecut.pipeline.engine import NOBODY_AT_WORK
from finecut.pipeline.options import OptionError, Options

HALF_FORGOTTEN: Final = (
    "{0} still has parts of a source that was to be forgotten, because finecut forget was stopped: "
    "run finecut forget {0}, which removes the rest"
)


@contextmanager
def occupying(
    own: Shelf,
    named: str,
    *,
    ends_with_us: bool,
    configuration: str | None = None,
    spread: bool = False,
    watches: str = "",
) -> Iterator[None]:
    """Within, nobody else works in this folder, but those who make the same.

    ``named`` is the folder as the user names it. What makes no ``configuration`` is alone there.
    ``spread``: others may do so on other machines. ``watches``: nobody else waits for the same.
    """

    def give_up() -> None:
        halt(own.staging)
        own.sweep()

    with given_up_by(give_up, ends_with_us), ExitStack() as seen:
        refuse_unknown_store(own.root, named)
        try:
            made = configuration or own.staging
            seen.enter_context(
                alive(own, made, elsewhere=not ends_with_us, spread=spread, watches=watches)
            )
            own.prepare()
        except LeadsOutside as error:
            raise RunError(str(error)) from error
        except OSError as error:
            pass_on_outlasted(error)
            raise OptionError(
                f"{named} {own.root} cannot be written to ({error.strerror or error}): give a "
                "folder to which you may write"
            ) from error
        sweep_temporary()
        _refuse_others(own, named, configuration, watches)
        # A cluster's job may outlive this process, and publish from the staging folder.
        ended = ends_with_us
        try:
            yield
            ended = True
        except NOBODY_AT_WORK:
            if ends_with_us:
                halt(own.staging)  # the engine gave up, and its threads here may not have
            ended = True
            raise
        finally:
            if ended:
                own.sweep()


def layout_for(options: Options, ask: bool = True) -> Layout:
    """Where a run of curation writes, arranged as the dataset is that lies there, or as is wished
    for a new one; ``ask=False``: nobody looks there.

    Nor does anybody look into a store before the run has begun: what is wished has to be said
    there, and is held against what is there then (:func:`refuse_other_layout`).
    """
    layout = Layout(shelf.absolute(options.output), options.shard_prefix)
    if ask and not shelf.is_remote(layout.root):
        layout = arranged(layout, options.layout)
    else:
        layout = replace(layout, packed=options.layout == PACKED)
    if layout.packed and options.right_fitting:
        raise OptionError(
            "--right-fitting hands clips over as files, and --layout packed has none: leave one of "
            "them out"
        )
    return layout


def refuse_other_layout(layout: Layout) -> None:
    """A run does not write files into a packed dataset, nor packs into one of files."""
    arranged(layout, PACKED if layout.packed else FILES)


def refuse_unknown_store(uri: str, named: str) -> None:
    try:
        shelf.check_store(uri)
    except UnknownStore as error:
        raise OptionError(f"{named}: {error}") from error
    if is_read_only(uri):
        raise OptionError(
            f"{named} {public(uri)} can only be read: give a folder on this machine or in a bucket"
        )


def refuse_half_forgotten(root: str) -> None:
    """Refuse a dataset from which a source was being removed: its documents may still speak of it,
    and what is made of them would have it again.
    """
    if is_half_forgotten(root):
        raise RunError(HALF_FORGOTTEN.format(root))


def is_half_forgotten(root: str) -> bool:
    return shelf.read_if_there(Layout(root).forgetting()) is not None


def _refuse_others(own: Shelf, named: str, configuration: str | None, watches: str) -> None:
    """Two runs that make the same can work side by side; two that differ would undo each other, and
    two that wait for the same videos would do each of them twice.
    """
    for other in sweep_dead(own):
        if watches and other.watches == watches:
            raise OptionError(
                f"{named} is already written by a run with --watch and the same --input (process "
                f"{other.process} on {other.host}): stop that one first, or give each of them a "
                "share of the videos with --part"
            )
        if other.configuration not in (configuration, MAKES_NO_CLIPS):
            raise OptionError(
                f"{named} is being written by another run with other options (process "
                f"{other.process} on {other.host}): wait until it has ended, or write to another "
                "folder"
            )


@contextmanager
def beside_runs(own: Shelf, only_marked: bool = False) -> Iterator[None]:
    """At work in a folder where runs may be, too; what killed ones left there is swept first.

    ``only_marked``: the folder need not be finecut's, so only what bears its mark is.
    """
    with alive(own, MAKES_NO_CLIPS):
        sweep_dead(own, only_marked=only_marked)
        sweep_temporary()
        yield


@contextmanager
def tray(own: Shelf, in_process: bool) -> Iterator[Shelf]:
    """Where workers put what they report.

    Not on the output's disk, where it can be: what a run on a full disk reports is worth most.
    """
    if not in_process:
        yield Shelf(f"{own.staging}/tray", own.staging)
        return
    with temporary_folder() as folder:
        yield Shelf(folder, folder)


def shelf_in(folder: str, fence: Fence = NO_FENCE) -> Shelf:
    """A shelf on this folder, with a staging folder that only this command uses."""
    return Shelf(folder, Layout(folder).staging_of(uuid.uuid4().hex), fence)
