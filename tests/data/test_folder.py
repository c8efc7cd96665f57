from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from pydantic import ValidationError

from sg_bench.data.sources.base import Case
from sg_bench.data.sources.folder import FolderConfig, FolderSource, read_label, read_volume
from sg_bench.errors import DataError

AFFINE = np.array([[-0.7, 0, 0, 10], [0, -0.7, 0, 20], [0, 0, 2.5, -30], [0, 0, 0, 1]])
RAMP = np.arange(60, dtype=np.int16).reshape(3, 4, 5)


def write_nifti(path: Path, array: np.ndarray = RAMP, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def source(root: Path, **config: str) -> FolderSource:
    return FolderSource(FolderConfig(**config), root)


def one_line(error: pytest.ExceptionInfo[DataError], *parts: object) -> None:
    message = str(error.value)
    assert "\n" not in message
    assert ". " in message, "no next step"
    for part in parts:
        assert str(part) in message


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

    def test_the_patient_is_the_id_unless_told(self, tmp_path: Path) -> None:
        write_nifti(tmp_path / "images/a.nii")
        assert source(tmp_path).scan() == [Case(id="a", patient="a", image=tmp_path / "images/a.nii")]

    def test_the_manifest_counts_the_raw_file_of_an_mhd(self, tmp_path: Path) -> None:
        sitk.WriteImage(sitk.GetImageFromArray(RAMP), tmp_path / "a.mhd")
        (entry,) = source(tmp_path, images="*").manifest()
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
        with pytest.raises(DataError, match="2 more problems"):
            folder.scan()

    @pytest.mark.parametrize("patient", ["(", "no group", "(a)(b)"])
    def test_patient_needs_one_group(self, patient: str) -> None:
        with pytest.raises(ValidationError, match="patient"):
            FolderConfig(patient=patient)


class TestNifti:
    def test_voxels_are_native_units_in_x_y_z(self, tmp_path: Path) -> None:
        image, affine = read_volume(write_nifti(tmp_path / "a.nii.gz"))
        assert image.dtype == np.float32
        np.testing.assert_array_equal(image, RAMP)
        np.testing.assert_allclose(affine, AFFINE, atol=1e-6)

    def test_the_headers_slope_and_intercept_are_applied(self, tmp_path: Path) -> None:
        image = nib.Nifti1Image(RAMP, AFFINE)
        image.header["scl_slope"], image.header["scl_inter"], image.header["vox_offset"] = 2, -1024, 352
        path = tmp_path / "a.nii"
        path.write_bytes(image.header.binaryblock + b"\0" * 4 + RAMP.tobytes(order="F"))
        np.testing.assert_array_equal(read_volume(path)[0], RAMP * 2.0 - 1024)

    def test_one_trailing_volume_is_squeezed_and_more_are_refused(self, tmp_path: Path) -> None:
        assert read_volume(write_nifti(tmp_path / "a.nii", RAMP[..., np.newaxis]))[0].shape == (3, 4, 5)
        for name, array in {"b": np.stack([RAMP, RAMP], axis=3), "c": RAMP[0]}.items():
            path = write_nifti(tmp_path / f"{name}.nii", array)
            with pytest.raises(DataError) as error:
                read_volume(path)
            one_line(error, path, array.shape, "Export one scalar volume")

    def test_colour_is_refused(self, tmp_path: Path) -> None:
        path = write_nifti(tmp_path / "a.nii", np.zeros((2, 2, 2), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")]))
        with pytest.raises(DataError) as error:
            read_volume(path)
        one_line(error, path, "voxels of type")

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_voxels_that_are_not_finite_are_refused(self, tmp_path: Path, value: float) -> None:
        array = RAMP.astype(np.float32)
        array[1, 2, 3] = value
        path = write_nifti(tmp_path / "a.nii.gz", array)
        with pytest.raises(DataError) as error:
            read_volume(path)
        one_line(error, path, "1 voxels are NaN or infinite")

    @pytest.mark.parametrize("value", [256, -1, 0.5, np.nan])
    def test_label_values_are_integers_up_to_255(self, tmp_path: Path, value: float) -> None:
        array = np.zeros((2, 2, 2), dtype=np.float32)
        assert read_label(write_nifti(tmp_path / "fine.nii", array + 255))[0].dtype == np.uint8
        array[0, 0, 0] = value
        path = write_nifti(tmp_path / "a.nii.gz", array)
        with pytest.raises(DataError) as error:
            read_label(path)
        one_line(error, path, f"{value:g} is not an integer")

    def test_damage_is_one_line_that_names_the_file(self, tmp_path: Path) -> None:
        noise = np.random.default_rng(0).integers(0, 9999, (20, 20, 20), dtype=np.int16)
        whole = write_nifti(tmp_path / "whole.nii.gz", noise).read_bytes()
        plain = gzip.decompress(whole)
        damaged = {
            "truncated.nii.gz": whole[:2000],
            "short.nii": plain[:2000],
            "stub.nii": plain[:100],
            "empty.nii": b"",
            "text.nii.gz": b"not found",
            "wrong_magic.nii": b"x" * 5000,
            "huge.nii.gz": gzip.compress(plain[:40] + b"\3\0" + b"\x7f" * 6 + plain[48:]),
            "corrupt.nii.gz": whole[:5000] + bytes([whole[5000] ^ 255]) + whole[5001:],
        }
        for name, content in damaged.items():
            path = tmp_path / name
            path.write_bytes(content)
            with pytest.raises(DataError, match=name) as error:
                read_volume(path)
            one_line(error, path, "Download or export the file again")

    def test_version_2_and_a_gzip_named_nii_are_read(self, tmp_path: Path) -> None:
        nib.save(nib.Nifti2Image(RAMP, AFFINE), tmp_path / "two.nii")
        write_nifti(tmp_path / "one.nii.gz").rename(tmp_path / "one.nii")
        for name in ("two.nii", "one.nii"):
            np.testing.assert_array_equal(read_volume(tmp_path / name)[0], RAMP)

    def test_a_singular_affine_is_refused(self, tmp_path: Path) -> None:
        image = nib.Nifti1Image(RAMP, AFFINE)
        path = tmp_path / "a.nii"
        image.header.set_sform(np.diag([1, 1, 0, 1]), code=1)
        path.write_bytes(image.header.binaryblock + b"\0" * 4 + RAMP.tobytes())
        with pytest.raises(DataError, match="no usable affine"):
            read_volume(path)


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


class TestMetaImage:
    def write(self, path: Path, direction: tuple[float, ...] = (1, 0, 0, 0, 1, 0, 0, 0, 1)) -> Path:
        image = sitk.GetImageFromArray(RAMP.T)
        image.SetOrigin((-198.1, -195, -335.2))
        image.SetSpacing((0.7, 0.8, 2.5))
        image.SetDirection(direction)
        sitk.WriteImage(image, path, path.stem == "z")
        return path

    @pytest.mark.parametrize("name", ["a.mhd", "z.mhd", "a.mha"])
    def test_world_coordinates_are_turned_from_lps_to_ras(self, tmp_path: Path, name: str) -> None:
        image, affine = read_volume(self.write(tmp_path / name))
        np.testing.assert_array_equal(image, RAMP)
        assert image.dtype == np.float32
        np.testing.assert_allclose(affine[:3, 3], [198.1, 195, -335.2])
        np.testing.assert_allclose(np.diag(affine), [-0.7, -0.8, 2.5, 1])

    def test_a_turned_transform_matrix_is_obeyed(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "a.mhd", (-1, 0, 0, 0, -1, 0, 0, 0, 1))
        assert "TransformMatrix = -1 0 0 0 -1 0 0 0 1" in path.read_text()
        _, affine = read_volume(path)
        np.testing.assert_allclose(np.diag(affine), [0.7, 0.8, 2.5, 1])
        lps = affine @ [1, 2, 3, 1] * [-1, -1, 1, 1]
        np.testing.assert_allclose(lps[:3], [-198.1 - 0.7, -195 - 1.6, -335.2 + 7.5])

    @pytest.mark.parametrize("name", ["a.raw", "z.zraw", "a.mha"])
    def test_short_data_are_one_line_that_names_the_file(self, tmp_path: Path, name: str) -> None:
        path = self.write((tmp_path / name).with_suffix(".mha" if name == "a.mha" else ".mhd"))
        data = tmp_path / name
        data.write_bytes(data.read_bytes()[: data.stat().st_size - 30])
        with pytest.raises(DataError) as error:
            read_volume(path)
        one_line(error, path, "cut short")

    @pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_text("hello")])
    def test_a_missing_or_foreign_header_is_refused(self, tmp_path: Path, spoil: Callable[[Path], object]) -> None:
        path = self.write(tmp_path / "a.mha")
        spoil(path)
        with pytest.raises(DataError) as error:
            read_volume(path)
        one_line(error, path)

    def test_a_header_may_not_point_out_of_its_folder(self, tmp_path: Path) -> None:
        (tmp_path / "images").mkdir()
        path = self.write(tmp_path / "images/a.mhd")
        (tmp_path / "images/a.raw").rename(tmp_path / "a.raw")
        path.write_text(path.read_text().replace("= a.raw", "= ../a.raw"))
        assert "'../a.raw' is missing or not beside it" in str(source(tmp_path).problems()[0])
        with pytest.raises(DataError, match="not beside it"):
            read_volume(path)

    def test_a_header_without_data_may_be_called_mha_and_is_held_to_the_same(self, tmp_path: Path) -> None:
        (tmp_path / "images").mkdir()
        path = self.write(tmp_path / "images/a.mhd").rename(tmp_path / "images/a.mha")
        (case,) = source(tmp_path).scan()
        assert case.files() == [path, tmp_path / "images/a.raw"]
        path.write_text(path.read_text().replace("= a.raw", "= ../a.raw"))
        (tmp_path / "images/a.raw").rename(tmp_path / "a.raw")
        with pytest.raises(DataError, match="not beside it"):
            read_volume(path)

    def test_several_values_a_voxel_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "a.mha"
        sitk.WriteImage(sitk.GetImageFromArray(np.zeros((2, 3, 4, 2), np.float32), isVector=True), path)
        with pytest.raises(DataError) as error:
            read_volume(path)
        one_line(error, path, "3 dimensions and 2 values")


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
