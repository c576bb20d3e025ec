"""Texts by language models that run here: how they are asked, and when they have ended.

A :class:`TextWriter` rewrites captions: the question's ``system`` is the instruction, its ``text``
the caption. The second half of the file is what every model that writes has in common, also those
that look at pictures (:mod:`~.captioners`)::

    questions ─▶ prompts (words as numbers) ─▶ one call of generate ─▶ texts, each with its status

    ok          the model said that it has finished
    truncated   it had not when the tokens or the time ran out
    empty       it said nothing, or nothing but white space

The likeliest word is taken every time, so the same question gives the same text. What the folder
says about sampling is not heard; that words already said become a little less likely is ours, and
keeps small models from saying one sentence for ever.

Several prompts of different lengths go through the model side by side, shorter ones filled up on
the left. They are filled with their own first word: it is hidden from the model's eyes, but words
of the prompt count as said, and with any other a text would depend on its neighbours.

What stands in a question is data, and often the words of another model: the marks by which turns
and pictures are told apart are struck out of it (:func:`words_only`) before the template adds its
own, or a caption could go on as the system.

A model and its tokenizer are talked to by one thread at a time. Both remember things from call to
call: the tokenizer how it pads, and models that see how far time has run in their prompt.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from finecut.io.records import ModelUsed
from finecut.transforms.caption.asking import EMPTY, OK, TRUNCATED, Question, Said
from finecut.transforms.models.devices import at_once_on, device_of, dtype_of, require_share
from finecut.transforms.models.known import CAPTIONERS, WRITERS, hub_id
from finecut.transforms.models.quiet import quiet
from finecut.transforms.models.thoughts import without_thoughts
from finecut.transforms.models.weights.folders import (
    CONFIG,
    Located,
    WeightsMissing,
    check_whole,
    first_line,
    locate,
    needed,
    remote_code,
)

if TYPE_CHECKING:
    from torch import Tensor

INSTALL = "pip install 'finecut[models]'"
PURPOSE = "write captions"

#: How much less likely a word becomes that was said before.
REPETITION = 1.05
#: Pixels (a letter counts as 64) that a writer may be asked about at once for each GB that a GPU
#: has beside the weights: three captions with their instruction and the answer, with room to spare.
PIXELS_PER_GB = 500_000
#: The part of a GPU's memory that is reckoned with.
SHARE = 0.8

#: One of these rows is a tokenizer.
TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("tokenizer.model",))

#: The marks of turns in prompts of folders without a template.
TURN, TURNED = "<|im_start|>", "<|im_end|>"


class TextWriter:
    """Rewrites texts: a :class:`~finecut.transforms.caption.asking.Model` for questions without
    frames.
    """

    def __init__(self, used: ModelUsed, speaker: Speaker) -> None:
        self.used = used
        self.at_once = speaker.at_once(PIXELS_PER_GB)
        self._speaker = speaker

    @classmethod
    def load(
        cls,
        name: str,
        model_dir: str | None = None,
        trust_remote_code: bool = False,
        max_tokens: int = 512,
        timeout: float | None = None,
        device: str = "auto",
        share: float = 1.0,
    ) -> TextWriter:
        """The model from a folder, a store or the hub (see :mod:`~.weights`) onto the device.

        A text has at most ``max_tokens``, and those that are written together have ``timeout``
        seconds for it. ``share`` is the part of one GPU's memory that the model may take.
        """
        require_share(share)
        found, own = find_writer(name, model_dir, trust_remote_code)
        with quiet():
            tokenizer = read_tokenizer(found, own)
        transformers = needed("transformers", INSTALL, PURPOSE)
        model = read_model(transformers.AutoModelForCausalLM, found, own, device)
        return cls(_used(found), Speaker(model, tokenizer, max_tokens, timeout, share))

    def answer(self, questions: Sequence[Question]) -> list[Said]:
        """A text for each question."""
        with self._speaker.lock:
            tokenizer = self._speaker.tokenizer
            prompts = [
                Prompt(question.id, numbers(tokenizer, written(tokenizer, question)))
                for question in questions
            ]
            return self._speaker.say(prompts)


def require_writer(
    name: str, model_dir: str | None = None, trust_remote_code: bool = False, **_: Any
) -> ModelUsed:
    """Raise what :meth:`TextWriter.load` would for lack of something, without loading weights."""
    found, _own = find_writer(name, model_dir, trust_remote_code)
    return _used(found)


def find_writer(name: str, model_dir: str | None, allowed: bool) -> tuple[Located, bool]:
    """The folder of a writer, and whether its own code is run."""
    if name in CAPTIONERS and name not in WRITERS:
        raise WeightsMissing(
            f"{name} captions clips but does not enhance captions: it comes with no writer. "
            f"Usually it was named for both steps; choose {' or '.join(WRITERS)} with "
            "--enhance-captions-algorithm, which take captions of any model."
        )
    needed("torch", INSTALL, PURPOSE)
    needed("transformers", INSTALL, PURPOSE)
    found = locate(hub_id(name, WRITERS), model_dir, code=allowed)
    own = remote_code(found, allowed)
    require_tokenizer(found)
    if not own:
        kinds = needed("transformers.models.auto.modeling_auto", INSTALL, PURPOSE)
        require_kind(found, kinds.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, "write texts")
    return found, own


def _used(found: Located) -> ModelUsed:
    return ModelUsed(found.name, found.revision)


def written(tokenizer: Any, question: Question) -> str:
    """The prompt for a text, by the folder's template, or in the form most models were taught."""
    question = words_only(tokenizer, question)
    messages = [{"role": "user", "content": question.text}]
    if question.system:
        messages.insert(0, {"role": "system", "content": question.system})
    if tokenizer.chat_template is None:
        turns = "".join(f"{TURN}{turn['role']}\n{turn['content']}{TURNED}\n" for turn in messages)
        return f"{turns}{TURN}assistant\n"
    # Templates of models that cannot think do not look at the last word.
    return str(
        tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
    )


