"""finecut in Beam YAML: the whole way, and its steps among Beam's own."""

from __future__ import annotations

import dataclasses
import inspect
import json
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.coders import registry
from faults import differences, staged, tree
from performing import performed

from finecut.io.media.testfilm.paint import paint
from finecut.io.records import (
    Chunk,
    Clip,
    ClipFile,
    Failure,
    PlannedChunk,
    PlannedClip,
    Skipped,
    Source,
    Span,
    Video,
    Window,
    Written,
    from_json,
)
from finecut.io.summary import Summary
from finecut.pipeline import beam_yaml
from finecut.pipeline.beam_yaml import listing, rows, steps
from finecut.pipeline.beam_yaml.step import BEAMS, Step, options_of, planned, run_of
from finecut.pipeline.commands.verify import VerifyOptions
from finecut.pipeline.options import Options, default_of, option_fields
from finecut.pipeline.running import run
from finecut.transforms.write.close import ChunkClosed, VideoClosed

pytest.importorskip("jsonschema", reason="pip install 'finecut[yaml]'")

from apache_beam.yaml import main, yaml_provider

#: As YAML has them: whole numbers, one text, names of true and false.
SETTINGS: dict[str, Any] = {
    "clip_length": 1,
    "min_clip_length": 0.5,
    "chunk_seconds": 2,
    "generate_previews": True,
    "preview_target_height": 36,
    "motion_filter": "score-only",
    "keep": "motion>0.0001",
}

HEAD = """\
providers: [{include: "{{finecut}}"}]
pipeline:
  transforms:
"""

SOURCE = Source("/mnt/ünï 日本.mp4", "/data/ünï 日本.mp4", "ünï 日本.mp4")
VIDEO = Video(SOURCE, 10, 0, 640, 360, 29.97, 90, 3.003, "h264", "yuv420p", None, 2000, -512)
SHOT = PlannedClip("id", 0, Span(0.0, 3.003))
CHUNK = Chunk("chunk", 0, 1, 1, 1)
CLIP = Clip(
    VIDEO,
    CHUNK,
    SHOT,
    ClipFile(640, 360, 29.97, 90, "h264", 1000, "00ff"),
    staged="/out/.staging/x/id.mp4",
    scores={"motion_global_mean": 0.25},
    windows=(Window(0, 89, {"qwen2.5": 'a "cat"\n'}, {"qwen_lm": "two"}),),
    artefacts={"previews/d2d0/0_89.webp": "/p.webp"},
    vectors={"cosmos-embed1-224p": (0.5, -0.25)},
    rejected_by="motion",
    errors={"decode": "2 packets"},
)
FAILURE = Failure("cut", SOURCE, "ValueError", "why", "where", ("id",))
RECORDS = [
    SOURCE,
    Skipped(SOURCE, 3, 30.0),
    VIDEO,
    PlannedChunk(VIDEO, CHUNK, (SHOT, SHOT)),
    PlannedChunk(VIDEO, dataclasses.replace(CHUNK, num_clips=0), ()),
    CLIP,
    dataclasses.replace(CLIP, file=None, staged=None, rejected_by=None, windows=(), errors={}),
    FAILURE,
    Written("clips", "id", "chunk", "/out/clips/id.mp4", 1000),
    ChunkClosed(
        VIDEO, CHUNK, "/p", 9, Summary(shots_kept=1, shots_rejected=1, rejected_by={"motion": 1})
    ),
    VideoClosed(VIDEO, 2, "/out/processed_videos/a.json", 99),
    Summary(videos_found=1, failures=(FAILURE,), rejected_by={"motion": 1}),
]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for number in range(2):
        paint(folder / f"{number}.mp4", width=64, height=36, rate=10, seconds=2 + number)
    (folder / "torn.mp4").write_bytes((folder / "0.mp4").read_bytes()[:900])
    paint(folder / "short.mp4", width=64, height=36, rate=10, seconds=0.3)
    return folder


