"""A child that decodes foreign films names where its clips are; only what lies there is taken."""

from __future__ import annotations

from pathlib import Path

import pytest
from staged_clips import make_clips

from finecut.io.layout import Layout
from finecut.io.records import PlannedChunk
from finecut.io.storage.publishing import Shelf
from finecut.transforms.cut.chunk import Cutting
from finecut.transforms.cut.clips import Imposture, _known
from finecut.transforms.write.writing import Writing

REMOTE = "gs://bucket/out"


@pytest.mark.parametrize("kept", [True, False])
def test_only_what_lies_in_staging_is_taken(kept: bool, tmp_path: Path) -> None:
    place, secret = tmp_path / "staging", tmp_path / "secret"
    secret.write_bytes(b"secret")
    local = Shelf(str(tmp_path), str(place))
    [clip] = make_clips(Writing(Layout(str(tmp_path)), local), 1, 1)
    own = Shelf(REMOTE, f"{REMOTE}/.staging/a", keeps=True, kept_in=str(place)) if kept else local
    planned = PlannedChunk(clip.video, clip.chunk, (clip.planned,))
    cutting = Cutting(own)
    assert _known(clip, planned, cutting) == clip
    lies = [str(secret), f"{place}/../secret", f"{REMOTE}/.staging/b/a.mp4"]
    if kept:  # on a disk a link is published as what it is
        (place / "link.mp4").symlink_to(secret)
        (place / "folder").symlink_to(tmp_path)
        lies += [f"{place}/link.mp4", f"{place}/folder/secret"]
    for path in lies:
        with pytest.raises(Imposture, match="outside of staging"):
            _known(clip.replace(staged=path), planned, cutting)
