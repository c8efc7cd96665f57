"""The add-on chart: which methods are paired, and which conclusions the chart allows."""

from sg_bench.reporting.figures.addon import SemanticsPair, adjusted_p, pairs, plots
from sg_bench.reporting.figures.scores import panels
from sg_bench.reporting.figures.scores import plots as score_plots
from sg_bench.reporting.figures.summaries import p_label

BOTH = ("inpainting", "inpainting+semantics")


def test_a_method_is_paired_with_itself_plus_semantics_and_models_genesis_with_semantic_genesis(evidence):
    assert pairs(evidence) == [
        SemanticsPair("inpainting", "inpainting+semantics"),
        SemanticsPair("patch_shuffling", "patch_shuffling+semantics"),
        SemanticsPair("models_genesis", "semantic_genesis"),
    ]


def test_a_renamed_method_is_found_by_its_registered_name(evidence):
    from dataclasses import replace

    from sg_bench.reporting.evidence import Evidence

    renamed = [replace(cell, method=cell.method.replace("inpainting", "IP", 1)) for cell in evidence.cells]
    assert SemanticsPair("IP", "IP+semantics") in pairs(Evidence(renamed, evidence.records))


def test_below_five_units_there_is_no_p_value_and_the_caption_states_it(evidence):
    (plot,) = plots(evidence)
    assert plot.name == "addon"
    assert "No test was made: fewer than 5 units." in plot.caption
    assert not any(adjusted_p(panel, pairs(evidence)) for panel in panels(evidence, evidence.methods))


def test_from_five_units_on_p_values_are_holms_of_the_pairs_of_a_task(make_study):
    from scipy.stats import ttest_ind

    found = make_study(pretraining_seeds=6, fine_tuning_seeds=2, fractions=(1.0,))
    panel = panels(found, found.methods)[0]
    raw = sorted(
        float(ttest_ind(panel.units[pair.base].values, panel.units[pair.added].values, equal_var=False).pvalue)
        for pair in pairs(found)
    )
    adjusted = sorted(adjusted_p(panel, pairs(found)).values())
    assert abs(adjusted[0] - min(1, 3 * raw[0])) < 1e-9
    assert "Holm-adjusted over the pairs of a task" in plots(found)[0].caption


def test_a_half_pair_is_named_and_not_drawn(make_study):
    found = make_study((*BOTH,), ("ncc", "lcs"), pretraining_seeds=6, fractions=(1.0,),
                       without=lambda method, task: (method, task) == ("inpainting", "lcs"))  # fmt: skip
    ncc, lcs = panels(found, BOTH)
    assert set(ncc.units) == set(BOTH)
    assert set(lcs.units) == {"inpainting+semantics"}
    assert adjusted_p(lcs, pairs(found)) == {}
    assert "Not drawn (no results): inpainting (lcs)." in plots(found)[0].caption


def test_without_a_pair_there_is_only_the_figure_of_all_methods(small):
    assert plots(small) == []
    (plot,) = score_plots(small)
    assert plot.name == "scores"
    assert "hold for these checkpoints only" in plot.caption


def test_scores_of_zero_can_be_drawn(make_study, tmp_path):
    from sg_bench.reporting.evidence import Evidence
    from sg_bench.reporting.figures import write_figures

    found = make_study(BOTH, ("lcs",), pretraining_seeds=1, fine_tuning_seeds=2, fractions=(1.0,))
    nothing = {key: {**record, "metrics": {"iou_bin": 0.0}} for key, record in found.records.items()}
    assert write_figures(tmp_path, Evidence(found.cells, nothing))


def test_an_axis_spans_the_scores_and_an_interval_that_leaves_it_is_stated(make_study):
    found = make_study(BOTH, ("ncc",), pretraining_seeds=2, fractions=(1.0,))
    (panel,) = panels(found, BOTH)
    (low, high), cut = panel.limits
    values = [value for units in panel.units.values() for value in units.values]
    assert low < min(values) < max(values) < high
    assert cut == ("Intervals may extend beyond the axes." in score_plots(found)[0].caption)


def test_a_p_value_is_printed_so_that_it_never_reads_as_another_verdict():
    assert [p_label(p) for p in (0.0004, 0.0123, 0.04996, 0.05, 0.7)] == [
        "p < 0.001", "p = 0.012", "p = 0.0500", "n.s.", "n.s.",
    ]  # fmt: skip
