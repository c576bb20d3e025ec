"""Retelling: a finished video of which something else is said now. Its documents are written again,
and nothing is cut.

    metas/v0/<clip>.json          1. with the new metadata, clip by clip
    processed_videos/a.mp4.json   2. the same, last: until then, the next run goes on with it

What was made stays true whatever is said of the source. Unless rules or prompts speak of it: where
one of them decides otherwise by the new metadata, the video is processed again.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from finecut.io.dataset.output import Output, chunk_named, clips_named, read_document
from finecut.io.dataset.places import NoDataset
from finecut.io.held import SOURCE, source_held
from finecut.io.layout import is_clip_id
from finecut.io.process.threads import in_order
from finecut.io.records import Source
from finecut.io.storage.json_documents import usable_json
from finecut.transforms.beam.metrics import LOG, count
from finecut.transforms.caption.prompts import filled
from finecut.transforms.catalogue.chunks import enter, rows_at
from finecut.transforms.filter.comparing import Rule
from finecut.transforms.write.documents import serialise, with_source
from finecut.transforms.write.writing import Writing

Document = Mapping[str, Any]


def metadata_in(document: Document) -> dict[str, Any]:
    """What a document says of the source."""
    said = document.get(SOURCE)
    return said if isinstance(said, dict) else {}


def with_known(source: Source, document: Document) -> Source:
    """The source with what an earlier run knew of it, where the inputs of this one say nothing."""
    if source.metadata or not (known := metadata_in(document)):
        return source
    return replace(source, metadata=known)


def has_news(document: Document, source: Source) -> bool:
    """Whether something else is said of the source than the document of its video says."""
    return source.metadata != metadata_in(document)


def told(
    document: Document,
    source: Source,
    writing: Writing,
    deciding: tuple[Sequence[Rule], Sequence[str]],
) -> bool:
    """Whether the documents of a finished video say what is known of it, if need be from now on."""
    if not has_news(document, source):
        return True
    return decides_alike(document, source, *deciding) and retell(document, source, writing)


def decides_alike(
    document: Document, source: Source, rules: Sequence[Rule], prompts: Sequence[str]
) -> bool:
    """Whether rules and prompts come to the same as before."""
    old, new = metadata_in(document), source.metadata
    before, now = source_held(old), source_held(new)
    return all(rule.holds(before) == rule.holds(now) for rule in rules) and all(
        filled(prompt, old) == filled(prompt, new) for prompt in prompts
    )


def retell(document: Document, source: Source, writing: Writing) -> bool:
    """Write the documents of a finished video with what is said of it now; false if one of them is
    missing or broken, so that nobody can tell what is finished.
    """
    layout, own = writing.layout, writing.shelf

    def write(path: str) -> bool:
        said = usable_json(path)
        if said is None:
            return False
        if metadata_in(said) != source.metadata:
            own.write(path, serialise(with_source(said, source.metadata)))
        return True

    clips = _clips(document, source, writing)
    if writing.packs:
        told = clips is not None and _retell_packs(document, source, writing)
    else:
        told = clips is not None and all(in_order(write, map(layout.meta, clips), writing.threads))
    if not told:
        LOG.error(
            "%s: not all documents of its clips are there, so it is processed again", source.name
        )
        return False
    _enter_again(document, source, writing)
    own.write(
        layout.processed_video(source.relative),
        serialise(with_source(dict(document), source.metadata)),
    )
    count("videos retold")
    LOG.info("%s: its documents say what is known of it now", source.name)
    return True


def _retell_packs(document: Document, source: Source, writing: Writing) -> bool:
    """The same of documents in packs: of each chunk one table is written, and no archive."""
    output = Output(writing.layout)
    for path in _chunks(document, source, writing):
        try:
            said = read_document(path)
            if not any(clips_named(said, path)):
                continue
            chunk = chunk_named(said, path)
            table = output.table(chunk)
        except NoDataset as error:
            LOG.error("%s", error)
            return False
        clips = [
            replace(
                clip, document=serialise(with_source(json.loads(clip.document), source.metadata))
            )
            for clip in table.clips()
        ]
        data = table.with_clips(clips).to_bytes()
        writing.shelf.write(writing.layout.pack_table(chunk), data)
    return True


def _chunks(document: Document, source: Source, writing: Writing) -> list[str]:
    """The documents of the video's chunks, by path."""
    numbers = range(max(1, int(document["num_clip_chunks"])))
    return [writing.layout.processed_clip_chunk(source.relative, each) for each in numbers]


def _enter_again(document: Document, source: Source, writing: Writing) -> None:
    """Bring the catalogue up to date."""
    if writing.dry_run:
        return
    output = Output(writing.layout)
    for path in _chunks(document, source, writing):
        chunk, rows = rows_at(path, output)
        enter(chunk, rows, writing.layout, writing.shelf)


def _clips(document: Document, source: Source, writing: Writing) -> list[str] | None:
    """The clips that have documents; ``None`` if not all chunks say which they are."""
    if writing.dry_run:
        return []
    chunks = [usable_json(path) for path in _chunks(document, source, writing)]
    return None if None in chunks else [clip for said in chunks if said for clip in _ids(said)]


def _ids(said: Document) -> Iterator[str]:
    for key in ("clips", "filtered_clips"):
        listed = said.get(key)
        yield from filter(is_clip_id, listed if isinstance(listed, list) else ())
