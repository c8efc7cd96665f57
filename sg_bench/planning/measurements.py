"""Measured costs of jobs, kept in the workspace by the hardware's name and by the settings that decide them.

A measurement holds rates: seconds of a training step, of a validation sample, of a case. `planning.price` multiplies
them by what a job has to do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from sg_bench.config import key_of
from sg_bench.digests import read_sealed, write_sealed
from sg_bench.methods.configs import MethodConfig
from sg_bench.recipes import CellRecipe, DiscoveryRecipe, PretrainingRecipe, Recipe, StoreRecipe
from sg_bench.workspace import Workspace

LENGTH = ("epochs", "steps", "steps_per_epoch", "patience")
"""Settings of a training that do not change the cost of a step."""
START = "start"
"""Name of the measurement of starting a process, which depends on no setting."""


@dataclass(frozen=True)
class Measurement:
    """What jobs of the same settings cost on one kind of hardware; a quantity that a kind of job lacks is 0."""

    job_seconds: float = 0.0
    """Once a job: building the network, loading, scoring, writing."""
    step_seconds: float = 0.0
    """A training step, with the making of its batch."""
    epoch_seconds: float = 0.0
    """Between two epochs, where nothing is validated."""
    sample_seconds: float = 0.0
    """A validation sample."""
    case_seconds: float = 0.0
    """A case: prepared, cut for a corpus, encoded, or tested."""
    window_seconds: float = 0.0
    """A window of a discovery."""
    first_seconds: float = 0.0
    """More in the first job of these settings in a process, as for what it imports and compiles."""
    processor_share: float = 1.0
    """Processor seconds in a second."""
    train_samples: float = 0.0
    """Training samples of a case."""
    validation_samples: float = 0.0
    """Validation samples of a case."""
    job_bytes: float = 0.0
    """Written by a job, whatever its data."""
    case_bytes: float = 0.0
    """Written for each case, or window of a discovery."""
    record_bytes: float = 0.0
    """Of the record and its tables."""


def training_settings(recipe: CellRecipe | PretrainingRecipe) -> dict[str, Any]:
    """Return what decides the cost of a step: network, batch, images and arithmetic, but no seed, split or length."""
    if isinstance(recipe, PretrainingRecipe):
        return {
            "method": recipe.method,
            "config": _without_length(recipe.config),
            "classes": recipe.classes,
            "workers": recipe.config.workers,
        }
    left_out = ["split", "fraction", *(f"training.{name}" for name in LENGTH)]
    return {
        "task": recipe.task.key_content(without=left_out),
        "preparation": recipe.store.preparation.key_content(),
        "network": recipe.initialisation.config.chosen_network.key_content(),
    }


def cost_settings(recipe: Recipe) -> dict[str, Any]:
    """Return what decides the rates of a job's cost."""
    if isinstance(recipe, StoreRecipe):
        return {
            "source": recipe.source,
            "config": recipe.config.key_content(),
            "preparation": recipe.preparation.key_content(),
        }
    if isinstance(recipe, DiscoveryRecipe):
        encoder = _without_length(recipe.autoencoder.config) if recipe.autoencoder else None
        return {
            "discovery": recipe.settings.key_content(),
            "encoder": encoder,
            "store": cost_settings(recipe.corpus.store),
        }
    if isinstance(recipe, PretrainingRecipe):
        store = cost_settings(recipe.corpus.store) if recipe.corpus else None
        return {**training_settings(recipe), "store": store}
    return {**training_settings(recipe), "store": cost_settings(recipe.store)}


def cost_name(recipe: Recipe) -> str:
    """Return the name under which the measurement of a job's settings is kept (64 hex digits)."""
    return key_of(cost_settings(recipe))


def hardware_name(hardware: Mapping[str, Any]) -> str:
    """Return what a record's hardware is called: "A GPU (a processor, 8 cores)"; "" for none."""
    device = str(hardware.get("device") or "")
    processor = f"{hardware.get('processor') or 'unknown processor'}, {hardware.get('cores') or '?'} cores"
    return "" if not hardware else processor if device in ("", "cpu") else f"{device} ({processor})"


def keep_measurement(workspace: Workspace, hardware: str, name: str, found: Measurement, about: str) -> None:
    """Write a measurement; `about` names what was measured, for readers of the file."""
    content = {"schema": 1, "hardware": hardware, "about": about, "measured": asdict(found)}
    write_sealed(_folder(workspace, hardware) / f"{name}.json", content)


def read_measurements(workspace: Workspace, hardware: str) -> dict[str, Measurement]:
    """Return the measurements on one kind of hardware by their names; damaged files count as not measured."""
    found = {}
    for path in sorted(_folder(workspace, hardware).glob("*.json")):
        content = _read(path)
        if content and content["hardware"] == hardware:
            found[path.stem] = Measurement(**content["measured"])
    return found


def measured_hardware(workspace: Workspace) -> list[str]:
    """Return the names of the hardware that something was measured on."""
    found = (_read(path) for path in sorted(workspace.path("costs").glob("*/*.json")))
    return sorted({content["hardware"] for content in found if content})


def _read(path: Path) -> dict[str, Any] | None:
    """Return a file of `keep_measurement`; None if it is damaged or of another schema."""
    known = {each.name for each in fields(Measurement)}
    try:
        content: dict[str, Any] = read_sealed(path)
        measured = content["measured"]
        numbers = all(isinstance(value, int | float) for value in measured.values())
        return content if content["schema"] == 1 and measured.keys() <= known and numbers else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _without_length(config: MethodConfig) -> dict[str, Any]:
    content: dict[str, Any] = config.key_content(without=[f"training.{name}" for name in LENGTH])
    return content


def _folder(workspace: Workspace, hardware: str) -> Path:
    return workspace.path("costs", re.sub(r"[^a-z0-9]+", "-", hardware.lower()).strip("-") or "unknown")
