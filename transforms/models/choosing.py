"""Choosing models: from options to the work of a step, and how its model is loaded.

Nothing is loaded here, a worker does that when it begins.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from finecut.io.storage import files as shelf
from finecut.transforms.caption.clips import Captioning, Enhancing
from finecut.transforms.embed.clips import Embedding
from finecut.transforms.models import captioners, local_model, vllm_engine
from finecut.transforms.models.embedders import encoders, lite, remote
from finecut.transforms.models.endpoint.address import name_in
from finecut.transforms.models.endpoint.models import (
    EndpointCaptioner,
    EndpointEmbedder,
    EndpointWriter,
    require_endpoint,
)
from finecut.transforms.models.known_models import (
    CAPTION_MODELS,
    CAPTIONERS,
    COSMOS,
    EMBEDDING_MODELS,
    WRITERS,
    HubModel,
)
from finecut.transforms.models.known_models import algorithm_of as with_code
from finecut.transforms.models.resources import Resources
from finecut.transforms.needs import NO_RESOURCES
from finecut.transforms.option import AUTO, ENDPOINT, LITE, TRANSFORMERS, VLLM
from finecut.transforms.step_base import Seen, Surroundings
from finecut.transforms.steps.caption import CAPTION, SECOND, CaptionOptions
from finecut.transforms.steps.embed import EmbedOptions
from finecut.transforms.steps.enhance import ENHANCE, EnhanceOptions
from finecut.transforms.steps.shared import ModelMachine, WriterMachine


def name_of(algorithm: str, url: str | None) -> str:
    """What the model is called in names of folders and keys: a hub id's last part, or a server's.

    >>> name_of("Qwen/Qwen2.5-VL-3B-Instruct@abc", None)
    'Qwen2.5-VL-3B-Instruct'
    >>> name_of("endpoint", "http://host:8000/v1#Qwen/Qwen3-VL-8B-Instruct")
    'Qwen3-VL-8B-Instruct'
    """
    name = name_in(url or "") if algorithm == ENDPOINT else algorithm.split("@", 1)[0]
    return name.rstrip("/").rsplit("/", 1)[-1] or algorithm


def _loading(
    algorithm: str,
    o: ModelMachine,
    *,
    load: Callable[..., Any],
    require: Callable[[], Any],
    resources: Resources = NO_RESOURCES,
) -> dict[str, Any]:
    """How a step's model is loaded, how it is known beforehand that it can be, and what it needs.

    Clips are handed over several at once where that is faster, each as it comes elsewhere.
    """
    together = o.clips_together if resources.needs_gpu or algorithm == ENDPOINT else 1
    return {"load_model": load, "require": require, "resources": resources, "together": together}


def _place_of(o: ModelMachine) -> dict[str, Any]:
    """Where models lie, and whether they may bring code."""
    return {"model_dir": o.model_dir, "trust_remote_code": o.trust_remote_code}


# ── models that write ────────────────────────────────────────────────────────────────────────────


class Engines(NamedTuple):
    """What may run models of one kind: a server, vLLM, or transformers."""

    server: Any
    vllm: Any
    transformers: Any
    known: Mapping[str, HubModel]


CAPTION_ENGINES = Engines(
    server=EndpointCaptioner,
    vllm=vllm_engine.VllmCaptioner,
    transformers=captioners.Captioner,
    known=CAPTIONERS,
)
TEXT_ENGINES = Engines(
    server=EndpointWriter,
    vllm=vllm_engine.VllmWriter,
    transformers=local_model.TextWriter,
    known=WRITERS,
)


def captioning(o: CaptionOptions, given: Surroundings) -> Captioning:
    """The work of captioning."""
    algorithm, url = o.captioning_algorithm, o.captioning_endpoint
    most, second = o.captioning_max_output_tokens, o.captioning_stage2_prompt_text or SECOND
    return Captioning(
        model=name_of(algorithm, url),
        looking=given.looking,
        prompt=o.captioning_prompt_text or CAPTION[o.captioning_prompt_variant],
        second=second if o.captioning_stage2_caption else None,
        rate=o.captioning_sampling_fps,
        side=o.captioning_side,
        max_tokens=most,
        **_writing(CAPTION_ENGINES, o, algorithm, url=url, max_tokens=most),
    )


def enhancing(o: EnhanceOptions) -> Enhancing:
    """The work of making captions richer."""
    algorithm, url = o.enhance_captions_algorithm, o.enhance_captions_endpoint
    most, known = o.enhance_captions_max_output_tokens, CAPTION_MODELS.get(algorithm)
    return Enhancing(
        model=(known and known.writer_key) or name_of(algorithm, url),
        captions=name_of(o.captioning_algorithm, o.captioning_endpoint),
        instruction=o.enhance_captions_prompt_text or ENHANCE[o.enhance_captioning_prompt_variant],
        max_tokens=most,
        **_writing(TEXT_ENGINES, o, algorithm, url=url, max_tokens=most),
    )


def _writing(
    engines: Engines, o: WriterMachine, algorithm: str, *, url: str | None, max_tokens: int
) -> dict[str, Any]:
    """A model that writes: on a server, by vLLM, or by transformers."""
    limits: dict[str, Any] = {"max_tokens": max_tokens, "timeout": o.model_timeout}
    if algorithm == ENDPOINT:
        load = partial(engines.server.load, url, **limits)
        return _loading(algorithm, o, load=load, require=partial(require_endpoint, url or ""))
    by_engine, place = partial(_by_engine, engines, o.caption_engine), _place_of(o)
    known = engines.known.get(algorithm)
    return _loading(
        algorithm,
        o,
        load=partial(by_engine, "load", algorithm, **place, **limits),
        require=partial(by_engine, "require", algorithm, **place),
        # The size of others is not known.
        resources=known.resources if known else Resources(gpus=1),
    )


def _by_engine(engines: Engines, wanted: str, work: str, name: str, **given: Any) -> Any:
    """Load or require by vLLM or transformers, as the machine has them where that is done."""
    by_vllm = wanted == VLLM or (wanted != TRANSFORMERS and vllm_engine.vllm_is_there())
    return getattr(engines.vllm if by_vllm else engines.transformers, work)(name, **given)


# ── embedders ────────────────────────────────────────────────────────────────────────────────────


def algorithm_of(o: EmbedOptions, ask: bool = True) -> str:
    """The embedder's name; ``auto`` is decided here.

    ``ask=False``: without asking stores and hubs, which may take long, or not answer.
    """
    if o.embedding_algorithm != AUTO:
        return o.embedding_algorithm
    there = (
        name
        for name in COSMOS
        if o.model_dir is not None
        and (ask or not shelf.is_remote(o.model_dir))
        and shelf.exists(f"{shelf.absolute(o.model_dir)}/{EMBEDDING_MODELS[name].repository}")
    )
    return next(there, LITE)


def frames_of(o: EmbedOptions, ask: bool = True) -> Seen:
    """What the sheet has to have for the embedder."""
    algorithm = algorithm_of(o, ask)
    if algorithm == LITE:
        return Seen(even=lite.FRAMES, side=lite.SIDE)
    if algorithm == ENDPOINT:
        return Seen(even=EndpointEmbedder.frames, side=EndpointEmbedder.side)
    if (known := with_code(algorithm)) is not None:
        return Seen(even=EMBEDDING_MODELS[known].frames, side=EMBEDDING_MODELS[known].side)
    if not ask and not _is_here(algorithm, o.model_dir):
        # What is assumed of an encoder that lies elsewhere, until it is looked at.
        return Seen(even=encoders.PICTURES, side=224)
    number, side = encoders.frames_and_side(algorithm, o.model_dir)
    return Seen(even=number, side=side)


def _is_here(name: str, model_dir: str | None) -> bool:
    """Whether the model's folder lies on this machine."""
    places = [name] if model_dir is None else [name, f"{model_dir}/{name}"]
    return any(not shelf.is_remote(place) and shelf.exists(place) for place in places)


