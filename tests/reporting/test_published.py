"""The papers' numbers are those of the papers: checked against numbers typed from the tables, and complete."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sg_bench import resources
from sg_bench.errors import UsageError
from sg_bench.reporting.published import (
    Publication,
    PublishedScore,
    comparisons,
    load_published,
    papers_table,
    publications,
    published_text,
    scores_to_compare,
)
from sg_bench.suite import load_suite

TASKS = ("ncc", "ncs", "lcs", "bms")
TABLE = """
scratch             94.25±5.07 74.05±1.97 79.76±5.42 59.87±4.04
niftynet            94.14±4.57 52.98±2.05 83.23±1.05 60.78±1.60
medicalnet          95.80±0.51 75.68±0.32 85.52±0.58 66.09±1.35
i3d                 98.26±0.27 71.58±0.55 70.65±4.26 67.83±0.75
inpainting          95.12±1.74 76.02±0.55 81.36±4.83 61.38±3.84
patch_shuffling     94.90±1.18 75.55±0.82 82.82±2.35 59.05±2.83
rotation            94.42±1.78 76.13±0.61 83.15±1.41 60.53±5.22
rubiks_cube         96.24±1.27 72.87±0.16 75.59±0.20 62.75±1.93
models_genesis      98.07±0.59 77.41±0.40 85.1±2.15  67.96±1.29
self_restoration    98.07±0.59 77.41±0.40 85.1±2.15  67.96±1.29
self_classification 97.49±0.45 76.93±0.87 84.14±1.78 64.02±0.98
semantic_genesis    98.46±0.30 77.33±0.52 86.53±1.30 68.82±0.38
"""
ADDON = """
inpainting+semantics      97.24±1.09 77.48±0.52 84.46±1.51 68.20±0.16
patch_shuffling+semantics 96.64±0.86 76.91±0.96 85.06±1.91 67.78±0.34
rotation+semantics        98.14±0.44 77.85±0.94 84.98±1.21 65.66±0.65
"""
ECC = {
    "Random": (80.36, 3.58),
    "NiftyNet": (77.33, 8.05),
    "MedicalNet": (86.43, 1.44),
    "I3D": (80.55, 1.11),
    "Inpainting": (84.08, 2.34),
    "Context restoration": (82.15, 3.30),
    "Rotation": (83.40, 2.71),
    "Rubik's Cube": (80.49, 4.64),
    "Models Genesis": (87.20, 2.87),
    "VW classification": (84.25, 3.91),
    "VW restoration": (86.20, 3.21),
    "TransVW": (87.07, 2.83),
}
FIGURE_2D = {
    "Scratch 2D": ((96.03, 0.86), (70.48, 1.07), (69.15, 0.77)),
    "ImageNet": ((97.64, 0.96), (72.39, 0.77), (75.55, 0.48)),
    "Genesis Chest CT 2D": ((97.45, 0.61), (72.20, 0.67), (74.99, 0.36)),
    "Genesis Chest X-ray 2D": ((93.52, 0.13), (72.88, 0.79), (75.48, 0.13)),
}


def typed(table: str) -> dict[tuple[str, str], tuple[float, float]]:
    """Return (value, spread) by (method, task) of a table as it is typed above."""
    found = {}
    for line in table.strip().splitlines():
        method, *cells = line.split()
        for task, cell in zip(TASKS, cells, strict=True):
            value, _, spread = cell.partition("±")
            found[method, task] = (float(value), float(spread))
    return found


def stored(name: str) -> dict[tuple[str, str], tuple[float | None, float | None]]:
    entries = load_published(name).entries
    return {(str(entry.method), str(entry.task)): (entry.value, entry.spread) for entry in entries}


def by_label(name: str) -> dict[tuple[str, str], tuple[float | None, float | None]]:
    return {(entry.label, str(entry.task)): (entry.value, entry.spread) for entry in load_published(name).entries}


class TestNumbers:
    def test_the_table_of_semantic_genesis_is_complete_and_right(self) -> None:
        assert stored("semantic_genesis_2020") == typed(TABLE)

    def test_the_bars_with_semantics_are_complete_and_right(self) -> None:
        found = stored("transvw_2021_addon")
        assert {place: score for place, score in found.items() if place[1] in TASKS} == typed(ADDON)
        assert {method: found[method, "ecc"] for method, _ in typed(ADDON)} == {
            "inpainting+semantics": (87.66, 2.02),
            "patch_shuffling+semantics": (88.07, 1.86),
            "rotation+semantics": (85.75, 2.73),
        }

    def test_what_transvw_adds_is_complete_and_right(self) -> None:
        found = by_label("transvw_2021")
        assert {label: score for (label, task), score in found.items() if task == "ecc"} == ECC
        restoration = [found["VW restoration", task] for task in TASKS]
        assert restoration == [(98.10, 0.19), (77.70, 0.59), (84.57, 2.20), (67.78, 0.57)]

    def test_the_2d_figure_of_models_genesis_is_complete_and_right(self) -> None:
        found = by_label("models_genesis_2019_2d")
        for label, scores in FIGURE_2D.items():
            assert (
                tuple(found[label, task] for task in ("ncc[protocol=slices]", "ncs[protocol=slices]", "dxc8")) == scores
            )
        assert [found[label, "iuc"] for label in FIGURE_2D] == [
            (92.78, 3.71),
            (95.51, 1.77),
            (94.50, 2.08),
            (94.99, 0.93),
        ]

    def test_the_logged_run_is_complete_and_right(self) -> None:
        values = {entry.printed: entry.value for entry in load_published("models_genesis_2019_notebook").entries}
        assert values == {"[BIN] Dice": 74.39, "[BIN] IoU": 59.22, "[EVAL] Dice": 75.38, "[EVAL] IoU": 77.14}

    def test_the_dashed_lines_are_complete_and_right(self) -> None:
        found = {place: value for place, (value, _) in by_label("transvw_2021_label_efficiency").items()}
        assert [found["Models Genesis", task] for task in TASKS] == [98.09, 75.87, 91.1, 92.6]
        assert [found["Scratch", task] for task in TASKS] == [94.26, 71.75, 86.84, 91.5]

    def test_printed_significance_is_kept_as_printed(self) -> None:
        p = {(each.base, each.task): each.p for each in load_published("transvw_2021_addon").significance}
        assert len(p) == 20
        assert p["models_genesis", "lcs"] == 0.046
        assert p["inpainting", "ncs"] == 1.6e-5
        marks = {(each.base, each.task): each.mark for each in load_published("semantic_genesis_2020").significance}
        assert len(marks) == 12
        assert marks["models_genesis", "ncs"] == "n.s."


class TestCertainty:
    def test_nothing_is_invented_for_the_2d_figure(self) -> None:
        entries = load_published("semantic_genesis_2020_2d").entries
        assert len(entries) == 16
        assert {(entry.value, entry.spread, entry.n, entry.status) for entry in entries} == {
            (None, None, None, "unknown")
        }
        assert all("no readable source" in entry.note for entry in entries)

    def test_k_and_c_are_entries_that_say_why_they_are_empty(self) -> None:
        entries = load_published("semantic_genesis_2020_sensitivity").entries
        assert {entry.label[:2] for entry in entries} >= {"k:", "C:"}
        assert all(entry.value is None and entry.task is None and entry.note for entry in entries)

    def test_only_the_measured_bars_and_lines_are_digitised(self) -> None:
        digitised = {name for name in publications() if load_published(name).status == "digitised"}
        assert digitised == {"transvw_2021_addon", "transvw_2021_label_efficiency"}
        assert {load_published(name).reading_error for name in digitised} == {0.1}

    def test_iou_is_kerass_where_that_is_known_and_nothing_where_it_is_not(self) -> None:
        columns = load_published("semantic_genesis_2020").columns
        assert {name: (column.metric, column.certainty) for name, column in columns.items()} == {
            "ncc": ("auc", "verified"),
            "ncs": ("mean_iou_keras", "verified"),
            "lcs": ("mean_iou_keras", "derived"),
            "bms": (None, "unresolved"),
        }

    def test_n_is_not_known_and_says_so_but_for_the_one_run(self) -> None:
        for name in publications():
            published = load_published(name)
            assert published.n_note
            assert published.n == (1 if name == "models_genesis_2019_notebook" else None)

    @pytest.mark.parametrize("method", ["i3d", "niftynet"])
    def test_what_is_not_run_says_why(self, method: str) -> None:
        entries = load_published("semantic_genesis_2020").find(method)
        assert len(entries) == 4
        assert all("unpublished" in entry.not_run for entry in entries)

    def test_every_file_has_its_citation_and_source(self) -> None:
        assert len(publications()) == 8
        for name in publications():
            published = load_published(name)
            assert "arXiv:" in published.citation
            assert published.source


class TestLookUp:
    def test_an_entry_is_found_by_method_task_and_metric(self) -> None:
        published = load_published("semantic_genesis_2020")
        (entry,) = published.find("semantic_genesis", "ncs", "mean_iou_keras")
        assert (entry.value, entry.spread, entry.label) == (77.33, 0.52, "Semantic Genesis 3D")
        assert published.find("semantic_genesis", "ncs", "iou_bin") == []
        assert len(published.find("semantic_genesis")) == 4

    def test_an_unknown_publication_is_refused_with_the_nearest(self) -> None:
        with pytest.raises(UsageError, match="Did you mean 'semantic_genesis_2020'"):
            load_published("semantic_genesis_202")

    def test_the_comparisons_are_no_publication(self) -> None:
        assert "comparisons" not in publications()


class TestComparisons:
    def test_there_are_the_papers_five(self) -> None:
        assert [each.name for each in comparisons()] == ["addons", "methods-3d", "ablation", "slices", "methods-2d"]

    def test_the_add_on_pairs_each_base_with_itself_and_semantics(self) -> None:
        assert comparisons()[0].pairs == [
            ("inpainting", "inpainting+semantics"),
            ("patch_shuffling", "patch_shuffling+semantics"),
            ("rotation", "rotation+semantics"),
            ("models_genesis", "semantic_genesis"),
            ("models_genesis", "models_genesis+semantics"),
        ]

    def test_every_publication_and_base_that_one_names_is_there(self) -> None:
        for comparison in comparisons():
            assert set(comparison.published) <= set(publications())
            assert {base for base, _ in comparison.pairs} <= set(comparison.methods)

    def test_published_scores_belong_to_the_rows_that_have_them(self) -> None:
        found = {(entry.method, entry.task): entry for entry in scores_to_compare(comparisons()[0])}
        assert found["rotation+semantics", "ncs"].value == 77.85
        assert found["rotation", "ncs"].value == 76.13
        assert ("models_genesis+semantics", "ncs") not in found

    def test_a_number_goes_before_an_earlier_gap(self) -> None:
        found = {(entry.method, entry.task): entry for entry in scores_to_compare(comparisons()[4])}
        slices = found["imagenet", "ncc[protocol=slices]"]
        assert (slices.value, slices.context != "") == (97.64, True)
        assert found["imagenet", "pxs"].value is None


class TestPrinting:
    def entry(self, name: str, method: str, task: str) -> PublishedScore:
        return load_published(name).find(method, task)[0]

    def test_a_number_is_printed_as_the_papers_do_with_what_it_is(self) -> None:
        assert published_text(self.entry("semantic_genesis_2020", "models_genesis", "lcs")) == "85.10 ± 2.15"
        assert published_text(self.entry("transvw_2021_addon", "rotation+semantics", "ncc")) == "≈ 98.14 ± 0.44"
        assert published_text(self.entry("semantic_genesis_2020_2d", "imagenet", "pxs")) == "?"
        assert published_text(self.entry("transvw_2021_label_efficiency", "scratch", "ncc")) == "≈ 94.26"

    def test_a_table_is_printed_in_the_papers_form(self) -> None:
        text = papers_table(load_published("semantic_genesis_2020"))
        assert "| Semantic Genesis 3D | 98.46 ± 0.30 | 77.33 ± 0.52 | 86.53 ± 1.30 | 68.82 ± 0.38 |" in text
        assert text.count("\n| ") == 11 + 2
        assert "MICCAI 2020" in text


class TestFiles:
    @pytest.fixture
    def content(self) -> dict[str, object]:
        text = (resources.published() / "semantic_genesis_2020.yaml").read_text()
        return {**yaml.safe_load(text), "name": "x"}

    @pytest.mark.parametrize(
        ("score", "why"),
        [
            ([94.25], "value|score|list|dictionary|valid"),
            ([942.5, 1.0], "less than or equal to 100"),
            ([94.25, -1.0], "greater than or equal to 0"),
            (None, "unknown if and only if it has no value"),
            ({"value": None, "status": "unknown"}, "give the reason why it is unknown"),
        ],
    )
    def test_a_number_that_cannot_be_is_refused(self, content: dict[str, object], score: object, why: str) -> None:
        row = {"methods": ["scratch"], "label": "Random", "scores": {"ncc": score}}
        with pytest.raises(ValueError, match=why):
            Publication.model_validate({**content, "rows": [row]})

    def test_a_column_that_does_not_exist_is_refused_with_the_nearest(self, content: dict[str, object]) -> None:
        row = {"methods": ["scratch"], "label": "Random", "scores": {"nccs": [1.0, 1.0]}}
        with pytest.raises(ValueError, match="Did you mean 'ncs'"):
            Publication.model_validate({**content, "rows": [row]})

    def test_a_broken_file_names_itself(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "mine.yaml").write_text("title: mine\n")
        monkeypatch.setattr(resources, "published", lambda: tmp_path)
        with pytest.raises(UsageError, match=r"mine\.yaml"):
            load_published("mine")


class TestFullSuite:
    """The suite `full` is the papers' comparisons, whole."""

    NOT_RUN = {"niftynet", "i3d"}
    """Networks of other authors and frameworks, which stay rows of the published table with the reason."""

    @pytest.mark.parametrize("comparison", comparisons(), ids=lambda comparison: comparison.name)
    def test_every_row_and_column_of_a_comparison_is_paired(self, comparison: Any) -> None:
        full = load_suite("full")
        for method in set(comparison.methods) - self.NOT_RUN:
            titles = [choice.title for choice in full.methods if choice.name == method]
            absent = [t for t in comparison.tasks if not any(t in full.tasks and full.pairs(m, t) for m in titles)]
            # ImageNet's network is flat: the papers have it on slices alone.
            assert absent == (
                [t for t in comparison.tasks if "slices" not in t] if self.flat(method, comparison) else []
            )

    @staticmethod
    def flat(method: str, comparison: Any) -> bool:
        return method == "imagenet" and comparison.name == "slices"

    def test_the_ablation_has_its_controls(self) -> None:
        assert {"random_neighbours", "random_labels"} <= {choice.title for choice in load_suite("full").methods}
