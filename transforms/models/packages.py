"""Models that lie inside packages: named by the package, their revision is its version."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from finecut.io.records import ModelUsed


def packaged(package: str) -> ModelUsed:
    """Which model the installed package holds."""
    try:
        return ModelUsed(package, version(package))
    except PackageNotFoundError:  # copied there without its metadata
        return ModelUsed(package)
