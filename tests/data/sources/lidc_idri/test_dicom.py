from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from sg_bench.data.sources.dicom import find_series, read_image, read_series
from sg_bench.errors import DataError
from tests.fixtures.lidc_idri import PADDING, SERIES, SHAPE, TRAPS, ramp, slice_header, write_series

PATIENT = "LIDC-IDRI-0001"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_series(tmp_path / "s", ramp(), SERIES, PATIENT)
    return tmp_path / "s"


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.dcm"))


def changed(path: Path, **tags: Any) -> Path:
    """Set tags of a file, or delete those given as None."""
    header = pydicom.dcmread(path)
    for name, value in tags.items():
        if value is None:
            delattr(header, name)
        else:
            setattr(header, name, value)
    header.save_as(path)
    return path


class TestReading:
    def test_voxels_are_hounsfield_units_by_column_row_and_slice(self, folder: Path) -> None:
        series = read_series(files(folder))
        image = read_image(series)
        assert image.dtype == np.float32
        assert series.shape == image.shape == SHAPE
        np.testing.assert_array_equal(image, ramp())

    def test_slices_are_stacked_by_position_not_by_name_or_order(self, folder: Path) -> None:
        shuffled = [files(folder)[index] for index in np.random.default_rng(0).permutation(12)]
        series = read_series(shuffled)
        assert [each.path.name for each in series.slices][:2] == ["000012.dcm", "000011.dcm"]
        np.testing.assert_array_equal(read_image(series), ramp())

    def test_world_coordinates_are_turned_from_lps_to_ras(self, folder: Path) -> None:
        series = read_series(files(folder))
        np.testing.assert_allclose(np.diag(series.affine), [-0.7, -0.8, 2.5, 1])
        np.testing.assert_allclose(series.affine[:3, 3], [10, 20, -100])
        np.testing.assert_allclose(series.spacing, [0.7, 0.8, 2.5])
        assert series.thickness == 2.5

    def test_a_turned_orientation_is_obeyed(self, folder: Path) -> None:
        for index, path in enumerate(files(folder)):
            changed(path, ImageOrientationPatient=[0, 1, 0, 0, 0, -1], ImagePositionPatient=[3.0 * index, 7, 9])
        series = read_series(files(folder))
        lps = series.affine @ [2, 3, 4, 1] * [-1, -1, 1, 1]
        np.testing.assert_allclose(lps[:3], [3 * 11 - 3 * 4, 7 + 0.7 * 2, 9 - 0.8 * 3])
        assert series.slices[4].origin[0] == 3.0 * 7

    def test_each_slice_has_its_own_slope_and_intercept(self, folder: Path) -> None:
        changed(folder / "000012.dcm", RescaleSlope=2, RescaleIntercept=-10)
        image = read_image(read_series(files(folder)))
        np.testing.assert_array_equal(image[..., 0], (ramp()[..., 0] + 1024) * 2 - 10)
        np.testing.assert_array_equal(image[..., 1], ramp()[..., 1])

    def test_padding_stays_to_be_clipped_later(self, tmp_path: Path) -> None:
        hounsfield = ramp()
        hounsfield[0, 0] = PADDING - 1024
        write_series(tmp_path, hounsfield, SERIES, PATIENT)
        assert read_image(read_series(files(tmp_path))).min() == -3024

    def test_of_two_slices_at_one_position_the_smaller_instance_number_is_kept(self, folder: Path) -> None:
        for number, name in ((3, "a.dcm"), (99, "b.dcm"), (None, "c.dcm")):
            double = slice_header(ramp()[..., 2] + 500, 2, f"{SERIES}.8", PATIENT)
            double.SeriesInstanceUID = SERIES
            double.save_as(folder / name, enforce_file_format=True)
            changed(folder / name, InstanceNumber=number)
        series = read_series(files(folder))
        assert series.shape == SHAPE
        assert series.slices[2].path.name == "a.dcm"
        np.testing.assert_array_equal(read_image(series)[..., 2], ramp()[..., 2] + 500)
        assert series.index(f"{SERIES}.3", TRAPS.z(2)) == 2, "outlines on the other are found by height"

    @pytest.mark.parametrize("thickness", [None, ""])
    def test_without_a_thickness_the_distance_of_slices_is_used(self, folder: Path, thickness: str) -> None:
        for path in files(folder):
            changed(path, SliceThickness=thickness)
        assert read_series(files(folder)).thickness == 2.5

    def test_a_path_that_is_not_ascii_is_read(self, tmp_path: Path) -> None:
        write_series(tmp_path / "Öffentliche Daten" / "患者", ramp(), SERIES, PATIENT)
        (found,), problems = find_series(tmp_path)
        assert problems == []
        np.testing.assert_array_equal(read_image(read_series(list(found.files))), ramp())


