"""A disk that is full while something is written leaves what was there before, and nothing half-written."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sg_bench.data.prepare import PreparedCase
from sg_bench.data.sources.base import Case
from sg_bench.data.store import finish, has_case, write_case
from sg_bench.digests import write_npz, write_sealed
from sg_bench.discovery.patterns import Reference, Window
from sg_bench.discovery.store import write_patterns
from sg_bench.evaluation.predictions import Predictions
from sg_bench.ledger import Ledger, copy_record
from sg_bench.workspace import Workspace, write_atomic

KEY = "ab" * 32
LIMIT = 4096
"""Bytes that a file may have while the disk is full."""
NOISE = np.random.default_rng(0).random((40, 40, 40))
PREDICTIONS = Predictions({"a": NOISE.astype(np.float16)}, {"a": (NOISE > 0.5).astype(np.uint8)})


@contextmanager
def full_disk() -> Iterator[None]:
    """Refuse to write more than LIMIT bytes to any file of this process: OSError, as a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def record(cases: int = 4000) -> dict[str, Any]:
    draw = np.random.default_rng(cases)
    rows = [{"case": f"case-{number}", "score": float(draw.random())} for number in range(cases)]
    recipe = {"settings": [float(x) for x in draw.random(400)]}
    return {"key": KEY, "status": "done", "recipe": recipe, "metrics": {"auc": 0.5}, "cases": rows}


def patterns(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    windows = [Window(0, "a", (0, 0, 0), (32, 32, 32), False)]
    write_patterns(folder, [Reference(0, "a", (0, 0, 0))], windows, lambda _: NOISE.astype(np.float16), (32, 32, 32))


def save_weights(folder: Path) -> None:
    import torch

    from sg_bench.networks.weights import save_initialisation

    save_initialisation(folder, {"down_tr.weight": torch.from_numpy(NOISE)}, {})


def save_checkpoint(folder: Path) -> None:
    import torch

    from sg_bench.training.checkpoints import save_state

    save_state(folder, {"network": {"weight": torch.from_numpy(NOISE)}})


def case(folder: Path) -> None:
    write_case(folder, Case("a", "a"), PreparedCase(NOISE.astype(np.float16), (1.0, 1.0, 1.0), np.eye(4)))


WRITERS: dict[str, Callable[[Path], object]] = {
    "a file": lambda folder: write_atomic(folder / "file", bytes(10 * LIMIT)),
    "a record with a digest": lambda folder: write_sealed(folder / "record.json", record()),
    "a record and its tables": lambda folder: Ledger(Workspace(folder)).put(record()),
    "a copy of a record": lambda folder: copy_record(record(), folder),
    "predictions": lambda folder: PREDICTIONS.save(folder / "predictions.npz"),
    "example images": lambda folder: write_npz(folder / "examples.npz", {"inputs": NOISE}),
    "weights": save_weights,
    "a checkpoint": save_checkpoint,
    "a case of a store": case,
    "patterns": lambda folder: patterns(folder / "patterns"),
}


def contents(folder: Path) -> dict[str, bytes]:
    """Return what is in a folder, without the locks and without empty folders."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.parent.name != "locks")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("what", WRITERS)
def test_what_does_not_fit_on_the_disk_is_an_error_and_leaves_nothing(tmp_path: Path, what: str) -> None:
    (tmp_path / "again").mkdir()
    write = WRITERS[what]
    with full_disk(), pytest.raises(OSError, match=r"File too large|could not be written|requested and \d+ written"):
        write(tmp_path)
    assert contents(tmp_path) == {}
    write(tmp_path)
    before = contents(tmp_path)
    assert before
    with full_disk(), pytest.raises(OSError, match=r"File too large|could not be written|requested and \d+ written"):
        write(tmp_path / "again")
    write(tmp_path / "again")
    assert {name.removeprefix("again/"): raw for name, raw in contents(tmp_path).items()} == before


def test_a_store_whose_last_case_did_not_fit_is_finished_with_the_others_kept(tmp_path: Path) -> None:
    write_case(tmp_path, Case("b", "b"), PreparedCase(NOISE[:2, :2, :2].astype(np.float16), (1.0, 1.0, 1.0), np.eye(4)))
    with full_disk(), pytest.raises(OSError):  # noqa: PT011 - the messages of numpy and Python differ
        case(tmp_path)
    assert (has_case(tmp_path, "a"), has_case(tmp_path, "b")) == (False, True)
    assert not list(tmp_path.glob(".*"))
    case(tmp_path)
    finish(tmp_path, {}, ["a", "b"])
