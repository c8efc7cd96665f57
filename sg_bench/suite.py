"""What a suite file may say: methods x tasks x seeds, on which corpus, with which budgets, and what it argues.

Settings come from, each over the one before: a config's own defaults (the papers' values), the suite it extends,
the suite file, the budget it chooses, and `--set key=value`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from sg_bench import resources
from sg_bench.errors import UsageError, did_you_mean
from sg_bench.recipes import Fraction, Model, Positive, Preparation, Split, key_of, merged
from sg_bench.tasks import DERIVED, Task, is_path, parse_reference, read_task, read_yaml, validated

Check = Literal["losses_fall", "pseudo_labels_above_chance", "deterministic"]
Dimension = Literal["3d", "2d"]
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
    split: Split | None = None
    """Instead of `validation` and `seed`: which cases train and validate the pretraining; test cases are left out."""
    pretraining: dict[str, Any] = {}
    """Settings of pretraining on this corpus, laid over the suite's."""
    autoencoder: dict[str, Any] = {}
    """Likewise, of the auto-encoder of self-discovery."""
    discovery: dict[str, Any] = {}
    """Likewise, of self-discovery."""

    @model_validator(mode="after")
    def _one_origin(self) -> Corpus:
        if bool(self.source) == bool(self.task):
            raise ValueError("a corpus has either a `source` or a `task`")
        if self.source and not self.name:
            raise ValueError("a corpus with a `source` needs a `name`, which --data uses")
        if self.split and (self.split.folds or self.split.outside):
            raise ValueError("a corpus is split once and for all: folds and `outside` are for tasks")
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


class Claim(Model):
    """What a suite argues: on a task, one method scores higher than another, or than a number.

    All of it is fixed before the runs are looked at; statistics/claims.py says what becomes of it.
    """

    name: Annotated[str, Field(min_length=1)]
    better: str
    """Label of the method that is claimed to score higher."""
    than: str | float
    """Label of another method, or a score as a fraction."""
    task: str
    """As the suite writes it, or its label; `load_suite` makes it the label."""
    metric: str = ""
    """The task's headline by default."""
    test: Literal["welch", "students_t", "mann_whitney", "paired_t", "sign_flip"] = "welch"
    """The last two pair runs of equal seeds. Against a number both t-tests of two samples become that of one."""
    alternative: Literal["two-sided", "greater"] = "two-sided"
    """two-sided: a difference that goes the other way would be found too; greater: only the claimed one counts."""
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Level of the whole family."""
    family: str = "claims"
    """Claims of one family share their alpha by Holm's correction; unless told otherwise, all claims are one."""
    least_difference: Annotated[float, Field(gt=0, lt=1)] | None = None
    """The smallest difference of scores worth a claim: where no difference is found, the power that it would have
    been decides whether the claim is not supported or cannot be decided."""
    pretraining_seeds: Seeds
    """Seeds fixed beforehand: only their runs count, and all of them must be there."""
    fine_tuning_seeds: Seeds

    @model_validator(mode="after")
    def _sensible(self) -> Claim:
        if self.than == self.better:
            raise ValueError(f"'{self.better}' cannot be better than itself")
        if isinstance(self.than, float) and not 0 < self.than < 1:
            raise ValueError(f"a score is a fraction between 0 and 1: write 0.80, not {self.than:g}")
        if isinstance(self.than, float) and self.test == "mann_whitney":
            raise ValueError("mann_whitney compares two methods; against a number, choose paired_t or sign_flip")
        return self


class Suite(Model):
    """A comparison: what is run, and under which budgets."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    title: str = ""
    notes: list[str] = []
    """Cautions printed under every table."""
    backend: Literal["local", "ray"] = "local"
    width: Positive = 32
    """Channels of the first convolution of the 3D U-Net, half of those of the 2D ResNet: 32 gives the papers' two."""
    corpora: dict[Dimension, Corpus]
    """What feeds 3D networks, and what feeds 2D ones."""
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
    splits: dict[str, dict[str, Any]] = {}
    """By the name of a task: settings that replace its card's `split`, as {bms: {lists: {test: fold3.csv}, ...}}."""
    checks: list[Check] = []
    """What must hold when all cells are done; printed after the table."""
    claims: list[Claim] = []
    """What the suite argues; the report prints each one's verdict."""
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

    @model_validator(mode="after")
    def _arguable(self) -> Suite:
        titles, levels = [method.title for method in self.methods], dict[str, float]()
        names = [claim.name for claim in self.claims]
        for claim in self.claims:
            if names.count(claim.name) > 1:
                raise ValueError(f"two claims are called '{claim.name}'; give one another `name`")
            for method in (claim.better, claim.than):
                if isinstance(method, str) and method not in titles:
                    hint = did_you_mean(method, titles)
                    raise ValueError(f"claim '{claim.name}': the suite has no method '{method}'. {hint}")
            _check_seeds(claim, "pretraining", claim.pretraining_seeds, self.pretraining_seeds)
            _check_seeds(claim, "fine_tuning", claim.fine_tuning_seeds, self.fine_tuning_seeds)
            if levels.setdefault(claim.family, claim.alpha) != claim.alpha:
                raise ValueError(f"the claims of family '{claim.family}' must have one alpha, not several")
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
    told: dict[str, Any] = {}
    for setting in settings or []:
        told = merged(told, parse_setting(setting))
    content = merged(_within_budget({**content, **{k: told.pop(k) for k in ("budget",) if k in told}}, path), told)
    content.setdefault("name", path.stem)
    where = f"{path} with --set {' '.join(settings)}" if settings else str(path)
    return _with_task_labels(validated(Suite, {**content, "folder": str(path.parent)}, where), where)


