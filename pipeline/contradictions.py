"""What is wrong with a set of options, in sentences that say what to write instead."""

from __future__ import annotations

import math
from collections.abc import Iterator

from finecut.pipeline.options import (
    CONTENT,
    DISABLE,
    ENABLE,
    FIXED_STRIDE,
    LEAST_STRIDE,
    TRANSNETV2,
    Options,
    default_of,
    option_fields,
)
from finecut.transforms.rules import parse_rule

LARGEST = 10**15


def contradictions(o: Options) -> Iterator[str]:
    """Everything that is wrong, the plainest first; nothing when all is well."""
    for name in ("input", "keep"):
        several: object = getattr(o, name)
        if isinstance(several, str):
            yield f"{name} is one string: write {name}=({several!r},)"
            return
    yield from _unknown_or_out_of_range(o)
    yield from _without_input_or_output(o)
    for text in o.keep:
        try:
            parse_rule(text)
        except ValueError as error:
            yield f"--keep {error}"
            return
    yield from _at_odds_in_cutting(o)
    yield from _at_odds_in_encoding(o)
    yield from _without_effect(o)


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _unknown_or_out_of_range(o: Options) -> Iterator[str]:
    for f in option_fields():
        value, limits = getattr(o, f.name), f.metadata
        if limits["choices"] and value not in limits["choices"]:
            choices = ", ".join(limits["choices"])
            yield f"{flag(f.name)} {value} is unknown: write one of {choices}"
        if not isinstance(value, int | float) or isinstance(value, bool):
            continue
        if isinstance(value, int) and abs(value) > LARGEST:
            yield f"{flag(f.name)} has {len(str(value))} digits: write a number one can count to"
            return
        said = f"{flag(f.name)} {value:g}"
        if limits["above"] is not None and not value > limits["above"]:
            yield f"{said} is not possible: write a number above {limits['above']:g}"
        if limits["least"] is not None and not value >= limits["least"]:
            yield f"{said} is not possible: write {limits['least']:g} or more"
        if limits["most"] is not None and value > limits["most"]:
            yield f"{said} is beyond reason: write {limits['most']:g} or less"
        if not math.isfinite(value):
            yield f"{said} is no number one can count to: write one"
    if 0 < o.stride < LEAST_STRIDE:
        yield (
            f"--clip-stride {o.stride:g} is shorter than any frame: write {LEAST_STRIDE:g} or more"
        )


def _without_input_or_output(o: Options) -> Iterator[str]:
    if not o.input:
        yield "no --input: write --input FOLDER (or a file, a glob in quotes, a list)"
    if any(not spec for spec in o.input):
        yield "--input '' names nothing: write --input . for the current folder"
    if not o.output:
        yield "no --output: write --output FOLDER, where the dataset shall lie"


def _at_odds_in_cutting(o: Options) -> Iterator[str]:
    if o.cuts and o.splitting_algorithm != FIXED_STRIDE:
        yield (
            f"--cuts and --splitting-algorithm {o.splitting_algorithm} contradict each other: "
            "write one of them"
        )
    most, name = o.clip_length, "--clip-length"
    if o.cuts_at_scenes:
        most, name = o.max_clip_length or math.inf, "--max-clip-length"
    if o.min_clip_length > most:
        yield (
            f"--min-clip-length {o.min_clip_length:g} is longer than {name} {most:g}, so no clip "
            f"would be kept: write --min-clip-length {most:g} or less"
        )


def _at_odds_in_encoding(o: Options) -> Iterator[str]:
    if o.use_input_bit_rate and o.bit_rate is not None:
        yield "--bit-rate and --use-input-bit-rate contradict each other: write one of them"
    if o.crf is not None and (o.bit_rate is not None or o.use_input_bit_rate):
        yield (
            "--crf (constant quality) contradicts a bit rate: write --crf, or --bit-rate, or "
            "--use-input-bit-rate"
        )
    if o.crf is not None and o.encoder == "libopenh264":
        yield "libopenh264 has no constant quality: write --bit-rate instead of --crf"


def _without_effect(o: Options) -> Iterator[str]:
    """An option that would do nothing was meant to do something."""
    detects = o.splitting_algorithm != FIXED_STRIDE
    needs: list[tuple[bool, str, tuple[str, ...]]] = [
        (
            not o.cuts_at_scenes,
            "a fixed stride (scenes have --max-clip-length)",
            ("clip_length", "clip_stride"),
        ),
        (
            o.cuts_at_scenes,
            f"scenes: --splitting-algorithm {CONTENT} or {TRANSNETV2}, or --cuts",
            ("max_clip_length", "long_scenes", "crop", "crop_every_piece"),
        ),
        (detects, f"--splitting-algorithm {CONTENT} or {TRANSNETV2}", ("skip_uncut",)),
        (
            o.splitting_algorithm == TRANSNETV2,
            f"--splitting-algorithm {TRANSNETV2}",
            ("transnetv2_threshold",),
        ),
        (
            o.generate_previews,
            "--generate-previews",
            ("preview_target_fps", "preview_target_height", "preview_quality"),
        ),
        (
            o.measures("text") or o.measures("unsafe"),
            "--text-filter or --unsafe-filter",
            ("screen_target_fps",),
        ),
        (
            o.aesthetic_filter != "score-only",
            "--aesthetic-filter enable",
            ("aesthetic_threshold",),
        ),
        (
            o.measures("aesthetic"),
            "--aesthetic-filter",
            ("aesthetic_reduction", "aesthetic_target_fps", "aesthetic_clip", "aesthetic_head"),
        ),
        (
            o.splitting_algorithm == TRANSNETV2 or o.measures("aesthetic"),
            f"a model that lies there: --splitting-algorithm {TRANSNETV2} or --aesthetic-filter",
            ("model_dir",),
        ),
        *(
            (getattr(o, f"{family}_filter") == ENABLE, f"--{family}-filter {ENABLE}", names)
            for family, names in {
                "motion": ("motion_global_mean_threshold", "motion_per_patch_min_256_threshold"),
                "text": ("text_threshold",),
                "unsafe": ("unsafe_threshold",),
            }.items()
        ),
        *(
            (o.measures(family), f"--{family}-filter (it is {DISABLE}d)", (f"{family}_target_fps",))
            for family in ("motion", "quality")
        ),
    ]
    defaults = {f.name: default_of(f) for f in option_fields()}
    for met, need, names in needs:
        for name in names:
            if not met and getattr(o, name) != defaults[name]:
                yield f"{flag(name)} does nothing without {need}: write that too, or leave it out"
