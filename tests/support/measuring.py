"""What is measured in the cut, as often as usual."""

from __future__ import annotations

from typing import Final

from finecut.transforms.steps.motion import Motion, MotionOptions
from finecut.transforms.steps.quality import Quality, QualityOptions

MOTION: Final = Motion(MotionOptions())
QUALITY: Final = Quality(QualityOptions())
