"""Measured peak memory of jobs on GPUs, kept in the workspace by the card's name and by what decides the memory.

A job measures itself: after its first steps, so that others of its kind can join it on the card, and at its end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg_bench.config import key_of
from sg_bench.planning import needs_device, training_settings
from sg_bench.recipes import CellRecipe, PretrainingRecipe, Recipe
from sg_bench.workspace import Workspace, read_json, write_json

if TYPE_CHECKING:
    from sg_bench.training.loop import ProgressCallback

PROBE_STEPS = 2
"""Steps after which a job's peak memory is first noted: by then the optimiser has its state."""
MEGABYTE = 1 << 20


def needs_card(recipe: Recipe) -> bool:
    """Return whether a job computes on a GPU: trainings do; preparation and discovery use the CPU."""
    return needs_device(recipe)


def memory_settings(recipe: CellRecipe | PretrainingRecipe) -> dict[str, Any]:
    """Return what decides the peak memory of a job, which is what decides the cost of a step."""
    return training_settings(recipe)


def measured_mib(workspace: Workspace, card: str, recipe: Recipe) -> float | None:
    """Return the most memory that a job of these settings has held on a card of this name, or None if never measured.

    It is the memory that PyTorch reserved, in MiB, without that of CUDA itself.
    """
    if not isinstance(recipe, (CellRecipe, PretrainingRecipe)):
        return None
    try:
        return float(read_json(_path(workspace, card, recipe))["reserved_mib"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # absent or damaged: measured anew
        return None


def note_peak(
    workspace: Workspace, card: str, recipe: CellRecipe | PretrainingRecipe, *, reserved: float, allocated: float
) -> None:
    """Keep a job's peak memory in MiB, unless another one of the same settings needed more."""
    if reserved > (measured_mib(workspace, card, recipe) or 0.0):
        content = {
            "card": card,
            "reserved_mib": round(reserved, 1),
            "allocated_mib": round(allocated, 1),
            "settings": memory_settings(recipe),
        }
        write_json(_path(workspace, card, recipe), content)


@contextmanager
def peak_noted(recipe: Recipe, workspace: Workspace, progress: ProgressCallback) -> Iterator[ProgressCallback]:
    """Note the peak memory of the job in the block; yield a progress callback that does so after its first steps."""
    card = gpu_name() if isinstance(recipe, (CellRecipe, PretrainingRecipe)) and needs_card(recipe) else None
    if card is None:
        yield progress
        return
    assert isinstance(recipe, (CellRecipe, PretrainingRecipe))
    steps = 0

    def reported(done: int, total: int | None) -> None:
        nonlocal steps
        steps += 1
        if steps == PROBE_STEPS:
            note_peak(workspace, card, recipe, **peak_memory())
        progress(done, total)

    reset_peak()
    try:
        yield reported
        if steps:  # a job that was done already has computed nothing
            note_peak(workspace, card, recipe, **peak_memory())
    finally:
        reset_peak()


def gpu_name() -> str | None:
    """Return the name of the GPU of this process, or None on a CPU."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def reset_peak() -> None:
    """Return cached memory to the GPU, and measure from here."""
    import torch

    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


def peak_memory() -> dict[str, float]:
    """Return the most memory, in MiB, that PyTorch has reserved on the GPU, and that tensors needed of it."""
    import torch

    return {
        "reserved": torch.cuda.max_memory_reserved() / MEGABYTE,
        "allocated": torch.cuda.max_memory_allocated() / MEGABYTE,
    }


def _path(workspace: Workspace, card: str, recipe: CellRecipe | PretrainingRecipe) -> Path:
    name = re.sub(r"[^a-z0-9]+", "-", card.lower()).strip("-")
    return workspace.path("memory", name) / f"{key_of(memory_settings(recipe))}.json"
