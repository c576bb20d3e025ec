"""What ``finecut shard`` is asked to make, unless that is impossible, or would destroy what is not
ours.
"""

import json
from importlib.util import find_spec

from finecut.io.dataset.output import Output
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.io.tables.shards import TAR, ShardFolder
from finecut.pipeline.at_work import (
    refuse_half_forgotten,
    refuse_unknown_store,
    shelf_in,
)
from finecut.pipeline.commands.shard import Shard, ShardOptions
from finecut.pipeline.options import OptionError
from finecut.transforms.filter.rules import parse_rule_on_output
from finecut.transforms.registry import is_dataset_folder
from finecut.transforms.shard.material import NONE, Sharding, binning, parse_edges
from finecut.transforms.write.documents import place_of


def planned(command: Shard) -> Sharding:
    """What is made, unless that is impossible, or would destroy what is not ours."""
    options = command.options
    output = Output.at(options.dataset, packs=True)
    refuse_half_forgotten(output.root)
    sharding = _sharding(options, output, shelf_in(shelf.absolute(options.output), command.fence))
    _refuse_own_folders(sharding)
    root = sharding.folder.root
    if shelf.identity(root) == shelf.identity(output.root):
        raise OptionError(
            f"--output is the dataset itself: give another folder, such as {output.root}/shards"
        )
    refuse_unknown_store(root, "--output")
    _refuse_strangers(sharding.folder)
    if (options.lance or options.lance_clips) and find_spec("lance") is None:
        raise OptionError(
            "--lance needs a library that is not installed: pip install 'finecut[lance]'"
        )
    return sharding


def _sharding(options: ShardOptions, output: Output, own: Shelf) -> Sharding:
    try:
        edges = {name: parse_edges(words) for name, words in options.edges.items()}
    except ValueError as error:
        raise OptionError(f"--…-edges: {error}") from error
    return Sharding(
        output=output,
        folder=ShardFolder(own.root),
        shelf=own,
        rules=tuple(map(parse_rule_on_output, options.keep)),
        needs=options.need,
        invalid=options.take_invalid,
        caption=options.caption,
        algorithm=_algorithm(options.vectors, output),
        bins=binning(options.bin_by, edges),
        seed=options.seed,
        place_bytes=_place_bytes(output),
    )


def _place_bytes(output: Output) -> int:
    """How many bytes documents take to say where the dataset was written, by one of them."""
    said = output.some_document()
    place = f"{output.root}/" if said is None else place_of(said)
    return len(json.dumps(place)) - 2  # the quotation marks


def _algorithm(named: str, output: Output) -> str | None:
    """Whose vectors go along: the only embedder there is, if nobody says which."""
    there = output.algorithms()
    if named == NONE or (not named and not there):
        return None
    if not named and len(there) > 1:
        raise OptionError(
            f"{output.root} has vectors of {', '.join(there)}: give --vectors {there[0]} (or "
            "another), or --vectors none"
        )
    if named and named not in there:
        has = f"of {', '.join(there)}" if there else "none"
        raise OptionError(f"--vectors {named}: {output.root} has {has}")
    return named or there[0]


def _refuse_own_folders(sharding: Sharding) -> None:
    """What lies in a folder of the dataset is taken for a part of it."""
    dataset = shelf.identity(sharding.output.root)
    inside = shelf.identity(sharding.folder.root).removeprefix(f"{dataset}/")
    if is_dataset_folder(name := inside.split("/")[0]):
        raise OptionError(
            f"--output is inside {name}/, a folder of the dataset itself, where shards would be "
            "taken for part of the dataset: give another folder, such as "
            f"{sharding.output.root}/shards"
        )


def _refuse_strangers(folder: ShardFolder) -> None:
    """Archives that we did not write would be read with ours, and are not ours to remove."""
    noted = folder.noted()
    strangers = [f"{name}{TAR}" for name in sorted({*folder.tars()} - {*(noted or ())})]
    if noted is None:
        ours = (folder.index, folder.metadata, folder.summary, folder.failures, folder.lance)
        strangers += [path.rpartition("/")[2] for path in ours if shelf.exists(path)]
    if strangers:
        raise OptionError(
            f"--output {folder.root} contains {strangers[0]}, which finecut shard did not write: "
            "give a separate folder, so that no other file is read as a shard or replaced"
        )
