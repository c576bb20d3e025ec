"""Refiltering makes what curation with the new rules would have made, and says what it cannot."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from curated import without_catalogue
from faults import Runs, differences, staged
from faulty_store import FaultyStore
from hypothesis import given
from hypothesis import strategies as some
from performing import performed
from refiltering import HIGH, LOW, choices, curated, films, refiltered, scored, tree

from finecut.io.dataset.output import Entry, Output
from finecut.io.dataset.places import NoDataset
from finecut.io.layout import Layout
from finecut.io.media.testfilm.paint import paint
from finecut.io.process import children as child
from finecut.io.records import (
    Chunk,
    Clip,
    ClipFile,
    ModelUsed,
    PlannedClip,
    Source,
    Span,
    TextOutcome,
    Video,
    Window,
)
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.io.storage.staging import alive
from finecut.io.tables.drops import drops_table
from finecut.io.wording import in_bytes
from finecut.pipeline.commands.refilter import RefilterOptions
from finecut.pipeline.commands.refilter.work import words_for_curate
from finecut.pipeline.commands.verify import VerifyOptions
from finecut.pipeline.options import OptionError, Options
from finecut.pipeline.running import run
from finecut.transforms.catalogue.reading import slices
from finecut.transforms.embed.one_model import vector_key
from finecut.transforms.filter.clips import dropped, judged
from finecut.transforms.filter.rules import Rule
from finecut.transforms.option import DISABLE
from finecut.transforms.refilter.deciding import decide
from finecut.transforms.refilter.judging import (
    OutOfReach,
    Refiltering,
    judged_anew,
    missing,
)
from finecut.transforms.refilter.looking import Looking, list_down, look_at_slice, videos_of
from finecut.transforms.refilter.rewriting import (
    KEPT,
    Amount,
    Stage,
    Untouched,
    Yields,
    clip_rewritten,
    curve,
    merged,
)
from finecut.transforms.registry import FAMILIES
from finecut.transforms.registry import IN_CUT as MEASURED
from finecut.transforms.registry import ON_FRAMES as SEEN
from finecut.transforms.write.documents import clip_document, serialise
from finecut.transforms.write.writing import Writing

RICH: dict[str, Any] = {
    "no_generate_embeddings": False,
    "generate_previews": True,
    "preview_target_height": 54,
    "shard_prefix": True,
}


def last_run(output: Path) -> dict[str, Any]:
    """What the last refiltering said of itself."""
    told = [json.loads(path.read_bytes()) for path in output.glob("runs/*/summary.json")]
    [*_, last] = sorted(
        (one for one in told if one.get("command") == "refilter"), key=lambda one: one["started"]
    )
    return dict(last)


__all__ = ["films", "scored"]


@pytest.fixture
def copied(scored: Path, tmp_path: Path) -> Path:
    shutil.copytree(scored, tmp_path / "copied")
    return tmp_path / "copied"


# What comes of it.


@pytest.mark.slow
def test_tighter_is_what_curation_would_have_made_and_looser_is_left_to_it(
    films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With vectors, previews and folders of two letters: there and half the way back."""
    pytest.importorskip("onnxruntime")
    tight: dict[str, Any] = {"motion_filter": "enable", "motion_global_mean_threshold": HIGH}
    output, fresh = tmp_path / "output", tmp_path / "fresh"
    curated(films, output, **RICH)
    before = tree(output)
    assert refiltered(output) == 0
    assert differences(tree(output), before) == []
    assert refiltered(output, **tight) == 0
    curated(films, fresh, **RICH, **tight)
    assert differences(tree(output), before) != []
    assert differences(tree(output), tree(fresh)) == []
    assert curated(films, output, **RICH, **tight).videos_skipped == 3
    capsys.readouterr()

    assert refiltered(output, motion_global_mean_threshold=LOW) == 0
    said = capsys.readouterr().out
    assert (
        "b.mp4: 2 clips: would be kept under the new rules, but without vector and preview" in said
    )
    assert "finecut curate" in said
    # The short film has no clips, and the one that pans keeps those it had.
    loose = {**tight, "motion_global_mean_threshold": LOW}
    assert last_run(output)["videos"]["done"] == 2
    summary = curated(films, output, **RICH, **loose)
    assert (summary.videos_skipped, summary.videos_done) == (2, 1)
    curated(films, fresh, **RICH, **loose)
    assert differences(tree(output), tree(fresh)) == []
    assert staged(output) == []


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"keep": ("motion>0.0005", "motion_patch<0.005")}, id="rules"),
        pytest.param(
            {"motion_filter": "enable", "motion_global_mean_threshold": HIGH},
            marks=pytest.mark.slow,
            id="threshold",
        ),
        pytest.param({"keep": ("motion>9",)}, marks=pytest.mark.slow, id="nothing"),
    ],
)
def test_any_way_leads_to_what_curation_makes(
    given: dict[str, Any], films: Path, scored: Path, copied: Path, tmp_path: Path
) -> None:
    """By a detour, in a copy that lies elsewhere, and back again."""
    before = tree(copied, scored)
    assert refiltered(copied, motion_filter="enable", motion_global_mean_threshold=LOW) == 0
    assert refiltered(copied, **{"motion_filter": "score-only", **given}) == 0
    others = {"motion_filter": "score-only", **given}
    curated(films, tmp_path / "fresh", **others)
    assert differences(tree(copied, scored), tree(tmp_path / "fresh")) == []
    assert curated(films, copied, **others).videos_skipped == 3
    assert refiltered(copied, motion_filter="score-only", keep=("",)) == 0
    assert differences(tree(copied, scored), before) == []


