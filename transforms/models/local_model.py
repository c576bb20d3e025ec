"""Models that write and run here, by transformers or by vLLM: what all of them have in common.

Each is found, checked, loaded and asked in the same way: a
:class:`~finecut.transforms.caption.asking.Model`. ``load`` takes a model from a folder, a store or
the hub (see :mod:`~.weights`); ``require`` raises what ``load`` would for lack of something,
without loading weights.

Those that transformers loads are made to write by a :class:`TextGenerator`::


    questions ─▶ prompts (words as numbers) ─▶ one call of generate ─▶ texts, each with its status

    ok          the model said that it has finished
    truncated   it had not when the tokens or the time ran out
    empty       it said nothing, or nothing but white space

The likeliest word is taken every time, so the same question gives the same text. What the folder
says about sampling is not heard; that words already written become a little less likely is ours,
and keeps small models from writing one sentence for ever.

Several prompts of different lengths go through the model side by side, shorter ones filled up on
the left. They are filled with their own first word: it is hidden from the model's eyes, but words
of the prompt count as written, and with any other a text would depend on its neighbours.

A model and its tokenizer are used by one thread at a time. Both remember things from call to call:
the tokenizer how it pads, and models that see how far time has run in their prompt.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from finecut.io.records import ModelUsed
from finecut.transforms.caption.asking import Question, Said
from finecut.transforms.models.known_models import CAPTIONERS, WRITERS, repository_of
from finecut.transforms.models.loading import (
    Tensor,
    at_once_on,
    config_of,
    load_model,
    load_part,
    require_share,
)
from finecut.transforms.models.weights.folders import (
    CONFIG,
    Located,
    WeightsMissing,
    check_whole,
    locate,
    needed,
    remote_code,
)
from finecut.transforms.models.words import answered, numbers, written

WRITE = "write texts"
#: The part of a GPU's memory that is reckoned with.
SHARE = 0.8
#: How words become a text: without the marks of turns, and with spaces as they were written.
PLAIN = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
#: How much less likely a word becomes that was written before.
REPETITION = 1.05
#: One of these rows is a tokenizer.
TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("tokenizer.model",))


@dataclass(frozen=True)
class Limits:
    """How long a model may write, and how much it may take."""

    #: Of one text.
    max_tokens: int = 512
    #: Seconds for the texts that are written together.
    timeout: float | None = None
    #: The part of one GPU's memory that the model may take.
    share: float = 1.0

    def __post_init__(self) -> None:
        require_share(self.share)


@dataclass(frozen=True, eq=False)
class Prompt:
    """A question as a model is asked it."""

    #: Comes back with the text.
    id: str
    words: list[int]
    #: What goes beside the words, a number for each of them.
    marks: Mapping[str, list[int]] = field(default_factory=dict)
    #: What goes beside the prompt; over several prompts it is joined one after the other.
    seen: Mapping[str, Tensor] = field(default_factory=dict)


class WritingModel(ABC):
    """Where a model that writes comes from."""

    @staticmethod
    @abstractmethod
    def find(name: str, model_dir: str | None, allowed: bool) -> tuple[Located, bool]:
        """The folder of the model of a name, and whether its own code is run."""

    @classmethod
    def require(
        cls, name: str, model_dir: str | None = None, trust_remote_code: bool = False
    ) -> ModelUsed:
        """Raise what loading it would for lack of something, without loading weights."""
        return cls.find(name, model_dir, trust_remote_code)[0].used


class TextGenerator:
    """A model that writes, its tokenizer, and how long it may write."""

    def __init__(self, model: Any, tokenizer: Any, limits: Limits) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self._share = limits.share
        #: Held by whoever uses the model or its tokenizer.
        self.lock = threading.Lock()
        self._ends = _ends(model, tokenizer)
        #: How texts are made; models that make them by another inside them must be told each time.
        self.settings = {
            "do_sample": False,
            "repetition_penalty": REPETITION,
            "max_new_tokens": limits.max_tokens,
            **({} if limits.timeout is None else {"max_time": limits.timeout}),
            **({"eos_token_id": sorted(self._ends)} if self._ends else {}),
        }
        self._prepare()

    def at_once(self, pixels_per_gb: float) -> int:
        """Pixels that the model may be asked about at once: 0 on a CPU, one question at a time."""
        held = sum(one.numel() * one.element_size() for one in self.model.parameters()) / 2**30
        return at_once_on(self.model.device.type, pixels_per_gb, held, share=SHARE * self._share)

    def _prepare(self) -> None:
        """Replace the folder's settings: what is not given here would be taken from them."""
        theirs = self.model.generation_config
        fillers = (theirs.pad_token_id, self.tokenizer.pad_token_id, *sorted(self._ends))
        self.model.generation_config = needed("transformers", WRITE).GenerationConfig(
            **self.settings,
            bos_token_id=theirs.bos_token_id,
            pad_token_id=next((filler for filler in fillers if filler is not None), None),
            decoder_start_token_id=theirs.decoder_start_token_id,
        )

    def write(self, prompts: Sequence[Prompt]) -> list[Said]:
        """A text for each prompt, all in one call."""
        import torch

        longest = max(len(prompt.words) for prompt in prompts)
        gaps = [longest - len(prompt.words) for prompt in prompts]
        rows = {
            "input_ids": [
                p.words[:1] * gap + p.words for p, gap in zip(prompts, gaps, strict=True)
            ],
            "attention_mask": [[0] * gap + [1] * (longest - gap) for gap in gaps],
        }
        for key in prompts[0].marks:
            rows[key] = [[0] * gap + p.marks[key] for p, gap in zip(prompts, gaps, strict=True)]
        inputs = {key: torch.tensor(row) for key, row in rows.items()}
        for key in prompts[0].seen:
            inputs[key] = torch.cat([prompt.seen[key] for prompt in prompts])
        return self.generate([prompt.id for prompt in prompts], inputs)

    def generate(
        self, ids: Sequence[str], inputs: Mapping[str, Tensor], **settings: Any
    ) -> list[Said]:
        """A text for each row of the inputs; row and id stay together from here on."""
        import torch

        device, kind = self.model.device, self.model.dtype
        there = {
            # Pixels become as coarse as the weights, and seconds do not.
            key: value.to(device, kind) if key.startswith("pixel") else value.to(device)
            for key, value in inputs.items()
        }
        with torch.inference_mode():
            output = self.model.generate(**there, **settings)
        words = there["input_ids"]
        length = words.shape[1]
        # Models that put pictures among the words themselves give back new words only.
        if output.shape[1] >= length and torch.equal(output[:, :length], words):
            output = output[:, length:]
        asked = there["attention_mask"].sum(dim=1).tolist()
        return [self._answer(*row) for row in zip(ids, output.tolist(), asked, strict=True)]

    def _answer(self, identifier: str, row: list[int], asked: int) -> Said:
        end = next((at for at, word in enumerate(row) if word in self._ends), None)
        text = self.tokenizer.decode(row[:end], **PLAIN)
        # Behind the end there is filling.
        count = len(row) if end is None else end + 1
        said = Said(identifier, text, prompt_tokens=asked, output_tokens=count)
        return answered(said, ended=end is not None)


