"""A probe of an initialisation's frozen features on a task, and its test; features are computed once and kept."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sg_bench.config import Training, key_of
from sg_bench.data.splits import SplitParts
from sg_bench.data.store import Store
from sg_bench.digests import content_digest, write_npz
from sg_bench.errors import DataError
from sg_bench.evaluation.crops import Crop, cut_crop, fixed_crops, truth_of
from sg_bench.evaluation.inference import predict
from sg_bench.evaluation.predictions import Predictions
from sg_bench.evaluation.shots import few_shots
from sg_bench.networks import build
from sg_bench.networks.backbone import Backbone
from sg_bench.networks.heads import check_different
from sg_bench.networks.weights import StateDict, load_into
from sg_bench.recipes import CellRecipe
from sg_bench.tasks import Task
from sg_bench.training.features import estimate_norms, image_features, training_crops, voxel_features
from sg_bench.training.fine_tuning import input_channels, with_input_channels
from sg_bench.training.precision import configure_arithmetic
from sg_bench.training.pretraining import build_initialised
from sg_bench.training.probing import check_both_classes, linear_segmenter, probed, probed_values
from sg_bench.workspace import Workspace

FEATURES = 1
"""Version of the computation of features; another one computes them anew."""
DIGEST = "digest"
"""Array of a features' file that holds the digest of the others."""
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class CellOutcome:
    """The part of a cell's record that depends on how it was trained: predictions, curves and digests."""

    predictions: Predictions
    loaded: str
    """What of the initialisation was loaded."""
    train_cases: int
    curves: list[dict[str, Any]] = field(default_factory=list)
    """Empty for a probe."""
    outputs: dict[str, str] = field(default_factory=dict)
    """Digests besides that of the predictions."""


def probe(
    recipe: CellRecipe,
    store: Store,
    parts: SplitParts,
    train_ids: Sequence[str],
    weights: tuple[StateDict, StateDict, str],
    workspace: Workspace,
    device: torch.device,
) -> CellOutcome:
    """Fit a classifier on the features of training cases, and return its predictions for the test cases.

    Args:
        recipe: of the cell.
        store: the task's data.
        parts: ids of all cases; features are computed of all training cases.
        train_ids: ids of the training cases to fit on, before `shots`.
        weights: the encoder's and decoder's tensors, and their digest.
        workspace: keeps the features.
        device: where to compute.

    Raises:
        DataError: the training samples are of one class.
    """
    task = recipe.task
    pool = training_crops(task, store, parts["train"])
    own = set(train_ids)
    ids, crops = few_shots(task, store, train_ids, [c for c in pool if c.case in own], recipe.fine_tuning_seed)
    _check_trainable(task, store, crops)
    configure_arithmetic(Training())
    encoder, loaded = frozen_encoder(recipe, weights, input_channels(store), device)
    compute = _segmentation_features if task.kind == "segmentation" else _image_features
    kept, digest = _kept(
        features_path(recipe, store, pool, parts["test"], weights[2], workspace),
        partial(compute, task, encoder, store, pool, parts["test"], device),
        workspace,
    )
    chosen = np.isin(kept["ids"], [crop.id for crop in crops])
    train, truths = kept["values"][chosen], kept["truths"][chosen]
    if task.kind != "regression":
        check_both_classes(truths, task.output_names)
    if task.kind == "segmentation":
        estimate_norms(task, encoder, store, pool, device)  # as before the features were computed
        network = linear_segmenter(encoder, train, truths, kept["weights"][chosen]).to(device).eval()
        predictions = predict(task, network, store, parts["test"], device)
    else:
        assert task.probe
        test = kept["test_ids"].tolist()
        if task.kind == "regression":
            found = probed_values(task.probe, train, truths, kept["test_values"])
        else:
            found = probed(task.probe, train, truths, kept["test_values"], exclusive=task.exclusive).astype(np.float16)
        predictions = Predictions(
            dict(zip(test, found, strict=True)), dict(zip(test, kept["test_truths"], strict=True))
        )
    return CellOutcome(predictions, loaded, len(ids), outputs={"features": digest})


