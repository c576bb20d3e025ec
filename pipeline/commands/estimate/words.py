"""What an estimate says: numbers, money, and what was assumed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from finecut.io.records import Failure
from finecut.io.storage.addresses import public
from finecut.io.wording import count_of, in_bytes
from finecut.pipeline.cli.outlets import lines_of, shown
from finecut.pipeline.cli.progress import clock
from finecut.pipeline.commands.estimate import EstimateOptions
from finecut.pipeline.commands.estimate.choosing import Foreseen
from finecut.pipeline.commands.estimate.curating import Took
from finecut.pipeline.commands.estimate.looking import Seen
from finecut.pipeline.commands.estimate.prices import Prices

#: Failures that are named.
SHOWN = 5
NOTHING = Foreseen(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Estimate:
    """What a run would take and cost."""

    options: EstimateOptions
    seen: Seen
    prices: Prices
    #: Why videos of the sample cannot be split.
    failures: Sequence[Failure] = ()
    sample: Took | None = None
    total: Foreseen = NOTHING
    #: Whether clips were counted, and not estimated.
    is_exact: bool = False
    #: Processor time to start a process that curates, and to do the work.
    cpu_start: float = 0.0
    cpu_seconds: float = 0.0
    clip_bytes: float = 0.0
    document_bytes: float = 0.0
    #: By their kinds; ``None``: the output is on a disk.
    requests: Mapping[str, float] | None = field(default=None)
    source_reads: float = 0.0
    #: Whether a step wants a GPU on a cluster.
    needs_gpu: bool = False

    @property
    def cpu_hours(self) -> float:
        """Hours of one core that is busy."""
        return (self.cpu_start + self.cpu_seconds) / 3600

    @property
    def bytes_written(self) -> float:
        return self.clip_bytes + self.document_bytes

    @property
    def hours(self) -> float:
        """Hours of video to do."""
        return sum(video.duration for video in self.seen.videos) * self.seen.scale / 3600

    @property
    def requests_billed(self) -> dict[str, float]:
        """Requests to stores, those that read the source videos among them."""
        billed = dict(self.requests or {})
        if self.source_reads:
            billed["read"] = billed.get("read", 0.0) + self.source_reads
        return billed

    @property
    def money(self) -> float:
        """For machines and requests, once."""
        of_requests = self.prices.of_requests(self.requests_billed)
        return self.prices.of_work(self.cpu_hours) + of_requests

    @property
    def problems(self) -> list[str]:
        """Why there is nothing to estimate."""
        if not self.seen.found:
            return [
                f"no videos found in {', '.join(map(public, self.options.input))}. Files must end "
                "in .mp4, .mov, .avi, .mkv or .webm (in any case)."
            ]
        if self.seen.failures and len(self.seen.failures) == self.seen.probed:
            return [f"all {count_of(self.seen.found, 'video')} failed (see above)."]
        return []


def lines_about(e: Estimate) -> Iterator[str]:
    """The estimate for people."""
    if not e.seen.found:
        return
    yield _videos(e)
    if e.sample is not None:
        yield from _numbers(e)
        yield from _money(e)
        yield ""
        yield "assumed"
        yield from (f"  {line}" for line in _assumed(e, e.sample))
    failures = [*e.seen.failures, *e.failures]
    if failures:
        yield ""
        yield f"{count_of(len(failures), 'video')} failed"
        for failure in failures[:SHOWN]:
            yield shown(f"  {failure.step}: {failure.source.name}: {failure.message}")
        if len(failures) > SHOWN:
            yield f"  … and {len(failures) - SHOWN} more"


def _videos(e: Estimate) -> str:
    scale, seen = e.seen.scale, e.seen
    failed, finished = len(seen.failures) * scale, seen.finished * scale
    todo = len(seen.videos) * scale
    became = f"{todo:.0f} to do + {failed:.0f} failed + {finished:.0f} finished"
    return f"videos    {seen.found} found = {became}"


def _numbers(e: Estimate) -> Iterator[str]:
    exact = "" if e.is_exact else "about "
    per_clip = 1 / e.total.clips if e.total.clips else 0.0
    yield f"length    {clock(e.hours * 3600)} ({e.hours:.2f} hours of video)"
    yield f"clips     {exact}{e.total.clips:.0f}, together {clock(e.total.seconds)}{_kept(e)}"
    yield f"work      {e.cpu_hours:.3g} worker-hours ({clock(e.cpu_hours * 3600)} of one core)"
    yield (
        f"bytes     {in_bytes(e.bytes_written)}: {in_bytes(e.clip_bytes)} of clips, "
        f"{in_bytes(e.document_bytes)} of documents and all else"
    )
    if e.requests is None:
        yield "requests  none to write: the output is on a disk of this machine"
    else:
        named = [
            f"{number:.0f} {kind}s ({number * per_clip:.1f} a clip)"
            for kind, number in e.requests.items()
        ]
        yield f"requests  {', '.join(named)}"
    if e.source_reads:
        yield f"          {e.source_reads:.0f} reads of the source videos"


def _money(e: Estimate) -> Iterator[str]:
    p = e.prices
    machine_hours = e.cpu_hours / p.cpus
    yield (
        f"money     {e.money:.2f} {p.currency} = {p.of_work(e.cpu_hours):.2f} for machines "
        f"({machine_hours:.3g} hours of {p.machine} in {p.region} at {p.per_hour:g}) + "
        f"{p.of_requests(e.requests_billed):.2f} for requests"
    )
    if e.requests is not None:
        month = e.bytes_written / 1e9 * p.gigabyte_month
        yield f"          and {month:.2f} {p.currency} a month to keep the output there"


def _kept(e: Estimate) -> str:
    if e.sample is None:
        return ""
    s = e.sample.summary
    judged = s.shots_kept + s.shots_rejected
    return f"; rules rejected {s.shots_rejected} of {judged} tried" if s.shots_rejected else ""


def _assumed(e: Estimate, sample: Took) -> list[str]:
    p, seen, did = e.prices, e.seen, sample.summary
    some = seen.probed < seen.found
    tried = f"{count_of(sample.things.videos, 'video')}, {count_of(did.shots_planned, 'clip')}"
    where = "the table of prices" if e.options.prices is None else e.options.prices
    return lines_of(
        [
            f"the rest is like the sample ({did.seconds_cut:.0f} seconds of {tried}), which took "
            f"{clock(sample.cpu_seconds)} of processor time here",
            (
                some,
                f"the videos that were not probed are like the {seen.probed} that were",
            ),
            (not e.is_exact, "there are as many scenes a second as in the parts that were watched"),
            (
                did.shots_failed,
                f"{count_of(did.shots_failed, 'clip')} of the sample failed and took nothing",
            ),
            f"a core of {p.machine} is as fast as one here, and all {p.cpus:g} are always busy",
            (
                e.needs_gpu,
                "models take as long as here, on what they found here; on a cluster they ask for "
                "a GPU",
            ),
            (
                e.requests is not None or e.source_reads,
                "requests are those of one attempt each, as Google's store bills them",
            ),
            f"prices are those of {where}, dated {p.dated}"
            + ("" if p.checked else ", which nobody has checked: compare them with your bill"),
            "not in the price: fees of the engine, network, disks, discounts and taxes",
        ]
    )
