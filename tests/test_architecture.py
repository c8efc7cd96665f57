"""docs/architecture.md names every package that exists, and nothing else, in the layers that import-linter checks."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import sg_bench

PACKAGE = Path(sg_bench.__file__).parent
PROJECT = PACKAGE.parent
PAGE = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGES_SECTION = PAGE.partition("\n## Packages\n")[2].partition("\n## ")[0]


def rows(section: str) -> list[str]:
    """Return the first column of the table in a section of the page, without its heading."""
    lines = [line for line in section.splitlines() if line.startswith("| ")][2:]
    return [line.split("|")[1].strip().strip("`") for line in lines]


def test_every_package_has_a_row_and_every_row_is_a_package() -> None:
    modules = {path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("__")}
    packages = {path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.glob("*/**/__init__.py")}
    named = rows(PACKAGES_SECTION)
    assert len(named) == len(set(named))
    assert set(named) == modules | {name for name in packages if not name.startswith("templates")}


def test_every_stage_is_named() -> None:
    row = next(line for line in PACKAGES_SECTION.splitlines() if line.startswith("| `running/stages`"))
    stages = {path.stem for path in (PACKAGE / "running" / "stages").glob("*.py")} - {"__init__"}
    assert set(re.findall(r"`(\w+)`", row.split("|")[2])) == stages


def test_the_layers_are_those_of_the_import_contract() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    drawn = PACKAGES_SECTION.partition("```\n")[2].partition("```")[0].splitlines()
    assert drawn == next(contract["layers"] for contract in contracts if contract["type"] == "layers")


def test_every_path_on_the_page_exists() -> None:
    outside_results = [path for path in re.findall(r"`([\w./]+/[\w./]*)`", PAGE) if path != "./.sg-bench"]
    assert len(outside_results) > 20
    assert [path for path in outside_results if not ((PACKAGE / path).exists() or (PROJECT / path).exists())] == []
    links = re.findall(r"\]\(([\w./]+)\)", PAGE)
    assert [link for link in links if not (PROJECT / "docs" / link).exists()] == []


def test_every_class_on_the_page_exists() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    classes = set(re.findall(r"`([A-Z][a-z]\w+)`", PAGE))
    assert classes
    assert [name for name in classes if f"\nclass {name}" not in source] == []
