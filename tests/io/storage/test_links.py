"""Links and names that lead out of a folder: no command follows them, and each says what it found.

What lies elsewhere is watched in two ways: its bytes are compared, and whatever Python opens,
lists, moves or removes there is heard of.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from finecut.io.dataset.output import Output
from finecut.io.media.testfilm.paint import Scene, paint
from finecut.io.storage.fence import Fence, LeadsOutside, is_plain_name, leads_outside, standing
from finecut.io.storage.publishing import Shelf
from finecut.io.tables.shards import ShardFolder
from finecut.pipeline.cli.command import main

#: What Python tells its auditors that touches a file or a folder, and which arguments name one.
TOUCHES = {
    "open": (0,),
    "os.listdir": (0,),
    "os.scandir": (0,),
    "os.remove": (0,),
    "os.rmdir": (0,),
    "os.mkdir": (0,),
    "os.rename": (0, 1),
    "os.utime": (0,),
}
CURATE, DEDUP, REFILTER, SHARD, VERIFY, REPORT = (
    "curate",
    "dedup",
    "refilter",
    "shard",
    "verify",
    "report",
)
COMMANDS = (CURATE, DEDUP, REFILTER, SHARD, VERIFY, REPORT)


def _touched(event: str, name: str) -> str:
    """What is touched: a link that is removed, moved or replaced is so itself."""
    if event in ("os.remove", "os.rename"):
        folder, last = os.path.split(name)
        return f"{os.path.realpath(folder)}/{last}"
    return os.path.realpath(name)


class Watch:
    """Hears of everything that is done in a folder."""

    def __init__(self) -> None:
        self.folder: str | None = None
        self.heard: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        folder = self.folder
        if folder is None or event not in TOUCHES:
            return
        for index in TOUCHES[event]:
            name = arguments[index]
            if isinstance(name, str | bytes | os.PathLike):
                real = _touched(event, os.fsdecode(name))
                if real == folder or real.startswith(f"{folder}/"):
                    self.heard.append(f"{event} {os.fsdecode(name)}")

    @contextmanager
    def over(self, folder: Path) -> Iterator[list[str]]:
        self.folder, self.heard = str(folder.resolve()), []
        try:
            yield self.heard
        finally:
            self.folder = None


@pytest.fixture(scope="module")
def watch() -> Watch:
    return Watch()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of three clips, its output, and the shards of that."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "films").mkdir()
    scene = Scene(velocity=(60.0, 40.0), pan=40.0)
    paint(folder / "films/a.mp4", width=96, height=54, rate=10, seconds=3, scenes=[scene])
    assert main(words(CURATE, folder)) == 0
    assert main(words(DEDUP, folder)) == 0
    assert main([*words(SHARD, folder), "--shard-clips", "1"]) == 0
    assert main(words(REPORT, folder)) == 0
    return folder


def words(command: str, folder: Path, *others: str) -> list[str]:
    output = str(folder / "out")
    told = {
        CURATE: [
            *("--input", str(folder / "films"), "--output", output, "--clip-length", "1"),
            *("--min-clip-length", "0.5", "--chunk-seconds", "2", "--generate-previews"),
            *("--preview-target-height", "54", "--no-isolation", "--motion-filter", "score-only"),
        ],
        SHARD: [output, "--output", str(folder / "shards")],
        REFILTER: [output, "--motion-filter", "enable", "--motion-global-mean-threshold", "9"],
        VERIFY: [output, "--quick", "--shards", str(folder / "shards")],
    }.get(command, [output])
    return [command, *told, "--workers", "1", "--quiet", *others]


# ── what is planted ──────────────────────────────────────────────────────────────────────────────


def clips_of(folder: Path) -> list[str]:
    return sorted(path.stem for path in (folder / "out/metas/v0").iterdir())


def moved_away(folder: Path, name: str) -> Path:
    """What lay there lies elsewhere now, and a link in its place."""
    place, foreign = folder / name, folder / "foreign" / Path(name).name
    if os.path.lexists(place):
        shutil.move(place, foreign)
    else:
        foreign.mkdir(parents=True)
        (foreign / "theirs.mp4").write_bytes(b"theirs")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(foreign)
    return place


def link(name: str) -> Callable[[Path], Path]:
    def plant(folder: Path) -> Path:
        first = clips_of(folder)[0] if "{clip}" in name else ""
        return moved_away(folder, name.format(clip=first))

    return plant


def old_staging(folder: Path) -> Path:
    """A run that is long dead, as it seems."""
    place = moved_away(folder, "out/.staging/dead")
    for path in (folder / "foreign/dead", folder / "foreign/dead/theirs.mp4"):
        os.utime(path, (0, 0))
    return place


def shard_names(folder: Path) -> Path:
    """A name that leads up, and one that begins at the root."""
    (folder / "foreign/x.tar").write_bytes(b"theirs")
    note = folder / "shards/.finecut/shards.json"
    said = json.loads(note.read_text())
    said["shards"] += ["../foreign/x", f"../../../../../../../..{folder}/foreign/x"]
    said["shards"] += [f"{folder}/foreign/x", "a\nb"]
    note.write_text(json.dumps(said))
    return note


def open_note(folder: Path) -> Path:
    """A video that somebody seems to have been working on, with clips that lead elsewhere."""
    for name in ("x.json", "x.mp4", "x.pickle"):
        (folder / "foreign" / name).write_bytes(b"theirs")
    note = folder / "out/.finecut/open/a.mp4.json"
    ids = ["../../../foreign/x", f"{folder}/foreign/x", "../../foreign/x"]
    note.write_text(json.dumps({"old": ids, "new": ids, "chunks": 2, "names": ["../a", "/b"]}))
    return note


def dedup_names(folder: Path) -> Path:
    """A state whose clusters lead elsewhere."""
    (folder / "foreign/0.parquet").write_bytes(b"theirs")
    state = folder / "out/dedup/state.json"
    said = json.loads(state.read_text())
    said["settled"]["pieces"] = [["../../../foreign", 1]]
    state.write_text(json.dumps(said))
    return state


def chunk_names(folder: Path) -> Path:
    """A document of a chunk that lists clips that lie elsewhere."""
    first = clips_of(folder)[0]
    shutil.copy(folder / f"out/metas/v0/{first}.json", folder / "foreign/x.json")
    [document, *_] = sorted((folder / "out/processed_clip_chunks").iterdir())
    said = json.loads(document.read_text())
    said["clips"].append("../../../foreign/x")
    document.write_text(json.dumps(said))
    return document


#: What is planted, the commands that would touch it, and those that have to name it.
PLANTS: dict[str, tuple[Callable[[Path], Path], tuple[str, ...], tuple[str, ...]]] = {
    "staging": (link("out/.staging"), COMMANDS, (CURATE, REFILTER, VERIFY, REPORT)),
    "in staging": (old_staging, COMMANDS, (CURATE, REFILTER, VERIFY)),
    "staging of shards": (link("shards/.staging"), (SHARD, VERIFY), (SHARD, VERIFY)),
    "staging of dedup": (link("out/dedup/.staging"), (DEDUP, VERIFY), (DEDUP, VERIFY)),
    "a clip's previews": (link("out/previews/{clip}"), COMMANDS, (CURATE, VERIFY)),
    "previews": (link("out/previews"), COMMANDS, (CURATE, VERIFY)),
    "clips": (link("out/clips"), COMMANDS, (CURATE, DEDUP, SHARD, VERIFY)),
    "metas": (link("out/metas"), COMMANDS, COMMANDS),
    "a clip": (link("out/clips/{clip}.mp4"), COMMANDS, (SHARD, VERIFY)),
    "a document": (link("out/metas/v0/{clip}.json"), COMMANDS, (SHARD, VERIFY)),
    "chunks": (link("out/processed_clip_chunks"), COMMANDS, COMMANDS),
    "videos": (link("out/processed_videos"), COMMANDS, (CURATE, VERIFY, REPORT)),
    "vectors": (link("out/efficientnet-lite0_embd"), COMMANDS, (CURATE, VERIFY)),
    "tables": (link("out/efficientnet-lite0_embd_parquet"), COMMANDS, (DEDUP, VERIFY)),
    "own notes": (link("out/.finecut"), COMMANDS, (CURATE, VERIFY)),
    "runs": (link("out/runs"), COMMANDS, (CURATE, REFILTER, VERIFY)),
    "failures": (link("out/failures"), COMMANDS, (CURATE, VERIFY)),
    "report": (link("out/report"), (CURATE, REFILTER, VERIFY, REPORT), (VERIFY, REPORT)),
    "dedup": (link("out/dedup"), COMMANDS, (DEDUP, VERIFY)),
    "dedup state": (link("out/dedup/state.json"), (DEDUP, VERIFY), (VERIFY,)),
    "dedup list": (link("out/dedup/duplicates"), (DEDUP, SHARD, VERIFY), (DEDUP, VERIFY)),
    "a shard": (link("shards/00001.tar"), (SHARD, VERIFY), (SHARD, VERIFY)),
    "receipts": (link("shards/.finecut/shards"), (SHARD, VERIFY), (SHARD, VERIFY)),
    "a Lance table": (link("shards/clips.lance"), (SHARD, VERIFY), (VERIFY,)),
    "names of shards": (shard_names, (SHARD, VERIFY), (SHARD, VERIFY)),
    "names in an open note": (open_note, COMMANDS, ()),
    "names in dedup's state": (dedup_names, (DEDUP, VERIFY), ()),
    "names in a chunk": (chunk_names, COMMANDS, (VERIFY,)),
}
#: What costs data where it is followed; the rest of the table takes minutes.
QUICK = ("staging", "in staging", "a clip's previews", "clips", "a Lance table", "names of shards")
#: Other choices, so that a command has to do something.
OTHERS = {CURATE: ("--overwrite", "--limit-clips", "2"), SHARD: ("--shard-clips", "2")}


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(
    ("planted", "command"),
    [
        pytest.param(name, command, marks=() if is_quick else pytest.mark.slow)
        for name, (_, commands, naming) in PLANTS.items()
        for command in commands
        for is_quick in [name in QUICK and command in naming]
    ],
)
def test_nothing_outside_is_touched(
    planted: str,
    command: str,
    made: Path,
    watch: Watch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    plant, _, naming = PLANTS[planted]
    folder = tmp_path / "it"
    shutil.copytree(made, folder)
    (folder / "foreign").mkdir()
    place = plant(folder)
    before, link_before = tree(folder / "foreign"), place.is_symlink()
    capsys.readouterr()
    with watch.over(folder / "foreign") as heard:
        try:
            code: object = main(words(command, folder, *OTHERS.get(command, ())))
        except SystemExit as ended:
            code = ended.code
    said = "".join((*capsys.readouterr(), caplog.text))
    assert tree(folder / "foreign") == before
    assert heard == []
    assert code in (0, 1, 2), said
    assert "Traceback" not in said
    if command in naming:
        assert place.name in said, said
    if link_before and command == VERIFY:
        assert place.is_symlink()
        assert code == 1


# ── the rules themselves ─────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_an_output_that_is_a_link_itself_is_an_output(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "films", tmp_path / "films")
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    for command in (CURATE, DEDUP, SHARD, REPORT, VERIFY):
        assert main(words(command, tmp_path)) == 0, command
    assert len([*(tmp_path / "disk/clips").iterdir()]) == 3
    assert len(ShardFolder(str(tmp_path / "shards")).noted() or ()) >= 1
    assert len([*Output.at(str(tmp_path / "out")).chunks()]) == 2


def test_links_in_an_input_are_followed_also_in_an_output(made: Path, tmp_path: Path) -> None:
    (tmp_path / "out/raw").mkdir(parents=True)
    (tmp_path / "out/raw/a.mp4").symlink_to(made / "films/a.mp4")
    given = words(CURATE, tmp_path)
    given[2] = str(tmp_path / "out/raw")
    assert main(given) == 0
    assert len([*(tmp_path / "out/clips").iterdir()]) == 3


@pytest.fixture
def own(tmp_path: Path) -> Shelf:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign/x").write_bytes(b"theirs")
    (tmp_path / "out/inside").mkdir(parents=True)
    (tmp_path / "out/link").symlink_to("../foreign")
    (tmp_path / "out/alias").symlink_to("inside")
    return Shelf(str(tmp_path / "out"), str(tmp_path / "out/.staging/run"))


@pytest.mark.parametrize("stands", [True, False])
def test_a_shelf_writes_and_removes_below_its_root_only(
    own: Shelf, tmp_path: Path, stands: bool
) -> None:
    with standing(Fence((own.root,) if stands else ())):
        for name in ("link/x", "../foreign/x", "link/deeper/x", "inside/../../foreign/x"):
            path = f"{own.root}/{name}"
            for work in (
                lambda path=path: own.write(path, b"ours"),
                lambda path=path: own.remove(path),
                lambda path=path: own.publish(path, f"{own.root}/y"),
            ):
                with pytest.raises(LeadsOutside, match="leads out of"):
                    work()
        own.write(f"{own.root}/alias/x", b"ours")
        own.write(f"{own.root}/new/deeper/x", b"ours")
    assert (tmp_path / "out/inside/x").read_bytes() == b"ours"
    assert tree(tmp_path / "foreign") == {str(tmp_path / "foreign/x"): b"theirs"}


def test_a_staging_folder_behind_a_link_is_not_swept(own: Shelf, tmp_path: Path) -> None:
    """Not even if the link leads to a place below the same root."""
    (tmp_path / "out/inside/x").write_bytes(b"a clip")
    (tmp_path / "out/.staging").mkdir()
    for target in ("../../foreign", "../inside"):
        run = f"{own.root}/.staging/{uuid.uuid4().hex}"
        Path(run).symlink_to(target)
        Shelf(own.root, run).sweep()
    assert (tmp_path / "foreign/x").exists()
    assert (tmp_path / "out/inside/x").exists()


def test_a_fence_stands_as_long_as_its_command_and_not_where_it_is_free(own: Shelf) -> None:
    path = f"{own.root}/link/x"
    with standing(Fence((own.root,))):
        assert leads_outside(path)
        assert leads_outside(f"{own.root}/link")
        assert not leads_outside(own.root)
        assert not leads_outside(f"{own.root}/alias/x")
    assert not leads_outside(path)
    with standing(Fence((own.root,), (f"{own.root}/link",))):
        assert not leads_outside(path)


@pytest.mark.parametrize(
    "name", ["../x", "a/../x", "/x", "", ".", "a//b", "a\nb", "a\x00b", "a\x7f", "a\\b", 7, None]
)
def test_names_that_lead_elsewhere_are_none(name: object) -> None:
    assert not is_plain_name(name)
    assert is_plain_name("480p/short/00000")
