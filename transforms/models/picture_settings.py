"""What the folder of a model says of how pictures have to look, and what there is to say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finecut.transforms.models.weights.folders import CONFIG, read_json

#: Where a folder says how its model sees; the first one that is there counts.
SETTINGS = ("video_preprocessor_config.json", "preprocessor_config.json")
#: Newer folders have one file for all, with a part for each.
TOGETHER = "processor_config.json"
FILES = (CONFIG, *SETTINGS, TOGETHER)

#: What the pixels of a model's training had in common, red, green, blue: CLIP's pictures, ImageNet,
#: and what others take for the middle.
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
NET_MEAN, NET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)


def small_files(folder: Path) -> dict[str, Any]:
    """The small files of a model's folder, by their names."""
    paths = (folder / name for name in FILES)
    return {path.name: read_json(path) for path in paths if path.is_file()}


def settings_of(files: Mapping[str, Any], *parts: str) -> Mapping[str, Any] | None:
    """How pictures have to look; of a file for all, the first of the parts that is there."""
    together = files.get(TOGETHER)
    inside = together if isinstance(together, dict) else {}
    places = [*(files.get(name) for name in SETTINGS), *(inside.get(part) for part in parts)]
    found = next((place for place in places if place is not None), None)
    return found if isinstance(found, dict) else None


def check_normal(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """Refuse what no pixel can be normalised by."""
    if len(mean) != 3 or len(std) != 3 or not all(std):
        raise ValueError("image_mean and image_std must be three numbers each, the latter not 0")
