"""The options that the steps for text and for unsafe content share."""

from __future__ import annotations

from dataclasses import dataclass

from finecut.transforms.option import MODELS, rate_option


@dataclass(frozen=True, kw_only=True)
class ScreenOptions:
    screen_target_fps: float = rate_option(
        1.0, MODELS, "Frames per second that are checked for text and unsafe content."
    )
