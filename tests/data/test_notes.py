"""Doubtful cases are used, and named: constant images, two affines that disagree."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from sg_bench.config import Preparation
from sg_bench.data.notes import prepared_notes, study_notes
from sg_bench.data.prepare import prepare
from sg_bench.data.sources.base import Case, Study
from sg_bench.data.store import Store, doubtful_cases, finish, write_case

RAMP = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
CASE = Case("a", "a")


def study(image: np.ndarray, *notes: str) -> Study:
    return Study(image.astype(np.float32), np.eye(4), notes=notes)


def test_a_constant_image_or_channel_is_named_with_its_value() -> None:
    assert study_notes(CASE, study(RAMP)) == ()
    assert study_notes(CASE, study(0 * RAMP - 1024)) == ("the image is constant: every voxel is -1024",)
    assert study_notes(CASE, study(np.stack([RAMP, 0 * RAMP]))) == (
        "the image, channel 1, is constant: every voxel is 0",
    )


def test_an_image_that_is_constant_in_its_window_is_named_under_hu() -> None:
    for image, expected in (
        (RAMP - 3000, "scaled to its window, the image is constant: every voxel is 0"),
        (0 * RAMP, "the image is constant: every voxel is 0"),
    ):
        read = study(image)
        assert prepared_notes(CASE, read, prepare(read, Preparation(intensity="hu", clip=(-1000, 1000)))) == (expected,)


@pytest.mark.parametrize(("shift", "named"), [(0.05, False), (7.0, True)])
def test_a_qform_that_contradicts_the_sform_is_named_with_the_distance(
    tmp_path: Path, shift: float, named: bool
) -> None:
    image = nib.Nifti1Image(RAMP, np.eye(4))
    moved = np.eye(4)
    moved[0, 3] = shift
    image.set_sform(moved, code=1)
    image.set_qform(np.eye(4), code=1)
    nib.save(image, tmp_path / "a.nii.gz")
    expected = "a.nii.gz: its qform and its sform place voxels up to 7 voxels or 7 mm apart; the sform is used"
    assert study_notes(Case("a", "a", tmp_path / "a.nii.gz"), study(RAMP)) == ((expected,) if named else ())


def test_a_store_keeps_notes_and_writes_none_where_there_are_none(tmp_path: Path) -> None:
    for name, notes in (("a", ()), ("b", ("its slices are resampled",))):
        read = study(RAMP, *notes)
        prepared = prepare(read, Preparation(intensity="minmax"))
        write_case(tmp_path, Case(name, name), prepared, notes=prepared_notes(Case(name, name), read, prepared))
    finish(tmp_path, {}, ["a", "b"])
    assert [case.notes for case in Store.open(tmp_path).cases] == [(), ("its slices are resampled",)]
    assert doubtful_cases(tmp_path) == ["b: its slices are resampled"]
    written = [json.loads(path.read_text()) for path in tmp_path.glob("*.json") if path.name != "index.json"]
    assert sorted("notes" in entry for entry in written) == [False, True]
