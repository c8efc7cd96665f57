"""What a suite file may say: methods x tasks x seeds, on which corpus, with which budgets.

Settings come from, each over the one before: a config's own defaults (the papers' values), the suite it extends,
the suite file, and `--set key=value`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from sg_bench import resources
from sg_bench.errors import UsageError, did_you_mean
from sg_bench.recipes import Fraction, Model, Positive, Preparation, merged
from sg_bench.tasks import DERIVED, is_path, read_yaml, validated

Check = Literal["losses_fall", "pseudo_labels_above_chance", "deterministic"]
MAX_SEED = 100_000
ENDINGS = (".yaml", ".yml")


class Corpus(Model):
    """Unlabelled images that methods pretrain on: a source of their own, or a task's training patients."""

    name: str = ""
    """What `--data NAME=PATH` calls it."""
    source: str = ""
    config: dict[str, Any] = {}
    preparation: Preparation = Preparation()
    task: str = ""
    """Instead of a source: the training patients of this task (never its validation or test patients)."""
    validation: Fraction = 0.2
    """Share of the corpus's patients kept for validation of the pretraining."""
    seed: int = 0

    @model_validator(mode="after")
    def _one_origin(self) -> Corpus:
        if bool(self.source) == bool(self.task):
            raise ValueError("a corpus has either a `source` or a `task`")
        if self.source and not self.name:
            raise ValueError("a corpus with a `source` needs a `name`, which --data uses")
        return self


class MethodChoice(Model):
    """One row of the table."""

    name: str
    label: str = ""
    """What tables print; the name by default."""
    config: dict[str, Any] = {}

    @property
    def title(self) -> str:
        """Return the label, else the name."""
        return self.label or self.name


def parse_seeds(value: Any) -> Any:
    """Return the list of seeds that "0-4", "0,2,7" or "3" says; anything but text is handed on."""
    if isinstance(value, int) and not isinstance(value, bool):
        return [value]
    if not isinstance(value, str):
        return value
    seeds: list[int] = []
    for part in value.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last <= MAX_SEED:
            raise ValueError(f"seeds are written as 0-4 or 0,2,7 (at most {MAX_SEED}), not {value!r}")
        seeds.extend(range(first, last + 1))
    return seeds


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _once(seeds: list[int]) -> list[int]:
    return list(dict.fromkeys(seeds))


Seeds = Annotated[
    list[Annotated[int, Field(ge=0, le=MAX_SEED)]],
    BeforeValidator(parse_seeds),
    Field(min_length=1),
    AfterValidator(_once),
]


class Suite(Model):
    """A comparison: what is run, and under which budgets."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    title: str = ""
    notes: list[str] = []
    """Cautions printed under every table."""
    backend: Literal["local", "ray"] = "local"
    width: Positive = 32
    """Channels of the first convolution of every network; 32 is the papers'."""
    corpora: dict[Literal["3d"], Corpus]
    methods: list[Annotated[MethodChoice, BeforeValidator(_named)]] = Field(min_length=1)
    tasks: list[str] = Field(min_length=1)
    pretraining_seeds: Seeds = [0]
    fine_tuning_seeds: Seeds = [0]
    pretraining: dict[str, Any] = {}
    """Settings laid over the config of every method that has them."""
    autoencoder: dict[str, Any] = {}
    """Settings of the auto-encoder that self-discovery trains, after `pretraining`."""
    discovery: dict[str, Any] = {}
    """Settings of self-discovery (discovery/settings.py)."""
    fine_tuning: dict[str, Any] = {}
    """Settings laid over the `training` of every task card."""
    checks: list[Check] = []
    """What must hold when all cells are done; printed after the table."""
    folder: str = Field(default="", exclude=True)
    """Where the file stands, so that cards beside it are found; never part of a key."""

    @model_validator(mode="after")
    def _distinct(self) -> Suite:
        titles = [method.title for method in self.methods]
        for what, names, advice in (
            ("method", titles, "give one another `label`"),
            ("task", self.tasks, "remove one, or choose a variant such as name[steps=80]"),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what} '{', '.join(twice)}' is listed twice; {advice}")
        return self


def load_suite(reference: str, *, settings: list[str] | None = None) -> Suite:
    """Return the suite that `reference`, a built-in name or a file, names.

    Args:
        reference: "demo", or a path ending in .yaml.
        settings: "key=value" texts as --set takes them; keys are dotted paths, values YAML.

    Raises:
        UsageError: no such suite, or it says something that it may not.
    """
    path = _suite_path(reference)
    content = _extended(path, ())
    for setting in settings or []:
        content = merged(content, parse_setting(setting))
    content.setdefault("name", path.stem)
    where = f"{path} with --set {' '.join(settings)}" if settings else str(path)
    return validated(Suite, {**content, "folder": str(path.parent)}, where)


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


def _suite_path(reference: str) -> Path:
    if reference.endswith(ENDINGS):
        return Path(reference)
    suites = resources.suites()
    if reference not in suites:
        hint = f"{did_you_mean(reference, suites)}. A file's name ends in .yaml"
        raise UsageError(f"unknown suite '{reference}'", hint=hint)
    return suites[reference]


def _extended(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """Return a suite file's settings laid over those of the suite that it extends."""
    if path.resolve() in seen:
        raise UsageError(f"{path}: extends itself", hint="Remove one `extends`")
    content = read_yaml(path)
    base = content.pop("extends", None)
    if base is None:
        return content
    if not isinstance(base, str):
        raise UsageError(f"{path}: 'extends' = {base!r} is not one suite's name or file", hint="Write `extends: demo`")
    try:
        parent = path.parent / base if base.endswith(ENDINGS) else _suite_path(base)
    except UsageError as error:
        raise UsageError(f"{path}: extends {error.problem}", hint=error.hint) from error
    return merged(_at_home(_extended(parent, (*seen, path.resolve())), parent.parent), content)


def _at_home(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return a suite's settings with its cards' paths complete, so that they hold in a suite elsewhere."""
    tasks = content.get("tasks")
    if not isinstance(tasks, list):
        return content
    paths = [isinstance(task, str) and is_path(task.partition("[")[0]) for task in tasks]
    complete = [str(folder.resolve() / task) if path else task for task, path in zip(tasks, paths, strict=True)]
    return {**content, "tasks": complete}