# ── marks ────────────────────────────────────────────────────────────────────────────────────────


def words_only(tokenizer: Any, question: Question, also: Iterable[str] = ()) -> Question:
    """The question without anything that the tokenizer would take for a mark, or ``also``."""
    marks = {TURN, TURNED, *also, *_marks(tokenizer)}
    return replace(
        question,
        text=_struck(tokenizer, question.text, marks),
        system=_struck(tokenizer, question.system, marks),
    )


def _marks(tokenizer: Any) -> set[str]:
    """The tokens that are no words: special ones, and what was added and is not written like one.

    Some tokenizers hold rows of spaces or line ends as added tokens; a text needs those.
    """
    added = tokenizer.added_tokens_decoder.values()
    marks = {*tokenizer.all_special_tokens, *(t.content for t in added if t.special)}
    marks |= {
        t.content for t in added if not all(c.isalnum() or c in " \n\r\t▁" for c in t.content)
    }
    return {mark for mark in marks if mark.strip()}


def _struck(tokenizer: Any, text: str, marks: Iterable[str]) -> str:
    """The text without the marks, and without those that it becomes by striking others."""
    longest_first = sorted(marks, key=lambda mark: (-len(mark), mark))
    numbered = {tokenizer.convert_tokens_to_ids(mark) for mark in longest_first}
    numbered.discard(tokenizer.unk_token_id)
    before = None
    while text != before:
        before = text
        for mark in longest_first:
            text = text.replace(mark, "")
        if tokenizer.is_fast:
            text = _unread(tokenizer, text, numbered)
    return text


def _unread(tokenizer: Any, text: str, numbered: set[int]) -> str:
    """The text without what the tokenizer reads as a mark although it is written otherwise.

    Some fold letters (``＜`` to ``<``, or large to small) before they look for marks.
    """
    read = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    places = zip(read["input_ids"], read["offset_mapping"], strict=True)
    for start, end in reversed([place for word, place in places if word in numbered]):
        text = text[:start] + text[end:]
    return text


# ── saying ───────────────────────────────────────────────────────────────────────────────────────


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


