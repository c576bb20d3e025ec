"""Decoders: what a GPU hands over is cut as anything else; where there is none, that is said."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from av.codec.hwaccel import HWAccel
from cutting_room import QUICK, frames_of, planned_at, video_of

from finecut.io.media.codecs import decoders
from finecut.io.media.codecs.decoders import NVDEC, SOFTWARE, DecoderMissing, require_decoder
from finecut.io.media.codecs.encoders import GREY
from finecut.io.media.cutting import Recipe, cut
from finecut.io.media.frame_view import plane
from finecut.io.media.testfilm.paint import Painting, paint
from finecut.pipeline.choices import cutting as choices
from finecut.pipeline.cli.command import main
from finecut.pipeline.commands.describe.work import describe
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
    assert choices.DECODERS == decoders.DECODERS
    require_decoder(SOFTWARE)
    assert decoders.hardware(SOFTWARE) is None


def test_the_picture_that_is_tried_comes_back_as_it_was() -> None:
    grey = plane(decoders._decoded(None), 0)
    assert (int(grey.min()), int(grey.max())) == (GREY, GREY)


def test_what_was_decoded_here_after_all_proves_nothing() -> None:
    with pytest.raises(RuntimeError, match="built without CUDA"):
        decoders._decoded(HWAccel("videotoolbox"))


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
    assert "1 decode by nvdec, libx264" in describe(replace(here, decoder=NVDEC))
    assert "1 decode, libx264" in describe(here)


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