def embedding(o: EmbedOptions, given: Surroundings) -> Embedding:
    """The work of embedding."""
    algorithm, seen = algorithm_of(o, given.ask), frames_of(o, given.ask)
    return Embedding(
        model=with_code(algorithm) or name_of(algorithm, o.embedding_endpoint),
        looking=given.looking,
        frames=seen.even,
        side=seen.side,
        **_embedder(algorithm, o),
    )


def _embedder(algorithm: str, o: EmbedOptions) -> dict[str, Any]:
    loading, place = partial(_loading, algorithm, o), _place_of(o)
    if algorithm == LITE:
        return loading(load=lite.LiteEmbedder, require=lite.require_lite)
    if algorithm == ENDPOINT:
        url = o.embedding_endpoint or ""
        return loading(
            load=partial(EndpointEmbedder.load, url, timeout=o.model_timeout),
            require=partial(require_endpoint, url),
        )
    if (known := with_code(algorithm)) is not None:
        kind = remote.CosmosEmbed1 if known in COSMOS else remote.InternVideo2
        return loading(
            load=partial(kind.load, algorithm, **place),
            require=partial(remote.require_remote, algorithm, **place),
            resources=EMBEDDING_MODELS[known].resources,
        )
    return loading(
        load=partial(encoders.FrameEncoder.load, algorithm, **place),
        require=partial(encoders.require_encoder_model, algorithm, **place),
        # Enough for any encoder of pictures that people embed with.
        resources=Resources(gpu_memory_gb=8),
    )
