from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from sg_bench.data.sources.base import Problem
from sg_bench.data.sources.films import (
    FilmScan,
    InsidePath,
    count_and_examples,
    find_films,
    read_dicom,
    read_header,
    read_png,
    single_films,
    table_rows,
)
from sg_bench.errors import DataError
from tests.fixtures.siim_acr import write_dicom

RAMP = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
"""(rows, columns)."""


def one_line(error: pytest.ExceptionInfo[DataError], *parts: object) -> None:
    message = str(error.value)
    assert "\n" not in message
    assert ". " in message, "no next step"
    for part in parts:
        assert str(part) in message


def write(path: Path, array: np.ndarray, mode: str = "") -> Path:
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path)
    return path


def tree(root: Path, sizes: dict[str, int]) -> dict[str, list[Path]]:
    """Write files of so many bytes, named without .png, and return them as they are found."""
    for name, size in sizes.items():
        path = root / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    return find_films(root, ".png")


class TestFinding:
    def test_films_are_found_at_any_depth_and_clutter_is_passed_over(self, tmp_path: Path) -> None:
        for name in ("a.png", "x/b.PNG", "x/y/z/c.png", "._a.png", ".hidden/d.png", "notes.txt", "x/.DS_Store"):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        found = find_films(tmp_path, ".png")
        assert {name: [path.relative_to(tmp_path).as_posix() for path in paths] for name, paths in found.items()} == {
            "a": ["a.png"],
            "b": ["x/b.PNG"],
            "c": ["x/y/z/c.png"],
        }

    def test_links_are_followed_but_never_in_a_circle_nor_twice(self, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere/a.png").write_bytes(b"")
        root = tmp_path / "root"
        root.mkdir()
        for name in ("one", "two"):
            (root / name).symlink_to(tmp_path / "elsewhere")
        (root / "circle").symlink_to(root)
        (root / "gone.png").symlink_to(root / "nowhere.png")
        assert find_films(root, ".png") == {"a": [root / "one/a.png"]}

    def test_of_copies_the_first_is_kept_and_each_other_is_a_problem(self, tmp_path: Path) -> None:
        films, found = tree(tmp_path, {"z/a": 3, "y/a": 3, "x/a": 3, "b": 5}), FilmScan()
        assert single_films(films, "Keep one", found) == {"a": tmp_path / "x/a.png", "b": tmp_path / "b.png"}
        assert [str(problem) for problem in found.exclusions] == [
            f"{tmp_path}/{name}/a.png: it is there once more as {tmp_path}/x/a.png, which is used. Keep one"
            for name in ("y", "z")
        ]
        assert found.fatal == []

    def test_a_film_in_two_sizes_is_left_out_and_no_other(self, tmp_path: Path) -> None:
        films, found = tree(tmp_path, {"y/a": 3, "x/a": 4, "b": 5}), FilmScan()
        assert single_films(films, "Keep one", found) == {"b": tmp_path / "b.png"}
        assert [str(problem) for problem in found.exclusions] == [
            f"{tmp_path}/x/a.png: the same film, of another size, is also {tmp_path}/y/a.png: it is left out. Keep one"
        ]
        assert found.fatal == []

    def test_a_folder_of_films_that_are_elsewhere_in_another_size_is_a_second_set(self, tmp_path: Path) -> None:
        sizes = {f"large/{name}": 9 for name in "abcde"} | {f"small/{name}": 1 for name in "abcdefghijk"}
        found = FilmScan()
        single_films(tree(tmp_path, sizes), "Choose", found)
        assert [str(problem) for problem in found.fatal] == [
            f"{tmp_path}/large: 5 of its 5 films are elsewhere in another size. Choose"
        ]

    @pytest.mark.parametrize(("doubled", "own"), [("abcd", ""), ("abcde", "vwxyz")])
    def test_a_few_strays_or_less_than_most_of_a_folder_are_no_second_set(
        self, tmp_path: Path, doubled: str, own: str
    ) -> None:
        sizes = {f"large/{name}": 9 for name in doubled + own} | {f"small/{name}": 1 for name in "abcdefghijk"}
        found = FilmScan()
        kept = single_films(tree(tmp_path, sizes), "Choose", found)
        assert sorted(kept) == sorted(set("abcdefghijk" + own) - set(doubled))
        assert (found.fatal, len(found.exclusions)) == ([], len(doubled))

    def test_many_names_are_a_number_and_three_examples(self) -> None:
        assert count_and_examples({"d", "b", "a", "c"}) == "4 (a, b, c, ...)"
        assert count_and_examples(["b", "a"]) == "2 (a, b)"

    @pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "C:\\x"])
    def test_a_setting_may_not_lead_out_of_the_folder(self, path: str) -> None:
        with pytest.raises(ValidationError, match="leaves the data set's folder"):
            TypeAdapter(InsidePath).validate_python(path)


