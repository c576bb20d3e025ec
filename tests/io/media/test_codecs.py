"""Decoders: what a GPU hands over is cut as anything else; where there is none, that is said.

Encoders leave the machine to others, too.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from av.codec.hwaccel import HWAccel
from cutting_room import QUICK, frames_of, planned_at, video_of

from finecut.io.media import codecs
from finecut.io.media.codecs import GREY, NVDEC, SOFTWARE, DecoderMissing, require_decoder
from finecut.io.media.cutting import Recipe, cut
from finecut.io.media.frame_view import plane
from finecut.io.media.testfilm.paint import Painting, paint
from finecut.pipeline.choices import cutting as choices
from finecut.pipeline.cli.command import main
from finecut.pipeline.commands.curate import Describe
from finecut.pipeline.options import OptionError, Options
from finecut.pipeline.planning import plan


def why_none() -> str | None:
    try:
        require_decoder(NVDEC)
    except DecoderMissing as error:
        return str(error)
    return None


WHY_NONE = why_none()
only_without = pytest.mark.skipif(WHY_NONE is None, reason="here is a GPU that decodes")
only_with = pytest.mark.skipif(WHY_NONE is not None, reason="here is no GPU that decodes")


def test_the_choices_are_the_decoders_there_are() -> None:
    assert choices.DECODERS == codecs.DECODERS
    require_decoder(SOFTWARE)
    assert codecs.hardware(SOFTWARE) is None


def test_the_picture_that_is_tried_comes_back_as_it_was() -> None:
    grey = plane(codecs._decoded(None), 0)
    assert (int(grey.min()), int(grey.max())) == (GREY, GREY)


def test_what_was_decoded_here_after_all_proves_nothing() -> None:
    with pytest.raises(RuntimeError, match="built without CUDA"):
        codecs._decoded(HWAccel("videotoolbox"))


@only_without
def test_without_a_gpu_it_says_what_is_missing() -> None:
    assert WHY_NONE is not None
    assert "'nvdec' cannot be used: it does not start here" in WHY_NONE
    assert "Leave --decoder out" in WHY_NONE


@only_without
def test_without_a_gpu_nothing_is_begun(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paint(tmp_path / "film.mp4", seconds=1, width=160, height=90)
    told = ["curate", "--input", str(tmp_path), "--output", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as ended:
        main([*told, "--decoder", NVDEC, "--no-generate-embeddings"])
    assert ended.value.code == 2
    assert "decoder 'nvdec' cannot be used" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def options(**changes: Any) -> Options:
    given: dict[str, Any] = {"runner": "DataflowRunner", "decoder": NVDEC}
    return Options(input=("gs://films",), output="gs://out", **given | changes)


def test_a_cluster_is_asked_for_what_decodes() -> None:
    place = plan(options()).placing
    assert (place.steps["cut"].nvdecs, place.steps["cut"].nvencs) == (1, 0)
    assert place.worker.needs_gpu
    assert plan(options(encoder="h264_nvenc")).placing.steps["cut"].nvencs == 1
    assert not plan(options(decoder=SOFTWARE)).placing.worker.needs_gpu


def test_it_can_be_asked_for_more_only_where_it_is_used() -> None:
    more = ("cut:nvdecs=2",)
    assert plan(options(resources=more)).placing.steps["cut"].nvdecs == 2
    for refused in (
        options(resources=more, decoder=SOFTWARE),
        options(resources=("split:nvdecs=1",)),
    ):
        with pytest.raises(OptionError, match="only the step cut decodes on a GPU"):
            plan(refused)


@pytest.mark.parametrize(
    ("changes", "name"),
    [({}, "nvdecs"), ({"decoder": SOFTWARE, "encoder": "h264_nvenc"}, "nvencs")],
)
def test_other_resources_do_not_take_the_gpu_away(changes: dict[str, Any], name: str) -> None:
    with pytest.raises(OptionError, match=f"cut:cpus=4 asks for no GPU.*add {name}=1"):
        plan(options(resources=("cut:cpus=4",), **changes))
    place = plan(options(resources=(f"cut:cpus=4,{name}=2",), **changes)).placing
    assert getattr(place.steps["cut"], name) == 2


@pytest.mark.parametrize("how", ["copy", "smart"])
def test_what_is_not_decoded_needs_no_gpu(how: str) -> None:
    with pytest.raises(OptionError, match=f"--transcode {how} decodes almost nothing"):
        options(transcode=how).check()


def test_describe_says_who_decodes(tmp_path: Path) -> None:
    paint(tmp_path / "film.mp4", seconds=1, width=160, height=90)
    here = Options(input=(str(tmp_path),), output=str(tmp_path / "out"))
    assert "1 decode by nvdec, libx264" in Describe(replace(here, decoder=NVDEC)).run()
    assert "1 decode, libx264" in Describe(here).run()


def stored_as(form: str, painting: Painting, path: Path) -> Painting:
    """The same pictures, as they lie in memory."""
    with av.open(str(path), "w") as copy:
        out = copy.add_stream("rawvideo", rate=30)
        assert isinstance(out, av.VideoStream)
        out.width, out.height, out.pix_fmt = painting.width, painting.height, form
        for number, frame in enumerate(frames_of(Path(painting.path))):
            picture = frame.reformat(format=form)
            picture.pts, picture.time_base = number, Fraction(1, 30)
            copy.mux(out.encode(picture))
        copy.mux(out.encode(None))
    return replace(painting, path=str(path))


def test_pictures_as_a_gpu_fetches_them_make_the_same_clips(tmp_path: Path) -> None:
    """Colours in one plane instead of two; the clip has them as all others do."""
    painting = paint(tmp_path / "film.mp4", seconds=2, rate=30, width=320, height=180)
    made = {}
    for form in ("yuv420p", "nv12"):
        film = stored_as(form, painting, tmp_path / f"{form}.avi")
        video = video_of(film)
        assert video.pixel_format == form, "the film proves nothing"
        folder = tmp_path / form
        folder.mkdir()
        [result] = cut(str(film.path), video, planned_at((0.5, 1.5)), Recipe(folder, QUICK))
        assert result.path is not None
        made[form] = result.path.read_bytes()
    assert made["nv12"] == made["yuv420p"]


@only_with
@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx-vp9", "libsvtav1"])
def test_a_gpu_makes_the_same_clips(codec: str, tmp_path: Path) -> None:
    """These leave nothing open; what a GPU does not know the processor decodes."""
    size: dict[str, Any] = {"width": 640, "height": 360}
    painting = paint(tmp_path / "film.mp4", seconds=4, rate=30, codec=codec, **size)
    made = {}
    for decoder in (SOFTWARE, NVDEC):
        folder = tmp_path / decoder
        folder.mkdir()
        results = cut(
            str(painting.path),
            video_of(painting),
            planned_at((0.5, 1.5), (1.0, 3.5)),
            Recipe(folder, QUICK, decoder=decoder),
        )
        made[decoder] = [result.path.read_bytes() for result in results if result.path]
    assert len(made[NVDEC]) == 2
    assert made[NVDEC] == made[SOFTWARE]


# ── the priority of threads ──────────────────────────────────────────────────────────────────────


PLAIN = "context.open()"
#: Each is asked in a process of its own: SVT-AV1 finds out once in each what it may.
WAYS = {
    "opened": "opened(context)",
    "again": "opened(context); context = made(); opened(context)",
    "tried": "assert why_unusable(Encoding('libsvtav1')) is None",
    "painted": "paint(path, codec='libsvtav1', width=64, height=64, rate=10, seconds=1)",
    "cut": """