@pytest.fixture(scope="module")
def usual(films: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What ``finecut curate`` writes."""
    output = tmp_path_factory.mktemp("usual") / "output"
    run(options_of("Curate", {**SETTINGS, "input": str(films), "output": str(output)}))
    return tree(output)


def run_yaml(text: str, folder: Path | None = None, **settings: Any) -> None:
    """Run these transforms as Beam's own command does; the text has a few variables."""
    transforms = textwrap.indent(textwrap.dedent(text), "    ")
    run_whole(f"{HEAD}{transforms}", {"config": json.dumps(settings), "folder": str(folder)})


def run_whole(text: str, variables: Mapping[str, str]) -> None:
    said = json.dumps({**variables, "finecut": listing()})
    main.run(["--runner=FnApiRunner", f"--yaml_pipeline={text}", f"--jinja_variables={said}"])


def lines(path: Path) -> list[dict[str, Any]]:
    """What Beam wrote, in shards."""
    shards = sorted(path.parent.glob(f"{path.name}-*"))
    return [json.loads(line) for shard in shards for line in shard.read_text().splitlines()]


def test_curate_writes_what_the_command_writes(
    films: Path, usual: dict[str, bytes], tmp_path: Path
) -> None:
    text = """
        - type: Curate
          config: {{config}}
        - type: MapToFields
          input: Curate.clips
          config:
            language: python
            fields: {id: id, end: end, motion: "scores['motion_global_mean']"}
        - {type: WriteToJson, input: MapToFields, config: {path: {{folder}}/clips}}
        - {type: WriteToJson, name: Sum, input: Curate.summary, config: {path: {{folder}}/sum}}
        """
    output = tmp_path / "output"
    run_yaml(text, tmp_path, input=str(films), output=str(output), **SETTINGS)
    assert differences(tree(output), usual) == []
    assert staged(output) == []
    names = {f"metas/v0/{clip['id']}.json" for clip in lines(tmp_path / "clips")}
    assert names == {name for name in usual if name.startswith("metas/")}
    assert all(clip["motion"] > 0 for clip in lines(tmp_path / "clips"))
    [told] = lines(tmp_path / "sum")
    summary = from_json(Summary, told["record"])
    assert (told["videos_done"], told["videos_empty"], told["videos_failed"]) == (2, 1, 1)
    assert (summary.videos_done, summary.imbalances()) == (2, [])


#: What looks at clips, as one step and as several.
LOOKS = {
    "LookAtClips": """
    - {type: LookAtClips, name: Look, input: CutClips.clips, config: *films}
    """,
    "KeepClips": """
    - {type: KeepClips, input: CutClips.clips, config: *films}
    - {type: MakePreviews, input: KeepClips, config: *films}
    - {type: EmbedClips, name: Look, input: MakePreviews, config: *films}
    """,
}
STEPS = """
    - {type: FindVideos, config: &films {{config}}}
    - {type: BeginVideos, input: FindVideos, config: *films}
    - {type: ProbeVideos, input: BeginVideos.sources, config: *films}
    - {type: SplitVideos, input: ProbeVideos.videos, config: *films}
    - {type: CutClips, input: SplitVideos.reels, config: *films}
    # looks
    - {type: WriteClips, input: Look, config: *films}
    - {type: CloseEmptyVideos, input: SplitVideos.reels, config: *films}
    - type: ListFailures
      input: [BeginVideos.failures, ProbeVideos.failures, SplitVideos.failures,
              CutClips.failures, WriteClips.failures, CloseEmptyVideos.failures]
      config: *films
    - type: TidyUp
      input: {a: WriteClips.videos, b: CloseEmptyVideos.videos, c: ListFailures}
      config: *films
    """


@pytest.mark.slow
@pytest.mark.parametrize("looks", LOOKS)
def test_all_steps_in_their_order_are_the_whole_way(
    looks: str, films: Path, usual: dict[str, bytes], tmp_path: Path
) -> None:
    output = tmp_path / "output"
    settings = {**SETTINGS, "input": str(films), "output": str(output)}
    text = STEPS.replace("    # looks\n", LOOKS[looks].lstrip("\n").rstrip(" "))
    run_yaml(text, **settings)
    made = tree(output)
    promises = [name for name in usual if name.startswith("processed_videos/")]
    # Which steps there were is not told by options: the command does not skip these.
    assert differences(made, usual) == promises
    alone = steps.ALONE.encode()
    assert all(made[name].replace(alone, b"") == usual[name] for name in promises)
    assert staged(output) == []
    before = {path: path.stat().st_mtime_ns for path in (output / "clips").iterdir()}
    run_yaml(text, **settings)
    assert {path: path.stat().st_mtime_ns for path in (output / "clips").iterdir()} == before


def test_a_filter_of_beam_among_the_steps(films: Path, tmp_path: Path) -> None:
    text = """
        - {type: FindVideos, config: &films {{config}}}
        - {type: ProbeVideos, input: FindVideos, config: *films}
        - {type: SplitVideos, input: ProbeVideos.videos, config: *films}
        - {type: CutClips, input: SplitVideos.reels, config: *films}
        - type: Filter
          input: CutClips.clips
          config: {language: python, keep: "start < 2 and video.endswith('1.mp4')"}
        - {type: WriteClips, input: Filter, config: *films}
        - type: WriteToJson
          input: [ProbeVideos.failures, SplitVideos.failures, CutClips.failures]
          config: {path: {{folder}}/failures}
        - {type: TidyUp, input: WriteClips.videos, config: *films}
        """
    output = tmp_path / "output"
    run_yaml(text, tmp_path, input=str(films), output=str(output), clip_length=1, min_clip_length=0)
    metas = [json.loads(path.read_text()) for path in (output / "metas" / "v0").iterdir()]
    told = sorted((Path(meta["source_video"]).name, *meta["duration_span"]) for meta in metas)
    assert told == [("1.mp4", 0.0, 1.0), ("1.mp4", 1.0, 2.0)]
    assert len([*(output / "clips").iterdir()]) == 2
    # All clips of these are gone; of the other, some are.
    closed = [path.name for path in sorted((output / "processed_videos").iterdir())]
    assert closed == ["0.mp4.json", "short.mp4.json"]
    assert staged(output) == []
    [failure] = lines(tmp_path / "failures")
    assert (failure["step"], Path(failure["video"]).name) == ("probe", "torn.mp4")
    assert from_json(Failure, failure["record"]).source.uri == failure["uri"]


FILTERED = """
    - {type: FindVideos, config: &films {{config}}}
    - {type: BeginVideos, input: FindVideos, config: *films}
    - {type: ProbeVideos, input: BeginVideos.sources, config: *films}
    - {type: SplitVideos, input: ProbeVideos.videos, config: *films}
    - {type: CutClips, input: SplitVideos.reels, config: *films}
    - type: Filter
      input: CutClips.clips
      config: {language: python, keep: "start >= LEAST"}
    - {type: WriteClips, input: Filter, config: *films}
    - type: WriteToJson
      input: [ProbeVideos.failures, SplitVideos.failures, CutClips.failures, WriteClips.failures]
      config: {path: {{folder}}/failures}
    - {type: WriteToJson, name: V, input: WriteClips.videos, config: {path: {{folder}}/videos}}
    - {type: TidyUp, input: WriteClips.videos, config: *films}
    """


@pytest.mark.slow
def test_a_video_all_of_whose_clips_were_filtered_out_is_closed(tmp_path: Path) -> None:
    """Its documents say so, nothing of it is left of an earlier run, and it is skipped then."""
    folder, output = tmp_path / "films", tmp_path / "output"
    folder.mkdir()
    paint(folder / "a.mp4", width=64, height=36, rate=10, seconds=3)
    settings = {**SETTINGS, "input": str(folder), "output": str(output), "keep": []}
    settings["no_generate_embeddings"] = True

    def filtered(least: int) -> list[str]:
        shown = tmp_path / str(least)
        run_yaml(FILTERED.replace("LEAST", str(least)), shown, **settings)
        assert lines(shown / "failures") == []
        assert staged(output) == []
        return sorted(name for name in tree(output) if not name.startswith("runs/"))

    assert len([name for name in filtered(1) if name.startswith("clips/")]) == 2
    # Two of three were written, so it is not finished and is done again: none is left.
    assert filtered(9) == ["processed_clip_chunks/a.mp4_0.json", "processed_videos/a.mp4.json"]
    [closed] = lines(tmp_path / "9" / "videos")
    assert (Path(closed["video"]).name, closed["num_clips"]) == ("a.mp4", 0)
    document = json.loads((output / "processed_videos/a.mp4.json").read_bytes())
    assert (document["num_total_clips"], document["num_clip_chunks"]) == (0, 0)
    assert document["configuration"].endswith(steps.ALONE)
    chunk = json.loads((output / "processed_clip_chunks/a.mp4_0.json").read_bytes())
    assert (chunk["clips"], chunk["filtered_clips"]) == ([], [])
    assert performed(VerifyOptions(str(output), workers=1)) == 0
    before = (output / "processed_videos/a.mp4.json").stat().st_mtime_ns
    filtered(9)
    assert (output / "processed_videos/a.mp4.json").stat().st_mtime_ns == before


def test_failures_may_be_called_otherwise(films: Path, tmp_path: Path) -> None:
    text = """
        - type: FindVideos
          config: {{config}}
        - type: ProbeVideos
          input: FindVideos
          config: {error_handling: {output: broken}}
        - {type: WriteToJson, input: ProbeVideos, config: {path: {{folder}}/videos}}
        - {type: WriteToJson, name: B, input: ProbeVideos.broken, config: {path: {{folder}}/bad}}
        """
    run_yaml(text, tmp_path, input=[str(films)])
    videos = {Path(row["name"]).name: row["width"] for row in lines(tmp_path / "videos")}
    assert videos == {"0.mp4": 64, "1.mp4": 64, "short.mp4": 64}
    assert [Path(row["uri"]).name for row in lines(tmp_path / "bad")] == ["torn.mp4"]


def test_rows_without_their_record_are_refused(films: Path) -> None:
    text = """
        - {type: FindVideos, config: {{config}}}
        - type: MapToFields
          input: FindVideos
          config: {append: true, drop: [record], fields: {}}
        - {type: ProbeVideos, input: MapToFields}
        """
    with pytest.raises(ValueError, match="takes rows of Sources, but their field 'record' is gone"):
        run_yaml(text, input=str(films))


def test_rows_of_other_records_are_refused(films: Path) -> None:
    text = """
        - {type: FindVideos, config: {{config}}}
        - {type: CutClips, input: FindVideos, config: {{config}}}
        """
    with pytest.raises(ValueError, match="takes rows of PlannedChunks, but it got rows of Sources"):
        run_yaml(text, input=str(films), output="nowhere")


def test_the_listing_has_every_step_and_beam_can_make_each() -> None:
    [provider] = yaml_provider.load_providers(listing())
    known = {
        name
        for name, kind in vars(steps).items()
        if inspect.isclass(kind) and issubclass(kind, Step) and not name.startswith("_")
    }
    assert {*provider.provided_transforms()} == known - {"Step"}
    options = {"input": "films", "output": "dataset", "keep": ["text<=0.1"]}
    for name in provider.provided_transforms():
        step = provider.create_transform(name, options, lambda *_: beam.Create([]))
        assert type(step) is getattr(steps, name)
        told = {field.name for field in provider.config_schema(name).fields}
        assert told == {f.name for f in option_fields()} - BEAMS | {"error_handling"}
        assert provider.description(name)
        begins = name in ("Curate", "FindVideos")
        assert provider.requires_inputs(name, {}) is not begins


def test_the_listing_is_found_from_the_shell() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "finecut.pipeline.beam_yaml"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == f"{listing()}\n"
    assert Path(listing()).is_file()


def test_the_examples_are_some(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert beam_yaml.__doc__ is not None
    said = [part.strip("\n").split("\n\n")[0] for part in beam_yaml.__doc__.split("::\n")[1:]]
    whole, _, alone = map(textwrap.dedent, said)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "films").symlink_to(films)
    run_whole(whole, {})
    assert len(lines(Path("clips.json"))) == 2
    providers, _, _ = whole.partition("pipeline:")
    run_whole(providers + alone, {})
    assert staged(tmp_path / "dataset") == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"clip_lenght": 5}, "unknown option clip_lenght: did you mean clip_length"),
        ({"--clip-length": 5}, "unknown option --clip-length: did you mean clip_length"),
        ({"colour": "blue"}, "unknown option colour: finecut curate --help lists"),
        ({"runner": "local"}, "runner cannot be set here"),
        ({"workers": 2}, "workers cannot be set here"),
        ({"clip_length": "five"}, "clip_length is 'five': give a number"),
        ({"clip_length": True}, "clip_length is True: give a number"),
        ({"crf": 1.5}, "crf is 1.5: give a whole number"),
        ({"bit_rate": "fast"}, "bit_rate is 'fast': give a rate"),
        ({"generate_previews": "yes"}, "generate_previews is 'yes': give true or false"),
        ({"output": 2024}, "output is 2024, which is not text: put it in quotes"),
        ({"keep": [1]}, "keep is 1, which is not text"),
    ],
)
def test_wrong_options_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        steps.SplitVideos(**given)


