"""Where everything lies and what it is called: every path, name and id, as pure text.

Nothing here touches a disk. The names are a contract with the readers of NVIDIA NeMo Curator's
video output, so they do not change::

    OUTPUT/
    ├── clips/<clip>.mp4                          kept clips
    ├── filtered_clips/<clip>.mp4                 rejected clips
    ├── metas/v0/<clip>.json                      one document per clip, kept or rejected
    ├── previews/<clip>/<first>_<last>.webp       one per window
    ├── ce1_embd/<clip>.pickle                    one vector (iv2_embd/ for InternVideo2)
    ├── ce1_embd_parquet/<chunk>.parquet          the vectors of one chunk
    ├── .finecut/ce1_embd.json                    which model's vectors those are
    ├── .finecut/open/<video>.json                only while a video is worked on
    ├── .finecut/cut/<video>_<n>.json             clips that were cut and wait for a GPU
    ├── .finecut/watch/<inputs>.json              which files may still grow, for --watch
    ├── .finecut/forgotten.json                   digests of sources that were taken back
    ├── .finecut/forgetting.json                  what is to be removed, until it is
    ├── runs/<run>/summary.json                   what a run did
    ├── runs/<run>/begun.json                     what a refiltering is about to do, until it has
    ├── runs/<run>/profile/                       where its time went, if asked
    ├── .finecut/rows/<chunk>.jsonl               what is known of a chunk's clips, until it is
    ├── catalogue/chunks/<chunk>.parquet          (of a stream: the same)
    ├── catalogue/clips….parquet                  compacted into the rows of many
    ├── .finecut/catalogue.json                   the catalogue has rows of all clips
    ├── processed_clip_chunks/<video>_<n>.json    a chunk is on the shelf
    └── processed_videos/<video>.json             everything of a video is on the shelf

In a packed dataset (``.finecut/layout.json`` says so), what belongs to clips lies in two files for
each chunk instead (:mod:`finecut.io.tables.packs`)::

    ├── packs/<chunk>.tar                         clips, previews, thumbnails
    └── packs/<chunk>.parquet                     documents, vectors, and what lies where in the tar

With ``shard_prefix`` the clips lie under the first two letters of their id
(``clips/d2/d2d0….mp4``), for file systems that dislike a million files in one folder.
"""

import posixpath
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final, Literal


@dataclass(frozen=True)
class Artefact:
    """Files of one kind that a step makes of clips: where they lie, and by what they are named."""

    #: Below the output's root. ``*`` stands for the name of a model, which has a folder of its own.
    folder: str
    suffix: str
    #: Whether a clip has one, or each of its windows, or a chunk.
    per: Literal["clip", "window", "chunk"] = "clip"

    def path(self, owner: str, *window: int) -> str:
        """The path below the root; a window is its first frame and its last.

        >>> PREVIEWS.path("d2d0", 0, 255)
        'previews/d2d0/0_255.webp'
        """
        return self.path_in(self.folder, owner, *window)

    def path_in(self, folder: str, owner: str, *window: int) -> str:
        """The same in this folder, one of those that it may lie in."""
        name = f"{owner}/{window[0]}_{window[1]}" if window else owner
        return f"{folder}/{name}{self.suffix}"

    def paths(self, document: Mapping[str, Any]) -> list[str]:
        """All there are of a clip with this document, if the folder is always the same."""
        return self.paths_in(self.folder, document)

    def paths_in(self, folder: str, document: Mapping[str, Any]) -> list[str]:
        """The same in this folder, one of those that they may lie in."""
        clip = document["span_uuid"]
        if self.per == "clip":
            return [self.path_in(folder, clip)]
        spans = [(int(w["start_frame"]), int(w["end_frame"])) for w in document["windows"]]
        return [self.path_in(folder, clip, *span) for span in spans]

    def lies_in(self, folder: str) -> bool:
        """Whether a folder of an output is one of its.

        >>> VECTORS.lies_in("ce1_embd"), VECTORS.lies_in("ce1_embd_parquet")
        (True, False)
        """
        return fnmatchcase(folder, self.folder)


