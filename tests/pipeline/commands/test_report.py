"""The page of an output: what its data says, and what a browser makes of it.

Half of these tests read the page as people do, in a browser without a window, from the disk. They
skip where there is no Chromium.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from arranged import curate, painted
from curated import Curated, curated, say
from faulty_store import FaultyStore
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from finecut.io.dataset.output import Entry, Output
from finecut.io.layout import Layout, clip_id
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.io.tables.drops import read_drops
from finecut.pipeline.at_work import tray
from finecut.pipeline.cli.command import main
from finecut.pipeline.cli.flags import options_table
from finecut.pipeline.commands.report import Report, ReportOptions
from finecut.pipeline.commands.report.making import Making, Wish, make_report
from finecut.pipeline.commands.report.work import OnEngine, check_folder, relative_links
from finecut.pipeline.options import OptionError
from finecut.pipeline.page import page_text
from finecut.pipeline.page.similar import NOBODY, Rows, nearby
from finecut.transforms.catalogue.columns import table_of
from finecut.transforms.catalogue.rows import Whereabouts, made_file
from finecut.transforms.catalogue.rows import row_of as catalogue_row
from finecut.transforms.report.columns import fitted, packed, plain_json
from finecut.transforms.report.counting import Totals, digest_of, from_json, to_json, totals_of
from finecut.transforms.report.frames import best_of
from finecut.transforms.report.lost import spans_of_lost
from finecut.transforms.report.parts import EVERY, ROWS_OF_PART, borders_of
from finecut.transforms.report.pictures import Sprite, sprites_of
from finecut.transforms.report.reading import Told
from finecut.transforms.report.tiles import (
    ROWS_OF_NUMBERS,
    ROWS_OF_TEXTS,
    Words,
    kind_of_score,
    tiles_of_clips,
    tiles_of_scores,
    tiles_of_texts,
)

#: What strangers may have said.
EVIL = (
    "</script><img src=x onerror=alert(1)>",
    "<!--<script>alert(2)//",
    "\"'><svg onload=alert(3)> javascript:alert(4) &lt;b&gt; {{facts}} ${alert(5)}",
    "line\u2028separator \u202e\x00 \ud800 end",
)
FOLDER = "films <b>#1?%41'\"é\n&amp;"
LOST = clip_id("/films/lost.mp4", 10, 20)


# ── values ───────────────────────────────────────────────────────────────────────────────────────


@given(st.text())
def test_no_text_can_leave_its_script(text: str) -> None:
    said = plain_json({"said": text})
    assert not set("<>&\u2028\u2029") & set(said)
    assert said.isascii()
    assert json.loads(said) == {"said": text}


@given(st.floats(allow_nan=False), st.sampled_from(("u4", "u2", "u1", "i4", "f4")))
def test_any_number_has_a_place_in_its_column(value: float, kind: str) -> None:
    column = fitted(np.array([value]), kind)
    read = np.frombuffer(base64.b64decode(packed(column)), f"<{kind}")
    assert read[0] == column[0]
    assert np.isfinite(read[0])


def test_columns_say_what_rows_said() -> None:
    """More rows than one tile has of either kind, and a score that is not there at first."""
    count = ROWS_OF_NUMBERS + 3
    rows = [imagined(number, late=number > ROWS_OF_TEXTS) for number in range(count)]
    clips = table_of(rows).sort_by("start")
    words = Words(("", "motion"), ("sharpness", "late"))
    numbers = [*tiles_of_clips(clips, np.arange(count) // 100, words)]
    sprites = [Sprite("a.webp", 1000, ()), Sprite("b.webp", 100, ()), Sprite("", count - 1100, ())]
    texts = [*tiles_of_texts(clips, sprites)]
    assert [(first, tile["count"]) for first, tile in numbers] == [
        (0, ROWS_OF_NUMBERS),
        (ROWS_OF_NUMBERS, 3),
    ]
    # They end where a sprite ends.
    assert [(first, len(tile["captions"])) for first, tile in texts] == [
        (0, 1100),
        (1100, count - 1100),
    ]
    assert texts[0][1]["pictures"] == [["a.webp", 1000], ["b.webp", 100]]

    def column(name: str, kind: str) -> list[Any]:
        read = [base64.b64decode(tile[name]) for _, tile in numbers]
        return list(np.frombuffer(b"".join(read), kind))

    assert column("start", "<f4") == [row["start"] for row in rows]
    assert column("source", "<u4") == [number // 100 for number in range(count)]
    named = [words.reasons[index] for index in column("reason", "<u2")]
    assert named == [row["reason"] or "" for row in rows]
    for name in words.scores:
        kind = kind_of_score(words.scores.index(name))
        [tile] = [tile for one, _, tile in tiles_of_scores(clips, words) if one == kind]
        measured = np.frombuffer(base64.b64decode(tile["values"]), "<f4")
        if name == "sharpness":
            assert (measured == np.array([n / 1e5 for n in range(count)], "<f4")).all()
        else:
            assert np.isnan(measured[: ROWS_OF_TEXTS + 1]).all()
            assert (measured[ROWS_OF_TEXTS + 1 :] == 2).all()
    ids = b"".join(base64.b64decode(tile["id"]) for _, tile in numbers)
    assert ids[-16:].hex() == rows[-1]["id"].replace("-", "")
    assert [said for _, tile in texts for said in tile["captions"]] == [
        [["qwen", f"clip {number}"]] for number in range(count)
    ]
    found = Rows(ids)
    assert [found.of(row["id"]) for row in rows[::1000]] == [*range(0, count, 1000)]
    assert found.of(clip_id("other", 0, 1)) is None


def imagined(number: int, late: bool) -> dict[str, Any]:
    scores = {"sharpness": number / 1e5} | ({"late": 2.0} if late else {})
    kept = number % 3 != 0
    document = {
        "span_uuid": clip_id("a", number, number + 1),
        "duration_span": [float(number), number + 1.0],
        "scores": scores,
        "windows": [{"start_frame": 0, "end_frame": 9, "qwen_caption": f"clip {number}"}],
        "filtered_by": "motion",
    }
    where = Whereabouts("a", clip_id("a", 0, 0), kept, clip=None, meta="")
    return catalogue_row(document, where, {})


WRONG: dict[str, Any] = {
    "duration_span": ["a", None],
    "width": "wide",
    "height": True,
    "framerate": float("nan"),
    "num_frames": 10**400,
    "windows": [None, {"start_frame": "x", 7: 1, "q_caption": 5}],
    "scores": {"sharpness": "sharp", "exposure": None},
    "motion_score": [1],
    "errors": {"a": 1},
    "models": {"m": 5},
    "filtered_by": ["a"],
}


@given(st.sets(st.sampled_from(sorted(WRONG))))
def test_documents_of_the_wrong_kinds_are_rows_all_the_same(names: set[str]) -> None:
    clip = clip_id("a", 0, 1)
    windows = [{"start_frame": 0, "end_frame": 9, "q_caption": "hi"}]
    document: dict[str, Any] = {"duration_span": [1.0, 2.5], "width": 160, "windows": windows}
    said = document | {name: value for name, value in WRONG.items() if name in names}
    said = json.loads(json.dumps(said)) | {"span_uuid": clip}
    where = Whereabouts(
        "a", clip, True, clip=None, meta="", artefacts=(made_file("previews/x.webp"),)
    )
    clips = table_of([catalogue_row(said, where, {})])
    [(_, numbers)] = tiles_of_clips(clips, np.zeros(1, int), Words(("",), ("sharpness",)))
    [(_, texts)] = tiles_of_texts(clips, [Sprite("", 1, ())])

    def value(name: str, kind: str) -> Any:
        return np.frombuffer(base64.b64decode(numbers[name]), kind)[0]

    assert value("start", "<f4") == (0.0 if "duration_span" in names else 1.0)
    assert value("end", "<f4") == (0.0 if "duration_span" in names else 2.5)
    assert value("width", "<u2") == (0 if "width" in names else 160)
    assert value("last", "<i4") == (-1 if "windows" in names else 9)
    assert texts["captions"] == [[] if "windows" in names else [["q", "hi"]]]


def test_adding_up_gives_the_same_in_any_order() -> None:
    """More reasons, values of fields and sources than are told apart."""
    rows = [imagined(number, late=number % 7 == 0) for number in range(6000)]
    for number, row in enumerate(rows):
        row["video"], row["source_video"] = f"{number}.mp4", f"/f/{number}.mp4"
        row["reason"] = row["reason"] and f"reason {number}"
        row["source"] = json.dumps({"free": number % 3 == 0, "number": number})
    slices = [table_of(rows[start : start + 500]) for start in range(0, 6000, 500)]
    counted = [totals_of(Told(clips)) for clips in slices]
    one = reduce(add, counted, Totals())
    assert reduce(add, counted[::-1], Totals()) == one
    assert counted[0] + (counted[1] + counted[2]) == (counted[0] + counted[1]) + counted[2]
    assert totals_of(Told(table_of(rows))) == one
    assert (one.clips, one.captioned, one.reasons[""]) == (6000, 6000, [4000, 4_000_000])
    assert (len(one.reasons), len(one.sample)) == (1000, 4096)
    assert one.fields == {"free": {"true": 2000, "false": 4000}, "number": None}
    assert (one.scores, one.folder) == (["sharpness", "late"], "/f/")
    assert from_json(json.loads(json.dumps(to_json(one)))) == one


def test_clips_are_shared_out_evenly_and_whole_sources_are_left_out() -> None:
    count = 3 * ROWS_OF_PART
    sample = {f"{number:05}.mp4": 100 for number in range(count // 100)}
    below, borders = borders_of(Totals(clips=count, sample=sample), count)
    assert (below, len(borders)) == (EVERY, 2)
    assert 0 <= max(int(border[:5]) for border in borders) - count // 150 < 3
    below, borders = borders_of(Totals(clips=count, sample=sample), count // 3)
    assert len(borders) == 0
    shown = sum(100 for name in sample if digest_of(name) < below)
    assert abs(shown - count / 3) < count / 30


@given(st.sets(st.integers(0, 30), max_size=9), st.sampled_from((10.0, 7.5)))
def test_lost_shots_are_found_where_they_lay(numbers: set[int], distance: float) -> None:
    """Of a fixed stride every one, wherever it lay."""
    rate, name = 29.97, "/films/a.mp4"
    spans = [(i * distance, i * distance + 10.0) for i in range(31)]
    lost = [spans[number] for number in sorted(numbers)]
    ids = [clip_id(name, int(start * rate), int(end * rate)) for start, end in lost]
    known = [span for span in spans if span not in lost]
    assert spans_of_lost(name, ids, rate, known=known, stride=(10.0, distance)) == lost
    others = [clip_id("b", 0, 1)]
    assert spans_of_lost(name, others, rate, known=known, stride=(10.0, distance)) == []


@pytest.mark.parametrize(("few", "right"), [(1000, 1.0), (50, 0.7)])
def test_neighbours_are_those_that_comparing_all_finds(few: int, right: float) -> None:
    dice = np.random.default_rng(5)
    centres = dice.normal(size=(12, 24))
    vectors = centres[np.arange(300) % 12] + 0.3 * dice.normal(size=(300, 24))
    vectors[7] = 0
    found = nearby(vectors, 5, few)
    exact = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    products = exact @ exact.T
    np.fill_diagonal(products, -2)
    best = np.argsort(-products, axis=1)[:, :5]
    hits = [len({*found.rows[row]} & {*best[row]}) / 5 for row in range(300) if row != 7]
    assert np.mean(hits) >= right
    assert (found.rows[7] == NOBODY).all()
    again = nearby(vectors, 5, few)
    assert (again.rows == found.rows).all()
    assert (nearby(vectors[:3], 5).rows[:, 2:] == NOBODY).all()


def test_links_are_relative_and_mean_what_they_name() -> None:
    assert relative_links("/d/a #1", "/d/a #1/report") == ".."
    assert relative_links('/d/a #1?"', "/d/pages") == "../a%20%231%3F%22"
    assert relative_links("gs://bucket/a#b", "gs://bucket/pages/x") == "../../a%23b"


# ── pages on disk ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Curated:
    """What a run made and strangers changed: captions, failures, duplicates, a film with a hole."""
    made = curated(tmp_path_factory.mktemp("report"))
    root = made.root
    kept = made.kept()
    for clip, text in zip(kept, EVIL, strict=False):
        # One more window's worth of text for a clip that has a preview already.
        [window] = document_of(root, clip)["windows"]
        say(root, clip, windows=[window | {"qwen_caption": written(text)}])
    say(root, kept[4], errors=[EVIL[0]], error_messages={EVIL[0]: EVIL[1]})
    say(root, kept[4], scores={"__proto__": 1, "constructor": 2, "": 3, EVIL[2]: 4, "size": 7})
    say(root, kept[5], valid=False)
    say(root, kept[6], transcode="copied", copied_span=[0.0, 5.0])
    say(root, kept[7], transcode="encoded", transcode_reason=EVIL[0])
    for entry in made.entries():
        if entry.document["source_video"].endswith("/long.mp4"):
            say(root, entry.id, source={"license": "cc0", "__proto__": "<b>", "year": 1999})
        elif entry.document["source_video"].endswith("/other.mp4"):
            say(root, entry.id, source={"license": EVIL[2], "tags": ["sea", "Sky"]})
    lose(root, kept[0])
    groups = {
        "group": ["a", "a", "a", "b"],
        "id": [kept[2], kept[0], kept[3], kept[1]],
        "kept": [False, True, False, True],
        "kept_id": [kept[0], kept[0], kept[0], kept[1]],
        "cosine": [0.91, 1.0, 0.97, 1.0],
    }
    likeness = {
        "first": [min(kept[0], kept[3])],
        "second": [max(kept[0], kept[3])],
        "same": [True],
        "shown": [0.934],
        "changes": [0.871],
        "how": ["mirrored, cropped"],
    }
    without_catalogue(root)
    (root / "dedup").mkdir()
    pq.write_table(pa.table(groups), root / "dedup" / "groups.parquet")
    pq.write_table(pa.table(likeness), root / "dedup" / "likeness.parquet")
    assert main(["report", str(root), "--quiet"]) == 0
    return made


def without_catalogue(root: Path) -> None:
    """What documents say now, it does not know."""
    shutil.rmtree(root / "catalogue", ignore_errors=True)
    (root / ".finecut" / "catalogue.json").unlink(missing_ok=True)


def written(text: str) -> str:
    """The text as documents may hold it."""
    return text.replace("\ud800", "\ufffd")


def document_of(root: Path, clip: str) -> dict[str, Any]:
    said: dict[str, Any] = json.loads((root / "metas" / "v0" / f"{clip}.json").read_text())
    return said


def lose(root: Path, sample: str) -> None:
    """A film of three seconds, of which the second was lost, named as strangers name films."""
    name = "/films/lost.mp4"
    ids = []
    for start in (0, 2):
        clip = clip_id(name, start * 10, start * 10 + 10)
        said = document_of(root, sample) | {
            "span_uuid": clip,
            "source_video": name,
            "duration_span": [float(start), start + 1.0],
        }
        (root / "metas" / "v0" / f"{clip}.json").write_text(json.dumps(said))
        shutil.copy(root / "clips" / f"{sample}.mp4", root / "clips" / f"{clip}.mp4")
        ids.append(clip)
    chunk = {"video": name, "clip_chunk_index": 0, "num_clips_with_webp": 0, "clips": ids}
    (root / "processed_clip_chunks" / "lost.mp4_0.json").write_text(json.dumps(chunk))
    (root / "failures").mkdir(exist_ok=True)
    evil = f"/films/{EVIL[0]}\n#?%.mp4"
    lines = [
        failure("cut", name, "a picture could not be decoded", lost_shots=[LOST]),
        failure("probe", evil, EVIL[2], evidence=EVIL[0], attempts=3, set_aside=True),
    ]
    (root / "failures" / "list.jsonl").write_text("".join(f"{line}\n" for line in (*lines, "{no")))


def failure(step: str, name: str, message: str, **others: Any) -> str:
    source = {"uri": name, "name": name, "relative": name[1:]}
    said = {"step": step, "source": source, "error": "FilmError", "message": message}
    return json.dumps(said | {"evidence": "", "lost_shots": [], "attempts": 1} | others)


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def facts_of(page: Path) -> dict[str, Any]:
    [text] = re.findall(
        r'<script type="application/json" id="facts">(.*?)</script>', page.read_text()
    )
    facts: dict[str, Any] = json.loads(text)
    return facts


def columns_of(report: Path, kind: str, index: int = 0) -> dict[str, Any]:
    """The columns of a chunk, read as JSON."""
    name = facts_of(report / "index.html")["chunks"][kind][index]
    call = (report / "data" / name).read_text()
    [columns] = re.fullmatch(rf'finecut\.chunk\("{kind}",\d+,(.*)\);\n', call, re.S).groups()  # type: ignore[union-attr]
    read: dict[str, Any] = json.loads(columns)
    return read


def test_the_page_speaks_of_all_clips_in_order(dataset: Curated) -> None:
    report = dataset.root / "report"
    facts = facts_of(report / "index.html")
    entries = dataset.entries()
    assert facts["count"] == len(entries) == 14
    assert facts["totals"] == [[0, 13, 13.0], [1, 1, 1.0]]
    assert (facts["marked"], facts["failed"], facts["failed_in_part"]) == (2, 2, 1)
    assert facts["reasons"] == ["", "motion>0.005"]
    assert {
        "score": "motion_global_mean",
        "comparison": ">",
        "limit": 0.005,
        "name": "motion>0.005",
    } in facts["rules"]
    numbers, texts = columns_of(report, "clips"), columns_of(report, "texts")
    starts = np.frombuffer(base64.b64decode(numbers["start"]), "<f4").tolist()
    # long.mp4, lost.mp4, other.mp4, still.mp4: chunks of a film lie in the order of time.
    assert starts == [0, 1, 2, 3, 4, 0, 2, 0, 1, 2, 3, 4, 5, 0]
    captions = {said for clip in texts["captions"] for _, said in clip}
    assert captions >= {*map(written, EVIL)}
    # Sources without clips come last, in a tile of their own.
    some, others = columns_of(report, "sources"), columns_of(report, "sources", 1)
    assert facts["starts"]["sources"] == [[0, 0], [4, 0]]
    assert others["count"] == [0]
    sources = {name: values + others[name] for name, values in some.items()}
    named = dict(
        zip(
            sources["name"],
            zip(sources["state"], sources["seconds"], sources["count"], strict=True),
            strict=True,
        )
    )
    assert len(sources["name"]) == facts["sources"] == 5
    assert (2, 3.0, 2) in named.values()
    assert sources["spans"][sources["count"].index(2)] == [[1.0, 2.0]]


def test_the_same_dataset_makes_the_same_bytes(dataset: Curated, tmp_path: Path) -> None:
    copy = tmp_path / dataset.root.name
    shutil.copytree(dataset.root, copy)
    (copy / "report" / "data" / "clips-0000.000000000000.js").write_text("of an earlier page")
    theirs = tmp_path / "pages" / "one" / "data" / "deep" / "clips-0000.000000000000.js"
    theirs.parent.mkdir(parents=True)
    for path in (theirs, theirs.parent.parent / "notes.txt"):
        path.write_text("somebody else's")
    before = tree(dataset.root / "report")
    assert main(["report", str(copy), "--quiet", "--workers", "5"]) == 0
    assert tree(copy / "report") == before
    assert not (copy / ".staging").exists()
    assert main(["report", str(copy), "--quiet", "--into", str(tmp_path / "pages" / "one")]) == 0
    other = tree(tmp_path / "pages" / "one")
    # What is not a page's data is left alone, whatever lies there.
    for name in ("data/deep/clips-0000.000000000000.js", "data/notes.txt"):
        assert other.pop(name) == b"somebody else's"
    assert facts_of(tmp_path / "pages" / "one" / "index.html")["links"] == "../../output"
    assert {name: data for name, data in other.items() if name.startswith("data/")} == {
        name: data for name, data in before.items() if name.startswith("data/")
    }


def test_what_is_missing_or_broken_is_counted_and_left_out(
    dataset: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(dataset.root, copy)
    metas = sorted((copy / "metas" / "v0").iterdir())
    metas[0].unlink()
    metas[1].write_text("{")
    chunk = copy / "processed_clip_chunks" / "lost.mp4_0.json"
    said = json.loads(chunk.read_text())
    chunk.write_text(json.dumps(said | {"clips": [*said["clips"], "../../../etc/passwd", 7]}))
    (copy / "processed_clip_chunks" / "still.mp4_1.json").write_text("no JSON")
    (copy / "dedup" / "groups.parquet").write_bytes(b"no table")
    (copy / "efficientnet-lite0_embd_parquet" / "x.parquet").write_bytes(b"no table")
    [run] = (copy / "runs").iterdir()
    (run / "summary.json").write_text(json.dumps({"options": {"keep": ["nonsense"], "no": 1}}))
    assert main(["report", str(copy)]) == 0
    out, err = capsys.readouterr()
    assert "4 missing or broken clip documents, left out" in err
    assert "12 clips" in out
    facts = facts_of(copy / "report" / "index.html")
    assert (facts["count"], facts["unreadable"], facts["groups"]) == (12, 4, 0)


def test_where_everything_failed_there_is_a_page_of_failures(tmp_path: Path) -> None:
    (tmp_path / "out" / "failures").mkdir(parents=True)
    (tmp_path / "out" / "failures" / "a.jsonl").write_text(failure("probe", "/f/a.mp4", "no film"))
    assert main(["report", str(tmp_path / "out"), "--quiet"]) == 0
    facts = facts_of(tmp_path / "out" / "report" / "index.html")
    assert (facts["count"], facts["failures"], facts["sources"]) == (0, 1, 1)


def test_what_is_no_dataset_gets_no_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["report", str(tmp_path)])
    assert ended.value.code == 2
    assert "contains no finished clips" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_policy_lets_nothing_run_but_the_page_itself(dataset: Curated) -> None:
    text = (dataset.root / "report" / "index.html").read_text()
    [policy] = re.findall(r'Content-Security-Policy" content="(.*?)"', text)
    [script] = re.findall(r"<script>(.*?)</script>", text, re.S)
    [style] = re.findall(r"<style>(.*?)</style>", text, re.S)
    for part in (script, style):
        digest = base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        assert f"&#x27;sha256-{digest}&#x27;" in policy
    assert "default-src &#x27;none&#x27;" in policy
    assert "unsafe" not in policy
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", script)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)


def test_names_of_holes_in_what_is_said_are_words() -> None:
    text = page_text({"dataset": "{{script}}<b>", "chunks": {}, "said": "{{style}} \\1 </script>"})
    assert "<title>{{script}}&lt;b&gt; · finecut</title>" in text
    assert '"said":"{{style}} \\\\1 \\u003c/script\\u003e"' in text


class Killed(Exception):
    """What cannot be caught: the process is gone."""


class Mortal(Shelf):
    """A shelf of a process that is killed before it changes something for the n-th time."""

    changes: list[str]
    last: int

    def write(self, path: str, data: bytes) -> int:
        self._count(path)
        return super().write(path, data)

    def remove(self, *paths: str) -> None:
        for path in paths:
            self._count(path)
            super().remove(path)

    def _count(self, path: str) -> None:
        self.changes.append(path)
        if len(self.changes) == self.last:
            raise Killed


def mortal(root: Path, last: int) -> Mortal:
    own = Mortal(str(root), str(root / ".staging" / "x"))
    object.__setattr__(own, "changes", [])
    object.__setattr__(own, "last", last)
    return own


def test_the_catalogue_tells_what_documents_tell(dataset: Curated, tmp_path: Path) -> None:
    """The same page, byte by byte: also from the workers of an engine, and where films are many."""
    copy = tmp_path / "output"
    shutil.copytree(dataset.root, copy)
    assert main(["report", str(copy), "--quiet"]) == 0
    of_documents = tree(copy / "report")
    assert main(["compact", str(copy), "--quiet"]) == 0
    assert (copy / "catalogue" / "clips.parquet").exists()
    for path in (copy / "metas" / "v0").iterdir():
        path.unlink()  # nobody needs them now
    assert main(["report", str(copy), "--quiet"]) == 0
    assert tree(copy / "report") == of_documents

    pages, output = tmp_path / "pages", Output.at(str(copy))
    own = Shelf(str(pages), str(pages / ".staging" / "x"))
    with tray(own, in_process=True) as reports:
        command = Report(ReportOptions(dataset=str(copy), runner="local", workers=2))
        making = Making(output, own, str(pages), Wish())
        made = OnEngine(command, making, reports).page("..")
    own.sweep()
    assert made.clips == 14
    assert tree(pages) == of_documents


def test_only_some_sources_are_shown_and_all_are_counted(dataset: Curated, tmp_path: Path) -> None:
    folder = str(tmp_path / "pages")
    own = Shelf(str(tmp_path), str(tmp_path / ".staging" / "x"))
    make_report(dataset.output, own, folder, Wish(pictures=0, most=8), "..")
    facts = facts_of(tmp_path / "pages" / "index.html")
    assert 0 < facts["count"] < facts["all"] == 14
    assert facts["totals"] == [[0, 13, 13.0], [1, 1, 1.0]]


def test_pictures_of_clips_that_stay_are_not_made_again(dataset: Curated, tmp_path: Path) -> None:
    """The best frame of each clip; nothing of those whose files are not there."""
    folder = tmp_path / "pages"
    own = mortal(tmp_path, 0)
    output = dataset.output
    make_report(output, own, str(folder), Wish(), "..")
    [sprite] = (folder / "pictures").iterdir()
    picture = Image.open(sprite).convert("RGB")
    assert picture.size == (1600, 180)
    first = np.asarray(picture.crop((0, 0, 160, 90)), float)
    [frame, *_] = frames_of(dataset.root / "clips" / f"{dataset.kept()[0]}.mp4")
    assert np.abs(first - np.asarray(frame.resize((160, 90)), float)).mean() < 25
    # Of 14 clips, and nothing behind them.
    assert np.asarray(picture.crop((640, 90, 1600, 180))).std() < 3
    own.changes.clear()
    make_report(output, own, str(folder), Wish(), "..")
    assert not [path for path in own.changes if "/pictures/" in path]
    make_report(output, own, str(folder), Wish(pictures=320), "..")
    [larger] = (folder / "pictures").iterdir()
    assert Image.open(larger).size == (3200, 360)
    make_report(output, own, str(folder), Wish(pictures=0), "..")
    assert not [*(folder / "pictures").iterdir()]


def frames_of(path: Path) -> list[Any]:
    with av.open(str(path)) as container:
        return [frame.to_image() for frame in container.decode(video=0)]


@pytest.mark.parametrize("seconds", [1.0, 3.0])
def test_the_best_frame_is_neither_black_nor_the_first(tmp_path: Path, seconds: float) -> None:
    """A clip that fades in: its only key frame is black, so more of it is decoded."""
    path, rate = tmp_path / "a.mp4", 10
    noise = np.random.default_rng(3).integers(40, 220, (90, 160, 3)).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"g": "1000", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 160, 90, "yuv420p"
        for number in range(int(seconds * 2 * rate)):
            picture = noise if number >= seconds * rate else noise * 0
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    found = best_of(str(path), 90)
    assert found.shape == (90, 160, 3)
    assert found.mean() > 60


def test_a_sprite_stays_where_other_clips_come_and_go() -> None:
    rows = [imagined(number, late=False) | {"clip": "clips/x.mp4"} for number in range(2000)]
    some = {sprite.name for sprite in sprites_of(table_of(rows), 160)}
    others = {sprite.name for sprite in sprites_of(table_of(rows[1:]), 160)}
    assert 10 < len(some) < 40
    assert len(some - others) == 1
    assert [sprite.clips for sprite in sprites_of(table_of(rows), 0)] == [
        sprite.clips for sprite in sprites_of(table_of(rows), 160)
    ]
    assert not any(sprite.name for sprite in sprites_of(table_of(rows), 0))


def test_a_report_may_be_killed_anywhere(dataset: Curated, tmp_path: Path) -> None:
    """A page that is there speaks of data that is there, of one state of the dataset."""
    root = tmp_path / "output"
    shutil.copytree(dataset.root, root)
    page = root / "report" / "index.html"
    old = facts_of(page)["chunks"]
    say(root, dataset.kept()[5], scores={"sharpness": 0.5})
    output, last = Output.at(str(root)), 0
    finished = False
    seen = []
    while not finished:
        last += 1
        own = mortal(root, last)
        try:
            make_report(output, own, str(page.parent), Wish(), "..")
            finished = True
        except Killed:
            pass
        named = facts_of(page)["chunks"]
        seen.append(named == old)
        for names in named.values():
            assert all((page.parent / "data" / name).exists() for name in names)
        for index in range(len(named["texts"])):
            for name, _ in columns_of(page.parent, "texts", index)["pictures"]:
                assert (page.parent / "pictures" / name).exists()
    # Some died before the page changed and some after, and nothing is left of what was before.
    assert (seen[0], seen[-1]) == (True, False)
    assert len(seen) > 8
    names = {name for names in facts_of(page)["chunks"].values() for name in names}
    assert names == {path.name for path in (page.parent / "data").iterdir()}


def test_a_bucket_gets_the_page_a_disk_gets(
    dataset: Curated, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("gcp_storage_emulator")
    store = FaultyStore()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", store.address)
    root = "gs://bucket/output"
    own = Shelf(root, f"{root}/.staging/test")
    try:
        for name, data in tree(dataset.root).items():
            if not name.startswith(("report/", "clips/", "previews/")):
                own.write(f"{root}/{name}", data)
        output = Output.at(root)
        made = make_report(output, own, f"{root}/report", Wish(pictures=0), "..")
        on_disk = Shelf(str(tmp_path), str(tmp_path / ".staging" / "x"))
        make_report(dataset.output, on_disk, str(tmp_path / "report"), Wish(pictures=0), "..")
        written = set(tree(tmp_path / "report"))

        assert made.clips == 14
        for name in written:
            assert shelf.read(f"{root}/report/{name}") == (tmp_path / "report" / name).read_bytes()
    finally:
        store.close()


def test_a_run_makes_its_page_and_lives_without_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from finecut.io.media.testfilm.paint import paint

    paint(tmp_path / "a.mp4", width=96, height=54, rate=10, seconds=2)
    output = tmp_path / "out"
    words = ["curate", "--input", str(tmp_path / "a.mp4"), "--output", str(output)]
    words += ["--preset", "ultrafast", "--no-generate-embeddings"]
    assert main([*words, "--no-report"]) == 0
    assert "report" not in capsys.readouterr().out
    assert not (output / "report").exists()
    (output / "report").write_text("in the way")
    assert main(words) == 0
    assert "no report, because writing it failed" in capsys.readouterr().out
    (output / "report").unlink()
    assert main(words) == 0  # nothing to do but the page
    page = output / "report" / "index.html"
    assert f"open: {page}" in capsys.readouterr().out
    assert facts_of(page)["count"] == 1


def test_links_between_places_that_cannot_reach_each_other_are_refused(
    dataset: Curated, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["report", str(dataset.root), "--into", "gs://bucket/pages"])
    assert "are not on the same disk or in the same bucket" in capsys.readouterr().err
    root, before = dataset.root, tree(dataset.root)
    for inside in ("", "clips", "filtered_clips/x", "metas/v0", "report/data", "clips/../previews"):
        with pytest.raises(SystemExit) as ended:
            main(["report", str(root), "--into", f"{root}/{inside}"])
        assert ended.value.code == 2
        assert "outside of the dataset" in capsys.readouterr().err
    assert tree(root) == before
    # Data of the page would lie in a dataset of this name.
    with pytest.raises(OptionError, match="/x/data"):
        check_folder("/x/data", "/x")
    with pytest.raises(OptionError, match="outside of the dataset"):
        check_folder("gs://b/d", "gs://b/d/clips")
    for fine in ("/x/d/report", "/x/d/report/", "/x/d2", "/x"):
        check_folder("/x/d", fine)


def test_help_offers_what_can_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["report", "--help"])
    told = capsys.readouterr().out
    assert "--runner" in told
    assert "--no-pictures" in told
    assert "--runner" in options_table(ReportOptions)


# ── in a browser ─────────────────────────────────────────────────────────────────────────────────

PHONE, DESK = {"width": 360, "height": 740}, {"width": 1200, "height": 1200}
HEADLINE = "13 clips kept, 2 clips marked, 2 films failed (1 in part)"
VIEWS = ("clips", "sources", "scores", "duplicates", "failures", "run")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, without a window."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no chromium is installed here")
    with playwright.sync_playwright() as driver:
        # Sandboxes need rights that containers do not give.
        arguments = ["--no-sandbox", "--disable-gpu"]
        opened = driver.chromium.launch(executable_path=path, args=arguments)
        yield opened
        opened.close()


class Reader:
    """Somebody who reads a page, and what went wrong meanwhile."""

    def __init__(self, browser: Any, **settings: Any) -> None:
        settings = {"viewport": DESK, "color_scheme": "light"} | settings
        self.context = browser.new_context(**settings)
        self.page = self.context.new_page()
        self.wrong: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: self.wrong.append(f"dialog: {dialog.message}"))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def _heard(self, said: Any) -> None:
        if said.type == "error":
            self.wrong.append(said.text)

    def read(self, page: Path | str, view: str = "clips") -> Any:
        address = page if isinstance(page, str) else page.as_uri()
        self.page.goto(f"{address}#{view}")
        self.page.wait_for_selector("html[data-ready]")
        return self.page

    def turn_to(self, view: str) -> None:
        self.page.click(f"#to-{view}")
        self.page.wait_for_selector(f"#view-{view}:not([hidden])")

    @property
    def found(self) -> str:
        return str(self.page.text_content("#found"))

    def cards(self) -> list[str]:
        """The names of the cards that are shown, in their order, as they are read aloud."""
        told: list[str] = self.page.eval_on_selector_all(
            "#grid > li",
            "items => items.sort((a, b) => a.ariaPosInSet - b.ariaPosInSet)"
            ".map(item => item.querySelector('button').ariaLabel)",
        )
        return told

    def waits(self, condition: str, seconds: float = 20.0) -> None:
        """Until it holds. Asked from outside: within, the page's policy lets nobody evaluate."""
        until = time.monotonic() + seconds
        while not self.page.evaluate(condition):
            assert time.monotonic() < until, condition
            self.page.wait_for_timeout(20)

    def close(self) -> None:
        self.context.close()
        assert self.wrong == []


