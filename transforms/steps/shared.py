"""The options that several steps share, and what is at odds in them."""

from collections.abc import Iterator
from dataclasses import dataclass

from finecut.transforms.needs import Needs
from finecut.transforms.option import (
    AUTO,
    CAPTIONS,
    ENDPOINT,
    LONGEST_WAIT,
    MACHINES,
    MODELS,
    TRANSFORMERS,
    VLLM,
    option,
    rate_option,
)

#: When these options have an effect: while a model is loaded here that may lie in a folder; where
#: an answer is waited for; where clips are handed over several at once.
IN_PROCESS, AWAITED, BATCHED = "in process", "awaited", "batched"
MOST_TOKENS = 32_768
#: Three kinds of footage, as in NeMo Curator: anything, a camera in a car, and one that watches a
#: street.
DEFAULT, AV, AV_SURVEILLANCE = VARIANTS = "default", "av", "av-surveillance"


@dataclass(frozen=True, kw_only=True)
class ModelFolder:
    """Of steps whose models are looked for in one place."""

    model_dir: str | None = option(
        None,
        MODELS,
        "A folder or bucket path that contains one folder per model.",
        metavar="PATH",
        shown="installed packages, otherwise the hub",
        matters=False,
        effective=IN_PROCESS,
        without="a model in that folder: --splitting-algorithm transnetv2, --aesthetic-filter, "
        "--embedding-algorithm or --generate-captions",
    )


@dataclass(frozen=True, kw_only=True)
class ScreenOptions:
    """Of the steps for text and for unsafe content."""

    screen_target_fps: float = rate_option(
        1.0, MODELS, "Frames per second that are checked for text and unsafe content."
    )


@dataclass(frozen=True, kw_only=True)
class ModelMachine(ModelFolder):
    """Of steps that may ask a model of another's making."""

    trust_remote_code: bool = option(
        False,
        MACHINES,
        "Let models run the code that comes with their weights (Cosmos-Embed1, InternVideo2, "
        "Nemotron). That code can do whatever you can do, and its revision must be pinned "
        "(ID@COMMIT).",
        matters=False,
        effective=IN_PROCESS,
        without="a model with its own code: --embedding-algorithm or --generate-captions",
    )
    model_timeout: float = option(
        300.0,
        MACHINES,
        "How long to wait for one answer from a captioner, a text model or a server.",
        metavar="SECONDS",
        above=0,
        most=LONGEST_WAIT,
        matters=False,
        effective=AWAITED,
        without="a captioner, a text model or a server",
    )
    clips_together: int = option(
        8,
        MACHINES,
        "How many clips a model on a GPU or a server gets at once; it divides them into "
        "batches by number of pixels.",
        metavar="N",
        above=0,
        most=1024,
        matters=False,
        effective=BATCHED,
        without="a model that may run on a GPU, or a server",
    )


@dataclass(frozen=True, kw_only=True)
class WriterMachine(ModelMachine):
    """Of steps whose models write."""

    caption_engine: str = option(
        AUTO,
        CAPTIONS,
        "What runs captioners and text models that are not endpoints: vllm or transformers; auto "
        "uses vLLM if it is installed.",
        choices=(AUTO, TRANSFORMERS, VLLM),
        effective=IN_PROCESS,
        without="--generate-captions with a model in this process",
    )


def needs_of_writer(algorithm: str, url: str | None, o: WriterMachine) -> Needs:
    """What a model needs that writes."""
    if algorithm == ENDPOINT:
        return Needs(hosts=(url or "",))
    if o.caption_engine == VLLM:
        return Needs(models=(algorithm,), packages=("vllm",), command="pip install vllm")
    # Which vLLM brings, too.
    return Needs(models=(algorithm,), packages=("torch", "transformers"), extra="models")


def wrong_with_endpoint(used: bool, name: str, algorithm: str, url: str | None) -> Iterator[str]:
    """Endpoints that are named and not used, or used and not named; ``name`` begins the options."""
    from finecut.transforms.models.endpoint.address import check_address

    flag = f"--{name}"
    if used and algorithm == ENDPOINT and not url:
        yield (
            f"{flag}-algorithm {ENDPOINT} needs the address of the server: add "
            f"{flag}-endpoint http://HOST:PORT/v1"
        )
    if used and algorithm != ENDPOINT and url:
        yield (
            f"{flag}-endpoint does nothing without {flag}-algorithm {ENDPOINT}: add that, or "
            "leave it out"
        )
    if wrong := check_address(url, f"{flag}-endpoint") if url else None:
        yield wrong
    if used and not algorithm.strip():
        yield f"{flag}-algorithm '' names nothing: give a model, or leave it out"


def wrong_with_text(flag: str, text: str | None) -> Iterator[str]:
    if text is not None and not text.strip():
        yield f"{flag} '' is an empty prompt: give some text, or leave it out"


def wrong_with_prompt(
    text_flag: str, text: str | None, variant_flag: str, variant: str
) -> Iterator[str]:
    if text is not None and variant != DEFAULT:
        yield f"{text_flag} and {variant_flag} contradict each other: give only one of them"
    yield from wrong_with_text(text_flag, text)
