"""`sg-bench power` answers without a ledger for a number of seeds, and from a ledger for each method and task."""

from __future__ import annotations

from functools import partial

import pytest

from sg_bench.cli.selection import select
from sg_bench.ledger import Ledger
from sg_bench.workspace import Workspace
from tests.cli.conftest import Ask, write

SUITE = {
    "corpora": {"3d": {"name": "phantom", "source": "phantom"}},
    "methods": ["scratch", {"name": "scratch", "label": "wide", "config": {"width": 64}}],
    "tasks": ["ncs[data=phantom]", "lcs[data=phantom]"],
    "fine_tuning_seeds": "0-5",
}


@pytest.fixture
def ask(ask: Ask) -> Ask:
    """Return a function that runs `sg-bench power ...` in an empty folder with a suite."""
    write(SUITE)
    return partial(ask, "power")


def finish(scores: dict[str, float], *settings: str) -> None:
    """Put a record of each cell on ncs into the ledger: a method's level, and 0.01 more with each seed."""
    plan = select("mine.yaml", settings=list(settings)).plan
    for cell in plan.cells:
        if cell.task == "ncs[data=phantom]" and cell.method in scores:
            value = scores[cell.method] + 0.01 * (cell.fine_tuning_seed + cell.pretraining_seed)
            record = {
                "key": cell.key,
                "status": "done",
                "recipe": plan.jobs[cell.key].recipe.key_content(),
                "cases": [],
            }
            metrics = {"headline": "iou_bin", "parity": None, "metrics": {"iou_bin": value}, "error": None}
            Ledger(Workspace.default()).put({**record, **metrics})


class TestWithoutALedger:
    @pytest.mark.parametrize(("comparisons", "effect"), [("1", "1.32"), ("9", "1.81"), ("54", "2.19")])
    def test_it_tells_the_least_effect_that_so_many_seeds_find(self, ask: Ask, comparisons: str, effect: str) -> None:
        code, out, _ = ask("--n", "10", "--comparisons", comparisons)
        assert code == 0
        assert f"a difference of {effect} standard deviations (Cohen's d) is found with probability 0.8" in out

    def test_so_few_seeds_that_no_test_is_made_are_told(self, ask: Ask) -> None:
        assert "The report makes no test below n = 5" in ask("--n", "4")[1]
        assert "no test" not in ask("--n", "5")[1]

    def test_one_of_number_and_suite_is_needed(self, ask: Ask) -> None:
        for arguments in ([], ["--n", "10", "--suite", "demo"]):
            code, out, err = ask(*arguments)
            assert (code, out) == (2, "")
            assert "either --n or --suite" in err

    def test_a_number_that_makes_no_sense_is_one_line(self, ask: Ask) -> None:
        code, _, err = ask("--n", "1")
        assert (code, len(err.splitlines())) == (2, 1)


class TestFromALedger:
    def test_it_tells_what_was_measured_and_how_many_more_seeds_are_needed(self, ask: Ask) -> None:
        finish({"scratch": 0.5, "wide": 0.52})
        code, out, _ = ask("--suite", "mine.yaml", "--task", "ncs[data=phantom]")
        assert code == 0
        # d = 0.02 / 0.0187 = 1.07, for which two-sided alpha 0.05 and power 0.8 take 15 a side
        assert "difference +2.00, spread 1.87, d = 1.07, n = 6 and 6, power 0.39, needed 15: 9 more fine-tuning" in out
        assert "about this checkpoint only" in out

    def test_a_stated_difference_is_sought_instead_of_the_measured_one(self, ask: Ask) -> None:
        finish({"scratch": 0.5, "wide": 0.52})
        _, out, _ = ask("--suite", "mine.yaml", "--task", "ncs[data=phantom]", "--difference", "0.06")
        assert "difference +2.00 (sought 6.00), spread 1.87, d = 3.21" in out
        assert "needed 5: 6 fine-tuning seeds are enough" in out

    def test_several_pretrainings_are_what_is_counted(self, ask: Ask) -> None:
        finish({"scratch": 0.5, "wide": 0.52}, "pretraining_seeds=0-2")
        _, out, _ = ask("--suite", "mine.yaml", "--task", "ncs[data=phantom]", "--pretraining-seeds", "0-2")
        assert "n = 3 and 3" in out
        assert "more pretraining seeds" in out
        assert "checkpoint" not in out

    def test_one_of_several_planned_pretrainings_is_about_this_checkpoint_only(self, ask: Ask) -> None:
        finish({"scratch": 0.5, "wide": 0.52})
        _, out, _ = ask("--suite", "mine.yaml", "--task", "ncs[data=phantom]", "--pretraining-seeds", "0-2")
        assert "n = 6 and 6" in out
        assert "There is one pretraining (scratch, wide), so fine-tuning seeds are counted" in out

    def test_more_comparisons_need_more_seeds(self, ask: Ask) -> None:
        finish({"scratch": 0.5, "wide": 0.52})
        _, out, _ = ask("--suite", "mine.yaml", "--task", "ncs[data=phantom]", "--comparisons", "9")
        assert "alpha 0.05 shared by 9 comparisons" in out
        assert "needed 25: 19 more" in out

    def test_what_is_not_measured_is_said_to_be_so(self, ask: Ask) -> None:
        finish({"scratch": 0.5})
        _, out, _ = ask("--suite", "mine.yaml")
        assert "n = 0 and 6: two seeds a side are needed" in out
        assert "nothing is done yet" in out

    def test_equal_scores_leave_nothing_to_count_with(self, ask: Ask) -> None:
        finish({"scratch": 0.5, "wide": 0.5})
        _, out, _ = ask("--suite", "mine.yaml", "--task", "ncs[data=phantom]")
        assert "no difference, nothing to count with" in out

    def test_an_unknown_method_suggests_the_nearest(self, ask: Ask) -> None:
        code, out, err = ask("--suite", "mine.yaml", "--against", "scrath")
        assert (code, out) == (2, "")
        assert "Did you mean 'scratch'" in err
