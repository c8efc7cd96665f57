from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sg_bench.data.sources.base import Case
from sg_bench.data.sources.lits import LitsConfig, LitsSource
from sg_bench.data.sources.volumes import read_grid
from sg_bench.errors import DataError
from tests.fixtures import one_line, write_nifti
from tests.fixtures.lits import Volume, make_lits


def source(root: Path) -> LitsSource:
    return LitsSource(LitsConfig(), root)


def found(root: Path, *, warnings: bool = False) -> list[str]:
    """Return the warnings of `problems`, or all else but for the count, which no small tree reaches."""
    problems = source(root).problems()
    return [str(each) for each in problems if each.warning is warnings and "published are" not in each.what]


@pytest.fixture
def volumes(tmp_path: Path) -> list[Volume]:
    return make_lits(tmp_path)


class TestOfficialLayout:
    @pytest.mark.usefixtures("volumes")
    def test_volumes_come_by_number_each_with_its_own_segmentation(self, tmp_path: Path) -> None:
        cases = source(tmp_path).scan()
        assert [case.id for case in cases] == ["volume-0", "volume-2", "volume-10", "volume-28", "volume-48"]
        assert [case.patient for case in cases] == ["lits-0", "lits-2", "lits-10", "lits-28", "lits-48"]
        assert cases[3].image == tmp_path / "Training Batch 2/volume-28.nii"
        assert cases[3].label == tmp_path / "Training Batch 2/segmentation-28.nii"

    def test_each_volume_has_liver_and_lesion_according_to_its_intensities(
        self, tmp_path: Path, volumes: list[Volume]
    ) -> None:
        lits = source(tmp_path)
        for case, volume in zip(lits.scan(), volumes, strict=True):
            study = lits.load(case)
            assert study.label is not None
            assert tuple(np.bincount(study.label.ravel())) == volume.counts
            assert min(volume.counts) > 0
            assert study.image[study.label == 1].mean() == pytest.approx(120, abs=3)
            assert study.image[study.label == 2].mean() == pytest.approx(50, abs=10)
            np.testing.assert_allclose(study.affine, volume.affine, atol=1e-4)

    def test_the_liver_is_on_the_right_of_the_body_in_either_batch(self, tmp_path: Path) -> None:
        make_lits(tmp_path, ids=(3, 60))
        lits = source(tmp_path)
        for case in lits.scan():
            study = lits.load(case)
            liver, body = (np.argwhere(part).mean(axis=0) for part in (study.label == 1, study.image > -200))
            assert (study.affine @ (*liver, 1))[0] > (study.affine @ (*body, 1))[0] + 30

    def test_scanning_opens_no_file(self, tmp_path: Path, volumes: list[Volume]) -> None:
        for volume in volumes:
            volume.image.write_bytes(b"")
            volume.label.write_bytes(b"")
        assert len(source(tmp_path).scan()) == 5

    @pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
    def test_names_are_found_in_any_folder_with_either_ending(self, tmp_path: Path, ending: str) -> None:
        volumes = make_lits(tmp_path, ids=(2, 10), ending=ending)
        (tmp_path / "volume_pt1").mkdir()
        (tmp_path / "media/nas/segmentations").mkdir(parents=True)
        for volume in volumes:
            volume.image.rename(tmp_path / "volume_pt1" / volume.image.name)
            volume.label.rename(tmp_path / "media/nas/segmentations" / volume.label.name)
        lits = source(tmp_path)
        cases = lits.scan()
        assert [case.image for case in cases] == [tmp_path / f"volume_pt1/volume-{n}{ending}" for n in (2, 10)]
        assert lits.load(cases[0]).label is not None
        assert found(tmp_path) == []

    def test_other_files_are_passed_over(self, tmp_path: Path, volumes: list[Volume]) -> None:
        for name in ("._volume-1.nii", "test-volume-3.nii", "volume-4.nii.bak", "volume-x.nii"):
            (volumes[0].image.parent / name).write_bytes(b"x")
        assert len(source(tmp_path).scan()) == 5
        assert found(tmp_path) == []

    def test_a_path_may_hold_any_letters(self, tmp_path: Path) -> None:
        make_lits(tmp_path / "肝臓 für", ids=(0,), ending=".nii.gz")
        lits = source(tmp_path / "肝臓 für")
        assert lits.load(lits.scan()[0]).image.shape == (48, 48, 40)
        assert found(tmp_path) == []


