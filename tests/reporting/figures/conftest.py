"""A ledger of the real records' shape, drawn from a seed: what a study of six or seven methods would leave."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from sg_bench.config import key_of
from sg_bench.reporting.evidence import Evidence
from sg_bench.tasks import DataChoice, Inference, Sampling, Task
from sg_bench.workspace import Workspace

METHODS = (
    "scratch",
    "inpainting",
    "inpainting+semantics",
    "patch_shuffling",
    "patch_shuffling+semantics",
    "models_genesis",
    "semantic_genesis",
)
TASKS = ("ncc", "ncs", "lcs", "bms")
LEVEL = {"ncc": 0.95, "ncs": 0.76, "lcs": 0.83, "bms": 0.63}
FRACTIONS = (0.05, 0.1, 0.25, 0.5, 1.0)
CORPUS = {"kind": "store", "source": "luna16", "config": {}, "preparation": {"orientation": "RAS"}}
DATA = {"kind": "store", "source": "lits", "config": {}, "preparation": {"orientation": "RAS"}}
SHAPE = (48, 40, 24)
PATCH = (16, 16, 8)


@dataclass(frozen=True)
class PlannedCell:
    key: str
    method: str
    task: str
    pretraining_seed: int
    fine_tuning_seed: int
    missing: str | None = None


def variant(task: str, fraction: float) -> str:
    return task if fraction == 1.0 else f"{task}[fraction={fraction:g}]"


def recipe_of(method: str, task: str, fraction: float, pretraining_seed: int, fine_tuning_seed: int) -> dict[str, Any]:
    crops = task in ("ncc", "ncs")
    card = Task(
        name=task,
        title="",
        kind="classification" if task == "ncc" else "segmentation",
        data=DataChoice(name="", source="lits"),
        fraction=fraction,
        target=() if task == "ncc" else (1,),
        sampling=Sampling(places="candidates" if crops else "foreground", patch=PATCH),
        inference=Inference(mode="crops" if crops else "sliding_window"),
        loss="bce" if task == "ncc" else "dice",
        headline="auc" if task == "ncc" else "iou_bin",
    )
    return {
        "kind": "cell",
        "task": card.key_content(),
        "store": DATA,
        "initialisation": {
            "kind": "initialisation",
            "method": method,
            "config": {},
            "corpus": None if method == "scratch" else {"store": CORPUS},
            "seed": pretraining_seed,
        },
        "pretraining_seed": pretraining_seed,
        "fine_tuning_seed": fine_tuning_seed,
    }


def curves_of(level: float, speed: float, rng: np.random.Generator) -> list[dict[str, Any]]:
    steps = range(20, 20 * int(rng.integers(22, 31)), 20)
    losses = [1 - level + 0.5 * math.exp(-speed * step / 150) + 0.006 * rng.standard_normal() for step in steps]
    return [
        {"stage": "fine-tune", "epoch": number, "step": step, "lr": 1e-3, "best": loss == min(losses[: number + 1]),
         "train": {"loss": loss - 0.05}, "validation": {"loss": loss}}
        for number, (step, loss) in enumerate(zip(steps, losses, strict=True))
    ]  # fmt: skip


def score_of(task: str, rank: int, fraction: float, luck: float, rng: np.random.Generator) -> float:
    gain = 0.07 * (1 - LEVEL[task]) * rank
    fewer = 0.25 * (1 - LEVEL[task]) * math.log(fraction) * (1.25 - 0.12 * rank)
    return float(np.clip(LEVEL[task] + gain + fewer + luck + 0.008 * rng.standard_normal(), 0, 1))


def study(
    methods: Sequence[str] = METHODS,
    tasks: Sequence[str] = TASKS,
    *,
    pretraining_seeds: int = 3,
    fine_tuning_seeds: int = 4,
    fractions: Sequence[float] = FRACTIONS,
    without: Callable[[str, str], bool] = lambda method, task: False,
) -> Evidence:
    """Return the evidence of a whole grid; cells for which `without` holds are planned and were never run."""
    rng = np.random.default_rng(7)
    cells, records = [], {}
    for rank, method in enumerate(methods):
        for seed in range(pretraining_seeds):
            for task in tasks:
                luck = 0.012 * rng.standard_normal()
                for fraction in fractions:
                    for fine in range(fine_tuning_seeds):
                        recipe = recipe_of(method, task, fraction, seed, fine)
                        key = key_of(recipe)
                        cells.append(PlannedCell(key, method, variant(task, fraction), seed, fine))
                        if without(method, variant(task, fraction)):
                            continue
                        score = score_of(task, rank, fraction, luck, rng)
                        metric = "auc" if task == "ncc" else "iou_bin"
                        records[key] = {
                            "schema": 1, "key": key, "status": "done", "recipe": recipe, "headline": metric,
                            "parity": None if task == "ncc" else "mean_iou_keras", "metrics": {metric: score},
                            "cases": [], "curves": curves_of(score, 1 + 0.3 * rank, rng), "error": None,
                        }  # fmt: skip
    return Evidence(cells, records)


@pytest.fixture(scope="session")
def make_study() -> Callable[..., Evidence]:
    return study


@pytest.fixture(scope="session")
def evidence() -> Evidence:
    """Seven methods with three pairs, four tasks at five fractions, three pretraining by four fine-tuning seeds."""
    return study()


@pytest.fixture(scope="session")
def small() -> Evidence:
    """Three methods without a pair, two tasks, one pretraining and two fine-tuning seeds."""
    return study(
        ("scratch", "inpainting", "rotation"), ("ncc", "lcs"),
        pretraining_seeds=1, fine_tuning_seeds=2, fractions=(1.0,),
    )  # fmt: skip


def blob(shape: Sequence[int], centre: Sequence[float], radius: Sequence[float]) -> np.ndarray:
    grid = np.meshgrid(*(np.arange(side) for side in shape), indexing="ij")
    distance = sum(((axis - c) / r) ** 2 for axis, c, r in zip(grid, centre, radius, strict=True))
    return np.asarray(np.exp(-np.log(2) * distance))


@pytest.fixture(scope="session")
def pictured(tmp_path_factory: pytest.TempPathFactory, make_store: Callable[..., Any]) -> tuple[Evidence, Workspace]:
    """A study whose workspace holds images, predictions of lcs (whole images) and ncs (crops), and restorations."""
    return fill(Workspace(tmp_path_factory.mktemp("work")), make_store)


def fill(workspace: Workspace, make_store: Callable[..., Any]) -> tuple[Evidence, Workspace]:
    rng = np.random.default_rng(3)
    ids = [f"patient-{number}" for number in range(8)]
    centres = {id_: (14 + number, 26 - number, 12) for number, id_ in enumerate(ids)}
    images = {
        id_: {
            "image": np.clip(
                0.25 + 0.4 * blob(SHAPE, centres[id_], (11, 8, 7)) + 0.05 * rng.standard_normal(SHAPE), 0, 1
            ),
            "label": blob(SHAPE, centres[id_], (11, 8, 7)) > 0.5,
            "candidates": [((float(centres[id_][0]), float(centres[id_][1]), 12.0), True)],
        }
        for id_ in ids
    }
    store = make_store(workspace.path("stores", key_of(DATA)), images)
    evidence = study(tasks=("ncs", "lcs"), pretraining_seeds=1, fine_tuning_seeds=1, fractions=(1.0,))
    for rank, method in enumerate(METHODS):
        for task in ("ncs", "lcs"):
            (run,) = evidence.runs[method, task]
            predict(run.record, workspace, store, centres, radius=6 + rank, crops=task == "ncs")
    for method in METHODS[1:]:
        recipe = evidence.runs[method, "lcs"][0].record["recipe"]["initialisation"]
        folder = workspace.path("initialisations", key_of(recipe))
        folder.mkdir(parents=True)
        targets = np.stack([blob((32, 32), rng.uniform(8, 24, 2).tolist(), (9, 6)) for _ in range(8)]).astype(
            np.float32
        )
        corrupted = np.where(np.kron(rng.random((8, 8, 8)) < 0.3, np.ones((4, 4))), 0, targets)
        np.savez(folder / "examples.npz", inputs=corrupted, outputs=(targets + corrupted) / 2, targets=targets)
    return evidence, workspace


def predict(record: Any, workspace: Workspace, store: Any, centres: dict, *, radius: float, crops: bool) -> None:
    found: dict[str, Any] = {}
    record["cases"] = []
    for number, id_ in enumerate(sorted(centres)):
        truth = np.asarray(store.label(id_), np.uint8)
        probability = np.asarray(blob(SHAPE, centres[id_], (radius, radius * 0.8, 7)), np.float16)
        if crops:
            corner = [int(c) - side // 2 for c, side in zip((*centres[id_][:2], 12), PATCH, strict=True)]
            window = tuple(slice(start, start + side) for start, side in zip(corner, PATCH, strict=True))
            truth, probability = truth[window], probability[window]
        found |= {f"probability_{number}": probability, f"truth_{number}": truth}
        both = int(((probability > 0.5) & (truth > 0)).sum())
        sizes = int((probability > 0.5).sum()), int(truth.sum())
        record["cases"].append(
            {"case": f"{id_}#0" if crops else id_, "true": sizes[1], "predicted": sizes[0], "both": both,
             "dice_case": 2 * both / sum(sizes)}
        )  # fmt: skip
    folder = workspace.path("predictions")
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / f"{record['key']}.npz", ids=[case["case"] for case in record["cases"]], **found)
