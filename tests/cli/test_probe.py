"""`sg-bench probe` names the probes of a suite's tasks."""

from __future__ import annotations

from pathlib import Path

import pytest

from sg_bench.cli.probe import probe_variants, shots_of
from sg_bench.cli.scope import _relative
from sg_bench.errors import UsageError
from sg_bench.suite import load_suite
from sg_bench.tasks import read_task
from tests.cli.conftest import Ask


def test_a_classification_has_two_probes_and_a_segmentation_one_for_each_number_of_shots() -> None:
    ncc, lcs = read_task("ncc"), read_task("lcs")
    both = ["ncc[data=phantom,probe=linear]", "ncc[data=phantom,probe=knn]"]
    assert probe_variants("ncc[data=phantom,steps=4]", ncc, "all", []) == both
    assert probe_variants("lcs", lcs, "all", [1, 5]) == ["lcs[probe=linear,shots=1]", "lcs[probe=linear,shots=5]"]
    assert probe_variants("lcs", lcs, "knn", []) == []
    assert probe_variants("/cards/mine.yaml", ncc, "knn", []) == ["/cards/mine.yaml[probe=knn]"]


def test_where_no_chosen_task_has_such_a_probe_nothing_is_run(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sg_bench.cli.run.run", lambda **_: pytest.fail("the whole suite is run"))
    ask("probe", "--tasks", "lcs", "--probe", "knn").refused("no chosen task has such a probe", "--probe linear")


@pytest.mark.parametrize("text", ["0", "1,x", "-1", "1.5"])
def test_shots_are_numbers_above_zero(text: str) -> None:
    assert shots_of("1, 5") == [1, 5]
    with pytest.raises(UsageError, match="--shots"):
        shots_of(text)


def test_a_report_remembers_a_variant_of_the_suites_own_card_wherever_it_is_called_from() -> None:
    suite = load_suite(str(Path(__file__).parents[1] / "e2e" / "tiny.yaml"))
    assert _relative("tiny_ncc.yaml[probe=knn]", suite, Path("out")) == "tiny_ncc[probe=knn]"
    assert _relative("/cards/mine.yaml[probe=knn]", suite, Path("/cards/out")) == "../mine.yaml[probe=knn]"
