"""What is no clip's trouble leaves the bundle, where the engine can do something about it."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from child_work import finds_its_store_busy
from staged_clips import make_clips

from finecut.io.layout import Layout
from finecut.io.process.children import ChildLimits, possible
from finecut.io.records import Clip, Failure, ModelUsed, Source, TextOutcome
from finecut.io.storage import files as shelf
from finecut.io.storage import retry
from finecut.io.storage.publishing import Shelf
from finecut.io.storage.retry import has_outlasted, note_outlasted
from finecut.io.storage.stores import Found
from finecut.pipeline.engines import does_again
from finecut.transforms.beam.guard import guarded
from finecut.transforms.beam.marks import Marking, marks_of, watched
from finecut.transforms.beam.weather import (
    DEAD_DEVICE,
    FAIR,
    DeviceLost,
    ForTheEngine,
    InARow,
    StoreBusy,
    TooManyMarked,
    Weather,
    is_lost_device,
    sentence_of,
    this_process,
)
from finecut.transforms.caption.asking import Answer, Asked, Question
from finecut.transforms.cut.isolated import isolated
from finecut.transforms.write.writing import Writing

SOURCE = Source("gs://b/a.mp4", "a.mp4", "a.mp4")
CLUSTER = Weather(retries=True)
HERE = Weather(home=this_process())


def busy() -> OSError:
    """What is left of a request that a store refused until all patience was over."""
    error = ConnectionError("503")
    note_outlasted(error, "gs://b/a.mp4")
    return error


def outcome(error: Exception, weather: Weather) -> list[object]:
    def work() -> Iterator[str]:
        yield "clip"
        raise error

    return list(guarded("write", SOURCE, work, weather=weather))


# ── stores ───────────────────────────────────────────────────────────────────────────────────────


def test_a_store_that_stays_busy_is_for_an_engine_that_tries_again() -> None:
    with pytest.raises(StoreBusy, match=r"write was working on a\.mp4.*503"):
        outcome(busy(), CLUSTER)


def test_elsewhere_it_is_listed() -> None:
    for weather in (FAIR, HERE):
        done, failed = outcome(busy(), weather)
        assert done == "clip"
        assert isinstance(failed, Failure)


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError("gone"),
        PermissionError("403"),
        ConnectionError("of somebody who did not wait"),
        ValueError("no film"),
    ],
)
def test_what_stays_as_it_is_is_listed_everywhere(error: Exception) -> None:
    note_outlasted(error, "" if isinstance(error, ConnectionError) else "gs://b/a.mp4")
    assert isinstance(outcome(error, CLUSTER)[-1], Failure)


def test_it_is_known_by_what_led_to_it() -> None:
    def work() -> Iterator[str]:
        yield "a clip"
        try:
            raise busy()
        except OSError as error:
            raise ValueError("the film ends too early") from error

    with pytest.raises(StoreBusy):
        list(guarded("cut", SOURCE, work, weather=CLUSTER))


def test_a_guard_around_a_guard_lets_it_through() -> None:
    inner = lambda: guarded("cut", SOURCE, lambda: outcome(busy(), CLUSTER), weather=CLUSTER)  # noqa: E731
    with pytest.raises(StoreBusy):
        list(guarded("cut", SOURCE, inner))


class Refusing:
    """A store whose every answer is 503."""

    def look(self, uri: str) -> Found | None:
        raise ConnectionError("503")


@pytest.mark.parametrize(
    ("uri", "is_weather"),
    [("gs://bucket/a.mp4", True), ("https://example.org/a.mp4", False)],
)
def test_only_what_lies_in_a_bucket_is_weather(
    monkeypatch: pytest.MonkeyPatch, uri: str, is_weather: bool
) -> None:
    """A web server that is gone stays gone, and would end the job."""
    monkeypatch.setattr(shelf, "store_for", lambda _uri: Refusing())
    monkeypatch.setattr(shelf, "STORE_SECONDS", 0.0)
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.0)
    with pytest.raises(ConnectionError) as refused:
        shelf.size_of(uri)
    assert has_outlasted(refused.value) is is_weather


@pytest.mark.skipif(not possible(), reason="children need Linux")
def test_a_child_says_it_of_its_store() -> None:
    limits = ChildLimits(2000, 60.0, 60.0)
    with pytest.raises(StoreBusy, match="503"):
        list(isolated("cut", SOURCE, finds_its_store_busy, limits=limits, weather=CLUSTER))
    [failed] = isolated("cut", SOURCE, finds_its_store_busy, limits=limits)
    assert (failed.error, failed.message) == ("ConnectionError", "503")


def test_which_engines_try_again() -> None:
    runners = ("local", "DirectRunner", "prism", "PrismRunner", "DataflowRunner", "FlinkRunner")
    assert [does_again(runner) for runner in runners] == [False] * 4 + [True] * 2


# ── GPUs ─────────────────────────────────────────────────────────────────────────────────────────


class AcceleratorError(RuntimeError):
    """As torch calls it."""


class EngineDeadError(Exception):
    """As vLLM calls it."""


ILLEGAL = "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be …"


@pytest.mark.parametrize(
    ("error", "answers", "lost"),
    [
        (AcceleratorError(ILLEGAL), None, True),
        (RuntimeError(ILLEGAL), None, True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), False, True),
        (RuntimeError("CUDA error: invalid argument"), True, False),
        (RuntimeError("CUDA error: out of memory"), None, False),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), False, False),
        (EngineDeadError("EngineCore encountered an issue"), True, True),
        (RuntimeError("shapes do not match"), False, False),
        (ValueError("CUDA error: in the text of a film"), None, False),
        (EOFError("the film ends"), None, False),
    ],
    ids=str,
)
def test_when_a_gpu_is_dead(error: Exception, answers: bool | None, lost: bool) -> None:
    """What does not fit, or cannot be done, leaves it alive; then it still answers."""
    assert is_lost_device(error, lambda: answers) is lost


def test_a_model_is_lost_with_the_process_that_has_it() -> None:
    """Others ask it through a connection."""
    here, there = multiprocessing.Pipe()
    there.close()
    with pytest.raises(EOFError) as ended:
        here.recv()
    here.close()
    assert is_lost_device(ended.value)


def test_on_this_machine_the_run_stops_with_a_sentence() -> None:
    with pytest.raises(DeviceLost) as lost:
        outcome(RuntimeError(ILLEGAL), HERE)
    said = str(lost.value)
    assert said.startswith("write was working on a.mp4, and the GPU")
    assert "CUDA error: an illegal memory access was encountered)" in said
    assert "run the same command again" in said
    assert "\n" not in said
    assert sentence_of(lost.value) == said


def ended_by(work: Callable[[], object]) -> int:
    """How a copy of this process ends over some work."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_worker_process_ends() -> None:
    """Of whatever run: only the process that planned it is not ended."""
    assert ended_by(lambda: outcome(RuntimeError(ILLEGAL), HERE)) == DEAD_DEVICE
    assert ended_by(lambda: outcome(RuntimeError(ILLEGAL), FAIR)) == 1


