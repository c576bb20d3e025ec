"""Choosing an embedder: from options to what makes vectors, and how it is loaded."""

from __future__ import annotations

from functools import partial

from finecut.io.storage import files as shelf
from finecut.transforms.embed.clips import Embedding
from finecut.transforms.models.embedders import encoders, lite, remote
from finecut.transforms.models.embedding_models import COSMOS, EMBEDDING_MODELS
from finecut.transforms.models.embedding_models import algorithm_of as with_code
from finecut.transforms.models.endpoint import models as endpoint
from finecut.transforms.models.resources import Resources
from finecut.transforms.models.step_model import Loading, name_of, place_of, together
from finecut.transforms.option import AUTO, ENDPOINT, LITE
from finecut.transforms.step_base import Seen, Surroundings
from finecut.transforms.steps.embed import EmbedOptions

#: Enough for any encoder of pictures that people embed with.
ENCODER = Resources(gpu_memory_gb=8)
#: What is assumed of an encoder that lies elsewhere, until it is looked at.
UNKNOWN = (8, 224)


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
    number, side = _number_and_side(algorithm_of(o, ask), o, ask)
    return Seen(even=number, side=side)


def _number_and_side(algorithm: str, o: EmbedOptions, ask: bool) -> tuple[int, int]:
    if algorithm == LITE:
        return lite.FRAMES, lite.SIDE
    if algorithm == ENDPOINT:
        return endpoint.EndpointEmbedder.frames, endpoint.EndpointEmbedder.side
    if (known := with_code(algorithm)) is not None:
        return EMBEDDING_MODELS[known].frames, EMBEDDING_MODELS[known].side
    if not ask and not _is_here(algorithm, o.model_dir):
        return UNKNOWN
    return encoders.frames_and_side(algorithm, o.model_dir)


def _is_here(name: str, model_dir: str | None) -> bool:
    """Whether the model's folder lies on this machine."""
    places = [name] if model_dir is None else [name, f"{model_dir}/{name}"]
    return any(not shelf.is_remote(place) and shelf.exists(place) for place in places)


def embedding(o: EmbedOptions, given: Surroundings) -> Embedding:
    """The work of embedding."""
    algorithm, seen = algorithm_of(o, given.ask), frames_of(o, given.ask)
    loading = _embedder(algorithm, o)
    return Embedding(
        algorithm=with_code(algorithm) or name_of(algorithm, o.embedding_endpoint),
        load_model=loading.load,
        require=loading.require,
        looking=given.looking,
        frames=seen.even,
        side=seen.side,
        resources=loading.resources,
        together=together(algorithm, loading.resources, o),
    )


def _embedder(algorithm: str, o: EmbedOptions) -> Loading:
    if algorithm == LITE:
        return Loading(lite.LiteEmbedder, lite.require_lite)
    if algorithm == ENDPOINT:
        url = o.embedding_endpoint or ""
        load = partial(endpoint.EndpointEmbedder.load, url, timeout=o.model_timeout)
        return Loading(load, partial(endpoint.require_endpoint, url))
    place, known = place_of(o), with_code(algorithm)
    if known is not None:
        kind = remote.CosmosEmbed1 if known in COSMOS else remote.InternVideo2
        require = partial(remote.require_remote, algorithm, **place)
        need = EMBEDDING_MODELS[known].resources
        return Loading(partial(kind.load, algorithm, **place), require, need)
    require = partial(encoders.require_encoder_model, algorithm, **place)
    return Loading(partial(encoders.FrameEncoder.load, algorithm, **place), require, ENCODER)