#: How an embedder's two folders end.
OF_VECTORS, OF_TABLES = "_embd", "_embd_parquet"

PREVIEWS: Final = Artefact("previews", ".webp", per="window")
VECTORS: Final = Artefact(f"*{OF_VECTORS}", ".pickle")
TABLES: Final = Artefact(f"*{OF_TABLES}", ".parquet", per="chunk")

#: First letters of an embedding algorithm's name → prefix of its two folders.
EMBEDDING_FOLDERS = {"cosmos-embed1": "ce1_embd", "internvideo2": "iv2_embd"}
#: Where ``finecut dedup`` writes in a dataset, and its table of which clips show the same.
DEDUP, GROUPS = "dedup", "groups.parquet"
#: Where one row of each clip stands.
CATALOGUE: Final = "catalogue"
#: How a dataset is arranged, and where chunks of a packed one lie.
FILES, PACKED = ARRANGEMENTS = "files", "packed"
PACKS: Final = "packs"
#: Folders of a dataset, besides those of artefacts.
FOLDERS: Final = frozenset(
    [
        *("clips", "filtered_clips", "metas", "processed_videos", "processed_clip_chunks"),
        *("failures", "runs", "report", DEDUP, CATALOGUE, PACKS, ".finecut", ".staging"),
    ]
)


def clip_id(name: str, start_event: int, end_event: int) -> str:
    """The id a planned clip has for ever: only the source's name, without its protocol, and two
    frame numbers enter it.

    >>> clip_id("/data/videos/a.mp4", 0, 300)
    'ce2f3d69-8b98-57fe-98fe-70d008e354f3'
    """
    plain = name.split("://", 1)[-1]
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{plain}_{start_event}_{end_event}"))


_CLIP_ID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")


def is_clip_id(value: object) -> bool:
    """Whether a clip can have this id, and files can be named by it.

    >>> is_clip_id("ce2f3d69-8b98-57fe-98fe-70d008e354f3"), is_clip_id("../ce2f"), is_clip_id(None)
    (True, False, False)
    """
    return isinstance(value, str) and _CLIP_ID.fullmatch(value) is not None


def chunk_id(name: str, index: int) -> str:
    """The key under which the vectors of one chunk are written; the protocol is part of it.

    >>> chunk_id("/data/videos/a.mp4", 1)
    '4a052d8f-c08f-5d16-9f8f-9c077bcfc216'
    """
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{name}_{index}"))


def relative_to_root(path: str, root: str) -> str:
    """The part of ``path`` below ``root``, refusing everything that is not truly below it."""
    folder = root.rstrip("/")
    if not path.startswith(folder + "/"):
        raise ValueError(
            f"{path!r} is not in {root!r}, so its documents have no name. Give the folder that "
            "contains the file as the input."
        )
    return check_relative(path[len(folder) + 1 :])


def check_relative(relative: str) -> str:
    """``relative`` itself if it stays below the folder it is joined to."""
    if relative.startswith("/") or any(part in ("", ".", "..") for part in relative.split("/")):
        raise ValueError(
            f"{relative!r} would be outside of the output folder, or is not the name of a file; "
            "a name consists of folders and a file, without '.', '..' or empty parts."
        )
    return relative


#: File systems allow 255 bytes; documents add ``_<chunk>.json`` to the name of their video.
LONGEST_NAME = 255 - len("_999999.json")


def check_length(relative: str) -> str:
    """``relative`` itself if its documents can have a name."""
    longest = max(relative.split("/"), key=lambda part: len(part.encode()))
    length = len(longest.encode())
    if length > LONGEST_NAME:
        raise ValueError(
            f"the name {longest!r} has {length} bytes, so the names of its documents would "
            "exceed the 255 bytes that file systems allow. Usually a title was used as a file "
            f"name; shorten it to {LONGEST_NAME} bytes."
        )
    return relative


def embedding_folder(algorithm: str) -> str:
    """The folder of an algorithm's vectors; families the reference knows keep its names."""
    known = (at for family, at in EMBEDDING_FOLDERS.items() if algorithm.startswith(family))
    return next(known, re.sub(r"[^\w-]", "_", algorithm) + OF_VECTORS)


