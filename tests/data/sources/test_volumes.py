from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from sg_bench.data.sources.base import Case, Problem
from sg_bench.data.sources.headers import data_files
from sg_bench.data.sources.volumes import (
    as_problem,
    check_classes,
    files_under,
    natural_key,
    parent_named,
    read_grid,
    read_grids,
    read_label,
    read_volume,
    unique_cases,
)
from sg_bench.errors import DataError
from tests import fixtures
from tests.fixtures import one_line

AFFINE = np.array([[-0.7, 0, 0, 10], [0, -0.7, 0, 20], [0, 0, 2.5, -30], [0, 0, 0, 1]])
RAMP = np.arange(60, dtype=np.int16).reshape(3, 4, 5)


def write_nifti(path: Path, array: np.ndarray = RAMP, affine: np.ndarray = AFFINE) -> Path:
    return fixtures.write_nifti(path, array, affine)


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

    def test_a_file_of_several_gzip_files_is_read(self, tmp_path: Path) -> None:
        """Two of equal length too, although each ends as a file of one does."""
        plain = write_nifti(tmp_path / "a.nii", RAMP).read_bytes()
        for cut in (len(plain) // 2, 100):
            (tmp_path / "a.nii.gz").write_bytes(gzip.compress(plain[:cut]) + gzip.compress(plain[cut:]))
            np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz")[0], RAMP)

    @pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", ">i2", "i4", "f4", "f8"])
    def test_every_type_of_number_is_read_to_single_precision_that_may_be_changed(
        self, tmp_path: Path, kind: str
    ) -> None:
        image, _ = read_volume(write_nifti(tmp_path / "a.nii.gz", RAMP.astype(kind)))
        assert image.dtype == np.float32
        assert image.flags.writeable
        np.testing.assert_array_equal(image, RAMP)

    def test_a_singular_affine_is_refused(self, tmp_path: Path) -> None:
        image = nib.Nifti1Image(RAMP, AFFINE)
        path = tmp_path / "a.nii"
        image.header.set_sform(np.diag([1, 1, 0, 1]), code=1)
        path.write_bytes(image.header.binaryblock + b"\0" * 4 + RAMP.tobytes())
        for read in (read_volume, read_grid):
            with pytest.raises(DataError, match="no usable affine"):
                read(path)


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
        one_line(error, path, "truncated")

    @pytest.mark.parametrize("name", ["z.mhd", "z.mha"])
    def test_packed_voxels_that_do_not_unpack_are_refused(self, tmp_path: Path, name: str) -> None:
        path = self.write(tmp_path / name)
        data = tmp_path / ("z.zraw" if name == "z.mhd" else name)
        assert read_volume(path)[0].shape == RAMP.shape
        whole = data.read_bytes()
        for corrupt in (whole[:-20] + bytes(20), whole[:-1] + bytes([whole[-1] ^ 1])):
            data.write_bytes(corrupt)
            with pytest.raises(DataError) as error:
                read_volume(path)
            one_line(error, path, "Download or export the file again")

    def test_packed_voxels_of_another_number_are_refused(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "z.mhd")
        few = zlib.compress(b"\0" * 100)
        (tmp_path / "z.zraw").write_bytes(few)
        path.write_text(re.sub(r"CompressedDataSize = \d+", f"CompressedDataSize = {len(few)}", path.read_text()))
        with pytest.raises(DataError) as error:
            read_volume(path)
        one_line(error, path, "100 bytes", "120")

    @pytest.mark.parametrize("corruption", [Path.unlink, lambda path: path.write_text("hello")])
    def test_a_missing_or_foreign_header_is_refused(self, tmp_path: Path, corruption: Callable[[Path], object]) -> None:
        path = self.write(tmp_path / "a.mha")
        corruption(path)
        with pytest.raises(DataError) as error:
            read_volume(path)
        one_line(error, path)

    def test_a_header_may_not_point_out_of_its_folder(self, tmp_path: Path) -> None:
        (tmp_path / "images").mkdir()
        path = self.write(tmp_path / "images/a.mhd")
        (tmp_path / "images/a.raw").rename(tmp_path / "a.raw")
        path.write_text(path.read_text().replace("= a.raw", "= ../a.raw"))
        problems: list[Problem] = []
        assert data_files(path, problems) == []
        assert "'../a.raw' is missing or in another folder" in str(problems[0])
        with pytest.raises(DataError, match="in another folder"):
            read_volume(path)

    def test_a_header_without_data_may_be_called_mha_and_is_held_to_the_same(self, tmp_path: Path) -> None:
        (tmp_path / "images").mkdir()
        path = self.write(tmp_path / "images/a.mhd").rename(tmp_path / "images/a.mha")
        assert data_files(path, []) == [tmp_path / "images/a.raw"]
        path.write_text(path.read_text().replace("= a.raw", "= ../a.raw"))
        (tmp_path / "images/a.raw").rename(tmp_path / "a.raw")
        with pytest.raises(DataError, match="in another folder"):
            read_volume(path)

    def test_several_values_a_voxel_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "a.mha"
        sitk.WriteImage(sitk.GetImageFromArray(np.zeros((2, 3, 4, 2), np.float32), isVector=True), path)
        with pytest.raises(DataError) as error:
            read_volume(path)
        one_line(error, path, "3 dimensions and 2 values")


class TestHeaders:
    @pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
    def test_a_grid_is_the_same_from_the_header_as_from_the_whole_file(self, tmp_path: Path, name: str) -> None:
        path = write_nifti(tmp_path / name)
        shape, affine = read_grid(path)
        assert shape == (3, 4, 5)
        np.testing.assert_array_equal(affine, read_volume(path)[1])

    def test_one_trailing_volume_does_not_count(self, tmp_path: Path) -> None:
        assert read_grid(write_nifti(tmp_path / "a.nii", RAMP[..., np.newaxis]))[0] == (3, 4, 5)

    def test_version_2_and_a_gzip_named_nii_are_read(self, tmp_path: Path) -> None:
        nib.save(nib.Nifti2Image(RAMP, AFFINE), tmp_path / "two.nii")
        write_nifti(tmp_path / "one.nii.gz").rename(tmp_path / "one.nii")
        for name in ("two.nii", "one.nii"):
            np.testing.assert_allclose(read_grid(tmp_path / name)[1], AFFINE, atol=1e-6)

    def test_damage_is_one_line_that_names_the_file(self, tmp_path: Path) -> None:
        plain = write_nifti(tmp_path / "whole.nii").read_bytes()
        damaged = {
            "absent.nii": None,
            "short.nii": plain[:-400],
            "stub.nii": plain[:100],
            "empty.nii": b"",
            "text.nii.gz": b"not found",
            "wrong_magic.nii": b"x" * 5000,
            "stub.nii.gz": gzip.compress(plain)[:40],
        }
        for name, content in damaged.items():
            if content is not None:
                (tmp_path / name).write_bytes(content)
            with pytest.raises(DataError) as error:
                read_grid(tmp_path / name)
            hint = "Download or export the file again" if content is not None else "Check that the file is there"
            one_line(error, tmp_path / name, hint)

    def test_problems_of_both_headers_are_reported_together(self, tmp_path: Path) -> None:
        (tmp_path / "a.nii").write_bytes(b"x")
        case = Case("a", "a", image=tmp_path / "a.nii", label=tmp_path / "b.nii")
        problems: list[Problem] = []
        assert read_grids(case, problems) is None
        assert [problem.where for problem in problems] == [str(tmp_path / "a.nii"), str(tmp_path / "b.nii")]

    def test_headers_of_unequal_shape_are_a_problem_of_the_label(self, tmp_path: Path) -> None:
        case = Case("a", "a", write_nifti(tmp_path / "a.nii"), write_nifti(tmp_path / "b.nii", RAMP[:2]))
        problems: list[Problem] = []
        assert read_grids(case, problems) is None
        assert [problem.where for problem in problems] == [str(tmp_path / "b.nii")]
        assert "(2, 4, 5)" in problems[0].what


class TestNames:
    def test_files_are_found_at_any_depth_in_natural_order_without_clutter(self, tmp_path: Path) -> None:
        for name in ("b/a10.nii", "b/a9.nii", "a2.nii", "._a1.nii", "c.nii/a1.txt"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        found = [path.relative_to(tmp_path).as_posix() for path in files_under(tmp_path, ".nii")]
        assert found == ["a2.nii", "b/a9.nii", "b/a10.nii"]

    def test_a_name_of_digits_alone_sorts_among_words(self) -> None:
        assert sorted(["b", "10", "a", "9"], key=natural_key) == ["9", "10", "a", "b"]

    def test_the_nearest_parent_that_matches_counts_and_the_root_is_the_last(self) -> None:
        path = Path("/subset1/subset2/x/subset3/a.mhd")
        assert parent_named(path, Path("/subset1"), r"subset\d") == "subset3"
        assert parent_named(path.parents[1] / "a.mhd", Path("/subset1/subset2"), r"subset\d") == "subset2"
        assert parent_named(path.parents[1] / "a.mhd", Path("/subset1/subset2/x"), r"subset\d") == ""
        assert parent_named(path, Path("/subset1"), "subset") == ""

    def test_one_case_an_id_is_kept_and_the_other_reported(self) -> None:
        cases = [Case("a", "a", Path("1/a")), Case("b", "b", Path("1/b")), Case("a", "a", Path("2/a"))]
        problems: list[Problem] = []
        assert unique_cases(cases, problems) == cases[:2]
        assert [str(problem) for problem in problems] == [
            "2/a: one id, 'a', for two images: 1/a is used and this one is not. Keep one of them"
        ]

    def test_an_error_becomes_the_problem_of_its_file(self) -> None:
        problem = as_problem(DataError("a/b.nii: it is damaged: badly", hint="Download it"))
        assert (problem.where, problem.what) == ("a/b.nii", "it is damaged: badly. Download it")


def test_an_unknown_label_value_is_named() -> None:
    label = np.array([[[0, 1, 3, 3]]], np.uint8)
    with pytest.raises(DataError) as error:
        check_classes(Path("a.nii"), label, {0: "background", 1: "core", 4: "rim"})
    one_line(error, "a.nii: 2 voxels have label value 3, allowed are 0 background, 1 core, 4 rim")
