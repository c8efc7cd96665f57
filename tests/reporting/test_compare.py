"""A verdict needs comparable numbers, and its tolerance is what the measured spreads allow."""

from __future__ import annotations

import copy
import statistics
from typing import Any

import numpy as np
import pytest
from scipy import stats

from sg_bench.config import key_of, merged
from sg_bench.reporting.compare import CHECKPOINT, RunComparison, ScoreComparison, compare_runs, compare_with_published
from sg_bench.reporting.compare_text import compared_markdown
from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.folders import FoundCell
from sg_bench.reporting.published import load_published

SG = load_published("semantic_genesis_2020")
RECIPE: dict[str, Any] = {
    "kind": "cell",
    "task": {
        "name": "ncs",
        "fraction": 1.0,
        "split": {"seed": 0},
        "training": {"steps": None},
        "headline": "iou_bin",
    },
    "store": {"source": "lidc_idri", "manifest": {"sha256": "ab"}},
    "initialisation": {
        "method": "semantic_genesis",
        "config": {"width": 32},
        "corpus": {"store": {"source": "luna16"}},
        "seed": 0,
    },
}


def evidence(values: Any, pretrainings: int = 1, metric: str = "mean_iou_keras", **changes: Any) -> Evidence:
    """Return runs of one method on one task with these scores, divided over the pretrainings."""
    cells, records = [], {}
    for number, value in enumerate(values):
        seeds = number % pretrainings, number // pretrainings
        recipe = merged(copy.deepcopy(RECIPE), {"pretraining_seed": seeds[0], "fine_tuning_seed": seeds[1]}, changes)
        key, task = key_of(recipe), recipe["task"]["name"]
        parity = "mean_iou_keras" if task == "ncs" else None
        cells.append(FoundCell(key, recipe["initialisation"]["method"], task, *seeds))
        records[key] = {
            "key": key, "status": "done", "recipe": recipe, "metrics": {"iou_bin": 0.5, metric: float(value)},
            "headline": recipe["task"]["headline"], "parity": parity, "cases": [], "error": None,
        }  # fmt: skip
    return Evidence(cells, records)


def scores(mean: float, std: float, n: int = 10) -> Any:
    """Return n scores of exactly this mean and (ddof 1) standard deviation, as fractions of these percentages."""
    raw = np.linspace(-1, 1, n)
    return (mean + std * (raw - raw.mean()) / raw.std(ddof=1)) / 100


def only(compared: RunComparison) -> ScoreComparison:
    (line,) = compared.lines
    return line


def published(*args: Any, **changes: Any) -> ScoreComparison:
    return only(compare_with_published(evidence(*args, **changes), SG))


