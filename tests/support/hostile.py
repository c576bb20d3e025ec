"""Files made to hurt: all cases, and what becomes of each.

``write_all(folder)`` writes one file for each case. What is true of it afterwards:

    done     every planned clip exists, and nothing is said against it
    marked   every planned clip exists, and one at least says what is missing in it
    empty    it is a film, too short for a clip
    failed   it, or a part of it, became a failure; the message contains ``says``
    unseen   it is not taken for a video in the first place
"""

from __future__ import annotations

from pathlib import Path

from hostile_bytes import HOSTILE_BYTES
from hostile_content import HOSTILE_CONTENT
from hostile_making import Case, State, Studio

CASES: tuple[Case, ...] = (*HOSTILE_CONTENT, *HOSTILE_BYTES)

#: The broken films that are shared beside the repository, and what becomes of them.
BAD_FILMS: dict[str, tuple[str, State]] = {
    "UPPER.MP4": ("a video with a suffix in capitals", "done"),
    "audio_only.mp4": ("sound only", "failed"),
    "corrupt_middle_h264.mp4": ("damaged in the middle", "marked"),
    "image_png_renamed.mp4": ("a PNG", "failed"),
    "odd_321x241_yuv444p.mp4": ("an odd size", "done"),
    "one_frame.mp4": ("one picture", "empty"),
    "raw_annexb_renamed.mp4": ("H.264 without a container", "failed"),
    "rotation_270.mp4": ("rotated", "done"),
    "rotation_garbage_matrix.mp4": ("rotated by 45 degrees", "done"),
    "short_0.2s.mp4": ("a fifth of a second", "empty"),
    "text_renamed.mp4": ("a text", "failed"),
    "truncated_moov_first.mp4": ("cut off", "failed"),
    "truncated_no_moov.mp4": ("cut off before its index", "failed"),
    "zero_byte.mp4": ("no byte", "failed"),
}


def write_all(folder: Path, studio: Studio) -> None:
    """One file for each case."""
    folder.mkdir(parents=True, exist_ok=True)
    for case in CASES:
        case.write(folder / case.name, studio)


def table() -> str:
    """What becomes of each case and of each broken film, as Markdown."""
    rows = [
        f"| `{case.name.replace('|', chr(92) + '|')}` | {case.what} | {case.state} |"
        for case in CASES
    ]
    rows += [f"| `bad/{name}` | {what} | {state} |" for name, (what, state) in BAD_FILMS.items()]
    return "\n".join(["| case | what | state |", "| --- | --- | --- |", *rows])
