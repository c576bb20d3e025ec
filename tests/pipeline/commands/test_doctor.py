"""``finecut doctor`` tries things for real, and says what to fix."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from finecut.pipeline.cli.command import main


def doctor(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, str]]:
    """The exit code, and what was found of each thing that was tried."""
    code = main(["doctor", *map(str, arguments)])
    shown = capsys.readouterr()
    assert not shown.err
    found = re.findall(r"^  (ok  |FAIL)  (.{20}) (.*)$", shown.out, re.MULTILINE)
    return code, {what.strip(): f"{state.strip()} {said}" for state, what, said in found} | {
        "all": shown.out
    }


def test_a_sound_machine_is_found_sound(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, found = doctor(capsys, "--output", tmp_path / "out")
    assert code == 0
    assert found["all"].endswith("Everything works.\n")
    kinds = ("H.264", "HEVC", "VP9", "AV1", "MPEG-4", "ProRes", "MJPEG")
    assert all(found[f"decode {kind}"] == "ok 10 frames" for kind in kinds)
    assert found["cut one clip"].startswith("ok 90 frames of h264")
    assert "2560-dimensional vector" in found["all"]
    assert found["write"].startswith("ok")
    for package in ("apache-beam", "av", "onnxruntime", "vllm"):
        assert re.search(rf"^  {package} +\S", found["all"], re.MULTILINE)
    # Nothing is left behind, and neither input nor output is needed.
    assert not (tmp_path / "out").exists()
    assert doctor(capsys, "--no-generate-embeddings")[0] == 0


def test_what_does_not_work_is_named_with_what_to_do(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    code, found = doctor(capsys, "--encoder", "libopenh264", "--output", blocked / "out")
    assert code == 1
    assert "FAIL encoder 'libopenh264'" in found["encode libopenh264"]
    assert "Encoders that work here" in found["encode libopenh264"]
    assert found["write"].startswith("FAIL")
    assert "encode libopenh264, cut one clip, write" in found["all"]
    # Models are tried all the same.
    assert found["cut with libx264"].startswith("ok")
    assert re.search(r"ok    embed efficientnet-lite0", found["all"])
    assert "checks failed" in found["all"]


def test_a_model_that_is_not_there_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("transformers")
    folder = tmp_path / "captioner"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "qwen2_5_vl"}')
    code, found = doctor(
        capsys, "--no-generate-embeddings", "--generate-captions", "--captioning-algorithm", folder
    )
    assert code == 1
    assert "model.safetensors is missing" in found["caption captioner"]


def test_what_cannot_be_planned_is_one_finding_of_many(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["--embedding-algorithm", tmp_path / "none", "--output", tmp_path / "out"]
    code, found = doctor(capsys, *arguments)
    assert code == 1
    assert "there is no folder" in found["plan"]
    assert found["encode libx264"] == "ok works"
    assert found["write"].startswith("ok")
    assert "1 check failed: plan" in found["all"]


def test_models_are_asked_about_a_clip(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from tiny_models import tiny_llm, tiny_qwen25_vl

    tiny_qwen25_vl(tmp_path / "Qwen/Qwen2.5-VL-7B-Instruct")
    tiny_llm(tmp_path / "Qwen/Qwen2.5-14B-Instruct")
    code, found = doctor(
        capsys,
        *("--generate-captions", "--enhance-captions", "--model-dir", tmp_path),
        *("--captioning-side", 56, "--captioning-max-output-tokens", 8),
    )
    assert code == 0, found["all"]
    assert re.match(r"ok '.+'; loaded in", found["caption qwen2.5"])
    assert re.match(r"ok '.+'; loaded in", found["enhance qwen_lm"])


def test_a_mistake_in_the_options_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["doctor", "--captioning-side", "90"])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert "does nothing without --generate-captions" in said
    assert said.count("\n") == 1
