from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from sg_bench.data.sources.base import Case
from sg_bench.data.sources.brats2018 import MODALITIES, Brats2018Config, Brats2018Source
from sg_bench.data.sources.volumes import read_grid, read_volume
from sg_bench.errors import DataError
from tests.fixtures import one_line, write_nifti
from tests.fixtures.brats2018 import Patient, make_brats2018


def source(root: Path, **config: str) -> Brats2018Source:
    return Brats2018Source(Brats2018Config.model_validate(config), root)


def found(root: Path, *, warnings: bool = False) -> list[str]:
    """Return the warnings of `problems`, or all else, but for the counts, which no small tree reaches."""
    problems = source(root).problems()
    return [str(each) for each in problems if each.warning is warnings and "published are" not in each.what]


@pytest.fixture
def patients(tmp_path: Path) -> list[Patient]:
    return make_brats2018(tmp_path)


class TestOfficialLayout:
    @pytest.mark.usefixtures("patients")
    def test_case_and_patient_are_the_files_id_and_the_group_is_the_grade(self, tmp_path: Path) -> None:
        high, low = source(tmp_path).scan()
        folder = tmp_path / "HGG/Brats18_TCIA02_100_1"
        assert high == Case(
            id="Brats18_TCIA02_100_1",
            patient="Brats18_TCIA02_100_1",
            image=folder / "Brats18_TCIA02_100_1_flair.nii.gz",
            label=folder / "Brats18_TCIA02_100_1_seg.nii.gz",
            group="HGG",
        )
        assert (low.id, low.group) == ("Brats18_TCIA10_300_1", "LGG")
        assert found(tmp_path) == []
        assert found(tmp_path, warnings=True) == []

    @pytest.mark.parametrize("modality", MODALITIES)
    def test_each_sequence_is_read_from_the_file_of_exactly_its_name(
        self, tmp_path: Path, modality: str, patients: list[Patient]
    ) -> None:
        brats = source(tmp_path, modality=modality)
        for case, patient in zip(brats.scan(), patients, strict=True):
            image, affine = read_volume(patient.folder / f"{patient.id}_{modality}.nii.gz")
            study = brats.load(case)
            np.testing.assert_array_equal(study.image, image)
            np.testing.assert_array_equal(study.affine, affine)
            assert study.label is not None
            np.testing.assert_array_equal(study.label, patient.label)

    def test_the_made_tumours_have_every_label_and_shine_in_flair_not_in_t1(
        self, tmp_path: Path, patients: list[Patient]
    ) -> None:
        assert all(set(np.unique(patient.label)) == {0, 1, 2, 4} for patient in patients)
        flair, t1 = (source(tmp_path, modality=modality) for modality in ("flair", "t1"))
        for case, other in zip(flair.scan(), t1.scan(), strict=True):
            study, same = flair.load(case), t1.load(other)
            oedema, brain = study.label == 2, (study.label == 0) & (study.image > 0)
            assert study.image[oedema].mean() > study.image[brain].mean() + 100
            assert same.image[oedema].mean() < same.image[brain].mean()

    def test_the_default_is_flair_and_no_fifth_sequence_is_known(self) -> None:
        assert Brats2018Config().modality == "flair"
        with pytest.raises(ValidationError, match="t1ce"):
            Brats2018Config.model_validate({"modality": "t1c"})

    def test_cases_are_sorted_with_numbers_as_numbers_over_both_grades(self, tmp_path: Path) -> None:
        make_brats2018(tmp_path, hgg=2, lgg=2, shape=(8, 8, 8))
        (tmp_path / "LGG/Brats18_TCIA10_300_1").rename(tmp_path / "LGG/x")
        for path in (tmp_path / "LGG/x").iterdir():
            path.rename(path.with_name(path.name.replace("TCIA10_300", "TCIA2_300")))
        ids = [case.id for case in source(tmp_path).scan()]
        numbers = ["TCIA02_100", "TCIA02_101", "TCIA2_300", "TCIA10_301"]
        assert ids == [f"Brats18_{number}_1" for number in numbers]

    def test_the_file_names_count_where_a_mirror_renamed_the_folder(
        self, tmp_path: Path, patients: list[Patient]
    ) -> None:
        patients[0].folder.rename(tmp_path / "HGG/brats_tcia_pat100_0001")
        case = source(tmp_path).scan()[0]
        assert (case.id, case.group) == (patients[0].id, "HGG")
        assert found(tmp_path) == []

    def test_the_nearest_grade_above_counts_and_there_may_be_none(
        self, tmp_path: Path, patients: list[Patient]
    ) -> None:
        (tmp_path / "HGG/LGG").mkdir()
        patients[1].folder.rename(tmp_path / "HGG/LGG" / patients[1].id)
        patients[0].folder.rename(tmp_path / patients[0].id)
        assert [case.group for case in source(tmp_path).scan()] == ["", "LGG"]
        assert [case.group for case in source(tmp_path / "HGG").scan()] == ["LGG"]

    def test_the_root_itself_may_be_a_grade(self, tmp_path: Path, patients: list[Patient]) -> None:
        assert [(case.id, case.group) for case in source(tmp_path / "LGG").scan()] == [(patients[1].id, "LGG")]

    def test_files_may_be_plain_and_a_path_may_hold_any_letters(self, tmp_path: Path) -> None:
        root = tmp_path / "脳 für"
        make_brats2018(root, ending=".nii")
        brats = source(root)
        assert brats.load(brats.scan()[1]).image.shape == (48, 48, 32)
        assert found(root) == []


