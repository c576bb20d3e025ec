"""The aesthetic score is CLIP's picture tower and a linear head, computed the plain way."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from finecut.transforms.models import scorers
from finecut.transforms.models.loading import CLIP_STD
from finecut.transforms.models.scorers import AestheticScorer, prepared
from finecut.transforms.models.weights.folders import WeightsMissing

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
safetensors = pytest.importorskip("safetensors.torch")

WIDTH, SIZE = 16, 32
LAYERS = (0, 2, 4, 6, 7)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Threads that wait for each other are slower than one on networks this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def save_clip(folder: Path, seed: int = 0, width: int = WIDTH) -> Path:
    """A CLIP of a few thousand random weights, saved as the real one is."""
    torch.manual_seed(seed)
    tower: dict[str, float] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    # Larger weights than usual to begin with, or all pictures would score nearly alike.
    tower |= {"num_attention_heads": 4, "initializer_factor": 8.0}
    config = transformers.CLIPConfig(
        text_config={**tower, "vocab_size": 50, "max_position_embeddings": 8},
        vision_config={**tower, "image_size": SIZE, "patch_size": 8},
        projection_dim=width,
    )
    transformers.CLIPModel(config).save_pretrained(folder)
    return folder


def save_head(folder: Path, widths: Sequence[int] = (WIDTH, 24, 12, 8, 4, 1)) -> Path:
    torch.manual_seed(1)
    folder.mkdir(parents=True)
    tensors = {}
    for place, before, after in zip(LAYERS, widths[:-1], widths[1:], strict=True):
        tensors[f"layers.{place}.weight"] = torch.randn(after, before) / before**0.5
        tensors[f"layers.{place}.bias"] = torch.randn(after)
    safetensors.save_file(tensors, folder / "model.safetensors")
    return folder


def noise(count: int, height: int = 48, width: int = 64, seed: int = 0) -> list[NDArray[np.uint8]]:
    """Frames that differ, smooth enough that resampling is not all rounding."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (count, height // 8, width // 8, 3), dtype=np.uint8)
    return list(coarse.repeat(8, 1).repeat(8, 2))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("models")
    return save_clip(root / "clip"), save_head(root / "head")


def load(folders: tuple[Path, Path], reduction: str = "min") -> AestheticScorer:
    return AestheticScorer.load(str(folders[0]), str(folders[1]), reduction=reduction, device="cpu")


def plain_scores(folders: tuple[Path, Path], frames: Sequence[NDArray[np.uint8]]) -> list[float]:
    """The same by transformers' own classes and matrices written out."""
    model = transformers.CLIPModel.from_pretrained(folders[0])
    head = safetensors.load_file(folders[1] / "model.safetensors")
    scores = []
    for frame in frames:
        with torch.no_grad():
            pooled = model.vision_model(pixel_values=processed(frame)).pooler_output
            values = (pooled @ model.visual_projection.weight.T).numpy()[0].astype(float)
        values = values / math.sqrt((values**2).sum())
        for place in LAYERS:
            weight, bias = (head[f"layers.{place}.{half}"].numpy() for half in ("weight", "bias"))
            values = weight.astype(float) @ values + bias
        scores.append(float(values[0]))
    return scores


def processed(frame: NDArray[np.uint8]) -> Any:
    """What CLIP's own image processor makes of a frame, by Pillow."""
    module = pytest.importorskip("transformers.models.clip.image_processing_pil_clip")
    processor = module.CLIPImageProcessorPil(
        size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE}
    )
    return processor(images=frame, return_tensors="pt")["pixel_values"]


@pytest.mark.parametrize(
    ("height", "width"), [(48, 64), (64, 48), (180, 320), (360, 640), (32, 32), (16, 16), (16, 64)]
)
def test_frames_are_prepared_as_clips_own_processor_does(height: int, width: int) -> None:
    random = np.random.default_rng(3)
    # No black and no white: Pillow cuts what overshoots after the first of its two passes too.
    frame = random.integers(70, 186, (height, width, 3), dtype=np.uint8)
    ours, theirs = prepared(frame, SIZE), processed(frame)[0]
    assert ours.shape == theirs.shape == (3, SIZE, SIZE)
    # It also rounds between them: one step of 255, in units of the deviation.
    assert float((ours - theirs).abs().max()) < 1.1 / 255 / min(CLIP_STD)
    assert float(ours.std()) > 0.1


def test_scores_are_those_of_the_plain_computation(folders: tuple[Path, Path]) -> None:
    frames = noise(3)
    scores = load(folders).frame_scores(frames)
    assert scores == pytest.approx(plain_scores(folders, frames), abs=0.005)
    assert max(scores) - min(scores) > 0.1, "frames that all score alike would prove nothing"


