"""Placing: what the machines of a cluster need for these steps, and how models share a GPU.

One pool of workers does everything between reading a film and writing a dataset, so the needs of
its steps are put together: what one of them needs, all workers have, and the models of all steps
lie side by side on the same GPU, as many copies of each as there is room for all. On this machine
nothing is asked for; models take the device they find.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from finecut.pipeline.choices.cutting import NVDEC, TRANSNETV2
from finecut.pipeline.custom_steps import CustomStep
from finecut.pipeline.options import OptionError, Options
from finecut.transforms.models.resources import (
    USUAL,
    Resources,
    gpu_gb,
    machine_of,
    parse_override,
    together,
)
from finecut.transforms.needs import NO_RESOURCES
from finecut.transforms.step import CUT
from finecut.transforms.step_base import StepOnFrames
from finecut.transforms.work import Work

#: What reads films; the other steps look at clips.
FILM_STEPS = ("split", "cut")
#: A machine has hardly more processes than this that want a model each.
MOST_COPIES = 16


@dataclass(frozen=True)
class Placing:
    """What is asked of a cluster's machines."""

    #: What each step needs.
    steps: Mapping[str, Resources]
    #: What one worker needs for all of them, and how large its GPU is.
    worker: Resources
    gpu_gb: float
    #: Beam's hints for the steps that do the work.
    hints: Mapping[str, str]
    local: bool
    #: The same for those that read films, where they have a pool of machines of their own.
    film_hints: Mapping[str, str] | None = None

    @property
    def of_films(self) -> Mapping[str, str]:
        """Beam's hints for the steps that read films."""
        return self.hints if self.film_hints is None else self.film_hints

    @property
    def copies(self) -> int:
        """How many copies of each model a GPU holds."""
        return self.worker.copies(self.gpu_gb, MOST_COPIES)

    def copies_of(self, step: str) -> tuple[bool, int]:
        """Whether the step's model is loaded once for all processes of a machine, how many times.

        On this machine there is one process, whose threads share it anyhow.
        """
        shared = not self.local and self.steps.get(step, NO_RESOURCES).needs_gpu
        return shared, self.copies if shared else 1

    def share_of(self, step: str) -> float:
        """What part of a GPU the step's model may take, when it is loaded.

        On this machine nobody said how large the GPU is: its models get equal parts.
        """
        if not self.steps.get(step, NO_RESOURCES).needs_gpu:
            return 1.0
        if self.local:
            return 1 / sum(need.needs_gpu for need in self.steps.values())
        return min(1.0, self.steps[step].share(self.gpu_gb))


def placing(options: Options, works: Mapping[str, Work], own: Sequence[CustomStep] = ()) -> Placing:
    """What these options ask of a cluster."""
    usual = dict(_needs(options, works, own))
    steps = dict(usual)
    for text in options.resources:
        step, resources = parse_override(text, own=bool(own))
        if step not in steps:
            raise OptionError(
                f"--resources {text} does nothing, because no step called {step} runs: there are "
                f"{', '.join(steps)}"
            )
        _refuse_unused(text, step, resources, usual[step])
        steps[step] = resources
    size = gpu_gb(options.accelerator)
    of_films = (*FILM_STEPS, *(step.name for step in own if step.place == CUT))
    film = {step: steps[step] for step in of_films if options.right_fitting}
    # Where all machines are of one kind, the runner's own option says which.
    machine = machine_of(options.accelerator, options.accelerator_machine) if film else ""
    try:
        film_hints = together(film, size).hints(options.accelerator, machine) if film else None
        worker = together({k: v for k, v in steps.items() if k not in film}, size)
        hints = {} if options.is_local else worker.hints(options.accelerator, machine)
    except ValueError as error:
        if options.is_local:
            # Nothing is asked for here; a model that is too large will say so itself.
            return Placing(steps, NO_RESOURCES, size, hints={}, local=True)
        raise OptionError(f"--resources or --accelerator: {error}") from error
    return Placing(steps, worker, size, hints=hints, local=options.is_local, film_hints=film_hints)


def _refuse_unused(text: str, step: str, resources: Resources, usual: Resources) -> None:
    """Refuse what would be paid for and not used."""
    if resources.gpus > 1:
        raise OptionError(f"--resources {text}: a model here uses one GPU, so give gpus=1")
    if (resources.nvdecs and not usual.nvdecs) or (resources.nvencs and step != "cut"):
        raise OptionError(
            f"--resources {text}: only the step cut decodes on a GPU (with --decoder {NVDEC}) and "
            "encodes on one: leave nvdecs and nvencs out"
        )
    for name in ("nvdecs", "nvencs"):
        if getattr(usual, name) and not getattr(resources, name):
            raise OptionError(
                f"--resources {text} asks for no GPU, but {step} needs one here: add {name}=1"
            )


def _needs(
    options: Options, works: Mapping[str, Work], own: Sequence[CustomStep]
) -> Iterator[tuple[str, Resources]]:
    models = {
        step.name: step.needs.resources
        for step in options.measuring
        if isinstance(step, StepOnFrames)
    }
    models |= {name: work.resources for name, work in works.items() if work.model}
    models |= {step.name: step.resources for step in own}
    gpu = any(need.needs_gpu for need in models.values())
    # It does well on a CPU, and takes the GPU where there is one anyhow.
    watches = gpu and options.splitting_algorithm == TRANSNETV2 and not options.right_fitting
    yield "split", USUAL["transnetv2"] if watches else Resources()
    yield (
        "cut",
        Resources(
            nvdecs=int(options.decoder == NVDEC), nvencs=int(options.encoder == "h264_nvenc")
        ),
    )
    yield from models.items()