class TestDefects:
    def refuse(self, root: Path, *parts: object) -> None:
        """Assert that `problems` and `load` both refuse the only case."""
        (problem,) = found(root)
        brats = source(root)
        with pytest.raises(DataError) as error:
            brats.load(brats.scan()[0])
        for part in parts:
            assert str(part) in problem
        one_line(error, *parts)

    @pytest.mark.parametrize("part", ["flair", "seg"])
    def test_a_missing_sequence_or_segmentation_drops_that_case(
        self, tmp_path: Path, part: str, patients: list[Patient]
    ) -> None:
        stem = patients[0].folder / patients[0].id
        Path(f"{stem}_{part}.nii.gz").unlink()
        assert [case.id for case in source(tmp_path).scan()] == [patients[1].id]
        assert found(tmp_path) == [f"{stem}: its _{part} file is missing. Download the case again"]

    def test_t1ce_is_not_taken_for_t1(self, tmp_path: Path, patients: list[Patient]) -> None:
        (patients[0].folder / f"{patients[0].id}_t1.nii.gz").unlink()
        assert [case.id for case in source(tmp_path, modality="t1").scan()] == [patients[1].id]
        (warning,) = found(tmp_path, warnings=True)
        assert "its _t1 file is missing" in warning
        assert len(source(tmp_path).scan()) == 2

    def test_label_3_of_later_years_is_named(self, tmp_path: Path) -> None:
        (patient,) = make_brats2018(tmp_path, lgg=0)
        path = patient.folder / f"{patient.id}_seg.nii.gz"
        label = np.where(patient.label == 4, 3, patient.label).astype(np.uint8)
        write_nifti(path, label, read_grid(path)[1])
        brats = source(tmp_path)
        with pytest.raises(DataError) as error:
            brats.load(brats.scan()[0])
        one_line(error, path, "label value 3, allowed are 0 background, 1 necrosis", "this year's edition")

    def test_another_shape_is_refused(self, tmp_path: Path) -> None:
        (patient,) = make_brats2018(tmp_path, lgg=0)
        path = patient.folder / f"{patient.id}_seg.nii.gz"
        write_nifti(path, patient.label[:40], read_grid(path)[1])
        self.refuse(tmp_path, path, "(40, 48, 32)", "(48, 48, 32)")

    def test_another_affine_is_refused(self, tmp_path: Path) -> None:
        (patient,) = make_brats2018(tmp_path, lgg=0)
        path = patient.folder / f"{patient.id}_seg.nii.gz"
        write_nifti(path, patient.label, np.eye(4))
        self.refuse(tmp_path, path, "its affine differs", "by 239")

    def test_a_header_that_is_none_is_refused(self, tmp_path: Path) -> None:
        (patient,) = make_brats2018(tmp_path, lgg=0)
        path = patient.folder / f"{patient.id}_flair.nii.gz"
        path.write_bytes(b"not found")
        self.refuse(tmp_path, path, "cannot be read as NIfTI", "Download")

    def test_a_gzipped_file_cut_short_is_refused_when_it_is_read(self, tmp_path: Path) -> None:
        (patient,) = make_brats2018(tmp_path, lgg=0)
        path = patient.folder / f"{patient.id}_flair.nii.gz"
        path.write_bytes(path.read_bytes()[:-1000])
        brats = source(tmp_path)
        with pytest.raises(DataError) as error:
            brats.load(brats.scan()[0])
        one_line(error, path, "cannot be read as NIfTI", "Download")

    def test_one_id_in_both_grades_is_used_once_and_reported(self, tmp_path: Path, patients: list[Patient]) -> None:
        shutil.copytree(patients[0].folder, tmp_path / "LGG" / patients[0].id)
        assert [(case.id, case.group) for case in source(tmp_path).scan()] == [
            (patients[0].id, "HGG"),
            (patients[1].id, "LGG"),
        ]
        (problem,) = found(tmp_path)
        assert problem.startswith(str(tmp_path / "LGG"))
        assert f"one id, '{patients[0].id}', for two images: {patients[0].folder}" in problem

    def test_one_file_in_two_endings_drops_that_case(self, tmp_path: Path, patients: list[Patient]) -> None:
        stem = patients[0].folder / f"{patients[0].id}_flair.nii"
        shutil.copy(f"{stem}.gz", stem)
        assert [case.id for case in source(tmp_path).scan()] == [patients[1].id]
        (problem,) = found(tmp_path)
        assert f"its _flair file is there twice: {stem.name}, {stem.name}.gz. Keep one of them" in problem

    def test_every_defect_is_listed_at_once_and_nothing_usable_is_an_error(
        self, tmp_path: Path, patients: list[Patient]
    ) -> None:
        for patient, part in zip(patients, ("flair", "seg"), strict=True):
            (patient.folder / f"{patient.id}_{part}.nii.gz").unlink()
        assert len(found(tmp_path)) == 2
        with pytest.raises(DataError) as error:
            source(tmp_path).scan()
        one_line(error, patients[0].folder, "its _flair file is missing", "(1 more problems")

    def test_an_empty_or_missing_tree_is_an_error_with_a_next_step(self, tmp_path: Path) -> None:
        with pytest.raises(DataError) as error:
            source(tmp_path).scan()
        one_line(error, tmp_path, "no <id>_flair.nii.gz", "Unpack the training data there")
        for root in (tmp_path / "absent", None):
            with pytest.raises(DataError, match="no such folder"):
                Brats2018Source(Brats2018Config(), root).scan()
            assert len(Brats2018Source(Brats2018Config(), root).problems()) == 1

    @pytest.mark.usefixtures("patients")
    def test_counts_are_errors_where_derived_and_warnings_where_recalled(self, tmp_path: Path) -> None:
        counts = [(str(each), each.warning) for each in source(tmp_path).problems()]
        assert [warning for _, warning in counts] == [False, True, True]
        assert "2 cases, published are 285 (derived)" in counts[0][0]
        assert "1 HGG cases, published are 210 (recalled)" in counts[1][0]

    def test_a_case_without_its_files_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="names no image or no label"):
            source(tmp_path).load(Case("a", "a", tmp_path / "a.nii"))