def embedding_name_of(folder: str) -> str | None:
    """What to call the algorithm whose tables lie in a folder of this name; nothing if none do.

    The name leads back to the folder, and need not be the whole one of the model.

    >>> embedding_name_of("ce1_embd_parquet"), embedding_name_of("clips")
    ('cosmos-embed1', None)
    """
    if not folder.endswith(OF_TABLES):
        return None
    families = {short: family for family, short in EMBEDDING_FOLDERS.items()}
    folder = folder.removesuffix("_parquet")
    return families.get(folder, folder.removesuffix(OF_VECTORS))


#: Where a clip's document holds its scores, by name; and how keys of its own end for some that
#: other programs read, with one score or several of one family.
SCORES, SCORE = "scores", "_score"


def scores_held(document: Mapping[str, Any]) -> dict[str, Any]:
    """Every score of a clip's document under the name that rules know, whatever it is.

    >>> scores_held({"motion_score": {"global_mean": 0.01}, "aesthetic_score": 4.2})
    {'motion_global_mean': 0.01, 'aesthetic_score': 4.2}
    """
    found: dict[str, Any] = {}
    for key, value in document.items():
        if key.endswith(SCORE):
            family = value if isinstance(value, Mapping) else {"score": value}
            found |= {f"{key.removesuffix(SCORE)}_{name}": each for name, each in family.items()}
    return found | (document.get(SCORES) or {})


#: Where documents of clips and videos hold what is known of the source; and how rules and columns
#: of tables call what is below it.
SOURCE: Final = "source"
OF_SOURCE: Final = f"{SOURCE}."


def source_held(metadata: object, under: str = SOURCE) -> dict[str, Any]:
    """What is said of a source under the names that rules know: numbers, texts, several of them.

    >>> source_held({"license": "cc0", "size": {"w": 3}, "free": True, "tags": ["a", "b"]})
    {'source.license': 'cc0', 'source.size.w': 3, 'source.free': 'true', 'source.tags': ['a', 'b']}
    """
    found: dict[str, Any] = {}
    for name, value in metadata.items() if isinstance(metadata, Mapping) else ():
        if isinstance(value, Mapping):
            found |= source_held(value, f"{under}.{name}")
        elif isinstance(value, list | tuple):
            found[f"{under}.{name}"] = [*filter(lambda one: one is not None, map(_word, value))]
        elif (word := _word(value)) is not None:
            found[f"{under}.{name}"] = word
    return found