def test_without_our_preparation_scores_agree_to_the_last_digits(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = noise(3)
    monkeypatch.setattr(scorers, "prepared", lambda frame, _: processed(frame)[0])
    assert load(folders).frame_scores(frames) == pytest.approx(
        plain_scores(folders, frames), abs=1e-5
    )


def test_a_clip_scores_its_worst_frame_or_the_mean(folders: tuple[Path, Path]) -> None:
    frames = noise(5)
    scores = load(folders).frame_scores(frames)
    assert load(folders)(frames) == {"aesthetic_score": min(scores)}
    [(name, mean)] = load(folders, "mean")(frames).items()
    assert name == "aesthetic_score"
    assert mean == pytest.approx(sum(scores) / 5)
    assert mean > min(scores)
    assert type(mean) is float
    assert load(folders)([]) == {}


def test_batches_change_nothing(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer, frames = load(folders), noise(7)
    together = scorer.frame_scores(frames)
    assert together == scorer.frame_scores(frames)
    assert together == pytest.approx([scorer.frame_scores([f])[0] for f in frames], abs=1e-5)
    monkeypatch.setattr(scorers, "BATCH", 3)
    assert scorer.frame_scores(frames) == pytest.approx(together, abs=1e-5)


def test_no_batch_is_larger_than_said(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer, sizes = load(folders), []
    scorer._vision.register_forward_pre_hook(
        lambda _, args, named: sizes.append(len(named["pixel_values"])), with_kwargs=True
    )
    scorer(noise(2 * scorers.BATCH + 1))
    assert sizes == [scorers.BATCH, scorers.BATCH, 1]


def test_frames_may_be_views_and_read_only(folders: tuple[Path, Path]) -> None:
    [frame] = noise(1)
    mirrored = frame[:, ::-1]
    mirrored.flags.writeable = False
    scorer = load(folders)
    assert scorer.frame_scores([mirrored]) == scorer.frame_scores([mirrored.copy()])


def test_the_picture_tower_may_come_alone_and_in_half_precision(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    whole = load(folders)
    whole._vision.save_pretrained(tmp_path / "alone")
    alone = AestheticScorer.load(str(tmp_path / "alone"), str(folders[1]), device="cpu")
    assert alone.frame_scores(noise(2)) == whole.frame_scores(noise(2))
    models = [transformers.CLIPModel.from_pretrained(folders[0]), alone._vision]
    for number, model in enumerate(models):
        model.half().save_pretrained(tmp_path / f"half{number}")
        half = AestheticScorer.load(str(tmp_path / f"half{number}"), str(folders[1]), device="cpu")
        assert {p.dtype for p in half._vision.parameters()} == {torch.float32}
        assert half.frame_scores(noise(2)) == pytest.approx(whole.frame_scores(noise(2)), abs=0.05)


def test_a_model_dir_of_hub_ids_is_enough(folders: tuple[Path, Path], tmp_path: Path) -> None:
    for folder, name in zip(folders, (scorers.CLIP, scorers.HEAD), strict=True):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).symlink_to(folder)
    scorer = AestheticScorer.load(model_dir=str(tmp_path), device="cpu")
    assert scorer(noise(2)) == load(folders)(noise(2))
    assert [used.name for used in scorer.which().values()] == [scorers.CLIP, scorers.HEAD]


def test_a_head_of_another_width_is_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    head = save_head(tmp_path / "wide", (20, 24, 12, 8, 4, 1))
    with pytest.raises(WeightsMissing, match=r"takes 20 numbers .* gives 16"):
        load((folders[0], head))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda t: t.pop("layers.4.bias"), "weight and bias"),
        (lambda t: t.pop("layers.4.bias") is t.pop("layers.4.weight"), "do not fit together"),
        (
            lambda t: t.pop("layers.7.bias") is t.pop("layers.7.weight"),
            "do not fit together, or do not",
        ),
        (lambda t: t.update({"layers.2.bias": torch.zeros(3)}), "one bias per row"),
        (lambda t: t.clear() or t.update(x=torch.zeros(1)), "weight and bias"),
    ],
)
def test_what_is_no_head_is_refused(
    folders: tuple[Path, Path], tmp_path: Path, change: Any, why: str
) -> None:
    tensors = safetensors.load_file(folders[1] / "model.safetensors")
    change(tensors)
    safetensors.save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(WeightsMissing, match=f"not an aesthetic head: .*{why}"):
        load((folders[0], tmp_path))


def test_what_is_no_clip_is_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    config = transformers.BertConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=9
    )
    transformers.BertModel(config).save_pretrained(tmp_path)
    with pytest.raises(WeightsMissing, match="is of the kind 'bert'"):
        load((tmp_path, folders[1]))


def test_a_clip_without_some_of_its_weights_is_refused(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    tensors = safetensors.load_file(folders[0] / "model.safetensors")
    tensors = {key: t for key, t in tensors.items() if "vision_model.encoder.layers.1" not in key}
    safetensors.save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    (tmp_path / "config.json").write_text((folders[0] / "config.json").read_text())
    with pytest.raises(WeightsMissing, match="tensors are missing"):
        load((tmp_path, folders[1]))


def test_a_clip_of_other_shapes_than_it_says_is_refused(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    config = json.loads((folders[0] / "config.json").read_text())
    config["projection_dim"] = 20
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").symlink_to(folders[0] / "model.safetensors")
    with pytest.raises(WeightsMissing, match=r"do not match its config\.json"):
        load((tmp_path, folders[1]))


def test_missing_models_are_named(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="there is no folder"):
        load((tmp_path / "nothing", folders[1]))
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsMissing, match=r"model\.safetensors is missing"):
        load((folders[0], tmp_path / "empty"))


def test_loading_is_quiet(folders: tuple[Path, Path], capfd: pytest.CaptureFixture[str]) -> None:
    load(folders)
    assert capfd.readouterr() == ("", "")


def test_a_config_that_is_none_is_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    (tmp_path / "model.safetensors").symlink_to(folders[0] / "model.safetensors")
    with pytest.raises(WeightsMissing, match="cannot be read"):
        load((tmp_path, folders[1]))
