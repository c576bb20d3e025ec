"""A hook for mkdocs: pages that lie outside of docs/ belong to the site, too.

On GitHub and in an editor, links between README, CONTRIBUTING and docs/ are relative paths in the
repository. In the site these pages have other places, so their links are written anew. And in code
in a table, GitHub wants ``\\|`` where the site's Markdown wants ``|``.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
#: Where a page lies in the repository, and in the site.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "templates/README.md": "google-cloud.md",
}
#: Files that pages offer, at the same place in both.
FILES = ("templates/finecut-watch.service", "templates/watch.yaml")
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"(\]\()([^)#:\s]+)((?:#[^)\s]*)?\))")


def on_files(files: Any, config: Any) -> Any:
    for path, page in (PAGES | {path: path for path in FILES}).items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    here = page.file.src_uri
    home = {site: path for path, site in PAGES.items()}.get(here, f"docs/{here}")

    def rewritten(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(home), link[2]))
        target = PAGES.get(path, path.removeprefix("docs/"))
        return link[1] + posixpath.relpath(target, posixpath.dirname(here) or ".") + link[3]

    unescaped = CODE.sub(lambda code: code[0].replace("\\|", "|"), markdown)
    return LINK.sub(rewritten, unescaped)
