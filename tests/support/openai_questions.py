"""What a server of models is asked, and answers that follow from it and so can be checked."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True)
class Seen:
    """One request."""

    path: str
    headers: Mapping[str, str]
    act: str
    model: str = ""
    system: str = ""
    text: str = ""
    #: Red, green and blue of each picture, on the mean.
    colours: tuple[tuple[float, float, float], ...] = ()
    #: Width and height of each.
    sizes: tuple[tuple[int, int], ...] = ()
    body: Mapping[str, Any] = field(default_factory=dict)


def said_of(seen: Seen) -> str:
    """What a captioner says."""
    if not seen.colours:
        return f"more than {seen.text}"
    mean = [round(sum(channel) / len(seen.colours)) for channel in zip(*seen.colours, strict=True)]
    colour = "".join(f"{value:02x}" for value in mean)
    return f"a picture of mean colour #{colour}, {len(seen.colours)} frames: {seen.text}"


def colour_in(text: str) -> tuple[int, int, int]:
    """The colour that a caption names."""
    found = re.search(r"#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})\b", text)
    assert found is not None, f"no colour in {text!r}"
    red, green, blue = (int(part, 16) for part in found.groups())
    return red, green, blue


def vector_of(colours: Sequence[tuple[float, float, float]], dimension: int) -> NDArray[np.float32]:
    """What an embedder says: colour, number of pictures, and waves of both."""
    mean = [sum(channel) / len(colours) / 255 for channel in zip(*colours, strict=True)]
    begins = [*(mean or [0.0, 0.0, 0.0]), float(len(colours))]
    waves = [math.sin(place * sum(begins)) for place in range(dimension)]
    return np.array([*begins, *waves][:dimension], np.float32)


def question_in(path: str, headers: dict[str, str], act: str, body: dict[str, Any]) -> Seen:
    """A request, its pictures decoded and let go."""
    system, texts, pictures = "", [], []
    for message in body.get("messages", []):
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if message["role"] == "system":
            system += "".join(part["text"] for part in parts)
            continue
        assert message["role"] == "user", message["role"]
        texts += [part["text"] for part in parts if part["type"] == "text"]
        pictures += [_picture(part) for part in parts if part["type"] == "image_url"]
    return Seen(
        path=path,
        headers=headers,
        act=act,
        model=body.get("model", ""),
        system=system,
        text=" ".join(texts),
        colours=tuple(tuple(picture.mean((0, 1)).tolist()) for picture in pictures),
        sizes=tuple((picture.shape[1], picture.shape[0]) for picture in pictures),
        body={name: value for name, value in body.items() if name != "messages"},
    )


def _picture(part: Mapping[str, Any]) -> NDArray[np.uint8]:
    kind, _, coded = part["image_url"]["url"].partition(",")
    assert kind == "data:image/jpeg;base64", kind
    with Image.open(io.BytesIO(base64.b64decode(coded, validate=True))) as image:
        assert image.format == "JPEG", image.format
        return np.asarray(image.convert("RGB"))