@pytest.fixture
def reader(browser: Any) -> Iterator[Reader]:
    reading = Reader(browser)
    yield reading
    reading.close()


@pytest.fixture(scope="module")
def page(dataset: Curated) -> Path:
    return dataset.root / "report" / "index.html"


@pytest.mark.slow
def test_of_what_there_is_nothing_nothing_is_shown(reader: Reader, tmp_path: Path) -> None:
    """No metadata of sources, no duplicates, no failures."""
    made = curated(tmp_path)
    assert main(["report", str(made.root), "--quiet"]) == 0
    shown = reader.read(made.root / "report/index.html")
    for view in VIEWS:
        reader.turn_to(view)
        said = shown.inner_text("body")
        assert not [word for word in ("null", "undefined", "NaN") if word in said.split()], said


def test_the_gallery_shows_every_clip_and_asks_nobody_else(reader: Reader, page: Path) -> None:
    shown = reader.read(page)
    assert shown.text_content("h1") == HEADLINE
    assert shown.locator("#legend li").all_text_contents()[2].startswith("1 clip failed")
    assert reader.found.startswith("14 clips · 14.0")
    assert len(reader.cards()) == 14
    reader.waits("document.querySelectorAll('#grid .picture canvas').length >= 8")
    painted = shown.evaluate(
        "[...document.querySelectorAll('#grid canvas')].every(c => c.width > 60 && c.height > 30)"
    )
    assert painted
    assert all(url.startswith("file://") for url in reader.asked)


