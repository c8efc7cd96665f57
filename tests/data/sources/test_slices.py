"""DICOM slices that are no regular grid are resampled onto one, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.data import get_testdata_file
from pydicom.sr.codedict import codes

from sg_bench.data.sources.dicom import find_volumes, read_image, read_series
from sg_bench.data.sources.folder import FolderConfig, FolderSource, recognise
from sg_bench.data.sources.pixels import stored_pixels
from sg_bench.errors import DataError
from tests.fixtures import one_line
from tests.fixtures.lidc_idri import SERIES, ramp, write_series

PATIENT = "p1"


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.dcm"))


def moved(folder: Path, place: Any) -> list[Any]:
    """Move each slice's position by `place(index)` in mm, in ascending order of height; return the data sets."""
    slices = sorted((pydicom.dcmread(path) for path in files(folder)), key=lambda each: each.ImagePositionPatient[2])
    for index, each in enumerate(slices):
        each.ImagePositionPatient = [
            float(x) + dx for x, dx in zip(each.ImagePositionPatient, place(index), strict=True)
        ]
        each.save_as(str(each.filename))
    return slices


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_series(tmp_path / "s", ramp(), SERIES, PATIENT)
    return tmp_path / "s"


def opened(folder: Path, **config: Any) -> FolderSource:
    return FolderSource(FolderConfig.model_validate({"layout": "dicom", **config}), folder.parent)


class TestIrregular:
    @pytest.mark.parametrize("tilt", [0.8, 2.0])
    def test_a_tilted_gantry_is_refused_and_in_a_folder_resampled_to_where_voxels_are(
        self, folder: Path, tilt: float
    ) -> None:
        """Rows are 0.8 mm apart: a voxel of any slice is found at its own place in the world."""
        slices = moved(folder, lambda index: (0, tilt * index, 0))
        with pytest.raises(DataError) as error:
            read_series(files(folder))
        one_line(error, folder, "shifted against each other", "gantry tilt")
        source = opened(folder)
        study = source.load(source.scan()[0])
        for index in (0, 5, 11):
            lps = np.add(slices[index].ImagePositionPatient, [0.7 * 4, 0.8 * 9, 0])
            x, y, z = np.linalg.solve(study.affine, [-lps[0], -lps[1], lps[2], 1])[:3]
            np.testing.assert_allclose((x, z), (4, index), atol=1e-6)
            low = study.image[4, int(np.floor(y + 1e-6)), index]
            high = study.image[4, int(np.floor(y + 1e-6)) + 1, index]
            share = y - np.floor(y + 1e-6)
            assert low * (1 - share) + high * share == pytest.approx(ramp()[4, 9, index], abs=1e-2)

    def test_uneven_gaps_below_a_missing_slice_are_refused_and_in_a_folder_interpolated(self, folder: Path) -> None:
        moved(folder, lambda index: (0, 0, 0.9 if index == 6 else 0))
        with pytest.raises(DataError, match=r"not evenly spaced, 000006\.dcm is 0\.36 distances from its place"):
            read_series(files(folder))
        source = opened(folder)
        image = source.load(source.scan()[0]).image
        assert image.shape == ramp().shape
        np.testing.assert_allclose(image[..., 5], ramp()[..., 5], atol=1e-3)
        expected = ramp()[..., 5] + (ramp()[..., 6] - ramp()[..., 5]) * (2.5 / 3.4)
        np.testing.assert_allclose(image[..., 6], expected, atol=1e-2)

    def test_rounded_positions_are_stacked_at_their_mean_distance(self, folder: Path) -> None:
        moved(folder, lambda index: (0, 0, round(0.125 * index, 1) if index % 3 else 0.1 * index))
        series = read_series(files(folder), irregular="allow")
        span = series.slices[-1].origin[2] - series.slices[0].origin[2]
        assert abs(float(series.spacing[2]) * 11 - span) < 0.25 + 1e-9

    def test_a_regular_series_is_read_to_the_bit(self, folder: Path) -> None:
        source, series = opened(folder), read_series(files(folder))
        study = source.load(source.scan()[0])
        np.testing.assert_array_equal(study.image, read_image(series))
        np.testing.assert_array_equal(study.affine, series.affine)


