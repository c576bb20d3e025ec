"""Every choice a user has, once.

A field of :class:`Options` is a flag (``clip_length`` ↔ ``--clip-length``), an argument in Python
and a row in docs/options.md; ``flags.py`` derives them all. Steps that score clips declare their
own (:mod:`finecut.transforms.steps`). Standard library only: ``--help`` has to answer at once.
"""

from __future__ import annotations

import math
import os
from dataclasses import MISSING, Field, dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from finecut.io.errors import UserError
from finecut.pipeline.classes import named
from finecut.transforms.filter.rules import OWN, Rule, parse_rule
from finecut.transforms.models.resources import step_names
from finecut.transforms.option import (
    CUT,
    ENCODE,
    GROUPS,
    INPUT,
    LIMITS,
    LONGEST_WAIT,
    LOOK,
    MACHINES,
    OUTPUT,
    PREVIEW,
    RUN,
    SCENES,
    option,
)
from finecut.transforms.registry import ON_CLIPS, SCORING, STEPS, family_of
from finecut.transforms.spelling import spelled
from finecut.transforms.step_base import Step, StepOnClips
from finecut.transforms.steps.model_folder import ModelFolder

if TYPE_CHECKING:
    from finecut.transforms.steps.aesthetic import AestheticOptions
    from finecut.transforms.steps.caption import CaptionOptions
    from finecut.transforms.steps.embed import EmbedOptions
    from finecut.transforms.steps.enhance import EnhanceOptions
    from finecut.transforms.steps.motion import MotionOptions
    from finecut.transforms.steps.preview import PreviewOptions
    from finecut.transforms.steps.quality import QualityOptions
    from finecut.transforms.steps.saturation import SaturationOptions
    from finecut.transforms.steps.text import TextOptions
    from finecut.transforms.steps.thumbnail import ThumbnailOptions
    from finecut.transforms.steps.unsafe import UnsafeOptions

SOFTWARE, NVDEC = DECODERS = "software", "nvdec"
X264 = "libx264"
ENCODERS = (X264, "libx265", "libsvtav1", "libvpx-vp9", "h264_nvenc", "libopenh264")
#: Encode all pictures of a clip; copy them; encode only those between key frames and cuts.
ENCODE_ALL, COPY, SMART = TRANSCODES = "encode", "copy", "smart"
MOST_WORKERS, MOST_ENCODER_THREADS, MOST_BIT_RATE = 256, 64, 1_000_000_000
LEAST_STRIDE = 0.001
#: The runner of who names none.
LOCAL = "local"
LOCAL_RUNNERS = (LOCAL, "DirectRunner", "FnApiRunner")
FIXED_STRIDE, TRANSNETV2, CONTENT = "fixed_stride", "transnetv2", "content"
USUAL_ACCELERATOR = "nvidia-l4"


class OptionError(UserError, ValueError):
    """Options that are wrong or contradict each other; the message says what to write instead."""


def parse_bit_rate(text: str) -> int:
    """Bits per second: ``4000000``, ``4000K`` or ``4M``."""
    scale = {"k": 1_000, "m": 1_000_000}.get(text[-1:].lower())
    number = float(text[:-1] if scale else text)
    if not math.isfinite(number):
        raise ValueError(text)
    return int(number * (scale or 1))


#: Options of all steps, as they were found. The type checker is told of those that
#: come with finecut; nothing here speaks of one of them by name.
if TYPE_CHECKING:

    class StepOptions(
        MotionOptions,
        QualityOptions,
        SaturationOptions,
        TextOptions,
        UnsafeOptions,
        AestheticOptions,
        PreviewOptions,
        ThumbnailOptions,
        EmbedOptions,
        EnhanceOptions,
        CaptionOptions,
    ): ...

else:
    _KINDS = tuple(step.Options for step in STEPS)
    # One that another is derived from is part of that one already.
    _LAST = (kind for kind in _KINDS if sum(issubclass(other, kind) for other in _KINDS) == 1)
    StepOptions = dataclass(frozen=True, kw_only=True)(type("StepOptions", (*_LAST,), {}))