class TestRealData:
    def test_both_real_cases_load_and_flair_is_not_t1(self, real_data: Path) -> None:
        flair, t1 = (source(real_data / "brats", modality=modality) for modality in ("flair", "t1"))
        cases = flair.scan()
        assert [(case.id, case.group) for case in cases] == [("TCGA-DU-7294", ""), ("TCGA-FG-6692", "")]
        values = []
        for case, other in zip(cases, t1.scan(), strict=True):
            study = flair.load(case)
            assert study.image.shape == (240, 240, 155)
            assert not np.array_equal(study.image, t1.load(other).image)
            assert study.label is not None
            values.append(set(np.unique(study.label).tolist()))
        assert values == [{0, 1, 2}, {0, 1, 2, 4}]
        assert found(real_data / "brats") == []


class TestLaterEditions:
    def make(self, root: Path) -> np.ndarray:
        label = (np.arange(60).reshape(3, 4, 5) % 4).astype(np.uint8)
        for id_ in ("BraTS-GLI-00005-000", "BraTS-GLI-00005-001"):
            for index, name in enumerate(("t1n", "t1c", "t2w", "t2f")):
                image = np.arange(60, dtype=np.int16).reshape(3, 4, 5) + index
                write_nifti(root / id_ / f"{id_}-{name}.nii.gz", image, np.eye(4))
            write_nifti(root / id_ / f"{id_}-seg.nii.gz", label, np.eye(4))
        return label

    def test_their_names_are_recognised_and_time_points_are_of_one_patient(self, tmp_path: Path) -> None:
        label = self.make(tmp_path)
        brats = source(tmp_path, modality="t1ce")
        cases = brats.scan()
        assert [case.patient for case in cases] == ["BraTS-GLI-00005", "BraTS-GLI-00005"]
        assert brats.problems() == []
        study = brats.load(cases[0])
        assert study.image[0, 0, 0] == 1
        np.testing.assert_array_equal(study.label, np.where(label == 3, 4, label))