class TestKnownDefects:
    @pytest.mark.usefixtures("volumes")
    def test_an_identity_affine_is_kept_and_reported(self, tmp_path: Path) -> None:
        lits = source(tmp_path)
        np.testing.assert_array_equal(lits.load(lits.scan()[3]).affine, np.eye(4))
        path = tmp_path / "Training Batch 2/volume-28.nii"
        assert found(tmp_path, warnings=True)[0].startswith(f"{path}: its affine is the identity, so its spacing is")

    def test_the_images_affine_counts_where_the_labels_differs(self, tmp_path: Path, volumes: list[Volume]) -> None:
        assert not np.allclose(read_grid(volumes[4].label)[1], volumes[4].affine)
        lits = source(tmp_path)
        study = lits.load(lits.scan()[4])
        np.testing.assert_allclose(study.affine, volumes[4].affine, atol=1e-4)
        assert study.image[study.label == 1].mean() == pytest.approx(120, abs=3)
        warnings = found(tmp_path, warnings=True)
        assert len(warnings) == 2
        assert warnings[1].startswith(f"{volumes[4].label}: its affine differs from its image's by ")
        assert found(tmp_path) == []

    def test_a_case_may_have_no_lesion(self, tmp_path: Path) -> None:
        (volume,) = make_lits(tmp_path, ids=(5,))
        assert volume.counts[2] == 0
        lits = source(tmp_path)
        study = lits.load(lits.scan()[0])
        assert study.label is not None
        assert set(np.unique(study.label)) == {0, 1}


