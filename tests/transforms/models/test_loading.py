"""Devices: what a model runs on here, and what it would run on with a GPU."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from finecut.transforms.models.loading import (
    at_once_on,
    device_of,
    dtype_of,
    gpus,
    require_share,
)

torch = pytest.importorskip("torch")

HERE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def l4(monkeypatch: pytest.MonkeyPatch) -> None:
    """What torch says on a machine with an nvidia-l4."""
    a_gpu(monkeypatch, 22.5, (8, 9))


def a_gpu(monkeypatch: pytest.MonkeyPatch, gb: float, generation: tuple[int, int]) -> None:
    device = SimpleNamespace(name="NVIDIA L4", total_memory=int(gb * 2**30))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: device)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: generation)


def test_what_is_here_can_be_worked_with() -> None:
    assert device_of() == device_of("auto") == HERE
    numbers = torch.ones(8, dtype=dtype_of(HERE), device=HERE)
    assert float(numbers.sum()) == 8
    assert (at_once_on(HERE, 1e6) > 0) is (HERE == "cuda")
    assert bool(gpus()) is (HERE == "cuda")


def test_without_a_gpu(no_gpu: None) -> None:
    assert device_of("auto") == device_of("cpu") == "cpu"


def test_with_a_gpu(l4: None) -> None:
    assert device_of("auto") == "cuda"
    assert device_of("cpu") == "cpu"
    assert gpus() == [("NVIDIA L4", 22.5)] * 2


def test_on_a_cpu_one_question_goes_at_a_time(l4: None) -> None:
    assert at_once_on("cpu", 1e6) == 0


@pytest.mark.parametrize(
    ("weights", "share", "pixels"),
    [
        (0, 1, 2250),
        (2.5, 1, 2000),
        (2.5, 0.5, 875),
        (22.5, 1, 0),
        (30, 1, 0),
    ],
)
def test_pixels_have_what_the_weights_leave(
    l4: None, weights: float, share: float, pixels: int
) -> None:
    assert at_once_on("cuda", 100, weights, share) == pixels


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01, 50, float("nan")])
def test_shares_that_are_none(share: float) -> None:
    why = rf"cannot take {share} of a GPU's memory.*percentage was given.*0\.33 each\.$"
    with pytest.raises(ValueError, match=why):
        require_share(share)
    with pytest.raises(ValueError, match=why):
        at_once_on("cpu", 1e6, share=share)


@pytest.mark.parametrize(
    ("generation", "name"),
    [((7, 0), "float16"), ((7, 5), "float16"), ((8, 0), "bfloat16"), ((10, 0), "bfloat16")],
)
def test_weights_take_half_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch, generation: tuple[int, int], name: str
) -> None:
    a_gpu(monkeypatch, 16, generation)
    assert dtype_of("cuda") is getattr(torch, name)
    assert dtype_of("cpu") is torch.float32
