"""Links between files of the checkout, as links between pages of the site.

A page may link to any file or folder of the checkout, as it does where the repository is read. Such a file becomes a
page with its text, such a folder a list of its files, below `files/`.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "tasks/README.md": "targets.md",
    "results/published/README.md": "published.md",
}
"""Pages that are elsewhere in the checkout, and their paths in the site."""
LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")
FENCE = re.compile(r"^\s*(```|~~~)")
LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".json": "json", ".sbatch": "bash"}


def page_of(source: str) -> str:
    """Return the site's path of a file or folder of the checkout."""
    if source in PAGES:
        return PAGES[source]
    if source.startswith("docs/"):
        return source.removeprefix("docs/")
    return f"files/{source}" if source.endswith(".md") else f"files/{source}.md"


def rewritten(markdown: str, origin: str, page: str, root: Path) -> str:
    """Return a page's text with links that lead where those of its file in the checkout do."""
    here = PurePosixPath(page).parent

    def replace(link: re.Match[str]) -> str:
        target = page_of(_source(link[1], origin, root))
        return f"{os.path.relpath(target, here)}{link[2] or ''}"

    return "\n".join(LINK.sub(replace, line) if prose else line for line, prose in _lines(markdown))


def linked_files(root: Path, origins: Iterable[str]) -> dict[str, str]:
    """Return, as Markdown by path, the files and folders that pages link to and that are no pages themselves."""
    tracked = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True)  # noqa: S607
    names = tracked.stdout.splitlines()
    found: dict[str, str] = {}
    todo = sorted(origins)
    while todo:
        origin = todo.pop()
        text = found.get(origin) or (root / origin).read_text(encoding="utf-8")
        if not origin.endswith(".md") and origin not in found:
            continue
        for line, prose in _lines(text):
            for link in LINK.finditer(line) if prose else ():
                source = _source(link[1], origin, root)
                if source in found or source in PAGES or source.startswith(("docs/", "..")):
                    continue
                if (root / source).exists():
                    found[source] = _as_markdown(source, root, names)
                    todo.append(source)
    return found


def _source(target: str, origin: str, root: Path) -> str:
    """Return the path in the checkout that a link of the file `origin` names; of a folder with a README, that."""
    source = os.path.normpath(PurePosixPath(origin).parent / target)
    readme = f"{source}/README.md"
    return readme if (root / readme).is_file() else source


def _as_markdown(source: str, root: Path, tracked: list[str]) -> str:
    """Return a file's text, or a folder's list of files, as Markdown that the search leaves out."""
    path = root / source
    if source.endswith(".md"):
        return path.read_text(encoding="utf-8")
    head = f"---\nsearch:\n  exclude: true\n---\n\n# {source}\n\n"
    if path.is_dir():
        inside = [name for name in tracked if name.startswith(f"{source}/")]
        name = PurePosixPath(source).name
        # Links are relative to the folder's parent, as are those of a file next to the folder.
        return head + "\n".join(f"- [{each}]({name}{each.removeprefix(source)})" for each in inside)
    return f"{head}~~~~ {LANGUAGES.get(path.suffix, 'text')}\n{path.read_text(encoding='utf-8')}\n~~~~\n"


def _lines(markdown: str) -> Iterable[tuple[str, bool]]:
    """Yield each line, and whether it is outside of code blocks."""
    fence = ""
    for line in markdown.splitlines():
        found = FENCE.match(line)
        if found and not fence:
            fence = found[1]
        elif fence and line.strip().startswith(fence):
            fence = ""
            yield line, False
            continue
        yield line, not fence
