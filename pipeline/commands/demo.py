"""``finecut demo``: three painted films, curated for real, and a word on where to look."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from finecut.io.media.testfilm.demo import demo_films
from finecut.pipeline.cli.final_words import final_words, problems
from finecut.pipeline.options import Options
from finecut.pipeline.running import run

#: Says that what lies beside it was made by the demo, and may be replaced by the next one.
MARK = ".finecut-demo"


def demo(folder: str) -> int:
    """Paint ``folder/films``, curate them into ``folder/output``; the exit code."""
    root = Path(folder).absolute()
    films, output = root / "films", root / "output"
    mark = root / MARK
    if (films.exists() or output.exists()) and not mark.exists():
        sys.stderr.write(
            f"finecut demo: {root} has a folder 'films' or 'output' that the demo did not make and "
            "will not replace. Give another one: finecut demo --folder elsewhere\n"
        )
        return 2
    for made in (films, output):
        shutil.rmtree(made, ignore_errors=True)
    films.mkdir(parents=True)
    mark.touch()
    _say(f"painting three films into {films}")
    for painting in demo_films(films):
        cuts = ", ".join(f"{cut:g}" for cut in painting.cuts)
        _say(
            f"  {Path(painting.path).name:<16} {painting.width}x{painting.height} at "
            f"{float(painting.rate):g} fps, {float(painting.duration):.1f} s, {painting.codec} + "
            f"{painting.sound}, cuts at {cuts} s"
        )
    options = Options(
        input=(str(films),),
        output=str(output),
        splitting_algorithm="content",
        min_clip_length=1.0,
        crop=0.1,
        motion_filter="enable",
        quality_filter="enable",
        generate_previews=True,
        preview_target_fps=4.0,
    )
    _say(
        f"\nfinecut curate --input {films} --output {output} --splitting-algorithm content \\\n"
        "    --min-clip-length 1 --crop 0.1 --motion-filter enable --quality-filter enable \\\n"
        "    --generate-previews --preview-target-fps 4\n"
    )
    ran = run(options, progress=True)
    _say("\n" + final_words(options, ran.summary, ran.seconds, "", report=ran.report))
    _say("\n".join(["", "written:", *_written(output)]))
    wrong = problems(options, ran.summary)
    for sentence in wrong:
        sys.stderr.write(f"finecut: {sentence}\n")
    return 1 if wrong else 0


def _written(output: Path) -> list[str]:
    """One line for each folder: how much is in it, and one example."""
    lines = []
    for folder in sorted(output.iterdir()):
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        size = sum(path.stat().st_size for path in files)
        example = files[0].relative_to(folder)
        lines.append(
            f"  {folder.name + '/':<33}{len(files):>3} files {size / 1000:>8.1f} KB   {example}"
        )
    return lines


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