class TestGaps:
    def test_a_missing_slice_is_refused_and_named(self, folder: Path) -> None:
        (folder / "000006.dcm").unlink()
        with pytest.raises(DataError) as error:
            read_series(files(folder))
        assert str(error.value).startswith(
            f"{folder}: 1 gaps between slices, the first of 5 mm from 000007.dcm (z -87.5) to 000005.dcm (z -82.5); "
            "the median is 2.5 mm, allowed are 1.5 medians. Download the missing slices, or set `gaps` to allow"
        )

    def test_a_missing_slice_may_be_allowed(self, folder: Path) -> None:
        (folder / "000006.dcm").unlink()
        series = read_series(files(folder), gaps="allow")
        assert series.shape == (40, 32, 11)
        assert series.spacing[2] == 2.5
        np.testing.assert_array_equal(read_image(series)[..., 5:7], ramp()[..., [5, 7]])

    def test_one_slice_is_no_volume(self, folder: Path) -> None:
        with pytest.raises(DataError, match="it holds 1 slice, not a volume"):
            read_series(files(folder)[:1])


class TestDamage:
    TAGS = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SOPInstanceUID", "Rows", "Columns")

    @pytest.mark.parametrize("tag", TAGS)
    def test_a_missing_tag_is_named_with_its_file(self, folder: Path, tag: str) -> None:
        path = changed(folder / "000004.dcm", **{tag: None})
        with pytest.raises(DataError) as error:
            read_series(files(folder))
        assert str(error.value) == f"{path}: its tag {tag} is missing or empty. Download or export the series again"

    @pytest.mark.parametrize("tag", ["RescaleSlope", "RescaleIntercept"])
    def test_a_missing_tag_of_the_pixels_is_named_too(self, folder: Path, tag: str) -> None:
        path = changed(folder / "000004.dcm", **{tag: None})
        with pytest.raises(DataError) as error:
            read_image(read_series(files(folder)))
        assert str(error.value) == f"{path}: its tag {tag} is missing or empty. Download or export the series again"

    def test_a_tag_with_too_few_numbers_is_refused(self, folder: Path) -> None:
        path = changed(folder / "000004.dcm", ImagePositionPatient=[1, 2])
        with pytest.raises(DataError, match=r"its tag ImagePositionPatient is \[1.0, 2.0\], not 3 numbers") as error:
            read_series(files(folder))
        assert str(path) in str(error.value)

    @pytest.mark.filterwarnings("ignore:Invalid value for VR")
    def test_a_tag_that_is_no_number_is_refused(self, folder: Path) -> None:
        path = folder / "000004.dcm"
        content = path.read_bytes()
        assert content.count(b"0.8\\0.7 ") == 1
        path.write_bytes(content.replace(b"0.8\\0.7 ", b"0.8\\wide"))
        with pytest.raises(DataError, match=r"000004\.dcm: its tag PixelSpacing is no number"):
            read_series(files(folder))

    def test_axes_that_span_no_plane_are_refused(self, folder: Path) -> None:
        for path in files(folder):
            changed(path, ImageOrientationPatient=[1, 0, 0, 1, 0, 0])
        with pytest.raises(DataError, match="span no plane"):
            read_series(files(folder))

    def test_pixels_that_were_cut_short_are_refused(self, folder: Path) -> None:
        path = folder / "000004.dcm"
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(DataError, match=r"000004\.dcm: it cannot be read as DICOM") as error:
            read_image(read_series(files(folder)))
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\0" * 128 + b"DICM\2\0"])
    def test_what_is_no_dicom_among_the_slices_is_refused(self, folder: Path, content: bytes) -> None:
        path = folder / "000004.dcm"
        path.write_bytes(content)
        with pytest.raises(DataError) as error:
            read_series(files(folder))
        assert str(error.value).startswith(f"{path}: ")

    def test_pixels_that_are_absent_are_refused(self, folder: Path) -> None:
        changed(folder / "000004.dcm", PixelData=None)
        with pytest.raises(DataError, match=r"000004\.dcm: it cannot be read as DICOM"):
            read_image(read_series(files(folder)))

    def test_two_series_in_one_folder_are_refused(self, folder: Path) -> None:
        changed(folder / "000004.dcm", SeriesInstanceUID="1.2.3")
        with pytest.raises(DataError) as error:
            read_series(files(folder))
        assert f"000004.dcm: it is of series 1.2.3, 000001.dcm in the same folder of {SERIES}. Give each" in str(
            error.value
        )

    def test_another_shape_is_refused(self, folder: Path) -> None:
        slice_header(ramp()[:20, :, 8], 8, SERIES, PATIENT).save_as(folder / "000004.dcm", enforce_file_format=True)
        with pytest.raises(DataError, match=r"000004\.dcm: its columns and rows are \(20, 32\), .* \(40, 32\)"):
            read_series(files(folder))

    @pytest.mark.parametrize("change", [{"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, {"PixelSpacing": [1, 1]}])
    def test_another_orientation_or_spacing_is_refused(self, folder: Path, change: dict[str, Any]) -> None:
        changed(folder / "000004.dcm", **change)
        with pytest.raises(DataError, match=r"000004\.dcm: ImageOrientationPatient times PixelSpacing differs"):
            read_series(files(folder))


class TestFinding:
    def test_hidden_files_and_other_files_are_passed_over(self, folder: Path) -> None:
        for name in ("._000001.dcm", ".DS_Store", "notes.txt", "Thumbs.db"):
            (folder / name).write_bytes(b"clutter")
        (folder.parent / ".cache").mkdir()
        (folder.parent / ".cache/a.dcm").write_bytes(b"clutter")
        (found,), problems = find_series(folder.parent)
        assert problems == []
        assert found.files == tuple(files(folder)[1:])
        assert (found.series, found.patient) == (SERIES, PATIENT)

    @pytest.mark.parametrize("modality", ["DX", "CR", "SEG"])
    def test_another_modality_is_passed_over(self, tmp_path: Path, modality: str) -> None:
        write_series(tmp_path, np.zeros((4, 4, 1)), SERIES, PATIENT, modality=modality)
        assert find_series(tmp_path) == ([], [])

    def test_the_first_file_that_is_dicom_speaks_for_its_folder(self, folder: Path) -> None:
        (folder / "000001.dcm").write_text("not found")
        (found,), problems = find_series(folder)
        assert problems == []
        assert found.series == SERIES

    def test_a_folder_without_any_dicom_is_a_problem(self, folder: Path) -> None:
        for path in files(folder):
            path.write_text("not found")
        found, problems = find_series(folder)
        assert found == []
        assert list(map(str, problems)) == [
            f"{folder}: none of its 12 .dcm files is DICOM. Download or export the series again"
        ]

    @pytest.mark.parametrize("tag", ["Modality", "SeriesInstanceUID", "PatientID"])
    def test_a_missing_tag_is_a_problem(self, folder: Path, tag: str) -> None:
        path = changed(folder / "000001.dcm", **{tag: None})
        found, (problem,) = find_series(folder)
        assert found == []
        assert (problem.where, problem.what.split(".")[0]) == (str(path), f"its tag {tag} is missing or empty")
