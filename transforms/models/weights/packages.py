"""Small models that lie inside packages of PyPI: found without importing the package, whose other
dependencies are then not needed. They are named by the package; their revision is its version."""

from __future__ import annotations

import importlib.util
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from finecut.io.records import ModelUsed
from finecut.transforms.models.weights.missing import WeightsMissing, needed


def packaged(package: str) -> ModelUsed:
    """Which model the installed package holds."""
    try:
        return ModelUsed(package, version(package))
    except PackageNotFoundError:  # copied there without its metadata
        return ModelUsed(package)


def package_file(package: str, *parts: str) -> Path | None:
    """A file inside an installed package, found without importing the package."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder, *parts)
        if path.is_file():
            return path
    return None


def open_packaged(package: str, *parts: str, install: str, purpose: str) -> Any:
    """An ONNX session on a model that lies inside a package, working on one thread.

    One thread, because the pipeline already scores one clip per core; more would only get into
    each other's way, and sums would come out in another order.
    """
    path = package_file(package, *parts)
    if path is None:
        raise WeightsMissing(
            f"the file {'/'.join((package, *parts))} is needed to {purpose}, and no installed "
            f"package holds it. Usually the package is not installed: run `{install}`. Without "
            "--no-deps it brings libraries that finecut does not need."
        )
    runtime = needed("onnxruntime", "pip install onnxruntime", purpose)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
