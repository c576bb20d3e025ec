"""Resources: what may be asked for, how shares become copies, and what Beam is told."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction

import apache_beam as beam
import pytest
from apache_beam.transforms.resources import parse_resource_hints
from hypothesis import given
from hypothesis import strategies as some

from finecut.transforms.models.resources import (
    GPU_GB,
    USUAL,
    USUAL_GPU_GB,
    Resources,
    gpu_gb,
    parse_override,
    step_names,
    together,
)

SIZES = some.sampled_from(sorted({*GPU_GB.values(), USUAL_GPU_GB, 11.5}))
HUNDREDTHS = some.integers(1, 100)
TENTHS_OF_A_GB = some.integers(1, 1500)

# ── the stupid way ───────────────────────────────────────────────────────────────────────────────


def hundredths_of(gb: Decimal, size: float) -> int:
    """The least number of hundredths of a device that hold so many GB, found by trying all."""
    device = Decimal(str(size))
    return next(n for n in range(1, 101) if device * n >= gb * 100)


def packed(part: Decimal, most: int) -> int:
    """How many of these parts fit one device, found by putting them there."""
    count, used = 0, Decimal(0)
    while count < most and used + part <= 1:
        count, used = count + 1, used + part
    return count


# ── what may be asked for ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"gpus": 1, "gpu_memory_gb": 10}, "contradict each other"),
        ({"gpus": 1.5}, r"gpus=1\.5 .* whole number of devices"),
        ({"cpus": -1}, "cpus=-1 .* 0 or more"),
        ({"gpus": -0.5}, r"gpus=-0\.5 .* 0 or more"),
        ({"gpu_memory_gb": math.nan}, "gpu_memory_gb=nan .* 0 or more"),
        ({"gpu_memory_gb": math.inf}, "gpu_memory_gb=inf .* 0 or more"),
        ({"cpus": math.inf}, "cpus=inf .* 0 or more"),
        ({"nvdecs": -1}, "nvdecs=-1 .* 0 or more"),
        ({"nvencs": 0.5}, r"nvencs=0\.5 .* whole number"),
        ({"entire_gpu": True, "gpus": 0.5}, r"entire_gpu=true and gpus=0\.5 contradict"),
        ({"entire_gpu": True, "gpu_memory_gb": 8}, "entire_gpu=true and gpu_memory_gb=8 contra"),
    ],
)
def test_what_cannot_be_had_is_refused(asked: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        Resources(**asked)  # type: ignore[arg-type]
    assert str(refused.value).endswith(".")


@pytest.mark.parametrize("gpus", [0, 0.01, 1 / 3, 1, 2, 8])
def test_shares_of_a_gpu_and_whole_ones_can_be_had(gpus: float) -> None:
    assert Resources(gpus=gpus).share(24) == pytest.approx(gpus)


def test_an_entire_gpu_is_one_and_not_a_share_of_it() -> None:
    assert Resources(entire_gpu=True) == Resources(gpus=1, entire_gpu=True)
    assert Resources(gpus=1) != Resources(gpus=1, entire_gpu=True)
    assert Resources(gpus=2, entire_gpu=True).gpus == 2


@pytest.mark.parametrize(
    ("asked", "needs"),
    [
        ({}, False),
        ({"cpus": 64}, False),
        ({"gpus": 0.01}, True),
        ({"gpu_memory_gb": 0.5}, True),
        ({"entire_gpu": True}, True),
        ({"nvdecs": 1}, True),
        ({"nvencs": 1}, True),
    ],
)
def test_who_needs_a_gpu(asked: dict[str, float], needs: bool) -> None:
    resources = Resources(**asked)  # type: ignore[arg-type]
    assert resources.needs_gpu is needs
    assert (resources.share(24) > 0) is needs


# ── shares and copies ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("gb", "share"), [(0.001, 0.01), (0.24, 0.01), (0.5, 0.03), (1, 0.05), (10, 0.42), (24, 1)]
)
def test_a_small_request_is_not_a_request_for_nothing(gb: float, share: float) -> None:
    assert Resources(gpu_memory_gb=gb).share(24) == share


def test_more_than_a_device_has_is_refused_with_both_numbers() -> None:
    asked = Resources(gpu_memory_gb=40.5)
    assert asked.share(80) == 0.51
    for ask in (lambda: asked.share(40), lambda: asked.copies(40, 1)):
        with pytest.raises(ValueError, match=r"40\.5 GB .* the device has 40 GB.*more memory"):
            ask()


@given(TENTHS_OF_A_GB, SIZES, some.integers(1, 200))
def test_copies_by_memory_are_those_that_can_be_packed(tenths: int, size: float, most: int) -> None:
    gb = Decimal(tenths) / 10
    asked = Resources(gpu_memory_gb=float(gb))
    if gb > Decimal(str(size)):
        with pytest.raises(ValueError, match="device has"):
            asked.copies(size, most)
        return
    part = Decimal(hundredths_of(gb, size)) / 100
    assert asked.share(size) == float(part)
    assert asked.copies(size, most) == packed(part, most)
    assert asked.copies(size, most) * gb <= Decimal(str(size))


@given(some.integers(1, 1000), SIZES, some.integers(1, 200))
def test_copies_by_gpus_are_those_that_can_be_packed(part: int, size: float, most: int) -> None:
    gpus = Decimal(part) / 1000
    assert Resources(gpus=float(gpus)).copies(size, most) == packed(gpus, most)


@given(some.integers(1, 64), SIZES)
def test_a_third_of_a_gpu_is_had_three_times(parts: int, size: float) -> None:
    """Also where the nearest float to the part is a little more than the part."""
    part = Resources(gpus=1 / parts)
    assert part.copies(size, 1000) == parts
    assert together({str(i): part for i in range(parts)}, size) == Resources(gpus=1)
    with pytest.raises(ValueError, match="do not fit"):
        together({str(i): part for i in range(parts + 1)}, size)


@pytest.mark.parametrize(
    "asked",
    [
        Resources(entire_gpu=True),
        Resources(gpus=1),
        Resources(gpus=4),
        Resources(gpu_memory_gb=13),
        Resources(gpu_memory_gb=1, nvdecs=1),
        Resources(gpus=0.1, nvencs=2),
        Resources(nvdecs=1),
    ],
)
def test_who_is_alone_on_the_device(asked: Resources) -> None:
    assert asked.copies(24, 16) == 1


def test_what_needs_no_gpu_has_a_copy_in_every_process() -> None:
    assert Resources(cpus=4).copies(24, 16) == 16
    assert Resources(cpus=4).share(24) == 0


# ── on the command line ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("cpus=2,gpu_memory_gb=20", Resources(cpus=2, gpu_memory_gb=20)),
        (" cpus = 2 , gpu_memory_gb = 20 ", Resources(cpus=2, gpu_memory_gb=20)),
        ("gpus=1e0", Resources(gpus=1)),
        ("entire_gpu=true", Resources(entire_gpu=True)),
        ("entire_gpu=False,gpus=0.25", Resources(gpus=0.25)),
        ("nvdecs=1,nvencs=2", Resources(nvdecs=1, nvencs=2)),
    ],
)
def test_texts_that_are_resources(text: str, meant: Resources) -> None:
    assert Resources.parse(text) == meant


ASKED = some.one_of(
    some.builds(Resources, some.floats(0, 64), gpu_memory_gb=some.floats(0, 200)),
    some.builds(Resources, gpus=some.floats(0, 1), nvdecs=some.integers(0, 8)),
    some.builds(Resources, gpus=some.integers(1, 8).map(float), entire_gpu=some.booleans()),
)


@given(ASKED)
def test_what_is_written_down_is_read_back(asked: Resources) -> None:
    text = ",".join(f"{name}={value}" for name, value in vars(asked).items())
    assert Resources.parse(text) == asked
    assert parse_override(f"embed:{text}") == ("embed", asked)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'' does not describe a resource.*'cpus=2,gpu_memory_gb=20'"),
        ("cpus", "'cpus' does not describe a resource"),
        ("cpus=", "'cpus=' does not describe"),
        ("cpus=2,", "'' does not describe"),
        (
            "ram=2",
            ("'ram' is not a resource: the resources are cpus, gpu_memory_gb, gpus"),
        ),
        ("cpus=many", "cpus=many is not a number"),
        ("cpus=1=2", "cpus=1=2 is not a number"),
        ("cpus=nan", "cpus=nan is impossible"),
        ("nvdecs=1e999", "nvdecs=inf is impossible"),
        ("nvdecs=1.5", "nvdecs=1.5 is impossible.*whole number"),
        ("entire_gpu=1", "entire_gpu=1 is neither yes nor no: give true or false"),
        ("cpus=1,cpus=2", "cpus appears twice in 'cpus=1,cpus=2'"),
        ("gpus=1,gpu_memory_gb=2", "contradict each other"),
        ("gpus=1.5", "whole number of devices"),
    ],
)
def test_wrong_texts_are_told_what_to_write(text: str, words: str) -> None:
    for parse in (lambda: Resources.parse(text), lambda: parse_override(f"embed:{text}")):
        with pytest.raises(ValueError, match=words) as refused:
            parse()
        assert str(refused.value).endswith(".")


@pytest.mark.parametrize("step", step_names())
def test_every_step_can_be_overridden(step: str) -> None:
    assert parse_override(f" {step} : gpus=1") == (step, Resources(gpus=1))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gpu_memory_gb=8", "'gpu_memory_gb=8' does not name a step.*'embed:gpu_memory_gb=8'"),
        (
            "dance:gpus=1",
            "'dance' is not a step with resources: give one of split, cut",
        ),
        (":gpus=1", "'' is not a step"),
        ("embed:", "does not describe a resource"),
    ],
)
def test_wrong_overrides_are_told_what_to_write(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_override(text)


# ── what Beam is told ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("asked", "accelerator", "cpu_count"),
    [
        (Resources(), None, None),
        (Resources(cpus=0.25), None, None),
        (Resources(cpus=2), None, "2"),
        (Resources(cpus=1.1), None, "2"),
        (Resources(gpus=0.25), "type:nvidia-l4;count:1;install-nvidia-driver:5xx", None),
        (Resources(gpu_memory_gb=20), "type:nvidia-l4;count:1;install-nvidia-driver:5xx", None),
        (Resources(nvdecs=1), "type:nvidia-l4;count:1;install-nvidia-driver:5xx", None),
        (Resources(6, gpus=2), "type:nvidia-l4;count:2;install-nvidia-driver:5xx", "6"),
    ],
)
def test_beam_understands_the_hints(
    asked: Resources, accelerator: str | None, cpu_count: str | None
) -> None:
    wanted = {"accelerator": accelerator, "cpu_count": cpu_count}
    hints = asked.hints("nvidia-l4")
    assert hints == {name: value for name, value in wanted.items() if value}
    step = beam.Map(str).with_resource_hints(**hints)
    assert step.get_resource_hints() == parse_resource_hints(hints)
    assert {v.decode() for v in step.get_resource_hints().values()} == set(hints.values())


@pytest.mark.parametrize(("gpus", "count"), [(0.5, 1), (2, 2), (8, 8)])
def test_a_machine_has_as_many_gpus_as_are_asked_for(gpus: float, count: int) -> None:
    assert f";count:{count};" in Resources(gpus=gpus).hints("a-new-one")["accelerator"]
    assert Resources().hints("nvidia-l4") == {}
    assert ";count:1;" in Resources(nvdecs=1).hints("nvidia-l4")["accelerator"]


def test_a_step_without_a_gpu_needs_no_accelerator() -> None:
    assert Resources(cpus=3).hints() == {"cpu_count": "3"}


@pytest.mark.parametrize(
    ("asked", "accelerator", "words"),
    [
        (Resources(gpus=1), None, "its type is missing.*nvidia-l4"),
        (Resources(gpus=1), "", "its type is missing"),
        (Resources(gpus=1), "nvidia-l4;count:4", "'nvidia-l4;count:4' is not a type of GPU"),
        (Resources(gpus=1), "NVIDIA L4", "'NVIDIA L4' is not a type of GPU"),
        (Resources(gpu_memory_gb=20), "nvidia-tesla-t4", "20 GB .* the device has 16 GB"),
    ],
)
def test_accelerators_that_will_not_do(
    asked: Resources, accelerator: str | None, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        asked.hints(accelerator)


def test_an_accelerator_that_is_not_known_may_have_any_memory() -> None:
    assert (
        "type:nvidia-of-tomorrow;"
        in Resources(gpu_memory_gb=200).hints("nvidia-of-tomorrow")["accelerator"]
    )


def test_memory_by_name() -> None:
    assert {name: gpu_gb(name) for name in GPU_GB} == GPU_GB
    assert gpu_gb("nvidia-of-tomorrow") == gpu_gb(None) == 24


# ── several steps in one worker ──────────────────────────────────────────────────────────────────


def some_steps(asked: Iterable[Resources]) -> dict[str, Resources]:
    return dict(zip(step_names(), asked, strict=False))


@given(
    some.lists(some.tuples(some.booleans(), HUNDREDTHS, some.integers(0, 8)), max_size=6),
    SIZES,
)
def test_memory_adds_up_and_cores_do_not(asked: list[tuple[bool, int, int]], size: float) -> None:
    """Hundredths of a device, or tenths of a GB, added as integers over one denominator."""
    steps = some_steps(
        Resources(cpus, gpus=part / 100) if of_gpu else Resources(cpus, gpu_memory_gb=part / 10)
        for of_gpu, part, cpus in asked
    )
    device = Fraction(str(size))
    parts = [
        Fraction(part, 100) if of_gpu else Fraction(part, 10) / device for of_gpu, part, _ in asked
    ]
    if sum(parts) > 1:
        with pytest.raises(ValueError, match=r"do not fit|does not fit") as refused:
            together(steps, size)
        assert any(name in str(refused.value) for name in steps)
        return
    worker = together(steps, size)
    assert worker.cpus == max((cpus for _, _, cpus in asked), default=1)
    assert worker.needs_gpu is bool(asked)
    rounding = Fraction(1, 100) if any(not of_gpu for of_gpu, _, _ in asked) else 0
    assert 0 <= Fraction(repr(worker.share(size))) - sum(parts) <= rounding


@given(some.permutations([("aesthetic", 0.25, 0.0), ("embed", 0.0, 20.0), ("split", 0.0, 10.0)]))
def test_the_order_of_steps_does_not_matter(order: list[tuple[str, float, float]]) -> None:
    steps = {name: Resources(gpus=gpus, gpu_memory_gb=gb) for name, gpus, gb in order}
    assert together(steps, 80) == Resources(gpus=0.63)


def test_gb_stay_gb() -> None:
    steps = {"embed": Resources(2, gpu_memory_gb=10), "split": Resources(gpu_memory_gb=14)}
    assert together({**steps, "cut": Resources(6)}, 24) == Resources(6, gpu_memory_gb=24)


def test_a_worker_of_one_step_or_none_needs_what_that_needs() -> None:
    assert together({}, 24) == Resources()
    for asked in (
        Resources(0.25),
        Resources(2, gpu_memory_gb=7.3),
        Resources(gpus=1 / 3),
        Resources(gpus=2),
        Resources(gpus=4, entire_gpu=True),
        Resources(nvdecs=2, nvencs=1),
    ):
        assert together({"embed": asked}, 24) == asked
        assert together({"embed": asked, "text": Resources(0)}, 24) == asked


def test_decoders_are_used_in_turn() -> None:
    steps = {
        "split": Resources(nvdecs=3),
        "cut": Resources(nvdecs=1, nvencs=2),
        "embed": Resources(gpu_memory_gb=20),
    }
    assert together(steps, 24) == Resources(gpu_memory_gb=20, nvdecs=3, nvencs=2)


def test_what_does_not_fit_is_named_with_every_share() -> None:
    steps = {"aesthetic": Resources(gpus=0.25), "embed": Resources(gpu_memory_gb=20)}
    assert together(steps, 40).gpus == 0.75
    with pytest.raises(
        ValueError, match="24 GB: aesthetic 25 % and embed 84 %; that is 109 % of its memory"
    ):
        together(steps, 24)
    with pytest.raises(ValueError, match=r"embed does not fit: 20 GB .* the device has 16 GB"):
        together(steps, 16)


def test_who_wants_the_entire_gpu_is_not_put_beside_others() -> None:
    steps = {"caption": Resources(entire_gpu=True), "cut": Resources(nvencs=1)}
    with pytest.raises(ValueError, match="caption needs an entire GPU"):
        together(steps, 80)
    assert together({**steps, "cut": Resources(6)}, 80) == Resources(6, gpus=1, entire_gpu=True)


# ── the usual ────────────────────────────────────────────────────────────────────────────────────


def test_the_usual_requests_are_those_of_the_reference() -> None:
    usual = {name: (r.cpus, r.gpu_memory_gb, r.gpus) for name, r in USUAL.items()}
    assert usual == {
        "transnetv2": (1, 10, 0),
        "aesthetic": (1, 0, 0.25),
    }


def test_nothing_heavy_is_imported() -> None:
    code = "import sys; before = set(sys.modules); import finecut.transforms.models.resources"
    code += "; print(*{name.split('.')[0] for name in set(sys.modules) - before})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert not set(done.stdout.split()) - sys.stdlib_module_names - {"finecut"}
