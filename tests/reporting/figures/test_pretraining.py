"""What a pretraining leaves in the workspace is drawn: its losses, and the patterns that it was given."""

import json
from typing import Any

import numpy as np

from sg_bench.config import key_of
from sg_bench.reporting.figures import patterns, pretraining


def leave(workspace, recipe, losses):
    folder = workspace.path("initialisations", key_of(recipe))
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {"step": 10 * n, "train": {"loss": loss}, "validation": {"loss": loss + 0.1}} for n, loss in enumerate(losses)
    ]
    (folder / "record.json").write_text(json.dumps({"curves": rows}))


def drawn_from(plot: Any) -> Any:
    return plot.draw.args[0]


def test_the_losses_of_each_method_are_drawn(pictured):
    evidence, workspace = pictured
    assert pretraining.plots(evidence, workspace) == []
    recipe = evidence.runs["inpainting", "lcs"][0].record["recipe"]["initialisation"]
    leave(workspace, recipe, [3.0, 2.0, 1.0])
    (plot,) = pretraining.plots(evidence, workspace)
    panels = drawn_from(plot)
    assert list(panels) == ["inpainting"]
    assert panels["inpainting"].train == [[(0, 3.0), (10, 2.0), (20, 1.0)]]
    assert panels["inpainting"].validation == [[(0, 3.1), (10, 2.1), (20, 1.1)]]


def test_a_long_curve_is_thinned_and_keeps_its_start(pictured):
    evidence, workspace = pictured
    recipe = evidence.runs["models_genesis", "lcs"][0].record["recipe"]["initialisation"]
    leave(workspace, recipe, [1.0] * 1000)
    panel = drawn_from(pretraining.plots(evidence, workspace)[0])["models_genesis"]
    assert len(panel.train[0]) <= pretraining.MOST_POINTS
    assert panel.train[0][0] == (0, 1.0)


def test_a_row_of_patterns_begins_with_the_reference_and_has_each_patient_once(tmp_path, pictured):
    _, workspace = pictured
    folder = workspace.path("patterns", "a" * 64)
    folder.mkdir(parents=True)
    ids = ["c", "b", "a", "b", "a", "d"]
    labels = [0, 0, 0, 0, 1, 1]
    np.save(
        folder / "cubes.npy", np.arange(6, dtype=np.float16)[:, None, None, None] * np.ones((6, 4, 4, 3), np.float16)
    )
    windows = [{"id": id_, "label": label} for id_, label in zip(ids, labels, strict=True)]
    references = [{"id": "b", "label": 0}, {"id": "d", "label": 1}]
    (folder / "index.json").write_text(json.dumps({"windows": windows, "references": references}))
    rows = patterns.read_patterns("a" * 64, "RAS", workspace)
    assert {name: [int(image[0, 0]) for image in found] for name, found in rows.items()} == {
        "label 0": [1, 2, 0],
        "label 1": [5, 4],
    }
    assert patterns.read_patterns("b" * 64, "RAS", workspace) == {}
