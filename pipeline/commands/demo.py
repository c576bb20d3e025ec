"""``finecut demo``: three painted films, curated for real, and a word on where to look."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from finecut.io.wording import count_of
from finecut.pipeline.commands.base import Command, CommandOptions, Page
from finecut.pipeline.options import OptionError
from finecut.pipeline.options import Options as CurateOptions
from finecut.transforms.option import OUTPUT, option

if TYPE_CHECKING:
    from finecut.pipeline.running import Ran

#: Says that what lies beside it was made by the demo, and may be replaced by the next one.
MARK: Final = ".finecut-demo"


@dataclass(frozen=True)
class DemoOptions(CommandOptions):
    folder: str = option(
        "demo", OUTPUT, "The folder for the videos and the dataset.", metavar="FOLDER"
    )


class Demo(Command[DemoOptions, "Ran"]):
    name = "demo"
    page = Page(
        "Generate three short videos, curate them, and print where to find the result.",
        examples=(("in the folder demo/", "finecut demo"),),
        usage="[--folder FOLDER]",
    )
    Options = DemoOptions
    does = "finecut.pipeline.running:run"

    @property
    def root(self) -> Path:
        return Path(self.options.folder).absolute()

    @property
    def curation(self) -> CurateOptions:
        return CurateOptions(
            input=(str(self.root / "films"),),
            output=str(self.root / "output"),
            splitting_algorithm="content",
            min_clip_length=1.0,
            crop=0.1,
            motion_filter="enable",
            quality_filter="enable",
            generate_previews=True,
            preview_target_fps=4.0,
        )

    def work(self) -> Ran:
        from finecut.io.media.testfilm.paint import demo_films
        from finecut.pipeline.running import run

        films, output = self.root / "films", self.root / "output"
        self._make_room(films, output)
        self.say(f"generating three videos in {films}")
        for painting in demo_films(films):
            cuts = ", ".join(f"{cut:g}" for cut in painting.cuts)
            self.say(
                f"  {Path(painting.path).name:<16} {painting.width}x{painting.height} at "
                f"{float(painting.rate):g} fps, {float(painting.duration):.1f} s, "
                f"{painting.codec} + {painting.sound}, cuts at {cuts} s"
            )
        self.say(
            f"\nfinecut curate --input {films} --output {output} --splitting-algorithm content \\\n"
            "    --min-clip-length 1 --crop 0.1 --motion-filter enable --quality-filter enable \\\n"
            "    --generate-previews --preview-target-fps 4\n"
        )
        return run(self.curation, progress=True)

    def _make_room(self, *folders: Path) -> None:
        mark = self.root / MARK
        if any(map(Path.exists, folders)) and not mark.exists():
            raise OptionError(
                f"{self.root} has a folder 'films' or 'output' that the demo did not make and "
                "will not replace. Give another one: finecut demo --folder elsewhere"
            )
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        folders[0].mkdir(parents=True)
        mark.touch()

    def tell(self, result: Ran, _seconds: float) -> Iterator[str]:
        from finecut.pipeline.cli.final_words import final_words

        yield "\n" + final_words(
            self.curation, result.summary, result.seconds, report=result.report
        )
        yield from ("", "written:", *_written(self.root / "output"))

    def problems(self, result: Ran) -> Sequence[str]:
        from finecut.pipeline.cli.final_words import problems

        return problems(self.curation, result.summary)


def _written(output: Path) -> Iterator[str]:
    """One line for each folder: how much is in it, and one example."""
    for folder in sorted(output.iterdir()):
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        size = sum(path.stat().st_size for path in files)
        example = files[0].relative_to(folder)
        number = count_of(len(files), "file")
        yield f"  {folder.name + '/':<33}{number:>9} {size / 1000:>8.1f} KB   {example}"
