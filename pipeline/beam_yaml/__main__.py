"""``python -m finecut.pipeline.beam_yaml``: where the listing of steps lies."""

from __future__ import annotations

import sys

from finecut.pipeline.beam_yaml import listing

if __name__ == "__main__":
    sys.stdout.write(f"{listing()}\n")
