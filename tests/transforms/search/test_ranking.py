"""Ranking by words: the same as the plain formula says, however the rows are sliced."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from finecut.transforms.search.hits import TOLD, best, best_rows, from_lines, to_lines
from finecut.transforms.search.ranking import K1, B, Counts, counted, scored, together
from finecut.transforms.search.texts import (
    OF_SOURCE,
    SOURCE_WEIGHT,
    Term,
    as_words,
    lengths,
    terms_of,
    texts_in,
)

FIELDS = ("caption", *OF_SOURCE)
WORDS = ("boat", "dog", "red", "café", "STRASSE", "boats", "river", "狗", "in", "don't")


def rows(number: int, seed: int = 0) -> list[dict[str, Any]]:
    dice = random.Random(seed)

    def said(most: int) -> str:
        return ", ".join(dice.choice(WORDS) for _ in range(dice.randint(0, most)))

    return [
        {
            "id": f"{at:08}",
            "verdict": "kept",
            "video": f"films/{said(2)}-{at // 4}.mp4",
            "source": json.dumps({"title": said(3), "tags": [said(1)], "boat": 7})
            if at % 3
            else None,
            "start": 0.0,
            "end": 1.0,
            "clip": None,
            "caption": said(12) if at % 5 else None,
        }
        for at in range(number)
    ]


SCHEMA = pa.schema(
    [(name, pa.float64() if name in ("start", "end") else pa.string()) for name in TOLD]
    + [("source", pa.string())]
)


def table(some: Sequence[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(list(some), SCHEMA)


def plain_words(row: dict[str, Any], field: str) -> list[str]:
    """The words of a field, by hand."""
    said = row[field] or ""
    if field == "source" and said:
        held = json.loads(said)
        said = f"{held['title']} {' '.join(held['tags'])} {held['boat']}"
    kept = "".join(letter if letter.isalnum() else " " for letter in said.lower())
    return kept.replace("é", "e").replace("狗", " 狗 ").split()


def plain_scores(some: Sequence[dict[str, Any]], terms: Sequence[Term]) -> list[float]:
    """The formula, written down row by row."""
    totals = [0.0] * len(some)
    for field in FIELDS:
        texts = [plain_words(row, field) for row in some]
        there = [text for text in texts if text]
        usual = sum(map(len, there)) / max(1, len(there))
        weight = SOURCE_WEIGHT if field in OF_SOURCE else 1
        for term in terms:
            often = [
                sum(w.startswith(term.word) if term.begins else w == term.word for w in text)
                for text in texts
            ]
            having = sum(map(bool, often))
            rarity = math.log(1 + (len(there) - having + 0.5) / (having + 0.5))
            for at, (number, text) in enumerate(zip(often, texts, strict=True)):
                if number:
                    part = number + K1 * (1 - B + B * len(text) / usual)
                    totals[at] += weight * rarity * number * (K1 + 1) / part
    return totals


@pytest.mark.parametrize("query", ["boat", "red boat", "boat*", "CAFE dog", "狗", "don't", "7"])
def test_scores_are_those_of_the_formula(query: str) -> None:
    some, terms = rows(200), terms_of(query)
    counts = counted(table(some), FIELDS, terms)
    found = scored(table(some), terms, counts)
    np.testing.assert_allclose(found, plain_scores(some, terms), atol=1e-9)
    assert found.any()
    assert not found.all()


def test_slices_make_no_difference() -> None:
    some, terms = rows(90, seed=5), terms_of("red boat* river")
    whole = table(some)

    def sliced(size: int) -> tuple[Counts, list[bytes]]:
        parts = [whole.slice(first, size) for first in range(0, len(some), size)]
        counts = together(counted(part, FIELDS, terms) for part in parts)
        lists = [best_rows(part, scored(part, terms, counts), 25, 0.0) for part in parts]
        return counts, to_lines(best(lists, 25)).splitlines()

    assert sliced(90) == sliced(7) == sliced(1)


def test_equal_ones_come_by_their_ids() -> None:
    some = [{**row, "caption": "boat", "source": None} for row in rows(50)]
    whole = table(some[::-1])
    terms = terms_of("boat")
    hits = best_rows(whole, np.ones(50), 7, 0.0)
    assert [hit.id for hit in hits] == [f"{at:08}" for at in range(7)]
    assert from_lines(to_lines(hits)) == hits
    assert best_rows(whole, np.ones(50), 7, 2.0) == []
    assert best_rows(whole, np.zeros(50), 7, 0.0) == []
    assert not scored(whole, terms, {}).any()


def test_no_rows_are_no_trouble() -> None:
    terms = terms_of("boat")
    counts = counted(table([]), FIELDS, terms)
    assert counts["caption"].texts == 0
    assert scored(table([]), terms, counts).tolist() == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Dog dog DOG", " dog  dog  dog "),
        ("naïve résumé", " naive  resume "),
        ("हिन्दी में", " हिन्दी  में "),
        ("x-ray/3.5", " x  ray  3  5 "),
        ("\n\t", ""),
        ("ＦＵＬＬ", " full "),
    ],
)
def test_words(text: str, words: str) -> None:
    found = as_words(pa.array([text]))
    assert found.to_pylist() == [words]
    assert lengths(found).to_pylist() == [len(words.split())]


def test_metadata_that_are_no_json_are_words_too() -> None:
    said = pa.table({"source": ["{not json", None, '{"a": null}', '["list"]']})
    assert texts_in(said, ["source"])["source"].to_pylist() == [" not  json ", "", "", ""]


def test_queries() -> None:
    assert terms_of("boat, Boat* …") == (Term("boat"), Term("boat", begins=True))
    assert terms_of("x-ray*") == (Term("x"), Term("ray", begins=True))
    assert terms_of(" … ") == ()