def _within_budget(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return a suite's settings with those of the budget that it chooses laid over them.

    `budgets` names sets of settings, such as {tiny: {width: 2}}, and `budget` chooses one; neither is a result's part.
    """
    budgets, chosen = content.pop("budgets", {}), content.pop("budget", None)
    if chosen is None:
        return content
    known = budgets if isinstance(budgets, dict) else {}
    if chosen not in known or not isinstance(known[chosen], dict):
        raise UsageError(f"{path}: the suite has no budget '{chosen}'", hint=did_you_mean(str(chosen), known))
    return merged(content, known[chosen])


def suite_tasks(suite: Suite) -> list[Task]:
    """Return the suite's tasks, with what it says of fine-tuning and of splits.

    Raises:
        UsageError: a task does not exist, or may not be told that.
    """
    folder = Path(suite.folder) if suite.folder else None
    tasks = [_tuned(reference, folder, suite.fine_tuning) for reference in suite.tasks]
    for name in suite.splits:
        if name not in {task.name for task in tasks}:
            hint = did_you_mean(name, {task.name for task in tasks})
            raise UsageError(f"splits: the suite has no task '{name}'", hint=hint)
    return [_split(task, suite.splits.get(task.name)) for task in tasks]


def corpus_task(suite: Suite, corpus: Corpus) -> Task:
    """Return the task whose training patients a corpus is: the suite's of that label or name, else the built-in card.

    Raises:
        UsageError: there is no such task.
    """
    tasks = suite_tasks(suite)
    by_name = {task.name: task for task in reversed(tasks)}
    known = by_name | {task.label: task for task in tasks}
    if corpus.task in known:
        return known[corpus.task]
    card = parse_reference(corpus.task)[0]
    if is_path(card) or card in resources.task_cards():
        return read_task(corpus.task, Path(suite.folder) if suite.folder else None)
    hint = did_you_mean(corpus.task, {*known, *resources.task_cards()})
    raise UsageError(f"corpus of task '{corpus.task}': the suite has no such task", hint=hint)


def data_sources(suite: Suite) -> dict[str, str]:
    """Return the source of every data set that a suite may read, by the data's name."""
    tasks = suite_tasks(suite)
    tasks += [corpus_task(suite, corpus) for corpus in suite.corpora.values() if corpus.task]
    sources = {corpus.name: corpus.source for corpus in suite.corpora.values() if corpus.source}
    splits = [task.split for task in tasks] + [corpus.split for corpus in suite.corpora.values() if corpus.split]
    sources |= {split.outside.data: split.outside.source for split in splits if split.outside}
    return sources | {task.data.name: task.data.source for task in tasks}


def _split(task: Task, told: dict[str, Any] | None) -> Task:
    if told is None:
        return task
    return task.model_copy(update={"split": validated(Split, told, f"splits of the suite, task '{task.label}'")})


def _tuned(reference: str, folder: Path | None, fine_tuning: Mapping[str, Any]) -> Task:
    """Return a task with the suite's settings laid over its card's training, and its own `steps` over those."""
    task = read_task(reference, folder)
    chosen = {key: value for key, value in parse_reference(reference)[1].items() if key == "steps"}
    training = merged(task.training.model_dump(), dict(fine_tuning), chosen)
    return validated(Task, task.model_dump() | {"training": training}, f"fine_tuning of the suite, task '{task.label}'")


def suite_digest(suite: Suite) -> str:
    """Return the SHA-256 (64 hex digits) of all that a suite says, its claims included, wherever its files lie.

    A card of the suite's own counts by its content, a built-in task by its name.
    """
    folder = Path(suite.folder)
    cards = [read_task(task, folder) if is_path(parse_reference(task)[0]) else task for task in suite.tasks]
    return key_of({**suite.model_dump(mode="json"), "tasks": cards})


def claims_digest(suite: Suite) -> str:
    """Return the SHA-256 (64 hex digits) of a suite's claims alone."""
    return key_of(suite.claims)


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


def _check_seeds(claim: Claim, kind: str, fixed: list[int], run: list[int]) -> None:
    absent = sorted(set(fixed) - set(run))
    if absent:
        told = f"claim '{claim.name}': {kind}_seeds {', '.join(map(str, absent))} are not among the suite's"
        raise ValueError(f"{told}; add them to the suite, or remove the claim (claims: [])")


def _with_task_labels(suite: Suite, where: str) -> Suite:
    """Return `suite` with each claim's task by its label, however the claim calls it.

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
