"""``--profile`` says where the time of a run went."""

from __future__ import annotations

import re
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from finecut.io.media.testfilm.paint import paint
from finecut.pipeline.options import OptionError, Options
from finecut.pipeline.profiling import (
    BEAM,
    ELSEWHERE,
    NATIVE,
    Profile,
    Profiler,
    collapsed,
    flame,
    module_of,
    step_of,
    steps_table,
)
from finecut.pipeline.running import run

SVG = "{http://www.w3.org/2000/svg}"

SEEN = Profile(
    {
        ("threading:run", BEAM, "finecut.transforms.cut.clips:process", "av.codec:<decode>"): 3.0,
        (
            "threading:run",
            BEAM,
            "finecut.transforms.cut.clips:process",
            "finecut.io.media.frames.contact_sheet:f",
        ): 1.0,
        (
            "threading:run",
            BEAM,
            "finecut.transforms.embed.clips:run",
            "finecut.transforms.beam.guard:g",
        ): 2.0,
        ("threading:run", BEAM): 0.5,
        (NATIVE,): 3.5,
    },
    wall=6.0,
    held={"finecut.transforms.cut.clips": 4_000_000, "apache_beam.pipeline": 1_000_000},
    peak_mb=300.0,
)


def test_a_stack_belongs_to_the_innermost_step() -> None:
    assert [step_of(stack) for stack in SEEN.seconds] == ["cut", "cut", "embed", BEAM, NATIVE]
    assert step_of(("somewhere:f",)) == ELSEWHERE
    assert module_of(str(Path(__file__))).endswith("test_profiling")


def test_the_table_adds_up() -> None:
    table = steps_table(SEEN)
    assert table.startswith("10.00 s of processor time in 6.00 s (1.67 cores busy), peak 300 MB")
    rows = dict(re.findall(r"^(\S.*?)\s{2,}(\d+\.\d\d) +\d+\.\d%$", table, re.MULTILINE))
    assert rows == {"cut": "4.00", NATIVE: "3.50", "embed": "2.00", BEAM: "0.50"}
    assert re.search(r"^cut +4\.00$", table, re.MULTILINE)


def test_lines_for_other_programs_have_milliseconds() -> None:
    lines = collapsed(SEEN).splitlines()
    assert len(lines) == len(SEEN.seconds)
    assert sum(int(line.rpartition(" ")[2]) for line in lines) == 10_000


def test_the_picture_is_as_wide_as_the_time() -> None:
    root = ET.fromstring(flame(SEEN, width=1000))
    widths = {
        box.findtext(f"{SVG}title", "").partition(": ")[0]: float(
            box.find(f"{SVG}rect").attrib["width"]  # type: ignore[union-attr]
        )
        for box in root.iter(f"{SVG}g")
    }
    # Names are text: one with signs of markup in it breaks nothing.
    assert widths["av.codec:<decode>"] == pytest.approx(300, abs=1)
    assert widths["finecut.transforms.cut.clips:process"] == pytest.approx(400, abs=1)
    assert widths[NATIVE] == pytest.approx(350, abs=1)


def busy() -> None:
    until = time.thread_time() + 0.8
    while time.thread_time() < until:
        sum(range(1000))


def seen_of_busy() -> float:
    """Seconds that a profiler says ``busy`` took."""
    with Profiler() as profiler:
        busy()
        seen = profiler.profile()
    return sum(used for stack, used in seen.seconds.items() if any(":busy" in s for s in stack))


def test_time_goes_to_who_uses_it() -> None:
    # The last look is a while ago where many others want to be looked at, so not every try counts.
    seen: list[float] = []
    while not seen or (seen[-1] <= 0.4 and len(seen) < 5):
        seen.append(seen_of_busy())
    assert 0.4 < seen[-1] < 0.9, seen


def test_what_is_held_is_weighed_at_the_end() -> None:
    held = []
    with Profiler() as profiler:
        held.append(np.zeros(20_000_000, np.uint8))
    assert sum(profiler.profile().held.values()) > 20_000_000


def test_a_run_is_profiled(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    # Large, so that cutting it takes as long as hundreds of looks at the stacks.
    quick = {"preset": "ultrafast"}
    film = tmp_path / "films" / "a.mp4"
    paint(film, width=1280, height=720, rate=15, seconds=6, codec_options=quick)
    options = Options(
        (str(tmp_path / "films"),),
        output=str(tmp_path / "out"),
        clip_length=3.0,
        no_generate_embeddings=True,
        profile=True,
    )
    ran = run(options)
    assert ran.path is not None
    folder = Path(ran.path).parent / "profile"
    assert {path.name for path in folder.iterdir()} == {"steps.txt", "stacks.txt", "flame.svg"}
    table = (folder / "steps.txt").read_text(encoding="utf-8")
    assert re.search(r"^cut +\d", table, re.MULTILINE)
    assert NATIVE in table
    ET.parse(folder / "flame.svg")


def test_what_is_done_elsewhere_cannot_be_profiled() -> None:
    with pytest.raises(OptionError, match="--runner works elsewhere"):
        Options(("f",), output="o", profile=True, runner="FlinkRunner").check()