class TestDefects:
    def refuse(self, root: Path, *parts: object) -> None:
        """Assert that `problems` and `load` both refuse the only case."""
        (problem,) = found(root)
        lits = source(root)
        with pytest.raises(DataError) as error:
            lits.load(lits.scan()[0])
        for part in parts:
            assert str(part) in problem
        one_line(error, *parts)

    def test_a_missing_segmentation_drops_that_volume(self, tmp_path: Path, volumes: list[Volume]) -> None:
        volumes[1].label.unlink()
        assert len(source(tmp_path).scan()) == 4
        (problem,) = found(tmp_path)
        assert f"{volumes[1].image}: there is no segmentation-2. Unpack" in problem

    def test_a_segmentation_without_volume_is_reported(self, tmp_path: Path, volumes: list[Volume]) -> None:
        volumes[1].image.unlink()
        assert len(source(tmp_path).scan()) == 4
        (problem,) = found(tmp_path)
        assert f"{volumes[1].label}: there is no volume-2. Add it" in problem

    def test_one_number_twice_is_used_once_and_reported(self, tmp_path: Path, volumes: list[Volume]) -> None:
        make_lits(tmp_path / "copy", ids=(2,))
        cases = source(tmp_path).scan()
        assert [case.id for case in cases] == ["volume-0", "volume-2", "volume-10", "volume-28", "volume-48"]
        assert cases[1].image is not None
        assert cases[1].label is not None
        assert cases[1].image.parent == cases[1].label.parent
        (problem,) = found(tmp_path)
        assert "one id, 'volume-2', for two images" in problem
        assert str(volumes[1].image) in problem

    def test_several_segmentations_of_one_volume_drop_it(self, tmp_path: Path, volumes: list[Volume]) -> None:
        for folder in ("a", "b"):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "segmentation-2.nii").write_bytes(volumes[1].label.read_bytes())
        assert found(tmp_path) == []
        volumes[1].label.unlink()
        (problem,) = found(tmp_path)
        assert f"{volumes[1].image}: several files are its segmentation: {tmp_path}/a/segmentation-2.nii, " in problem

    def test_another_shape_is_refused(self, tmp_path: Path) -> None:
        (volume,) = make_lits(tmp_path, ids=(0,))
        write_nifti(volume.label, np.zeros((48, 48, 39), np.uint8), volume.affine)
        self.refuse(tmp_path, volume.label, volume.image, "(48, 48, 40)", "(48, 48, 39)")

    def test_axes_in_another_order_are_refused(self, tmp_path: Path) -> None:
        (volume,) = make_lits(tmp_path, ids=(0,))
        turned = volume.affine[:, [1, 0, 2, 3]]
        write_nifti(volume.label, np.ones((48, 48, 40), np.uint8), turned)
        self.refuse(tmp_path, volume.label, "its axes run PLS", "run LPS", "not the same order")

    def test_an_unknown_label_value_is_named(self, tmp_path: Path) -> None:
        (volume,) = make_lits(tmp_path, ids=(0,))
        write_nifti(volume.label, np.full((48, 48, 40), 3, np.uint8), volume.affine)
        lits = source(tmp_path)
        with pytest.raises(DataError) as error:
            lits.load(lits.scan()[0])
        one_line(error, volume.label, "label value 3, allowed are 0 background, 1 liver, 2 lesion")

    @pytest.mark.parametrize("part", ["image", "label"])
    def test_a_file_cut_short_is_seen_by_its_header_and_its_length(self, tmp_path: Path, part: str) -> None:
        (volume,) = make_lits(tmp_path, ids=(0,))
        path = getattr(volume, part)
        path.write_bytes(path.read_bytes()[:-1000])
        self.refuse(tmp_path, path, "its header requires", "Download or export the file again")

    def test_a_gzipped_file_cut_short_is_refused_when_it_is_read(self, tmp_path: Path) -> None:
        (volume,) = make_lits(tmp_path, ids=(0,), ending=".nii.gz")
        volume.image.write_bytes(volume.image.read_bytes()[:-1000])
        lits = source(tmp_path)
        with pytest.raises(DataError) as error:
            lits.load(lits.scan()[0])
        one_line(error, volume.image, "cannot be read as NIfTI", "Download")

    def test_every_defect_is_listed_at_once(self, tmp_path: Path, volumes: list[Volume]) -> None:
        volumes[0].image.write_bytes(b"x")
        volumes[0].label.write_bytes(b"x")
        volumes[1].label.unlink()
        volumes[2].image.unlink()
        wheres = [problem.partition(": ")[0] for problem in found(tmp_path)]
        expected = [volumes[2].label, volumes[1].image, volumes[0].image, volumes[0].label]
        assert wheres == [str(path) for path in expected]

    def test_an_empty_or_missing_tree_is_an_error_with_a_next_step(self, tmp_path: Path) -> None:
        with pytest.raises(DataError) as error:
            source(tmp_path).scan()
        one_line(error, tmp_path, "no volume-N.nii", "Unpack the training batches there")
        for root in (tmp_path / "absent", None):
            with pytest.raises(DataError, match="no such folder"):
                LitsSource(LitsConfig(), root).scan()
            assert len(LitsSource(LitsConfig(), root).problems()) == 1

    @pytest.mark.usefixtures("volumes")
    def test_a_part_of_the_data_set_is_reported_by_its_count(self, tmp_path: Path) -> None:
        assert "it holds 5 volumes, published are 131 (derived)" in str(source(tmp_path).problems()[-1])

    def test_a_case_without_its_files_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="names no image or no label"):
            source(tmp_path).load(Case("a", "a", tmp_path / "a.nii"))


class TestRealData:
    def test_a_real_liver_in_lits_names_loads(self, real_data: Path) -> None:
        lits = source(real_data / "liver_ct")
        (case,) = lits.scan()
        assert (case.id, case.patient) == ("volume-0", "lits-0")
        study = lits.load(case)
        assert study.label is not None
        assert study.image.shape == study.label.shape == (512, 512, 78)
        assert np.bincount(study.label.ravel()).tolist() == [19_104_637, 1_342_595]
        assert 80 < study.image[study.label == 1].mean() < 200
        assert found(real_data / "liver_ct", warnings=True) == []
