"""Names and docstrings of the package: one name has one meaning, and each public object is described in a sentence."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import sg_bench

ROOT = Path(sg_bench.__file__).parent
MODULES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(ROOT.rglob("*.py"))
    if "templates" not in path.parts
}
ALIAS = re.compile(r"[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*")
"""A module-level name assigned in CamelCase is a type alias."""
DIALECT = {"told", "tell", "tells", "said", "beside", "room", "rooms", "spoil", "spoiled", "knock", "dealt", "guest"}
"""Words of early versions, which had other meanings here than in the field."""
EARLY_RECORDS = {
    path: {"beside"} for path in ("evaluation/scoring.py", "ledger/schema.py", "recipes.py", "reporting/frame.py")
}
"""Modules that read records in which secondary metrics are called `beside`."""

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def type_names(module: ast.Module) -> Iterator[str]:
    for node in module.body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (each.id for each in targets if isinstance(each, ast.Name) and ALIAS.fullmatch(each.id))


def public_objects(node: Documented, name: str) -> Iterator[tuple[str, Documented]]:
    yield name, node
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        for child in node.body:
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and child.name[0] != "_":
                yield from public_objects(child, f"{name}:{child.name}")


def described(node: Documented) -> bool:
    """Whether the first line of a docstring is a sentence; an override or a setter of a property may have none."""
    decorators = [] if isinstance(node, ast.Module) else [ast.unparse(each) for each in node.decorator_list]
    if any(each in ("override", "overload") or each.endswith(".setter") for each in decorators):
        return True
    first = (ast.get_docstring(node) or "").partition("\n")[0]
    return first[-1:] in (".", ":")


def words_of(path: Path) -> set[str]:
    """Return the words of a file in lower case; names are split at underscores and capitals."""
    text = re.sub(r"([a-z])([A-Z])", r"\1 \2", path.read_text(encoding="utf-8"))
    return set(re.split(r"[^a-z]+", text.lower()))


def test_no_class_or_alias_has_the_name_of_another() -> None:
    defined = defaultdict(list)
    for path, module in MODULES.items():
        for name in type_names(module):
            if not name.startswith("_"):
                defined[name].append(path)
    assert {name: paths for name, paths in defined.items() if len(paths) > 1} == {}


def test_every_public_object_is_described_in_a_sentence() -> None:
    objects = [each for path, module in MODULES.items() for each in public_objects(module, path)]
    assert len(objects) > 1000
    assert [name for name, node in objects if not described(node)] == []


def test_no_text_or_name_uses_the_dialect_of_early_versions() -> None:
    found = {
        path: words for path in MODULES if (words := DIALECT & words_of(ROOT / path)) != EARLY_RECORDS.get(path, set())
    }
    assert found == {}
