from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydantic import ValidationError

from sg_bench.data.sources.base import Case
from sg_bench.data.sources.folder import FolderConfig, FolderSource
from sg_bench.errors import DataError
from tests import fixtures
from tests.fixtures import one_line

AFFINE = np.array([[-0.7, 0, 0, 10], [0, -0.7, 0, 20], [0, 0, 2.5, -30], [0, 0, 0, 1]])
RAMP = np.arange(60, dtype=np.int16).reshape(3, 4, 5)


def write_nifti(path: Path, array: np.ndarray = RAMP, affine: np.ndarray = AFFINE) -> Path:
    return fixtures.write_nifti(path, array, affine)


def source(root: Path, **config: str) -> FolderSource:
    return FolderSource(FolderConfig(**config), root)


class TestScan:
    def test_ids_are_sorted_with_numbers_as_numbers(self, tmp_path: Path) -> None:
        for name in ("volume-10.nii", "volume-2.nii.gz", "volume-1.nii"):
            write_nifti(tmp_path / "images" / name)
        assert [case.id for case in source(tmp_path).scan()] == ["volume-1", "volume-2", "volume-10"]

    def test_clutter_and_other_files_are_passed_over(self, tmp_path: Path) -> None:
        write_nifti(tmp_path / "images/a.nii")
        for name in ("._a.nii", ".DS_Store", "Thumbs.db", "notes.txt"):
            (tmp_path / "images" / name).write_bytes(b"x")
        assert [case.id for case in source(tmp_path).scan()] == ["a"]

    def test_labels_and_patients_follow_the_id(self, tmp_path: Path) -> None:
        for name in ("s1_a", "s1_b", "s2_a"):
            write_nifti(tmp_path / f"imagesTr/{name}.nii.gz")
            write_nifti(tmp_path / f"labelsTr/{name}.nii.gz")
        cases = source(tmp_path, images="imagesTr/*", labels="labelsTr/{id}.nii.gz", patient=r"^(s\d+)_").scan()
        assert [case.patient for case in cases] == ["s1", "s1", "s2"]
        assert cases[2].label == tmp_path / "labelsTr/s2_a.nii.gz"

    def test_the_patient_is_the_id_by_default(self, tmp_path: Path) -> None:
        write_nifti(tmp_path / "images/a.nii")
        assert source(tmp_path).scan() == [Case(id="a", patient="a", image=tmp_path / "images/a.nii")]

    def test_the_manifest_counts_the_raw_file_of_an_mhd(self, tmp_path: Path) -> None:
        sitk.WriteImage(sitk.GetImageFromArray(RAMP), tmp_path / "a.mhd")
        (entry,) = source(tmp_path, images="*").manifest()["cases"]
        assert entry["files"][1] == ["a.raw", 120]

    @pytest.mark.parametrize("pattern", ["/etc/*", "../*", "images/../../*", "C:\\data\\*", "..\\*"])
    def test_a_pattern_may_not_leave_the_root(self, tmp_path: Path, pattern: str) -> None:
        for config in ({"images": pattern}, {"labels": pattern + "{id}"}):
            with pytest.raises(DataError) as error:
                source(tmp_path, **config).scan()
            one_line(error, tmp_path, pattern, "leaves")

    @pytest.mark.parametrize("pattern", ["images/*", "nothing/*.nii", "", ".", "**x"])
    def test_an_empty_folder_or_a_glob_without_match_is_an_error(self, tmp_path: Path, pattern: str) -> None:
        (tmp_path / "images").mkdir()
        with pytest.raises(DataError) as error:
            source(tmp_path, images=pattern).scan()
        one_line(error, tmp_path, pattern, "Set `images`")

    def test_a_missing_root_is_an_error(self, tmp_path: Path) -> None:
        for root in (tmp_path / "absent", None):
            with pytest.raises(DataError, match="no such folder"):
                FolderSource(FolderConfig(), root).scan()

    def test_one_id_for_two_files_is_an_error(self, tmp_path: Path) -> None:
        first, second = write_nifti(tmp_path / "images/a.nii"), write_nifti(tmp_path / "images/a.nii.gz")
        with pytest.raises(DataError) as error:
            source(tmp_path).scan()
        one_line(error, first, second, "one id, 'a'")

    def test_problems_lists_every_defect_at_once(self, tmp_path: Path) -> None:
        for name in ("s1_a", "odd", "s2_a"):
            write_nifti(tmp_path / f"images/{name}.nii.gz")
        sitk.WriteImage(sitk.GetImageFromArray(RAMP), tmp_path / "images/s3_a.mhd")
        (tmp_path / "images/s3_a.raw").unlink()
        for name in ("s1_a", "odd", "s3_a"):
            write_nifti(tmp_path / f"labels/{name}.nii")
        folder = source(tmp_path, labels="labels/{id}.nii", patient=r"^(s\d+)_")
        found = [str(problem) for problem in folder.problems()]
        assert len(found) == 3
        assert "odd.nii.gz: `patient`" in found[0]
        assert f"s2_a.nii.gz: its label {tmp_path}/labels/s2_a.nii is missing" in found[1]
        assert "s3_a.mhd: its data file 's3_a.raw' is missing" in found[2]
        cases = {case.id: case for case in folder.scan()}
        assert list(cases) == ["odd", "s1_a", "s2_a", "s3_a"]
        assert folder.load(cases["s1_a"]).label is not None
        for name, problem in zip(("odd", "s2_a", "s3_a"), found, strict=True):
            with pytest.raises(DataError) as error:
                folder.load(cases[name])
            assert str(error.value) == problem

    @pytest.mark.parametrize("patient", ["(", "no group", "(a)(b)"])
    def test_patient_needs_one_group(self, patient: str) -> None:
        with pytest.raises(ValidationError, match="patient"):
            FolderConfig(patient=patient)