class Dead:
    """A model on a GPU that died."""

    at_once = 10**9

    def __init__(self) -> None:
        self.used, self.asked = ModelUsed("dead"), 0

    def answer(self, questions: Sequence[Question]) -> Sequence[Answer]:
        self.asked += 1
        raise RuntimeError(ILLEGAL)


def test_a_model_on_a_dead_gpu_is_not_asked_clip_by_clip() -> None:
    model = Dead()
    with pytest.raises(DeviceLost, match="asked about clip 0"):
        Asked(model, HERE).answers([Question(str(number)) for number in range(9)])
    assert model.asked == 1


# ── marks ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def good(tmp_path: Path) -> Clip:
    root = str(tmp_path)
    [clip, *_] = make_clips(Writing(Layout(root), Shelf(root, f"{root}/.staging/x")))
    return clip


def test_one_mark_too_many_in_a_row_stops_the_run(good: Clip) -> None:
    marking, rows = Marking("run", frozenset({"embedding", "Loud"}), 3), InARow(3)
    bad = good.replace(errors={"embedding": "OSError: no\nmodel.", "decode": "damaged"})
    rejected = good.replace(rejected_by="motion")
    for clip in (bad, bad, good, bad, rejected, bad):
        assert watched(clip, marking, rows) is clip
    with pytest.raises(TooManyMarked) as stopped:
        watched(bad, marking, rows)
    said = str(stopped.value)
    assert said.startswith("embedding marked 3 clips in a row with an error; of ")
    assert "it says: OSError: no model. Usually" in said
    assert "--max-marked 0" in said


@pytest.mark.parametrize(
    ("statuses", "marked"), [(["blocked"], []), (["ok", "failed"], ["caption"]), ([], ["caption"])]
)
def test_a_model_that_refuses_to_speak_has_answered(
    good: Clip, statuses: list[str], marked: list[str]
) -> None:
    window = replace(
        good.windows[0], outcomes={str(n): TextOutcome(said) for n, said in enumerate(statuses)}
    )
    clip = good.replace(windows=(window,), errors={"caption": "window 0_9"})
    assert marks_of(clip, frozenset({"caption"})) == marked


def test_no_limit_and_no_step_are_no_marks(good: Clip) -> None:
    bad = good.replace(errors={"embedding": "no", "decode": "damaged"})
    assert list(InARow(0).see(["embedding"] * 100, looked_at=True)) == []
    assert marks_of(bad, frozenset({"Loud"})) == []


# ── sentences ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", [StoreBusy, DeviceLost, TooManyMarked])
@pytest.mark.parametrize("after", [" [while running 'A/B-ptransform-1']", "\n", "\\n in Go", ""])
def test_a_sentence_is_found_in_what_an_engine_says(kind: type[ForTheEngine], after: str) -> None:
    said = f"bundle failed: Traceback\n  File x\n{kind.__module__}.{kind.__name__}: it is so{after}"
    assert sentence_of(said) == sentence_of(kind(f"it is so{after}")) == "it is so"
    assert sentence_of("ValueError: it is so") == ""
