"""The controls of self-discovery as jobs carry them out: neighbours at random, pseudo-labels at random."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sg_bench.methods.base import Method
from sg_bench.planning import Plan, TypedJob, plan
from sg_bench.recipes import PretrainingRecipe
from sg_bench.registry import METHODS
from sg_bench.running.stages.dispatch import execute
from sg_bench.running.stages.pretrain import pretraining_cubes
from sg_bench.suite import Suite
from sg_bench.workspace import Workspace, read_json

SUITE: dict[str, Any] = {
    "name": "mine",
    "width": 1,
    "corpora": {"3d": {"name": "phantom", "source": "phantom", "config": {"patients": 8, "shape": [48, 48, 32]}}},
    "methods": [
        "rotation+semantics",
        {"name": "rotation+semantics", "label": "control", "config": {"semantics": {"labels": "random"}}},
    ],
    "tasks": ["ncs[data=phantom]"],
    "pretraining_seeds": "0-1",
    "pretraining": {"training": {"epochs": 30}},
    "autoencoder": {"shape": [16, 16, 8], "training": {"batch_size": 4, "epochs": 1}},
}
DISCOVERY = {
    "classes": 2,
    "neighbours": 3,
    "validation_neighbours": 1,
    "crops": {"cube": [16, 16, 8], "border": [2, 2, 2], "air": None},
    "sides": [14, 16],
    "jitter": [-1, 1],
}


def planned(**discovery: Any) -> Plan:
    return plan(Suite.model_validate({**SUITE, "discovery": {**DISCOVERY, **discovery}}))


def discovered(found: Plan, workspace: Workspace) -> dict[str, Any]:
    """Carry out all that the patterns need, and return their index."""
    (patterns,) = found.of_kind("patterns")
    for job in (*(found.jobs[key] for key in patterns.needs), patterns):
        execute(job, workspace, lambda done, total: None)
    index: dict[str, Any] = read_json(workspace.path("patterns", patterns.key) / "index.json")
    return index


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("work"))


def pretraining(found: Plan, label: str, seed: int) -> tuple[TypedJob[PretrainingRecipe], Method]:
    (job,) = (job for job in found.of_kind("initialisation") if job.title == f"pretrain {label}, seed {seed}")
    method: Method = METHODS.load(job.recipe.method)(job.recipe.config, job.recipe.classes)
    return job, method


def test_a_method_with_semantics_is_planned_on_the_patterns() -> None:
    found = planned()
    (patterns,) = found.of_kind("patterns")
    job, method = pretraining(found, "rotation+semantics", 0)
    assert patterns.key in job.needs
    assert job.recipe.patterns == patterns.recipe
    assert method.classes == 2


def test_random_neighbours_keep_the_references_and_change_who_else_shares_their_label(workspace: Workspace) -> None:
    real, random = (discovered(planned(neighbours_by=by), workspace) for by in ("latent", "random"))
    assert real["references"] == random["references"]
    assert all(index["windows"][0]["id"] == real["references"][0]["id"] for index in (real, random))
    members = [[window["id"] for window in index["windows"]] for index in (real, random)]
    assert len(members[0]) == len(members[1])
    assert members[0] != members[1]


def test_random_labels_are_permuted_over_the_training_cubes_by_the_pretraining_seed(workspace: Workspace) -> None:
    found = planned()
    discovered(found, workspace)
    drawn = {}
    for label, seed in (("rotation+semantics", 0), ("control", 0), ("control", 1)):
        job, method = pretraining(found, label, seed)
        train, validation = pretraining_cubes(method, job.recipe, workspace)
        assert (
            pretraining_cubes(method, job.recipe, workspace)[0].labels(range(18)).tolist()
            == train.labels(range(18)).tolist()
        )
        drawn[label, seed] = (
            train.images(range(18)),
            train.labels(range(18)).tolist(),
            validation.labels([0, 1]).tolist(),
        )
    real, *controls = drawn.values()
    assert real[1] == [0] * 9 + [1] * 9
    for images, labels, held_out in controls:
        np.testing.assert_array_equal(images, real[0])
        assert sorted(labels) == real[1] != labels
        assert held_out == real[2] == [0, 1]
    assert controls[0][1] != controls[1][1]
