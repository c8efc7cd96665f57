"""The price of a plan: pure functions of measurements and of what is to be done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sg_bench.ledger import Ledger
from sg_bench.planning import (
    START,
    Machines,
    Measurement,
    Plan,
    cost_name,
    hardware_name,
    keep_measurement,
    measured_hardware,
    plan,
    portions,
    price,
    shown_bytes,
    shown_duration,
    unmeasured,
)
from sg_bench.planning.makespan import Timed, wall_seconds
from sg_bench.planning.measurements import read_measurements
from sg_bench.suite import Suite
from sg_bench.workspace import Workspace

HARDWARE: dict[str, Any] = {"device": "cpu", "processor": "A processor", "cores": 4}
NAME = hardware_name(HARDWARE)
PHANTOM = {"name": "phantom", "source": "phantom", "config": {"patients": 20}}
RATES = Measurement(
    job_seconds=1.0, step_seconds=0.5, case_seconds=0.25, job_bytes=1000.0, case_bytes=10.0, record_bytes=7.0
)
MACHINES = Machines(NAME, slots=2, cores=4)


def planned(workspace: Workspace, **changes: Any) -> Plan:
    settings: dict[str, Any] = {
        "name": "small",
        "corpora": {"3d": PHANTOM},
        "methods": ["scratch", "models_genesis"],
        "tasks": ["ncs[data=phantom]", "lcs[data=phantom]"],
        "fine_tuning_seeds": [0, 1],
        "pretraining": {"training": {"epochs": 4, "steps_per_epoch": 5, "patience": None}},
        "fine_tuning": {"steps": 20, "steps_per_epoch": 5, "patience": None},
    }
    return plan(Suite.model_validate({**settings, **changes}), {}, workspace)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def keep(
    workspace: Workspace, found: Plan, rates: Measurement = RATES, kinds: str = "store initialisation cell"
) -> None:
    for job in found.jobs.values():
        if job.kind in kinds.split():
            keep_measurement(workspace, NAME, cost_name(job.recipe), rates, job.title)


def test_without_a_measurement_there_is_no_price(workspace: Workspace) -> None:
    found = planned(workspace)
    jobs = found.pending(workspace)
    priced = price(found, jobs, workspace, MACHINES)
    assert (priced.jobs, len(priced.unknown), priced.seconds) == ((), len(jobs), 0.0)
    # One of each kind of settings: seeds, and the weights that a cell starts from, change nothing.
    kinds = [job.kind for job in unmeasured(found, jobs, workspace, NAME)]
    assert sorted(kinds) == ["cell", "cell", "initialisation", "initialisation", *["store"] * kinds.count("store")]


def test_a_job_costs_its_rates_times_what_it_has_to_do(workspace: Workspace) -> None:
    found = planned(workspace)
    keep(workspace, found)
    priced = price(found, found.pending(workspace), workspace, MACHINES)
    assert not priced.unknown
    seconds = {each.job.title: each.seconds for each in priced.jobs}
    assert seconds["pretrain scratch, seed 0"] == 1.0
    assert seconds["pretrain models_genesis, seed 0"] == pytest.approx(1.0 + 20 * 0.5 + 20 * 0.25)
    stores = priced.of_kind("store")
    assert [each.seconds for each in stores] == [1.0 + each.job.recipe.manifest.cases * 0.25 for each in stores]
    cell = priced.of_kind("cell")[0]
    tested = (cell.seconds - 1.0 - 20 * 0.5) / 0.25
    assert 1 <= tested < 20
    assert cell.disk == {"predictions": pytest.approx(10 * tested), "cells": 7.0}
    assert priced.disk()["initialisations"] == pytest.approx(2 * (1000 + 7) + 20 * 10)


def test_what_patience_may_end_has_a_range(workspace: Workspace) -> None:
    found = planned(workspace, fine_tuning={"epochs": 100, "steps_per_epoch": 5, "patience": 9})
    keep(workspace, found)
    cell = next(
        each for each in price(found, found.pending(workspace), workspace, MACHINES).jobs if each.job.kind == "cell"
    )
    assert cell.most_seconds - cell.seconds == pytest.approx(90 * 5 * 0.5)


def test_what_equal_jobs_took_on_this_hardware_counts_instead(workspace: Workspace) -> None:
    found = planned(workspace)
    keep(workspace, found)
    first, second = [job for job in found.of_kind("cell") if "scratch on lcs" in job.title]
    for job, hardware, seconds in ((first, HARDWARE, 77.0), (second, {**HARDWARE, "cores": 64}, 1.0)):
        ran = {"wall_seconds": seconds, "hardware": hardware}
        record = {"key": job.key, "status": "done", "recipe": job.recipe.key_content(), "metrics": {}, "cases": []}
        Ledger(workspace).put({**record, "outputs": {}, "error": None, "ran": ran})
    priced = price(found, found.jobs.values(), workspace, MACHINES)
    taken = {each.job.title: each.seconds for each in priced.jobs if each.basis == "finished"}
    assert set(taken.values()) == {77.0}
    assert sorted(taken) == [
        "models_genesis on lcs[data=phantom], seeds 0/0",
        "models_genesis on lcs[data=phantom], seeds 0/1",
        "scratch on lcs[data=phantom], seeds 0/0",
        "scratch on lcs[data=phantom], seeds 0/1",
    ]


def test_starting_processes_counts_once(workspace: Workspace) -> None:
    found = planned(workspace)
    keep(workspace, found)
    before = price(found, found.pending(workspace), workspace, MACHINES).seconds
    keep_measurement(workspace, NAME, START, Measurement(first_seconds=30.0), "start")
    assert price(found, found.pending(workspace), workspace, MACHINES).seconds == pytest.approx(before + 30)


def test_damaged_measurements_count_as_none(workspace: Workspace) -> None:
    keep_measurement(workspace, NAME, "one", RATES, "a job")
    keep_measurement(workspace, NAME, "two", RATES, "a job")
    path = next(workspace.path("costs").glob("*/one.json"))
    path.write_text(path.read_text().replace("0.5", "0.1"))
    assert read_measurements(workspace, NAME) == {"two": RATES}
    assert read_measurements(workspace, "another machine") == {}
    assert measured_hardware(workspace) == [NAME]


def test_a_budget_fills_the_table_seed_by_seed_and_counts_shared_work_once(workspace: Workspace) -> None:
    found = planned(workspace)
    keep(workspace, found)
    priced = price(found, found.pending(workspace), workspace, MACHINES)
    whole = portions(found, priced, 1.0)
    assert [each.fits for each in whole] == [True] * 4
    assert [each.fine_tuning_seed for each in whole] == [0, 0, 1, 1]
    assert sum(each.seconds for each in whole) == pytest.approx(priced.seconds)
    assert whole[0].seconds > whole[2].seconds  # the second seed finds stores and pretrainings there
    little = portions(found, priced, (whole[0].seconds + 0.1) / 3600)
    assert [each.fits for each in little] == [True, False, False, False]
    assert not any(each.fits for each in portions(found, priced, 0.0))


class TestWallTime:
    def test_jobs_run_side_by_side_and_after_what_they_need(self) -> None:
        jobs = [Timed("s", "store", 10, parts=2), Timed("p", "initialisation", 6, ("s",))]
        jobs += [Timed(name, "cell", 4, ("p",)) for name in "abc"]
        assert wall_seconds(jobs, 1) == 10 + 6 + 12
        assert wall_seconds(jobs, 2) == 5 + 6 + 8

    def test_a_gpu_has_one_training_at_a_time(self) -> None:
        jobs = [Timed(name, "cell", 4, on_card=True) for name in "abcd"]
        assert wall_seconds(jobs, 8, cards=2) == 8
        assert wall_seconds(jobs, 8) == 4

    def test_several_workers_take_several_processes(self) -> None:
        jobs = [Timed("a", "initialisation", 4, workers=2), Timed("b", "initialisation", 4, workers=2)]
        assert wall_seconds(jobs, 3) == 8
        assert wall_seconds(jobs, 4) == 4
        assert wall_seconds(jobs, 1) == 8  # more than there are: as many as there are

    def test_nothing_takes_no_time(self) -> None:
        assert wall_seconds([], 2) == 0.0


def test_durations_and_sizes_are_shown_as_people_read_them() -> None:
    assert [shown_duration(s) for s in (0.4, 12, 600, 7200 * 2, 1e6)] == [
        "0.4 s",
        "12 s",
        "10 min",
        "4.0 h",
        "11.6 days",
    ]
    assert [shown_bytes(b) for b in (12, 3400, 52e6, 4.2e9, 3e12)] == ["12 B", "3.4 kB", "52 MB", "4.2 GB", "3.0 TB"]
