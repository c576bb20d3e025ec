"""The work of ``finecut forget``.

    texts ─▶ sources ─▶ tombstones ─▶ a note of what goes ─▶ removed ─▶ looked for ─▶ note removed

The tombstone comes first: from then on nothing brings the source back, and ``finecut verify`` says
what is left of it. The note names all that has to go, so the next run, whoever stopped this one,
does the rest.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, Final

import pyarrow as pa

from finecut.io.dataset.arrangement import found
from finecut.io.dataset.places import NoDataset
from finecut.io.errors import RunError
from finecut.io.layout import DEDUP, Layout
from finecut.io.records import from_json, to_json
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import BadDocument, read_json
from finecut.io.storage.publishing import Shelf
from finecut.pipeline.at_work import beside_runs, occupying, refuse_unknown_store, shelf_in
from finecut.pipeline.commands.forget import Forget, ForgetOptions
from finecut.pipeline.commands.refilter.work import forget_models
from finecut.pipeline.commands.report.work import FOLDER, PAGE, READERS, report_of_run
from finecut.pipeline.options import OptionError
from finecut.transforms.find.listed import names_on
from finecut.transforms.forget.duplicates import Released, forget_in_dedup
from finecut.transforms.forget.mentions import Mentions, together
from finecut.transforms.forget.packs import mend_catalogue, move_others, remove_unnamed
from finecut.transforms.forget.removing import (
    Removed,
    Taking,
    left_of,
    remove_own,
    rewrite_shared,
    shards_inside,
)
from finecut.transforms.forget.shards import Without, forget_in_shards, sources_in_shards
from finecut.transforms.forget.sources import Known, Survey, checked, with_stray_clips
from finecut.transforms.forget.tombstones import (
    PATH,
    Forgotten,
    plain,
    salted,
    write_forgotten,
)
from finecut.transforms.verify.checks.forgotten import names_forgotten, roots_of_page

_BAD_NOTE: Final = (
    "{0}, which says what finecut forget was about to remove, cannot be used ({1}). Usually it was "
    "edited by hand: remove it, and run finecut forget again with the same sources"
)
#: What folders of shards have.
MARK: Final = "/.finecut/shards.json"


@dataclass
class Forgot:
    """What was done."""

    root: str
    #: As users name them: forgotten now, and before.
    names: list[str] = field(default_factory=list)
    already: list[str] = field(default_factory=list)
    #: What names nothing, and what to say.
    unknown: list[str] = field(default_factory=list)
    #: Let be curated again.
    allowed: list[str] = field(default_factory=list)
    removed: Removed = field(default_factory=Removed)
    digests: list[str] = field(default_factory=list)
    salt: str = ""
    shards: list[Without] = field(default_factory=list)
    released: Released | None = None
    #: A run that was stopped before was finished.
    continued: bool = False
    foreseen: bool = False
    #: How many files were looked at afterwards, and what speaks of a source.
    looked_at: int = 0
    left: list[str] = field(default_factory=list)
    page: str = ""
    when: str = ""


def forget(command: Forget) -> Forgot:
    """Take sources back. Raises when that cannot be done as a whole."""
    options = command.options
    refuse_unknown_store(options.dataset, "DATASET")
    layout = found(Layout(shelf.absolute(options.dataset)))
    _refuse_no_dataset(layout)
    own = shelf_in(layout.root, command.fence)
    if options.dry_run:
        return _Forgetting(command, layout, own).foreseen()
    with occupying(own, "DATASET", ends_with_us=True):
        if options.allow:
            return _allowed(options, layout, own)
        forgot = _Forgetting(command, layout, own).done()
    if options.receipt:
        _write_receipt(options.receipt, forgot)
    return forgot


def _refuse_no_dataset(layout: Layout) -> None:
    places = (layout.processed_clip_chunks(), layout.processed_videos(), layout.failures())
    clips = (layout.metas(), layout.packs())
    if not any(map(shelf.exists, (*places, *clips, layout.forgotten()))):
        raise NoDataset(
            f"{layout.root} is not a dataset: it has neither processed_clip_chunks/ nor "
            "processed_videos/. Give the folder that was the --output of finecut curate"
        )


@dataclass
class _Forgetting:
    """Sources that are forgotten, step by step."""

    command: Forget
    layout: Layout
    own: Shelf

    @property
    def options(self) -> ForgetOptions:
        return self.command.options

    @property
    def readers(self) -> int:
        return self.options.workers or (READERS if shelf.is_remote(self.layout.root) else 1)

    def foreseen(self) -> Forgot:
        """What would be removed."""
        known, forgot = self._meant()
        forgot.foreseen = True
        everything = [*known, *self._of_before(forgot)]
        if everything:
            self._remove(self._taking(everything, forgot.removed, dry_run=True), everything, forgot)
        return forgot

    def done(self) -> Forgot:
        known, forgot = self._meant()
        forgot.when = datetime.now(UTC).isoformat(timespec="seconds")
        forgot.continued = bool(self._note_there())
        page = shelf.exists(f"{self.layout.root}/{FOLDER}/{PAGE}") or self._had_page()
        if known:
            self._bury(known, forgot)
            self.own.write(self.layout.forgetting(), _note(known, page))
        forgot.digests += self._digests_of_before(forgot)
        everything = [*known, *self._of_before(forgot)]
        if everything:
            taking = self._taking(everything, forgot.removed)
            self._remove(taking, everything, forgot)
            forget_models(self.layout, self.own)
            if page and not shelf.exists(f"{self.layout.root}/{FOLDER}/{PAGE}"):
                forgot.page = self._page()
            forgot.looked_at, forgot.left = left_of(taking)
        self.own.remove(self.layout.forgetting())
        return forgot

    # ── who ──────────────────────────────────────────────────────────────────────────────────────

    def _meant(self) -> tuple[list[Known], Forgot]:
        """The sources that go, also those that an earlier run did not come to the end of."""
        texts = [*self.options.source, *_listed(self.options.sources)]
        noted = self._noted()
        if not texts and not self._note_there():
            raise OptionError(
                "nothing to forget: give --source with the name of a source, or --sources with a "
                "list of them"
            )
        forgot = Forgot(self.layout.root)
        survey = Survey.of(self.layout, self.readers)
        resolved = survey.resolved(texts)
        known = {one.name: one for one in noted}
        for one in resolved.found:
            known[one.name] = known[one.name] | one if one.name in known else one
        forgot.unknown += resolved.unclear
        before, elsewhere = Forgotten.at(self.layout), self._in_shards()
        for text, why in resolved.unknown:
            sampled = [name for name in elsewhere if _is_meant(text, name)]
            if len(sampled) == 1:
                known.setdefault(sampled[0], Known(sampled[0]))
            elif before.named(text) or any(text in one.names for one in noted):
                forgot.already.append(text)
            else:
                forgot.unknown.append(why)
        forgot.names = sorted(known)
        return with_stray_clips(known.values(), self.layout, self.readers), forgot

    def _of_before(self, forgot: Forgot) -> list[Known]:
        """Those that were forgotten before: somebody may have copied something of them back."""
        before = [
            Known(text) if text.startswith("/") or shelf.is_remote(text) else Known("", text)
            for text in forgot.already
        ]
        return with_stray_clips(before, self.layout, self.readers)

    def _digests_of_before(self, forgot: Forgot) -> list[str]:
        forgotten = Forgotten.at(self.layout)
        forgot.salt = forgotten.salt
        stones = [stone for text in forgot.already for stone in forgotten.named(text)]
        return sorted({str(digest) for stone in stones for digest in stone.get(PATH, ())})

    def _in_shards(self) -> list[str]:
        roots = self._shard_roots()
        return sorted({name for root in roots for name in sources_in_shards(root)})

    def _shard_roots(self) -> list[str]:
        given = [shelf.absolute(folder) for folder in self.options.shards]
        return list(dict.fromkeys([*shards_inside(self.layout, MARK), *given]))

    def _noted(self) -> tuple[Known, ...]:
        """What an earlier run did not come to the end of."""
        said = self._note_there()
        try:
            noted = [from_json(Known, json.dumps(each)) for each in said.get("sources", ())]
            return tuple(map(checked, noted))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise RunError(_BAD_NOTE.format(self.layout.forgetting(), error)) from error

    def _note_there(self) -> dict[str, Any]:
        try:
            return read_json(self.layout.forgetting()) or {}
        except BadDocument as error:
            raise RunError(_BAD_NOTE.format(self.layout.forgetting(), error)) from error

    def _had_page(self) -> bool:
        return bool(self._note_there().get("page"))

    # ── what ─────────────────────────────────────────────────────────────────────────────────────

    def _bury(self, known: Sequence[Known], forgot: Forgot) -> None:
        """Write the tombstones."""
        before = salted(Forgotten.at(self.layout))
        stones = list(before.stones)
        for one in known:
            if not before.has_name(one.name):
                more = {"when": forgot.when, "finecut": version("finecut")}
                stones.append(before.stone(one.facts(), **more))
        write_forgotten(Forgotten(before.salt, tuple(stones)), self.layout, self.own)
        forgot.salt = before.salt
        forgot.digests = sorted(before.digest(PATH, plain(one.name)) for one in known)

    def _taking(self, known: Sequence[Known], removed: Removed, dry_run: bool = False) -> Taking:
        mentions = together([one.mentions for one in known] or [Mentions()])
        return Taking(
            self.layout,
            self.own,
            mentions,
            removed=removed,
            readers=self.readers,
            dry_run=dry_run,
        )

    def _remove(self, taking: Taking, known: Sequence[Known], forgot: Forgot) -> None:
        try:
            self._remove_all(taking, known, forgot)
        except (pa.ArrowException, KeyError) as error:
            raise RunError(
                f"a table in {self.layout.root} could not be read ({error}), so it is unknown "
                f"what it says of {', '.join(forgot.names[:1])}. Usually a copy was cut short: "
                "finecut verify names it. Remove it, and run the same command again, which does "
                "the rest"
            ) from error

    def _remove_all(self, taking: Taking, known: Sequence[Known], forgot: Forgot) -> None:
        for root in self._shard_roots():
            self._remove_from_shards(root, taking, forgot)
        if self.layout.packed:
            move_others(taking)
        remove_own(known, taking)
        if self.layout.packed:
            remove_unnamed(taking)
        rewrite_shared(taking)
        if self.layout.packed:
            mend_catalogue(taking)
        self._remove_page(taking, forgot)
        forgot.released = forget_in_dedup(self.layout.below(DEDUP), taking)

    def _remove_page(self, taking: Taking, forgot: Forgot) -> None:
        """Remove the report, which speaks of every source; the page first, which names its data.

        Of sources that were forgotten before it speaks only if somebody copied it back.
        """
        page = f"{self.layout.root}/{FOLDER}"
        paths = list(shelf.files_below(page)) if shelf.exists(page) else []
        before, roots = Forgotten.at(self.layout), roots_of_page(self.layout) if paths else ()
        if forgot.names or any(names_forgotten(path, before, roots) for path in paths):
            taking.remove([f"{page}/{PAGE}"])
            taking.remove(paths)

    def _remove_from_shards(self, root: str, taking: Taking, forgot: Forgot) -> None:
        own = shelf_in(root, self.command.fence)
        there = replace(taking, layout=Layout(root), own=own)
        lance = find_spec("lance") is not None
        if taking.dry_run:
            without = forget_in_shards(root, there, lance=lance)
        else:
            with occupying(own, "--shards", ends_with_us=True):
                without = forget_in_shards(root, there, lance=lance)
        forgot.shards += [without] if without is not None else []

    def _page(self) -> str:
        """The page again; of a bucket it would have to read everything."""
        folders = (self.layout.processed_clip_chunks(), self.layout.failures())
        if shelf.is_remote(self.layout.root) or not any(map(shelf.exists, folders)):
            return f"the report was removed: finecut report {self.layout.root} makes it again"
        return report_of_run(self._as_written(), self.own)

    def _as_written(self) -> Layout:
        sharded = not self.layout.packed and bool(shelf.folders_in(self.layout.clips()))
        return replace(self.layout, shard_prefix=sharded)


def _is_meant(text: str, name: str) -> bool:
    return plain(text) == plain(name) or name.endswith(f"/{text}")


def _listed(lists: Sequence[str]) -> Iterator[str]:
    for path in lists:
        yield from names_on(shelf.absolute(path))


def _note(known: Sequence[Known], page: bool) -> bytes:
    said = {"sources": [json.loads(to_json(one)) for one in known], "page": page}
    return json.dumps(said, indent=4).encode()


def _allowed(options: ForgetOptions, layout: Layout, own: Shelf) -> Forgot:
    """Remove the tombstones of sources."""
    before, forgot = Forgotten.at(layout), Forgot(layout.root)
    if shelf.exists(layout.forgetting()):
        raise RunError(
            f"{layout.root} still has parts of a source that was to be forgotten: run finecut "
            f"forget {layout.root} first, which removes the rest"
        )
    gone: list[int] = []
    for text in options.allow:
        named = [id(stone) for stone in before.named(text)]
        (forgot.allowed if named else forgot.unknown).append(
            text if named else f"{text} was not forgotten here"
        )
        gone += named
    stay = tuple(stone for stone in before.stones if id(stone) not in gone)
    if len(stay) < len(before.stones):
        write_forgotten(Forgotten(before.salt, stay), layout, own)
    return forgot


# ── the receipt ──────────────────────────────────────────────────────────────────────────────────


def receipt(forgot: Forgot) -> dict[str, Any]:
    """What was removed, without a name."""
    return {
        "forgotten": forgot.digests,
        "digest": "HMAC-SHA256 of 'path', a zero byte and the name without its protocol",
        "salt": forgot.salt,
        "when": forgot.when,
        "finecut": version("finecut"),
        "continued": forgot.continued,
        "removed": forgot.removed.document,
        "samples_in_shards": sum(each.samples for each in forgot.shards),
        "checked": {"files": forgot.looked_at, "left": len(forgot.left)},
    }


def _write_receipt(path: str, forgot: Forgot) -> None:
    path = shelf.absolute(path)
    own = shelf_in(path.rpartition("/")[0] or "/")
    try:
        with beside_runs(own, only_marked=True):
            own.write(path, json.dumps(receipt(forgot), indent=4).encode())
    except OSError as error:
        raise RunError(
            f"--receipt {path} could not be written ({error.strerror or error}), although "
            f"everything was removed. Run the same command again "
            "with another file: what is written then says what is left"
        ) from error
    finally:
        own.sweep()
