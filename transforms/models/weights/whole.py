"""Whether a folder holds a whole model, which weights these are, and what code comes with them.

The weights are ``model.safetensors``, or every shard that the index names. A download that was cut
short would otherwise load as a model whose last layers are noise. Pickled weights (``.bin``,
``.pth``) are taken only for models that are published in no other way, and then by torch's reader
for tensors alone (:func:`load_pickled`): a pickle may otherwise run code.

Which weights lie there is said by the commit of the hub where that is sure, else by a fingerprint.

Python files that a model brings along run with all rights, so they are taken only from the model's
own folder, from the hub only at a commit that somebody named, and only when that was permitted.
"""

import hashlib
import json
import pickle
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any

from finecut.transforms.models.weights.naming import (
    COMMIT,
    CONFIG,
    HUB_ID,
    PICKLES,
    WANTED,
    CodeRefused,
    Located,
    WeightsMissing,
    command,
    few,
    first_line,
    needed,
    read_json,
)

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLED_INDEX = "pytorch_model.bin.index.json"

#: Where ``hf download --local-dir`` notes of every file which commit it is of, and since when.
NOTES, NOTE = ".cache/huggingface/download", ".metadata"
#: Seconds by which a file may be younger than its note: some disks keep times no finer.
TOLERANCE = 1

#: Bytes that are read of every tensor to tell weights of the same shapes apart.
SAMPLE = 1024
#: Samples of a pickled file, and how much of its end, where the checksums of its tensors are.
SAMPLES, END = 64, 1 << 16

_CLASS = re.compile(r"([A-Za-z_]\w*)\.[A-Za-z_]\w*")


def check_whole(
    folder: Path, name: str, needs: Sequence[str] = (CONFIG,), *, pickled: bool = False
) -> None:
    """Refuse a folder that holds only a part of a model."""
    shards = _shards(folder, name, pickled)
    if missing := [file for file in (*needs, *shards) if not (folder / file).is_file()]:
        raise WeightsMissing(
            f"the model {name!r} in {folder} is incomplete: {few(missing)} is missing. Usually a "
            f"download or copy was cut short. {_again(name, folder)}"
        )
    for shard in shards:
        if damage := _damage(folder / shard):
            raise WeightsMissing(
                f"the weights {folder / shard} are damaged: {damage}. Usually a download or copy "
                f"was cut short, or the file is only a Git LFS pointer. {_again(name, folder)}"
            )


def weight_files(folder: Path, name: str, *, pickled: bool = False) -> list[Path]:
    """The files that hold a model's weights: one, or its shards in the order of their names."""
    return [folder / shard for shard in _shards(folder, name, pickled)]


def _shards(folder: Path, name: str, pickled: bool) -> list[str]:
    """The files a model's weights are in; safetensors before all others."""
    if (folder / WEIGHTS).is_file():
        return [WEIGHTS]
    for index in (INDEX, PICKLED_INDEX) if pickled else (INDEX,):
        if (folder / index).is_file():
            return _indexed(folder / index, name)
    found = sorted(path.name for kind in (PICKLES if pickled else ()) for path in folder.glob(kind))
    if len(found) > 1 and "pytorch_model.bin" not in found:
        raise WeightsMissing(
            f"the model {name!r} in {folder} has no {WEIGHTS}, and it is not clear which of its "
            f"pickled files are its weights: {few(found)}. Leave only one of them in the folder."
        )
    return found if len(found) == 1 else ["pytorch_model.bin"] if found else [WEIGHTS]


