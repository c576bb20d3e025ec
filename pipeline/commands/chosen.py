"""What commands on a dataset are told of it, and have to hold against what is there."""

from finecut.io.dataset.output import Output
from finecut.io.dataset.places import NoDataset
from finecut.io.storage import files as shelf
from finecut.pipeline.options import OptionError


def embedder_chosen(wanted: str | None, output: Output, otherwise: str) -> str:
    """The embedder whose vectors are meant: the only one there is, if ``--algorithm`` names none;
    ``otherwise`` says what else can be done where there are no vectors.
    """
    found = output.algorithms()
    if not found:
        raise NoDataset(
            f"{output.root} contains no vectors: finecut curate writes them, unless it gets "
            f"--no-generate-embeddings. {otherwise}"
        )
    chosen = wanted or (found[0] if len(found) == 1 else None)
    if chosen is None:
        raise OptionError(
            f"there are vectors of {', '.join(found)}: choose one of them with --algorithm"
        )
    folders = {output.layout.embeddings_parquet(name) for name in found}
    if output.layout.embeddings_parquet(chosen) not in folders:
        raise OptionError(
            f"there are no vectors of --algorithm {chosen} here: give one of {', '.join(found)}"
        )
    return chosen


def path_beside(given: str | None, root: str, *, flag: str, command: str) -> str | None:
    """Where a command writes that writes nothing into the dataset."""
    path = shelf.absolute(given) if given else None
    if path and path.startswith(f"{root}/"):
        raise OptionError(
            f"{flag} {given} is inside the dataset, where {command} writes nothing: write it "
            "beside the dataset"
        )
    return path
