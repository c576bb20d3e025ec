"""Nothing is wrong with what curation writes, whatever it was given."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import pytest
from hostile import write_all
from hostile_making import Studio
from performing import verify

from finecut.io.media.remux.copying import COPIED, SPLICED
from finecut.io.media.validate import Watched
from finecut.pipeline.commands.verify import VerifyOptions
from finecut.pipeline.options import Options
from finecut.pipeline.running import run
from finecut.transforms.verify.checks.clips import wrong_with
from finecut.transforms.verify.checks.decoding import Found
from finecut.transforms.verify.checks.findings import KINDS, KindName

pytestmark = pytest.mark.xdist_group("hostile")

BESIDE: Final = Path(__file__).parents[2] / "shared"
SHARED: Final = Path(os.environ.get("FINECUT_SHARED", BESIDE)) / "videos"
SETTINGS: Final[dict[str, dict[str, Any]]] = {
    "fixed stride": {"clip_length": 1.0},
    "content": {"splitting_algorithm": "content"},
    "copy": {"clip_length": 1.0, "transcode": "copy"},
    "smart": {"clip_length": 1.0, "transcode": "smart"},
}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("everything")
    write_all(home / "films", Studio(home / "studio"))
    return home / "films"


@pytest.mark.slow
@pytest.mark.parametrize("where", ["hostile", "shared"])
@pytest.mark.parametrize("settings", SETTINGS)
def test_verify_finds_nothing_in_what_curation_wrote(
    settings: str, where: str, hostile: Path, tmp_path: Path
) -> None:
    films = {"hostile": hostile, "shared": SHARED}[where]
    if not films.is_dir():
        pytest.skip(f"there is no {films}")
    usual: dict[str, Any] = {
        "input": (str(films),),
        "output": str(tmp_path / "out"),
        "min_clip_length": 0.1,
        "preset": "ultrafast",
        "workers": 2,
        "no_generate_embeddings": True,
        "no_report": True,
    }
    summary = run(Options(**usual, **SETTINGS[settings])).summary
    assert summary.imbalances() == []
    verified = verify(VerifyOptions(dataset=usual["output"], workers=2).check())
    assert [finding.line for finding in verified.wrong] == []
    # Videos that failed in part are still open, and not looked at.
    assert 20 < verified.checked["clips decoded"] <= summary.shots_kept


DIGEST: Final = "d" * 64


def document(**others: Any) -> dict[str, Any]:
    said = {"width": 64, "height": 36, "framerate": 10.0, "num_frames": 10}
    return {**said, "video_codec": "h264", "num_bytes": 99, "sha256": DIGEST, **others}


@pytest.mark.parametrize(
    ("said", "sha256", "kind"),
    [
        (document(transcode=COPIED), DIGEST, "film-damaged"),
        (document(transcode=SPLICED), DIGEST, "film-damaged"),
        (document(transcode=COPIED), "e" * 64, "clip-changed"),
        (document(transcode="encoded"), DIGEST, "clip-broken"),
        (document(), DIGEST, "clip-broken"),
    ],
)
def test_damage_that_was_copied_is_the_films(
    said: dict[str, Any], sha256: str, kind: KindName
) -> None:
    """Nobody decodes what is copied; with the right digest it is what was written."""
    watched = Watched(64, 36, 10.0, 8, "h264", damaged=2, damaged_sound=0)
    [(found, wrong, _)] = wrong_with(Found(99, sha256, watched), said)
    assert found == kind
    assert "damaged 2 frames" in wrong
    assert KINDS[kind].wrong is (kind != "film-damaged")


def test_a_copy_that_nothing_can_decode_is_broken() -> None:
    [(found, _, _)] = wrong_with(Found(99, DIGEST, None, "no frame"), document(transcode=COPIED))
    assert found == "clip-broken"
