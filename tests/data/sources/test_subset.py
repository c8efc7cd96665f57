"""What a copy lacks is an error, unless the copy is declared to be a part of the data set on purpose."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sg_bench.data.catalogue import inspect_source
from sg_bench.data.sources.folder import FolderConfig, FolderSource
from sg_bench.data.sources.lits import LitsConfig, LitsSource
from tests.fixtures import write_nifti

RAMP = np.arange(60, dtype=np.int16).reshape(3, 4, 5)


@pytest.fixture
def liver(tmp_path: Path) -> Path:
    """Return LiTS with one complete case, and one without its segmentation."""
    for name in ("volume-0", "segmentation-0", "volume-1"):
        write_nifti(tmp_path / f"{name}.nii", (RAMP % 3).astype(np.int16), np.diag([2.0, 2, 2, 1]))
    return tmp_path


def test_what_a_public_data_set_lacks_is_an_error_and_left_out(liver: Path) -> None:
    source = LitsSource(LitsConfig(), liver)
    assert [case.id for case in source.scan()] == ["volume-0"]
    assert [problem.where for problem in source.left_out()] == [f"{liver}/volume-1.nii"]
    assert any("set `subset: true`" in problem.what for problem in inspect_source(source).errors)


def test_a_declared_subset_has_warnings_only_and_the_same_key(liver: Path) -> None:
    config = LitsConfig(subset=True)
    source = LitsSource(config, liver)
    found = inspect_source(source)
    assert (source.left_out(), found.errors) == ([], [])
    assert any("there is no segmentation-1" in problem.what for problem in found.warnings)
    assert config.key_content() == LitsConfig().key_content()


def test_what_is_damaged_stays_an_error_in_a_subset(liver: Path) -> None:
    (liver / "again").mkdir()
    write_nifti(liver / "again/volume-0.nii", RAMP, np.eye(4))
    write_nifti(liver / "again/segmentation-0.nii", RAMP, np.eye(4))
    assert any("one id" in problem.what for problem in LitsSource(LitsConfig(subset=True), liver).left_out())


def test_a_label_without_an_image_is_left_out_of_a_folder_unless_its_name_is_declared(tmp_path: Path) -> None:
    for name in ("images/a", "labels/a", "labels/b"):
        write_nifti(tmp_path / f"{name}.nii", RAMP, np.eye(4))
    config = {"labels": "labels/{id}.nii"}
    source = FolderSource(FolderConfig.model_validate(config), tmp_path)
    (problem,) = source.left_out()
    assert str(problem).startswith(f"{tmp_path}/labels/b.nii: it is a label without an image")
    declared = FolderSource(FolderConfig.model_validate({**config, "declared_missing": ["b"]}), tmp_path)
    assert (declared.left_out(), declared.problems()) == ([], [])
