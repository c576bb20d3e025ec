"""NeMo Curator's own stages over a folder, run by a Python that has them: PEER=path/to/python.

    peer.py INPUT OUTPUT

Reading, fixed stride, transcoding, writing, one after the other in this process and without an
executor, which is the cheapest way to run them (the usual one starts a cluster of processes). The
encoder is VP9, the one for processors that its stage and every FFmpeg have. Needs ffmpeg and
ffprobe. finecut is not imported here.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

CLIPPING = "nemo_curator.stages.video.clipping.clip_extraction_stages"
READING = "nemo_curator.stages.video.io.video_reader"
WRITING = "nemo_curator.stages.video.io.clip_writer"


def main(source: str, output: str) -> None:
    clipping = importlib.import_module(CLIPPING)
    stages = [
        importlib.import_module(READING).VideoReaderStage(input_path=source),
        clipping.FixedStrideExtractorStage(
            clip_len_s=10.0, clip_stride_s=10.0, min_clip_length_s=2.0, limit_clips=0
        ),
        clipping.ClipTranscodingStage(encoder="libvpx-vp9"),
        importlib.import_module(WRITING).ClipWriterStage(
            output_path=output,
            input_path=source,
            upload_clips=True,
            dry_run=False,
            generate_embeddings=False,
            generate_previews=False,
            generate_captions=False,
        ),
    ]
    for stage in stages:
        stage.setup(None)
    group = importlib.import_module("nemo_curator.tasks").FileGroupTask
    for path in sorted(Path(source).iterdir()):
        tasks: list[Any] = [group(dataset_name="bench", data=[str(path)])]
        for stage in stages:
            tasks = [made for task in tasks for made in _made(stage, task)]
    if not any(Path(output).rglob("*.mp4")):
        sys.exit("NeMo Curator's stages ran and wrote no clip")


def _made(stage: Any, task: Any) -> list[Any]:
    """What a stage makes of a task: several, one, or none."""
    made = stage.process(task)
    return made if isinstance(made, list) else [made] if made is not None else []


if __name__ == "__main__":
    main(*sys.argv[1:])