def _ends(model: Any, tokenizer: Any) -> frozenset[int]:
    """The words by which the model says that it has finished."""
    known = (model.generation_config.eos_token_id, tokenizer.eos_token_id)
    ends = next((ends for ends in known if ends is not None), ())
    return frozenset([ends] if isinstance(ends, int) else ends)


class LocalModel(WritingModel):
    """A model that transformers loads; it gets its weights, as a generator, by :meth:`load`."""

    #: The class of transformers that loads it.
    auto: str
    #: Pixels that it may be asked about at once for each GB that a GPU has beside the weights; 0:
    #: one question at a time.
    pixels_per_gb: ClassVar[int] = 0
    tokenizer: Any
    _generator: TextGenerator

    def __init__(self, found: Located) -> None:
        self.used = found.used
        self.at_once = 0

    @classmethod
    @abstractmethod
    def made(cls, found: Located, own: bool) -> Self:
        """Everything about the model but its weights."""

    @classmethod
    def load(
        cls,
        name: str,
        model_dir: str | None = None,
        trust_remote_code: bool = False,
        device: str = "auto",
        **limits: Any,
    ) -> Self:
        """The model on the device, within :class:`Limits`."""
        within = Limits(**limits)
        found, own = cls.find(name, model_dir, trust_remote_code)
        made = cls.made(found, own)
        model = load_model(getattr(needed("transformers", WRITE), made.auto), found, device, own)
        made._generator = TextGenerator(model, made.tokenizer, within)
        made.at_once = made._generator.at_once(made.pixels_per_gb)
        return made

    def answer(self, questions: Sequence[Question]) -> list[Said]:
        """A text for each question, one after the other."""
        return [said for question in questions for said in self.said(question)]

    def said(self, question: Question) -> list[Said]:
        """A text for one question, of models that are not asked about several in one call."""
        raise NotImplementedError