@dataclass(frozen=True)
class Options(StepOptions, ModelFolder):
    """The choices of one run. ``Options(input=("films",), output="dataset")`` is enough."""

    input: tuple[str, ...] = option(
        (),
        INPUT,
        "A folder (searched at any depth), a glob in quotes, a video, or a list of videos "
        "(.txt, .json, .jsonl, .csv); several may be given.",
        metavar="PATH",
        shown="required",
        matters=False,
    )
    video_limit: int | None = option(
        None,
        INPUT,
        "Take at most so many videos, the first by path.",
        metavar="N",
        shown="all",
        above=0,
        matters=False,
    )
    named_as: str | None = option(
        None,
        INPUT,
        "Name sources as if the input's root were ROOT, so that ids stay the same wherever the "
        "files are mounted.",
        metavar="ROOT",
        shown="where they lie",
        matters=False,
    )

    subscription: str | None = option(
        None,
        INPUT,
        "Go on for ever, on a cluster: take the videos below the input (a folder of a bucket) that "
        "this Pub/Sub subscription tells of as they are written, and not those that are there.",
        metavar="NAME",
        shown="none",
        matters=False,
    )
    patience: float = option(
        3600.0,
        INPUT,
        "With --subscription: how long a chunk waits for clips that may have failed before it is "
        "closed without them.",
        metavar="SECONDS",
        above=0,
        matters=False,
    )

    splitting_algorithm: str = option(
        FIXED_STRIDE,
        CUT,
        "Where to cut: at regular distances, where a neural network sees the scene change, or "
        "where simple arithmetic on the pictures does (no model needed).",
        choices=(FIXED_STRIDE, TRANSNETV2, CONTENT),
    )
    cuts: str | None = option(
        None,
        CUT,
        "Cut at the times listed in this file instead (.json or .csv: cuts or scenes of each "
        "video).",
        metavar="FILE",
        shown="none",
    )
    clip_length: float = option(
        10.0, CUT, "Length of a clip in seconds, with a fixed stride.", metavar="SECONDS", above=0
    )
    clip_stride: float | None = option(
        None,
        CUT,
        "Distance from the start of one clip to the next; less than the length makes clips "
        "overlap.",
        metavar="SECONDS",
        shown="the length",
        above=0,
    )
    min_clip_length: float = option(
        2.0,
        CUT,
        "Drop shorter clips: at the end of a video, or of a scene.",
        metavar="SECONDS",
        least=0,
    )
    chunk_seconds: int = option(
        256,
        CUT,
        "Close a chunk (the unit of work, and of one Parquet file) when its clips reach so many "
        "seconds.",
        metavar="SECONDS",
        above=0,
    )
    limit_clips: int = option(
        0, CUT, "Cut at most so many clips of each video; 0 means all.", metavar="N", least=0
    )

    max_clip_length: float = option(
        10.0,
        SCENES,
        "Longer scenes make several clips; 0 means no limit.",
        metavar="SECONDS",
        least=0,
    )
    long_scenes: str = option(
        "stride",
        SCENES,
        "What a longer scene becomes: clips one after the other, or one clip of its beginning.",
        choices=("stride", "truncate"),
    )
    crop: float | None = option(
        None,
        SCENES,
        "Leave out so much at both ends of a scene, where the transition may be visible.",
        metavar="SECONDS",
        shown="0.5; 0 with --cuts",
        least=0,
    )
    crop_every_piece: bool = option(
        False, SCENES, "Crop every clip of a long scene at both ends, as NeMo Curator does."
    )
    transnetv2_threshold: float = option(
        0.4,
        SCENES,
        "Probability above which a frame belongs to a transition (transnetv2).",
        metavar="P",
        least=0,
        most=1,
    )
    skip_uncut: bool = option(
        False, SCENES, "Make no clip of a video in which no transition is found."
    )

    transcode: str = option(
        "encode",
        ENCODE,
        "How clips are made: encoded, copied from key frame to key frame (200 times real time, a "
        "little longer than asked for), or copied but for the frames at both ends (exactly as "
        "asked for); what cannot be copied is encoded, and says so.",
        choices=TRANSCODES,
    )
    decoder: str = option(
        SOFTWARE,
        ENCODE,
        "Who decodes films that are cut: the processor, or the GPU of each worker, which tells no "
        "motion vectors, so that motion is estimated from pixels.",
        choices=DECODERS,
    )
    encoder: str = option("libx264", ENCODE, "The video encoder of the clips.", choices=ENCODERS)
    preset: str | None = option(
        None,
        ENCODE,
        "The encoder's own preset, from fast to small (libx264: ultrafast … veryslow).",
        metavar="NAME",
        shown="veryfast for libx264",
    )
    crf: int | None = option(
        None,
        ENCODE,
        "Constant quality, lower is better.",
        metavar="N",
        shown="21 for libx264",
        least=0,
    )
    bit_rate: int | None = option(
        None,
        ENCODE,
        "Encode at so many bits per second (4M, 800K) instead of constant quality.",
        metavar="RATE",
        shown="constant quality",
        parse=parse_bit_rate,
        above=0,
        most=MOST_BIT_RATE,
    )
    use_input_bit_rate: bool = option(
        False, ENCODE, "Encode each clip at the bit rate of its source."
    )
    encoder_threads: int = option(
        1,
        ENCODE,
        "Threads of one encoder; part of the bytes it writes, so keep it for the same output.",
        metavar="N",
        above=0,
        most=MOST_ENCODER_THREADS,
    )
    audio: str = option(
        "copy",
        ENCODE,
        "Sound of the clips: copied where MP4 allows (else AAC), always AAC, or none.",
        choices=("copy", "aac", "none"),
    )

    keep: tuple[str, ...] = option(
        (),
        LOOK,
        "Keep only clips of which this is true, as in 'sharpness>=0.1' or 'motion>0.001' (= and != "
        "where a score is a word); what it needs is measured; of several, all must hold.",
        metavar="RULE",
        shown="all clips",
    )
    step: tuple[str, ...] = option(
        (),
        LOOK,
        "Put a step of your own among the others, package.module:Name or the name it has in an "
        "installed package; @PLACE behind it says after what: cut, judged, scored, previewed, "
        "embedded or captioned.",
        metavar="STEP",
        shown="none",
    )
    step_option: tuple[str, ...] = option(
        (),
        LOOK,
        "Set an option of such a step, as in Brightness.brightness_threshold=0.4.",
        metavar="STEP.OPTION=VALUE",
        shown="none",
        matters=False,
    )
    drop: tuple[str, ...] = option(
        (),
        LOOK,
        "Reject the clips on this list before any model looks at them: a folder that finecut dedup "
        "wrote, a .parquet with one column id, or a text with one id in a line.",
        metavar="LIST",
        shown="none",
    )

    resources: tuple[str, ...] = option(
        (),
        MACHINES,
        "What a step needs on a cluster, as in embed:gpu_memory_gb=8 or caption:entire_gpu=true "
        f"(steps: {', '.join(step_names())}).",
        metavar="STEP:KEY=VALUE",
        shown="what its model needs",
        matters=False,
    )
    right_fitting: bool = option(
        False,
        MACHINES,
        "On a cluster: cut on machines that have no GPU, unless cutting needs one, and hand the "
        "clips over to others that have one for the models (which decodes them once more).",
        matters=False,
    )
    accelerator: str = option(
        USUAL_ACCELERATOR,
        MACHINES,
        "Which GPU a cluster's workers get, if a step needs one, by its name on Google Cloud.",
        metavar="NAME",
        matters=False,
    )

    window_size: int = option(
        256,
        PREVIEW,
        "Frames of a window, the unit of previews and captions.",
        metavar="FRAMES",
        above=0,
    )
    window_remainder: int = option(
        128,
        PREVIEW,
        "So many frames left over at the end make a window of their own; fewer join the last one.",
        metavar="FRAMES",
        above=0,
    )

    output: str = option(
        "",
        OUTPUT,
        "The folder or bucket path to write to.",
        metavar="PATH",
        shown="required",
        matters=False,
    )
    shard_prefix: bool = option(
        False, OUTPUT, "Put clips into two-letter folders (clips/d2/d2d0….mp4)."
    )
    no_upload_clips: bool = option(False, OUTPUT, "Write everything except the clips' video files.")
    dry_run: bool = option(
        False,
        OUTPUT,
        "Do all the work, but write only the documents of videos and chunks.",
    )
    no_report: bool = option(
        False,
        OUTPUT,
        "Make no page to look at (report/index.html) at the end of a run that writes to a disk; in "
        "buckets finecut report makes it.",
        matters=False,
    )
    write_threads: int = option(
        6,
        OUTPUT,
        "Files written at the same time.",
        metavar="N",
        above=0,
        most=MOST_WORKERS,
        matters=False,
    )

    scratch: str | None = option(
        None,
        RUN,
        "A folder on this machine for contact sheets while they are needed.",
        metavar="FOLDER",
        shown="the system's own",
        matters=False,
    )
    scratch_mb: int = option(
        1024,
        RUN,
        "Megabytes that may lie there; what is not there is drawn again.",
        metavar="MB",
        least=0,
        matters=False,
    )
    overwrite: bool = option(
        False,
        RUN,
        "Do every video again; usually those that an earlier run finished, from the same file and "
        "with the same options, are skipped.",
        matters=False,
    )
    max_attempts: int = option(
        3,
        RUN,
        "Set a video aside that failed so often (until it is replaced, or with --overwrite); 0 "
        "means never.",
        metavar="N",
        least=0,
        most=1_000_000,
        matters=False,
    )
    runner: str = option(
        "local",
        RUN,
        "Where to run: local (this machine, no network), or a Beam runner by name with its own "
        "options.",
        metavar="NAME",
        matters=False,
    )
    workers: int = option(
        0,
        RUN,
        "Reels cut at the same time on this machine; 0 means one for each core.",
        metavar="N",
        shown="cores",
        least=0,
        most=MOST_WORKERS,
        matters=False,
    )
    verbose: bool = option(
        False,
        RUN,
        "Say of each video and clip what is done, and show warnings of libraries.",
        matters=False,
    )
    quiet: bool = option(
        False,
        RUN,
        "Say nothing but what went wrong: no progress, and no words at the end.",
        matters=False,
    )
    profile: bool = option(
        False,
        RUN,
        "Write where the time and the memory of this run went, step by step and as a flame graph "
        "(runs/…/profile/).",
        matters=False,
    )
    log_stats: bool = option(
        False,
        RUN,
        "Print how many items, seconds and bytes each step took at the end.",
        matters=False,
    )

    max_pixels: int = option(
        67_108_864,
        LIMITS,
        "Refuse films whose pictures have more pixels (8192 by 8192).",
        metavar="N",
        above=0,
        matters=False,
    )
    max_seconds: float = option(
        86_400.0,
        LIMITS,
        "Refuse films that are longer (a day).",
        metavar="SECONDS",
        above=0,
        matters=False,
    )
    max_frames: int = option(
        10_000_000,
        LIMITS,
        "Refuse films that have more frames.",
        metavar="N",
        above=0,
        matters=False,
    )
    max_streams: int = option(
        64, LIMITS, "Refuse files that have more tracks.", metavar="N", above=0, matters=False
    )
    no_isolation: bool = option(
        False,
        LIMITS,
        "Decode films in the workers themselves; usually they are decoded in child processes, and "
        "one that crashes the decoder costs itself only.",
        matters=False,
    )
    max_memory_mb: int = option(
        4096,
        LIMITS,
        "Memory that the work on one film may take, in its child process.",
        metavar="MB",
        least=512,
        most=1_000_000,
        matters=False,
    )
    max_cpu_seconds: float = option(
        14_400.0,
        LIMITS,
        "Processor time that the work on one reel may take there.",
        metavar="SECONDS",
        least=1,
        matters=False,
    )
    max_stall_seconds: float = option(
        300.0,
        LIMITS,
        "How long it may take there without getting on.",
        metavar="SECONDS",
        least=1,
        most=LONGEST_WAIT,
        matters=False,
    )

    def __post_init__(self) -> None:
        spell(self)
        if isinstance(self.step, tuple | list):
            object.__setattr__(self, "step", tuple(map(named, self.step)))

    @property
    def stride(self) -> float:
        return self.clip_length if self.clip_stride is None else self.clip_stride

    @property
    def rules(self) -> dict[str, tuple[Rule, ...]]:
        """What clips have to fulfil, by step: enabled filters, then rules of one's own."""
        own = [parse_rule(text, own=bool(self.step)) for text in self.keep]
        enabled = {step.name: tuple(step.rules()) if step.rejects else () for step in self._scoring}
        enabled[OWN] = ()
        return {
            family: rules + tuple(rule for rule in own if family_of(rule.score) == family)
            for family, rules in enabled.items()
        }

    def measures(self, family: str) -> bool:
        """Whether the scores of this step are measured: asked for, or needed by a rule."""
        return any(step.name == family for step in self.measuring)

    @property
    def measuring(self) -> tuple[Step[Any], ...]:
        """The steps whose scores are measured, in their order."""
        rules = self.rules
        return tuple(step for step in self._scoring if step.enabled or rules[step.name])

    @property
    def making(self) -> tuple[StepOnClips[Any], ...]:
        """The steps that make something of clips when all rules have been applied."""
        return tuple(step for step in (kind.of(self) for kind in ON_CLIPS) if step.enabled)

    @property
    def _scoring(self) -> tuple[Step[Any], ...]:
        return tuple(step.of(self) for step in SCORING)

    @property
    def cuts_at_scenes(self) -> bool:
        return self.splitting_algorithm != FIXED_STRIDE or self.cuts is not None

    @property
    def is_local(self) -> bool:
        return self.runner in LOCAL_RUNNERS

    @property
    def streams(self) -> bool:
        """Whether the input never ends."""
        return self.subscription is not None

    @property
    def local_workers(self) -> int:
        return self.workers or cores()

    @property
    def dealt_among(self) -> int:
        """How many workers a run on this machine deals its work to; a cluster needs no dealer."""
        return self.local_workers if self.is_local else 0

    def check(self, whole: bool = True) -> Options:
        """Itself, or an :class:`OptionError` that says what to write instead.

        ``whole=False``: an input and an output may be missing.
        """
        from finecut.pipeline.contradictions import contradictions

        for wrong in contradictions(self, whole):
            raise OptionError(wrong)
        return self