with ThreadPoolExecutor(1) as pool:
    pool.submit(written).result()
    here = policies()
""",
}
ASKED = """
import os
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
import av
from finecut.io.media.clip_file import ClipWriter
from finecut.io.media.codecs import Encoding, PictureFormat, configure, why_unusable
from finecut.io.media.testfilm.paint import paint
from finecut.io.media.codecs import opened

FORM = PictureFormat(64, 64, Fraction(10), Fraction(1, 10))

def made():
    context = av.CodecContext.create("libsvtav1", "w")
    configure(context, Encoding("libsvtav1"), FORM)
    return context

def written():
    writer = ClipWriter(
        Path(path), Encoding("libsvtav1"), FORM, None, span=(Fraction(0), Fraction(1))
    )
    writer.show(av.VideoFrame(64, 64, "yuv420p"), Fraction(0))

def policies():
    return {os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task")}

path, here = PATH, set()
context = made()
WAY
print(os.SCHED_FIFO in here | policies())
"""


def is_real_time(way: str, tmp_path: Path) -> bool:
    """Whether any thread of a process is a real-time thread after that."""
    program = ASKED.replace("WAY", way).replace("PATH", repr(str(tmp_path / "film.mp4")))
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    return {"True": True, "False": False}[done.stdout.strip()]


@pytest.mark.skipif(not hasattr(os, "SCHED_FIFO"), reason="only Linux says how it schedules")
def test_no_thread_of_an_encoder_is_a_real_time_thread(tmp_path: Path) -> None:
    if not is_real_time(PLAIN, tmp_path):
        pytest.skip("SVT-AV1 may not make real-time threads here: that takes root")
    for name, way in WAYS.items():
        assert not is_real_time(way, tmp_path), name


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="only Linux says how it schedules")
def test_who_is_to_have_less_than_others_keeps_less(tmp_path: Path) -> None:
    """Where a program is run with ``chrt --batch``."""
    way = """
os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
opened(context)
assert policies() == {os.SCHED_BATCH}, policies()
"""
    assert not is_real_time(way, tmp_path)