class Speaker:
    """A model that writes, its tokenizer, and how long it may talk."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        max_tokens: int = 512,
        timeout: float | None = None,
        share: float = 1.0,
    ) -> None:
        if max_tokens < 1:
            raise ValueError(f"a text of at most {max_tokens} tokens has none; allow one or more.")
        self.model = model
        self.tokenizer = tokenizer
        #: The part of one GPU's memory that the model may take.
        self.share = share
        #: Held by whoever uses the model or its tokenizer.
        self.lock = threading.Lock()
        self._ends = _ends(model, tokenizer)
        #: How texts are made; models that make them by another inside them must be told each time.
        self.wishes = {
            "do_sample": False,
            "repetition_penalty": REPETITION,
            "max_new_tokens": max_tokens,
            **({} if timeout is None else {"max_time": timeout}),
            **({"eos_token_id": sorted(self._ends)} if self._ends else {}),
        }
        self._prepare()

    def at_once(self, pixels_per_gb: float) -> int:
        """Pixels that the model may be asked about at once: 0 on a CPU, one question at a time."""
        held = sum(one.numel() * one.element_size() for one in self.model.parameters()) / 2**30
        return at_once_on(self.model.device.type, pixels_per_gb, held, SHARE * self.share)

    def _prepare(self) -> None:
        """Replace the folder's wishes: what is not said here would be taken from them."""
        transformers = needed("transformers", INSTALL, PURPOSE)
        theirs = self.model.generation_config
        filler = theirs.pad_token_id
        if filler is None:
            filler = self.tokenizer.pad_token_id
        self.model.generation_config = transformers.GenerationConfig(
            **self.wishes,
            bos_token_id=theirs.bos_token_id,
            pad_token_id=min(self._ends, default=None) if filler is None else filler,
            decoder_start_token_id=theirs.decoder_start_token_id,
        )

    def say(self, prompts: Sequence[Prompt]) -> list[Said]:
        """A text for each prompt, all in one call."""
        import torch

        longest = max(len(prompt.words) for prompt in prompts)
        gaps = [longest - len(prompt.words) for prompt in prompts]
        inputs = {
            "input_ids": torch.tensor(
                [p.words[:1] * gap + p.words for p, gap in zip(prompts, gaps, strict=True)]
            ),
            "attention_mask": torch.tensor([[0] * gap + [1] * (longest - gap) for gap in gaps]),
        }
        for key in prompts[0].marks:
            rows = [[0] * gap + p.marks[key] for p, gap in zip(prompts, gaps, strict=True)]
            inputs[key] = torch.tensor(rows)
        for key in prompts[0].seen:
            inputs[key] = torch.cat([prompt.seen[key] for prompt in prompts])
        return self.generate([prompt.id for prompt in prompts], inputs)

    def generate(
        self, ids: Sequence[str], inputs: Mapping[str, Tensor], **wishes: Any
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
            output = self.model.generate(**there, **wishes)
        words = there["input_ids"]
        length = words.shape[1]
        # Models that put pictures among the words themselves give back new words only.
        if output.shape[1] >= length and torch.equal(output[:, :length], words):
            output = output[:, length:]
        asked = there["attention_mask"].sum(dim=1).tolist()
        rows = zip(ids, output.tolist(), asked, strict=True)
        return [self._said(identifier, row, count) for identifier, row, count in rows]

    def _said(self, identifier: str, row: list[int], asked: int) -> Said:
        end = next((at for at, word in enumerate(row) if word in self._ends), None)
        # Behind the end there is filling.
        count = len(row) if end is None else end + 1
        text = self.tokenizer.decode(row[: len(row) if end is None else end], **PLAIN)
        return said(identifier, text, end is not None, asked, count)


#: How words become a text: without the marks of turns, and with spaces as they were said.
PLAIN = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}


