"""Keys that must stay: those of `demo-all` and of the methods of `full` at their full budgets, on the phantom.

`python -m tests.golden_keys` writes tests/golden/keys.json anew. Do so only where results themselves change, and raise
the `version` of what changed; a setting that is added later is marked `AddedLater` and changes no key.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sg_bench.config import Model
from sg_bench.planning import Plan, plan
from sg_bench.recipes import BaseRecipe
from sg_bench.suite import Suite, load_suite
from sg_bench.workspace import read_json, write_json

FILE = Path(__file__).parent / "golden" / "keys.json"
TASKS = ["ncc[data=phantom]", "lcs[data=phantom]", "dxc[data=phantom]"]
FULL_METHODS = ("scratch", "rubiks_cube", "models_genesis+semantics", "self_restoration", "semantic_genesis")


def plans() -> dict[str, Plan]:
    demo, full = (load_suite(name).model_dump(mode="json") for name in ("demo-all", "full"))
    unchanged: dict[str, Any] = {"pretraining": {}, "autoencoder": {}, "discovery": {}}
    corpora = {name: {**corpus, **unchanged} for name, corpus in demo["corpora"].items()}
    methods = [method for method in full["methods"] if method["name"] in FULL_METHODS and not method["label"]]
    suites = {"demo-all": demo, "full": {**full, "corpora": corpora, "methods": methods, "blocks": []}}
    one = {"tasks": TASKS, "fine_tuning_seeds": [0], "claims": []}
    return {name: plan(Suite.model_validate({**suite, **one})) for name, suite in suites.items()}


def own_content(recipe: BaseRecipe) -> dict[str, Any]:
    """Return a recipe's content with the key of each recipe that it holds in place of that recipe's content."""
    return {name: _shortened(getattr(recipe, name), value) for name, value in recipe.key_content().items()}


def _shortened(value: Any, content: Any) -> Any:
    if isinstance(value, BaseRecipe):
        return value.key
    if isinstance(value, Model) and isinstance(content, dict):
        return {name: _shortened(getattr(value, name), each) for name, each in content.items()}
    return content


def keys() -> dict[str, Any]:
    return {
        f"{suite}: {job.title}": {"key": job.key, "content": own_content(job.recipe)}
        for suite, found in plans().items()
        for job in found.jobs.values()
    }


def stored() -> dict[str, Any]:
    found: dict[str, Any] = read_json(FILE)
    return found


if __name__ == "__main__":
    write_json(FILE, keys())
