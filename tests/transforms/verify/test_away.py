"""A clip whose store is away is not called missing or broken, wherever it is looked into."""

from __future__ import annotations

import json

import pytest
from away import wait_shorter
from child_work import finds_no_file_for_long

from finecut.io.dataset.places import Place
from finecut.io.layout import Layout
from finecut.io.media.limits import FilmError
from finecut.io.process.children import ChildLimits, possible
from finecut.io.storage import files as shelf
from finecut.io.storage.retry import away, has_outlasted, note_outlasted
from finecut.io.storage.stores import Found
from finecut.transforms.verify.checks import decoding
from finecut.transforms.verify.checks.decoding import _answer, _look, clip_found
from finecut.transforms.verify.checks.findings import Verifying

CLIP = "gs://bucket/out/clips/a.mp4"
LIMITS = ChildLimits(2000, 60.0, 60.0)


class Refusing:
    """A store whose every answer is 503."""

    def look(self, uri: str) -> Found | None:
        raise ConnectionError("503")


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> None:
    wait_shorter(monkeypatch)
    monkeypatch.setattr(shelf, "STORE_SECONDS", 0.0)
    monkeypatch.setattr(shelf, "store_for", lambda _uri: Refusing())


def test_whoever_looks_into_a_clip_says_that_its_store_was_away(refused: None) -> None:
    [said] = _look(Place(CLIP))
    assert json.loads(said) == {"away": CLIP, "said": "503"}


@pytest.mark.parametrize("quick", [True, False])
def test_it_is_raised_and_nothing_is_said_of_the_clip(refused: None, quick: bool) -> None:
    verifying = Verifying(Layout("gs://bucket/out"), quick=quick, limits=None)
    with pytest.raises(ConnectionError) as error:
        clip_found(Place(CLIP), None, verifying)
    assert away(error.value).startswith(f"{CLIP} was still busy after all attempts (Connection")


@pytest.mark.skipif(not possible(), reason="children need Linux")
def test_also_by_a_child() -> None:
    with pytest.raises(ConnectionError) as error:
        _answer(finds_no_file_for_long, CLIP, limits=LIMITS)
    assert has_outlasted(error.value)
    assert CLIP in away(error.value)


def test_also_in_the_middle_of_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object, **__: object) -> None:
        error = ConnectionError("503")
        note_outlasted(error, CLIP)
        raise FilmError("it ends too early") from error

    monkeypatch.setattr(decoding, "watch_clip", breaks)
    assert decoding._watch("a.mp4", Verifying(Layout("/o")).film, closely=True) == {
        "away": CLIP,
        "said": "it ends too early",
    }