def find_model(
    name: str, model_dir: str | None, allowed: bool, purpose: str
) -> tuple[Located, bool]:
    """The folder of a model that writes, and whether its own code is run."""
    needed("torch", purpose)
    needed("transformers", purpose)
    found = locate(name, model_dir, code=allowed)
    own = remote_code(found, allowed)
    if not any(all((found.path / file).is_file() for file in row) for row in TOKENIZERS):
        check_whole(found.path, found.name, (CONFIG, *TOKENIZERS[0]))
    return found, own


def model_type(found: Located) -> str:
    """What the folder's model calls itself."""
    kind = config_of(found).get("model_type")
    if not isinstance(kind, str):
        raise WeightsMissing(
            f"{found.path / CONFIG} does not say what kind of model this is. Usually a download "
            "or copy was cut short; download the whole folder again."
        )
    return kind


def require_kind(found: Located, known: Mapping[str, Any], purpose: str) -> str:
    """What the model calls itself; refuse a kind that transformers does not use for this."""
    kind = model_type(found)
    if kind not in known:
        raise WeightsMissing(
            f"the model {found.name!r} in {found.path} is of the kind {kind!r}, and transformers "
            f"has no such model to {purpose}. Usually another model's folder was named, or "
            "transformers is older than the model: try `pip install --upgrade transformers`."
        )
    return kind


def find_writer(name: str, model_dir: str | None, allowed: bool) -> tuple[Located, bool]:
    """The folder of a writer, and whether its own code is run."""
    if name in CAPTIONERS and name not in WRITERS:
        raise WeightsMissing(
            f"{name} captions clips but cannot enhance captions: it has no text model. Usually it "
            "was given for both steps; give --enhance-captions-algorithm "
            f"{' or '.join(WRITERS)}, which take captions from any model."
        )
    purpose = "write captions"
    found, own = find_model(repository_of(name, WRITERS), model_dir, allowed, purpose)
    if not own:
        kinds = needed("transformers.models.auto.modeling_auto", purpose)
        require_kind(found, kinds.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, WRITE)
    return found, own


class TextWriter(LocalModel):
    """Rewrites texts: the question's ``system`` is the instruction, its ``text`` the caption."""

    auto = "AutoModelForCausalLM"
    find = staticmethod(find_writer)
    #: Three captions with their instruction and the answer, with room to spare; a letter counts as
    #: 64 pixels.
    pixels_per_gb = 500_000

    @classmethod
    def made(cls, found: Located, own: bool) -> Self:
        writer = cls(found)
        writer.tokenizer = load_part("tokenizer", found, own)
        return writer

    def answer(self, questions: Sequence[Question]) -> list[Said]:
        """All in one call."""
        with self._generator.lock:
            prompts = [
                Prompt(question.id, numbers(self.tokenizer, written(self.tokenizer, question)))
                for question in questions
            ]
            return self._generator.write(prompts)
