"""What the pages are in the repository, and mkdocs cannot know: links that lead out of ``docs/``, and included files.

A page links to files of the repository as a reader on the repository's own site needs it. Here, a picture or a page of
HTML out there is published beside the pages; a file that a page includes is that page; any other is named, or linked to
where ``[project.urls]`` says where the repository lies, as on a package page (``build_backend.page``). Besides

    <!-- include: ../FILE.md -->

is that file without its title, and the line before it, which links to the file, is for the repository alone.
"""

import os
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
try:
    from build_backend import LINK
    from build_backend import page as as_package_page
finally:
    sys.path.remove(str(ROOT))

_INCLUDE = re.compile(r"[^\n]+\n\n<!-- include: (\S+) -->")
_PUBLISHED = (".png", ".svg", ".html")


def included(docs: Path) -> dict[str, str]:
    """File of the repository → the page that includes it."""
    pages = {page: _INCLUDE.search(page.read_text("utf-8")) for page in sorted(docs.glob("*.md"))}
    return {os.path.normpath(f"docs/{found[1]}"): page.name for page, found in pages.items() if found}


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """The page as it is built."""
    docs = Path(config.docs_dir)
    homes = included(docs)

    def include(found: "re.Match[str]") -> str:
        path = os.path.normpath(f"docs/{found[1]}")
        text = (ROOT / path).read_text("utf-8").partition("\n")[2].strip()  # the page has a title of its own
        return from_docs(text, os.path.dirname(path))

    def from_docs(text: str, folder: str) -> str:
        """Links that are relative to a folder, as links of this page."""

        def link(found: "re.Match[str]") -> str:
            picture, label, target = found.groups()
            file, mark, anchor = target.partition("#")
            path = os.path.normpath(os.path.join(folder, file))
            if path in homes:
                path = f"docs/{homes[path]}"
            if path.endswith(_PUBLISHED) and not path.startswith("docs/") and not files.get_file_from_path(path):
                files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
            if path.startswith("docs/") or path.endswith(_PUBLISHED):
                return f"{picture}[{label}]({path.removeprefix('docs/')}{mark}{anchor})"
            return as_package_page(f"{picture}[{label}]({path}{mark}{anchor})", _repository()).split("\n")[0]

        return LINK.sub(link, text)

    return _INCLUDE.sub(include, from_docs(markdown, "docs"))


def _repository() -> str | None:
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]
    return urls.get("Repository")