class TestTable:
    def test_rows_are_read_with_their_lines_but_no_byte_order_mark_nor_blank_lines(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfone,two\r\n\r\n1,2")
        assert table_rows(tmp_path / "a.csv", []) == [(1, ["one", "two"]), (3, ["1", "2"])]

    @pytest.mark.parametrize(
        ("content", "cause"), [(b"a,\xff\xfe", "decode"), (b"a," + b"x" * 200_000, "field limit"), (b"", "empty")]
    )
    def test_what_is_no_table_is_a_problem(self, tmp_path: Path, content: bytes, cause: str) -> None:
        path = tmp_path / "a.csv"
        path.write_bytes(content)
        problems: list[Problem] = []
        assert table_rows(path, problems) == []
        assert problems[0].where == str(path)
        assert cause in problems[0].what


class TestPng:
    def test_a_pixel_is_at_its_column_and_row(self, tmp_path: Path) -> None:
        film = read_png(write(tmp_path / "a.png", RAMP))
        assert film.shape == (6, 4, 1)
        assert film.dtype == np.float32
        assert film[5, 0, 0] == RAMP[0, 5]
        np.testing.assert_array_equal(film[..., 0].T, RAMP)

    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
    def test_grey_stored_as_something_else_is_read_as_the_same_grey(self, tmp_path: Path, mode: str) -> None:
        path = write(tmp_path / "a.png", RAMP, mode)
        with Image.open(path) as image:
            assert image.mode == mode
        np.testing.assert_array_equal(read_png(path)[..., 0].T, RAMP)

    def test_transparency_does_not_change_what_is_read(self, tmp_path: Path) -> None:
        image = Image.fromarray(RAMP).convert("RGBA")
        image.putalpha(Image.fromarray(255 - RAMP))
        image.save(tmp_path / "a.png")
        np.testing.assert_array_equal(read_png(tmp_path / "a.png")[..., 0].T, RAMP)

    def test_a_palette_with_transparent_colours_is_read_without_a_warning(self, tmp_path: Path) -> None:
        Image.fromarray(RAMP).convert("P").save(tmp_path / "a.png", transparency=bytes(range(256)))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            np.testing.assert_array_equal(read_png(tmp_path / "a.png")[..., 0].T, RAMP)

    def test_sixteen_bits_are_kept(self, tmp_path: Path) -> None:
        deep = RAMP.astype(np.uint16) * 250 + 7
        np.testing.assert_array_equal(read_png(write(tmp_path / "a.png", deep))[..., 0].T, deep)

    def test_a_path_that_is_not_ascii_is_read(self, tmp_path: Path) -> None:
        folder = tmp_path / "Röntgen 胸部"
        folder.mkdir()
        assert read_png(write(folder / "a.png", RAMP)).shape == (6, 4, 1)

    def test_a_file_cut_short_anywhere_is_one_line_that_names_it(self, tmp_path: Path) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
        whole = write(tmp_path / "a.png", noise).read_bytes()
        for length in (0, 4, 20, 45, len(whole) // 2, len(whole) - 20, len(whole) - 12):
            (tmp_path / "a.png").write_bytes(whole[:length])
            with pytest.raises(DataError) as error:
                read_png(tmp_path / "a.png")
            one_line(error, tmp_path / "a.png", "cannot be read as PNG", "Download or export the file again")

    def test_a_changed_byte_in_the_pixels_is_found_out(self, tmp_path: Path) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
        raw = bytearray(write(tmp_path / "a.png", noise).read_bytes())
        raw[len(raw) // 2] ^= 1
        (tmp_path / "a.png").write_bytes(raw)
        with pytest.raises(DataError) as error:
            read_png(tmp_path / "a.png")
        one_line(error, tmp_path / "a.png", "cannot be read as PNG")

    def test_another_format_under_the_name_of_png_is_refused(self, tmp_path: Path) -> None:
        Image.fromarray(RAMP).save(tmp_path / "a.jpg")
        (tmp_path / "a.jpg").rename(tmp_path / "a.png")
        with pytest.raises(DataError, match="cannot be read as PNG"):
            read_png(tmp_path / "a.png")

    def test_a_missing_file_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="No such file"):
            read_png(tmp_path / "a.png")


class TestDicom:
    def test_a_pixel_is_at_its_column_and_row(self, tmp_path: Path) -> None:
        film, _ = read_dicom(write_dicom(tmp_path / "1.2.dcm", RAMP))
        assert film.shape == (6, 4, 1)
        assert film.dtype == np.float32
        np.testing.assert_array_equal(film[..., 0].T, RAMP)

    def test_jpeg_baseline_is_decoded(self, tmp_path: Path) -> None:
        smooth = np.add.outer(np.arange(48), 2 * np.arange(64)).astype(np.uint8)
        path = write_dicom(tmp_path / "1.2.dcm", smooth, jpeg=True)
        assert b"1.2.840.10008.1.2.4.50" in path.read_bytes()
        film, _ = read_dicom(path)
        assert film.shape == (64, 48, 1)
        assert np.abs(film[..., 0].T - smooth).max() <= 3

    @pytest.mark.parametrize(("stored", "bits"), [(RAMP, 8), (RAMP.astype(np.uint16) * 16, 12)])
    def test_monochrome1_is_inverted_within_its_bits(self, tmp_path: Path, stored: np.ndarray, bits: int) -> None:
        elements: dict[str, Any] = {"PhotometricInterpretation": "MONOCHROME1", "BitsStored": bits, "HighBit": bits - 1}
        film, _ = read_dicom(write_dicom(tmp_path / "1.2.dcm", stored, **elements))
        np.testing.assert_array_equal(film[..., 0].T, 2**bits - 1 - stored.astype(float))

    def test_signed_monochrome1_is_inverted_within_its_range(self, tmp_path: Path) -> None:
        elements: dict[str, Any] = {"PhotometricInterpretation": "MONOCHROME1", "PixelRepresentation": 1}
        film, _ = read_dicom(write_dicom(tmp_path / "1.2.dcm", RAMP, **elements))
        np.testing.assert_array_equal(film[..., 0].T, -1 - RAMP.view(np.int8).astype(float))

    def test_the_affine_has_the_spacing_of_columns_first(self, tmp_path: Path) -> None:
        _, affine = read_dicom(write_dicom(tmp_path / "1.2.dcm", RAMP, PixelSpacing=[0.2, 0.1]))
        np.testing.assert_allclose(affine, np.diag([0.1, 0.2, 1, 1]))

    @pytest.mark.parametrize("spacing", [None, [], [0, 0.1], [0.1]])
    def test_an_unknown_spacing_is_one(self, tmp_path: Path, spacing: list[float] | None) -> None:
        _, affine = read_dicom(write_dicom(tmp_path / "1.2.dcm", RAMP, PixelSpacing=spacing))
        np.testing.assert_array_equal(affine, np.eye(4))

    def test_the_header_alone_gives_ids_and_size(self, tmp_path: Path) -> None:
        path = write_dicom(tmp_path / "1.2.dcm", RAMP, patient="somebody")
        assert read_header(path) == ("1.2", "somebody", 6, 4)
        path = write_dicom(tmp_path / "1.3.dcm", RAMP, PatientID=None)
        assert read_header(path).patient == ""

    @pytest.mark.filterwarnings("ignore:End of file reached")
    @pytest.mark.parametrize("jpeg", [False, True])
    def test_a_file_cut_short_anywhere_is_one_line_that_names_it(self, tmp_path: Path, jpeg: bool) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
        path = write_dicom(tmp_path / "1.2.dcm", noise, jpeg=jpeg)
        whole = path.read_bytes()
        for length in (0, 100, 140, 300, len(whole) // 2, len(whole) - 100):
            path.write_bytes(whole[:length])
            with pytest.raises(DataError) as error:
                read_dicom(path)
            one_line(error, path, "cannot be read as a DICOM film", "Download or export the file again")

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("jpeg", [False, True])
    def test_whichever_byte_is_wrong_the_error_is_ours(self, tmp_path: Path, jpeg: bool) -> None:
        path = write_dicom(tmp_path / "1.2.dcm", RAMP, jpeg=jpeg)
        whole, refused = path.read_bytes(), 0
        for place in range(128, len(whole), 7):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
            for read in (read_header, read_dicom):
                try:
                    read(path)
                except DataError:
                    refused += 1
        assert refused > 20

    def test_a_header_without_a_size_is_refused(self, tmp_path: Path) -> None:
        path = write_dicom(tmp_path / "1.2.dcm", RAMP, Rows=None)
        for read in (read_header, read_dicom):
            with pytest.raises(DataError) as error:
                read(path)
            one_line(error, path, "Rows")

    def test_colour_is_refused(self, tmp_path: Path) -> None:
        elements: dict[str, Any] = {
            "SamplesPerPixel": 3,
            "PhotometricInterpretation": "RGB",
            "PlanarConfiguration": 0,
            "Columns": 2,
        }
        path = write_dicom(tmp_path / "1.2.dcm", RAMP, **elements)
        with pytest.raises(DataError) as error:
            read_dicom(path)
        one_line(error, path, "(4, 2, 3)", "Export one grey image")

    def test_text_under_the_name_of_dicom_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "1.2.dcm"
        path.write_text("not found")
        for read in (read_header, read_dicom):
            with pytest.raises(DataError) as error:
                read(path)
            one_line(error, path, "cannot be read as a DICOM film")
