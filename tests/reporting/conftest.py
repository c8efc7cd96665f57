"""Two suites: one in which everything that can happen to a cell happens once, one in which enough was run to test."""

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from sg_bench.reporting import Table, main_table

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


STUDY_TASKS = {"ncc": 0.80, "ncc[fraction=0.1]": 0.65, "ncs": 0.60}
STUDY_METHODS = {"scratch": 0.0, "models_genesis": 0.05, "semantic_genesis": 0.06, "mine": 0.01}
SEEDS = 6


def study_record(key: str, method: str, task: str, seed: int, score: float) -> dict[str, Any]:
    """Return a record in the ledger's form, on the phantom, with what the tables of a report read of it."""
    name, _, fraction = task.partition("[fraction=")
    headline = "auc" if name == "ncc" else "iou_bin"
    parity = None if name == "ncc" else "mean_iou_keras"
    rows = [{"case": f"p{n}#0", headline: score, "score": n / 10 + score / 5, "truth": n % 2} for n in range(6)]
    patterns = {"autoencoder": {"method": "autoencoder", "seed": 0}} if method == "semantic_genesis" else None
    return {
        "key": key,
        "status": "done",
        "metrics": {headline: score} | ({parity: score + 0.2} if parity else {}),
        "headline": headline,
        "parity": parity,
        "error": None,
        "cases": rows,
        "counts": {"train": 12 if not fraction else 2, "validation": 3, "test": 6},
        "ran": {
            "wall_seconds": 100.0 + seed,
            "processor_seconds": 90.0 + seed,
            "peak_memory_mib": 700.0 + seed,
            "hardware": {"machine": "x86_64", "processor": "A processor", "cores": 2, "device": "cpu"},
        },
        "recipe": {
            "pretraining_seed": 0,
            "fine_tuning_seed": seed,
            "initialisation": {
                "method": method,
                "seed": 0,
                "patterns": patterns,
                "corpus": None,
                "config": {"width": 4, "label": method},
            },
            "store": {"source": "phantom"},
            "task": {"name": name, "fraction": float(fraction.rstrip("]") or 1), "training": {"steps": None}},
        },
    }


@pytest.fixture
def study(empty: Ledger) -> Ledger:
    """Four methods, six seeds of one pretraining; "mine" is a label of the registered method models_genesis."""
    draw = random.Random(7)
    for method, gain in STUDY_METHODS.items():
        for task, base in STUDY_TASKS.items():
            for seed in range(SEEDS):
                key, score = empty.plan(method, task, seed), round(base + gain + draw.gauss(0, 0.01), 4)
                empty.records[key] = study_record(key, method, task, seed, score)
                if method == "mine":
                    empty.records[key]["recipe"]["initialisation"]["method"] = "models_genesis"
    return empty


@pytest.fixture
def study_table(study: Ledger) -> Table:
    return main_table(study.cells, study.records)
