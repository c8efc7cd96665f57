"""Checks speak of what was computed, also where some of what it stood on is gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sg_bench.ledger import Ledger
from sg_bench.planning import Plan, plan
from sg_bench.running.checks import check
from sg_bench.suite import Suite
from sg_bench.workspace import Workspace, write_json

SUITE: dict[str, Any] = {
    "name": "mine",
    "corpora": {"3d": {"name": "phantom", "source": "phantom"}},
    "methods": ["semantic_genesis"],
    "tasks": ["ncs[data=phantom]"],
}


@pytest.fixture
def planned() -> Plan:
    return plan(Suite.model_validate(SUITE))


def curve(*losses: float, accuracy: float = 0.9) -> list[dict[str, Any]]:
    return [{"stage": "only", "train": {"loss": loss}, "validation": {"accuracy": accuracy}} for loss in losses]


def settle(found: Plan, workspace: Workspace, *losses: float) -> None:
    for job in found.of_kind("cell"):
        Ledger(workspace).put(
            {"key": job.key, "status": "done", "recipe": job.recipe.key_content(), "curves": curve(*losses)}
        )


@pytest.mark.parametrize(("losses", "holds"), [((3.0, 4.0, 2.0), True), ((2.0, 1.0, 2.5), False)])
def test_losses_fall_from_the_first_epoch_to_the_last(
    planned: Plan, tmp_path: Path, losses: tuple[float, ...], holds: bool
) -> None:
    settle(planned, Workspace(tmp_path), *losses)
    assert check("losses_fall", planned, Workspace(tmp_path)).holds == holds


def test_an_initialisation_that_is_gone_is_passed_over(planned: Plan, tmp_path: Path) -> None:
    settle(planned, Workspace(tmp_path), 2.0, 1.0)
    assert check("losses_fall", planned, Workspace(tmp_path)).detail == "1 curves"
    assert check("pseudo_labels_above_chance", planned, Workspace(tmp_path)).holds


@pytest.mark.parametrize(("accuracy", "holds"), [(0.9, True), (0.02, False)])
def test_pseudo_labels_are_held_against_chance(planned: Plan, tmp_path: Path, accuracy: float, holds: bool) -> None:
    workspace = Workspace(tmp_path)
    for job in planned.of_kind("initialisation"):
        rows = curve(2.0, 1.0, accuracy=accuracy)
        write_json(workspace.path("initialisations", job.key) / "record.json", {"curves": rows})
    (patterns,) = planned.of_kind("patterns")
    windows = [{"validation": row % 2 == 0} for row in range(100)]
    write_json(workspace.path("patterns", patterns.key) / "index.json", {"windows": windows})
    verdict = check("pseudo_labels_above_chance", planned, workspace)
    assert verdict.holds == holds
    assert "of 50 cubes" in verdict.detail


def test_methods_that_use_the_cubes_but_not_their_pseudo_labels_are_held_against_nothing(tmp_path: Path) -> None:
    found, workspace = plan(Suite.model_validate({**SUITE, "methods": ["self_restoration"]})), Workspace(tmp_path)
    for job in found.of_kind("initialisation"):
        rows = [{"stage": "pretrain", "train": {"loss": 1.0}, "validation": {"loss": 1.0}}]
        write_json(workspace.path("initialisations", job.key) / "record.json", {"curves": rows})
    (patterns,) = found.of_kind("patterns")
    write_json(workspace.path("patterns", patterns.key) / "index.json", {"windows": [{"validation": True}]})
    verdict = check("pseudo_labels_above_chance", found, workspace)
    assert verdict.holds
    assert "no pseudo-labels" in verdict.detail
