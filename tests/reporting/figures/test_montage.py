"""Pictures show what was stored, the right way up, and no case was picked by its result."""

from dataclasses import replace

import numpy as np
import pytest

from sg_bench.reporting.evidence import Evidence, Run
from sg_bench.reporting.figures.montage import plots
from sg_bench.reporting.figures.slices import AxialSlice, axial, evenly_spaced, images_of, middle, slices_of
from sg_bench.workspace import Workspace


def read(run: Run, ids: list[str], workspace: Workspace) -> list[AxialSlice]:
    found = slices_of(run, ids, workspace)
    assert found is not None
    return found


def test_a_slice_lies_with_the_patients_right_on_the_left_and_the_front_up():
    volume = np.zeros((2, 2, 1))
    volume[1, 1, 0] = 1  # right, in front
    for orientation, array in (("RAS", volume), ("LPS", volume[::-1, ::-1]), ("ARS", volume.transpose(1, 0, 2))):
        turned = axial(array, orientation)
        assert turned[0, 1, 0] == 1, orientation
        assert turned.sum() == 1


def test_the_middle_slice_is_the_middle_one_of_those_that_hold_some_target():
    truth = np.zeros((2, 2, 9), bool)
    truth[0, 0, [1, 5, 6]] = True
    assert middle(truth) == 5
    assert middle(np.zeros((2, 2, 9), bool)) == 4


def test_cases_stand_at_even_distances_in_the_order_of_their_ids(pictured):
    evidence, _ = pictured
    runs = [evidence.runs[method, "lcs"][0] for method in evidence.methods]
    assert images_of(runs, 3) == ["patient-0", "patient-4", "patient-7"]
    assert evenly_spaced(["a", "b"], 5) == ["a", "b"]


@pytest.mark.parametrize("task", ["lcs", "ncs"])
def test_the_image_is_the_one_that_was_predicted_on(pictured, task):
    evidence, workspace = pictured
    (run,) = evidence.runs["scratch", task]
    (found,) = read(run, images_of([run], 1), workspace)
    assert found.image is not None
    assert found.image.shape == found.truth.shape == found.probability.shape
    assert found.image[found.truth].mean() > found.image[~found.truth].mean()
    assert found.dice == run.record["cases"][0]["dice_case"]


def test_where_the_store_does_not_agree_with_the_truth_no_image_is_shown(pictured):
    evidence, workspace = pictured
    (run,) = evidence.runs["scratch", "ncs"]
    recipe = run.record["recipe"]
    other = {**recipe, "task": {**recipe["task"], "target": [2]}}
    (found,) = read(replace(run, record={**run.record, "recipe": other}), images_of([run], 1), workspace)
    assert found.image is None


def test_without_images_the_probability_is_shown_and_the_caption_states_it(pictured, tmp_path):
    evidence, workspace = pictured
    (tmp_path / "predictions").symlink_to(workspace.path("predictions"))
    found = {plot.name: plot for plot in plots(evidence, Workspace(tmp_path))}
    assert set(found) == {"segmentation-ncs", "segmentation-lcs"}
    assert "Grey: the predicted probability" in found["segmentation-lcs"].caption


def test_a_method_whose_predictions_are_damaged_is_named(pictured, tmp_path):
    evidence, workspace = pictured
    for path in workspace.path("predictions").glob("*.npz"):
        target = tmp_path / "predictions" / path.name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    (run,) = evidence.runs["inpainting", "lcs"]
    (tmp_path / "predictions" / f"{run.cell.key}.npz").write_bytes(b"PK\x03\x04 broken")
    caption = next(plot.caption for plot in plots(evidence, Workspace(tmp_path)) if plot.name == "segmentation-lcs")
    assert "Predictions that cannot be read: inpainting." in caption


def test_classification_has_no_montage_and_restorations_have_one(pictured):
    evidence, workspace = pictured
    assert [plot.name for plot in plots(evidence, workspace)] == ["segmentation-ncs", "segmentation-lcs", "restoration"]
    only = Evidence([cell for cell in evidence.cells if cell.method == "scratch"], evidence.records)
    assert "restoration" not in [plot.name for plot in plots(only, workspace)]


def test_a_method_that_keeps_no_restoration_is_named(pictured):
    from sg_bench.config import key_of

    evidence, workspace = pictured
    recipe = evidence.runs["inpainting", "lcs"][0].record["recipe"]["initialisation"]
    path = workspace.path("initialisations", key_of(recipe)) / "examples.npz"
    content = path.read_bytes()
    path.unlink()
    try:
        caption = plots(evidence, workspace)[-1].caption
    finally:
        path.write_bytes(content)
    assert "No stored example: inpainting." in caption
