"""Runs that follow each other in one process, or are at work in it at once, do not meet."""

from __future__ import annotations

import gc
import pickle
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import apache_beam as beam
from staged_clips import make_clips, tree

from finecut.io.layout import Layout
from finecut.io.records import ModelUsed
from finecut.io.storage.fence import Fence, leads_outside
from finecut.io.storage.publishing import Shelf
from finecut.io.storage.staging import Scratch
from finecut.transforms.beam.sharing import _RUNS, of_run
from finecut.transforms.write.clips import WriteClips
from finecut.transforms.write.writing import Writing

EYE = "cosmos-embed1-224p"


def write_run(root: Path, model: str, threads: int) -> set[str]:
    """A pipeline of one's own, in which the fence arrives with the steps; what it wrote."""
    own = Shelf(str(root), f"{root}/.staging/{model}", Fence((str(root),)))
    writing = Writing(Layout(str(root)), own, threads=threads)
    used = {f"{EYE}_embedding": ModelUsed(model, "1", 2)}
    clips = [replace(clip, models=used) for clip in make_clips(writing)]
    with beam.Pipeline("FnApiRunner") as pipeline:
        _ = pipeline | beam.Create(clips) | WriteClips(writing)
    own.sweep()
    return {name for name in tree(str(root)) if not name.startswith(".staging/")}


def left_in_this_process() -> list[str]:
    gc.collect()
    ours = [thread for thread in threading.enumerate() if thread.name.startswith("finecut-write")]
    for thread in ours:
        thread.join(timeout=10)
    return [*_RUNS, *(thread.name for thread in ours if thread.is_alive())]


def link_out_of(root: Path) -> str:
    (root.parent / "foreign").mkdir(exist_ok=True)
    link = root / "link"
    link.symlink_to(root.parent / "foreign")
    return f"{link}/film.mp4"


def test_a_run_leaves_nothing_for_the_next_one(tmp_path: Path) -> None:
    root = tmp_path / "out"
    first = write_run(root, "eye", 2)
    assert left_in_this_process() == []
    assert not leads_outside(link_out_of(root)), "its fence fell with its steps"
    shutil.rmtree(root)
    assert write_run(root, "another", 1) == first
    assert left_in_this_process() == []


def test_two_runs_at_once_do_not_meet(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as both:
        runs = [
            both.submit(write_run, tmp_path / model, model, threads)
            for model, threads in (("eye", 1), ("ear", 3))
        ]
        one, other = (run.result() for run in runs)
    assert one == other
    for model in ("eye", "ear"):
        note = tmp_path / model / f".finecut/{Layout('').embeddings(EYE).strip('/')}.json"
        assert f'"{model}"' in note.read_text(encoding="utf-8")
    assert left_in_this_process() == []


def test_a_fence_that_arrived_stands_as_long_as_anything_holds_it(tmp_path: Path) -> None:
    root = tmp_path / "out"
    root.mkdir()
    path = link_out_of(root)
    work = pickle.dumps(Shelf(str(root), f"{root}/.staging/run", Fence((str(root),))))
    assert not leads_outside(path)
    one, other = pickle.loads(work), pickle.loads(work)
    assert leads_outside(path)
    del one
    assert leads_outside(path)
    del other
    assert not leads_outside(path)


def test_what_is_kept_of_a_run_is_made_once_and_goes_with_the_last_step(tmp_path: Path) -> None:
    one, same, other = of_run("a"), of_run("a"), of_run("b")
    assert one.once("number", object) is same.once("number", object)
    assert one.once("number", object) is not other.once("number", object)
    made = one.once("number", object)
    del one, same
    gc.collect()
    assert of_run("a").once("number", object) is not made


def test_a_scratch_folder_that_went_is_made_again(tmp_path: Path) -> None:
    scratch = Scratch(100, str(tmp_path / "scratch"))
    assert scratch.put("sheet", [b"data"])
    shutil.rmtree(tmp_path / "scratch")
    assert scratch.put("sheet", [b"data"])
    assert scratch.get("sheet") == b"data"
