"""MkDocs' hooks: pages from elsewhere in the checkout, the reference from the code, and links between all of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from docs.tools.commands import commands_page
from docs.tools.links import PAGES, linked_files, page_of, rewritten
from docs.tools.python import python_page
from docs.tools.settings import methods_page, networks_page, settings_page, sources_page

GENERATED = {
    "reference/commands.md": commands_page,
    "reference/methods.md": methods_page,
    "reference/networks.md": networks_page,
    "reference/python.md": python_page,
    "reference/settings.md": settings_page,
    "reference/sources.md": sources_page,
}
UNWRITTEN = ("findings.md",)
"""Pages that the navigation has as soon as they exist."""
_origins: dict[str, str] = {}
"""Path in the checkout of each page that has one, by its path in the site."""


def on_config(config: Any) -> Any:
    """Leave pages that are not written yet out of the navigation."""
    absent = {page for page in UNWRITTEN if not (ROOT / "docs" / page).is_file()}
    for section in config.nav:
        for name, pages in section.items() if isinstance(section, dict) else ():
            section[name] = [page for page in pages if not absent.intersection(page.values())]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are not in docs/: those of `PAGES`, what they link to, and the reference."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
        _origins[page] = source
    for page, write in GENERATED.items():
        files.append(File.generated(config, page, content=write()))
    for file in list(files.documentation_pages()):
        _origins.setdefault(file.src_uri, f"docs/{file.src_uri}")
    for source, text in linked_files(ROOT, {path for path in _origins.values() if (ROOT / path).is_file()}).items():
        page = page_of(source)
        files.append(File.generated(config, page, content=text))
        _origins[page] = source
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return a page whose links lead to pages of the site."""
    origin = _origins.get(page.file.src_uri)
    return rewritten(markdown, origin, page.file.src_uri, ROOT) if origin else markdown
