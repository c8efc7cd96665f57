"""Fine-tuning of an initialisation on a task, or a probe of its features, and its test: one cell."""

from __future__ import annotations

import numpy as np
import torch

from sg_bench.data.splits import SplitParts, nested_subset
from sg_bench.data.store import Store
from sg_bench.errors import DataError
from sg_bench.evaluation.checking import check_two_classes
from sg_bench.evaluation.columns import with_truth
from sg_bench.evaluation.crops import check_candidates, check_masks, fixed_crops, truth_of
from sg_bench.evaluation.inference import predict
from sg_bench.evaluation.scoring import Scoring, score_predictions
from sg_bench.ledger import Ledger, Record
from sg_bench.networks.weights import StateDict
from sg_bench.recipes import CellRecipe
from sg_bench.running.environment import Stopwatch, compute_device, describe_environment
from sg_bench.running.stages.inputs import open_store, read_initialisation
from sg_bench.running.stages.parts import seen_before, task_parts, trained_on
from sg_bench.running.stages.probe import CellOutcome, probe
from sg_bench.tasks import Task
from sg_bench.training.checkpoints import clear_state
from sg_bench.training.fine_tuning import FineTuning, input_channels, task_network
from sg_bench.training.gradients import StepMemory
from sg_bench.training.loop import ProgressCallback, calibrate, evaluating, train
from sg_bench.workspace import Workspace, file_digest


def fine_tune(recipe: CellRecipe, workspace: Workspace, progress: ProgressCallback) -> None:
    """Fine-tune, test and score a cell; write its predictions and its record."""
    ledger = Ledger(workspace)
    if not ledger.done(recipe.key):
        ledger.put(_compute(recipe, workspace, progress))


def _compute(recipe: CellRecipe, workspace: Workspace, progress: ProgressCallback) -> Record:
    watch, device = Stopwatch(), compute_device()
    task, seed, initialisation = recipe.task, recipe.fine_tuning_seed, recipe.initialisation
    store = open_store(recipe.store, workspace)
    whole, split_file = task_parts(store, task.split, seed, workspace)
    parts: SplitParts = {part: with_truth(store, task, ids) for part, ids in whole.items()}
    _check_testable(task, store, parts["test"])
    train_ids = nested_subset(parts["train"], task.fraction, seed)
    check_candidates(task, store, train_ids, "training")
    weights = read_initialisation(initialisation, workspace)
    memory = StepMemory()
    if task.probe:
        tested = probe(recipe, store, parts, train_ids, weights, workspace, device)
    else:
        tested = _fine_tuned(recipe, store, {**parts, "train": train_ids}, weights, workspace, device, progress, memory)
    predictions = tested.predictions
    digest = predictions.save(workspace.path("predictions", f"{recipe.key}.npz"))
    clear_state(workspace.path("progress", recipe.key))
    metrics, cases = score_predictions(Scoring.of(task.key_content()), predictions)
    return {
        "key": recipe.key,
        "status": "done",
        "recipe": recipe.key_content(),
        "headline": task.headline,
        "parity": task.parity,
        "secondary": list(task.secondary),
        "metrics": metrics,
        "cases": [{**row, "patient": _patient(store, row["case"])} for row in cases],
        "curves": tested.curves,
        "error": None,
        "loaded": tested.loaded,
        "counts": {"train": tested.train_cases, **{part: len(parts[part]) for part in ("validation", "test")}},
        "skipped": len(store.skipped) + sum(map(len, whole.values())) - sum(map(len, parts.values())),
        "leak": _leak(recipe, store, parts["test"], workspace),
        "ran": {**describe_environment(), **watch.read(), **memory.describe(), "world_size": 1},
        "outputs": {
            "predictions": digest,
            "split": file_digest(split_file),
            "store": store.digest,
            "initialisation": weights[2],
            **tested.outputs,
        },
    }


def _fine_tuned(
    recipe: CellRecipe,
    store: Store,
    parts: SplitParts,
    weights: tuple[StateDict, StateDict, str],
    workspace: Workspace,
    device: torch.device,
    progress: ProgressCallback,
    memory: StepMemory,
) -> CellOutcome:
    task, seed = recipe.task, recipe.fine_tuning_seed
    config = recipe.initialisation.config
    network, loaded = task_network(
        task,
        config.chosen_network,
        *weights[:2],
        seed,
        channels=input_channels(store),
        trained=bool(config.needs),
    )
    learner = FineTuning(task, network, store, parts["train"], parts["validation"], seed, device)
    if task.frozen:
        calibrate(learner, task.training, seed)  # random weights have no running statistics
    folder = workspace.path("progress", recipe.key)
    curves = train(learner, seed=seed, folder=folder, progress=progress, memory=memory)
    with evaluating(learner, task.training, seed):
        predictions = predict(task, network, store, parts["test"], device)
    return CellOutcome(predictions, str(loaded), len(learner.ids["train"]), curves)


def _check_testable(task: Task, store: Store, test: list[str]) -> None:
    """Check before training that the test cases have what the metrics need.

    Raises:
        DataError: of a classification, names the findings or classes that all or none of the test cases show, without
            which there is no AUC; of a segmentation, those of which no test case has a voxel, so that predicting
            nothing would be right; of a regression, there are fewer than two values; of candidates, there are none.
    """
    check_candidates(task, store, test, "test")
    if task.kind == "segmentation":
        check_masks(task, store, test)
        return
    truths = np.stack([truth_of(store, task, crop) for crop in fixed_crops(task, store, test)])
    if task.kind == "classification":
        check_two_classes(truths, task.output_names)
    elif len(np.unique(truths)) < 2:
        raise DataError(
            f"a regression needs different values to test, and {len(test)} test cases have "
            f"{np.unique(truths).tolist()} in the column '{task.value_column}'",
            hint="Check the column that the card names, and its split",
        )


def _leak(recipe: CellRecipe, store: Store, test: list[str], workspace: Workspace) -> str:
    """Return one line on the test cases that pretraining or fine-tuning has seen; "" for none."""
    split = recipe.task.split
    seen = seen_before(recipe.initialisation, store, split, test, workspace)
    return "; ".join(filter(None, [seen, trained_on(store, split, recipe.fine_tuning_seed, workspace)]))


def _patient(store: Store, name: str) -> str:
    """Return the patient of a test case or of one of its crops ("case#3")."""
    return store[name if name in store else name.rpartition("#")[0]].patient
