"""What somebody says of videos: columns of lists, files beside them, and what may travel of it."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from finecut.io.records import Failure, Source, from_json, to_json
from finecut.transforms.find.beside import beside, is_own
from finecut.transforms.find.inputs import Finding, find_sources
from finecut.transforms.find.lists import InputError, failures_on, read_list, sources_in
from finecut.transforms.find.metadata import (
    MOST_BYTES,
    MOST_FIELDS,
    Asked,
    lacking,
    plain,
    plain_name,
    plain_value,
)
from finecut.transforms.verify.checks.shapes import CLIP, VIDEO, faults

Told = dict[str, Any]


@pytest.fixture
def films(tmp_path: Path) -> Path:
    for name in ("a.mp4", "b.mp4", "deep/c.mp4"):
        path = tmp_path / "films" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "films"


def told(*inputs: object, **settings: Any) -> dict[str, Told]:
    found = find_sources(Finding(tuple(map(str, inputs)), **settings))
    return {source.relative: dict(source.metadata) for source in found}


# ── values ───────────────────────────────────────────────────────────────────────────────────────

VALUES: list[tuple[Any, Any]] = [
    ("  Up\x00\x1b[2J\u202e ", "Up[2J"),
    ("one\r\nline", "one\n\nline"),
    ("half \ud800 a letter", "half  a letter"),
    ("\x07", None),
    ("https://me:pw@host/a?v=1&sig=9f0c", "https://…@host/a?v=1&sig=…"),
    ("the token: is no address", "the token: is no address"),
    (True, True),
    (2**63 - 1, 2**63 - 1),
    (2**63, str(2**63)),
    (10**400, None),
    (0.5, 0.5),
    (float("nan"), None),
    (float("-inf"), None),
    (1e300, None),
    (["a", None, "", 2], ["a", 2]),
    ({"a": {"b": [1, {"c": "d"}]}}, {"a": {"b": [1, {"c": "d"}]}}),
    ([[[[[1]]]]], None),
    ({"a": float("nan")}, None),
    ({"a": None}, None),
    (b"bytes", None),
    (date(2020, 2, 29), "2020-02-29"),
    (datetime(2020, 2, 29, 12, tzinfo=UTC), "2020-02-29T12:00:00+00:00"),
    (time(12, 30), "12:30:00"),
    (timedelta(minutes=1), 60.0),
    (Decimal("3.00"), 3),
    (Decimal("0.1"), 0.1),
    (Decimal("0.12345678901234567890123"), "0.12345678901234567890123"),
    (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
]


@pytest.mark.parametrize(("value", "becomes"), VALUES, ids=range(len(VALUES)))
def test_values_are_said_in_the_words_of_json_or_not_at_all(value: Any, becomes: Any) -> None:
    assert plain_value(value) == becomes
    assert type(plain_value(value)) is type(becomes)


@pytest.mark.parametrize(
    ("name", "becomes"),
    [
        ("Release year", "Release_year"),
        ("source.license", "source_license"),
        ("span-uuid", "span_uuid"),
        ("an\u0303o", "a\u00f1o"),
        ("言語", "言語"),
        ("<b>", "_b_"),
        ("__proto__", "__proto__"),
        ("  ", ""),
        ("–", ""),
        ("x" * 65, ""),
    ],
)
def test_names_are_plain_words(name: str, becomes: str) -> None:
    assert plain_name(name) == becomes


def test_of_two_names_that_become_one_the_first_stays() -> None:
    assert plain({"a b": 1, "a_b": 2}) == ({"a_b": 1}, ("a_b",))


def test_what_is_too_much_is_left_out_the_largest_first() -> None:
    found = {"formats": ["x" * 90] * 200, "title": "Up", "about": "y" * (MOST_BYTES - 100)}
    assert plain(found) == ({"title": "Up", "about": found["about"]}, ("formats",))
    said, left_out = plain({f"n{number}": number for number in range(MOST_FIELDS + 3)})
    assert (len(said), len(left_out)) == (MOST_FIELDS, 3)


ANYTHING = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text() | some.binary(),
    lambda inside: some.lists(inside, max_size=4) | some.dictionaries(some.text(), inside),
    max_leaves=12,
)


@settings(max_examples=30)
@given(some.dictionaries(some.text(), ANYTHING, max_size=8))
def test_whatever_is_said_can_be_written_and_is_plain_when_it_was_made_plain(found: Told) -> None:
    said, _ = plain(found)
    assert plain(said) == (said, ())
    text = json.dumps(said, allow_nan=False, ensure_ascii=False)
    assert len(text.encode()) < 2 * MOST_BYTES + 1_000
    source = Source("u", "n", "r", metadata=said)
    assert from_json(Source, to_json(source)) == source


def test_a_source_without_metadata_is_written_as_before_there_was_any() -> None:
    source = Source("u", "n", "r")
    assert "metadata" not in to_json(source)
    assert from_json(Source, to_json(source)) == source
    assert hash(replace(source, metadata={"a": [1]})) == hash(source)


# ── lists ────────────────────────────────────────────────────────────────────────────────────────

CSV = """path,License,year,free,code,note,tags
a.mp4,CC BY 4.0,1999,true,007,,"x, y"
b.mp4,cc0,2010,FALSE,8,"two
lines",z
"""


def test_columns_of_a_csv_travel_each_of_one_kind(films: Path) -> None:
    (films / "list.csv").write_text(CSV)
    assert told(films / "list.csv") == {
        "a.mp4": {
            "License": "CC BY 4.0",
            "year": 1999,
            "free": True,
            "code": "007",
            "tags": "x, y",
        },
        "b.mp4": {
            "License": "cc0",
            "year": 2010,
            "free": False,
            "code": "8",
            "note": "two\nlines",
            "tags": "z",
        },
    }


@pytest.mark.parametrize(
    ("cells", "read"),
    [
        (["1", "-2"], [1, -2]),
        (["1", "2.50"], [1.0, 2.5]),
        (["1", "x"], ["1", "x"]),
        (["1", ""], [1, None]),
        (["1e3", "2"], ["1e3", "2"]),
        (["9" * 19], ["9" * 19]),
        (["true", "False"], [True, False]),
        (["nan"], ["nan"]),
    ],
)
def test_a_column_is_of_numbers_if_all_of_its_cells_are(cells: list[str], read: list[Any]) -> None:
    rows = read_list("file,x\n" + "".join(f"a.mp4,{cell}\n" for cell in cells), ".csv")
    assert [row.told["x"] for row in rows] == read


def test_a_csv_without_names_says_nothing_but_paths(films: Path) -> None:
    (films / "list.csv").write_text("a.mp4,cc0\nb.mp4,cc0\n")
    assert told(films / "list.csv") == {"a.mp4": {}, "b.mp4": {}}


def test_rows_that_are_shorter_or_longer_than_the_names(films: Path) -> None:
    (films / "list.csv").write_text("path,x\na.mp4\nb.mp4,1,2\n")
    assert told(films / "list.csv") == {"a.mp4": {}, "b.mp4": {"x": 1}}


def test_objects_of_json_travel(films: Path) -> None:
    rows = [
        {"video": "a.mp4", "license": "cc0", "span_uuid": "mine", "channel": {"name": "é"}},
        "b.mp4",
    ]
    (films / "list.json").write_text(json.dumps(rows))
    (films / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    first = {"license": "cc0", "span_uuid": "mine", "channel": {"name": "é"}}
    for name in ("list.json", "list.jsonl"):
        assert told(films / name) == {"a.mp4": first, "b.mp4": {}}


def test_a_column_of_lists_of_failures_is_one_like_any_other(films: Path) -> None:
    said = {"path": "a.mp4", "source": {"uri": "b.mp4", "site": "here"}, "step": "cut"}
    (films / "list.jsonl").write_text(json.dumps(said) + "\n")
    del said["path"]
    assert told(films / "list.jsonl") == {"a.mp4": said}


def test_a_table_is_a_list(films: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = pa.table(
        {
            "uri": ["a.mp4", None, "deep/c.mp4"],
            "when": pa.array([1, None, 1_600_000_000_000_000_001], pa.timestamp("ns", "UTC")),
            "day": [date(2020, 1, 2), None, None],
            "price": pa.array([Decimal("1.50"), None, None], pa.decimal128(5, 2)),
            "picture": [b"png", b"", b""],
            "score": [float("nan"), 0.5, 0.5],
            "tags": [["x"], [], None],
            "license": pa.array(["cc0", "x", "by"]).dictionary_encode(),
        }
    )
    pq.write_table(table, films / "list.parquet")
    assert told(films / "list.parquet") == {
        "a.mp4": {
            "when": "1970-01-01T00:00:00+00:00",
            "day": "2020-01-02",
            "price": 1.5,
            "tags": ["x"],
            "license": "cc0",
        },
        "deep/c.mp4": {
            "when": "2020-09-13T12:26:40+00:00",
            "score": 0.5,
            "license": "by",
        },
    }
    assert "left out of the metadata of 1 video: score (1)" in caplog.text


@pytest.mark.parametrize("data", [b"", b"PAR1 no table", b"path\na.mp4"])
def test_a_table_that_is_none_is_refused(films: Path, data: bytes) -> None:
    (films / "list.parquet").write_bytes(data)
    with pytest.raises(InputError, match=r"list\.parquet cannot be read: it is not a Parquet"):
        told(films / "list.parquet")


def test_a_table_that_names_nothing_is_refused(films: Path) -> None:
    pq.write_table(pa.table({"name": ["a.mp4"]}), films / "list.parquet")
    with pytest.raises(InputError, match=r"no column path, uri, url, video or file .*, but name"):
        told(films / "list.parquet")
    with pytest.raises(InputError, match=r"gone\.parquet cannot be read: the file does not exist"):
        told(films / "gone.parquet")


def test_who_names_a_video_twice_says_both_and_the_later_one_counts(films: Path) -> None:
    (films / "one.csv").write_text("path,license,year\na.mp4,cc0,1999\na.mp4,by,\n")
    (films / "two.jsonl").write_text('{"path": "a.mp4", "license": "nc", "title": "Up"}')
    assert told(films, films / "one.csv")["a.mp4"] == {"license": "by", "year": 1999}
    both = {"license": "nc", "year": 1999, "title": "Up"}
    assert told(films / "one.csv", films / "two.jsonl") == {"a.mp4": both}
    (films / "link.mp4").symlink_to(films / "a.mp4")
    (films / "three.csv").write_text("path,free\nlink.mp4,true\n")
    assert told(films, films / "three.csv")["a.mp4"] == {"free": True}


def test_failures_keep_what_was_known(caplog: pytest.LogCaptureFixture) -> None:
    source = Source("/in/a.mp4", "a", "a.mp4", metadata={"license": "cc0"})
    line = to_json(Failure("probe", source, "FilmError", "broken"))
    [again] = sources_in(line)
    assert again.metadata == {"license": "cc0"}
    edited = json.loads(line)
    edited["source"]["metadata"] = {"a b": "\x00x"}
    [again] = sources_in(json.dumps(edited))
    assert again.metadata == {"a_b": "x"}
    edited["source"]["metadata"] = "cc0"
    assert failures_on(json.dumps(edited).encode(), "list") == []
    assert "is left out" in caplog.text


# ── beside ───────────────────────────────────────────────────────────────────────────────────────


def test_files_beside_videos_are_read_when_that_is_asked_for(films: Path) -> None:
    (films / "a.json").write_text('{"title": "of a", "license": "cc0"}')
    (films / "a.info.json").write_text('{"title": "not read"}')
    (films / "b.info.json").write_text('{"title": "of b"}')
    (films / "deep/c.mp4.json").write_text('{"title": "of c"}')
    (films / "deep/c.json").write_text('{"title": "not read"}')
    assert told(films) == {"a.mp4": {}, "b.mp4": {}, "deep/c.mp4": {}}
    assert told(films, beside=True) == {
        "a.mp4": {"title": "of a", "license": "cc0"},
        "b.mp4": {"title": "of b"},
        "deep/c.mp4": {"title": "of c"},
    }
    (films / "list.csv").write_text("path,license\na.mp4,by\n")
    listed = {"a.mp4": {"title": "of a", "license": "by"}}
    assert told(films / "list.csv", beside=True) == listed


def test_files_beside_videos_that_say_nothing(
    films: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (films / "a.mp4.json").write_text('["a list"]')
    (films / "b.mp4.json").write_text('{"span_uuid": "x", "source_video": "y", "title": "ours"}')
    (films / "deep/c.mp4.json").write_text('{"score": NaN}')
    assert told(films, beside=True) == {"a.mp4": {}, "b.mp4": {}, "deep/c.mp4": {}}
    assert caplog.text.count("no metadata is read from it") == 2


def test_documents_of_finecut_are_told_by_what_they_say() -> None:
    assert is_own(dict.fromkeys(name for name, shape in CLIP.items() if not shape.optional))
    assert is_own(dict.fromkeys(name for name, shape in VIDEO.items() if not shape.optional))
    assert not is_own({"video": "a.mp4", "title": "x"})
    assert beside("/in/a.b.mp4", frozenset({"/in/a.json", "/in/a.b.json"})) == "/in/a.b.json"


# ── what is asked of it ──────────────────────────────────────────────────────────────────────────

LICENSE = Asked("source.license", "--keep source.license=cc0", "a rule rejects their clips")


def test_what_no_video_has_is_refused_and_what_some_lack_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR)
    assert lacking([{"license": "cc0"}, {"license": "by"}], [LICENSE]) == []
    assert caplog.text == ""
    assert lacking([{"license": "cc0"}, {}], [LICENSE]) == []
    assert "1 of 2 videos have no source.license: a rule rejects their clips" in caplog.text
    [wrong] = lacking([{"licence": "cc0"}], [LICENSE])
    assert wrong.endswith("none of the 1 videos has source.license: did you mean source.licence?")
    assert "Give a list with columns" in str(lacking([{}], [LICENSE]))
    assert lacking([{}], [LICENSE._replace(surely=False)]) == []
    assert lacking([{"size": {"w": 1}}], [LICENSE._replace(field="source.size.w")]) == []


def test_a_run_is_refused_before_it_begins(films: Path) -> None:
    (films / "list.csv").write_text("path,licence\na.mp4,cc0\n")
    with pytest.raises(InputError, match=r"did you mean source\.licence\?"):
        told(films / "list.csv", asked=(LICENSE,))


def test_verify_knows_the_shape() -> None:
    for said, number in (({"license": "cc0"}, 0), ("cc0", 1), ({"a b": 1}, 1), ({"x": None}, 1)):
        assert len([*faults({"source": said}, {"source": CLIP["source"]})]) == number
