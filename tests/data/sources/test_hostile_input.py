"""Whatever a file holds, a reader returns what it reads or raises one line that names the file, in bounded memory."""

from __future__ import annotations

import gzip
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from sg_bench.data.sources.dicom import find_volumes, read_image, read_series
from sg_bench.data.sources.films import read_dicom, read_header, read_picture
from sg_bench.data.sources.folder import FolderConfig, FolderSource, recognise
from sg_bench.data.sources.lidc_idri.annotations import read_annotations, series_of
from sg_bench.data.sources.siim_acr import decode_runs
from sg_bench.data.sources.volumes import read_grid, read_label, read_volume
from sg_bench.errors import DataError
from tests.fixtures.lidc_idri import SERIES, ramp, write_series

RAMP = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
EXAMPLES = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def damages() -> st.SearchStrategy[list[tuple[float, int]]]:
    """Return places (as a fraction of the file) and new bytes; 256 cuts the file there."""
    return st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 256)), min_size=1, max_size=6)


def damaged(content: bytes, changes: list[tuple[float, int]]) -> bytes:
    for place, value in changes:
        index = int(place * len(content))
        content = content[:index] if value == 256 else content[:index] + bytes([value]) + content[index + 1 :]
    return content


def refuses_in_one_line(read: Callable[[Path], Any], content: bytes, name: str) -> None:
    """Assert that `read` of a file with this content returns, or raises one line that names the file."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            read(path)
        except DataError as error:
            message = str(error)
        else:
            return
    assert name in message or folder in message
    assert "\n" not in message
    assert "_io." not in message
    assert len(message) < 2000


def written(write: Callable[[str], Any], name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write(f"{folder}/{name}")
        return (Path(folder) / name).read_bytes()


NIFTI = written(lambda path: nib.save(nib.Nifti1Image(RAMP, np.eye(4)), path), "a.nii")
FILES = {
    "a.nii": NIFTI,
    "a.nii.gz": gzip.compress(NIFTI),
    "a.mha": written(lambda path: sitk.WriteImage(sitk.GetImageFromArray(RAMP), path), "a.mha"),
    "z.mha": written(lambda path: sitk.WriteImage(sitk.GetImageFromArray(RAMP), path, useCompression=True), "z.mha"),
    "a.nrrd": written(lambda path: sitk.WriteImage(sitk.GetImageFromArray(RAMP), path), "a.nrrd"),
}
PICTURES = {
    f"a.{ending}": written(lambda path: Image.fromarray(RAMP[0].astype(np.uint8)).save(path), f"a.{ending}")
    for ending in ("png", "tif", "jpg")
}


@pytest.mark.parametrize("name", FILES)
@given(changes=damages())
@EXAMPLES
def test_damaged_volumes(name: str, changes: list[tuple[float, int]]) -> None:
    content = damaged(FILES[name], [(place * place, value) for place, value in changes])  # headers are at the start
    for read in (read_volume, read_label, *([read_grid] if ".nii" in name else [])):
        refuses_in_one_line(read, content, name)


@pytest.mark.parametrize("name", PICTURES)
@given(changes=damages())
@EXAMPLES
def test_damaged_pictures(name: str, changes: list[tuple[float, int]]) -> None:
    refuses_in_one_line(read_picture, damaged(PICTURES[name], changes), name)


@pytest.mark.parametrize("name", [*FILES, *PICTURES, "a.dcm", "t.xml"])
@given(content=st.binary(max_size=600))
@settings(EXAMPLES, max_examples=15)
def test_any_bytes(name: str, content: bytes) -> None:
    readers: dict[str, Callable[[Path], Any]] = {
        "a.dcm": read_dicom,
        "t.xml": read_annotations,
        **dict.fromkeys(PICTURES, read_picture),
    }
    refuses_in_one_line(readers.get(name, read_volume), content, name)


class TestDicom:
    @staticmethod
    @pytest.fixture(scope="class")
    def slices(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
        folder = tmp_path_factory.mktemp("series")
        write_series(folder, ramp()[:6, :5], SERIES, "p1")
        return [path.read_bytes() for path in sorted(folder.glob("*.dcm"))[:3]]

    @given(changes=damages())
    @EXAMPLES
    def test_damaged_slices_and_films(self, slices: list[bytes], changes: list[tuple[float, int]]) -> None:
        content = damaged(slices[0], changes)
        for read in (read_dicom, read_header):
            refuses_in_one_line(read, content, "a.dcm")

        def as_series(path: Path) -> None:
            others = [path.with_name(f"b{index}.dcm") for index in range(2)]
            for other, whole in zip(others, slices[1:], strict=True):
                other.write_bytes(whole)
            find_volumes(path.parent)
            read_image(read_series([path, *others]))

        refuses_in_one_line(as_series, content, "a.dcm")


class TestBombs:
    """Headers that claim far more than the file holds, and files that unpack to far more than their header claims."""

    def header(self, *sizes: int) -> bytes:
        header = nib.Nifti1Header()
        header.set_data_dtype(np.int16)
        header["dim"] = [len(sizes), *sizes, *[1] * (7 - len(sizes))]
        header["vox_offset"] = 352
        return bytes(header.binaryblock) + bytes(4)

    @pytest.mark.parametrize("sizes", [(32000, 32000, 32000), (32767,) * 7, (-3, 4, 5), (0, 4, 5)])
    @pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
    def test_a_nifti_that_claims_too_much_is_refused(self, tmp_path: Path, sizes: tuple[int, ...], name: str) -> None:
        content = self.header(*sizes) + bytes(1000)
        path = tmp_path / name
        path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
        with pytest.raises(DataError, match=name):
            read_volume(path)

    def test_a_gzip_that_unpacks_to_far_more_than_its_header_claims_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "a.nii.gz").write_bytes(gzip.compress(NIFTI + bytes(2**25), compresslevel=1))
        with pytest.raises(DataError, match="unpacks to far more"):
            read_volume(tmp_path / "a.nii.gz")

    @pytest.mark.parametrize("size", ["99999 99999 99999", "3 4", "a b c", "-1 4 5", "3 4 5000"])
    def test_a_metaimage_or_nrrd_that_claims_too_much_is_refused(self, tmp_path: Path, size: str) -> None:
        for name, content in {
            "a.mha": FILES["a.mha"].replace(b"DimSize = 5 4 3", f"DimSize = {size}".encode()),
            "a.nrrd": FILES["a.nrrd"].replace(b"sizes: 5 4 3", f"sizes: {size}".encode()),
        }.items():
            assert content != FILES[name]
            (tmp_path / name).write_bytes(content)
            with pytest.raises(DataError, match=name):
                read_volume(tmp_path / name)


NUMBERS = st.lists(st.integers(-5, 2**70), max_size=12).map(lambda numbers: " ".join(map(str, numbers)))


@given(code=st.one_of(st.text(max_size=60), NUMBERS))
@settings(EXAMPLES, max_examples=150)
def test_any_run_length_code(code: str) -> None:
    try:
        mask = decode_runs(code, 7, 9)
    except ValueError as error:
        message = str(error)
    else:
        assert mask.shape == (7, 9)
        return
    assert "\n" not in message


@given(
    text=st.text(st.sampled_from("<>/&;!\"' LidcReadMessageSeriesInstanceUid10\n"), max_size=200),
    inside=st.booleans(),
)
@EXAMPLES
def test_any_xml(text: str, inside: bool) -> None:
    content = f"<LidcReadMessage>{text}</LidcReadMessage>" if inside else text
    for read in (read_annotations, series_of):
        refuses_in_one_line(read, content.encode(), "t.xml")


def test_entities_that_expand_without_end_are_refused(tmp_path: Path) -> None:
    entities = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 30))
    (tmp_path / "t.xml").write_text(
        f'<!DOCTYPE x [<!ENTITY a0 "ha">{entities}]><LidcReadMessage>&a29;</LidcReadMessage>'
    )
    for read in (read_annotations, series_of):
        with pytest.raises(DataError, match=r"t\.xml: it cannot be read as XML"):
            read(tmp_path / "t.xml")


@given(table=st.binary(max_size=200), joined=st.booleans())
@EXAMPLES
def test_any_table(table: bytes, joined: bool) -> None:
    content = b"id,age\n" + table if joined else table

    def scan(path: Path) -> None:
        (path.parent / "images").mkdir()
        (path.parent / "images/a.nii").write_bytes(NIFTI)
        source = FolderSource(FolderConfig(table="t.csv", attributes=("age",)), path.parent)
        source.problems()
        source.scan()
        recognise(path.parent)

    refuses_in_one_line(scan, content, "t.csv")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["0", "1", "image", "label"]), inner),
    max_leaves=8,
)


@given(content=st.dictionaries(st.sampled_from(["training", "channel_names", "modality", "labels"]), json_values))
@EXAMPLES
def test_any_description_of_a_data_set(content: dict[str, Any]) -> None:
    import json

    def scan(path: Path) -> None:
        (path.parent / "imagesTr").mkdir()
        (path.parent / "imagesTr/a_0000.nii").write_bytes(NIFTI)
        recognise(path.parent)
        for layout in ("nnunet", "msd"):
            source = FolderSource(FolderConfig.model_validate({"layout": layout, "labels": "x"}), path.parent)
            source.problems()
            source.scan()

    refuses_in_one_line(scan, json.dumps(content).encode(), "dataset.json")


PIECES = st.sampled_from([*"*?[]{}!/\\.-^ab", "{id}", "{patient}", "**/"])


@given(pattern=st.lists(PIECES, max_size=9).map("".join))
@settings(EXAMPLES, max_examples=150)
def test_any_pattern(pattern: str) -> None:
    def scan(path: Path) -> None:
        for config in (FolderConfig(images=pattern), FolderConfig(images="{id}.nii", labels=pattern)):
            source = FolderSource(config, path.parent)
            source.problems()
            source.scan()

    refuses_in_one_line(scan, NIFTI, "a.nii")


@pytest.mark.parametrize(("read", "name"), [(read_volume, "a.nii.gz"), (read_picture, "a.png"), (read_dicom, "a.dcm")])
def test_a_file_that_cannot_be_opened_is_not_to_be_downloaded_again(
    read: Callable[[Path], Any], name: str, tmp_path: Path
) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(DataError) as error:
        read(tmp_path / name)
    assert "Check that the file is there and that you may read it" in str(error.value)
    assert "ownload" not in str(error.value)
