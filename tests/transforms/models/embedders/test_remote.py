"""Models with code of their own: run only if permitted, and asked as they were published to be.

The published ones have gigabytes of weights, so here are stand-ins with the same files and the same
interface: what they compute is simple enough to be written down again.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from models_with_code import cosmos_in, intern_in
from numpy.typing import NDArray
from own_code import modules_in

from finecut.transforms.caption.asking import Asked, Question, Trouble
from finecut.transforms.models.embedders.remote import (
    CosmosEmbed1,
    InternVideo2,
    require_remote,
)
from finecut.transforms.models.known_models import EMBEDDING_MODELS, algorithm_of
from finecut.transforms.models.loading import NET_MEAN, NET_STD
from finecut.transforms.models.weights.folders import CodeRefused, WeightsMissing

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
safetensors = pytest.importorskip("safetensors.torch")
pytest.importorskip("PIL")

COMMIT = "ab" * 20
COSMOS, INTERN = "cosmos-embed1-224p", "internvideo2"
INTERN_ID = EMBEDDING_MODELS[INTERN].repository


@pytest.fixture(autouse=True, scope="module")
def own_modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the stand-ins bring is imported from a folder that goes, and forgotten."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with modules_in(tmp_path_factory.mktemp("modules")):
        yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINECUT_CACHE", str(tmp_path / "cache"))
    constants = importlib.import_module("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def noise(count: int, height: int = 32, width: int = 48, seed: int = 0) -> list[NDArray[np.uint8]]:
    random = np.random.default_rng(seed)
    return list(random.integers(0, 256, (count, height, width, 3), dtype=np.uint8))


def plain(folder: Path, pixels: NDArray[Any], factor: float = 1.0) -> NDArray[Any]:
    """What a stand-in computes of (frames, height, width, 3), written down again."""
    tensors = safetensors.load_file(folder / "model.safetensors")
    when, weight, bias = (tensors[key].numpy() for key in ("when", "visual.weight", "visual.bias"))
    below = np.linspace(0, 1, pixels.shape[1])[:, None, None]
    mean = ((pixels * below).mean((1, 2)) * when[:, None]).sum(0)
    row: NDArray[Any] = (weight @ mean + bias) * factor
    return row


def load_cosmos(folder: Path, trust: bool = True) -> CosmosEmbed1:
    return CosmosEmbed1.load(COSMOS, str(folder), trust, "cpu")


def load_intern(folder: Path, trust: bool = True) -> InternVideo2:
    return InternVideo2.load(INTERN, str(folder), trust, "cpu")


BOTH = pytest.mark.parametrize(
    ("make", "load", "name"),
    [(cosmos_in, load_cosmos, COSMOS), (intern_in, load_intern, INTERN)],
    ids=["cosmos", "internvideo2"],
)
Make: TypeAlias = Callable[..., Path]
Load: TypeAlias = Callable[..., Any]


# ── what comes out ───────────────────────────────────────────────────────────────────────────────


def test_cosmos_is_asked_as_it_was_published(tmp_path: Path) -> None:
    folder = cosmos_in(tmp_path / "it")
    frames = noise(8)
    [answer] = load_cosmos(folder).answer([Question("a", frames)])
    rows, columns = np.arange(16) * 32 // 16, np.arange(16) * 48 // 16
    seen = np.stack(frames)[:, rows][:, :, columns] / 255
    np.testing.assert_allclose(answer.numbers, plain(folder, seen), atol=1e-5)
    assert answer.numbers.dtype == np.float32


def test_internvideo2_is_asked_as_it_was_published(tmp_path: Path) -> None:
    folder = intern_in(tmp_path / "it")
    # Of its own size already, so that nothing is resampled.
    frames = noise(4, 224, 224)
    [answer] = load_intern(folder).answer([Question("a", frames)])
    row = plain(folder, (np.stack(frames) / 255 - NET_MEAN) / NET_STD)
    np.testing.assert_allclose(answer.numbers, row / np.linalg.norm(row), atol=1e-4)


@BOTH
def test_a_vector_does_not_depend_on_its_company(
    tmp_path: Path, make: Make, load: Load, name: str
) -> None:
    folder = make(tmp_path / "it")
    model = load(folder)
    assert (model.frames, model.side) == shown(name)
    assert model.at_once == 0, "on a CPU one clip at a time"
    shapes = [(32, 48), (48, 32), (20, 20)]
    clips = [Question(str(i), noise(model.frames, *s, seed=i)) for i, s in enumerate(shapes)]
    together = {answer.id: answer.numbers for answer in model.answer(clips)}
    for clip in reversed(clips):
        [again] = load(folder).answer([clip])
        np.testing.assert_allclose(together[clip.id], again.numbers, atol=1e-5)
        assert again.numbers.tobytes() == model.answer([clip])[0].numbers.tobytes()
    assert float(np.abs(together["0"] - together["1"]).max()) > 1e-3
    assert model.used == require_remote(name, str(folder), True)
    assert model.used.name == EMBEDDING_MODELS[name].repository
    assert model.used.dimension == 6 == together["0"].size
    assert model.used.revision.startswith("fingerprint:")


def test_in_half_precision_vectors_are_nearly_the_same(tmp_path: Path) -> None:
    """As on a GPU: weights and pixels in bfloat16, vectors in float32."""
    exact = load_cosmos(cosmos_in(tmp_path / "it"))
    question = Question("a", noise(8))
    [expected] = exact.answer([question])
    model = exact._model.to(torch.bfloat16)
    half = CosmosEmbed1(model, exact.used, exact.frames, exact.side)
    half._processor = exact._processor
    [answer] = half.answer([question])
    assert answer.numbers.dtype == np.float32
    np.testing.assert_allclose(answer.numbers, expected.numbers, atol=0.05, rtol=0.05)
    assert not np.array_equal(answer.numbers, expected.numbers)


def shown(name: str) -> tuple[int, int]:
    algorithm = algorithm_of(name)
    assert algorithm is not None
    return EMBEDDING_MODELS[algorithm].frames, EMBEDDING_MODELS[algorithm].side


def test_what_is_known_of_the_algorithms() -> None:
    assert shown("cosmos-embed1-336p") == (8, 336)
    assert shown(f"internvideo2@{COMMIT}") == (4, 224)
    assert shown(f"{INTERN_ID}@{COMMIT}") == (4, 224)
    assert algorithm_of("clip") is None


def test_models_of_one_name_are_not_confused(tmp_path: Path) -> None:
    """Folders, files and classes of the same names, and other code and other weights in them."""
    frames = noise(8, 16, 16)
    folders = {
        (0, 1.0): cosmos_in(tmp_path / "a/it"),
        (1, 1.0): cosmos_in(tmp_path / "b/it", seed=1),
        (0, 3.0): cosmos_in(tmp_path / "c/it", factor=3.0),
    }
    models = {key: load_cosmos(folder) for key, folder in folders.items()}
    for (seed, factor), model in models.items():
        [answer] = model.answer([Question("a", frames)])
        expected = plain(folders[seed, factor], np.stack(frames) / 255, factor)
        np.testing.assert_allclose(answer.numbers, expected, atol=1e-4)
    assert len({model.used.revision for model in models.values()}) == 3


def test_code_that_was_changed_is_not_the_code_of_before(tmp_path: Path) -> None:
    folder = cosmos_in(tmp_path / "it")
    frames = noise(8, 16, 16)
    for factor in (1.0, -2.0):
        (folder / "helping.py").write_text(f"FACTOR = {factor}\n")
        [answer] = load_cosmos(folder).answer([Question("a", frames)])
        expected = plain(folder, np.stack(frames) / 255, factor)
        np.testing.assert_allclose(answer.numbers, expected, atol=1e-4)


@pytest.mark.parametrize("below", [None, "module", "model"])
def test_pickled_weights_give_the_same_vectors(tmp_path: Path, below: str | None) -> None:
    folder = intern_in(tmp_path / "it")
    question = Question("a", noise(4))
    [before] = load_intern(folder).answer([question])
    tensors = safetensors.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors if below is None else {below: tensors, "step": 7}, folder / "stage2.pth")
    [after] = load_intern(folder).answer([question])
    assert after.numbers.tobytes() == before.numbers.tobytes()


@BOTH
def test_weights_that_are_no_numbers_are_trouble(
    tmp_path: Path, make: Make, load: Load, name: str
) -> None:
    folder = make(tmp_path / "it")
    tensors = safetensors.load_file(folder / "model.safetensors")
    tensors["visual.weight"][:] = torch.nan
    safetensors.save_file(tensors, folder / "model.safetensors")
    model = load(folder)
    question = Question("a", noise(model.frames))
    assert np.isnan(model.answer([question])[0].numbers).all()
    [answer] = Asked(model).answers([question])
    assert isinstance(answer, Trouble)


@BOTH
def test_a_wrong_number_of_frames_is_refused(
    tmp_path: Path, make: Make, load: Load, name: str
) -> None:
    model = load(make(tmp_path / "it"))
    with pytest.raises(ValueError, match="got 3 frames but needs"):
        model.answer([Question("a", noise(3))])


# ── permission ───────────────────────────────────────────────────────────────────────────────────


@BOTH
def test_code_is_not_run_without_permission(
    tmp_path: Path, make: Make, load: Load, name: str
) -> None:
    folder = make(tmp_path / "it")
    mark = tmp_path / "mark"
    for file in folder.glob("*.py"):
        file.write_text(f"open({str(mark)!r}, 'w').close()\n{file.read_text()}")
    for ask in (lambda: load(folder, False), lambda: require_remote(name, str(folder))):
        with pytest.raises(CodeRefused, match=r"all your permissions.*--trust-remote-code"):
            ask()
    require_remote(name, str(folder), True)
    assert not mark.exists(), "to look whether it can be loaded is not to run it"
    load(folder)
    assert mark.exists()


@BOTH
def test_who_asked_for_no_such_model_is_told_of_another(
    tmp_path: Path, make: Make, load: Load, name: str
) -> None:
    folder = make(tmp_path / "it")
    for ask in (lambda: load(folder, False), lambda: require_remote(name, str(folder))):
        with pytest.raises(CodeRefused, match="give --embedding-algorithm efficientnet-lite0, "):
            ask()


def test_nothing_is_fetched_that_would_not_be_run() -> None:
    """The hub cannot be reached here, and is not what these complain about."""
    with pytest.raises(CodeRefused, match="--trust-remote-code"):
        require_remote(COSMOS)
    with pytest.raises(CodeRefused, match="requested without a commit"):
        require_remote(INTERN, None, True)
    with pytest.raises(WeightsMissing, match="HF_HUB_OFFLINE"):
        require_remote(COSMOS, None, True)


def test_code_of_the_hub_wants_a_commit(tmp_path: Path) -> None:
    repository = tmp_path / "hub" / f"models--{INTERN_ID.replace('/', '--')}"
    folder = intern_in(repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(COMMIT)
    with pytest.raises(CodeRefused, match=f"{INTERN_ID}@COMMIT"):
        require_remote(INTERN, None, True)
    for name in (f"{INTERN}@{COMMIT[:9]}", f"{INTERN_ID}@{COMMIT}"):
        model = InternVideo2.load(name, None, True, "cpu")
        assert (model.used.name, model.used.revision) == (INTERN_ID, COMMIT)
    (folder / "modeling_own.py").unlink()
    with pytest.raises(WeightsMissing, match=r"modeling_own\.py"):
        require_remote(f"{INTERN}@{COMMIT}", None, True)


def test_code_of_another_repository_is_refused(tmp_path: Path) -> None:
    own = {"AutoConfig": "configuration_own.OwnConfig", "AutoModel": "them/it--modeling_own.Own"}
    folder = cosmos_in(tmp_path / "it", auto_map=own)
    with pytest.raises(CodeRefused, match="another repository, them/it"):
        require_remote(COSMOS, str(folder), True)


# ── refused ──────────────────────────────────────────────────────────────────────────────────────


def changed(folder: Path, file: str, before: str, after: str) -> Path:
    text = (folder / file).read_text()
    assert before in text
    (folder / file).write_text(text.replace(before, after))
    return folder


@BOTH
def test_a_tensor_that_is_missing_is_named(
    tmp_path: Path, make: Make, load: Load, name: str
) -> None:
    folder = make(tmp_path / "it")
    tensors = safetensors.load_file(folder / "model.safetensors")
    del tensors["when"]
    safetensors.save_file(tensors, folder / "model.safetensors")
    with pytest.raises(WeightsMissing, match=r"own code: tensors are missing \(when\)"):
        load(folder)


@BOTH
def test_weights_of_other_shapes_are_refused(
    tmp_path: Path, make: Make, load: Load, name: str
) -> None:
    folder = make(tmp_path / "it")
    shutil.copy(make(tmp_path / "other", embed_dim=7) / "model.safetensors", folder)
    with pytest.raises(WeightsMissing, match="size mismatch for visual"):
        load(folder)


def test_models_that_were_mixed_up_are_refused(tmp_path: Path) -> None:
    cosmos, intern = cosmos_in(tmp_path / "cosmos"), intern_in(tmp_path / "intern")
    with pytest.raises(WeightsMissing, match="has no get_vid_feat"):
        load_intern(cosmos_in(tmp_path / "four", num_frames=4))
    with pytest.raises(WeightsMissing, match="num_frames 8, but internvideo2 gets 4"):
        require_remote(INTERN, str(cosmos), True)
    with pytest.raises(WeightsMissing, match=r"does not say which class .* is its AutoProcessor"):
        require_remote(COSMOS, str(intern), True)
    with pytest.raises(WeightsMissing, match="image_res 448"):
        load_intern(intern_in(tmp_path / "large", image_res=448))


def test_a_processor_of_other_frames_is_refused(tmp_path: Path) -> None:
    folder = cosmos_in(tmp_path / "it")
    changed(folder, "preprocessor_config.json", '"frames": 8', '"frames": 16')
    with pytest.raises(WeightsMissing, match=r"needs 16 frames .* gets 8"):
        load_cosmos(folder)


def test_a_model_without_code_is_refused(tmp_path: Path) -> None:
    folder = cosmos_in(tmp_path / "it", auto_map={})
    with pytest.raises(WeightsMissing, match="has no code of its own"):
        require_remote(COSMOS, str(folder), True)


def test_a_half_copied_model_is_refused(tmp_path: Path) -> None:
    folder = cosmos_in(tmp_path / "it")
    (folder / "processing_own.py").unlink()
    with pytest.raises(CodeRefused, match=r"processing_own\.py is missing"):
        require_remote(COSMOS, str(folder), True)
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsMissing, match=r"model\.safetensors is missing"):
        require_remote(COSMOS, str(folder), True)


def test_a_package_that_the_code_imports_is_named_beforehand(tmp_path: Path) -> None:
    folder = intern_in(tmp_path / "it")
    changed(folder, "helping.py", "FACTOR", "import no_such_package\nFACTOR")
    with pytest.raises(WeightsMissing, match=r"cannot run here: .*no_such_package"):
        require_remote(INTERN, str(folder), True)


def test_errors_of_the_models_own_code_come_as_they_are(tmp_path: Path) -> None:
    folder = cosmos_in(tmp_path / "it")
    model = load_cosmos(changed(folder, "modeling_own.py", "* FACTOR", "* (1 / (FACTOR - 1))"))
    with pytest.raises(ZeroDivisionError):
        model.answer([Question("a", noise(8))])
    changed(folder, "helping.py", "FACTOR = 1.0", "FACTOR = {}['what is it']")
    with pytest.raises(KeyError, match="what is it"):
        load_cosmos(folder)


def test_a_pickle_of_no_tensors_is_refused(tmp_path: Path) -> None:
    folder = intern_in(tmp_path / "it")
    (folder / "model.safetensors").unlink()
    torch.save([torch.zeros(2)], folder / "stage2.pth")
    with pytest.raises(WeightsMissing, match="contains a list instead of named tensors"):
        load_intern(folder)
