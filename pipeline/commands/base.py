"""A command is one class: what help says of it, its options, its work, how it reports the result.

    options ─▶ fence around its folders ─▶ work ─▶ troubles (standard error) ─▶ tell ─▶ problems
                                             └─ a disk that fails ─▶ a sentence that says so

It is declared in a module of this package, and found by lying there (:func:`all_commands`);
:mod:`finecut.pipeline.cli.command` performs it. Its module imports nothing heavy at the top:
``--help`` has to answer at once.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, NamedTuple, Self, TypeVar

from finecut.io.errors import NOT_DONE, RunError, UserError
from finecut.pipeline import commands
from finecut.pipeline.choices.running import LOCAL_RUNNERS
from finecut.pipeline.engines import ends_with_us, in_process
from finecut.pipeline.options import OptionError, cores, spell
from finecut.pipeline.options import Options as CurateOptions
from finecut.transforms.option import MOST_WORKERS, RUN, option

if TYPE_CHECKING:
    import apache_beam as beam

    from finecut.io.storage.fence import Fence
    from finecut.io.storage.publishing import Shelf
    from finecut.pipeline.cli.progress import Line

DATA = "data"
DONE, UNBALANCED = 0, 3
BOOKS = "the counts do not add up"


class Page(NamedTuple):
    """What help says of a command."""

    #: The line in ``finecut --help``, and the first one of its own page.
    sentence: str
    #: More paragraphs.
    more: str = ""
    #: What they do, and how they are written.
    examples: tuple[tuple[str, str], ...] = ()
    #: How it is written, behind its name.
    usage: str = "DATASET [options]"


@dataclass(frozen=True)
class CommandOptions:
    """The options of a command. A field is a flag, an argument in Python and a row in the docs."""

    # No fields: a command that is done in a moment has none of these flags.
    verbose = False
    quiet = False

    def __post_init__(self) -> None:
        spell(self)

    @property
    def is_local(self) -> bool:
        return True

    def check(self, whole: bool = True) -> Self:
        """Itself, or an :class:`OptionError` that says what to write instead."""
        from finecut.pipeline.contradictions import unknown_or_out_of_range

        for wrong in (*unknown_or_out_of_range(self), *self.contradictions()):
            raise OptionError(wrong)
        return self

    def contradictions(self) -> Iterator[str]:
        """What is wrong with options that belong to one command only."""
        yield from ()


@dataclass(frozen=True)
class DatasetOptions(CommandOptions):
    """The options of every command that works on a dataset."""

    dataset: str = option(
        "",
        DATA,
        "The dataset: the folder that finecut curate wrote (its --output).",
        metavar="DATASET",
        shown="required",
        positional=True,
    )
    runner: str = option(
        "local",
        RUN,
        "Where to run: local (this machine, no network), prism (Beam's own engine, on this "
        "machine), or the name of another Beam runner, with its own options.",
        metavar="NAME",
    )
    workers: int = option(
        0,
        RUN,
        "How many tasks run at the same time on this machine; 0 means one per core.",
        metavar="N",
        shown="cores",
        least=0,
        most=MOST_WORKERS,
    )
    verbose: bool = option(False, RUN, "Log what is done, and show the warnings of libraries.")
    quiet: bool = option(False, RUN, "Print only errors: no progress and no final message.")

    @property
    def is_local(self) -> bool:
        return self.runner in LOCAL_RUNNERS

    @property
    def local_workers(self) -> int:
        return self.workers or cores()

    def check(self, whole: bool = True) -> Self:
        if not self.dataset:
            raise OptionError("no DATASET: give the folder that finecut curate wrote")
        return super().check(whole)


@dataclass(frozen=True)
class ReadingOptions(DatasetOptions):
    """The options of a command that reads a dataset in this process, wherever it was made."""

    hidden: ClassVar[tuple[str, ...]] = ("runner",)

    workers: int = option(
        0,
        RUN,
        "How many documents are read at the same time; 0 means 1 from a disk, and 16 from a "
        "bucket.",
        metavar="N",
        shown="1, or 16 from a bucket",
        least=0,
        most=MOST_WORKERS,
    )

    def contradictions(self) -> Iterator[str]:
        if not self.is_local:
            yield (
                "it runs on this machine, whichever --runner made the dataset: leave "
                "--runner out (it can read a dataset in a bucket from here)"
            )


O = TypeVar("O", bound="CommandOptions | CurateOptions")  # noqa: E741
D = TypeVar("D", bound=DatasetOptions)
R = TypeVar("R")


@dataclass(frozen=True)
class Command(Generic[O, R]):
    """Work that has a result."""

    options: O
    runner_arguments: Sequence[str] = ()
    #: Show on standard error how far it is, and what :meth:`say` says.
    progress: bool = False

    # ── what is declared ─────────────────────────────────────────────────────────────────────────

    #: What it is called behind ``finecut``; classes without a name are no commands.
    name: ClassVar[str] = ""
    page: ClassVar[Page]
    Options: ClassVar[type[Any]] = CommandOptions
    #: Whether its options have to be complete: ``False`` needs neither an input nor an output.
    whole: ClassVar[bool] = True
    #: ``module:function`` that does the work, given the command. The shell imports that module, and
    #: Beam with it, fast.
    does: ClassVar[str] = ""
    #: ``module:function`` that adds all of it to a pipeline, given the command and the pipeline, if
    #: one job is all there is to do.
    builds: ClassVar[str] = ""
    #: Whether it can be done as a job that nobody waits for: what comes of it is in a dataset.
    launchable: ClassVar[bool] = False
    #: Options whose stores have to answer before it begins; all of them where none is named.
    stores: ClassVar[tuple[str, ...]] = ()
    #: Whether words are all that it makes. It ends with 1 where they cannot be written.
    answers: ClassVar[bool] = False

    @classmethod
    def meant(cls, words: Sequence[str]) -> tuple[type[Command[Any, Any]], Sequence[str]]:
        """The command that these words behind its name are for, and what is left of them."""
        return cls, words

    @classmethod
    def typed(cls, words: Sequence[str]) -> Sequence[str]:
        """What was typed behind its name, as the parser understands it."""
        return words

    @property
    def lean(self) -> bool:
        """Whether Beam may be imported without what only clusters and custom steps use."""
        return self.options.is_local

    @property
    def has_custom_steps(self) -> bool:
        """Whether modules beside the user are to be found."""
        return False

    def folders(self) -> Iterable[str]:
        """Folders that it works in: no link in one of them is followed to outside."""
        return ()

    # ── what it does ─────────────────────────────────────────────────────────────────────────────

    def begin(self) -> None:
        """Start what can be started while Beam is imported."""

    def work(self) -> R:
        """Do it. Raises a :class:`UserError` where the user can mend something."""
        module, _, function = self.does.partition(":")
        result: R = getattr(importlib.import_module(module), function)(self)
        return result

    def unreachable(self, error: OSError) -> str:
        """The sentence for a disk, or a store, that could not be read or written."""
        places = " or ".join(self.places())
        return (
            f"{places} could not be read or written ({error}). Usually there is no permission, no "
            "room, or no network: fix that, and run the same command again"
        )

    def say(self, text: str) -> None:
        """Write a line while it is at work."""
        if self.progress:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()

    # ── what is reported ─────────────────────────────────────────────────────────────────────────

    def troubles(self, _result: R) -> Iterable[str]:
        """What is reported although it ended well, also with ``--quiet``."""
        return ()

    def tell(self, _result: R, _seconds: float) -> Iterable[str]:
        """What came of it, line by line; nothing of this with ``--quiet``."""
        return ()

    def answer(self, _result: R) -> Iterable[str]:
        """What was asked for and is no file, line by line; also with ``--quiet``."""
        return ()

    def problems(self, _result: R) -> Sequence[str]:
        """Why it did not do what was asked, sentence by sentence."""
        return ()

    def exit_code(self, result: R) -> int:
        problems = self.problems(result)
        if not problems:
            return DONE
        return UNBALANCED if problems[0].startswith(BOOKS) else NOT_DONE

    # ── what follows ─────────────────────────────────────────────────────────────────────────────

    @property
    def fence(self) -> Fence:
        from finecut.io.storage import files as shelf  # help does without, here and below
        from finecut.io.storage.fence import Fence

        return Fence(tuple(shelf.absolute(each) for each in self.folders() if each))

    def run(self) -> R:
        """The result, without a word; as a program calls it."""
        from finecut.io.storage.fence import LeadsOutside, standing
        from finecut.pipeline.cli.disk import refusal
        from finecut.transforms.beam.weather import ForTheEngine, sentence_of

        try:
            with standing(self.fence):
                return self.work()
        except LeadsOutside as error:
            raise RunError(str(error)) from error
        except (OSError, RuntimeError, ValueError, ForTheEngine) as error:
            if isinstance(error, UserError):
                raise
            # A store that stayed busy looks like a disk that fails, and there is room on it.
            if sentence := sentence_of(error):
                raise RunError(sentence) from error
            if why := refusal(error):
                raise RunError(
                    f"{self.places()[-1]} could not be written ({why}). Make room, or see what is "
                    "in its way there, and run the same command again; what is finished stays"
                ) from error
            if isinstance(error, OSError):
                raise RunError(self.unreachable(error)) from error
            raise

    def places(self) -> list[str]:
        """What it reads and writes, for messages; it writes to the last one."""
        return [*filter(None, self.folders())] or ["a file"]

    def uris(self) -> Iterator[str]:
        """What the options name that may lie in a store."""
        for name in self.stores or [f.name for f in fields(self.options)]:
            value = getattr(self.options, name)
            values = value if isinstance(value, tuple) else (value,)
            yield from (each for each in values if isinstance(each, str))


@dataclass(frozen=True)
class VideoCommand(Command[CurateOptions, R]):
    """A command that takes the options of ``finecut curate``."""

    Options: ClassVar[type[Any]] = CurateOptions

    @property
    def lean(self) -> bool:
        return self.options.is_local and not self.options.step

    @property
    def has_custom_steps(self) -> bool:
        return bool(self.options.step)

    def places(self) -> list[str]:
        from finecut.io.storage.addresses import public

        return [*map(public, self.options.input), self.options.output]


@dataclass(frozen=True)
class DatasetCommand(Command[D, R]):
    """A command on a dataset, which may have been made with custom steps."""

    launchable = True

    @property
    def has_custom_steps(self) -> bool:
        return True

    def folders(self) -> Iterable[str]:
        return (self.options.dataset,)

    @property
    def ends_with_us(self) -> bool:
        """Whether nothing of it is at work any more when this process has ended."""
        return ends_with_us(self.options.runner, self.runner_arguments)

    @property
    def in_process(self) -> bool:
        """Whether its workers are threads of this process."""
        return in_process(self.options.runner, self.runner_arguments)

    def run_pipeline(self, build: Callable[[beam.Pipeline], object], own: Shelf) -> None:
        """Run what ``build`` adds to a pipeline, where the options say, to its end."""
        from finecut.pipeline.engine import engine_for, run_pipeline

        o = self.options
        with engine_for(o.runner, o.local_workers, self.runner_arguments) as engine:
            run_pipeline(build, engine, own)

    def showing(self, line: Line) -> AbstractContextManager[object]:
        """Within, this line shows how far it is; a cluster shows that itself."""
        from finecut.pipeline.cli.progress import Progress

        return Progress(self.progress and self.in_process, line=line)


# ── the registry ─────────────────────────────────────────────────────────────────────────────────


#: In this order help lists commands; others follow by their names.
ORDER: Final = (
    "curate",
    *("dedup", "refilter", "shard", "report", "search", "summary", "compare", "verify"),
    *("compact", "forget"),
    *("describe", "estimate", "launch", "doctor", "demo", "completion"),
)


def _found() -> Iterator[type[Command[Any, Any]]]:
    for module in pkgutil.iter_modules(commands.__path__, f"{commands.__name__}."):
        for value in vars(importlib.import_module(module.name)).values():
            # What a module only imports lies in another one.
            if (
                isinstance(value, type)
                and issubclass(value, Command)
                and value.name
                and value.__module__ == module.name
            ):
                yield value


def all_commands() -> dict[str, type[Command[Any, Any]]]:
    """Each command by its name, in the order in which help lists them."""
    found = {kind.name: kind for kind in _found()}
    return {name: found[name] for name in (*ORDER, *sorted(found.keys() - {*ORDER}))}
