"""Choosing models: from options to what embeds, captions and enhances, and how each is loaded.

Nothing is loaded or imported here: a step is told *how* to load its model, and a worker does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from finecut.io.storage import files as shelf
from finecut.pipeline.options import AUTO, ENDPOINT, LITE, TRANSFORMERS, VLLM, Options
from finecut.transforms.caption.clips import Captioning, Enhancing
from finecut.transforms.caption.prompts import CAPTION, ENHANCE, SECOND
from finecut.transforms.embed.clips import Embedding
from finecut.transforms.measure.looking import Looking
from finecut.transforms.models import captioners, vllm_engine, writers
from finecut.transforms.models.caption_models import (
    CAPTION_MODELS,
    CAPTIONERS,
    WRITERS,
    resources_of,
)
from finecut.transforms.models.embedders import encoders, lite, remote
from finecut.transforms.models.embedding_models import COSMOS, EMBEDDING_MODELS, algorithm_of
from finecut.transforms.models.endpoint import models as endpoint
from finecut.transforms.models.endpoint.address import name_in
from finecut.transforms.models.resources import Resources

#: Enough for any encoder of pictures that people embed with.
ENCODER = Resources(gpu_memory_gb=8)

NO_RESOURCES = Resources()


class Loading(NamedTuple):
    """How a model is loaded, how it is known beforehand that it can be, and what it needs."""

    load: Callable[[], Any]
    require: Callable[[], Any]
    resources: Resources = NO_RESOURCES


class Frames(NamedTuple):
    """How many frames of a clip an embedder looks at, and how large they have to be."""

    number: int
    side: int


#: What is assumed of an encoder that lies elsewhere, until it is looked at.
UNKNOWN = Frames(8, 224)


def embedding_algorithm(options: Options, ask: bool = True) -> str | None:
    """The embedder's name; ``auto`` is decided here.

    ``ask=False``: without asking stores and hubs, which may take long, or not answer.
    """
    if not options.generate_embeddings:
        return None
    if options.embedding_algorithm != AUTO:
        return options.embedding_algorithm
    there = (
        name
        for name in COSMOS
        if options.model_dir is not None
        and (ask or not shelf.is_remote(options.model_dir))
        and shelf.exists(f"{shelf.absolute(options.model_dir)}/{EMBEDDING_MODELS[name].repository}")
    )
    return next(there, LITE)


def embedding_frames(options: Options, ask: bool = True) -> Frames | None:
    """What the sheet has to have for the embedder."""
    algorithm = embedding_algorithm(options, ask)
    if algorithm is None:
        return None
    if algorithm == LITE:
        return Frames(lite.FRAMES, lite.SIDE)
    if algorithm == ENDPOINT:
        return Frames(endpoint.EndpointEmbedder.frames, endpoint.EndpointEmbedder.side)
    if (known := algorithm_of(algorithm)) is not None:
        return Frames(EMBEDDING_MODELS[known].frames, EMBEDDING_MODELS[known].side)
    if not ask and not _is_here(algorithm, options.model_dir):
        return UNKNOWN
    return Frames(*encoders.frames_and_side(algorithm, options.model_dir))


def _is_here(name: str, model_dir: str | None) -> bool:
    """Whether the model's folder lies on this machine."""
    places = [name] if model_dir is None else [name, f"{model_dir}/{name}"]
    return any(not shelf.is_remote(place) and shelf.exists(place) for place in places)


def embedding(options: Options, looking: Looking, ask: bool = True) -> Embedding | None:
    """The step that embeds, if there is one."""
    algorithm, frames = embedding_algorithm(options, ask), embedding_frames(options, ask)
    if algorithm is None or frames is None:
        return None
    loading = _embedder(algorithm, options)
    return Embedding(
        algorithm_of(algorithm) or _name_of(algorithm, options.embedding_endpoint),
        loading.load,
        loading.require,
        looking,
        frames.number,
        frames.side,
        loading.resources,
        _together(algorithm, loading.resources, options),
    )


def _embedder(algorithm: str, options: Options) -> Loading:
    if algorithm == LITE:
        return Loading(lite.LiteEmbedder, lite.require_lite)
    if algorithm == ENDPOINT:
        url = options.embedding_endpoint or ""
        load = partial(endpoint.EndpointEmbedder.load, url, timeout=options.model_timeout)
        return Loading(load, partial(endpoint.require_endpoint, url))
    place: dict[str, Any] = {
        "model_dir": options.model_dir,
        "trust_remote_code": options.trust_remote_code,
    }
    known = algorithm_of(algorithm)
    if known is not None:
        kind = remote.CosmosEmbed1 if known in COSMOS else remote.InternVideo2
        return Loading(
            partial(kind.load, algorithm, **place),
            partial(remote.require_remote, algorithm, **place),
            EMBEDDING_MODELS[known].resources,
        )
    return Loading(
        partial(encoders.FrameEncoder.load, algorithm, **place),
        partial(encoders.require_encoder_model, algorithm, **place),
        ENCODER,
    )


