"""What an output tells besides its clips, read for a page: failures, runs, videos without clips."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields
from functools import partial
from typing import Any, Final

from finecut.io.dataset.output import Output
from finecut.io.held import OF_SOURCE, SOURCE
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import BadDocument, parsed_text
from finecut.io.storage.on_disk import NotAFile
from finecut.pipeline.choices.cutting import FIXED_STRIDE
from finecut.pipeline.options import Options
from finecut.transforms.filter.comparing import SAMENESS
from finecut.transforms.filter.rules import Rule, parse_rule
from finecut.transforms.report.columns import number, short
from finecut.transforms.report.counting import digest_of
from finecut.transforms.report.parts import DONE, EMPTY, FAILED, UNFINISHED
from finecut.transforms.report.reading import asked_ahead, usable
from finecut.transforms.report.sources import Told, told_of_source
from finecut.transforms.verify.checks.shapes import RUN, VIDEO, Shape

SHOWN_RUNS: Final = 50
ROWS_OF_FAILURES: Final = 256
_SHORTLY = ("name", "started", "seconds", "videos", "clips", "titles")
_LASTLY = ("balanced", "imbalances", "film_seconds", "speed", "steps", "models")
_WHOLLY = (*_SHORTLY, *_LASTLY, "versions", "options")


def runs_below(root: str, read: Callable[[str], dict[str, Any] | None]) -> list[dict[str, Any]]:
    """What runs tell of themselves, the last one in full; by time, as their names are."""
    found = [
        {"name": folder.rsplit("/", 1)[-1], **said}
        for folder in shelf.folders_in(f"{root}/runs")
        if (said := read(f"{folder}/summary.json"))
    ]
    earlier, last = found[-SHOWN_RUNS:-1], found[-1:]
    return [_part(run, _SHORTLY) for run in earlier] + [_part(run, _WHOLLY) for run in last]


def _part(run: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: _finite(value) for key, value in run.items() if key in keys}


def rules_of_last(runs: list[dict[str, Any]]) -> list[Rule]:
    options = _options_of_last(runs)
    return [rule for rules in options.rules.values() for rule in rules] if options else []


def stride_of_last(runs: list[dict[str, Any]]) -> tuple[float, float] | None:
    """Length and distance of clips, if the last run cut at regular distances."""
    options = _options_of_last(runs)
    if options is None or options.splitting_algorithm != FIXED_STRIDE or options.cuts:
        return None
    return options.clip_length, options.stride


def _finite(value: Any) -> Any:
    """The same without numbers that JSON has not."""
    if isinstance(value, dict):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return number(value) if isinstance(value, float) else value


def _options_of_last(runs: list[dict[str, Any]]) -> Options | None:
    """The options the last run was given, as far as this version knows them."""
    given = runs[-1].get("options") if runs else None
    if not isinstance(given, dict):
        return None
    known = {f.name: f.default for f in fields(Options)}
    told: dict[str, Any] = {
        name: tuple(value) if isinstance(known[name], tuple) else value
        for name, value in given.items()
        if name in known
    }
    try:
        options = Options(**told)
        _ = options.rules, options.stride
    except (TypeError, ValueError, AttributeError):
        return None
    return options


class Outcome:
    """What an output tells besides its clips."""

    def __init__(self, output: Output) -> None:
        self.output = output
        #: Planned clips that failed, by the names of their sources, and what these are called below
        #: the input.
        self.lost: dict[str, set[str]] = {}
        self.paths: dict[str, str] = {}
        self.failures: list[dict[str, Any]] = []
        #: What is wrong with each document that is there and cannot be used, or not all of it.
        self.bad: list[str] = []
        self.runs = runs_below(output.root, partial(self._document, shapes=RUN))
        self._read_failures()

    def titles(self) -> dict[str, str]:
        """What custom steps call their scores."""
        return {
            short(name, 80): short(title, 200)
            for run in self.runs
            if isinstance(titles := run.get("titles"), dict)
            for name, title in titles.items()
        }

    def finished(self) -> dict[int, str]:
        """The documents of finished videos, by the digests of the videos."""
        folder = f"{self.output.layout.processed_videos()}/"
        return {
            digest_of(path.removeprefix(folder).removesuffix(".json")): path
            for path in if_there(self.output.videos)
        }

    def others(
        self, paths: Iterable[str], failed: Iterable[str], readers: int
    ) -> Iterator[tuple[str, int, float, Told]]:
        """Sources without clips, by name: their states and lengths, and what is known of them.

        ``paths`` are the documents of those that are finished, ``failed`` the names of others.
        """
        read = partial(self._document, shapes=VIDEO)
        videos = {
            short(said.get("video")): (
                EMPTY if not number(said.get("num_total_clips")) else DONE,
                number(said.get("duration")),
                told_of_source(said.get(SOURCE)),
            )
            for said in asked_ahead(read, sorted(paths), readers)
            if said
        }
        for name in sorted({*videos, *failed}):
            state, seconds, told = videos.get(name, (UNFINISHED, 0.0, []))
            yield name, FAILED if name in self.lost else state, seconds, told

    def _document(self, path: str, shapes: Mapping[str, Shape]) -> dict[str, Any] | None:
        said, wrong = usable(path, shapes)
        if wrong:
            self.bad.append(wrong)
        return said

    def _read_failures(self) -> None:
        """What is listed in ``failures/``: a line each, and which planned clips were lost."""
        rows = self.failures
        for failure in failures_below(self.output.layout.failures()):
            source = failure.get("source")
            name = short(source.get("name") if isinstance(source, dict) else source)
            path = source.get("relative") if isinstance(source, dict) else None
            self.paths[name] = path if isinstance(path, str) else name
            lost = [clip for clip in failure.get("lost_shots") or () if isinstance(clip, str)]
            self.lost.setdefault(name, set()).update(lost)
            rows.append(
                {
                    "source": name,
                    "step": short(failure.get("step"), 200),
                    "error": short(failure.get("error"), 200),
                    "message": short(failure.get("message")),
                    "evidence": short(failure.get("evidence")),
                    "lost": len(lost),
                    "attempts": int(number(failure.get("attempts"), 1)),
                    "aside": failure.get("set_aside") is True,
                }
            )
        rows.sort(key=lambda row: (row["step"], row["error"], row["source"], row["message"]))


def if_there(listed: Callable[[], Iterable[str]]) -> list[str]:
    """What a folder lists; without the folder, nothing was finished."""
    with suppress(FileNotFoundError):
        return list(listed())
    return []


def failures_below(folder: str) -> Iterator[dict[str, Any]]:
    """What is listed there, as far as it can be read."""
    for path in shelf.files_in(folder):
        text = ""
        if path.endswith(".jsonl"):
            with suppress(NotAFile):
                text = (shelf.read_if_there(path) or b"").decode(errors="replace")
        for line in text.split("\n"):
            with suppress(BadDocument):
                if isinstance(said := parsed_text(line), dict):
                    yield said


def rules_drawn(rules: Iterable[Rule], reasons: Iterable[str]) -> list[dict[str, Any]]:
    """The rules on numbers that a run had, and those that reasons speak of: score, comparison,
    limit, name.
    """
    found = {(rule.score, rule.comparison, rule.limit): rule.name for rule in rules}
    for reason in reasons:
        with suppress(ValueError):  # a name, as in "motion", or what another program says
            rule = parse_rule(reason)
            found.setdefault((rule.score, rule.comparison, rule.limit), rule.name)
    return [
        {"score": score, "comparison": comparison, "limit": limit, "name": name}
        for (score, comparison, limit), name in found.items()
        if comparison not in SAMENESS and not score.startswith(OF_SOURCE)
    ]