class TestPublished:
    def test_a_mean_within_the_measured_spreads_is_consistent(self) -> None:
        line = published(scores(77.6, 0.5))
        assert (line.verdict, line.metric) == ("consistent", "mean_iou_keras")
        assert line.difference == pytest.approx(0.0027)

    @pytest.mark.parametrize(("mean", "verdict"), [(79.0, "higher"), (76.0, "lower")])
    def test_a_mean_beyond_them_is_higher_or_lower(self, mean: float, verdict: str) -> None:
        compared = compare_with_published(evidence(scores(mean, 0.5)), SG)
        assert only(compared).verdict == verdict
        assert compared.differs

    def test_the_verdict_is_that_of_welchs_two_sided_test(self) -> None:
        for mean in np.linspace(76.5, 78.2, 40):
            line = published(scores(mean, 0.8, 7))
            test = stats.ttest_ind_from_stats(mean, 0.8, 7, 77.33, 0.52, 10, equal_var=False)
            assert (line.verdict == "consistent") == (test.pvalue >= 0.05)
            assert line.z == pytest.approx(test.statistic)

    def test_the_errors_are_spread_over_root_n_on_either_side(self) -> None:
        line = published(scores(77.0, 0.9, 9))
        assert line.first.error == pytest.approx(0.009 / 3)
        assert line.second.error == pytest.approx(0.0052 / 10**0.5)

    def test_our_deviation_is_given_with_both_ddofs(self) -> None:
        values = [float(value) for value in scores(77.0, 0.9, 9)]
        line = published(values)
        assert line.first.std == pytest.approx(statistics.stdev(values))
        assert line.first.population_std == pytest.approx(statistics.pstdev(values))

    def test_an_assumed_n_is_said_to_be_assumed(self) -> None:
        line = published(scores(77.0, 0.9))
        assert (line.second.n, line.second.assumed) == (10, True)
        assert "published n = 10 is assumed" in line.remarks

    def test_one_pretraining_speaks_of_its_checkpoint_alone(self) -> None:
        assert CHECKPOINT in published(scores(77.0, 0.9)).remarks

    def test_several_pretrainings_count_once_each(self) -> None:
        line = published(scores(77.0, 0.9, 30), pretrainings=6)
        assert (line.first.n, CHECKPOINT in line.remarks) == (6, False)

    def test_three_pretrainings_are_too_few_however_many_runs_they_had(self) -> None:
        line = published(scores(77.0, 0.9, 30), pretrainings=3)
        assert (line.verdict, line.reasons) == ("not comparable", ("n = 3 pretrainings, below 5",))

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"store": {"source": "phantom"}}, "other data: phantom, not LIDC-IDRI"),
            ({"store": {"source": "folder"}}, "other data: folder, not LIDC-IDRI"),
            (
                {"initialisation": {"corpus": {"store": {"source": "phantom"}}}},
                "other corpus: phantom, not LUNA16",
            ),
            ({"task": {"fraction": 0.1}}, "task.fraction is 0.1, theirs 1.0"),
            ({"task": {"training": {"steps": 20}}}, "task.training.steps is 20, theirs none"),
            ({"initialisation": {"config": {"width": 4}}}, "initialisation.config.width is 4, theirs 32"),
            ({"metric": "dice_bin"}, "other metric: the run has no mean_iou_keras, which NCS IoU is"),
        ],
    )
    def test_what_is_not_the_same_thing_is_not_comparable(self, changes: dict[str, Any], reason: str) -> None:
        line = published(scores(77.33, 0.5), **changes)
        assert line.verdict == "not comparable"
        assert reason in line.reasons
        assert line.difference is line.tolerance is line.z is None

    def test_a_frozen_encoder_is_not_comparable(self) -> None:
        line = published(scores(77.33, 0.5), task={"frozen": True})
        assert "task.frozen is True, theirs False" in line.reasons

    def test_a_run_slice_by_slice_is_compared_with_the_papers_slices_and_not_with_their_volumes(self) -> None:
        sliced = {"name": "ncc", "headline": "auc", "sampling": {"slices": {"size": 224}}}
        run = evidence(scores(96.0, 0.5), metric="auc", store={"source": "luna16"}, task=sliced)
        assert compare_with_published(run, SG).lines == ()
        flat = load_published("semantic_genesis_2020_2d")
        assert [(line.task, line.metric) for line in compare_with_published(run, flat).lines] == [
            ("ncc", "NCC (slices)")
        ]
        whole = evidence(scores(96.0, 0.5), metric="auc", task={"name": "ncc", "sampling": {"slices": None}})
        assert compare_with_published(whole, flat).lines == ()

    def test_a_run_on_the_phantom_is_never_comparable(self) -> None:
        for task in ("ncc", "ncs", "lcs", "bms"):
            changes = {"task": {"name": task}, "store": {"source": "phantom"}}
            line = published(scores(77.33, 0.5), metric="auc" if task == "ncc" else "mean_iou_keras", **changes)
            assert line.verdict == "not comparable"
            assert line.reasons[0].startswith("other data: phantom")

    def test_an_unresolved_metric_is_never_comparable(self) -> None:
        changes = {"task": {"name": "bms"}, "store": {"source": "brats2018"}}
        line = published(scores(68.82, 0.5), **changes)
        assert line.reasons == ("other metric: it is not resolved which one BMS IoU is",)

    def test_fewer_than_five_runs_are_not_comparable(self) -> None:
        assert published(scores(77.0, 0.5, 4)).reasons == ("n = 4 runs, below 5",)

    def test_without_a_published_spread_nothing_is_comparable(self) -> None:
        line = only(
            compare_with_published(
                evidence(
                    scores(98.0, 0.5),
                    metric="auc",
                    task={"name": "ncc"},
                    store={"source": "luna16"},
                    initialisation={"method": "scratch", "corpus": None},
                ),
                load_published("transvw_2021_label_efficiency"),
            )
        )
        assert line.reasons == ("no spread published", "n of the publication is unknown")

    def test_what_was_measured_in_a_picture_is_given_its_reading_error(self) -> None:
        run = evidence(scores(77.0, 0.9), initialisation={"method": "rotation+semantics"})
        line = only(compare_with_published(run, load_published("transvw_2021_addon")))
        plain = stats.t.ppf(0.975, welch_df(0.9, 10, 0.94, 10)) * (0.9**2 / 10 + 0.94**2 / 10) ** 0.5
        assert line.tolerance == pytest.approx((plain + 0.1) / 100)
        assert "published value read from a figure, ± 0.1" in line.remarks

    def test_unknown_and_context_numbers_are_not_comparable(self) -> None:
        run = evidence(scores(77.0, 0.9), initialisation={"method": "models_genesis"}, task={"name": "pxs"})
        line = only(compare_with_published(run, load_published("semantic_genesis_2020_2d")))
        assert any(reason.startswith("the published value is unknown") for reason in line.reasons)
        run = evidence(scores(77.0, 0.9), initialisation={"method": "models_genesis"})
        lines = compare_with_published(run, load_published("models_genesis_2019_notebook")).lines
        assert {line.verdict for line in lines} == {"not comparable"}

    def test_methods_that_only_one_side_has_are_left_out(self) -> None:
        run = evidence(scores(77.0, 0.9), initialisation={"method": "mine"})
        assert compare_with_published(run, SG).lines == ()


