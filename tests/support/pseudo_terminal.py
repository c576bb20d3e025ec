"""What a terminal is sent while the command runs."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

COMMAND = (
    sys.executable,
    "-m",
    "finecut.pipeline.cli.command",
    "curate",
    "--no-generate-embeddings",
)


def recorded(films: Path, output: Path, *more: str, columns: int = 100) -> tuple[int, str]:
    """The exit code, and everything a terminal of so many columns was sent."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [*COMMAND, "--input", str(films), "--output", str(output), *more]
    surroundings = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    child = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=surroundings, close_fds=True
    )
    os.close(theirs)
    parts = []
    while True:
        try:
            part = os.read(ours, 1 << 16)
        except OSError:  # how Linux says that nobody has the other end any more
            break
        if not part:
            break
        parts.append(part)
    os.close(ours)
    return child.wait(), b"".join(parts).decode()
