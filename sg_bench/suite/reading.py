"""From a suite's name or file to a `Suite`.

Settings come from, each over the one before: a config's own defaults (the papers' values), the suite it extends,
the suite file, the budget it chooses, and `--set key=value`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from sg_bench import resources
from sg_bench.config import merged
from sg_bench.errors import UsageError, did_you_mean
from sg_bench.suite.settings import Suite
from sg_bench.tasks import DERIVED, is_path, read_task, read_yaml, validated

ENDINGS = (".yaml", ".yml")
OWN = frozenset({"name", "title", "notes", "methods", "tasks", "claims", "checks"})
"""Fields in which the suites of a union may differ."""


def load_suite(reference: Path | str, *, settings: list[str] | None = None) -> Suite:
    """Return the suite of a reference: a built-in name or a file.

    Args:
        reference: "demo", or a path ending in .yaml.
        settings: "key=value" texts as --set takes them; keys are dotted paths, values YAML.

    Raises:
        UsageError: no such suite, or a setting is unknown or invalid.
    """
    path = _suite_path(str(reference))
    content = _extended(path, ())
    given: dict[str, Any] = {}
    for setting in settings or []:
        given = merged(given, parse_setting(setting))
    content = merged(_within_budget({**content, **{k: given.pop(k) for k in ("budget",) if k in given}}, path), given)
    content.setdefault("name", path.stem)
    where = f"{path} with --set {' '.join(settings)}" if settings else str(path)
    return _with_task_labels(validated(Suite, {**content, "folder": str(path.parent)}, where), where)


def parse_setting(setting: str) -> dict[str, Any]:
    """Return "a.b=3" as {"a": {"b": 3}}."""
    key, equals, value = setting.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise UsageError(f"--set {setting!r} is not key=value", hint="Write it as --set fine_tuning.steps=40")
    if parts[0] in DERIVED:
        raise UsageError(f"--set {setting!r}: unknown setting '{parts[0]}'", hint="Leave it out")
    try:
        nested: Any = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UsageError(
            f"--set {key}: {value!r} is not a YAML value", hint="Quote it, as in --set title='\"a: b\"'"
        ) from error
    for part in reversed(parts):
        nested = {part: nested}
    out: dict[str, Any] = nested
    return out


def _with_task_labels(suite: Suite, where: str) -> Suite:
    """Return `suite` with the task of each claim named by its label.

    Raises:
        UsageError: a claim names a task that the suite lacks.
    """
    if not suite.claims:
        return suite
    labels: dict[str, str] = {}
    for reference in suite.tasks:
        task = read_task(reference, Path(suite.folder))
        labels |= {reference: task.label, task.label: task.label}
    for claim in suite.claims:
        if claim.task not in labels:
            hint = did_you_mean(claim.task, set(labels.values()))
            raise UsageError(f"{where}: claim '{claim.name}': the suite has no task '{claim.task}'", hint=hint)
    return suite.model_copy(update={"claims": [c.model_copy(update={"task": labels[c.task]}) for c in suite.claims]})


def _suite_path(reference: str) -> Path:
    if reference.endswith(ENDINGS):
        return Path(reference)
    suites = resources.suites()
    if reference not in suites:
        hint = f"{did_you_mean(reference, suites)}. A file's name ends in .yaml"
        raise UsageError(f"unknown suite '{reference}'", hint=hint)
    return suites[reference]


def _extended(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """Return a suite file's settings, completed by those of the suite that it extends or of the suites that it unites.

    `methods_of` names a suite to take the methods from instead.
    """
    if path.resolve() in seen:
        raise UsageError(f"{path}: extends itself", hint="Remove one `extends` or `union`")
    content = read_yaml(path)
    base, parts = content.pop("extends", None), content.pop("union", None)
    rows = content.pop("methods_of", None)
    if rows is not None:
        content["methods"] = _base(path, rows, "methods_of", seen).get("methods", [])
    if base is not None and parts is not None:
        raise UsageError(f"{path}: a suite either extends one or unites several", hint="Remove `extends` or `union`")
    if base is not None:
        return merged(_base(path, base, "extends", seen), content)
    if parts is None:
        return content
    if not isinstance(parts, list) or not parts:
        raise UsageError(f"{path}: 'union' = {parts!r} lists no suites", hint="Write `union: [addons, ablation]`")
    return merged(_united(path, {str(part): _base(path, part, "union", seen) for part in parts}), content)


def _base(path: Path, base: Any, how: str, seen: tuple[Path, ...]) -> dict[str, Any]:
    """Return the settings of another suite to which the file `path` refers, without its name."""
    if not isinstance(base, str):
        raise UsageError(f"{path}: '{how}' = {base!r} is not one suite's name or file", hint=f"Write `{how}: demo`")
    try:
        parent = path.parent / base if base.endswith(ENDINGS) else _suite_path(base)
    except UsageError as error:
        raise UsageError(f"{path}: {how} {error.problem}", hint=error.hint) from error
    content = _at_home(_extended(parent, (*seen, path.resolve())), parent.parent)
    return {key: value for key, value in content.items() if key != "name"}


def _united(path: Path, parts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the union of several suites; it has only pairs of method and task that one of them has.

    Raises:
        UsageError: they differ in other fields than OWN, or have two methods of one name.
    """
    methods: dict[str, Any] = {}
    tasks: dict[str, None] = {}
    blocks, common = [], dict[str, Any]()
    for name, content in parts.items():
        rest = {key: value for key, value in content.items() if key not in OWN}
        differing = sorted(key for key in {*rest, *common} if common and rest.get(key) != common.get(key))
        if differing:
            raise UsageError(
                f"{path}: union: '{name}' has another `{differing[0]}` than '{next(iter(parts))}'",
                hint="Let all of them extend one suite",
            )
        common = common or rest
        titled = {_title(method): method for method in content.get("methods", [])}
        clash = next((title for title in titled if methods.get(title, titled[title]) != titled[title]), None)
        if clash:
            raise UsageError(f"{path}: union: two methods are called '{clash}'", hint="Give one another `label`")
        methods |= titled
        tasks |= dict.fromkeys(content.get("tasks", []))
        blocks.append({"methods": list(titled), "tasks": list(content.get("tasks", []))})
    return {**common, "methods": list(methods.values()), "tasks": list(tasks), "blocks": blocks}


def _title(method: Any) -> str:
    return str(method.get("label") or method.get("name")) if isinstance(method, dict) else str(method)


def _at_home(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return a suite's settings with absolute paths of its cards, so that a suite in another folder can use them."""
    tasks = content.get("tasks")
    if not isinstance(tasks, list):
        return content
    paths = [isinstance(task, str) and is_path(task.partition("[")[0]) for task in tasks]
    complete = [str(folder.resolve() / task) if path else task for task, path in zip(tasks, paths, strict=True)]
    return {**content, "tasks": complete}


def _within_budget(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return a suite's settings overridden by those of the budget that it chooses.

    `budgets` names sets of settings, such as {tiny: {width: 2}}, and `budget` chooses one; neither is a result's part.
    """
    budgets, chosen = content.pop("budgets", {}), content.pop("budget", None)
    if chosen is None:
        return content
    known = budgets if isinstance(budgets, dict) else {}
    if chosen not in known or not isinstance(known[chosen], dict):
        raise UsageError(f"{path}: the suite has no budget '{chosen}'", hint=did_you_mean(str(chosen), known))
    return merged(content, known[chosen])