class TestFinding:
    def test_two_series_in_one_folder_and_files_without_an_ending_are_found(self, tmp_path: Path) -> None:
        write_series(tmp_path / "a", ramp(), f"{SERIES}.1", PATIENT)
        write_series(tmp_path / "b", ramp(), f"{SERIES}.2", "p2")
        for path in files(tmp_path / "b"):
            path.rename(tmp_path / "a" / f"x{path.stem}")
        (tmp_path / "a/notes.txt").write_text("not DICOM")
        found, problems = find_volumes(tmp_path)
        assert [(each.series, each.patient, len(each.files)) for each in found] == [
            (f"{SERIES}.1", PATIENT, 12),
            (f"{SERIES}.2", "p2", 12),
        ]
        assert problems == []
        assert recognise(tmp_path) == FolderConfig(layout="dicom")

    def test_a_segmentation_is_read_on_the_slices_of_its_series(self, folder: Path) -> None:
        sources = [pydicom.dcmread(path) for path in files(folder)]
        mask = np.zeros((len(sources), *sources[0].pixel_array.shape), np.uint8)
        mask[2, 3:6, 4:9] = 1
        kinds = (codes.SCT.MorphologicallyAbnormalStructure, codes.SCT.Neoplasm)
        segment = hd.seg.SegmentDescription(1, "tumour", *kinds, hd.seg.SegmentAlgorithmTypeValues.MANUAL)
        for each in sources:
            each.StudyID, each.AccessionNumber, each.StudyDate, each.StudyTime = "1", "", "20200101", "000000"
            each.PatientName, each.PatientBirthDate, each.PatientSex = "p", "", ""
            each.ReferringPhysicianName = ""
            each.FrameOfReferenceUID = "1.2.3"
        seg = hd.seg.Segmentation(
            sources, mask, hd.seg.SegmentationTypeValues.BINARY, [segment], "1.2.9", 5, "1.2.9.1", 1, "m", "m", "1", "1"
        )
        seg.save_as(folder / "seg.dcm")
        config = recognise(folder.parent)
        assert config == FolderConfig(layout="dicom", labels="**/*")
        source = FolderSource(config, folder.parent)
        (case,) = source.scan()
        label = source.load(case).label
        assert label is not None
        height = sorted(float(each.ImagePositionPatient[2]) for each in sources)
        index = height.index(float(sources[2].ImagePositionPatient[2]))
        assert np.unique(label[..., [i for i in range(12) if i != index]]).tolist() == [0]
        np.testing.assert_array_equal(label[..., index].T, mask[2])


class TestCompressed:
    @pytest.mark.parametrize("name", ["MR_small_jpeg_ls_lossless.dcm", "JPEGLSNearLossless_16.dcm"])
    def test_jpeg_ls_is_decoded(self, name: str) -> None:
        path = Path(str(get_testdata_file(name, download=False)))
        wanted = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[0]
        np.testing.assert_array_equal(stored_pixels(pydicom.dcmread(path), path), wanted)

    def test_lossless_jpeg_is_decoded(self, tmp_path: Path) -> None:
        pixels = np.random.default_rng(0).integers(0, 4000, (1, 24, 20)).astype(np.uint16)
        writer = sitk.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.SetFileName(str(tmp_path / "a.dcm"))
        writer.UseCompressionOn()
        writer.SetCompressor("JPEG")
        writer.Execute(sitk.GetImageFromArray(pixels))
        data = pydicom.dcmread(tmp_path / "a.dcm")
        assert "Lossless" in data.file_meta.TransferSyntaxUID.name
        np.testing.assert_array_equal(stored_pixels(data, tmp_path / "a.dcm"), pixels[0])

    def test_a_palette_is_refused(self, tmp_path: Path) -> None:
        data = pydicom.Dataset()
        data.PhotometricInterpretation = "PALETTE COLOR"
        with pytest.raises(DataError) as error:
            stored_pixels(data, tmp_path / "a.dcm")
        one_line(error, "a.dcm: it is PALETTE COLOR", "Export it as grey")


def test_a_resampled_series_is_named_before_and_after_it_is_read(folder: Path) -> None:
    moved(folder, lambda index: (0, 2.0 * index, 0))
    source = opened(folder)
    (problem,) = source.problems()
    assert problem.warning
    assert problem.where == str(folder)
    assert "its slices are shifted by up to" in problem.what
    assert source.left_out() == []
    (note,) = source.load(source.scan()[0]).notes
    assert note.endswith("(gantry tilt, drift): resampled to a regular grid")
    assert note in problem.what


def test_a_regular_series_is_not_named(folder: Path) -> None:
    source = opened(folder)
    assert source.problems() == []
    assert source.load(source.scan()[0]).notes == ()