@pytest.mark.parametrize(
    ("step", "given", "said"),
    [
        (steps.Curate, {"input": "films"}, "Curate needs output"),
        (steps.FindVideos, {}, "FindVideos needs input"),
        (steps.CutClips, {}, "CutClips needs output"),
        (steps.KeepClips, {"error_handling": {"output": "x"}}, "KeepClips has no output for fail"),
        (steps.CutClips, {"output": "x", "error_handling": {}}, "name the output for failures"),
    ],
)
def test_what_a_step_cannot_do_without(step: Any, given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        step(**given)


def test_a_misspelt_option_names_its_place() -> None:
    text = """
        - type: Curate
          config: {input: films, output: dataset, clip_lenght: 5}
        """
    with pytest.raises(ValueError, match=r"\"Curate\" at line \d+.*did you mean clip_length\?"):
        run_yaml(text)


@pytest.mark.parametrize(
    ("step", "said"),
    [(steps.ScoreClips, "ScoreClips measures nothing"), (steps.KeepClips, "KeepClips keeps all")],
)
def test_a_step_that_would_do_nothing_is_refused(step: Any, said: str) -> None:
    pipeline = beam.Pipeline("FnApiRunner")
    clips = pipeline | beam.Create([rows.row_of(CLIP)]).with_output_types(rows.row_type(Clip))
    with pytest.raises(ValueError, match=said):
        clips | step()


def test_inputs_that_do_not_fit_are_refused() -> None:
    pipeline = beam.Pipeline("FnApiRunner")
    clips = pipeline | beam.Create([rows.row_of(CLIP)]).with_output_types(rows.row_type(Clip))
    with pytest.raises(ValueError, match="FindVideos starts a pipeline"):
        clips | steps.FindVideos(input="films")
    with pytest.raises(ValueError, match="EmbedClips takes one input"):
        {"a": clips, "b": clips} | steps.EmbedClips()


def test_contradictions_are_refused_before_anything_runs() -> None:
    pipeline = beam.Pipeline("FnApiRunner")
    with pytest.raises(ValueError, match="--preview-quality does nothing without"):
        pipeline | steps.FindVideos(input="films", preview_quality=9)


@pytest.mark.parametrize("step", [steps.Curate, steps.FindVideos])
@pytest.mark.parametrize("below", ["", "/clips"])
def test_an_output_among_its_own_inputs_is_refused(step: Any, below: str, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    with pytest.raises(ValueError, match=r"give a separate folder|give another --output"):
        beam.Pipeline() | step(input=f"{tmp_path}{below}", output=str(tmp_path))


def test_options_come_as_python_has_them() -> None:
    given = {
        "input": "films",
        "clip_length": 5,
        "bit_rate": "4M",
        "crf": None,
        "keep": ["motion>1", "text<1"],
        "generate_previews": True,
    }
    options = options_of("Curate", given)
    assert options == Options(
        input=("films",),
        clip_length=5.0,
        bit_rate=4_000_000,
        keep=("motion>1", "text<1"),
        generate_previews=True,
    )
    assert type(options.clip_length) is float
    usual = {f.name: default_of(f) for f in option_fields() if f.name not in BEAMS}
    assert options_of("Curate", usual) == Options()


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_records_survive_as_rows(record: object) -> None:
    kind: Any = type(record)
    coder = registry.get_coder(rows.row_type(kind))
    row = rows.row_of(record)
    back = coder.decode(coder.encode(row))
    assert rows.record_in(back, kind) == record
    assert back._asdict() == row._asdict()


def test_a_row_tells_what_people_ask_of_a_clip() -> None:
    told = rows.row_of(CLIP)._asdict()
    assert told.pop("record")
    assert told == {
        "id": "id",
        "video": SOURCE.name,
        "chunk": "chunk",
        "index": 0,
        "start": 0.0,
        "end": 3.003,
        "seconds": 3.003,
        "width": 640,
        "height": 360,
        "framerate": 29.97,
        "num_frames": 90,
        "num_bytes": 1000,
        "kept": False,
        "windows": ["0_89"],
        "captions": ['a "cat"\n'],
        "enhanced_captions": ["two"],
        "staged": "/out/.staging/x/id.mp4",
        "scores": {"motion_global_mean": 0.25},
        "artefacts": {"previews/d2d0/0_89.webp": "/p.webp"},
        "labels": {},
        "rejected_by": "motion",
        "errors": {"decode": "2 packets"},
        "written": [],
    }


@pytest.mark.parametrize("record", [None, "", "{}", "[]", '{"video": 1}', "no JSON"])
def test_what_somebody_put_in_place_of_a_record_is_refused(record: str | None) -> None:
    with pytest.raises(rows.RowError, match="does not contain a Clip"):
        rows.record_in(beam.Row(record=record), Clip)


def test_steps_of_one_pipeline_share_their_run_and_no_other_pipeline_does() -> None:
    one, other = beam.Pipeline("FnApiRunner"), beam.Pipeline("FnApiRunner")
    options = Options(input=("films",), output="dataset", generate_previews=True)
    runs = [
        planned(given, run_of(pipeline)).looking.run
        for pipeline in (one, one, other)
        for given in (options, dataclasses.replace(options, preview_target_fps=2.0))
    ]
    assert runs[:2] == runs[2:4]
    assert len({*runs}) == 4


@pytest.mark.parametrize(
    ("step", "given", "parts"),
    [
        (steps.ScoreClips, {"text_filter": "score-only", "keep": "unsafe<0.5"}, 2),
        (steps.KeepClips, {"keep": ["unsafe<0.5", "sharpness>0.1"]}, 1),
        (steps.MakePreviews, {"output": "x", "preview_quality": 9}, 1),
        (steps.EmbedClips, {"no_generate_embeddings": True}, 1),
        (steps.CaptionClips, {"captioning_prompt_text": "What?", "enhance_captions": True}, 2),
    ],
)
def test_what_is_looked_for_is_said_by_naming_the_step(
    step: Any, given: dict[str, Any], parts: int
) -> None:
    pipeline = beam.Pipeline("FnApiRunner")
    clips = pipeline | beam.Create([rows.row_of(CLIP)]).with_output_types(rows.row_type(Clip))
    looked = clips | step(**given)
    assert looked["clips"].element_type == rows.row_type(Clip)
    applied = pipeline.transforms_stack[0].parts[-1]
    # Rows to records before, records to rows after.
    assert len(applied.parts) == parts + 2
