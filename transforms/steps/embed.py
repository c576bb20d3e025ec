"""Vectors: each kept clip gets one, of frames spread evenly over the whole of it."""

from collections.abc import Iterable
from dataclasses import dataclass

from finecut.io.layout import TABLES, VECTORS
from finecut.transforms.models.known_models import EMBEDDING_MODELS
from finecut.transforms.models.weights.naming import LITE_MODEL
from finecut.transforms.needs import Needs
from finecut.transforms.option import AUTO, EMBED, ENDPOINT, LITE, MEASURED, option
from finecut.transforms.step_base import Seen, StepOnClips, Surroundings, Work
from finecut.transforms.steps.shared import (
    AWAITED,
    BATCHED,
    IN_PROCESS,
    ModelMachine,
    wrong_with_endpoint,
)

#: Embedders that are known by a name of their own; auto is the best that --model-dir has, else one
#: that needs no download.
EMBEDDERS = (AUTO, LITE, *EMBEDDING_MODELS, ENDPOINT)
WITHOUT = "embeddings (--no-generate-embeddings turns them off)"


@dataclass(frozen=True, kw_only=True)
class EmbedOptions(ModelMachine):
    no_generate_embeddings: bool = option(
        False, EMBED, "Make no vectors; by default every kept clip gets one."
    )
    embedding_algorithm: str = option(
        AUTO,
        EMBED,
        "The embedder: efficientnet-lite0 (installed with finecut, no download), "
        "cosmos-embed1-224p, -336p or -448p, internvideo2, endpoint, or a folder, bucket path or "
        "hub id of an image or video encoder.",
        known=EMBEDDERS,
        metavar="MODEL",
        shown="Cosmos-Embed1 if --model-dir has it, else efficientnet-lite0",
        effective=MEASURED,
        without=WITHOUT,
    )
    embedding_endpoint: str | None = option(
        None,
        EMBED,
        "Base URL of an OpenAI-compatible server that embeds images, as in "
        "http://host:8000/v1; add #NAME to choose one of its models.",
        metavar="URL",
        shown="none",
        matters=False,
        effective=MEASURED,
        without=WITHOUT,
    )


class Embed(StepOnClips[EmbedOptions]):
    name, order, label, place = "embed", 80, "EmbedClips", "embedded"
    usual_seconds = 0.08
    Options = EmbedOptions
    artefacts = (VECTORS, TABLES)
    errors, gives = "embedding", "vector"
    has_model = True
    switch = "no_generate_embeddings"

    @property
    def needs(self) -> Needs:
        from finecut.transforms.models.choosing import algorithm_of

        algorithm = algorithm_of(self.options, ask=False)
        if algorithm == LITE:
            return Needs(
                packages=(LITE_MODEL.place[0], "onnxruntime", "onnx"), command=LITE_MODEL.install
            )
        if algorithm == ENDPOINT:
            return Needs(hosts=(self.options.embedding_endpoint or "",))
        return Needs(models=(algorithm,), packages=("torch", "transformers"), extra="models")

    def works_by(self, condition: str) -> bool:
        o = self.options
        on_server = o.embedding_algorithm == ENDPOINT
        from_folder = o.embedding_algorithm != AUTO or o.model_dir is not None
        in_process = from_folder and o.embedding_algorithm not in (ENDPOINT, LITE)
        return {
            IN_PROCESS: in_process,
            AWAITED: on_server,
            BATCHED: in_process or on_server,
        }.get(condition, super().works_by(condition))

    def contradictions(self) -> Iterable[str]:
        o = self.options
        return wrong_with_endpoint(
            self.enabled, "embedding", o.embedding_algorithm, o.embedding_endpoint
        )

    def seen(self, ask: bool = True) -> Seen:
        from finecut.transforms.models.choosing import frames_of

        return frames_of(self.options, ask)

    def work(self, given: Surroundings) -> Work:
        from finecut.transforms.models.choosing import embedding

        return embedding(self.options, given)
