"""Options live once: flags, docs and defaults say the same."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
from doc_tables import OPTIONS

from finecut.pipeline.cli.flags import Parser, add_flags, parse_options, with_tables
from finecut.pipeline.cli.option_kinds import dataset_options, video_options
from finecut.pipeline.options import OptionError, Options, default_of, option_fields
from finecut.transforms.option import ENABLE
from finecut.transforms.registry import SCORING, STEPS

NEEDED = ["--input", "films", "--output", "out"]


def parse(*arguments: str) -> Options:
    parser = Parser(prog="finecut curate")
    add_flags(parser)
    return parse_options(parser, arguments)[0]


def test_the_docs_show_every_option() -> None:
    text = OPTIONS.read_text(encoding="utf-8")
    assert text == with_tables(text), "options have changed: make tables"
    assert text.count("<!-- end of options") == 1 + len(dataset_options()) + len(video_options())


def test_flags_and_fields_have_the_same_defaults() -> None:
    assert parse(*NEEDED) == Options(input=("films",), output="out")


SCENES = {"splitting_algorithm": "content"}
BEAUTY = {"aesthetic_filter": "score-only"}
PREVIEWS = {"generate_previews": True}
CAPTIONS = {"generate_captions": True}
RICHER = {**CAPTIONS, "enhance_captions": True}
#: What has to be given with an option, because it does nothing alone.
COMPANIONS: dict[str, dict[str, Any]] = {
    "accelerator_machine": {"runner": "FlinkRunner", "right_fitting": True},
    **dict.fromkeys(("max_clip_length", "long_scenes", "crop", "crop_every_piece"), SCENES),
    "skip_uncut": SCENES,
    "transnetv2_threshold": {"splitting_algorithm": "transnetv2"},
    "model_dir": {"splitting_algorithm": "transnetv2"},
    **dict.fromkeys(
        (
            "captioning_prompt_variant",
            "captioning_prompt_text",
            "captioning_sampling_fps",
            "captioning_side",
            "captioning_max_output_tokens",
            "captioning_stage2_caption",
            "captioning_algorithm",
            "enhance_captions",
            "caption_engine",
            "model_timeout",
            "clips_together",
            "trust_remote_code",
        ),
        CAPTIONS,
    ),
    "captioning_stage2_prompt_text": {
        "generate_captions": True,
        "captioning_stage2_caption": True,
    },
    **dict.fromkeys(
        (
            "enhance_captions_algorithm",
            "enhance_captioning_prompt_variant",
            "enhance_captions_prompt_text",
            "enhance_captions_max_output_tokens",
        ),
        RICHER,
    ),
    "embedding_endpoint": {"embedding_algorithm": "endpoint"},
    "captioning_endpoint": {"generate_captions": True, "captioning_algorithm": "endpoint"},
    "enhance_captions_endpoint": {
        "generate_captions": True,
        "enhance_captions": True,
        "enhance_captions_algorithm": "endpoint",
    },
    "resources": {"runner": "FlinkRunner"},
    "accelerator": {"runner": "FlinkRunner"},
    "right_fitting": {"runner": "FlinkRunner"},
    **dict.fromkeys(("preview_target_fps", "preview_target_height", "preview_quality"), PREVIEWS),
    **dict.fromkeys(
        ("aesthetic_reduction", "aesthetic_target_fps", "aesthetic_clip", "aesthetic_head"), BEAUTY
    ),
    "screen_target_fps": {"text_filter": "score-only"},
    "motion_target_fps": {"motion_filter": "score-only"},
    "quality_target_fps": {"quality_filter": "score-only"},
    "motion_global_mean_threshold": {"motion_filter": "enable"},
    "motion_per_patch_min_256_threshold": {"motion_filter": "enable"},
    "text_threshold": {"text_filter": "enable"},
    "unsafe_threshold": {"unsafe_filter": "enable"},
}


def test_an_option_that_would_do_nothing_is_refused() -> None:
    """Each of those that need another, without it."""
    for name, needed in COMPANIONS.items():
        default = {f.name: default_of(f) for f in option_fields()}[name]
        value: Any = {
            "long_scenes": "truncate",
            "aesthetic_reduction": "mean",
            "max_clip_length": 9.0,
            "captioning_prompt_variant": "av",
            "enhance_captioning_prompt_variant": "av",
            "caption_engine": "vllm",
            "captioning_prompt_text": "What?",
            "captioning_stage2_prompt_text": "What?",
            "enhance_captions_prompt_text": "More!",
            "captioning_side": 90,
            "captioning_max_output_tokens": 90,
            "enhance_captions_max_output_tokens": 90,
            "embedding_endpoint": "http://host:8000/v1",
            "captioning_endpoint": "http://host:8000/v1",
            "enhance_captions_endpoint": "http://host:8000/v1",
            "resources": ("embed:gpus=0.5",),
        }.get(name)
        if value is None:
            value = True if default is False else "else" if isinstance(default, str) else 0.25
        base: dict[str, Any] = {}
        if name == "model_dir":
            value, base = "models", {"no_generate_embeddings": True}
        if name in ("preview_target_height", "preview_quality"):
            value = 90
        options = Options(input=("films",), output="out", **base, **{name: value})
        with pytest.raises(OptionError, match="does nothing without"):
            options.check()
        dataclasses.replace(options, **needed).check()


def test_every_flag_reaches_its_field() -> None:
    """Each option, given a value that is not its default, changes that field and no other."""
    other: dict[str, tuple[list[str], Any]] = {
        "input": (["--input", "a", "b", "--input", "c"], ("a", "b", "c")),
        "output": (["--output", "elsewhere"], "elsewhere"),
        "transcode": (["--transcode", "smart"], "smart"),
        "encoder": (["--encoder", "libsvtav1"], "libsvtav1"),
        "decoder": (["--decoder", "nvdec"], "nvdec"),
        "audio": (["--audio", "none"], "none"),
        "bit_rate": (["--bit-rate", "1.5M"], 1_500_000),
        "part": (["--part", "2/4"], "2/4"),
        "gpus": (["--gpus", "0,1"], "0,1"),
        "named_as": (["--named-as", "/data"], "/data"),
        "preset": (["--preset", "slow"], "slow"),
        "runner": (["--runner", "DirectRunner"], "DirectRunner"),
        "max_memory_mb": (["--max-memory-mb", "8192"], 8192),
        "splitting_algorithm": (["--splitting-algorithm", "content"], "content"),
        "cuts": (["--cuts", "list.csv"], "list.csv"),
        "long_scenes": (["--long-scenes", "truncate"], "truncate"),
        "keep": (["--keep", "frozen<1", "--keep", "motion>0"], ("frozen<1", "motion>0")),
        "drop": (["--drop", "dataset/dedup", "more.txt"], ("dataset/dedup", "more.txt")),
        "step": (["--step", "own:Colours", "own:Shapes@cut"], ("own:Colours", "own:Shapes@cut")),
        "motion_filter": (["--motion-filter", "enable"], "enable"),
        "quality_filter": (["--quality-filter", "score-only"], "score-only"),
        "aesthetic_filter": (["--aesthetic-filter", "score-only"], "score-only"),
        "aesthetic_reduction": (["--aesthetic-reduction", "mean"], "mean"),
        "aesthetic_clip": (["--aesthetic-clip", "models/clip"], "models/clip"),
        "aesthetic_head": (["--aesthetic-head", "models/head"], "models/head"),
        "text_filter": (["--text-filter", "enable"], "enable"),
        "unsafe_filter": (["--unsafe-filter", "enable"], "enable"),
        "model_dir": (["--model-dir", "models"], "models"),
        "scratch": (["--scratch", "/fast"], "/fast"),
        "transnetv2_threshold": (["--transnetv2-threshold", "0.9"], 0.9),
        "text_threshold": (["--text-threshold", "0.2"], 0.2),
        "unsafe_threshold": (["--unsafe-threshold", "0.2"], 0.2),
        "preview_target_height": (["--preview-target-height", "90"], 90),
        "embedding_algorithm": (["--embedding-algorithm", "openai/clip"], "openai/clip"),
        "embedding_endpoint": (["--embedding-endpoint", "http://h/v1"], "http://h/v1"),
        "captioning_algorithm": (["--captioning-algorithm", "qwen3"], "qwen3"),
        "captioning_endpoint": (["--captioning-endpoint", "http://h/v1"], "http://h/v1"),
        "captioning_prompt_variant": (["--captioning-prompt-variant", "av"], "av"),
        "captioning_prompt_text": (["--captioning-prompt-text", "What?"], "What?"),
        "captioning_side": (["--captioning-side", "336"], 336),
        "captioning_stage2_prompt_text": (["--captioning-stage2-prompt-text", "So?"], "So?"),
        "enhance_captions_algorithm": (["--enhance-captions-algorithm", "qwen3"], "qwen3"),
        "enhance_captions_endpoint": (
            ["--enhance-captions-endpoint", "http://h/v1"],
            "http://h/v1",
        ),
        "enhance_captioning_prompt_variant": (["--enhance-captioning-prompt-variant", "av"], "av"),
        "enhance_captions_prompt_text": (["--enhance-captions-prompt-text", "More!"], "More!"),
        "caption_engine": (["--caption-engine", "vllm"], "vllm"),
        "resources": (
            ["--resources", "embed:gpus=0.5", "cut:cpus=2"],
            ("embed:gpus=0.5", "cut:cpus=2"),
        ),
        "accelerator": (["--accelerator", "nvidia-tesla-t4"], "nvidia-tesla-t4"),
        "accelerator_machine": (["--accelerator-machine", "g2-standard-24"], "g2-standard-24"),
    }
    for field in option_fields():
        flag = "--" + field.name.replace("_", "-")
        if field.name in ("subscription", "announced_only", "patience"):
            continue  # a stream wants another input than the others: tests/test_stream.py
        if field.name == "step_option":
            continue  # it needs a step: tests/pipeline/custom_steps
        if field.name in other:
            arguments, value = other[field.name]
        elif isinstance(field.default, bool):
            arguments, value = [flag], True
        elif field.metadata["choices"]:
            value = field.metadata["choices"][-1]
            arguments = [flag, value]
        else:
            value = max(field.metadata["least"] or 0, min(9, field.metadata["most"] or 9))
            arguments = [flag, f"{value}"]
        given = arguments if field.name in ("input", "output") else NEEDED + arguments
        missing = NEEDED[2:] if field.name == "input" else NEEDED[:2]
        companion = COMPANIONS.get(field.name, {})
        for step in STEPS:
            if field.metadata["effective"] and field.name in step.Options.__dataclass_fields__:
                switch = step.flag().removeprefix("--").replace("-", "_")
                on: Any = ENABLE if step in SCORING else True
                needed = {} if switch.startswith("no_") else {switch: on}
                companion = COMPANIONS.get(field.name, needed)
        for name, said in companion.items():
            given = [*given, "--" + name.replace("_", "-"), *([] if said is True else [said])]
        parsed = parse(*(given + missing if field.name in ("input", "output") else given))
        base = Options(input=parsed.input, output=parsed.output)
        for name, said in companion.items():
            base = dataclasses.replace(base, **{name: said})
        change: dict[str, Any] = {field.name: value}
        assert parsed == dataclasses.replace(base, **change), field.name


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"input": ()}, "--input FOLDER"),
        ({"output": ""}, "--output FOLDER"),
        ({"clip_length": 0.0}, "--clip-length 0"),
        ({"clip_stride": -1.0}, "--clip-stride -1"),
        ({"clip_length": float("nan")}, "--clip-length nan"),
        ({"chunk_seconds": 0}, "--chunk-seconds 0"),
        ({"video_limit": 0}, "--video-limit 0"),
        ({"gpus": "x"}, "--gpus x names no GPUs: give their numbers, as in 0,1, or all"),
        ({"gpus": "1,1"}, "--gpus 1,1 names a GPU twice"),
        ({"gpus": "0,"}, "--gpus 0, names no GPUs"),
        ({"gpus": "0", "runner": "FlinkRunner"}, "--gpus chooses among the GPUs of this machine"),
        ({"part": "0/4"}, "--part 0/4 is not a part: give K/N with K from 1 to N"),
        ({"part": "5/4"}, "--part 5/4 is not a part"),
        ({"part": "x"}, "--part x is not a part"),
        ({"part": ""}, "--part  is not a part"),
        ({"limit_clips": -1}, "--limit-clips -1"),
        ({"min_clip_length": 11.0}, "give --min-clip-length 10 or less"),
        ({"bit_rate": 1000, "use_input_bit_rate": True}, "give only one of them"),
        ({"crf": 20, "bit_rate": 1000}, "contradicts a bit rate"),
        ({"crf": 20, "encoder": "libopenh264"}, "give --bit-rate instead"),
        ({"transcode": "copy", "decoder": "nvdec"}, "leave --decoder nvdec out"),
        ({"encoder_threads": 0}, "--encoder-threads 0"),
        ({"keep": ("sharpness",)}, "--keep 'sharpness' is not a rule"),
        ({"keep": ("beauty>1",)}, "does not name a score"),
        ({"motion_target_fps": 0.0}, "--motion-target-fps 0"),
        ({"preview_target_fps": 1000.0}, "--preview-target-fps 1000"),
        ({"preview_target_height": 1}, "--preview-target-height 1"),
        ({"max_clip_length": float("inf")}, "--max-clip-length inf"),
        ({"text_threshold": float("inf")}, "--text-threshold inf"),
        ({"limit_clips": 10**400}, "--limit-clips has 401 digits"),
        (
            {"model_dir": "m", "no_generate_embeddings": True, "splitting_algorithm": "content"},
            "--model-dir does nothing",
        ),
        ({"model_dir": "m", "embedding_algorithm": "efficientnet-lite0"}, "does nothing"),
        ({"embedding_algorithm": "endpoint"}, "add --embedding-endpoint http"),
        ({"embedding_algorithm": ""}, "--embedding-algorithm '' names nothing"),
        (
            {"embedding_algorithm": "endpoint", "embedding_endpoint": "host:80"},
            "--embedding-endpoint has no scheme",
        ),
        ({"embedding_algorithm": "x", "no_generate_embeddings": True}, "does nothing without"),
        (
            {"generate_captions": True, "captioning_algorithm": "endpoint"},
            "needs the address of the",
        ),
        ({"generate_captions": True, "captioning_prompt_text": " "}, "is an empty prompt"),
        (
            {
                "generate_captions": True,
                "captioning_prompt_text": "What?",
                "captioning_prompt_variant": "av",
            },
            "give only one of them",
        ),
        ({"resources": ("lunch:gpus=1",), "runner": "FlinkRunner"}, "not a step with resources"),
        ({"trust_remote_code": True, "embedding_algorithm": "efficientnet-lite0"}, "nothing"),
        ({"unsafe_threshold": 50.0}, "--unsafe-threshold 50"),
        ({"motion_global_mean_threshold": float("nan")}, "--motion-global-mean-threshold nan"),
        ({"aesthetic_threshold": 4.0, "aesthetic_filter": "score-only"}, "does nothing without"),
        ({"preview_quality": 101}, "--preview-quality 101"),
        ({"transnetv2_threshold": 1.5}, "--transnetv2-threshold 1.5"),
        ({"cuts": "a.csv", "splitting_algorithm": "content"}, "give only one of them"),
        ({"skip_uncut": True}, "--skip-uncut does nothing without"),
        ({"skip_uncut": True, "cuts": "a.csv"}, "--skip-uncut does nothing without"),
        ({"crop_every_piece": True}, "--crop-every-piece does nothing without scenes"),
        (
            {"splitting_algorithm": "content", "max_clip_length": 1.0},
            "longer than --max-clip-length 1",
        ),
    ],
)
def test_contradictions_say_what_to_write_instead(changes: dict[str, Any], words: str) -> None:
    good = Options(input=("films",), output="out")
    assert good.check() is good
    with pytest.raises(OptionError, match=re.escape(words)):
        dataclasses.replace(good, **changes).check()


def test_rules_come_from_filters_and_from_keep() -> None:
    options = Options(
        input=("films",),
        output="out",
        motion_filter="enable",
        quality_filter="score-only",
        keep=("motion>=0.5", "unsafe<=0.1"),
        aesthetic_threshold=4.5,
    )
    rules = options.rules
    named = {family: [rule.name for rule in rules[family]] for family in rules if rules[family]}
    assert named == {
        "motion": ["motion", "motion", "motion>=0.5"],
        "unsafe": ["unsafe<=0.1"],
        "aesthetic": ["aesthetic"],
    }
    assert options.rules["aesthetic"][0].limit == 4.5
    measured = [family for family in rules if options.measures(family)]
    assert measured == ["motion", "quality", "unsafe", "aesthetic"]


def test_score_only_rejects_nothing_whatever_the_threshold() -> None:
    options = Options(aesthetic_filter="score-only", aesthetic_threshold=9.0)
    assert options.rules["aesthetic"] == ()
    assert options.measures("aesthetic")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--clip-lenght", "5"], "did you mean --clip-length?"),
        (["--num_workers=3"], "need --runner NAME"),
        (["films2"], "does not belong to any flag"),
        (["--clip-length", "ten"], "'ten' is not a number"),
        (["--bit-rate", "fast"], "a rate such as 4M or 800K"),
        (["--encoder", "x264"], "did you mean libx264?"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse(*["--input", "films", "--output", "out", *arguments])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_a_runners_own_options_are_passed_on() -> None:
    parser = Parser(prog="finecut curate")
    add_flags(parser)
    own = ["--flink_master=host:8081", "--num_workers=3", "--option_of_tomorrow=1"]
    options, rest = parse_options(parser, [*NEEDED, "--runner", "FlinkRunner", *own])
    assert rest == own
    assert not options.is_local
    with pytest.raises(SystemExit):
        parse_options(parser, [*NEEDED, "--runner", "FlinkRunner", "--clip-lenght=3"])
