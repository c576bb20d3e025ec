"""The same films curated twice at the same place: as files, and packed.

What is written names the place, so one after the other lies there, and is then moved away.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

from performing import performed

from finecut.io.media.testfilm.paint import Scene, paint
from finecut.pipeline.commands.unpack import UnpackOptions
from finecut.pipeline.options import Options
from finecut.pipeline.running import Ran, run

#: What a run tells of itself: when, how long, and by which options.
TOLD: Final = ("runs/", "report/")
USUAL: Final[dict[str, Any]] = {
    "clip_length": 1.0,
    "min_clip_length": 1.0,
    "chunk_seconds": 2,
    "keep": ("motion>0.005",),
    "no_report": True,
    "workers": 2,
}


class Both(NamedTuple):
    """Two datasets of the same films."""

    films: Path
    #: Where both were made: nothing lies there now.
    made: Path
    files: Path
    packed: Path


def painted(folder: Path) -> Path:
    """Five clips in three chunks, one that is rejected, and a video too short for any."""
    folder.mkdir(parents=True)
    moving = Scene(velocity=(60.0, 40.0), pan=40.0)
    paint(folder / "long.mp4", width=160, height=90, rate=10, seconds=5, scenes=[moving])
    paint(folder / "still.mp4", width=160, height=90, rate=10, seconds=1)
    paint(folder / "short.mp4", width=160, height=90, rate=10, seconds=0.3)
    return folder


def curate(films: Path, output: Path, **chosen: Any) -> Ran:
    ran = run(Options(input=(str(films),), output=str(output), **USUAL | chosen))
    assert not ran.summary.imbalances()
    return ran


def both(folder: Path, **chosen: Any) -> Both:
    films, made = painted(folder / "films"), folder / "dataset"
    for name, layout in (("files", None), ("packed", "packed")):
        curate(films, made, layout=layout, **chosen)
        made.rename(folder / name)
    return Both(films, made, folder / "files", folder / "packed")


def unpacked(packed: Path, output: Path) -> Path:
    options = UnpackOptions(dataset=str(packed), output=str(output), quiet=True, workers=2)
    assert performed(options.check()) == 0
    return output


def tree(root: Path) -> dict[str, bytes]:
    """Every file that is there to stay."""
    found = {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }
    return {name: data for name, data in found.items() if not name.startswith(TOLD)}
