"""Choosing an embedder: from options to what makes vectors, and how it is loaded."""

from __future__ import annotations

from functools import partial

from finecut.io.storage import files as shelf
from finecut.transforms.embed.clips import Embedding
from finecut.transforms.models import encoders, endpoint, lite, remote
from finecut.transforms.models.loading import Loading, name_of, place_of, together
from finecut.transforms.models.resources import USUAL, Resources
from finecut.transforms.option import AUTO, ENDPOINT, LITE
from finecut.transforms.step_base import Seen, Surroundings
from finecut.transforms.steps.embed import EmbedOptions

COSMOS = tuple(f"cosmos-embed1-{size}p" for size in (224, 336, 448))
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
        and shelf.exists(f"{shelf.absolute(o.model_dir)}/{remote.REPOSITORIES[name]}")
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
    if _with_code(algorithm) is not None:
        return remote.frames_and_side(algorithm)
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
        algorithm=_with_code(algorithm) or name_of(algorithm, o.embedding_endpoint),
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
        return Loading(lite.LiteEmbedder.load, lite.require_lite)
    if algorithm == ENDPOINT:
        url = o.embedding_endpoint or ""
        load = partial(endpoint.EndpointEmbedder.load, url, timeout=o.model_timeout)
        return Loading(load, partial(endpoint.require_endpoint, url))
    place, known = place_of(o), _with_code(algorithm)
    if known is not None:
        kind = remote.CosmosEmbed1 if known in COSMOS else remote.InternVideo2
        need = USUAL["cosmos-embed1" if known in COSMOS else known]
        require = partial(remote.require_remote, algorithm, **place)
        return Loading(partial(kind.load, algorithm, **place), require, need)
    require = partial(encoders.require_encoder_model, algorithm, **place)
    return Loading(partial(encoders.FrameEncoder.load, algorithm, **place), require, ENCODER)


def _with_code(algorithm: str) -> str | None:
    """Which of the embedders that bring code of their own is meant, if one is.

    >>> _with_code("nvidia/Cosmos-Embed1-336p@0e8a28f")
    'cosmos-embed1-336p'
    """
    plain = algorithm.split("@", 1)[0]
    return next((name for name, id_ in remote.REPOSITORIES.items() if plain in (name, id_)), None)
