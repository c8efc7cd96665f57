"""A mean over runs is a mean over the same runs at every step."""

from typing import Any

import pytest

from sg_bench.planning import PlannedCell
from sg_bench.reporting.evidence import Run
from sg_bench.reporting.figures.learning_curves import curve_of, panel_of, plots

CELL = PlannedCell("key", "scratch", "ncc", 0, 0)


def run(*losses: float, every: int = 10) -> Run:
    entries = [{"step": every * n, "validation": {"loss": loss}} for n, loss in enumerate(losses, start=1)]
    return Run(CELL, {"curves": entries})


def test_a_line_ends_where_the_first_run_stopped():
    curve: Any = curve_of([run(0.9, 0.7, 0.5), run(0.7, 0.5)])
    assert curve.means == pytest.approx({10: 0.8, 20: 0.6})
    assert curve.runs == 2
    assert curve.shortened


def test_steps_to_a_goal_count_to_the_first_mean_that_is_as_low():
    curve: Any = curve_of([run(0.9, 0.6, 0.7)])
    assert curve.steps_to(0.6) == 20
    assert curve.steps_to(0.1) is None
    assert curve.best == 0.6


def test_runs_without_a_shared_validation_give_no_curve():
    assert curve_of([]) is None
    assert curve_of([Run(CELL, {"curves": []})]) is None
    assert curve_of([run(0.5, every=7), run(0.5, every=11)]) is None


def test_scratch_reaches_its_own_best_and_faster_methods_sooner(evidence):
    panel = panel_of(evidence, "lcs")
    goal: Any = panel.goal(["scratch"])
    steps: Any = {method: curve.steps_to(goal) for method, curve in panel.curves.items()}
    assert goal == panel.curves["scratch"].best
    assert steps["semantic_genesis"] < steps["scratch"]
    assert f"lcs: scratch {steps['scratch']}, " in plots(evidence)[0].caption


def test_fractions_of_the_labels_are_left_out_and_the_caption_states_it(evidence):
    assert "Runs on a fraction of the labels are not drawn." in plots(evidence)[0].caption
