"""Which weights lie in a folder: the commit of the hub where that is sure, else a fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any

from finecut.transforms.models.weights.naming import COMMIT, CONFIG, WANTED
from finecut.transforms.models.weights.whole import weight_files

#: Where ``hf download --local-dir`` notes of every file which commit it is of, and since when.
NOTES, NOTE = ".cache/huggingface/download", ".metadata"
#: Seconds by which a file may be younger than its note: some disks keep times no finer.
TOLERANCE = 1

#: Bytes that are read of every tensor to tell weights of the same shapes apart.
SAMPLE = 1024
#: Samples of a pickled file, and how much of its end, where the checksums of its tensors are.
SAMPLES, END = 64, 1 << 16


def commit_of(folder: Path, files: Iterable[Path]) -> str | None:
    """The commit of the hub that these files are of, if it is sure.

    The hub's own cache calls a snapshot by its commit. ``--local-dir`` leaves a note for each file,
    and what the notes say counts only while it holds for every file: none was written after its
    note, none was added that has no note, none of those that were noted is gone. A copy that does
    not keep the times of its files looks like one that was written later, so that copies (and
    what came out of a store) have a fingerprint instead.
    """
    if folder.parent.name == "snapshots" and COMMIT.fullmatch(folder.name):
        return folder.name
    notes = folder / NOTES
    noted = (path.relative_to(notes) for path in notes.rglob(f"*{NOTE}"))
    plain = (path.with_name(path.name.removesuffix(NOTE)) for path in noted)
    names = {path.relative_to(folder) for path in files} | {path for path in plain if _counts(path)}
    commits = {_noted(notes / f"{name}{NOTE}", folder / name) for name in names}
    # Files of several commits are a mixture without a name.
    return commits.pop() if len(commits) == 1 else None


def _noted(note: Path, file: Path) -> str | None:
    """The commit that is noted of a file, if the file was not written since."""
    try:
        commit, _, saved, *_ = note.read_text(encoding="utf-8").split("\n")
        unchanged = file.stat().st_mtime - TOLERANCE <= float(saved)
    except (OSError, ValueError):  # a note or file that is not there, or a note of another kind
        return None
    return commit if unchanged and COMMIT.fullmatch(commit) else None


def fingerprint(
    folder: Path, name: str, needs: Sequence[str] = (CONFIG,), *, pickled: bool = False
) -> str:
    """A name for the files in a folder, by which other weights of the same shapes are told apart.

    Of the weights a thousand bytes of every tensor are read, so that a model of 28 GB takes a
    moment, and a model of which a single layer was trained further has another name. Configuration,
    words and code count as a whole. Two copies of one model have the same fingerprint.
    """
    digest = hashlib.sha256()
    for path in sorted(beside_weights(folder, needs)):
        _add(digest, path.relative_to(folder).as_posix().encode(), path.read_bytes())
    for path in weight_files(folder, name, pickled=pickled):
        _add(digest, path.name.encode(), str(path.stat().st_size).encode(), *_samples(path))
    return f"fingerprint:{digest.hexdigest()[:12]}"


def beside_weights(folder: Path, needs: Sequence[str]) -> set[Path]:
    """The files that say what a model does with its weights: configuration, words and code."""
    found = {path for path in folder.rglob("*") if _counts(path.relative_to(folder))}
    return {path for path in found if path.is_file()} | {folder / file for file in needs}


def _counts(path: PurePath) -> bool:
    """Whether a file of this path within the folder is one of those beside the weights."""
    if path.suffix == ".py":  # also in packages of the model's own
        return not any(part.startswith(".") for part in path.parts)
    if len(path.parts) > 1 or path.suffix == ".safetensors":
        return False
    return any(path.match(kind) for kind in WANTED)


def _add(digest: Any, *parts: bytes) -> None:
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)


def _samples(path: Path) -> Iterator[bytes]:
    """The header of a file of weights, and some bytes from the middle of every tensor."""
    header = _header(path) if path.suffix == ".safetensors" else None
    length = path.stat().st_size
    with path.open("rb", buffering=0) as file:
        if header is None:
            places = [length * i // SAMPLES for i in range(SAMPLES)]
            blocks = [*((at, SAMPLE) for at in places), (max(0, length - END), END)]
        else:
            start, tensors = header
            middles = [
                (start + max(first, (first + end - SAMPLE) // 2), min(SAMPLE, end - first))
                for first, end in sorted(tensors.values())
            ]
            blocks = [(0, start), *middles]
        for at, count in blocks:
            file.seek(at)
            yield file.read(count)


def _header(path: Path) -> tuple[int, dict[str, tuple[int, int]]]:
    """Where the tensors of a whole file of safetensors begin, and the place of each from there."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    places = {key: at["data_offsets"] for key, at in header.items() if key != "__metadata__"}
    return 8 + size, {key: (int(first), int(end)) for key, (first, end) in places.items()}