def test_clips_on_a_list_are_dropped(
    films: Path, scored: Path, copied: Path, tmp_path: Path
) -> None:
    ids = sorted(path.stem for path in (scored / "clips").iterdir())[:2]
    drops = tmp_path / "drops.txt"
    drops.write_text("\n".join(ids), encoding="utf-8")
    before = tree(copied, scored)
    assert refiltered(copied, drop=(str(drops),)) == 0
    assert {path.stem for path in (copied / "filtered_clips").iterdir()} == {*ids}
    curated(films, tmp_path / "fresh", drop=(str(drops),))
    assert differences(tree(copied, scored), tree(tmp_path / "fresh")) == []
    drops.write_text(ids[0], encoding="utf-8")
    with pytest.raises(OptionError, match=r"its ids have changed since then: give --drop"):
        refiltered(copied, keep=("motion>0",))
    assert refiltered(copied, drop=("",)) == 0
    assert differences(tree(copied, scored), before) == []


def test_a_dry_run_tells_and_changes_nothing(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("*")}
    assert refiltered(copied, keep=(f"motion>={HIGH}",), dry_run=True) == 0
    said = capsys.readouterr().out
    size = re.escape(in_bytes(sum(p.stat().st_size for p in (copied / "clips").iterdir())))
    assert re.search(rf"^kept +5 clips 5\.0 s {size} +2 clips 2\.0 s \d", said, re.M)
    assert re.search(r"^motion>=0\.005 +0 clips 0\.0 s 0 B +3 clips 3\.0 s \d", said, re.M)
    assert "motion_global_mean>=X alone would keep 80% of clips with X=" in said
    assert {path: path.stat().st_mtime_ns for path in copied.rglob("*")} == before


