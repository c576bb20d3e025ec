"""The catalogue of a packed dataset, where it names archives that are there no more.

Files move into a new archive in three steps: the archive, the tables of the chunks, their rows. Who
was killed before the last one left rows that name the old archive, which goes. So when archives
have gone, such rows are made again from the tables, which are right.
"""

from collections.abc import Collection
from itertools import count as numbers

import pyarrow.compute as pc

from finecut.io.dataset.output import Output, chunk_named
from finecut.io.dataset.places import NoDataset
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import usable_json
from finecut.io.storage.publishing import Shelf
from finecut.transforms.catalogue.chunks import enter, rows_at
from finecut.transforms.catalogue.columns import texts
from finecut.transforms.catalogue.compact import is_complete
from finecut.transforms.catalogue.reading import rows_in, slices


def mend_rows(output: Output, own: Shelf, going: Collection[str] = ()) -> int:
    """Enter the chunks again whose rows name archives that are not there, or are going; how many
    there were.
    """
    layout = output.layout
    if not is_complete(layout):
        return 0  # what is missing in it is entered by the next compaction
    paths = {*shelf.files_in(layout.packs())} - {*going}
    there = texts(map(layout.inside, sorted(paths)))
    wrong = set[tuple[str, str]]()
    for piece in slices(layout):
        rows = rows_in(piece, layout, ("chunk", "video", "clip"))
        gone = pc.and_(pc.is_valid(rows["clip"]), pc.invert(pc.is_in(rows["clip"], there)))
        wrong |= {(row["video"], row["chunk"]) for row in rows.filter(gone).to_pylist()}
    for video, chunk in sorted(wrong):
        enter(chunk, rows_at(_document(video, chunk, output), output)[1], layout, own)
    return len(wrong)


def _document(video: str, chunk: str, output: Output) -> str:
    """The document of a chunk, by its path: which number it has, it says itself."""
    for number in numbers():
        path = output.layout.processed_clip_chunk(video, number)
        said = usable_json(path)
        if said is None:
            break
        if chunk_named(said, path) == chunk:
            return path
    raise NoDataset(
        f"the catalogue of {output.root} has rows of a chunk of {video} whose document is not "
        "there: finecut verify lists everything that is wrong"
    )
