"""URLs name videos: legally, briefly, each its own, and without what lets somebody read them."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finecut.io.layout import LONGEST_NAME, check_length, check_relative
from finecut.io.storage.addresses import is_read_only, name_of, path_of, permitted, public
from finecut.io.storage.archives.members import address_of, path_within
from finecut.io.storage.web.urls import (
    LONGEST_PATH,
    Access,
    BadUrl,
    access_of,
    escaped,
    parsed,
    shortened,
)

TEXTS = st.text(st.characters(blacklist_categories=["Cs"]), max_size=400)
PARTS = st.one_of(
    TEXTS, st.text("./%~-2eF?", max_size=6), st.sampled_from(["", ".", "..", "%2e", "%-", "%~"])
)


@given(st.lists(PARTS, min_size=1, max_size=6), st.lists(PARTS, min_size=1, max_size=6))
def test_members_have_legal_paths_and_each_its_own(one: list[str], other: list[str]) -> None:
    paths = ["/".join(map(escaped, parts)) for parts in (one, other)]
    for path in paths:
        check_length(check_relative(path))
        assert not {*path} & {*map(chr, range(32))}
        assert len(shortened(path).encode()) <= LONGEST_PATH + 2 * LONGEST_NAME
    if one != other:
        assert paths[0] != paths[1]


@given(st.text(string.printable, max_size=300), st.text(string.printable, max_size=300))
def test_urls_have_legal_paths_and_each_its_own(path: str, query: str) -> None:
    try:
        url = parsed(f"https://host/x/{path}?q={query}").asked
    except BadUrl:
        return
    named, place = name_of(url), path_of(url)
    check_length(check_relative(place.removeprefix("https://")))
    # What is spelled again is spelled the same.
    assert (name_of(named), path_of(named)) == (named, place)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://host/a.mp4?v=1", "https://host/a.mp4%3Fv=1"),
        ("https://host/a%253Fv=1", "https://host/a%3Fv=1"),
        ("https://host/a/b.mp4", "https://host/a%2Fb.mp4"),
        ("https://host//a.mp4", "https://host/a.mp4"),
        ("https://host/a.mp4?v=1", "https://host/a.mp4?v=2"),
        ("https://host/a.mp4?v=1%26w=2", "https://host/a.mp4?v=1&w=2"),
        ("https://host/" + "a" * 300 + "1.mp4", "https://host/" + "a" * 300 + "2.mp4"),
        ("https://host/a.mp4", "https://host:8443/a.mp4"),
    ],
)
def test_different_urls_are_different_videos(one: str, other: str) -> None:
    assert path_of(one) != path_of(other)
    assert name_of(one) != name_of(other)


@pytest.mark.parametrize(
    "other",
    [
        "https://HOST:443/day%201/a.mp4?v=2",
        "https://host/day 1/a.mp4?v=2#t=10",
        "https://host/day%201/./x/../a.mp4?v=%32",
        "https://me:hunter2@host/day%201/a.mp4?v=2",
        "https://host/day%201/a.mp4?v=2&X-Amz-Algorithm=A&X-Amz-Date=1&X-Amz-Signature=9f0c",
        "https://host/day%201/a.mp4?X-Goog-Expires=9&v=2&X-Goog-Signature=9f0c",
        "https://host/day%201/a.mp4?v=2&Expires=1&Signature=9f0c&Key-Pair-Id=K",
        "https://host/day%201/a.mp4?sv=2024&se=1&sr=b&sp=r&v=2&sig=9f0c",
        "https://host/day%201/a.mp4?v=2&token=9f0c",
    ],
)
def test_who_may_read_is_no_part_of_a_name(other: str) -> None:
    plain = "https://host/day%201/a.mp4?v=2"
    assert name_of(other) == plain
    assert path_of(other) == "https://host/day 1/a.mp4%3Fv=2"
    assert public(permitted(other, Access(private=True))) == plain


def test_ordinary_parameters_stay_where_nothing_is_signed() -> None:
    assert name_of("https://host/a.mp4?expires=1&se=2&v=3").endswith("?expires=1&se=2&v=3")


@pytest.mark.parametrize("url", ["https://", "https:///a.mp4", "https://a:b/x", "https://a b/c"])
def test_what_names_no_server_is_refused(url: str) -> None:
    with pytest.raises(BadUrl):
        parsed(url)


def test_only_finecut_says_what_may_be_done_with_a_url() -> None:
    assert not access_of(permitted("https://host/a.mp4#private&most=1", Access())).private
    for access in (Access(), Access(private=True), Access(most=5), Access(True, 7)):
        assert access_of(permitted("https://host/a.mp4", access)) == access


def test_the_address_of_a_member_says_what_it_was_made_of() -> None:
    for archive in ("/films/50%!/#1.tar", "https://u:p@host/x.tar?a=b!/c#private", "gs://b/a!.tar"):
        for member in ("a/b.mp4", "a!/b#c%20.mp4", "\udcff\n.mp4", "../x.mp4"):
            address = address_of("tar://x!/y")
            assert address is not None
            address = address._replace(archive=archive, member=member, place="1+2+f")
            assert address_of(str(address)) == address
            assert is_read_only(str(address))
            assert path_of(str(address)) == f"{path_of(archive)}/{path_within(member)}"
            assert "u:p" not in public(str(address)) + path_of(str(address))
