"""Build a synthetic ledger of the suite `full` and measure `plan`, `status` and `report` on it.

    python -m tests.fixtures TREES
    python -m benchmarks.ledger FOLDER --trees TREES

Real `sg-bench` processes run on 1,040 cells with test sets of the published sizes: 225,000 candidates in each of the
260 cells of nodule classification. Scores are random; recipes, keys and files are those of real runs. Prints wall and
processor time, peak memory and the size on disk, as a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sg_bench.cli.selection import select
from sg_bench.evaluation.metrics import METRICS
from sg_bench.ledger import Ledger
from sg_bench.ledger.tables import ScoreTable, table_digest, table_of
from sg_bench.workspace import Workspace, write_json

SUITE = "extends: full\nfine_tuning_seeds: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]\n"
CASES = {"ncc": 225_000, "ncs": 400, "lcs": 39, "bms": 57, "pxs": 2_135, "dxc": 25_596}
"""Test cases of each task."""
PATIENTS = {"ncc": 178, "dxc": 2_797}
"""Patients of a test set; elsewhere each case is a patient of its own."""
POSITIVE = {"ncc": 0.002, "dxc": 0.08}
EPOCHS = 100
UID = "1.3.6.1.4.1.14519.5.2.1.6279.6001.100225287222365663678666836"


def build(folder: Path, trees: Path, most_candidates: int) -> None:
    """Write the suite's file and every cell that the trees have data for into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "full.yaml").write_text(SUITE)
    planned = select(str(folder / "full.yaml"), work=folder / "work", data_root=trees).plan
    ledger = Ledger(Workspace(folder / "work"))
    for number, job in enumerate(planned.of_kind("cell")):
        add_cell(ledger, job.key, job.recipe.key_content(), np.random.default_rng(number), most_candidates)


def add_cell(ledger: Ledger, key: str, recipe: dict[str, Any], draw: np.random.Generator, most: int) -> None:
    """Write one finished cell: its tables, then its record."""
    task, findings = recipe["task"], recipe["task"].get("findings") or []
    name = task["name"].partition("[")[0]
    if task["kind"] == "classification":
        cases = classification(name, min(CASES[name], most), recipe["fine_tuning_seed"], len(findings), draw)
        metrics = {"auc": 0.0, **{f"auc_{finding}": 0.0 for finding in findings}}
    else:
        cases = segmentation(name, CASES[name], draw)
        metrics = {metric.name: 0.0 for metric in METRICS.values() if metric.kind == "segmentation" and metric.always}
    level = 0.6 + 0.3 * draw.random()
    metrics = {metric: round(level + 0.02 * draw.random(), 6) for metric in metrics}
    tables = [with_digest("cases", cases), with_digest("curves", table_of(curves(draw)))]
    for table in tables:
        table.write(ledger.cells, key)
    record = {"schema": 2, "key": key, "status": "done", "recipe": recipe, "metrics": metrics, "error": None}
    record |= {"headline": task["headline"], "parity": task["parity"], "secondary": task.get("secondary") or []}
    record |= {"tables": {table.name: table.description for table in tables}, "outputs": {"predictions": key}}
    record |= {"loaded": "all", "counts": {"train": 600, "validation": 100, "test": cases.num_rows}, "skipped": 0}
    record |= {"leak": "", "ran": {"wall_seconds": 900.0, "processor_seconds": 850.0, "peak_memory_mib": 4000.0}}
    write_json(ledger.cells / f"{key}.json", record)


def with_digest(name: Any, table: pa.Table) -> ScoreTable:
    return ScoreTable(name, table, {"rows": table.num_rows, "sha256": table_digest(table)})


@lru_cache(maxsize=16)
def ids(name: str, count: int, fold: int) -> tuple[pa.Array, pa.Array]:
    """Return the ids and the patients of a test set's cases; folds share no patient."""
    patients = PATIENTS.get(name, count)
    owners = np.sort(np.arange(count) % patients)
    names = [f"{UID}.{fold % 10}{patient:04}" for patient in range(patients)]
    cases = [f"{names[owner]}#{number}" for number, owner in enumerate(owners)]
    return pa.array(cases), pa.array([names[owner] for owner in owners]).dictionary_encode()


def classification(name: str, count: int, fold: int, outputs: int, draw: np.random.Generator) -> pa.Table:
    shape = (count, outputs) if outputs else (count,)
    truths = (draw.random(shape) < POSITIVE.get(name, 0.5)).astype(np.int64)
    scores = (0.6 * draw.random(shape) + 0.4 * truths * draw.random(shape)).astype(np.float16).astype(np.float64)
    cases, patients = ids(name, count, fold)
    columns = {"score": scores, "truth": truths}
    wrapped = {key: pa.array(list(value) if outputs else value) for key, value in columns.items()}
    return pa.table({"case": cases, "patient": patients, **wrapped})


def segmentation(name: str, count: int, draw: np.random.Generator) -> pa.Table:
    true = draw.integers(50, 5000, count)
    both = (true * draw.random(count)).astype(np.int64)
    predicted = both + draw.integers(1, 2000, count)
    dice, iou = 2 * both / (predicted + true), both / (predicted + true - both)
    cases, patients = ids(name, count, 0)
    scores = {"dice_case": dice, "dice_positive": dice, "iou_case": iou}
    sizes = {"both": both, "predicted": predicted, "true": true, "empty": np.zeros(count, bool)}
    return pa.table({"case": cases, "patient": patients, **scores, **sizes})


def curves(draw: np.random.Generator) -> list[dict[str, Any]]:
    losses = np.sort(draw.random((EPOCHS, 2)), axis=0)[::-1].tolist()
    return [
        {"stage": "fine-tune", "epoch": n, "step": 50 * (n + 1), "lr": 1e-3, "best": True}
        | {"train": {"loss": a, "bce": a}, "validation": {"loss": b, "bce": b}}
        for n, (a, b) in enumerate(losses)
    ]


def measure(verb: str, folder: Path, trees: Path) -> str:
    """Run a verb in a process of its own and return the line of the table."""
    command = [sys.executable, "-m", "sg_bench", verb, "--suite", folder / "full.yaml", "--work", folder / "work"]
    command += ["--data-root", trees, *(["--out", folder / "out"] if verb == "report" else [])]
    began = time.perf_counter()
    with (folder / f"{verb}.txt").open("w") as output:
        process = subprocess.Popen([str(part) for part in command], stdout=output, stderr=subprocess.STDOUT)
        _, _, used = os.wait4(process.pid, 0)
    return line(verb, time.perf_counter() - began, used)


def line(verb: str, wall: float, used: resource.struct_rusage) -> str:
    return f"| {verb} | {wall:.1f} s | {used.ru_utime + used.ru_stime:.1f} s | {used.ru_maxrss / 2**20:.2f} GiB |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trees", type=Path, required=True, help="made by python -m tests.fixtures")
    parser.add_argument("--candidates", type=int, default=CASES["ncc"], help="test cases of nodule classification")
    given = parser.parse_args()
    if not (given.folder / "full.yaml").exists():
        build(given.folder, given.trees, given.candidates)
    cells = given.folder / "work" / "cells"
    size = sum(path.stat().st_size for path in cells.iterdir())
    lines = ["| verb | wall | processor | peak memory |", "|---|---|---|---|"]
    lines += [measure(verb, given.folder, given.trees) for verb in ("plan", "status", "report")]
    lines += ["", f"{len(list(cells.glob('*.json')))} cells, {size / 1e9:.2f} GB on disk"]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
