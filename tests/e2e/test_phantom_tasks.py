"""A task of every kind on the phantom is learnt: better than any constant prediction. Slow: it trains four networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sg_bench.ledger import Ledger
from sg_bench.tasks import read_task
from sg_bench.workspace import Workspace
from tests.e2e.conftest import Run

FOLDER = Path(__file__).parents[2] / "examples" / "phantom_tasks"


def test_the_cards_are_of_four_kinds() -> None:
    tasks = [read_task(str(path)) for path in sorted(FOLDER.glob("*.yaml")) if path.stem != "suite"]
    assert [(task.kind, task.loss, task.outputs) for task in tasks] == [
        ("regression", "mse", 1), ("classification", "bce", 1), ("segmentation", "dice_ce", 4),
        ("classification", "cross_entropy", 3),
    ]  # fmt: skip
    assert len({json.dumps(task.data.config, sort_keys=True) for task in tasks}) == 1


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory, sg_bench: Run) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("kinds")
    done = sg_bench("run", "--suite", FOLDER / "suite.yaml", "--work", folder / "work", "--out", folder / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Lower is better of hd95" in " ".join(done.stdout.split())
    again = sg_bench("rescore", "--work", folder / "work")
    assert again.returncode == 0, again.stdout + again.stderr
    found = [json.loads(path.read_text()) for path in (folder / "work" / "cells").glob("*.json")]
    ledger = Ledger(Workspace(folder / "work"))
    return {record["recipe"]["task"]["name"]: {**record, "rows": ledger.case_scores(record["key"])} for record in found}


@pytest.mark.slow
def test_each_is_learnt(records: dict[str, Any]) -> None:
    metrics = {name: record["metrics"] for name, record in records.items()}
    assert metrics["organs"]["dice_mean"] > 0.3  # the best constant: 0.05
    assert metrics["contrast"]["auc"] > 0.7
    assert metrics["phase"]["balanced_accuracy"] > 0.4  # chance: 0.33
    truths = records["blood"]["rows"]["truth"].to_numpy()
    assert metrics["blood"]["mae"] < 0.8 * np.abs(truths - np.median(truths)).mean()
    assert metrics["blood"]["r2"] > 0.2