def test_filters_and_orders(reader: Reader, page: Path, dataset: Curated) -> None:
    shown = reader.read(page)
    shown.check("#outcome-rejected", force=True)
    assert reader.found.startswith("1 of 14 clips")
    assert reader.cards() == ["still.mp4, 0:00.0 to 0:01.0, rejected by motion>0.005"]
    shown.click("#chips button")
    shown.check("#outcome-marked", force=True)
    assert [card.endswith("kept, marked") for card in reader.cards()] == [True, True]
    assert shown.locator("#grid .marked").all_text_contents() == ["marked", "marked"]
    shown.click("#chips button")
    # A score of somebody's own, and what the page measures itself under that name.
    for order, value in (("score-size", "7"), ("size", "KB")):
        shown.select_option("#order", order)
        assert value in shown.locator("#grid > li[aria-posinset='1'] .value").text_content()
    shown.select_option("#order", "")
    shown.select_option("#reason", "1")
    assert reader.found.startswith("1 of 14")
    shown.click("#chips button")
    shown.fill("#source", "lost")
    assert reader.found.startswith("2 of 14")
    shown.click("#chips button")
    scores = {entry.scores["motion_global_mean"] for entry in dataset.entries()}
    limit = sorted(scores)[len(scores) // 2]
    shown.click(".limits summary")
    shown.fill("#least-score-motion_global_mean", str(limit))
    wanted = sum(entry.scores["motion_global_mean"] >= limit for entry in dataset.entries())
    assert reader.found.startswith(f"{wanted} of 14")
    shown.fill("#least-score-motion_global_mean", "")
    shown.select_option("#order", "score-motion_global_mean")
    highest = max(dataset.entries(), key=lambda entry: entry.scores["motion_global_mean"])
    name = Path(highest.document["source_video"]).name
    assert name in reader.cards()[0]
    shown.click("#direction")
    assert reader.cards()[0].startswith("still.mp4")


def test_clips_are_chosen_by_what_is_known_of_their_videos(reader: Reader, page: Path) -> None:
    shown = reader.read(page)
    shown.click("summary:has-text('About the source videos')")
    names = shown.locator("#fields .field > span").all_text_contents()
    assert names == ["Proto", "License", "Tags", "Year"]
    options = shown.locator("#field-1 option").all_text_contents()
    assert options == ["Any", "cc0 (7)", f"{EVIL[2][:80]} (6)"]
    shown.select_option("#field-1", index=1)
    reader.waits("document.querySelector('#found').textContent.startsWith('7 of 14')")
    assert not any("other.mp4" in name for name in reader.cards())
    shown.reload()
    shown.wait_for_selector("html[data-ready]")
    assert reader.found.startswith("7 of 14"), "the address says so"
    shown.click("summary:has-text('About the source videos')")
    shown.select_option("#field-2", index=1)
    reader.waits("document.querySelector('#found').textContent.startsWith('0 of 14')")
    assert shown.locator("#chips button").all_text_contents() == [
        "License: cc0 ×",
        'Tags: ["sea", "Sky"] ×',
    ]
    shown.click("#chips button >> nth=0")
    reader.waits("document.querySelector('#found').textContent.startsWith('6 of 14')")
    shown.click("#grid button >> nth=0")
    shown.wait_for_selector("#clip[open]")
    assert EVIL[2] in shown.text_content("#clip")
    assert "About the source video" in shown.text_content("#clip")


def test_search_finds_words_of_captions_films_and_ids(
    reader: Reader, page: Path, dataset: Curated
) -> None:
    shown = reader.read(page)
    for words, count in (
        ("ONERROR=alert(1)", 3),  # its clip, and the two of the film that was made of it
        ("second other.mp4", 6),
        (dataset.kept()[0], 1),
        ("nobody ever said this", 0),
    ):
        shown.fill("#search", words)
        reader.waits(f"document.getElementById('found').textContent.startsWith('{count} of 14')")
    assert shown.is_visible("#nothing")


def test_a_clip_plays(reader: Reader, page: Path) -> None:
    shown = reader.read(page)
    shown.click("#grid > li >> nth=2")
    reader.waits("document.querySelector('dialog video')?.currentTime > 0.1")
    sizes = shown.evaluate(
        "(v => [v.videoWidth, v.videoHeight])(document.querySelector('dialog video'))"
    )
    assert sizes == [160, 90]
    assert shown.text_content(".verdict") == "Kept"
    shown.click("#step1")
    reader.waits("document.getElementById('clip-title').textContent.includes('0:03.0')")
    shown.keyboard.press("Escape")
    assert not shown.is_visible("#clip")
    reader.waits("location.hash === '#clips'")


@pytest.mark.slow
def test_back_closes_the_clip_and_forward_opens_it(reader: Reader, page: Path) -> None:
    shown = reader.read(page, "sources")
    reader.turn_to("clips")
    began = shown.evaluate("history.length")
    closed, opened = "!document.getElementById('clip').open", "document.getElementById('clip').open"
    for _ in range(3):
        shown.click("#grid > li >> nth=2")
        shown.wait_for_selector("#clip[open]")
        shown.click("#step1")
        reader.waits("document.getElementById('clip-title').textContent.includes('0:03.0')")
        shown.go_back()
        reader.waits(f"{closed} && location.hash === '#clips'")
        shown.go_forward()
        reader.waits(f"{opened} && location.hash.startsWith('#clip=')")
        shown.click("#close")
        reader.waits(f"{closed} && location.hash === '#clips'")
    assert shown.evaluate("history.length") == began + 1
    shown.go_back()
    reader.waits("location.hash === '#sources'")
    assert shown.is_visible("#view-sources")
    # Closed and opened in one breath.
    shown.evaluate("finecut.open(1)")
    shown.wait_for_selector("#clip[open]")
    shown.evaluate("document.getElementById('clip').close(); finecut.open(2)")
    reader.waits(f"{opened} && document.querySelector('#clip-title')?.textContent.includes('0:02')")
    shown.go_back()
    reader.waits(f"{closed} && location.hash === '#sources'")


def test_a_preview_plays_under_the_pointer_and_stops(reader: Reader, page: Path) -> None:
    shown = reader.read(page)
    shown.hover("#grid > li >> nth=1")
    shown.wait_for_selector("#grid img.playing")
    assert re.search(r"previews/[0-9a-f-]{36}/0_\d+\.webp$", shown.get_attribute(".playing", "src"))
    shown.hover("h1")
    shown.wait_for_selector("img.playing", state="detached")


def test_what_has_no_preview_plays_its_film(
    reader: Reader, dataset: Curated, tmp_path: Path
) -> None:
    copy = tmp_path / FOLDER
    shutil.copytree(dataset.root, copy)
    shutil.rmtree(copy / "previews")
    assert main(["report", str(copy), "--quiet", "--into", str(tmp_path / "pages #2")]) == 0
    shown = reader.read(tmp_path / "pages #2" / "index.html")
    reader.waits("document.querySelectorAll('#grid .picture canvas').length >= 8")
    shown.hover("#grid > li >> nth=1")
    reader.waits("document.querySelector('#grid video.playing')?.currentTime > 0")
    assert shown.text_content("#dataset") == FOLDER
    reader.wrong = [said for said in reader.wrong if "ERR_FILE_NOT_FOUND" not in said]


def test_the_line_of_a_film_says_what_became_of_each_piece(reader: Reader, page: Path) -> None:
    shown = reader.read(page, "sources")
    shown.evaluate(
        "(names => { names[names.findIndex(name => name.includes('other'))]"
        " = 'a'.repeat(400) + '.mp4' })(finecut.sources.name)"
    )
    shown.select_option("#order-sources", "longest")
    shown.select_option("#order-sources", "films")
    long = shown.locator("#sources > li", has_text="aaaa")
    assert long.locator(".name").get_attribute("title") == "a" * 400 + ".mp4"
    assert long.locator(".source > .quiet").evaluate(
        "e => e.scrollWidth <= e.clientWidth && e.getBoundingClientRect().right <= innerWidth"
    )
    told = shown.locator("#sources > li", has_text="lost.mp4")
    assert "2 kept · 1 failed" in told.text_content()
    line = told.locator("[role=slider]")
    line.focus()
    said = []
    for _ in range(3):
        shown.keyboard.press("ArrowRight")
        said.append(line.get_attribute("aria-valuetext"))
    assert said == [
        "0:00.0 to 0:01.0, kept",
        "0:01.0 to 0:02.0, failed",
        "0:02.0 to 0:03.0, kept",
    ]
    colours = line.locator("canvas").evaluate(
        "c => { const d = c.getContext('2d').getImageData(0, 12, c.width, 1).data;"
        " return new Set([...Array(c.width).keys()].map(i => d.slice(4*i, 4*i+4).join())).size }"
    )
    assert colours >= 2
    shown.keyboard.press("Enter")
    shown.wait_for_selector("#clip[open]")
    assert "0:02.0" in shown.text_content("#clip-title")
    shown.keyboard.press("Escape")
    shown.click("#sources .source >> nth=1")
    assert reader.found.startswith("2 of 14")


def test_thresholds_keep_what_rules_would_keep(
    reader: Reader, page: Path, dataset: Curated
) -> None:
    shown = reader.read(page, "scores")
    entries = dataset.entries()
    slider = shown.locator("#try-score-motion_global_mean")
    told = shown.locator(".score", has=slider)
    assert "threshold > 0.005" in told.text_content()
    for value in (100, 200, 390):
        slider.fill(str(value))
        said = slider.get_attribute("aria-valuetext")
        limit, kept = re.match(r"> (\S+) keeps (\d+) of 14 clips", said).groups()  # type: ignore[union-attr]
        assert int(kept) == sum(e.scores["motion_global_mean"] > float(limit) for e in entries)
    assert f"--keep 'motion_global_mean>{limit}'" in told.text_content()
    assert told.locator("svg rect.kept").count() > 1
    assert told.locator("svg rect.rejected").count() == 1
    assert told.locator("svg line.limit").count() == 1


def test_duplicates_neighbours_failures_and_runs_are_told(reader: Reader, page: Path) -> None:
    shown = reader.read(page, "duplicates")
    shown.wait_for_selector("#duplicates .thumb")
    assert shown.locator("#duplicates .under").all_text_contents() == [
        "stays",
        "97.0 % alike",
        "91.0 % alike",
    ]
    facts = shown.locator("#duplicates .fact").all_text_contents()
    assert [text for text in facts if "alike" in text or "vector" in text] == [
        "pictures 93 % alike, what changes 87 %; mirrored, cropped",
        "by its vector alone",
    ]
    sizes = [text for text in facts if re.fullmatch(r"\d+ × \d+, [\d.]+\s\w+", text)]
    films = [text for text in facts if re.fullmatch(r"\S+\.mp4, [\d:.]+ to [\d:.]+", text)]
    assert (len(sizes), len(films), len(facts)) == (3, 3, 8)
    reader.turn_to("failures")
    shown.wait_for_selector(".failure")
    assert shown.locator(".failure").count() == 2
    assert "set aside" in shown.text_content("#failures")
    reader.turn_to("run")
    text = shown.text_content("#run")
    for told in ("--keep", "motion>0.005", "apache-beam"):
        assert told in text
    reader.turn_to("clips")
    shown.click("#grid > li >> nth=0")
    shown.wait_for_selector("ul[aria-label='Nearest clips'] .thumb")
    shares = [
        int(text.split()[0])
        for text in shown.locator("ul[aria-label='Nearest clips'] .under").all_text_contents()
    ]
    assert len(shares) == 8
    assert shares == sorted(shares, reverse=True)
    assert shown.locator("ul[aria-label='Duplicates'] .thumb").count() == 2


def test_what_strangers_said_is_shown_as_they_said_it(
    reader: Reader, page: Path, dataset: Curated
) -> None:
    """Nothing of it is markup, anywhere: no element that we did not make, no script, no dialog."""
    shown = reader.read(page)
    kept = dataset.kept()
    for clip, said in zip(kept, EVIL, strict=False):
        shown.evaluate(f"finecut.open(finecut.rowOf('{clip}'))")
        shown.wait_for_selector(".captions blockquote")
        reader.waits(f"location.hash === '#clip={clip}'")
        texts = shown.locator(".captions blockquote").all_text_contents()
        # A browser shows what is no character as a mark of its own.
        assert said.replace("\x00", "\ufffd").replace("\ud800", "\ufffd") in [
            text.replace("\x00", "\ufffd").replace("\ud800", "\ufffd") for text in texts
        ]
    shown.evaluate(f"finecut.open(finecut.rowOf('{kept[4]}'))")
    shown.wait_for_selector(".errors")
    assert EVIL[0] in shown.text_content(".errors")
    assert shown.text_content(".verdict") == "Kept, but marked"
    scores = dict(
        zip(
            shown.locator(".numbers dt").all_text_contents(),
            shown.locator(".numbers dd").all_text_contents(),
            strict=True,
        )
    )
    assert (scores["proto"], scores["constructor"], scores["size"]) == ("1", "2", "7")
    curated_ones = [
        clip.id
        for clip in dataset.entries()
        if clip.kept and "lost" not in clip.document["source_video"]
    ]
    for number, said in ((5, "is invalid"), (6, "copiedreally 0:00.0 – 0:05.0"), (7, EVIL[0])):
        shown.evaluate(f"finecut.open(finecut.rowOf('{curated_ones[number]}'))")
        reader.waits(f"location.hash === '#clip={curated_ones[number]}'")
        assert said in shown.text_content("#clip .right")
    shown.keyboard.press("Escape")
    for view in VIEWS:
        reader.turn_to(view)
    assert EVIL[2] in shown.text_content("#failures")
    made = "img:not(.playing), b, i, svg:not(.chart), [onload], [onerror], iframe, object"
    assert shown.locator(made).count() == 0
    assert shown.locator("script:not([src])").count() == 2


def test_markup_that_gets_in_all_the_same_does_nothing(browser: Any, page: Path) -> None:
    reader = Reader(browser)
    shown = reader.read(page)
    for attack in (
        "document.body.innerHTML = '<img src=x onerror=alert(1)>'",
        "document.head.append(Object.assign(document.createElement('script'), {text: 'alert(1)'}))",
        "new Image().src = 'https://example.invalid/told'",
        "document.head.append(Object.assign(document.createElement('script'), {src: 'x.js'}))",
    ):
        shown.evaluate(f"(() => {{ try {{ {attack} }} catch {{}} }})()")
    shown.wait_for_timeout(100)
    assert not any(said.startswith("dialog") for said in reader.wrong)
    assert not any("example.invalid" in url for url in reader.asked if "told" not in url)
    assert shown.text_content("h1") == HEADLINE
    reader.wrong = []
    reader.close()


def test_the_page_can_be_used_with_keys_alone(reader: Reader, page: Path) -> None:
    shown = reader.read(page)
    focused = "document.activeElement"
    shown.keyboard.press("Tab")
    assert shown.evaluate(f"{focused}.id") == "skip"
    outline = shown.evaluate(f"getComputedStyle({focused}).outlineStyle")
    assert outline != "none"
    shown.keyboard.press("Enter")
    assert shown.evaluate(f"{focused}.id") == "main"
    shown.keyboard.press("/")
    assert shown.evaluate(f"{focused}.id") == "search"
    while shown.evaluate(f"{focused}.dataset.item") is None:
        shown.keyboard.press("Tab")
    name = f"{focused}.ariaLabel"
    assert shown.evaluate(name).startswith("long.mp4, 0:00.0")
    shown.keyboard.press("ArrowRight")
    assert shown.evaluate(name).startswith("long.mp4, 0:01.0")
    columns = shown.evaluate("finecut.grid.columns()")
    shown.keyboard.press("ArrowDown")
    assert shown.evaluate(f"{focused}.closest('li').ariaPosInSet") == str(columns + 2)
    shown.keyboard.press("End")
    assert shown.evaluate(name).startswith("still.mp4")
    shown.keyboard.press("Home")
    # One stop in the grid, however many clips there are.
    shown.keyboard.press("Tab")
    assert shown.evaluate(f"{focused}.dataset.item") is None
    shown.keyboard.press("Shift+Tab")
    shown.keyboard.press("Enter")
    shown.wait_for_selector("#clip[open]")
    shown.keyboard.press("ArrowRight")
    reader.waits("document.getElementById('clip-title').textContent.includes('0:01.0')")
    shown.keyboard.press("Escape")
    reader.waits("!document.getElementById('clip').open")
    # Where one was looking: the clip that was closed.
    reader.waits(f"{name}.startsWith('long.mp4, 0:01.0')")


def test_ticked_clips_are_kept_and_saved_as_a_list_that_drop_reads(
    reader: Reader, page: Path, tmp_path: Path
) -> None:
    shown = reader.read(page)
    ticked = "[...document.querySelectorAll('.tick input')].filter(box => box.checked).length"
    # A click on the box, a range with Shift, and a key on the clip that has the focus.
    shown.click("#grid > li[aria-posinset='1'] .tick")
    shown.click("#grid > li[aria-posinset='3'] .tick", modifiers=["Shift"])
    assert shown.evaluate(ticked) == 3
    shown.focus("#grid > li[aria-posinset='2'] .card")
    shown.keyboard.press("x")
    shown.keyboard.press("ArrowRight")
    shown.keyboard.press("ArrowRight")
    shown.keyboard.press("x")
    assert shown.evaluate("[...finecut.marks.ticked].slice(0, 5).join('')") == "10110"
    shown.keyboard.press("Enter")
    shown.wait_for_selector("#clip[open]")
    shown.fill("#clip-tags", "night,  good")
    shown.fill("#clip-note", "a note\t<b>")
    shown.keyboard.press("Escape")
    reader.waits("!location.hash.startsWith('#clip=')")
    shown.reload()
    shown.wait_for_selector("html[data-ready]")
    assert shown.evaluate("[...finecut.marks.ticked].slice(0, 5).join('')") == "10110"
    shown.click("#marks > summary")
    shown.fill("#tags", "cat")
    shown.keyboard.press("Enter")
    with shown.expect_download() as saving:
        shown.click("#save-marks")
    assert saving.value.suggested_filename == "marks.txt"
    saving.value.save_as(tmp_path / "marks.txt")
    ids = [shown.evaluate(f"finecut.id({row})") for row in (0, 2, 3)]
    lines = (tmp_path / "marks.txt").read_text().splitlines()
    assert lines[0].startswith("#")
    assert sorted(lines[1:]) == sorted(
        [f"{ids[0]}\tcat", f"{ids[1]}\tcat", f"{ids[2]}\tnight, good, cat\ta note <b>"]
    )
    assert set(read_drops([str(tmp_path / "marks.txt")])) == set(ids)
    shown.click("#only-ticked")
    assert reader.found.startswith("3 of ")
    shown.click("#untick")
    assert shown.evaluate("finecut.marks.count()") == 0
    shown.reload()
    shown.wait_for_selector("html[data-ready]")
    assert shown.evaluate("finecut.marks.count()") == 0, "what was unticked stays so"
    with (tmp_path / "marks.txt").open("a") as file:
        file.write(f"{LOST}\n not an id\n")
    shown.click("#marks > summary")
    shown.set_input_files("#marks-file", tmp_path / "marks.txt")
    reader.waits("document.getElementById('ticked').textContent.includes('from marks.txt')")
    said = shown.text_content("#ticked")
    assert said == (
        "3 clips ticked from marks.txt, 1 id of clips that this page does not show, "
        "1 line without an id"
    )
    row = shown.evaluate("[finecut.marks.of(3).tags.join(), finecut.marks.of(3).note]")
    assert row == ["night,good,cat", "a note <b>"]
    shown.click("#untick")
    shown.click("#chips .chip")
    reader.waits("finecut.shown.rows.length === finecut.clips.count")
    shown.click("#tick-all")
    assert shown.evaluate("finecut.marks.count() === finecut.clips.count")


def test_the_address_says_what_is_shown(reader: Reader, page: Path) -> None:
    shown = reader.read(page)
    shown.click("label:has(#outcome-kept)")
    shown.select_option("#order", "duration")
    shown.click("#direction")
    shown.fill("#source", "long")
    shown.click(".limits > summary")
    shown.fill("#most-duration", "1.5")
    reader.waits("decodeURIComponent(location.hash).includes('limit.duration=..1.5')")
    cards, found, address = reader.cards(), reader.found, shown.url
    assert len(cards) > 1
    shown.reload()
    shown.wait_for_selector("html[data-ready]")
    assert (reader.cards(), reader.found, shown.url) == (cards, found, address)
    assert shown.input_value("#order") == "duration"
    assert shown.text_content("#direction") == "↑ Lowest first"
    # Another view and back leave them as they are; so does looking at a clip.
    reader.turn_to("scores")
    reader.turn_to("clips")
    assert reader.found == found
    # A link to some clips shows these, and nothing else is wanted; one that lies shows what it can.
    ids = [shown.evaluate(f"finecut.id({row})") for row in (4, 1)]
    shown.evaluate(f"location.hash = 'clips?ids={','.join(ids)},nonsense'")
    reader.waits("document.getElementById('found').textContent.startsWith('2 of ')")
    assert shown.input_value("#source") == ""
    shown.evaluate(
        "location.hash = 'clips?outcome=x&reason=99&limit.duration=a..b&order=no&limit.q=1..'"
    )
    reader.waits("finecut.shown.rows.length === finecut.clips.count")
    assert shown.url.endswith("#clips")


def test_where_the_browser_keeps_nothing_the_page_says_so(reader: Reader, page: Path) -> None:
    forbidden = "Object.defineProperty(window, 'localStorage', {get() { throw new Error('no'); }})"
    reader.page.add_init_script(forbidden)
    shown = reader.read(page)
    shown.click("#marks > summary")
    assert "does not keep what is ticked" in shown.inner_text("#unkept")
    shown.click("#grid > li[aria-posinset='1'] .tick")
    assert shown.inner_text("#ticked").startswith("1 clip ticked")


def test_light_and_dark(browser: Any, page: Path) -> None:
    light = (
        "(c => c.match(/\\d+/g).reduce((a, b) => a + Number(b), 0) / 3)"
        "(getComputedStyle(document.body).backgroundColor)"
    )
    reader = Reader(browser, color_scheme="dark")
    shown = reader.read(page)
    assert shown.evaluate(light) < 60
    shown.click("#theme")
    assert shown.text_content("#theme") == "Light"
    assert shown.evaluate(light) > 200
    shown.reload()
    shown.wait_for_selector("html[data-ready]")
    assert shown.evaluate(light) > 200, "the choice is remembered"
    shown.click("#theme")
    shown.emulate_media(color_scheme="light")
    assert shown.evaluate(light) < 60
    reader.close()


def test_a_telephone_scrolls_in_one_direction(browser: Any, page: Path) -> None:
    reader = Reader(browser, viewport=PHONE, has_touch=True, is_mobile=True, device_scale_factor=2)
    shown = reader.read(page)
    wide = "document.documentElement.scrollWidth - window.innerWidth"
    for view in VIEWS:
        reader.turn_to(view)
        assert shown.evaluate(wide) <= 0, view
    reader.turn_to("clips")
    shown.click(".others > summary")
    shown.click(".limits > summary")
    shown.click("#marks > summary")
    shown.tap("#grid > li[aria-posinset='1'] .tick")
    assert shown.evaluate(wide) <= 0
    shown.tap("#grid > li >> nth=0")
    shown.wait_for_selector("#clip[open]")
    dialog = "(d => d.scrollWidth - d.clientWidth)(document.getElementById('clip'))"
    assert shown.evaluate(dialog) <= 0
    reader.close()


def test_who_wants_stillness_gets_it(browser: Any, page: Path) -> None:
    reader = Reader(browser, reduced_motion="reduce")
    shown = reader.read(page)
    shown.hover("#grid > li >> nth=1")
    shown.wait_for_timeout(250)
    assert shown.locator(".playing").count() == 0
    shown.click("#grid > li >> nth=1")
    shown.wait_for_selector("#clip video")
    assert shown.evaluate("document.querySelector('#clip video').paused")
    reader.close()


@pytest.mark.slow
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_no_rule_of_accessibility_is_broken(browser: Any, page: Path, colours: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    # The tool is a script of its own, which the page's policy would not let in.
    reader = Reader(browser, color_scheme=colours, bypass_csp=True)
    shown = reader.read(page)
    shown.click(".limits > summary")
    shown.click("#marks > summary")
    shown.click("#grid > li[aria-posinset='1'] .tick")
    broken = {}
    for view in (*VIEWS, "clip"):
        if view == "clip":
            shown.evaluate("finecut.open(0)")
            shown.wait_for_selector("ul[aria-label='Nearest clips'] .thumb")
        else:
            reader.turn_to(view)
        found = axe.run(shown).response["violations"]
        for violation in found:
            broken[view, violation["id"]] = [node["html"][:160] for node in violation["nodes"][:3]]
    assert broken == {}
    reader.wrong = [said for said in reader.wrong if "TrustedScript" not in said]
    reader.close()


def test_a_bucket_that_is_served_shows_the_same(reader: Reader, dataset: Curated) -> None:
    handler = partial(_Silent, directory=str(dataset.root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/report/index.html"
        reader.read(address)
        assert len(reader.cards()) == 14
        reader.waits("document.querySelectorAll('#grid .picture canvas').length >= 8")
        here = address.removesuffix("report/index.html")
        assert all(url.startswith(here) for url in reader.asked)
        # It still fetches pictures, and would complain of a server that has gone.
        reader.page.goto("about:blank")
        server.shutdown()
    reader.wrong = [said for said in reader.wrong if "favicon" not in said and "404" not in said]


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        pass


# ── a packed dataset ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed dataset with a page, whose clips a browser can play."""
    home = tmp_path_factory.mktemp("packs")
    curate(painted(home / "films"), home / "output", **WEBM, layout="packed", no_report=False)
    return home / "output"


#: What every Chromium plays.
WEBM = {"encoder": "libvpx-vp9", "generate_previews": True}


class _Ranges(_Silent):
    """A server that knows parts of files, as those of buckets do."""

    def do_GET(self) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if wanted is None:
            super().do_GET()
            return
        first, last = map(int, wanted.groups())
        data = Path(self.translate_path(self.path)).read_bytes()
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.end_headers()
        self.wfile.write(data[first : last + 1])


@pytest.mark.slow
@pytest.mark.parametrize("server_kind", [_Ranges, _Silent], ids=["ranges", "whole files"])
def test_clips_in_archives_play_where_they_are_served(
    reader: Reader, packs: Path, server_kind: type[_Silent]
) -> None:
    handler = partial(server_kind, directory=str(packs))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        shown = reader.read(f"http://127.0.0.1:{server.server_address[1]}/report/index.html")
        assert len(reader.cards()) == 6
        for clip in range(3):
            shown.evaluate(f"finecut.open({clip})")
            reader.waits("document.querySelector('#clip video')?.readyState >= 2")
            assert shown.evaluate("document.querySelector('#clip video').duration") > 0.9
        shown.click("#close")
        shown.hover("#grid > li >> nth=1")
        reader.waits("document.querySelector('#grid img.playing')?.naturalWidth > 0")
        assert not [url for url in reader.asked if "/clips/" in url or "/previews/" in url]
        reader.page.goto("about:blank")
        server.shutdown()
    reader.wrong = [said for said in reader.wrong if "favicon" not in said and "404" not in said]


@pytest.mark.slow
def test_from_a_disk_a_page_says_how_clips_in_archives_are_seen(
    reader: Reader, packs: Path
) -> None:
    shown = reader.read(packs / "report/index.html")
    reader.waits("document.querySelectorAll('#grid .picture canvas').length >= 5")
    shown.hover("#grid > li >> nth=1")
    shown.evaluate("finecut.open(0)")
    reader.waits("document.querySelector('#clip .stage p')?.textContent.includes('an archive')")
    assert "finecut unpack" in shown.inner_text("#clip .stage")


@pytest.mark.slow
def test_firefox_hatches_what_was_rejected(page: Path, tmp_path: Path) -> None:
    """It thinned out the stripes: half of what is hatched is dark."""
    firefox = shutil.which("firefox-esr") or shutil.which("firefox")
    if firefox is None:
        pytest.skip("no Firefox is installed here")
    picture, profile = tmp_path / "seen.png", tmp_path / "profile"
    profile.mkdir()
    words = ["--headless", "--no-remote", "--profile", str(profile), "--window-size=1200,600"]
    words += ["--screenshot", str(picture), page.as_uri()]
    subprocess.run(
        [firefox, *words], env=os.environ | {"HOME": str(tmp_path)}, timeout=120, check=True
    )
    top = np.asarray(Image.open(picture).convert("RGB"), int)[:300]

    def near(*colour: int) -> int:
        return int((np.abs(top - np.array(colour)).max(axis=2) < 24).sum())

    # The colour of what was rejected, and how it looks on paper at 45 %; the sign above is dark.
    dark, pale = near(166, 95, 0), near(213, 180, 136)
    assert pale > 100
    assert 0.6 < dark / pale < 2.5, (dark, pale)


def test_a_page_without_its_data_says_so(reader: Reader, page: Path, tmp_path: Path) -> None:
    shutil.copy(page, tmp_path)
    reader.page.goto((tmp_path / "index.html").as_uri())
    reader.page.wait_for_selector("#trouble:not([hidden])")
    assert "belong together" in reader.page.text_content("#trouble")
    reader.wrong = []


# ── fifty thousand ───────────────────────────────────────────────────────────────────────────────

MANY, FILMS = 50_000, 500


class Imagined(Output):
    """An output of so many clips that nobody wrote them; documents of chunks are there."""

    def entry(self, clip: str, kept: bool, chunk: str = "") -> Entry:
        number = int(clip[-12:], 16)
        said = {
            "source_video": "",
            "duration_span": [number % 100 * 10.0, number % 100 * 10.0 + 5 + number % 5],
            "width": 1280,
            "height": 720,
            "framerate": 30.0,
            "num_frames": 150,
            "num_bytes": 10**6,
            "valid": True,
            "scores": {name: (number * k % 997) / 997 for k, name in enumerate(SCORES, 3)},
            "windows": [
                {"start_frame": 0, "end_frame": 149, "q_caption": f"clip number {number} of many"}
            ],
        } | ({} if kept else {"filtered_by": "sharpness>=0.2"})
        return Entry(clip, kept, "", chunk, said)


SCORES = ("sharpness", "exposure", "blockiness", "blackness", "letterbox", "frozen", "text_max")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("many")
    layout = Layout(str(root))
    for film in range(FILMS):
        ids = [f"00000000-0000-5000-8000-{film * 100 + clip:012x}" for clip in range(100)]
        path = Path(layout.processed_clip_chunk(f"{film:03d}.mp4", 0))
        path.parent.mkdir(exist_ok=True)
        said = {"video": f"/f/{film:03d}.mp4", "clips": ids[:80], "filtered_clips": ids[80:]}
        path.write_text(json.dumps(said))
    own = Shelf(str(root), str(root / ".staging" / "x"))
    made = make_report(Imagined(layout), own, str(root / "report"), Wish(pictures=0), "..")
    assert made.clips == MANY
    return Path(made.path)


@pytest.mark.slow
def test_fifty_thousand_clips_are_there_at_once(reader: Reader, many: Path) -> None:
    """What is painted first, and when everything is loaded; of the cards only those in sight."""
    shown = reader.read(many)
    painted = shown.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    assert painted < 2000
    assert reader.found.startswith("50,000 clips")
    assert len(reader.cards()) < 60
    reader.page.keyboard.press("/")
    # Scores of so many clips are loaded when somebody asks for them.
    assert not any("score" in url for url in reader.asked)
    shown.select_option("#order", "score-sharpness")
    reader.waits("document.querySelector('#grid > li .value')?.textContent === '0.999'")
    assert any("score" in url for url in reader.asked)
    shown.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    reader.waits(
        "[...document.querySelectorAll('#grid > li')].some(i => i.ariaPosInSet === '50000')"
    )
    assert len(reader.cards()) < 100
    shown.fill("#search", "number 49999 of")
    reader.waits("document.getElementById('found').textContent.startsWith('1 of 50,000')")
    reader.turn_to("scores")
    reader.waits("document.getElementById('scores').textContent.includes('≥ 0.2 keeps')")
    reader.turn_to("sources")
    assert shown.locator("#sources > li").count() < 40
    reader.wrong = [said for said in reader.wrong if "ERR_FILE_NOT_FOUND" not in said]
