"""Clips, as they are handed to whoever trains: one plain dictionary of arrays and texts each."""

import io
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finecut.io.dataset.order import Places, Share, part, shuffled, size_of_part
from finecut.io.dataset.output import Entry
from finecut.io.dataset.places import NoDataset
from finecut.io.dataset.sources import Source
from finecut.io.media.frames.training_frames import Pictures, TooFew, read_frames
from finecut.io.media.limits import FilmError
from finecut.io.storage import files as shelf
from finecut.io.storage.retry import pass_on_outlasted
from finecut.io.tables.packs import Floats

Sample = dict[str, Any]
RAISE, SKIP = ON_ERROR = ("raise", "skip")
#: What becomes of a sound clip that has fewer frames than are wanted. An error, unless somebody
#: chose: frames that come twice teach a model that things stand still, and clips that are left out
#: are missing without anybody having said so.
ERROR, _, PAD = SHORT = ("error", SKIP, "pad")


class ClipError(Exception):
    """A clip that cannot be given. The message names it and says why."""

    def __init__(self, message: str, id: str = "", path: str = "") -> None:
        # The message alone has to do: torch makes it anew from that, out of a worker's.
        super().__init__(message)
        self.id, self.path = id, path


class ShortClip(ClipError):
    """A clip that has fewer frames than are wanted of it, and is sound otherwise."""


def _broken(id: str, path: str, why: object, kind: type[ClipError] = ClipError) -> ClipError:
    return kind(f"the clip {id} ({path}) cannot be read: {why}", id, path)


def wished(
    frames: int | None,
    fps: float | None,
    size: int | tuple[int, int] | None,
    short: str,
    *,
    on_error: str,
) -> Pictures:
    """The pictures that are asked for by these words."""
    for name, word, known in (("on_error", on_error, ON_ERROR), ("short", short, SHORT)):
        if word not in known:
            raise ValueError(f"{name}={word!r} is unknown: give one of {', '.join(known)}")
    if short != ERROR and frames is None:
        raise ValueError(
            f"short={short!r} decides what happens to clips with fewer than frames= frames, but "
            "frames= is missing: give it, or leave short= out"
        )
    return Pictures(frames, fps, size, pad=short == PAD)


@dataclass(frozen=True)
class Wish:
    """What is wanted of each clip beside its id, its source, its span and its scores."""

    #: ``None``: the bytes of its file.
    pictures: Pictures | None = field(default_factory=Pictures)
    #: Which captioner's text; ``None``: the first there is, or no text.
    caption: str | None = None
    #: Whose vectors.
    vectors: str | None = None
    #: Whether what is known of the source goes along.
    metadata: bool = False
    #: Of the decoder.
    threads: int = 1


@dataclass(frozen=True)
class Order:
    """Which clips are read, and when."""

    shuffle: bool = False
    seed: int = 0
    even: bool = False

    def __post_init__(self) -> None:
        seed: object = self.seed
        if not isinstance(seed, Integral):
            raise TypeError(f"seed={seed!r} is not a seed: give a whole number, such as 7")


class Clips:
    """The clips of a source, each as it is wished."""

    def __init__(self, source: Source, wish: Wish, order: Order) -> None:
        self.source, self.wish, self.order = source, wish, order
        if wish.vectors is not None:
            source.check_vectors(wish.vectors)

    def __len__(self) -> int:
        return len(self.source.listing)

    def part(self, epoch: int, share: Share) -> Places:
        """The numbers of the clips that one reader reads in an epoch."""
        clips = self.source.listing
        every = (
            shuffled(clips.keys, self.order.seed, epoch)
            if self.order.shuffle
            else np.arange(len(clips))
        )
        return part(every, share, self.order.even)

    def size_of_part(self, share: Share) -> int:
        return size_of_part(len(self), share, self.order.even)

    def sample(self, number: int) -> Sample:
        """All of a clip, or a :class:`ClipError`."""
        entry = self.entry(number)
        return self.told(entry, number) | self.shown(entry, number)

    def entry(self, number: int) -> Entry:
        try:
            return self.source.entry(number)
        except (NoDataset, FileNotFoundError) as error:
            raise _broken(self.source.listing.id(number), "its document", error) from error

    def told(self, entry: Entry, number: int) -> Sample:
        """What is known of a clip without opening its file."""
        try:
            sample = {
                "id": entry.id,
                "source": str(entry.document["source_video"]),
                "span": entry.span,
                "scores": entry.scores,
                "caption": self._caption(entry),
            }
        except KeyError as error:
            raise _broken(entry.id, entry.path, f"its document has no {error}") from error
        except NoDataset as error:
            raise _broken(entry.id, entry.path, error) from error
        if self.wish.metadata:
            sample["metadata"] = entry.source
        if self.wish.vectors is not None:
            sample["vector"] = self._vector(entry, number, self.wish.vectors)
        return sample

    def shown(self, entry: Entry, number: int) -> Sample:
        """What is in a clip's file."""
        try:
            film = self.source.film(entry)
            if self.wish.pictures is None:
                return {"bytes": shelf.read(film) if isinstance(film, str) else film}
            file = film if isinstance(film, str) else io.BytesIO(film)
            frames = read_frames(file, self.wish.pictures, self.wish.threads)
        except TooFew as error:
            raise _broken(
                entry.id,
                entry.path,
                f"{error}. Give short='skip' to leave such clips out, short='pad' to fill them "
                "up and get a mask, or fewer frames; with keep=, you can leave them out "
                "beforehand",
                ShortClip,
            ) from error
        except (FilmError, NoDataset, FileNotFoundError) as error:
            pass_on_outlasted(error)  # then nobody knows whether it is broken
            raise _broken(entry.id, entry.path, error) from error
        shown = {"frames": frames.pictures, "seconds": np.array(frames.seconds)}
        if self.wish.pictures.pad:
            shown["mask"] = np.arange(len(frames.seconds)) < frames.real
        return shown

    def preview(self, entry: Entry) -> NDArray[np.uint8]:
        """The first picture of the preview of a clip's first window."""
        try:
            return first_picture(self.source.preview(entry))
        except (NoDataset, FileNotFoundError, ValueError) as error:
            raise _broken(entry.id, entry.path, f"its preview: {error}") from error

    def _caption(self, entry: Entry) -> str:
        captions, wanted = entry.captions, self.wish.caption
        if wanted is None:
            return str(entry.document.get("caption") or next(iter(captions.values()), ""))
        if wanted not in captions:
            raise _broken(
                entry.id,
                entry.path,
                f"it has no {wanted}, but {', '.join(captions) or 'no caption at all'}. Choose "
                "another with caption=, or leave such clips out with keep=",
            )
        return captions[wanted]

    def _vector(self, entry: Entry, number: int, algorithm: str) -> Floats:
        try:
            vector = self.source.vector(algorithm, number)
        except (NoDataset, FileNotFoundError, KeyError, ValueError) as error:
            raise _broken(entry.id, entry.path, f"its vector: {error}") from error
        if vector is None:
            raise _broken(
                entry.id,
                entry.path,
                f"it has no vector of {algorithm}. Rejected clips have no vector, and neither do "
                "clips for which the model failed",
            )
        return vector


def first_picture(webp: bytes) -> NDArray[np.uint8]:
    """The first picture of an animated WebP, in RGB."""
    from PIL import Image  # only needed to read previews

    try:
        with Image.open(io.BytesIO(webp), formats=("WEBP",)) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, EOFError, SyntaxError, ValueError) as error:
        raise ValueError(f"{error}: usually it was cut short when it was copied") from error
