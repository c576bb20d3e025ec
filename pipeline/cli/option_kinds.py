"""The kinds of options that commands have, by the names of the commands."""

from finecut.pipeline.commands.base import DatasetOptions, VideoCommand, all_commands
from finecut.pipeline.options import Options as CurateOptions


def dataset_options() -> dict[str, type[DatasetOptions]]:
    """The options of the commands on a dataset, by their names."""
    return {
        name: kind.Options
        for name, kind in all_commands().items()
        if issubclass(kind.Options, DatasetOptions)
    }


def video_options() -> dict[str, type[CurateOptions]]:
    """The options of those commands that add some to the options of ``curate``."""
    return {
        name: kind.Options
        for name, kind in all_commands().items()
        if issubclass(kind, VideoCommand) and kind.Options is not CurateOptions
    }
