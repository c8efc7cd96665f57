"""Finished cells with predictions on disk: a record as the ledger has it, scored from what was stored."""

from __future__ import annotations

from typing import Any

import numpy as np

from sg_bench.config import key_of
from sg_bench.evaluation.metrics import score
from sg_bench.evaluation.predictions import Predictions
from sg_bench.ledger import Ledger, Record
from sg_bench.workspace import Workspace

FINDINGS = ("Mass", "Nodule", "Hernia")


def segmented(seed: int) -> Predictions:
    draw = np.random.default_rng(seed)
    ids = [f"p{n}#0" for n in range(5)]
    truths = {id_: (draw.random((4, 4, 2)) < 0.4).astype(np.uint8) for id_ in ids}
    return Predictions(
        {id_: (0.3 * truths[id_] + 0.7 * draw.random((4, 4, 2))).astype(np.float16) for id_ in ids}, truths
    )


def classified(seed: int, outputs: int) -> Predictions:
    draw, shape = np.random.default_rng(seed), (outputs,) if outputs > 1 else ()
    ids = [f"film-{n:02}" for n in range(12)]
    truths = {id_: np.full(shape, n % 2, np.uint8) for n, id_ in enumerate(ids)}
    return Predictions({id_: draw.random(shape).astype(np.float16) for id_ in ids}, truths)


def put(work: Workspace, task: str = "ncs", seed: int = 0, **changes: Any) -> str:
    """Store a finished cell with its predictions and return its key; `changes` falsify its metrics."""
    names = FINDINGS if task == "dxc" else ()
    made = segmented(seed) if task == "ncs" else classified(seed, max(1, len(names)))
    card = {"name": task, "kind": "segmentation" if task == "ncs" else "classification", "findings": list(names)}
    recipe = {
        "task": card,
        "store": {"source": "phantom"},
        "initialisation": {"method": "scratch"},
        "pretraining_seed": 0,
        "fine_tuning_seed": seed,
    }
    key = key_of(recipe)
    path = work.path("predictions", f"{key}.npz")
    digest = made.save(path)
    metrics, cases = score(card["kind"], made.probabilities, made.truths, names)  # type: ignore[arg-type]
    cases = [{**row, "patient": str(row["case"]).partition("#")[0]} for row in cases]
    record = {"key": key, "status": "done", "recipe": recipe, "metrics": {**metrics, **changes}, "cases": cases}
    outputs = {"predictions": digest}
    Ledger(work).put({**record, "headline": next(iter(metrics)), "parity": None, "error": None, "outputs": outputs})
    return key


def got(work: Workspace, key: str) -> Record:
    """Return a record with its cases as rows inside it."""
    record = Ledger(work).get(key)
    assert record is not None
    return {**record, "cases": Ledger(work).tables(key).case_rows(key)}