def frozen_encoder(
    recipe: CellRecipe, weights: tuple[StateDict, StateDict, str], channels: int, device: torch.device
) -> tuple[Backbone, str]:
    """Return the encoder of a cell's initialisation in evaluation mode, and what was loaded into it.

    `channels` is the number of channels of the task's images.
    """
    config = recipe.initialisation.config
    choice = with_input_channels(config.chosen_network, channels)
    encoder = build_initialised(lambda: build.encoder(choice), 0)
    report = load_into(encoder, *weights[:2], need_decoder=False, adapt=bool(config.needs))
    encoder.requires_grad_(False).to(device).eval()
    return encoder, str(report)


def features_path(
    recipe: CellRecipe, store: Store, pool: Sequence[Crop], test: Sequence[str], weights: str, workspace: Workspace
) -> Path:
    """Return the file of a cell's features: the same for all seeds, fractions, shots and probes of one split."""
    task = recipe.task
    key = key_of(
        {
            "version": FEATURES,
            "weights": weights,
            "network": recipe.initialisation.config.chosen_network.key_content(),
            "store": store.digest,
            "kind": task.kind,
            "target": task.target,
            "findings": task.findings,
            "seed": task.split.seed,
            "sampling": task.key_content()["sampling"],
            "inference": task.key_content()["inference"],
            "train": [[crop.id, *crop.centre] for crop in pool],
            "test": list(test) if task.kind != "segmentation" else [],
            **_columns(task),
        }
    )
    return workspace.path("features", f"{recipe.initialisation.key}.{key}.npz")


def _columns(task: Task) -> dict[str, Any]:
    """Return what a task by a column of a table predicts; {} for others."""
    column = task.label_column or task.value_column
    return {"column": column, "classes": task.column_classes} if column else {}


def _image_features(
    task: Task, encoder: Backbone, store: Store, pool: Sequence[Crop], test: list[str], device: torch.device
) -> Arrays:
    estimate_norms(task, encoder, store, pool, device)
    found = image_features(task, encoder, store, pool, device)
    tested = image_features(task, encoder, store, fixed_crops(task, store, test), device)
    return {**found, **{f"test_{name}": array for name, array in tested.items()}}


def _segmentation_features(
    task: Task, encoder: Backbone, store: Store, pool: Sequence[Crop], test: list[str], device: torch.device
) -> Arrays:
    """Return features of the training cases alone: of the test cases every voxel is needed, which is too much."""
    estimate_norms(task, encoder, store, pool, device)
    return voxel_features(task, encoder, store, pool, device)


def _check_trainable(task: Task, store: Store, crops: Sequence[Crop]) -> None:
    """Check before any feature is computed that the training samples have both classes, or different values."""
    if task.kind == "regression":
        check_different([float(truth_of(store, task, crop)[0]) for crop in crops])
    elif task.kind == "classification":
        check_both_classes(np.stack([truth_of(store, task, crop) for crop in crops]), task.output_names)
    elif not any(cut_crop(store, task, crop)[1].any() for crop in crops):
        raise DataError(
            f"a probe needs target voxels, and {len(crops)} crops of the training cases hold none",
            hint="Raise the task's fraction or shots, or change its split",
        )


def _kept(path: Path, compute: Callable[[], Arrays], workspace: Workspace) -> tuple[Arrays, str]:
    """Return features and their digest from a file, or computed and written if it is absent or damaged."""
    with workspace.lock(f"features.{path.stem.rpartition('.')[2]}"):
        found = _read(path)
        if found is None:
            features = compute()
            found = features, content_digest(features)
            write_npz(path, {**features, DIGEST: np.array(found[1])})
        return found


def _read(path: Path) -> tuple[Arrays, str] | None:
    """Return the features of a file and their digest; None if it is absent or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        digest = str(arrays.pop(DIGEST))
        return (arrays, digest) if digest == content_digest(arrays) else None
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):
        return None