def welch_df(a: float, n: int, b: float, m: int) -> float:
    x, y = a**2 / n, b**2 / m
    return (x + y) ** 2 / (x**2 / (n - 1) + y**2 / (m - 1))


class TestRuns:
    def test_a_run_is_consistent_with_itself_however_few_its_runs(self) -> None:
        run = evidence(scores(77.0, 0.9, 2))
        line = only(compare_runs(run, run))
        assert (line.verdict, line.remarks) == ("consistent", ("the same runs",))

    def test_two_recipes_are_compared_under_the_headline_and_their_settings_named(self) -> None:
        first = evidence(scores(60.0, 0.5), metric="iou_bin")
        second = evidence(scores(50.0, 0.5), metric="iou_bin", initialisation={"config": {"width": 16}})
        compared = compare_runs(first, second)
        line = only(compared)
        assert (line.metric, line.verdict) == ("iou_bin", "higher")
        assert line.difference == pytest.approx(0.10)
        assert compared.recipes == {"initialisation.config.width: 32 -> 16": ("semantic_genesis on ncs",)}

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"store": {"manifest": {"sha256": "cd"}}}, "other data"),
            ({"task": {"split": {"seed": 1}}}, "other patients: the split differs"),
            ({"task": {"headline": "mean_iou_keras"}}, "other metric: iou_bin and mean_iou_keras"),
        ],
    )
    def test_runs_on_other_data_patients_or_metrics_are_not_comparable(
        self, changes: dict[str, Any], reason: str
    ) -> None:
        line = only(compare_runs(evidence(scores(60, 0.5)), evidence(scores(60, 0.5), **changes)))
        assert (line.verdict, reason in line.reasons) == ("not comparable", True)

    def test_one_recipe_with_two_outcomes_is_said(self) -> None:
        first, second = evidence(scores(60, 0.5), metric="iou_bin"), evidence(scores(60.1, 0.5), metric="iou_bin")
        assert "10 runs of one recipe came out differently" in only(compare_runs(first, second)).remarks

    def test_without_any_spread_there_is_no_tolerance(self) -> None:
        other = evidence([0.6] * 6, metric="iou_bin", initialisation={"config": {"width": 16}})
        line = only(compare_runs(evidence([0.5] * 6, metric="iou_bin"), other))
        assert (line.verdict, line.reasons) == ("not comparable", ("no spread on either side",))

    def test_what_only_one_has_is_named(self) -> None:
        other = evidence(scores(60, 0.5), initialisation={"method": "mine"})
        compared = compare_runs(evidence(scores(60, 0.5)), other, ("a", "b"))
        assert compared.notes == ("Only in a: semantic_genesis on ncs", "Only in b: mine on ncs")


def test_about_one_in_twenty_comparisons_of_equals_differs() -> None:
    rng = np.random.default_rng(5)
    verdicts = []
    for _ in range(400):
        first = evidence(rng.normal(0.7, 0.02, 10), metric="iou_bin")
        second = evidence(rng.normal(0.7, 0.04, 6), metric="iou_bin", initialisation={"config": {"width": 16}})
        verdicts.append(only(compare_runs(first, second)).verdict)
    assert 0.02 <= 1 - verdicts.count("consistent") / len(verdicts) <= 0.08


class TestText:
    def test_the_page_says_what_was_compared_and_how(self) -> None:
        text = compared_markdown("title", compare_with_published(evidence(scores(79.0, 0.5)), SG, "mine"))
        assert "| semantic_genesis | ncs | mean_iou_keras | 79.00 ± 0.50 [0.47] | 10 | 77.33 ± 0.52 | 10\\* |" in text
        assert "higher ¹ ²" in text
        assert "¹ about this checkpoint only" in text
        assert "mine minus semantic_genesis_2020" in text
        assert "\\*: not published, assumed." in text
        assert "arXiv:2007.06959" in text

    def test_no_name_is_markup(self) -> None:
        text = compared_markdown("a | b", compare_with_published(Evidence([], {}), SG, "<b>ours"))
        assert text.startswith("# a \\| b\n\n&lt;b>ours compared with")

    def test_the_same_evidence_gives_the_same_bytes(self) -> None:
        texts = {compared_markdown("t", compare_with_published(evidence(scores(79.0, 0.5)), SG)) for _ in range(3)}
        assert len(texts) == 1

    def test_nothing_in_common_is_said(self) -> None:
        assert "Nothing to compare" in compared_markdown("t", compare_with_published(Evidence([], {}), SG))
