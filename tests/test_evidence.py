"""The suites whose verdicts are published: their claims can be decided, and nothing else opens their patients."""

from collections import Counter
from pathlib import Path

import pytest

from sg_bench import resources
from sg_bench.suite import Suite, load_suite, suite_tasks

ROOT = Path(__file__).resolve().parents[1]
REFERENCES = ["mini", "examples/hippocampus/label-efficiency.yaml", "examples/chest_films/pretraining.yaml"]


def _suite(reference: str) -> Suite:
    return load_suite(str(ROOT / reference) if reference.endswith(".yaml") else reference)


@pytest.mark.parametrize("reference", REFERENCES)
def test_every_claim_compares_cells_that_the_suite_runs(reference):
    suite = _suite(reference)
    written = {task.label: name for task, name in zip(suite_tasks(suite), suite.tasks, strict=True)}
    for claim in suite.claims:
        for method in (claim.better, claim.than):
            if isinstance(method, str):
                assert suite.pairs(method, written[claim.task]), claim.name
                assert claim.fine_tuning_seeds == suite.fine_tuning_seeds_of(method, written[claim.task])
        assert claim.pretraining_seeds == suite.pretraining_seeds


@pytest.mark.parametrize("reference", REFERENCES)
def test_all_claims_are_tested_alike(reference):
    suite = _suite(reference)
    ways = Counter((c.test, c.alternative, c.alpha, c.least_difference) for c in suite.claims)
    assert list(ways) == [("welch", "two-sided", 0.05, 0.02)]


def test_mini_reads_held_out_patients_alone_and_no_other_suite_does():
    def cohorts(suite: Suite) -> set[str]:
        configs = [corpus.config for corpus in suite.corpora.values() if corpus.source == "phantom"]
        configs += [task.data.config for task in suite_tasks(suite) if task.data.source == "phantom"]
        return {str(config.get("cohort", "development")) for config in configs}

    others = set().union(*(cohorts(load_suite(name)) for name in resources.suites() if name != "mini"))
    assert cohorts(load_suite("mini")) == {"held_out"}
    assert "held_out" not in others


def test_the_development_patients_of_mini_differ_by_the_cohort_alone():
    from sg_bench.tasks import read_task

    for name in ("ncc", "ncs", "lcs", "bms", "dxc", "pxs"):
        chosen, run = (read_task(f"{name}[data=phantom-mini{end}]") for end in ("-development", ""))
        assert {**chosen.data.config, "cohort": "held_out"} == run.data.config
        assert chosen.key_content(["data"]) == run.key_content(["data"])


def test_the_test_patients_of_the_hippocampus_are_sixty():
    listed = (ROOT / "examples/hippocampus/test-60.txt").read_text().split()
    assert len(set(listed)) == len(listed) == 60