def spell(options: Any) -> None:
    """Write the words of options as they are known, whoever gave them; for a frozen dataclass that
    is being made.
    """
    for f in fields(options):
        known = f.metadata["choices"] or f.metadata["known"]
        given: object = getattr(options, f.name)
        meant: object = given
        if known and isinstance(given, str):
            meant = spelled(given, known)
        elif known and isinstance(given, tuple):
            meant = tuple(spelled(one, known) if isinstance(one, str) else one for one in given)
        if meant != given:
            object.__setattr__(options, f.name, meant)


def cores() -> int:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_of(f: Field[Any]) -> Any:
    return None if f.default is MISSING else f.default


def option_fields(kind: type[Any] = Options) -> list[Field[Any]]:
    """The options of a command, as they are listed: those of ``curate`` group by group."""
    found = list(fields(kind))
    return sorted(found, key=_place) if issubclass(kind, Options) else found


def _place(f: Field[Any]) -> tuple[int, int]:
    """Of the steps' options: behind the others of their group, what several share at their end."""
    return GROUPS.index(f.metadata["group"]), _STEP_PLACES.get(f.name, -1)


def _step_places() -> dict[str, int]:
    own = {name for step in STEPS for name in step.Options.__annotations__}
    listed = [
        name
        for step in STEPS
        for name in (
            *step.Options.__annotations__,
            *(f.name for f in fields(step.Options) if f.name not in own),
        )
    ]
    # What several share stands behind the last of them.
    return {name: number for number, name in enumerate(listed)}


_STEP_PLACES: Final = _step_places()