def said(identifier: str, text: str, ended: bool, asked: int, count: int) -> Said:
    """The answer; thoughts in front of it are not part of the text.

    >>> said("a", "<think>Hm.</think>\\nA house.", True, 9, 12)
    Said(id='a', text='A house.', status='ok', prompt_tokens=9, output_tokens=12)
    >>> said("a", "<think>Hm, there is", False, 9, 12).status
    'empty'
    """
    text = without_thoughts(text)
    if not text.strip():
        return Said(identifier, "", EMPTY, asked, count)
    return Said(identifier, text, OK if ended else TRUNCATED, asked, count)


def numbers(tokenizer: Any, prompt: str) -> list[int]:
    """The words of a prompt that already has its marks of turns."""
    return list(tokenizer(prompt, add_special_tokens=False)["input_ids"])


def _ends(model: Any, tokenizer: Any) -> frozenset[int]:
    """The words by which the model says that it has finished."""
    ends = model.generation_config.eos_token_id
    if ends is None:
        ends = tokenizer.eos_token_id
    if ends is None:
        return frozenset()
    return frozenset([ends] if isinstance(ends, int) else ends)


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


def model_type(found: Located) -> str:
    """What the folder's model calls itself."""
    path = found.path / CONFIG
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["model_type"])
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsMissing(
            f"{path} does not say what kind of model it is ({first_line(error)}). Usually a "
            "download or copy was cut short; fetch the folder again as a whole."
        ) from error


def require_kind(found: Located, known: Mapping[str, Any], purpose: str) -> str:
    """What the model calls itself; refuse a kind that transformers does not use for this."""
    kind = model_type(found)
    if kind not in known:
        raise WeightsMissing(
            f"the model {found.name!r} in {found.path} calls itself {kind!r}, and transformers "
            f"knows no such model to {purpose}. Usually another model's folder was named, or "
            "transformers is older than the model: try `pip install --upgrade transformers`."
        )
    return kind


def require_tokenizer(found: Located) -> None:
    """Refuse a folder whose model has no words."""
    if not any(all((found.path / file).is_file() for file in row) for row in TOKENIZERS):
        check_whole(found.path, found.name, (CONFIG, *TOKENIZERS[0]))


def read_tokenizer(found: Located, own: bool) -> Any:
    """The model's words."""
    transformers = needed("transformers", INSTALL, PURPOSE)
    try:
        return transformers.AutoTokenizer.from_pretrained(
            found.path, local_files_only=True, trust_remote_code=own
        )
    except unreadable() as error:
        raise unread(found, "tokenizer", error) from error


def read_model(kind: Any, found: Located, own: bool, device: str) -> Any:
    """The weights, all of them, on the device: halved in precision on a GPU."""
    device = device_of(device)
    with quiet():
        try:
            model, told = kind.from_pretrained(
                found.path,
                dtype=dtype_of(device),
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=own,
                output_loading_info=True,
            )
        except unreadable() as error:
            raise unread(found, "model", error) from error
        except RuntimeError as error:  # of other shapes than the config says
            raise _unfit(found, str(error).strip().splitlines()[-1]) from error
    if told["missing_keys"]:
        missing = sorted(told["missing_keys"])
        raise _unfit(found, f"{len(missing)} tensors are missing, {missing[0]} for one")
    return model.to(device).eval()


def unreadable() -> tuple[type[Exception], ...]:
    """What transformers raises for folders that it cannot read."""
    errors = needed("huggingface_hub.errors", INSTALL, PURPOSE)
    return (OSError, ValueError, ImportError, errors.StrictDataclassError)


def unread(found: Located, what: str, error: Exception) -> WeightsMissing:
    """A part of the folder cannot be read."""
    # Libraries that are missing are named behind the first line.
    lines = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
    return WeightsMissing(
        f"the {what} of {found.name!r} in {found.path} cannot be loaded: {type(error).__name__}: "
        f"{lines[:400].rstrip('.')}. Usually a package that it needs is not installed, or a file "
        "of the folder was not downloaded; install the one or fetch the other."
    )


def _unfit(found: Located, what: str) -> WeightsMissing:
    return WeightsMissing(
        f"the weights in {found.path} are not those that its {CONFIG} describes: {what}. Usually "
        "files of two models were mixed; fetch the folder again as a whole."
    )
