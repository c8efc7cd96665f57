"""What a cell is: an initialisation fine-tuned on a task, and what its test cases say of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sg_bench.config import key_of
from sg_bench.data.splits import nested_subset
from sg_bench.data.store import Store
from sg_bench.evaluation.checking import check_two_classes
from sg_bench.evaluation.crops import fixed_crops, truth_of
from sg_bench.evaluation.inference import predict
from sg_bench.evaluation.metrics import score
from sg_bench.ledger import Record
from sg_bench.networks.weights import load_initialisation
from sg_bench.planning import Job, Recipe
from sg_bench.running.environment import Stopwatch, compute_device, describe_environment
from sg_bench.running.parts import seen_before, task_parts
from sg_bench.tasks import Task
from sg_bench.training.checkpoints import clear_state
from sg_bench.training.fine_tuning import FineTuning, task_network
from sg_bench.training.loop import calibrate, evaluating, train
from sg_bench.workspace import Workspace, file_digest, read_json

Report = Callable[[int, int | None], None]


def compute_cell(job: Job, workspace: Workspace, report: Report) -> Record:
    """Fine-tune, test and score; return the record for the ledger, with the predictions in the workspace."""
    watch = Stopwatch()
    recipe, device = job.recipe, compute_device()
    task, seed = read_recipe_task(recipe), recipe["fine_tuning_seed"]
    store = Store.open(workspace.path("stores", key_of(recipe["store"])))
    parts, split_file = task_parts(store, task.split, seed, workspace)
    _check_testable(task, store, parts["test"])
    train_ids = nested_subset(parts["train"], task.fraction, seed)
    folder = workspace.path("initialisations", key_of(recipe["initialisation"]))
    config = recipe["initialisation"]["config"]
    architecture = config.get("architecture", "")
    network, loaded = task_network(task, config["width"], *load_initialisation(folder), seed, architecture=architecture)
    learner = FineTuning(task, network, store, train_ids, parts["validation"], seed, device)
    if task.frozen:
        calibrate(learner, task.training, seed)  # random weights bring no statistics to normalise by
    progress_folder = workspace.path("progress", job.key)
    curves = train(learner, seed=seed, folder=progress_folder, progress=report)
    with evaluating(learner, task.training, seed):
        predictions = predict(task, network, store, parts["test"], device)
    path = workspace.path("predictions", f"{job.key}.npz")
    predictions.save(path)
    clear_state(progress_folder)
    metrics, cases = score(task.kind, predictions.probabilities, predictions.truths, task.findings)
    return {
        "key": job.key,
        "status": "done",
        "recipe": recipe,
        "headline": task.headline,
        "parity": task.parity,
        "secondary": list(task.secondary),
        "metrics": metrics,
        "cases": [{**row, "patient": _patient(store, row["case"])} for row in cases],
        "curves": curves,
        "error": None,
        "loaded": str(loaded),
        "counts": {"train": len(train_ids), **{part: len(parts[part]) for part in ("validation", "test")}},
        "skipped": len(store.skipped),
        "leak": seen_before(recipe["initialisation"], store, task.split, parts["test"], workspace),
        "ran": {**describe_environment(), **watch.read(), "world_size": 1},
        "outputs": {
            "predictions": file_digest(path),
            "split": file_digest(split_file),
            "store": file_digest(store.path / "index.json"),
            "initialisation": read_json(folder / "record.json")["outputs"]["initialisation"],
        },
    }


def read_recipe_task(recipe: Recipe) -> Task:
    """Return the task of a cell's recipe; what a recipe leaves out (titles, the data's name) is empty."""
    data = {"name": "", "source": recipe["store"]["source"], "config": recipe["store"]["config"]}
    return Task.model_validate({**recipe["task"], "title": "", "data": data})


def _check_testable(task: Task, store: Store, test: list[str]) -> None:
    """Refuse test cases of one class before anything is trained: they have no AUC.

    Raises:
        DataError: names the findings that all or none of the test cases show.
    """
    if task.kind == "classification":
        truths = [truth_of(store, task, crop) for crop in fixed_crops(task, store, test)]
        check_two_classes(np.stack(truths), task.findings)


def _patient(store: Store, name: str) -> str:
    """Return whose image a test case, or one of its crops ("case#3"), is."""
    return store[name if name in store else name.rpartition("#")[0]].patient
