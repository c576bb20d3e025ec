"""The option that all steps share whose models are looked for in one place."""

from __future__ import annotations

from dataclasses import dataclass

from finecut.transforms.option import MODELS, option


@dataclass(frozen=True, kw_only=True)
class ModelFolder:
    model_dir: str | None = option(
        None,
        MODELS,
        "Where models lie: a folder or bucket path with one folder for each.",
        metavar="PATH",
        shown="installed packages, else the hub",
        matters=False,
    )
