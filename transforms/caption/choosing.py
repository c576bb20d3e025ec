"""Choosing captioners and text models: from options to what writes, and how it is loaded."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from finecut.transforms.caption.clips import Captioning, Enhancing
from finecut.transforms.caption.prompts import CAPTION, ENHANCE, SECOND
from finecut.transforms.models import captioners, endpoint, vllm_engine, writers
from finecut.transforms.models.known import CAPTIONERS as KNOWN_CAPTIONERS
from finecut.transforms.models.known import WRITERS, KnownModel
from finecut.transforms.models.loading import Loading, name_of, place_of, together
from finecut.transforms.models.resources import Resources
from finecut.transforms.option import ENDPOINT, TRANSFORMERS, VLLM
from finecut.transforms.step_base import Surroundings
from finecut.transforms.steps.caption import CaptionOptions
from finecut.transforms.steps.enhance import EnhanceOptions
from finecut.transforms.steps.machines import WriterMachine

#: What NeMo Curator files the answers of all its text models under.
QWEN_WRITER = "qwen_lm"
#: What is asked for a model that nobody here knows.
UNKNOWN = Resources(gpus=1)


class Engines(NamedTuple):
    """What may run models of one kind: a server, vLLM, or transformers."""

    server: Any
    vllm: Any
    transformers: Any
    require_vllm: Any
    require_transformers: Any
    known: dict[str, KnownModel]


CAPTIONERS = Engines(
    server=endpoint.EndpointCaptioner,
    vllm=vllm_engine.VllmCaptioner,
    transformers=captioners.Captioner,
    require_vllm=vllm_engine.require_vllm_captioner,
    require_transformers=captioners.require_captioner,
    known=KNOWN_CAPTIONERS,
)
TEXT_MODELS = Engines(
    server=endpoint.EndpointWriter,
    vllm=vllm_engine.VllmWriter,
    transformers=writers.TextWriter,
    require_vllm=vllm_engine.require_vllm_writer,
    require_transformers=writers.require_writer,
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
    loading = _loading(Chosen(algorithm, o.captioning_endpoint, most), CAPTIONERS, o)
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
    loading = _loading(Chosen(algorithm, url, most), TEXT_MODELS, o)
    instruction = o.enhance_captions_prompt_text
    return Enhancing(
        model=QWEN_WRITER if algorithm in WRITERS else name_of(algorithm, url),
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
    known = engines.known.get(chosen.algorithm)
    return Loading(
        partial(_load, engines, o.caption_engine, chosen.algorithm, **place, **limits),
        partial(_require, engines, o.caption_engine, chosen.algorithm, **place),
        UNKNOWN if known is None else known.resources,
    )


def _load(engines: Engines, wanted: str, name: str, share: float = 1.0, **given: Any) -> Any:
    """By vLLM or by transformers, as the machine has them that loads it."""
    kind = engines.vllm if _by_vllm(wanted) else engines.transformers
    return kind.load(name, share=share, **given)


def _require(engines: Engines, wanted: str, name: str, **given: Any) -> Any:
    require = engines.require_vllm if _by_vllm(wanted) else engines.require_transformers
    return require(name, **given)


def _by_vllm(wanted: str) -> bool:
    return wanted == VLLM or (wanted != TRANSFORMERS and vllm_engine.vllm_is_there())
