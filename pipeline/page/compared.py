"""The page that ``finecut compare --html`` makes: one file, which asks for nothing and has no
script. It looks like the report.
"""

import html
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files

from finecut.io.wording import count_of
from finecut.pipeline.commands.compare.words import label_of, short, summary_of
from finecut.pipeline.page import policy_of_still
from finecut.transforms.compare.counting import Comparison, Difference, Measured, Named

#: What is not as in the report.
_STYLE = """
main section { margin-top: 34px; }
main section > .quiet { margin-top: 6px; max-width: 84ch; }
section h3 { margin-top: 22px; }
.wide { margin-top: 10px; }
.wide:focus-visible { outline-offset: -2px; }
td.words, th.words { text-align: left; white-space: normal; min-width: 12em; }
td { vertical-align: top; }
"""
#: Letters of what either side says.
_LETTERS = 300


def page_of(found: Comparison, a: str, b: str) -> str:
    """The whole page."""
    style = files("finecut.pipeline.page").joinpath("page.css").read_text(encoding="utf-8")
    style += _STYLE
    title = f"{a} and {b} · compared by finecut"
    body = "".join((*_top(found, a, b), "<main id=main tabindex=-1>", *_main(found), "</main>"))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_text(policy_of_still(style))}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{_text(title)}</title><style>{style}</style></head>\n<body>{body}</body></html>\n"
    )


def _text(value: object) -> str:
    return html.escape(str(value))


def _top(found: Comparison, a: str, b: str) -> Iterator[str]:
    both = found.matched_by_id + found.matched_by_place
    yield '<a class="skip" href="#main">Skip to content</a><header class="top"><div class="line">'
    yield '<p class="brand"><span class="mark" aria-hidden="true"></span>finecut '
    yield '<span class="quiet">compare</span></p></div>'
    yield f"<h1>{'They differ' if found.differs else 'They are the same'}</h1>"
    yield f'<p class="quiet lead">The first is <code>{_text(a)}</code>, with '
    yield f"{count_of(found.clips_a, 'clip')}; the other <code>{_text(b)}</code>, with "
    yield f"{count_of(found.clips_b, 'clip')}. {count_of(both, 'clip')} are in both"
    if found.matched_by_place:
        yield f", {found.matched_by_place} of them by the name of the video and the span"
    yield ".</p></header>"


def _main(found: Comparison) -> Iterator[str]:
    only = (("Only in the first", found.only_a), ("Only in the other", found.only_b))
    for title, difference in only:
        if difference.clips:
            yield from _section(title, _shown_of(difference))
            rows = [(label_of(clip), clip["verdict"]) for clip in difference.examples]
            yield from _table(title, ("clip", "verdict"), rows)
            yield "</section>"
    if found.changed:
        yield from _section("Changed", "What is said otherwise of the same clip.")
        yield from _changes(found)
        yield "</section>"
    for title, measured in (("Scores", found.scores), ("Vectors", found.vectors)):
        if measured:
            yield from _section(title, _MEASURED[title])
            yield from _measures(measured)
            yield "</section>"


_MEASURED = {
    "Scores": "By how much the same clip has another score.",
    "Vectors": "How far the vectors of the same clip are apart: 1 - cosine.",
}


def _section(title: str, about: str) -> Iterator[str]:
    yield f"<section><h2>{_text(title)}</h2><p class=quiet>{_text(about)}</p>"


def _shown_of(difference: Difference) -> str:
    shown = len(difference.examples)
    more = "" if shown == difference.clips else f"; {shown} of them are named"
    return f"{count_of(difference.clips, 'clip')}{more}."


def _changes(found: Comparison) -> Iterator[str]:
    if found.verdicts:
        steps = [(f"{a} → {b}", clips) for (a, b), clips in sorted(found.verdicts.items())]
        yield from _table("Verdicts", ("verdict", "clips"), steps)
    for name, difference in sorted(found.changed.items()):
        yield f"<h3>{_text(name)}</h3><p class=quiet>{_shown_of(difference)}</p>"
        rows = [
            (label_of(clip), short(clip["a"], _LETTERS), short(clip["b"], _LETTERS))
            for clip in difference.examples
        ]
        yield from _table(name, ("clip", "the first", "the other"), rows, words=True)


def _measures(measured: dict[str, Measured]) -> Iterator[str]:
    for name, each in sorted(measured.items()):
        yield f"<h3><code>{_text(name)}</code></h3><p class=quiet>{_text(summary_of(each))}</p>"
        clips = [clip for _, _, clip in sorted(each.furthest, reverse=True)]
        if clips:
            rows = [(label_of(clip), *_sides(clip), f"{clip['difference']:.6g}") for clip in clips]
            heads = ("clip", *(("the first", "the other") if "a" in clips[0] else ()), "difference")
            yield from _table(f"Clips that differ most in {name}", heads, rows)


def _sides(clip: Named) -> tuple[str, ...]:
    return tuple(f"{clip[side]:.6g}" for side in ("a", "b") if side in clip)


def _table(
    about: str,
    heads: Sequence[str],
    rows: Iterable[Sequence[object]],
    words: bool = False,
) -> Iterator[str]:
    # Whoever has no mouse has to be able to scroll it.
    kind = ' class="words"' if words else ""
    yield f'<div class="wide" role="region" tabindex="0" aria-label="{_text(about)}"><table><thead>'
    yield "<tr>" + "".join(f'<th scope="col"{kind}>{_text(head)}</th>' for head in heads) + "</tr>"
    yield "</thead><tbody>"
    for row in rows:
        yield "<tr>" + "".join(f"<td{kind}>{_text(value)}</td>" for value in row) + "</tr>"
    yield "</tbody></table></div>"
