"""EfficientNet-Lite0, from a file of weights that torch saved to an ONNX graph, without torch.

A file of torch before version 1.6 is a row of pickles and then plain numbers::

    a magic number │ a version │ sizes of integers │ names → tensors │ keys of storages
    for each key: how many numbers, as eight bytes │ the numbers

The tensors name their storage, their shape and how far apart their numbers are. An unpickler that
knows the few names tensors are made of reads them, and refuses the rest. Nothing else is checked:
the digest of the file is known.

In the graph every batch norm is folded into its convolution. Facts about the network that its
weights do not tell (where it halves the picture, that it pads as TensorFlow does, that a norm adds
0.001 to its variance, pixels minus 127 over 128) are those of its publication.
"""

import io
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from finecut.transforms.models.embedders.lite import CHANNELS, USED

# ── tensors without torch ────────────────────────────────────────────────────────────────────────


class _Tensor(NamedTuple):
    """A tensor as the pickle describes it; all of them begin where their storage does."""

    storage: str
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    requires_grad: bool
    hooks: object


#: What tensors are made of.
_PARTS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    # What torch calls a row of numbers, and what NumPy does.
    ("torch", "FloatStorage"): "<f4",
    ("torch", "LongStorage"): "<i8",
}


class _Unpickler(pickle.Unpickler):
    """Knows what tensors are made of, and nothing else: a pickle may otherwise run any program."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        #: Key of each storage → the kind of its numbers and how many there are.
        self.storages: dict[str, tuple[str, int]] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _PARTS:
            raise pickle.UnpicklingError(
                f"the weights try to call {module}.{name}, which no tensor needs"
            )
        return _PARTS[module, name]

    def persistent_load(self, pid: Any) -> str:
        _, kind, key, _, count, _ = pid
        self.storages[key] = (kind, count)
        return str(key)


def read_tensors(data: bytes) -> dict[str, NDArray[Any]]:
    """The tensors in the published file (:func:`~.lite.read_weights` knows that it is)."""
    file = io.BytesIO(data)
    for _ in range(3):  # magic number, version, and sizes of integers where it was written
        _Unpickler(file).load()
    description = _Unpickler(file)
    tensors: Mapping[str, _Tensor] = description.load()
    storages: dict[str, NDArray[Any]] = {}
    for key in _Unpickler(file).load():
        kind, count = description.storages[key]
        file.seek(8, io.SEEK_CUR)  # how many numbers, once more
        storages[key] = np.frombuffer(file.read(count * np.dtype(kind).itemsize), kind)
    return {name: _laid_out(tensor, storages[tensor.storage]) for name, tensor in tensors.items()}


def _laid_out(tensor: _Tensor, storage: NDArray[Any]) -> NDArray[Any]:
    """The tensor's numbers in the order of its shape: some lie in their storage in another one."""
    apart = [step * storage.itemsize for step in tensor.stride]
    return np.lib.stride_tricks.as_strided(storage, tensor.size, apart).copy()


# ── the network ──────────────────────────────────────────────────────────────────────────────────

#: How many blocks each stage has, and by how much its first one reduces the picture.
STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))
#: What is added to the variance of a batch norm.
EPSILON = 1e-3
#: What is taken from a pixel, and what it is then divided by.
MEAN, SCALE = 127.0, 128.0
#: Versions of ONNX's operators and of its files: onnxruntime knows both since 1.10.
OPERATORS, FORMAT = 13, 8


def onnx_graph(weights: Mapping[str, NDArray[Any]]) -> bytes:
    """The network as an ONNX model: a frame in, ``[height, width, 3]`` bytes; 1280 numbers out."""
    draft = _Draft(weights)
    value = draft.entered("frame")
    value = draft.folded(value, "_conv_stem", "_bn0", 2)
    # The others of a stage give as many channels as they take.
    blocks = (first if place == 0 else None for count, first in STAGES for place in range(count))
    for number, stride in enumerate(blocks):
        value = draft.block(value, f"_blocks.{number}.", stride)
    value = draft.folded(value, "_conv_head", "_bn1")
    value = draft.added("ReduceMean", value, axes=[0, 2, 3], keepdims=0)
    return draft.model("frame", value)


class _Draft:
    """A graph while it is drawn."""

    def __init__(self, weights: Mapping[str, NDArray[Any]]) -> None:
        self._weights = weights
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def added(self, operator: str, *inputs: str, **settings: Any) -> str:
        """One more operation; the name of what comes out."""
        output = f"value{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [output], **settings))
        return output

    def constant(self, value: NDArray[Any] | float) -> str:
        name = f"constant{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def entered(self, frame: str) -> str:
        """The frame as the network was trained on: a batch of one, colours first, about -1 to 1."""
        value = self.added("Cast", frame, to=TensorProto.FLOAT)
        value = self.added("Sub", value, self.constant(MEAN))
        value = self.added("Div", value, self.constant(SCALE))
        self._constants.append(numpy_helper.from_array(np.array([0], np.int64), "axes"))
        value = self.added("Unsqueeze", value, "axes")
        return self.added("Transpose", value, perm=[0, 3, 1, 2])

    def block(self, value: str, name: str, stride: int | None) -> str:
        """Widen, look around in each channel alone, narrow; without a stride add what came in."""
        inside = value
        if f"{name}_expand_conv.weight" in self._weights:
            inside = self.folded(inside, f"{name}_expand_conv", f"{name}_bn0")
        inside = self.folded(inside, f"{name}_depthwise_conv", f"{name}_bn1", stride or 1)
        inside = self.folded(inside, f"{name}_project_conv", f"{name}_bn2", limited=False)
        return inside if stride else self.added("Add", inside, value)

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
        described = helper.make_tensor_value_info
        graph = helper.make_graph(
            nodes=self._nodes,
            name=USED.name,
            inputs=[described(frame, TensorProto.UINT8, ["height", "width", 3])],
            outputs=[described(output, TensorProto.FLOAT, [CHANNELS])],
            initializer=self._constants,
        )
        operators = [helper.make_opsetid("", OPERATORS)]
        model = helper.make_model(graph, opset_imports=operators, ir_version=FORMAT)
        return bytes(model.SerializeToString())
