"""Settings of a suite: methods x tasks x seeds, corpora, budgets, and claims."""

from __future__ import annotations

import operator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from sg_bench.config import Fraction, Model, Positive, Precision, Preparation, Split, merged
from sg_bench.config.training import explicit_precision
from sg_bench.errors import did_you_mean
from sg_bench.suite.claims import Claim
from sg_bench.suite.seeds import Seeds

CheckName = Literal[
    "losses_fall", "pretraining_improves", "pseudo_labels_above_chance", "deterministic", "tasks_learnt"
]
CorpusKey = Literal["3d", "2d"]


class Corpus(Model):
    """Unlabelled images that methods pretrain on: a source of their own, or a task's training patients."""

    name: str = ""
    """Its name in `--data NAME=PATH`."""
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
    """Settings of pretraining on this corpus; they override the suite's."""
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
            raise ValueError("a corpus has one split for all seeds: folds and `outside` are for tasks")
        return self


def _network(given: Any) -> Any:
    """Return a network's name and settings as {name, config}, from a name or from {name, setting, ...}."""
    if isinstance(given, str):
        return {"name": given}
    if not isinstance(given, dict) or "name" not in given or not isinstance(given.get("config", {}), dict):
        return given
    config = {key: value for key, value in given.items() if key not in ("name", "config")}
    return {"name": given["name"], "config": merged(config, given.get("config", {}))}


def _networks(given: Any) -> Any:
    """Return networks by dimension, {3d: ..., 2d: ...}, from one for both or from such a mapping."""
    if given is None:
        return {}
    if isinstance(given, dict) and given.keys() <= {"3d", "2d"}:
        return {name: _network(each) for name, each in given.items()}
    return dict.fromkeys(("3d", "2d"), _network(given))


class NetworkSetting(Model):
    """A network by its registered name, and its settings."""

    name: str
    config: dict[str, Any] = {}


Networks = Annotated[dict[CorpusKey, NetworkSetting], BeforeValidator(_networks)]
"""Networks by dimension; written as a name, as {name: ..., SETTING: ...}, or as {3d: ..., 2d: ...} of these."""


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class MethodChoice(Model):
    """One row of the table."""

    name: str
    label: str = ""
    """What tables print; the name by default."""
    config: dict[str, Any] = {}
    network: Networks = Field(default={}, exclude_if=operator.not_)
    """Instead of the suite's."""
    discovery: dict[str, Any] = {}
    """Settings of self-discovery for this method alone; they override the suite's and the corpus's."""

    @property
    def title(self) -> str:
        """Return the label, else the name."""
        return self.label or self.name


class Block(Model):
    """One comparison of a suite that unites several."""

    methods: list[str]
    """Labels."""
    tasks: list[str]
    """As the suite writes them."""
    fine_tuning_seeds: Seeds | None = Field(default=None, exclude_if=lambda seeds: seeds is None)
    """Those of the suite's that these pairs are run with; None: all."""


class Suite(Model):
    """A comparison: what is run, and under which budgets."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    title: str = ""
    notes: list[str] = []
    """Cautions printed under every table."""
    backend: Literal["local", "ray"] = "local"
    width: Positive = 32
    """Channels of the first convolution of the 3D U-Net, half of those of the 2D ResNet: 32 gives the papers' two."""
    network: Networks = Field(default={}, exclude_if=operator.not_)
    """Network of all methods, for pretraining and targets, in place of the papers' two; discovery keeps those."""
    precision: Precision | None = None
    """Precision of all trainings, unless `pretraining`, `autoencoder`, `fine_tuning` or a method sets another; None:
    that of each method and task card, which is float32."""
    corpora: dict[CorpusKey, Corpus]
    """What feeds 3D networks, and what feeds 2D ones."""
    methods: list[Annotated[MethodChoice, BeforeValidator(_named)]] = Field(min_length=1)
    tasks: list[str] = Field(min_length=1)
    blocks: list[Block] = []
    """Of a union of suites: a method and a task that are in blocks are paired only if one block has both."""
    pretraining_seeds: Seeds = [0]
    fine_tuning_seeds: Seeds = [0]
    pretraining: dict[str, Any] = {}
    """Settings that override the config of every method that has them."""
    autoencoder: dict[str, Any] = {}
    """Settings of the auto-encoder that self-discovery trains, after `pretraining`."""
    discovery: dict[str, Any] = {}
    """Settings of self-discovery (discovery/settings.py)."""
    fine_tuning: dict[str, Any] = {}
    """Settings that override the `training` of every task card."""
    splits: dict[str, dict[str, Any]] = {}
    """By the name of a task: settings that replace its card's `split`, as {bms: {lists: {test: fold3.csv}, ...}}."""
    checks: list[CheckName] = []
    """What must hold when all cells are done; printed after the table."""
    claims: list[Claim] = []
    """What the suite argues; the report prints each one's verdict."""
    folder: str = Field(default="", exclude=True)
    """Folder of the file, to which paths of cards are relative; never part of a key."""

    def pairs(self, method: str, task: str) -> bool:
        """Return whether a method, by its label, is fine-tuned on a task, as the suite writes it."""
        having = [(method in block.methods, task in block.tasks) for block in self.blocks]
        apart = any(first for first, _ in having) and any(second for _, second in having)
        return not apart or any(first and second for first, second in having)

    def fine_tuning_seeds_of(self, method: str, task: str) -> list[int]:
        """Return the seeds that a method, by its label, is fine-tuned with on a task, as the suite writes it."""
        blocks = [block for block in self.blocks if method in block.methods and task in block.tasks]
        if not blocks or any(block.fine_tuning_seeds is None for block in blocks):
            return self.fine_tuning_seeds
        return [seed for seed in self.fine_tuning_seeds if any(seed in (b.fine_tuning_seeds or ()) for b in blocks)]

    @field_validator("precision", mode="before")
    @classmethod
    def _explicit(cls, given: Any) -> Any:
        return explicit_precision(given)

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


def _check_seeds(claim: Claim, kind: str, fixed: list[int], run: list[int]) -> None:
    absent = sorted(set(fixed) - set(run))
    if absent:
        problem = f"claim '{claim.name}': {kind}_seeds {', '.join(map(str, absent))} are not among the suite's"
        raise ValueError(f"{problem}; add them to the suite, or remove the claim (claims: [])")