class TestLabelFitsImage:
    def load(self, root: Path, label: np.ndarray, affine: np.ndarray = AFFINE) -> None:
        write_nifti(root / "images/a.nii.gz")
        write_nifti(root / "labels/a.nii.gz", label, affine)
        folder = source(root, labels="labels/{id}.nii.gz")
        assert folder.load(folder.scan()[0]).label is not None

    def test_rounded_affines_are_accepted(self, tmp_path: Path) -> None:
        self.load(tmp_path, RAMP, AFFINE + 5e-4 * np.eye(4)[[1, 0, 2, 3]])

    def test_another_shape_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DataError) as error:
            self.load(tmp_path, RAMP[:, :, :4])
        one_line(error, tmp_path / "images/a.nii.gz", tmp_path / "labels/a.nii.gz", "(3, 4, 5)", "(3, 4, 4)")

    def test_another_affine_is_refused(self, tmp_path: Path) -> None:
        moved = AFFINE.copy()
        moved[2, 3] += 2.5
        with pytest.raises(DataError) as error:
            self.load(tmp_path, RAMP, moved)
        one_line(error, tmp_path / "labels/a.nii.gz", tmp_path / "images/a.nii.gz", "affine", "2.5")


class TestRealData:
    def test_a_hippocampus_and_its_label_load(self, real_data: Path) -> None:
        folder = source(real_data / "msd_hippocampus", images="imagesTr/*", labels="labelsTr/{id}.nii.gz")
        cases = folder.scan()
        assert len(cases) == 60
        study = folder.load(cases[0])
        assert cases[0].id == "hippocampus_001"
        assert study.label is not None
        assert study.label.shape == study.image.shape == (35, 51, 35)
        assert set(np.unique(study.label)) == {0, 1, 2}

    def test_a_chest_ct_loads_in_hounsfield_units(self, real_data: Path) -> None:
        folder = source(real_data / "chest_ct_3mm", images="*")
        study = folder.load(folder.scan()[0])
        assert study.image.shape == (120, 120, 111)
        assert (study.image.min(), study.image.max()) == (-1024, 3071)

    def test_luna_scans_load_from_raw_and_zraw(self, real_data: Path) -> None:
        folder = source(real_data / "luna16", images="subset*/*.mhd")
        cases = folder.scan()
        assert [path.suffix for case in cases for path in case.extra] == [".zraw", ".raw"]
        assert [folder.load(case).image.shape for case in cases] == [(512, 512, 28), (512, 512, 15)]