def test_a_dry_run_reads_no_documents_of_clips_and_chunks(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules: dict[str, Any] = {"keep": (f"motion>={HIGH}",), "dry_run": True}
    assert refiltered(copied, **rules) == 0
    said = capsys.readouterr().out
    for folder in ("metas/v0", "processed_clip_chunks"):
        for path in (copied / folder).iterdir():
            path.write_text("{")
    assert refiltered(copied, **rules) == 0
    assert capsys.readouterr().out == said
    assert "5 found = 5 judged" in said


def test_it_does_not_matter_how_videos_are_divided(scored: Path, tmp_path: Path) -> None:
    layout = Layout(str(scored))
    writing = Writing(layout, Shelf(str(scored), str(tmp_path)), configuration="new")
    rule = Rule("motion", "motion_global_mean", ">=", HIGH)
    judging = Refiltering(writing, (Stage("", (rule,)),), known=frozenset(["old"]))
    found = []
    for ranges in (1, 3):
        tray = Shelf(str(tmp_path / f"{ranges}"), str(tmp_path))
        looking = Looking(judging, tray, base="old")
        lists = [list_down([pair], ranges, looking) for some in videos_of(layout) for pair in some]
        seen = [look_at_slice(piece, ranges, looking) for piece in slices(layout)]
        decided = [decide(number, lists, seen, looking) for number in range(ranges)]
        lines = [line for one in decided for line in shelf.read(one.path).splitlines()]
        found.append((sorted(lines), merged(one.yields for one in decided)))
    assert found[0] == found[1]
    assert (len(found[0][0]), found[0][1].then["motion"].clips) == (3, 3)
    assert len(found[0][1].sample) == 5


def test_only_chunks_in_which_a_verdict_changes_are_read(copied: Path, scored: Path) -> None:
    """Of the three clips of a video the last stands still, in a chunk of its own."""
    chunks = {path.name: json.loads(path.read_text()) for path in copied.glob("processed_c*/a*")}
    moving, still = (chunks[f"a.mp4_{n}.json"]["clips"] for n in (0, 1))
    assert (len(moving), len(still)) == (2, 1)
    documents = [copied / f"metas/v0/{id}.json" for id in moving]
    kept = [path.read_bytes() for path in documents]
    for path in documents:
        path.write_text("{")
    assert refiltered(copied, keep=(f"motion>={LOW}",)) == 0
    for path, data in zip(documents, kept, strict=True):
        assert path.read_text() == "{"
        path.write_bytes(data)
    without = Path(shutil.copytree(scored, copied.with_name("without")))
    assert refiltered(without_catalogue(without), keep=(f"motion>={LOW}",)) == 0
    mine, other = tree(copied, scored), tree(without, scored)
    assert still[0] not in json.loads(mine["processed_clip_chunks/a.mp4_1.json"])["clips"]
    assert [name for name in differences(mine, other) if "catalogue" not in name] == []


def test_books_are_kept_and_the_last_run_says_how_it_is(copied: Path) -> None:
    assert refiltered(copied, keep=(f"motion>={HIGH}",)) == 0
    told = last_run(copied)
    assert told["balanced"] is True
    assert told["clips"]["rejected_by"] == {"motion>=0.005": 3}
    [before] = told["before"].values()
    assert (before["clips"], before["seconds"]) == (5, 5.0)
    assert before["num_bytes"] > 10_000
    assert told["options"]["keep"] == ["motion>=0.005"]
    documents = [json.loads(p.read_bytes()) for p in copied.glob("processed_videos/*.json")]
    assert {d["configuration"] for d in documents} == {told["configuration"]["digest"]}


def test_a_group_of_which_nothing_is_left_is_mentioned(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of two that move one is on the list, for one that stands still; nothing is on another."""
    output = Output.at(str(copied))
    clips = [clip for chunk in output.chunks() for clip in output.entries(chunk)]
    still, *_, moving = sorted(clips, key=lambda clip: clip.scores["motion_global_mean"])
    own = Shelf(str(tmp_path), f"{tmp_path}/.staging/own")
    own.write(f"{tmp_path}/dedup/duplicates/0.parquet", drops_table([moving.id]))
    ids = [moving.id, still.id]
    table = pa.table({"id": ids, "kept": [False, True], "kept_id": [still.id] * 2})
    pq.write_table(table, tmp_path / "dedup/groups.parquet")
    told: dict[str, Any] = {"drop": (str(tmp_path / "dedup"),), "dry_run": True}
    assert refiltered(copied, keep=(f"motion>={HIGH}",), **told) == 0
    said = capsys.readouterr().out
    assert (
        "1 of the duplicates was left out although the clip that should stay in their "
        "place is left out, too"
    ) in said
    assert refiltered(copied, **told) == 0
    assert "of the duplicates" not in capsys.readouterr().out
    (tmp_path / "none.txt").write_text("ce2f3d69-8b98-57fe-98fe-70d008e354f3", encoding="utf-8")
    assert refiltered(copied, drop=(str(tmp_path / "none.txt"),), dry_run=True) == 0
    assert (
        "the --drop lists contain 1 id, but no such clip is in the dataset"
        in capsys.readouterr().out
    )


def test_the_command_that_is_printed_can_be_started_anywhere() -> None:
    options = Options(input=("films",), output="clips", quiet=True, verbose=True)
    said = words_for_curate(options)
    assert said == [
        "--input",
        str(Path("films").absolute()),
        f"--output={Path('clips').absolute()}",
    ]


# What is refused, and what is left.


def test_a_score_that_nobody_gives_is_refused_with_the_one_that_is_meant(copied: Path) -> None:
    with pytest.raises(OptionError, match=r"--keep 'motoin>1' .*did you mean motion\?"):
        refiltered(copied, keep=("motoin>1",))


def test_what_was_not_measured_is_refused_at_once(copied: Path) -> None:
    before = tree(copied)
    for wanted in ({"keep": ("sharpness>0.1",)}, {"text_filter": "enable"}):
        with pytest.raises(OptionError, match=r"\w+ was not measured .* run finecut curate"):
            refiltered(copied, **wanted)
    with pytest.raises(OptionError, match="would discard the measured scores: give score-only"):
        refiltered(copied, motion_filter=DISABLE)
    with pytest.raises(OptionError, match="does nothing without --motion-filter enable"):
        refiltered(copied, motion_global_mean_threshold=1.0)
    assert tree(copied) == before


def test_who_nobody_knows_how_it_was_made_is_refused(copied: Path) -> None:
    shutil.rmtree(copied / "runs")
    with pytest.raises(NoDataset, match="once more with the same options"):
        refiltered(copied, keep=("motion>0",))
    for path in copied.glob("processed_videos/*.json"):
        document = json.loads(path.read_bytes())
        del document["configuration"], document["source_version"]
        path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(NoDataset, match="written by another program"):
        refiltered(copied, keep=("motion>0",))


def test_nobody_else_may_be_at_work(copied: Path) -> None:
    own = Shelf(str(copied), f"{copied}/.staging/other")
    with alive(own, "some"), pytest.raises(OptionError, match="DATASET is being written by"):
        refiltered(copied, keep=("motion>0",))


def test_videos_that_cannot_be_done_are_left_as_they_are(
    films: Path, copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is missing, documents that disagree, other options; and one that can be done."""
    for name, size in (("a.mp4", 60), ("d.mp4", 62)):
        (tmp_path / "more").mkdir(exist_ok=True)
        paint(tmp_path / "more" / name, width=96, height=size, rate=10, seconds=1)
    (tmp_path / "more/a.mp4").unlink()
    curated(tmp_path / "more", copied, crf=40)
    curated(films, copied)
    a, b = (
        json.loads((copied / f"processed_clip_chunks/{n}.mp4_0.json").read_text()) for n in "ab"
    )
    (copied / f"clips/{b['clips'][0]}.mp4").unlink()
    a["num_clips_passed"] += 1
    (copied / "processed_clip_chunks/a.mp4_0.json").write_text(json.dumps(a, indent=4))
    before = tree(copied)
    assert refiltered(copied, keep=("motion>9",)) == 0
    said = capsys.readouterr().out
    assert "a.mp4: its documents contradict each other" in said
    assert f"b.mp4: {b['clips'][0]}.mp4 is missing" in said
    assert "d.mp4: it was made with other options" in said
    assert "4 found = 1 refiltered + 0 unchanged + 3 left for curate + 0 failed" in said
    assert differences(tree(copied), before) == ["processed_videos/short.mp4.json"]
    # What documents contradict is found when they are read, and the table is of the catalogue.
    assert f"not judged{'1 clip':>50}{'1 clip':>32}" in said
    without_catalogue(copied)
    assert refiltered(copied, keep=("motion>9",), dry_run=True) == 0
    assert f"not judged{'4 clips':>50}{'4 clips':>32}" in capsys.readouterr().out
    (copied / "processed_videos/short.mp4.json").unlink()
    assert refiltered(copied, keep=("motion>8",)) == 1


@pytest.mark.slow
def test_clips_whose_order_is_not_known_are_left_as_they_are(
    films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scenes that were given may overlap, and nobody wrote down which came first."""
    cuts = tmp_path / "cuts.json"
    cuts.write_text('{"a.mp4": [[0, 2], [0.5, 2.5]], "b.mp4": [[0, 1], [1, 2]]}', encoding="utf-8")
    scenes: dict[str, Any] = {"cuts": str(cuts), "max_clip_length": 1.0, "clip_length": 10.0}
    scenes["chunk_seconds"] = 256
    curated(films, tmp_path / "output", **scenes)
    assert refiltered(tmp_path / "output", keep=(f"motion>={HIGH}",)) == 0
    assert "a.mp4: its scenes overlap, so the order" in capsys.readouterr().out
    others = {**scenes, "keep": (f"motion>={HIGH}",)}
    assert curated(films, tmp_path / "output", **others).videos_done == 1
    curated(films, tmp_path / "fresh", **others)
    assert differences(tree(tmp_path / "output"), tree(tmp_path / "fresh")) == []


@pytest.mark.slow
def test_what_was_refiltered_is_verified(films: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    output = tmp_path / "output"
    curated(films, output, **RICH)
    assert refiltered(output, keep=(f"motion>={HIGH}",)) == 0
    assert (output / ".finecut/efficientnet-lite0_embd.json").exists()
    assert performed(VerifyOptions(dataset=str(output), workers=1, no_isolation=True)) == 0
    assert refiltered(output, keep=("motion>=9",)) == 0
    curated(films, tmp_path / "fresh", **RICH, keep=("motion>=9",))
    assert differences(tree(output), tree(tmp_path / "fresh")) == []


# Killed.


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    with Runs(tmp_path_factory.mktemp("runs") / "log.json") as server:
        yield server


RULES: dict[str, Any] = {"keep": (f"motion>={HIGH}",)}


def killed(
    runs: Runs,
    films: Path,
    folder: Path,
    kills: Callable[[int], list[tuple[int, bool]]],
    finish: Callable[[Path], object],
    **others: Any,
) -> list[str]:
    """What is wrong after a refiltering was killed at these points and somebody finished it."""
    runs.run(choices(films, **others), folder / "before")
    shutil.copytree(folder / "before", folder / "whole")
    points = runs.refilter({**RULES, "workers": 1, "yes": True}, folder / "whole")
    runs.run(choices(films, **others, **RULES), folder / "fresh")
    whole = tree(folder / "whole", folder / "before")
    assert differences(whole, tree(folder / "fresh")) == []
    wrong = []
    for kill_at, torn in kills(len(points)):
        output = folder / "output"
        shutil.copytree(folder / "before", output)
        runs.refilter({**RULES, "workers": 1, "yes": True}, output, kill_at=kill_at, torn=torn)
        finish(output)
        found = differences(tree(output, folder / "before"), whole) + staged(output)
        if found:
            wrong.append(f"{kill_at}, about {points[min(kill_at, len(points)) - 1]}: {found}")
        shutil.rmtree(output)
    return wrong


@pytest.mark.xdist_group("refilter faults")
def test_a_run_that_is_killed_is_finished_by_the_same_command(
    runs: Runs, films: Path, tmp_path: Path
) -> None:
    def kills(points: int) -> list[tuple[int, bool]]:
        return [(points // 2, False)]

    def again(output: Path) -> None:
        runs.refilter({**RULES, "workers": 1, "yes": True}, output)

    assert killed(runs, films, tmp_path, kills, again) == []


@pytest.mark.slow
@pytest.mark.xdist_group("refilter faults")
@pytest.mark.parametrize("by", ["the same command", "curation", "another command and this one"])
def test_a_run_may_be_killed_at_any_point(by: str, runs: Runs, films: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    others = {**RICH, "shard_prefix": False}

    def kills(points: int) -> list[tuple[int, bool]]:
        step = 2 if by == "the same command" else 7
        whole = [(place, False) for place in range(1, points + 3, step)]
        return whole + [(place, True) for place in range(1, points, 9)]

    def finish(output: Path) -> None:
        if by == "another command and this one":
            # Tighter still: then what is wanted cannot be had back, and curation does it.
            runs.refilter(
                {"keep": (f"motion>={HIGH}", "motion<9"), "workers": 1, "yes": True}, output
            )
        if by == "the same command":
            runs.refilter({**RULES, "workers": 1, "yes": True}, output)
        elif by == "curation":
            runs.run(choices(films, **others, **RULES), output)
        else:
            runs.refilter({**RULES, "workers": 1, "yes": True}, output)

    assert killed(runs, films, tmp_path, kills, finish, **others) == []


# Rules, clip by clip.

LAYOUT = Layout("/out")
VIDEO = Video(Source("a", "a", "a"), 1, 0, 96, 54, 10.0, 10, 1.0, "h264", "yuv420p", None, 1, 0)
CHUNK = Chunk("c", 0, 1, 1, 1)
ID = "d2d0a5a1-0000-5000-8000-000000000000"
FILE = ClipFile(96, 54, 10.0, 10, "h264", 100, "ab")
SCORES = FAMILIES
VALUES = some.sampled_from([0.0, 0.5, 1.0])
LIMITS = some.dictionaries(some.sampled_from([*SCORES]), VALUES, max_size=4)
Limits = Mapping[str, float]


def stages_of(limits: Limits) -> list[Stage]:
    def rules(*families: str) -> tuple[Rule, ...]:
        return tuple(
            Rule(f"{score}>={limits[score]}", score, ">=", limits[score])
            for score, family in SCORES.items()
            if family in families and score in limits
        )

    return [Stage("", rules(*MEASURED)), *(Stage(family, rules(family)) for family in SEEN)]


def made(
    truth: Limits, limits: Limits, drops: frozenset[str], broken: frozenset[str], file: bool
) -> Clip:
    """The clip as curation leaves it, if these are its scores and these models break down."""
    clip = Clip(VIDEO, CHUNK, PlannedClip(ID, 0, Span(0.0, 1.0)), FILE if file else None)
    if not file:
        return clip.replace(rejected_by="no_frames", errors={"frames": "none"})
    seen = {n: v for n, v in truth.items() if SCORES[n] in MEASURED}
    clip = clip.replace(scores=seen, windows=(Window(0, 9),), errors={"decode": "torn"})
    first, *others = stages_of(limits)
    clip = judged(dropped(clip, drops), first.rules)
    for stage in others:
        if clip.kept and stage.family in broken:
            clip = clip.replace(errors={**clip.errors, stage.family: "broken"})
        elif clip.kept:
            seen = {n: v for n, v in truth.items() if SCORES[n] == stage.family}
            used = {stage.family: ModelUsed("model", "1")} if seen else {}
            scores, models = {**clip.scores, **seen}, {**clip.models, **used}
            clip = clip.replace(scores=scores, models=models)
        clip = judged(clip, stage.rules)
    if not clip.kept:
        return clip
    window = Window(
        0, 9, {"qwen": "text"}, {"lm": "more"}, outcomes={"qwen": TextOutcome("ok", 1, 2)}
    )
    kinds = (vector_key("lite"), "qwen_caption", "lm_enhanced_caption")
    return clip.replace(
        windows=(window,),
        models={**clip.models, **{kind: ModelUsed(kind) for kind in kinds}},
        errors={**clip.errors, "preview": "broken"} if "preview" in broken else clip.errors,
    )


@given(
    some.fixed_dictionaries(dict.fromkeys(SCORES, VALUES)),
    LIMITS,
    LIMITS,
    some.booleans(),
    some.booleans(),
    some.frozensets(some.sampled_from([*SEEN, "preview"])),
    some.sampled_from([True, True, True, False]),
)
def test_what_is_judged_anew_is_what_curation_would_write(
    truth: dict[str, float],
    old: Limits,
    new: Limits,
    was_dropped: bool,
    drop: bool,
    broken: frozenset[str],
    file: bool,
) -> None:
    """Or out of reach; never, where nothing more than there is would be needed."""
    ids = {True: frozenset({ID}), False: frozenset[str]()}
    before = made(truth, old, ids[was_dropped], broken, file)
    after = made(truth, new, ids[drop], broken, file)
    entry = Entry(ID, before.kept, LAYOUT.clip(ID, before.kept), "c", clip_document(before, LAYOUT))
    try:
        told = judged_anew(entry, stages_of(new), ids[drop])
    except OutOfReach:
        assert len({*after.scores} - {*before.scores}) > 0 or broken
        assert not before.kept
        return
    if told.rejected_by is None and not entry.kept:
        assert missing(entry, Refiltering(WRITING, (), made=(("vector", False),))) == ["vector"]
        assert after.kept
        return
    rewritten = clip_rewritten(entry, told.rejected_by, told.unseen, LAYOUT)
    assert serialise(dict(rewritten.document)) == serialise(clip_document(after, LAYOUT))
    assert (rewritten.kept, rewritten.path) == (after.kept, LAYOUT.clip(ID, after.kept))


WRITING = Writing(LAYOUT, Shelf("/out", "/out/.staging/x"))


def test_what_stands_in_a_document_and_nobody_knows_stays_there() -> None:
    document = clip_document(made({}, {}, frozenset(), frozenset(), True), LAYOUT)
    entry = Entry(ID, True, LAYOUT.clip(ID), "c", {"of others": 1, **document, "at the end": [2]})
    rejected = clip_rewritten(entry, "motion", (), LAYOUT)
    assert rejected.document["of others"] == 1
    assert list(rejected.document)[-1] == "at the end"
    moved = replace(entry, document={**document, "clip_location": f"/old/clips/{ID}.mp4"})
    there = clip_rewritten(moved, "motion", (), LAYOUT).document["clip_location"]
    assert there == f"/old/filtered_clips/{ID}.mp4"


# Yields.


@given(some.lists(some.integers(0, 9), max_size=12), some.randoms(use_true_random=False))
def test_yields_add_up_in_any_order(numbers: list[int], chance: random.Random) -> None:
    def one(number: int, place: int) -> Yields:
        return Yields(
            {"refiltered": 1},
            {KEPT: Amount(number, 0.5)},
            {f"rule{number % 3}": Amount(1, 2.0)},
            untouched=(Untouched(f"{place}", "why", number),),
            clips_untouched=number,
            sample={f"{place}": {"sharpness": float(number)}},
        )

    each = [one(number, place) for place, number in enumerate(numbers)]
    whole = merged(each)
    chance.shuffle(each)
    half = len(each) // 2
    assert merged([merged(each[half:]), merged(each[:half])]) == whole
    assert whole.clips == len(numbers) + sum(numbers)
    assert [one.video for one in whole.untouched] == sorted(map(str, range(len(numbers))))


@given(
    some.lists(some.floats(0, 1), min_size=1, max_size=40),
    some.sampled_from([">=", "<=", ">", "<"]),
)
def test_a_curve_says_what_the_rule_would_let_through(values: list[float], sign: str) -> None:
    clips = {f"{n}": {"sharpness": value} for n, value in enumerate(values)}
    points = curve(clips, Rule("x", "sharpness", sign, 0.5))
    assert points
    for limit, part in points:
        rule = Rule("x", "sharpness", sign, limit)
        through = sum(rule.holds(scores) for scores in clips.values())
        assert part == pytest.approx(through / len(values))


# Stores.


@pytest.mark.slow
def test_an_output_in_a_bucket_is_refiltered_there(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gcp_storage_emulator")
    store = FaultyStore()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", store.address)
    child.kill_all()
    root = "gs://bucket/out"
    try:
        run(Options(output=root, **choices(films)))
        command = RefilterOptions(dataset=root, workers=1, keep=(f"motion>={HIGH}",)).check()
        assert performed(command) == 0
        curated(films, tmp_path / "fresh", **RULES)
        expected = tree(tmp_path / "fresh")
        found = {
            path.removeprefix(f"{root}/"): shelf.read(path).replace(root.encode(), b"ROOT")
            for path in shelf.files_below(root)
            if not path.startswith(f"{root}/runs/")
        }
        assert differences(found, expected) == []
    finally:
        store.close()
        child.kill_all()