def captioning(options: Options, looking: Looking) -> Captioning | None:
    """The step that captions, if there is one."""
    if not options.generate_captions:
        return None
    algorithm = options.captioning_algorithm
    loading = _writes(
        options,
        algorithm,
        options.captioning_endpoint,
        options.captioning_max_output_tokens,
        endpoint.EndpointCaptioner,
        (vllm_engine.VllmCaptioner, captioners.Captioner),
        resources_of(algorithm, CAPTIONERS),
    )
    second = options.captioning_stage2_prompt_text or SECOND
    return Captioning(
        _name_of(algorithm, options.captioning_endpoint),
        loading.load,
        loading.require,
        looking,
        options.captioning_prompt_text or CAPTION[options.captioning_prompt_variant],
        second if options.captioning_stage2_caption else None,
        options.captioning_sampling_fps,
        options.captioning_side,
        options.captioning_max_output_tokens,
        loading.resources,
        _together(algorithm, loading.resources, options),
    )


def enhancing(options: Options) -> Enhancing | None:
    """The step that makes captions richer, if there is one."""
    if not (options.generate_captions and options.enhance_captions):
        return None
    algorithm = options.enhance_captions_algorithm
    loading = _writes(
        options,
        algorithm,
        options.enhance_captions_endpoint,
        options.enhance_captions_max_output_tokens,
        endpoint.EndpointWriter,
        (vllm_engine.VllmWriter, writers.TextWriter),
        resources_of(algorithm, WRITERS),
    )
    known = CAPTION_MODELS.get(algorithm)
    told = options.enhance_captions_prompt_text
    return Enhancing(
        (known and known.writer_key) or _name_of(algorithm, options.enhance_captions_endpoint),
        _name_of(options.captioning_algorithm, options.captioning_endpoint),
        loading.load,
        loading.require,
        told or ENHANCE[options.enhance_captioning_prompt_variant],
        options.enhance_captions_max_output_tokens,
        loading.resources,
        _together(algorithm, loading.resources, options),
    )


def _writes(
    options: Options,
    algorithm: str,
    url: str | None,
    max_tokens: int,
    server: Any,
    engines: tuple[Any, Any],
    need: Resources,
) -> Loading:
    """A model that writes: on a server, by vLLM, or by transformers."""
    limits: dict[str, Any] = {"max_tokens": max_tokens, "timeout": options.model_timeout}
    if algorithm == ENDPOINT:
        return Loading(
            partial(server.load, url, **limits), partial(endpoint.require_endpoint, url or "")
        )
    place: dict[str, Any] = {
        "model_dir": options.model_dir,
        "trust_remote_code": options.trust_remote_code,
    }
    wanted = options.caption_engine
    return Loading(
        partial(_load_by, wanted, engines, algorithm, {**place, **limits}),
        partial(_require_by, wanted, engines, algorithm, place),
        need,
    )


def _load_by(
    wanted: str, engines: tuple[Any, Any], name: str, given: dict[str, Any], share: float = 1.0
) -> Any:
    return _engine(wanted, engines).load(name, share=share, **given)


def _require_by(wanted: str, engines: tuple[Any, Any], name: str, given: dict[str, Any]) -> Any:
    return _engine(wanted, engines).require(name, **given)


def _engine(wanted: str, engines: tuple[Any, Any]) -> Any:
    """vLLM or transformers, as the machine has them that loads it."""
    vllm, own = engines
    return vllm if _by_vllm(wanted) else own


def _by_vllm(wanted: str) -> bool:
    return wanted == VLLM or (wanted != TRANSFORMERS and vllm_engine.vllm_is_there())


def _together(algorithm: str, need: Resources, options: Options) -> int:
    """Clips handed over at once: several where that is faster, each as it comes elsewhere."""
    return options.clips_together if need.needs_gpu or algorithm == ENDPOINT else 1


def _name_of(algorithm: str, url: str | None) -> str:
    """What the model is called in names of folders and keys: a hub id's last part, or a server's.

    >>> _name_of("Qwen/Qwen2.5-VL-3B-Instruct@abc", None)
    'Qwen2.5-VL-3B-Instruct'
    >>> _name_of("endpoint", "http://host:8000/v1#Qwen/Qwen3-VL-8B-Instruct")
    'Qwen3-VL-8B-Instruct'
    """
    name = name_in(url or "") if algorithm == ENDPOINT else algorithm.split("@", 1)[0]
    return name.rstrip("/").rsplit("/", 1)[-1] or algorithm