def _word(value: object) -> float | str | None:
    """A value as rules compare it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, int | float | str) else None


def clip_path_is_sharded(path: str) -> bool:
    """Whether a clip of this path lies under the first two letters of its id.

    >>> clip_path_is_sharded("/out/clips/d2/d2d0….mp4")
    True
    """
    *_, folder, name = ("", "", *path.split("/"))
    return len(folder) == 2 and name.startswith(folder)


def _place(path: str) -> Callable[["Layout"], str]:
    """The method of a layout that tells the place of what has the same in every output."""
    return lambda layout: layout.below(path)


@dataclass(frozen=True)
class Layout:
    """Every path below one output root.

    >>> Layout("/out").clip("d2d0…")
    '/out/clips/d2d0….mp4'
    >>> Layout("/out/", shard_prefix=True).clip("d2d0…", kept=False)
    '/out/filtered_clips/d2/d2d0….mp4'
    """

    root: str
    shard_prefix: bool = False
    #: Whether clips lie in packs. Paths of files are then those that they have when unpacked.
    packed: bool = False

    def below(self, path: str) -> str:
        """What lies at this path below the root."""
        return posixpath.join(self.root.rstrip("/") or "/", path)

    def inside(self, path: str) -> str:
        """The way back: a path below the root, as documents and findings name it.

        >>> Layout("/out/").inside("/out/clips/a.mp4"), Layout("/out").inside("/other/a.mp4")
        ('clips/a.mp4', '/other/a.mp4')
        """
        return path.removeprefix(self.below(""))

    def clips(self, kept: bool = True) -> str:
        return self.below("clips" if kept else "filtered_clips")

    metas = _place("metas/v0")
    previews = _place(PREVIEWS.folder)
    open_videos = _place(".finecut/open")
    cut_chunks = _place(".finecut/cut")
    forgotten = _place(".finecut/forgotten.json")
    forgetting = _place(".finecut/forgetting.json")
    runs = _place("runs")
    processed_videos = _place("processed_videos")
    processed_clip_chunks = _place("processed_clip_chunks")
    failures = _place("failures")
    dedup = _place(DEDUP)
    catalogue = _place(CATALOGUE)
    catalogue_chunks = _place(f"{CATALOGUE}/chunks")
    catalogue_rows = _place(".finecut/rows")
    catalogue_facts = _place(".finecut/catalogue.json")
    packs = _place(PACKS)
    arrangement = _place(".finecut/layout.json")
    staging = _place(".staging")

    def embeddings(self, algorithm: str) -> str:
        return self.below(embedding_folder(algorithm))

    def embeddings_parquet(self, algorithm: str) -> str:
        return self.below(embedding_folder(algorithm) + "_parquet")

    def embedding_facts(self, algorithm: str) -> str:
        """Which model's vectors lie in the algorithm's two folders."""
        return self.below(f".finecut/{embedding_folder(algorithm)}.json")

    def open_video(self, relative: str) -> str:
        """What has to be known of a video that is worked on, should the run be killed."""
        return f"{self.open_videos()}/{check_relative(relative)}.json"

    def cut_chunk(self, relative: str, index: int) -> str:
        """The clips of a chunk that was cut, and waits for machines of another kind."""
        return f"{self.cut_chunks()}/{check_relative(relative)}_{index}.json"

    def watched(self, key: str) -> str:
        """What who watches these inputs knows, and could not find out again."""
        return self.below(f".finecut/watch/{key}.json")

    def run_summary(self, run: str) -> str:
        return self.below(f"runs/{run}/summary.json")

    def run_begun(self, run: str) -> str:
        return self.below(f"runs/{run}/begun.json")

    def run_profile(self, run: str, name: str) -> str:
        return self.below(f"runs/{run}/profile/{name}")

    def clip(self, clip: str, kept: bool = True) -> str:
        shard = f"{clip[:2]}/" if self.shard_prefix else ""
        return f"{self.clips(kept)}/{shard}{clip}.mp4"

    def meta(self, clip: str) -> str:
        return f"{self.metas()}/{clip}.json"

    def preview(self, clip: str, start_frame: int, end_frame: int) -> str:
        return self.below(PREVIEWS.path(clip, start_frame, end_frame))

    def embedding(self, algorithm: str, clip: str) -> str:
        return self.below(VECTORS.path_in(embedding_folder(algorithm), clip))

    def embedding_parquet(self, algorithm: str, chunk: str) -> str:
        return self.below(TABLES.path_in(f"{embedding_folder(algorithm)}_parquet", chunk))

    def processed_video(self, relative: str) -> str:
        return f"{self.processed_videos()}/{check_relative(relative)}.json"

    def processed_clip_chunk(self, relative: str, index: int) -> str:
        return f"{self.processed_clip_chunks()}/{check_relative(relative)}_{index}.json"

    def catalogue_chunk(self, chunk: str) -> str:
        return f"{self.catalogue_chunks()}/{chunk}.parquet"

    def catalogue_lines(self, chunk: str) -> str:
        return f"{self.catalogue_rows()}/{chunk}.jsonl"

    def pack(self, chunk: str) -> str:
        """The archive of a chunk's files."""
        return f"{self.packs()}/{chunk}.tar"

    def pack_table(self, chunk: str) -> str:
        """What is known of the clips of a chunk."""
        return f"{self.packs()}/{chunk}.parquet"

    def failure_list(self, key: str) -> str:
        return f"{self.failures()}/{key}.jsonl"

    def staging_of(self, run: str) -> str:
        return f"{self.staging()}/{run}"
