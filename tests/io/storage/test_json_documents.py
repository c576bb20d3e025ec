"""The reader of documents: what it refuses, what it takes, and that it never waits."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from finecut.io.storage import json_documents as jsonfile
from finecut.io.storage.json_documents import DEEPEST, BadDocument, parsed, read_json
from finecut.transforms.write.documents import serialise

VALUES = some.recursive(
    some.none()
    | some.booleans()
    | some.integers(-(2**63) + 1, 2**63 - 1)
    | some.floats(-1e100, 1e100)
    | some.text(),
    lambda inner: some.lists(inner) | some.dictionaries(some.text(), inner),
    max_leaves=20,
)


@given(some.dictionaries(some.text(), VALUES))
def test_what_is_written_is_read(document: dict[str, Any]) -> None:
    """Half characters come back as what they are called."""
    read = parsed(serialise(document))
    assert parsed(serialise(read)) == read
    if "\\ud" not in json.dumps(document):
        assert read == document


def nested(depth: int) -> bytes:
    return b'{"a": ' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def test_as_deep_as_allowed_and_no_deeper() -> None:
    assert parsed(nested(DEEPEST))
    for depth in (DEEPEST + 1, 900, 100_000):
        with pytest.raises(BadDocument, match="nested more than 100 levels deep"):
            parsed(nested(depth))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"  \n", "is empty"),
        (b"{", "is not valid JSON"),
        (b"[]", "is not a JSON object but a list"),
        (b'"text"', "is not a JSON object but a str"),
        (b'{"a": NaN}', "contains NaN"),
        (b'{"a": [-Infinity]}', "contains -Infinity"),
        (b'{"a": 1e400}', "contains the number 1e400"),
        (b'{"a": -1e101}', "contains the number -1e101"),
        (b'{"a": 9223372036854775808}', "fit into 64 bits"),
        (b'{"a": ' + b"1" * 5_000 + b"}", r"5000 digits"),
        (rb'{"a": "\ud83d\ude00 \ud83d"}', r"half a character \(.ud83d\)"),
        (rb'{"\udcff": 1}', r"half a character \(.udcff\)"),
        (b'{"a": "\xed\xa0\x80"}', "not text in UTF-8"),
        ('{"a": "é"}'.encode("latin-1"), "not text in UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "not text in UTF-8"),
    ],
)
def test_what_is_no_document(data: bytes, words: str) -> None:
    with pytest.raises(BadDocument, match=words) as caught:
        parsed(data)
    assert len(str(caught.value)) < 200


def test_what_may_look_strange_and_is_none() -> None:
    assert parsed('\ufeff{"a": "é"}'.encode()) == {"a": "é"}
    assert parsed(rb'{"a": "\ud83d\ude00"}') == {"a": "😀"}
    assert parsed(rb'{"a": "\\ud800"}') == {"a": "\\ud800"}
    assert parsed(b'{"a": [-9223372036854775807, 1e100]}') == {"a": [1 - 2**63, 1e100]}


def test_what_is_no_file_is_named_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe, large = tmp_path / "pipe.json", tmp_path / "large.json"
    os.mkfifo(pipe)
    with large.open("wb") as file:
        file.truncate(1 << 40)
    for path, words in (
        (pipe, "is a pipe or device"),
        (tmp_path, "is a folder"),
        (Path("/dev/zero"), "is a pipe or device"),
        (large, "has 1,099,511,627,776 bytes"),
    ):
        with pytest.raises(BadDocument, match=f"{path} {words}"):
            read_json(str(path))
    assert read_json(str(tmp_path / "none.json")) is None
    assert read_json(f"{large}/below.json") is None
    assert read_json("a\0b") is None
    monkeypatch.setattr(jsonfile, "MOST_BYTES", 5)
    with pytest.raises(BadDocument, match="has 8 bytes"):
        parsed(b'{"a": 1}')
