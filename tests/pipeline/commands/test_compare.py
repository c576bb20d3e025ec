"""``finecut compare``: what differs is what was changed, and nothing else."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM
from curated import Curated, curated, say, without_catalogue
from golden import GOLDEN

from finecut.pipeline.cli.command import main


@pytest.fixture
def dataset(tmp_path: Path) -> Curated:
    return curated(tmp_path)


@pytest.fixture
def other(dataset: Curated, tmp_path: Path) -> Curated:
    root = Path(shutil.copytree(dataset.root, tmp_path / "moved" / "elsewhere"))
    return Curated(root, dataset.films)


def compared(a: Path, b: Path, tmp_path: Path, *more: str) -> tuple[int, dict[str, Any]]:
    told = tmp_path / "told.json"
    code = main(["compare", str(a), str(b), "--quiet", "--json", str(told), *more])
    return code, json.loads(told.read_text())


def test_an_output_is_the_same_as_itself_moved_and_without_a_catalogue(
    dataset: Curated, other: Curated, tmp_path: Path
) -> None:
    for there in (dataset.root, other.root, without_catalogue(other.root)):
        code, told = compared(dataset.root, there, tmp_path)
        assert (code, told["same"], told["changed"]) == (0, True, {})
        assert (told["clips"]["matched_by_id"], told["clips"]["a"]) == (12, 12)
        vectors = told["vectors"]["efficientnet-lite0"]
        assert (vectors["compared"], vectors["equal"]) == (11, 11)


def test_exactly_what_was_planted_is_found(
    dataset: Curated, other: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, *_ = other.entries()
    [window] = first.document["windows"]
    say(other.root, first.id, windows=[window | {"qwen_caption": "a boat"}])
    motion = second.document["motion_score"]
    moved = motion | {"global_mean": motion["global_mean"] + 0.25}
    say(other.root, second.id, motion_score=moved)
    code, told = compared(dataset.root, other.root, tmp_path)
    assert code == 1
    assert [*told["changed"]] == ["captions"]
    [example] = told["changed"]["captions"]["examples"]
    assert (example["id"], example["b"][0][0][1]) == (first.id, "a boat")
    differs = {name: each for name, each in told["scores"].items() if each["differs"]}
    assert [*differs] == ["motion_global_mean"]
    [clip] = differs["motion_global_mean"]["differ_most"]
    assert (clip["id"], clip["difference"]) == (second.id, pytest.approx(0.25))
    words = capsys.readouterr().out
    assert "changed  captions of 1 clip\n" in words
    assert words.endswith("result   they differ\n")
    # What is tolerated or left out is no difference.
    assert compared(
        *(dataset.root, other.root, tmp_path),
        *("--tolerance", "motion_global_mean=0.3", "--ignore", "captions"),
    )[0] == 0  # fmt: skip


def test_a_clip_that_one_has_not(dataset: Curated, other: Curated, tmp_path: Path) -> None:
    without_catalogue(other.root)
    [chunk] = [path for path in other.output.chunks() if "still" in path]
    Path(chunk).unlink()
    code, told = compared(dataset.root, other.root, tmp_path)
    assert (code, told["clips"]["only_in_a"], told["clips"]["only_in_b"]) == (1, 1, 0)
    assert told["only_in_a"][0]["video"] == "still.mp4"


def test_two_that_cannot_be_compared(
    dataset: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def code_of(*words: str) -> int:
        try:
            return main(["compare", *words])
        except SystemExit as error:
            return int(str(error.code))

    assert code_of(str(dataset.root), str(tmp_path / "nowhere")) == 2
    assert "does not exist" in capsys.readouterr().err
    assert code_of(str(dataset.root)) == 2
    assert "OTHER" in capsys.readouterr().err
    assert code_of(str(dataset.root), str(dataset.root), "--tolerance", "motion") == 2
    assert "motion_global_mean=0.001" in capsys.readouterr().err
    root = without_catalogue(dataset.root)
    min((root / "metas" / "v0").iterdir()).write_text("{")
    assert code_of(str(root), str(root)) == 2
    assert "cannot be compared" in capsys.readouterr().err


def test_misspelt_names_are_said(
    dataset: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compared(
        *(dataset.root, dataset.root, tmp_path),
        *("--tolerance", "motion_globl_mean=1", "--ignore", "captoins"),
    )
    words = capsys.readouterr().err
    assert "did you mean motion_global_mean?" in words
    assert "did you mean captions?" in words


def test_the_page_is_one_file_and_asks_for_nothing(
    dataset: Curated, other: Curated, tmp_path: Path
) -> None:
    first = other.entries()[0]
    [window] = first.document["windows"]
    say(other.root, first.id, windows=[window | {"qwen_caption": "<script>alert(1)</script>"}])
    page = tmp_path / "compared.html"
    assert compared(dataset.root, other.root, tmp_path, "--html", str(page))[0] == 1
    text = page.read_text()
    assert "&lt;script&gt;" in text
    for word in ("<script", "http://", "https://", "src=", "url("):
        assert word not in text, word
    assert "They differ" in text


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="the reference's trees are not here")
def test_a_tree_of_the_reference(tmp_path: Path) -> None:
    full, basic = GOLDEN / "full_5s", GOLDEN / "basic_5s"
    assert compared(full, full, tmp_path)[0] == 0
    code, told = compared(basic, full, tmp_path)
    assert told["clips"]["a"] == 8
    assert code == 1


@pytest.mark.slow
def test_the_page_fits_a_phone_and_breaks_no_rule_of_accessibility(
    dataset: Curated, other: Curated, tmp_path: Path
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no chromium is installed here")
    say(other.root, other.entries()[0].id, width=10, exposure_score=0.25)
    page = tmp_path / "compared.html"
    compared(dataset.root, other.root, tmp_path, "--html", str(page))
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        asked: list[str] = []
        for colours in ("light", "dark"):
            context = browser.new_context(
                viewport={"width": 375, "height": 700}, color_scheme=colours, bypass_csp=True
            )
            shown = context.new_page()
            shown.on("request", lambda request: asked.append(request.url))
            shown.goto(page.as_uri())
            assert shown.text_content("h1") == "They differ"
            assert shown.evaluate("document.documentElement.scrollWidth") == 375
            assert {*asked} == {page.as_uri()}
            broken = [(each["id"], each["nodes"]) for each in axe.run(shown).response["violations"]]
            assert broken == []
        # As everybody opens it, its own style is let in.
        plain = browser.new_page()
        plain.goto(page.as_uri())
        assert plain.evaluate("getComputedStyle(document.querySelector('.mark')).height") == "13px"
        browser.close()
