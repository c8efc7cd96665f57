"""Whether each pretraining of a plan improved what its method promises: its loss, a measure, or a probe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from sg_bench.errors import DamagedError
from sg_bench.methods.base import Method
from sg_bench.networks.weights import load_initialisation, load_into
from sg_bench.planning import Plan, is_built
from sg_bench.recipes import PretrainingRecipe
from sg_bench.registry import METHODS
from sg_bench.running.environment import compute_device
from sg_bench.running.stages.copies import bring_inputs
from sg_bench.running.stages.pretrain import pretraining_cubes
from sg_bench.training.draws import Draw, Purpose
from sg_bench.training.loader import to_device
from sg_bench.training.loop import TrainingPart
from sg_bench.training.pretraining import Pretraining, fresh_network
from sg_bench.training.view_probe import view_probe
from sg_bench.workspace import Workspace, read_json

PROBED = 64
"""Most cubes that a probe compares; with few, all that there are."""


def improvements(plan: Plan, workspace: Workspace) -> Iterator[tuple[bool, str]]:
    """Yield, for each stage or probe of each pretraining, whether it improved, and from what to what.

    A pretraining that is gone, as nothing that was computed now needed it, or whose images are, is passed over.
    """
    for job in plan.of_kind("initialisation"):
        recipe, path = job.recipe, workspace.path("initialisations", job.key) / "record.json"
        if not is_built(workspace, recipe):
            continue
        rows: list[dict[str, Any]] = read_json(path).get("curves", [])
        if not rows:  # nothing is trained
            continue
        method: Method = METHODS.load(recipe.method)(recipe.config, recipe.classes)
        promise = method.promise
        if promise.of == "probe":
            with suppress(DamagedError):  # then its images are not built
                bring_inputs(recipe, workspace)
            if all(is_built(workspace, plan.jobs[need]) for need in job.needs):
                before, after = _probes(method, recipe, workspace)
                yield after > before, f"{job.title} (probe: {before:.3f} to {after:.3f})"
            continue
        for stage in dict.fromkeys(row["stage"] for row in rows):
            name = promise.measure or "loss"
            values = [float(row["train"][name]) for row in rows if row["stage"] == stage]
            improved = values[-1] > values[0] if promise.of == "measure" else values[-1] < values[0]
            yield improved or len(values) == 1, f"{job.title} ({stage}, {name}: {values[0]:.4f} to {values[-1]:.4f})"


def _probes(method: Method, recipe: PretrainingRecipe, workspace: Workspace) -> Sequence[float]:
    """Return the probe on validation cubes, or training cubes without those, of the first and the last weights."""
    network = fresh_network(method, recipe.seed)
    learner = Pretraining(method, network, *pretraining_cubes(method, recipe, workspace), compute_device())
    part: TrainingPart = "validation" if learner.samples("validation") > 1 else "train"
    count = learner.samples(part)
    indices = np.unique(np.linspace(0, count - 1, min(PROBED, count)).round().astype(int)).tolist()
    draws = [Draw(index, (recipe.seed, Purpose.VALIDATION, index)) for index in indices]
    batch = to_device(learner.batch(part, draws), learner.device)
    learner.network.to(learner.device)
    before = view_probe(method, learner.network, batch)
    folder = workspace.path("initialisations", recipe.key)
    load_into(method.backbone(learner.network), *load_initialisation(folder), need_decoder=False)
    return before, view_probe(method, learner.network, batch)