def _indexed(path: Path, name: str) -> list[str]:
    try:
        return sorted(set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise WeightsMissing(
            f"{path} does not say which files contain the weights of {name!r} ({error!r}). "
            f"Usually a download was cut short. {_again(name, path.parent)}"
        ) from error


def _damage(path: Path) -> str:
    """What is wrong with a file of weights, by its own account of itself."""
    length = path.stat().st_size
    if path.suffix != ".safetensors":
        # The list of what is in it comes last, so that one that was cut short has none.
        cut_short = f"its {length:,} bytes end before the list of tensors"
        return "" if zipfile.is_zipfile(path) else cut_short
    library = needed("safetensors", f"read {path.name}")
    try:
        with library.safe_open(path, framework="numpy"):  # reads and checks the header alone
            return ""
    except (library.SafetensorError, OSError) as error:
        return f"safetensors cannot read its {length:,} bytes ({first_line(error)})"


def _again(name: str, folder: Path) -> str:
    if HUB_ID.fullmatch(name) is None or folder == Path(name).expanduser():
        return "Copy the folder again, with all its files."
    # Into the hub's own cache goes what has no other folder named.
    target = None if folder.parent.name == "snapshots" else folder
    return f"Download it again: {command(name, target)}"


def load_pickled(path: Path) -> Any:
    """What a pickled file holds, as far as it is tensors and numbers; nothing else is let in."""
    torch = needed("torch", f"read {path.name}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsMissing(
            f"{path} contains more than tensors ({first_line(error)}), and anything else in a "
            "pickle may run code when it is read. Usually a whole training state was saved; load "
            "it on a separate machine and save its tensors with safetensors.torch.save_file."
        ) from error


# ── which weights these are ──────────────────────────────────────────────────────────────────────


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
    beside = len(path.parts) == 1 and path.suffix != ".safetensors"
    return beside and any(path.match(kind) for kind in WANTED)


def _add(digest: Any, *parts: bytes) -> None:
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)


def _samples(path: Path) -> Iterator[bytes]:
    """The header of a file of weights, and some bytes from the middle of every tensor."""
    with path.open("rb", buffering=0) as file:
        for at, count in _blocks(path):
            file.seek(at)
            yield file.read(count)


def _blocks(path: Path) -> list[tuple[int, int]]:
    """What is read of a whole file of weights: from where, and how many bytes."""
    if path.suffix != ".safetensors":
        length = path.stat().st_size
        places = (length * i // SAMPLES for i in range(SAMPLES))
        return [*((at, SAMPLE) for at in places), (max(0, length - END), END)]
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    tensors = sorted(at["data_offsets"] for key, at in header.items() if key != "__metadata__")
    middles = (
        (8 + size + max(first, (first + end - SAMPLE) // 2), min(SAMPLE, end - first))
        for first, end in tensors
    )
    return [(0, 8 + size), *middles]


# ── its own code ─────────────────────────────────────────────────────────────────────────────────


def remote_code(located: Located, allowed: bool) -> bool:
    """Whether this model is loaded with Python files of its own, which must then be permitted.

    Only files that lie in the model's own folder are run, and from the hub only those of a commit
    that somebody named: otherwise what runs tomorrow is not what was looked at today.
    """
    # Also the processors': whichever of them is loaded, it is found by a file of this kind.
    configs = sorted(located.path.glob("*config.json"))
    classes = [one for path in configs for one in _mapped(read_json(path))]
    if not classes:
        return False
    what = f"the model {located.name!r} in {located.path}"
    if not allowed:
        raise not_permitted(located.name, f"{located.path}, for example {classes[0]}")
    if located.unpinned:
        raise no_commit(located.name, str(located.path))
    for one in classes:
        if "--" in one:
            raise CodeRefused(
                f"{what} takes its code from another repository, {one.partition('--')[0]}, "
                "without naming a commit, so the code may change at any time. Copy the Python "
                f"files of that repository into the folder and let {CONFIG} name them without "
                "the repository."
            )
        match = _CLASS.fullmatch(one)
        file = "its Python file" if match is None else f"{match[1]}.py"
        if match is None or not (located.path / file).is_file():
            raise CodeRefused(
                f"{what} needs the class {one} from its own code, but {file} is missing. "
                "Usually only the weights were downloaded or copied: download its Python files, "
                "too."
            )
    return True


def not_permitted(name: str, where: str, instead: str = "") -> CodeRefused:
    """A model's own code is not run."""
    return CodeRefused(
        f"the model {name!r} comes with its own Python code ({where}), which runs with all your "
        "permissions: it can read, upload and delete anything you can. If you trust its "
        f"publisher, add --trust-remote-code.{instead}"
    )


def no_commit(name: str, where: str) -> CodeRefused:
    """Code that may be another tomorrow is not run."""
    return CodeRefused(
        f"the model {name!r} ({where}) comes with its own Python code but was requested without "
        "a commit, so its owner could run other code here tomorrow. Give the commit that you "
        f"checked, {name}@COMMIT, or give the folder that contains {name} as --model-dir."
    )


def _mapped(value: Any, inside: bool = False) -> Iterator[str]:
    """What every ``auto_map`` points at; parts of a model have configurations of their own."""
    match value:
        case str() if inside:
            yield value
        case list():
            for inner in value:
                yield from _mapped(inner, inside)
        case dict():
            for key, inner in value.items():
                yield from _mapped(inner, inside or key == "auto_map")
