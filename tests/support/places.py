"""Where the repository lies, and the folder of real films that may lie beside it."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BESIDE = ROOT.parent / "shared"
SHARED = Path(os.environ.get("FINECUT_SHARED") or BESIDE)
