"""What a pipeline needs from its engine, and which engine says that it has that.

A feature is a word: a URN of Beam's model, or one of the words below. The table says of each one
that finecut's pipelines use on which engines it is missing, or is something else than one would
think; on all others it is supported. Of engines that cannot be had where finecut is made, no more
is known than this: their sources and pages were read, and nothing was run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final, Literal

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2 as api
from apache_beam.runners.portability.portable_runner import PortableRunner

from finecut.pipeline.choices.running import LOCAL, LOCAL_RUNNERS
from finecut.pipeline.engines import PRISM
from finecut.pipeline.options import OptionError

# ── the engines ──────────────────────────────────────────────────────────────────────────────────

FLINK, FLINK_STREAM, SPARK, DATAFLOW = "Flink", "Flink, streaming", "Spark 3", "Dataflow"
LOCAL_STREAM: Final = "local, streaming"


@dataclass(frozen=True)
class Engine:
    name: str
    #: Where it says what it supports.
    sources: tuple[str, ...]
    #: What was run on it, and what was not.
    run: str


_JAVA: Final = "runners/{0}/src/main/java/org/apache/beam/runners/{0}"
_NEVER: Final = (
    "**Never run:** Beam's job server for it could not be fetched where finecut is made. The tests "
    "build the graphs, and run `make {0}` up to the missing file"
)
ENGINES: Final = (
    Engine(
        LOCAL,
        ("`sdks/python/apache_beam/runners/portability/fn_api_runner` of Beam 2.77",),
        "**Run** by nearly all tests",
    ),
    Engine(
        LOCAL_STREAM,
        ("`sdks/python/apache_beam/runners/direct` of Beam 2.77 (`BundleBasedDirectRunner`)",),
        "**Run**: `tests/pipeline/test_subscription.py` tells of thirty videos through Google's "
        "own fake Pub/Sub, kills the job and starts it again, and compares its files with those "
        "of a batch. Not run: Pub/Sub itself",
    ),
    Engine(
        PRISM[0],
        (
            "`sdks/v2/go/pkg/beam/runners/prism/internal` of Beam 2.77: `jobservices/job.go`, "
            "`jobservices/management.go`, `environments.go`",
        ),
        "**Run**: `make prism` and `tests/pipeline/engines` compare its files with those of the "
        "local runner, with threads and with pools of workers, and end workers, Prism and finecut "
        "at random moments; `test_watching.py` there watches a folder while jobs are killed. Not "
        "run: containers (`DOCKER`)",
    ),
    Engine(
        FLINK,
        (
            f"`{_JAVA.format('flink')}/FlinkBatchPortablePipelineTranslator.java`, "
            "`translation/functions/FlinkExecutableStageFunction.java`",
        ),
        _NEVER.format("flink"),
    ),
    Engine(
        FLINK_STREAM,
        (f"`{_JAVA.format('flink')}/FlinkStreamingPortablePipelineTranslator.java`",),
        "**Never run**: as Flink. It cannot read Pub/Sub from Python",
    ),
    Engine(
        SPARK,
        (
            f"`{_JAVA.format('spark')}/translation/SparkBatchPortablePipelineTranslator.java`, "
            "`SparkExecutableStageFunction.java`, `SparkPipelineRunner.java`",
        ),
        _NEVER.format("spark"),
    ),
    Engine(
        DATAFLOW,
        (
            "[Beam's capability matrix](https://beam.apache.org/documentation/runners/"
            "capability-matrix/)",
            "[Right fitting](https://cloud.google.com/dataflow/docs/guides/right-fitting)",
        ),
        "**Never run.** The whole job is built as the service would get it and looked at "
        "(`tests/pipeline/test_dataflow.py`), and the template's file, the scripts and the steps "
        "of the image are tested",
    ),
)

# ── the table ────────────────────────────────────────────────────────────────────────────────────

UNBOUNDED, EVENT_TIMERS, TIMERS = "unbounded", "event-time timers", "processing-time timers"


@dataclass(frozen=True)
class But:
    """What is so on these engines."""

    engines: tuple[str, ...]
    why: str
    #: ``no``: a job that needs it does not run. ``differs``: it runs, and this is to be known.
    verdict: Literal["no", "differs"] = "no"


@dataclass(frozen=True)
class Feature:
    name: str
    #: What it is for, in plain words.
    use: str
    #: Where it is not simply supported.
    buts: tuple[But, ...] = ()


_ELSEWHERE: Final = (PRISM[0], FLINK, FLINK_STREAM, SPARK)
_NO_STREAM: Final = But((LOCAL,), "a job with a stream runs on another runner: see its column")
_PUBSUB: Final = But(
    _ELSEWHERE,
    "in Python, only Dataflow and the direct runner read Pub/Sub "
    "(https://github.com/apache/beam/issues/27443)",
)
_IGNORED: Final = But(
    _ELSEWHERE,
    "resource hints are ignored; steps with other hints only get workers of their own",
    "differs",
)
_NOT_ASKED: Final = But((LOCAL, LOCAL_STREAM), "finecut gives the local runner no hints", "differs")
_AT_THE_END: Final = But(
    (FLINK, SPARK), "all timers fire when the input of their key has ended", "differs"
)

TABLE: Final = (
    Feature("beam:transform:impulse:v1", "where a pipeline begins"),
    Feature("beam:transform:pardo:v1", "every step that works"),
    Feature("beam:transform:flatten:v1", "lists of failures brought together"),
    Feature("beam:transform:group_by_key:v1", "what belongs to a chunk or a video"),
    Feature(
        "beam:transform:reshuffle:v1",
        "work dealt out; what to skip, decided once",
        (
            But(
                (FLINK, SPARK),
                "elements are dealt out in turn, and after a failure the steps before it may run "
                "again: the run may then count videos that it finished itself as skipped",
                "differs",
            ),
        ),
    ),
    Feature("beam:transform:combine_per_key:v1", "sums"),
    Feature("beam:transform:combine_per_key_precombine:v1", "sums, lifted by Beam's Python"),
    Feature("beam:transform:combine_per_key_merge_accumulators:v1", "the same"),
    Feature("beam:transform:combine_per_key_extract_outputs:v1", "the same"),
    Feature("beam:transform:pubsub_read:v1", "`--subscription`", (_NO_STREAM, _PUBSUB)),
    Feature(
        UNBOUNDED,
        "streams: collections without an end",
        (
            _NO_STREAM,
            But(
                (LOCAL_STREAM,),
                "one thread does everything, and remembers in memory each video that has passed",
                "differs",
            ),
            But((PRISM[0],), "it keeps in memory what has passed", "differs"),
            But((FLINK,), "a job with a stream runs in Flink's streaming mode: see its column"),
            But(
                (SPARK,),
                "a job with a stream needs Spark's streaming mode, which finecut does not use",
            ),
        ),
    ),
    Feature("beam:side_input:iterable:v1", "what one step must know of all of another's results"),
    Feature(
        "beam:requirement:pardo:splittable_dofn:v1",
        "`--watch`: rounds that put off the next one",
        (
            But(
                (LOCAL_STREAM,),
                "it starts no stream with such a step: without --runner, `--watch` needs none",
            ),
        ),
    ),
    Feature("beam:requirement:pardo:stateful:v1", "streams: chunks until complete"),
    Feature("beam:user_state:bag:v1", "the same: the clips that have come"),
    Feature(TIMERS, "the same: `--patience`", (_AT_THE_END,)),
    Feature("beam:window_fn:global_windows:v1", "the only window"),
    Feature("trigger: default", "each group once"),
    Feature("trigger: always", "inside Beam's `Reshuffle`"),
    Feature("beam:resources:accelerator:v1", "steps with models", (_NOT_ASKED, _IGNORED)),
    Feature(
        "beam:resources:min_ram_bytes:v1",
        "steps that ask for memory (`--resources`, custom steps)",
        (_NOT_ASKED, _IGNORED),
    ),
    Feature(
        "beam:resources:cpu_count:v1",
        "steps that ask for more than one CPU (`--resources`, custom steps)",
        (
            _NOT_ASKED,
            _IGNORED,
            But((DATAFLOW,), "Dataflow's page does not name the hint cpu_count", "differs"),
        ),
    ),
    Feature("beam:coder:bytes:v1", "the beginning"),
    Feature("beam:coder:bool:v1", "state"),
    Feature("beam:coder:varint:v1", "numbers"),
    Feature("beam:coder:string_utf8:v1", "names, as keys"),
    Feature("beam:coder:kv:v1", "keys with their values"),
    Feature("beam:coder:iterable:v1", "groups"),
    Feature("beam:coder:timer:v1", "timers"),
    Feature("beam:coder:global_window:v1", "the only window"),
    Feature("beam:coder:nullable:v1", "values that may be missing; for an engine, only bytes"),
    Feature("beam:coder:tuple:v1", "Python's tuples; for an engine, only bytes"),
    Feature("beam:coder:pickled_python:v1", "finecut's records; for an engine, only bytes"),
)
FEATURES: Final = {feature.name: feature for feature in TABLE}


def verdict(feature: Feature, engine: str) -> But | None:
    """What is to be said of a feature on an engine, if it is not simply supported."""
    return next((but for but in feature.buts if engine in but.engines), None)


def engine_of(runner: str, features: Collection[str] = ()) -> str | None:
    """The engine behind the name of a runner, for a pipeline with these features.

    >>> engine_of("FlinkRunner", {UNBOUNDED}), engine_of("PortableRunner")
    ('Flink, streaming', None)
    """
    if runner in LOCAL_RUNNERS:
        return LOCAL_STREAM if UNBOUNDED in features else LOCAL
    if runner in PRISM:
        return PRISM[0]
    flink = FLINK_STREAM if UNBOUNDED in features else FLINK
    known = {"FlinkRunner": flink, "SparkRunner": SPARK, "DataflowRunner": DATAFLOW}
    return known.get(runner.rpartition(".")[2])


_MISSING: Final = "not supported: "


def told(features: Collection[str], engine: str) -> list[str]:
    """What is to be said of these features on an engine, each once; nothing if all is supported.

    >>> told({"beam:resources:accelerator:v1"}, DATAFLOW)
    []
    """
    found = [
        but
        for name, feature in FEATURES.items()
        if name in features and (but := verdict(feature, engine))
    ]
    missing = [f"{_MISSING}{but.why}" for but in found if but.verdict == "no"]
    return [*dict.fromkeys([*missing, *(but.why for but in found if but.verdict == "differs")])]


def refuse_unfit(pipeline: beam.Pipeline, runner: str) -> None:
    """Refuse a job on an engine that is known to lack something that it needs."""
    features = features_of(pipeline)
    engine = engine_of(runner, features)
    missing = (
        [line for line in told(features, engine) if line.startswith(_MISSING)] if engine else []
    )
    for line in missing:
        raise OptionError(
            f"--runner {runner} cannot run this job: {line.removeprefix(_MISSING)}. Give another "
            "runner (docs/design/engines.md has a table of what each supports), or leave out what "
            "needs this"
        )


# ── what a pipeline uses ─────────────────────────────────────────────────────────────────────────

#: Composites that say nothing to an engine: it looks at what is in them.
_PLAIN: Final = ("", "beam:transform:generic_composite:v1", "beam:transform:pickled_python:v1")
#: Flags of a DoFn, and the requirements that they are.
_FLAGS: Final = (
    ("restriction_coder_id", "beam:requirement:pardo:splittable_dofn:v1"),
    ("requests_finalization", "beam:requirement:pardo:finalization:v1"),
    ("requires_stable_input", "beam:requirement:pardo:stable_input:v1"),
    ("requires_time_sorted_input", "beam:requirement:pardo:time_sorted_input:v1"),
    (
        "on_window_expiration_timer_family_spec",
        "beam:requirement:pardo:on_window_expiration:v1",
    ),
)


def features_of(pipeline: beam.Pipeline) -> frozenset[str]:
    """What a pipeline uses, as a portable engine would get it."""
    workers = ["--environment_type=EXTERNAL", "--environment_config=localhost:50000"]
    return features_in(PortableRunner.get_proto_pipeline(pipeline, PipelineOptions(workers)))


def features_in(proto: api.Pipeline) -> frozenset[str]:
    return frozenset(_features(proto))


def _features(proto: api.Pipeline) -> Iterator[str]:
    parts = proto.components
    yield from proto.requirements
    for step in parts.transforms.values():
        yield from _of_step(step)
    for strategy in parts.windowing_strategies.values():
        yield strategy.window_fn.urn
        yield f"trigger: {strategy.trigger.WhichOneof('trigger')}"
    for coder in parts.coders.values():
        yield coder.spec.urn
    for environment in parts.environments.values():
        yield from environment.resource_hints
    if any(c.is_bounded == api.IsBounded.UNBOUNDED for c in parts.pcollections.values()):
        yield UNBOUNDED


def _of_step(step: api.PTransform) -> Iterator[str]:
    urn = step.spec.urn
    passes_on = set(step.outputs.values()) <= set(step.inputs.values())
    if urn not in _PLAIN or not (step.subtransforms or passes_on):
        yield urn
    if urn != "beam:transform:pardo:v1":
        return
    payload = api.ParDoPayload.FromString(step.spec.payload)
    yield from (given.access_pattern.urn for given in payload.side_inputs.values())
    yield from (state.protocol.urn for state in payload.state_specs.values())
    for timer in payload.timer_family_specs.values():
        yield EVENT_TIMERS if timer.time_domain == api.TimeDomain.EVENT_TIME else TIMERS
    yield from (requirement for flag, requirement in _FLAGS if getattr(payload, flag))
