"""Any encoder that transformers knows gives vectors, the same ones as its own classes do."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_encoders import MODELS, SHORTEST, SIZE, saved

from finecut.transforms.caption.asking import Asked, Question, Trouble, Vector
from finecut.transforms.models.embedders.encoders import (
    Encoder,
    FrameEncoder,
    frames_and_side,
    require_encoder_model,
)
from finecut.transforms.models.embedders.kinds import KINDS
from finecut.transforms.models.loading import NET_MEAN, NET_STD, SETTINGS, TOGETHER
from finecut.transforms.models.weights.folders import WeightsMissing, locate

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
safetensors = pytest.importorskip("safetensors.torch")
pytest.importorskip("PIL")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Threads that wait for each other are slower than one on networks this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINECUT_CACHE", str(tmp_path / "cache"))
    constants = importlib.import_module("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny model of every kind, saved by its own class."""
    root = tmp_path_factory.mktemp("models")
    return {kind: saved(root / kind, kind) for kind in MODELS}


def noise(count: int, height: int = 40, width: int = 72, seed: int = 0) -> list[NDArray[np.uint8]]:
    """Frames that differ, smooth enough that resampling is not all rounding."""
    random = np.random.default_rng(seed)
    coarse = random.integers(60, 196, (count, height // 8, width // 8, 3), dtype=np.uint8)
    return list(coarse.repeat(8, 1).repeat(8, 2))


def clips(count: int, frames: int) -> list[Question]:
    return [Question(f"clip{i}", noise(frames, seed=i)) for i in range(count)]


def load(folder: Path) -> FrameEncoder:
    return FrameEncoder.load(str(folder), device="cpu")


def vectors(model: FrameEncoder, questions: list[Question]) -> dict[str, NDArray[np.float32]]:
    return {answer.id: answer.numbers for answer in model.answer(questions)}


def processed(kind: str, frames: list[NDArray[np.uint8]], looks: dict[str, Any]) -> Any:
    """What the kind's own processor for Pillow makes of frames: (frames, 3, height, width)."""
    family, name = {
        "clip": ("clip", "CLIPImageProcessorPil"),
        "siglip": ("siglip", "SiglipImageProcessorPil"),
        "dinov2": ("bit", "BitImageProcessorPil"),
        "videomae": ("videomae", "VideoMAEImageProcessorPil"),
        "siglip2": ("siglip2", "Siglip2ImageProcessorPil"),
    }[kind]
    module = pytest.importorskip(f"transformers.models.{family}.image_processing_pil_{family}")
    if kind == "dinov2":  # as the published folders say it, because the class is another model's
        looks = {**looks, "image_mean": NET_MEAN, "image_std": NET_STD}
    if kind == "videomae":
        looks = {**looks, "image_mean": NET_MEAN, "image_std": NET_STD}
    made = getattr(module, name)(**looks)(frames, return_tensors="pt")
    return made if kind == "siglip2" else made["pixel_values"].reshape(len(frames), 3, SIZE, SIZE)


# ── what comes out ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", MODELS)
def test_every_kind_gives_a_vector_for_each_clip(folders: dict[str, Path], kind: str) -> None:
    _, _, frames, width = MODELS[kind]
    model = load(folders[kind])
    assert model.frames == frames
    assert model.at_once == 0, "on a CPU one clip at a time"
    found = vectors(model, clips(3, frames))
    for numbers in found.values():
        assert numbers.shape == (width,)
        assert numbers.dtype == np.float32
        assert np.isfinite(numbers).all()
    assert model.used.dimension == width
    assert model.used == require_encoder_model(str(folders[kind]))
    assert model.used.revision is not None
    assert model.used.revision.startswith("fingerprint:")
    # Different clips are told apart, or the comparisons below would prove nothing.
    first, second, _ = found.values()
    assert float(np.abs(first - second).max()) > 0.01


@pytest.mark.parametrize("kind", MODELS)
def test_a_vector_does_not_depend_on_its_company(folders: dict[str, Path], kind: str) -> None:
    model, questions = load(folders[kind]), clips(4, MODELS[kind][2])
    together = vectors(model, questions)
    turned = vectors(model, questions[::-1])
    alone = vectors(load(folders[kind]), questions[2:3])
    for name, numbers in together.items():
        np.testing.assert_allclose(turned[name], numbers, atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(alone["clip2"], together["clip2"], atol=1e-5, rtol=1e-5)
    # The same question to the same weights: the same bytes.
    assert alone["clip2"].tobytes() == vectors(model, questions[2:3])["clip2"].tobytes()


@pytest.mark.parametrize("kind", MODELS)
def test_in_half_precision_vectors_are_nearly_the_same(folders: dict[str, Path], kind: str) -> None:
    """As on a GPU: weights and pixels in bfloat16, vectors in float32."""
    exact, questions = load(folders[kind]), clips(2, MODELS[kind][2])
    model = load(folders[kind])._model.to(torch.bfloat16)
    encoder = Encoder(
        locate(str(folders[kind])), exact.used, exact._kind, exact.frames, exact._preparation
    )
    half = FrameEncoder(model, encoder)
    for name, numbers in vectors(half, questions).items():
        expected = vectors(exact, questions)[name]
        assert numbers.dtype == np.float32
        angle = numbers @ expected / np.linalg.norm(numbers) / np.linalg.norm(expected)
        assert angle > 0.98
        assert not np.array_equal(numbers, expected)


@pytest.mark.parametrize("kind", ["clip", "siglip", "siglip2", "dinov2"])
def test_pictures_have_the_vectors_of_the_plain_computation(
    folders: dict[str, Path], kind: str
) -> None:
    frames = noise(3)
    given = processed(kind, frames, MODELS[kind][1])
    model = transformers.AutoModel.from_pretrained(folders[kind]).eval()
    with torch.no_grad():
        if kind == "dinov2":
            rows = model(pixel_values=given).pooler_output
        elif kind == "siglip2":
            rows = model.vision_model(**given).pooler_output
        else:
            rows = model.vision_model(pixel_values=given).pooler_output
            rows = model.visual_projection(rows) if kind == "clip" else rows
    expected = (rows / rows.norm(dim=1, keepdim=True)).numpy().mean(0)
    [answer] = load(folders[kind]).answer([Question("a", frames)])
    np.testing.assert_allclose(answer.numbers, expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["videomae", "vjepa2", "xclip"])
def test_videos_have_the_vectors_of_the_plain_computation(
    folders: dict[str, Path], kind: str
) -> None:
    frames = noise(MODELS[kind][2])
    encoder = load(folders[kind])
    given = encoder._preparation.pixels(frames)[None]
    if kind != "vjepa2":
        own = processed("clip" if kind == "xclip" else kind, frames, MODELS[kind][1])
        np.testing.assert_allclose(given[0].numpy(), own.numpy(), atol=1e-5)
    model = getattr(transformers, KINDS[kind].model).from_pretrained(folders[kind]).eval()
    with torch.no_grad():
        if kind == "xclip":
            pooled = model.vision_model(pixel_values=given[0]).pooler_output
            expected = model.mit(model.visual_projection(pooled)[None]).pooler_output[0].numpy()
        elif kind == "vjepa2":
            expected = model.encoder(pixel_values_videos=given).last_hidden_state[0].numpy().mean(0)
        else:
            expected = model(pixel_values=given).last_hidden_state[0].numpy().mean(0)
    [answer] = encoder.answer([Question("a", frames)])
    np.testing.assert_allclose(answer.numbers, expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["videomae", "vjepa2", "xclip"])
def test_a_video_model_sees_the_order_of_the_frames(folders: dict[str, Path], kind: str) -> None:
    frames = noise(MODELS[kind][2])
    found = vectors(load(folders[kind]), [Question("a", frames), Question("b", frames[::-1])])
    assert float(np.abs(found["a"] - found["b"]).max()) > 1e-3


def test_the_mean_over_pictures_says_how_alike_they_are(folders: dict[str, Path]) -> None:
    model = load(folders["clip"])
    [one] = noise(1)
    same, other = model.answer([Question("same", [one] * 5), Question("other", noise(5))])
    assert np.linalg.norm(same.numbers) == pytest.approx(1, abs=1e-5)
    assert np.linalg.norm(other.numbers) < 0.99


def test_clips_of_several_shapes_and_lengths_go_together(folders: dict[str, Path]) -> None:
    model = load(folders["clip"])
    questions = [
        Question("wide", noise(8)),
        Question("tall", noise(3, 72, 40)),
        Question("small", noise(1, 16, 24)),
    ]
    together = vectors(model, questions)
    for question in questions:
        alone = vectors(model, [question])[question.id]
        np.testing.assert_allclose(together[question.id], alone, atol=1e-5)


# ── how frames look ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["clip", "siglip", "dinov2", "videomae"])
@pytest.mark.parametrize(
    ("height", "width"), [(40, 72), (72, 40), (180, 320), (33, 47), (32, 32), (16, 20)]
)
def test_frames_preparation_as_the_own_processor_makes_them(
    folders: dict[str, Path], kind: str, height: int, width: int
) -> None:
    random = np.random.default_rng(1)
    frames = list(random.integers(0, 256, (2, height, width, 3), dtype=np.uint8))
    looks = MODELS[kind][1]
    ours = load(folders[kind])._preparation.pixels(frames)
    theirs = processed(kind, frames, looks)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-5)
    assert float(ours.std()) > 0.05


def test_what_the_settings_say_is_done(folders: dict[str, Path], tmp_path: Path) -> None:
    said = {
        "size": {"height": SIZE, "width": SIZE},
        "do_center_crop": False,
        "do_normalize": False,
        "do_rescale": False,
        "resample": 0,
    }
    look = load(with_settings(folders["clip"], tmp_path, said))._preparation
    [frame] = noise(1, 64, 64)
    np.testing.assert_array_equal(
        look.prepared(frame), frame[1::2, 1::2].transpose(2, 0, 1).astype(np.float32)
    )


def with_settings(folder: Path, target: Path, said: Any, file: str = "") -> Path:
    shutil.copytree(folder, target, dirs_exist_ok=True)
    for name in (*SETTINGS, TOGETHER):
        (target / name).unlink(missing_ok=True)
    (target / (file or SETTINGS[1])).write_text(json.dumps(said))
    return target


def test_settings_may_lie_in_one_file_for_all(folders: dict[str, Path], tmp_path: Path) -> None:
    target = with_settings(folders["clip"], tmp_path, {"image_processor": SHORTEST}, TOGETHER)
    assert load(target)._preparation == load(folders["clip"])._preparation


def test_a_folder_that_does_not_say_how_frames_preparation_is_refused(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    target = with_settings(folders["clip"], tmp_path, {})
    (target / SETTINGS[1]).unlink()
    for function in (require_encoder_model, FrameEncoder.load, frames_and_side):
        with pytest.raises(WeightsMissing, match="does not describe its input frames"):
            function(str(target))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"size": {"longest_edge": 3}}, "cannot be understood"),
        ({"size": "large"}, "cannot be understood"),
        (
            {"size": {"shortest_edge": 24}, "crop_size": 32},
            "crops frames to 32 × 32, but scales them only to 24",
        ),
        ({"size": {"height": 0, "width": 32}}, "0 pixels long"),
        ({"size": 32, "crop_size": 0}, "0 pixels long"),
        ({"size": 32, "crop_size": 32, "image_std": [0, 1, 1]}, "not 0"),
        ({"size": 32, "crop_size": 32, "image_mean": [0.5]}, "three numbers"),
        ({"size": 32, "crop_size": 32, "resample": 99}, "99 is not a valid"),
        ([], "does not describe its input frames"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    folders: dict[str, Path], tmp_path: Path, said: Any, why: str
) -> None:
    target = with_settings(folders["clip"], tmp_path, said)
    with pytest.raises(WeightsMissing, match=why):
        require_encoder_model(str(target))


@pytest.mark.parametrize("kind", MODELS)
def test_frames_and_side_are_known_without_the_weights(
    folders: dict[str, Path], kind: str, tmp_path: Path
) -> None:
    target = tmp_path / "models/someone/it"
    shutil.copytree(folders[kind], target)
    (target / "model.safetensors").unlink()
    model = load(folders[kind])
    assert frames_and_side(str(target)) == (model.frames, model.side)
    assert frames_and_side("someone/it", str(tmp_path / "models")) == (model.frames, model.side)
    assert model.side == {"vjepa2": 36}.get(kind, SIZE)


def test_what_a_configuration_leaves_out_is_as_usual(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "videomae"}')
    (tmp_path / "preprocessor_config.json").write_text("{}")
    assert frames_and_side(str(tmp_path)) == (16, 224)


# ── refused ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("trusted", [False, True])
def test_a_model_of_another_kind_is_refused_with_the_kinds_there_are(
    folders: dict[str, Path], tmp_path: Path, trusted: bool
) -> None:
    shutil.copytree(folders["clip"], tmp_path, dirs_exist_ok=True)
    config = {"model_type": "bert", "auto_map": {"AutoModel": "modeling_mine.Mine"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "modeling_mine.py").write_text("raise SystemExit('it was run')")
    with pytest.raises(WeightsMissing, match=r"is of the kind 'bert'.*clip, .*vjepa2") as caught:
        FrameEncoder.load(str(tmp_path), trust_remote_code=trusted)
    assert ("--trust-remote-code" in str(caught.value)) == trusted
    assert "cosmos-embed1-224p" in str(caught.value)


def test_weights_of_another_model_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["clip"], tmp_path, dirs_exist_ok=True)
    shutil.copy(folders["siglip"] / "model.safetensors", tmp_path)
    with pytest.raises(WeightsMissing, match="Usually files of two models were mixed"):
        load(tmp_path)


def test_a_tensor_that_is_missing_is_named(folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["videomae"], tmp_path, dirs_exist_ok=True)
    tensors = safetensors.load_file(tmp_path / "model.safetensors")
    gone = next(key for key in tensors if key.endswith("fc1.weight") or "intermediate" in key)
    del tensors[gone]
    safetensors.save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsMissing, match=r"its config\.json: tensors are missing \(.+\)"):
        load(tmp_path)


