"""A suite of five methods and two tasks, in which everything that can happen to a cell happens once."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

NCC, NCS, BMS = "ncc[data=phantom]", "ncs[data=phantom]", "bms"
ABSENT = "no data for 'brats': give its folder with --data brats=PATH"


@dataclass(frozen=True)
class PlannedCell:
    key: str
    method: str
    task: str
    pretraining_seed: int
    fine_tuning_seed: int
    missing: str | None = None


@dataclass(frozen=True)
class Ledger:
    cells: list[PlannedCell]
    records: dict[str, dict[str, Any]]

    def plan(self, method: str, task: str, seed: int = 0, missing: str | None = None) -> str:
        key = "" if missing else hashlib.sha256(f"{method} {task} {seed}".encode()).hexdigest()
        self.cells.append(PlannedCell(key, method, task, 0, seed, missing))
        return key

    def done(self, method: str, task: str, metrics: list[dict[str, float | None]], parity: str | None = None) -> None:
        for seed, scores in enumerate(metrics):
            key = self.plan(method, task, seed)
            headline = next(iter(scores))
            self.records[key] = {
                "key": key, "status": "done", "metrics": scores, "headline": headline, "parity": parity, "error": None
            }  # fmt: skip

    def failed(self, method: str, task: str, seed: int, kind: str) -> None:
        key = self.plan(method, task, seed)
        error = {"kind": kind, "message": "it broke"}
        self.records[key] = {"key": key, "status": "failed", "metrics": {}, "headline": "auc", "error": error}


def ncc(auc: float | None) -> dict[str, float | None]:
    return {"auc": auc, "average_precision": 0.5}


def ncs(iou: float, keras: float) -> dict[str, float | None]:
    return {"iou_bin": iou, "mean_iou_keras": keras}


@pytest.fixture
def empty() -> Ledger:
    return Ledger([], {})


@pytest.fixture
def auc_run() -> Callable[[float | None], dict[str, float | None]]:
    return ncc


@pytest.fixture
def ledger(empty: Ledger) -> Ledger:
    parity = "mean_iou_keras"
    empty.done("scratch", NCC, [ncc(0.70), ncc(0.74)])
    empty.done("scratch", NCS, [ncs(0.50, 0.70), ncs(0.52, 0.72)], parity)
    empty.done("models_genesis", NCC, [ncc(0.80), ncc(0.84)])
    empty.done("models_genesis", NCS, [ncs(0.58, 0.77), ncs(0.60, 0.79)], parity)
    empty.done("semantic_genesis", NCC, [ncc(0.81), ncc(0.83)])
    empty.done("semantic_genesis", NCS, [ncs(0.90, 0.95)], parity)
    empty.failed("semantic_genesis", NCS, 1, "data")
    empty.done("no labels | yet", NCC, [ncc(0.99), ncc(None)])
    empty.failed("no labels | yet", NCS, 0, "method")
    empty.plan("no labels | yet", NCS, 1)
    empty.plan("planned", NCC, 0)
    empty.plan("planned", NCC, 1)
    for method in dict.fromkeys(cell.method for cell in empty.cells):
        empty.plan(method, BMS, 0, ABSENT)
        empty.plan(method, BMS, 1, ABSENT)
    return empty
