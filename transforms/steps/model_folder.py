"""The option that all steps share whose models are looked for in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from finecut.transforms.option import MODELS, option

#: When the option has an effect: while a model is loaded here that may lie in a folder.
IN_PROCESS: Final = "in process"


@dataclass(frozen=True, kw_only=True)
class ModelFolder:
    model_dir: str | None = option(
        None,
        MODELS,
        "A folder or bucket path that contains one folder per model.",
        metavar="PATH",
        shown="installed packages, otherwise the hub",
        matters=False,
        effective=IN_PROCESS,
        without="a model in that folder: --splitting-algorithm transnetv2, --aesthetic-filter, "
        "--embedding-algorithm or --generate-captions",
    )