@pytest.mark.parametrize("kind", ["clip", "siglip", "xclip"])
def test_the_tower_for_texts_is_not_kept(folders: dict[str, Path], kind: str) -> None:
    names = [name for name, _ in load(folders[kind])._model.named_parameters()]
    assert any(name.startswith("vision_model.") for name in names)
    assert not any(name.startswith("text_model.") for name in names)


def test_weights_of_other_shapes_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["videomae"], tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "intermediate_size": 30}))
    with pytest.raises(WeightsMissing, match=r"do not match its config\.json"):
        load(tmp_path)


def test_a_configuration_of_nonsense_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["dinov2"], tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "hidden_size": "wide"}))
    with pytest.raises(WeightsMissing, match=r"its config\.json is invalid"):
        require_encoder_model(str(tmp_path))


def test_a_half_copied_folder_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["clip"], tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.safetensors").unlink()
    for function in (load, lambda folder: require_encoder_model(str(folder))):
        with pytest.raises(WeightsMissing, match=r"model\.safetensors is missing"):
            function(tmp_path)


@pytest.mark.parametrize("kind", ["clip", "videomae"])
def test_weights_that_are_no_numbers_are_trouble(
    folders: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    shutil.copytree(folders[kind], tmp_path, dirs_exist_ok=True)
    tensors = safetensors.load_file(tmp_path / "model.safetensors")
    tensors = {key: torch.full_like(value, torch.nan) for key, value in tensors.items()}
    safetensors.save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    questions = clips(2, MODELS[kind][2])
    answers = load(tmp_path).answer(questions)
    assert all(np.isnan(answer.numbers).all() for answer in answers)
    for answer in Asked(load(tmp_path)).answers(questions):
        assert isinstance(answer, Trouble)


def test_a_question_of_the_wrong_number_of_frames_costs_itself(folders: dict[str, Path]) -> None:
    good, bad = Question("good", noise(4)), Question("bad", noise(3))
    answers = Asked(load(folders["videomae"])).answers([good, bad, Question("none")])
    assert [type(answer) for answer in answers] == [Vector, Trouble, Trouble]
    assert isinstance(answers[1], Trouble)
    assert "got 3 frames but needs 4" in answers[1].message


def test_loading_is_quiet(folders: dict[str, Path], capfd: pytest.CaptureFixture[str]) -> None:
    load(folders["clip_vision_model"])
    load(folders["clip"])
    assert capfd.readouterr() == ("", "")
