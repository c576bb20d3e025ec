"""Choosing captioners and text models: from options to what writes, and how it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from finecut.transforms.caption.clips import Captioning, Enhancing
from finecut.transforms.caption.prompts import CAPTION, ENHANCE, SECOND
from finecut.transforms.models import captioners, vllm_engine, writers
from finecut.transforms.models.caption_models import (
    CAPTION_MODELS,
    CAPTIONERS,
    WRITERS,
    HubModel,
    resources_of,
)
from finecut.transforms.models.endpoint import models as endpoint
from finecut.transforms.models.step_model import Loading, name_of, place_of, together
from finecut.transforms.option import ENDPOINT, TRANSFORMERS, VLLM
from finecut.transforms.step_base import Surroundings
from finecut.transforms.steps.caption import CaptionOptions
from finecut.transforms.steps.enhance import EnhanceOptions
from finecut.transforms.steps.machines import WriterMachine


class Engines(NamedTuple):
    """What may run models of one kind: a server, vLLM, or transformers."""

    server: Any
    vllm: Any
    transformers: Any
    known: Mapping[str, HubModel]


CAPTION_ENGINES = Engines(
    server=endpoint.EndpointCaptioner,
    vllm=vllm_engine.VllmCaptioner,
    transformers=captioners.Captioner,
    known=CAPTIONERS,
)
TEXT_ENGINES = Engines(
    server=endpoint.EndpointWriter,
    vllm=vllm_engine.VllmWriter,
    transformers=writers.TextWriter,
    known=WRITERS,
)


class Chosen(NamedTuple):
    """A model as options name it."""

    algorithm: str
    url: str | None
    max_tokens: int


def captioning(o: CaptionOptions, given: Surroundings) -> Captioning:
    """The work of captioning."""
    algorithm, most = o.captioning_algorithm, o.captioning_max_output_tokens
    loading = _loading(Chosen(algorithm, o.captioning_endpoint, most), CAPTION_ENGINES, o)
    second = o.captioning_stage2_prompt_text or SECOND
    return Captioning(
        model=name_of(algorithm, o.captioning_endpoint),
        load_model=loading.load,
        require=loading.require,
        looking=given.looking,
        prompt=o.captioning_prompt_text or CAPTION[o.captioning_prompt_variant],
        second=second if o.captioning_stage2_caption else None,
        rate=o.captioning_sampling_fps,
        side=o.captioning_side,
        max_tokens=most,
        resources=loading.resources,
        together=together(algorithm, loading.resources, o),
    )


def enhancing(o: EnhanceOptions) -> Enhancing:
    """The work of making captions richer."""
    algorithm, url = o.enhance_captions_algorithm, o.enhance_captions_endpoint
    most = o.enhance_captions_max_output_tokens
    loading = _loading(Chosen(algorithm, url, most), TEXT_ENGINES, o)
    instruction, known = o.enhance_captions_prompt_text, CAPTION_MODELS.get(algorithm)
    return Enhancing(
        model=(known and known.writer_key) or name_of(algorithm, url),
        captions=name_of(o.captioning_algorithm, o.captioning_endpoint),
        load_model=loading.load,
        require=loading.require,
        instruction=instruction or ENHANCE[o.enhance_captioning_prompt_variant],
        max_tokens=most,
        resources=loading.resources,
        together=together(algorithm, loading.resources, o),
    )


def _loading(chosen: Chosen, engines: Engines, o: WriterMachine) -> Loading:
    """A model that writes: on a server, by vLLM, or by transformers."""
    limits: dict[str, Any] = {"max_tokens": chosen.max_tokens, "timeout": o.model_timeout}
    if chosen.algorithm == ENDPOINT:
        return Loading(
            partial(engines.server.load, chosen.url, **limits),
            partial(endpoint.require_endpoint, chosen.url or ""),
        )
    place = place_of(o)
    return Loading(
        partial(_load, engines, o.caption_engine, chosen.algorithm, **place, **limits),
        partial(_require, engines, o.caption_engine, chosen.algorithm, **place),
        resources_of(chosen.algorithm, engines.known),
    )


def _load(engines: Engines, wanted: str, name: str, share: float = 1.0, **given: Any) -> Any:
    return _engine(engines, wanted).load(name, share=share, **given)


def _require(engines: Engines, wanted: str, name: str, **given: Any) -> Any:
    return _engine(engines, wanted).require(name, **given)


def _engine(engines: Engines, wanted: str) -> Any:
    """vLLM or transformers, as the machine has them that loads the model."""
    by_vllm = wanted == VLLM or (wanted != TRANSFORMERS and vllm_engine.vllm_is_there())
    return engines.vllm if by_vllm else engines.transformers
