"""Export of results by the name of a format."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sg_bench.errors import UsageError, did_you_mean
from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.exports.bibtex import write_references
from sg_bench.reporting.exports.tabular import write_tables
from sg_bench.reporting.exports.tracked import TrackedRun, tracked_runs
from sg_bench.workspace import Workspace


class Tracker(Protocol):
    """Stores runs for a tracker of experiments; runs that are there and have not changed are kept."""

    hint: str
    """The command that shows what was stored."""

    def add(self, run: TrackedRun) -> bool:
        """Store a run; return False if it is there already."""


TRACKERS = {"tensorboard": "tensorboard:TensorBoardFiles", "mlflow": "mlflow:MLflowStore", "wandb": "wandb:WandbFolder"}
"""Class of each tracker, in a module of this package that is imported on use."""
FORMATS = (*TRACKERS, "parquet", "csv", "bibtex")


@dataclass(frozen=True)
class Exported:
    """What an export has written."""

    to: str
    """The format."""
    out: str
    """The folder or address."""
    runs: int
    """Finished cells and pretrainings that were covered; lines of the table of scores; entries of the references."""
    added: int
    """Those of them that were not there before."""
    hint: str
    """What to do with it."""


def export(
    evidence: Evidence,
    to: str,
    out: Path | str,
    *,
    workspace: Workspace | None = None,
    name: str = "sg-bench",
) -> Exported:
    """Export results in one of FORMATS.

    Args:
        evidence: cells and records.
        to: the format.
        out: a folder; for MLflow also the address of a tracking server.
        workspace: has pretrainings, predictions and images; without it only the fine-tunings are exported, without
            images.
        name: of the suite: the experiment of MLflow, the project of Weights & Biases.

    Raises:
        UsageError: there is no such format, a library is not installed, or nothing is finished.
    """
    check_format(to)
    if not evidence.runs:
        raise UsageError("nothing to export: no cell is finished", hint="Run the suite first: sg-bench run")
    if to in TRACKERS:
        tracker = open_tracker(to, out, name)
        added = [tracker.add(run) for run in tracked_runs(evidence, workspace)]
        return Exported(to, str(out), len(added), sum(added), tracker.hint)
    folder = Path(out)
    if to == "bibtex":
        count, path = write_references(evidence, folder)
        return Exported(to, str(path), count, count, "\\bibliography{references} in LaTeX")
    rows = write_tables(evidence, folder, to)
    return Exported(to, str(folder), rows, rows, f"{folder / 'data-dictionary.md'} describes the columns")


def check_format(to: str) -> None:
    """Check the name of a format.

    Raises:
        UsageError: there is none of that name.
    """
    if to not in FORMATS:
        raise UsageError(f"unknown format '{to}'", hint=did_you_mean(to, FORMATS))


def open_tracker(to: str, out: Path | str, name: str) -> Tracker:
    """Return the tracker that stores runs in a folder, or at an address.

    Raises:
        UsageError: there is no such tracker, or its library is not installed.
    """
    if to not in TRACKERS:
        raise UsageError(f"unknown tracker '{to}'", hint=did_you_mean(to, TRACKERS))
    module, _, attribute = TRACKERS[to].partition(":")
    create: Callable[[Path | str, str], Tracker] = getattr(
        importlib.import_module(f"{__package__}.{module}"), attribute
    )
    try:
        return create(out, re.sub(r"[^A-Za-z0-9_.-]+", "-", name) or "sg-bench")
    except ImportError as error:
        hint = f"pip install 'sg-bench[{to}]'"
        raise UsageError(f"export to {to} needs a library that is not installed ({error.name})", hint=hint) from error
