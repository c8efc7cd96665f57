from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sg_bench.data.sources.base import Case
from sg_bench.data.sources.siim_acr import SiimAcrConfig, SiimAcrSource, decode_runs
from sg_bench.errors import DataError
from tests.fixtures.siim_acr import encode_runs, make_siim_acr, write_dicom

HEADER = "ImageId, EncodedPixels\n"
FILM = np.add.outer(10 * np.arange(4), np.arange(6)).astype(np.uint8)
"""Of 4 rows and 6 columns."""


def source(root: Path, **config: Any) -> SiimAcrSource:
    return SiimAcrSource(SiimAcrConfig(**config), root)


def refused(root: Path, *parts: object, **config: Any) -> None:
    """Require that scanning `root` raises one line that holds all `parts` and a next step."""
    with pytest.raises(DataError) as error:
        source(root, **config).scan()
    message = str(error.value)
    assert "\n" not in message
    assert ". " in message, "no next step"
    for part in parts:
        assert str(part) in message


def left_out(root: Path, *parts: object, kept: list[str], **config: Any) -> None:
    """Require one error among the problems that holds all `parts` and a next step, and that the `kept` films load."""
    tree = source(root, **config)
    cases = tree.scan()
    assert [case.id for case in cases] == kept
    assert all(tree.load(case).image.size for case in cases)
    messages = [
        str(problem)
        for problem in tree.problems()
        if not problem.warning and all(str(part) in str(problem) for part in parts)
    ]
    assert len(messages) == 1, [str(problem) for problem in tree.problems()]
    assert "\n" not in messages[0]
    assert ". " in messages[0], "no next step"


def small(root: Path, *rows: str, header: str = HEADER) -> Path:
    """Write two films, 1.2.1 and 1.2.2, and a table of `rows`."""
    for name in ("1.2.1", "1.2.2"):
        write_dicom(root / f"stage_2_images/{name}.dcm", FILM, patient=f"patient of {name}")
    (root / "stage_2_train.csv").write_text(header + "\n".join(rows))
    return root


def label_of(root: Path, index: int = 0) -> np.ndarray:
    """Return a film's label as (rows, columns)."""
    tree = source(root)
    label = tree.load(tree.scan()[index]).label
    assert label is not None
    assert label.dtype == np.uint8
    assert label.shape == (6, 4, 1)
    return label[..., 0].T


class TestCode:
    @given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
    def test_what_was_encoded_is_decoded_whatever_the_shape(self, mask: np.ndarray) -> None:
        rows, columns = mask.shape
        if not mask.any():
            assert encode_runs(mask) == "-1"
        else:
            np.testing.assert_array_equal(decode_runs(encode_runs(mask), columns, rows).T, mask)

    def test_gaps_are_relative_start_at_zero_and_run_down_the_columns(self) -> None:
        mask = decode_runs("1 2 2 3", columns=6, rows=4).T
        assert mask.tolist() == [[0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0]]

    def test_the_first_and_the_last_pixel_can_be_reached(self) -> None:
        assert decode_runs("0 24", columns=6, rows=4).all()
        assert np.flatnonzero(decode_runs("23 1", columns=6, rows=4)).tolist() == [23]

    @pytest.mark.parametrize(
        ("code", "cause"),
        [
            ("1 2 3", "3 numbers, gaps and lengths must alternate"),
            ("", "0 numbers"),
            ("1 0", "the length 0, below 0 or 1"),
            ("1 -2", "the length -2"),
            ("-3 2", "the gap -3"),
            ("1 2.5", "not a sequence of integers"),
            ("one two", "not a sequence of integers"),
            ("20 5", "runs to pixel 25, the film has 6 x 4 = 24"),
            ("9223372036854775807 9223372036854775807", "runs to pixel 9223372036854775807"),
            ("99999999999999999999 1", "not a sequence of integers"),
        ],
    )
    def test_a_broken_code_is_refused_when_decoded_and_costs_its_film_alone_when_scanned(
        self, tmp_path: Path, code: str, cause: str
    ) -> None:
        with pytest.raises(ValueError, match="its code") as error:
            decode_runs(code, columns=6, rows=4)
        assert cause in str(error.value)
        small(tmp_path, "1.2.1,-1", f"1.2.2,{code}")
        where = f"{tmp_path / 'stage_2_train.csv'}, line 3: film 1.2.2: its code"
        left_out(tmp_path, where, cause, "so it is left out. Download the table again", kept=["1.2.1"])


class TestScan:
    @pytest.mark.parametrize("layout", ["tree", "flat"])
    @pytest.mark.parametrize("table", ["stage_2_train.csv", "train-rle.csv"])
    def test_the_made_tree_is_read_back_in_every_layout(self, tmp_path: Path, layout: Any, table: Any) -> None:
        drawn = make_siim_acr(tmp_path, patients=4, size=32, layout=layout, table=table)
        tree = source(tmp_path)
        cases = tree.scan()
        assert [(case.id, case.patient, case.group, case.findings) for case in cases] == [
            (film.id, film.patient, film.group, (int(film.mask.any()),)) for film in drawn
        ]
        assert tree.tables() == [tmp_path / table]
        for case, film in zip(cases, drawn, strict=True):
            label = tree.load(case).label
            assert label is not None
            np.testing.assert_array_equal(label[..., 0].T, film.mask)

    def test_the_tree_of_stage_1_gives_groups_that_share_no_patient(self, tmp_path: Path) -> None:
        make_siim_acr(tmp_path, patients=8, size=16)
        groups: dict[str, set[str]] = defaultdict(set)
        for case in source(tmp_path).scan():
            groups[case.group].add(case.patient)
        assert {group: len(patients) for group, patients in groups.items()} == {"train": 6, "test": 2}
        assert not groups["train"] & groups["test"]

    def test_a_folder_above_the_data_set_gives_no_group(self, tmp_path: Path) -> None:
        (case,) = source(small(tmp_path / "dicom-images-test", "1.2.1,-1")).scan()
        assert case.group == ""

    def test_the_patient_comes_from_the_file_and_the_id_from_its_name(self, tmp_path: Path) -> None:
        first, second = source(small(tmp_path, "1.2.2,-1", "1.2.1,1 2")).scan()
        assert (first.id, first.patient, first.findings) == ("1.2.1", "patient of 1.2.1", (1,))
        assert (second.id, second.patient, second.findings) == ("1.2.2", "patient of 1.2.2", (0,))

    def test_stage_2_is_preferred_unless_a_table_is_named(self, tmp_path: Path) -> None:
        small(tmp_path, "1.2.1,-1")
        (tmp_path / "train-rle.csv").write_text(f"{HEADER}1.2.1, 1 2\n")
        assert source(tmp_path).scan()[0].findings == (0,)
        assert source(tmp_path, table="train-rle.csv").scan()[0].findings == (1,)
        refused(tmp_path, tmp_path, "no mine.csv in it", table="mine.csv")

    def test_blanks_before_headings_and_values_make_no_difference(self, tmp_path: Path) -> None:
        spaced = small(tmp_path / "a", "1.2.1, -1", "1.2.2, 1 2", header="ImageId, EncodedPixels\n")
        plain = small(tmp_path / "b", "1.2.1,-1", "1.2.2,1 2", header="ImageId,EncodedPixels\n")
        assert [case.findings for case in source(spaced).scan()] == [case.findings for case in source(plain).scan()]
        np.testing.assert_array_equal(label_of(spaced, 1), label_of(plain, 1))

    def test_a_path_that_is_not_ascii_is_read(self, tmp_path: Path) -> None:
        assert label_of(small(tmp_path / "Röntgen 胸部", "1.2.1,0 4")).sum() == 4


class TestLoad:
    def test_a_mask_lands_where_it_was_drawn_on_a_film_that_is_not_square(self, tmp_path: Path) -> None:
        mask = np.zeros((4, 6), dtype=bool)
        mask[0, 1:5], mask[1, 4] = True, True
        root = small(tmp_path, f"1.2.1,{encode_runs(mask)}")
        np.testing.assert_array_equal(label_of(root), mask)
        tree = source(root)
        study = tree.load(tree.scan()[0])
        assert (study.image[4, 1, 0], FILM[1, 4]) == (14, 14)
        assert study.label is not None
        assert study.label[4, 1, 0] == 1

    def test_several_rows_are_united_even_where_they_overlap(self, tmp_path: Path) -> None:
        label = label_of(small(tmp_path, "1.2.1,0 3", "1.2.2,-1", "1.2.1,2 3"))
        assert np.flatnonzero(label.T).tolist() == [0, 1, 2, 3, 4]
        assert label.max() == 1

    def test_no_pneumothorax_is_an_empty_label(self, tmp_path: Path) -> None:
        assert not label_of(small(tmp_path, "1.2.1,-1")).any()

    def test_the_spacing_of_the_file_is_in_the_affine(self, tmp_path: Path) -> None:
        tree = source(small(tmp_path, "1.2.1,-1"))
        np.testing.assert_allclose(tree.load(tree.scan()[0]).affine, np.diag([0.168, 0.168, 1, 1]))

    def test_films_are_jpeg_inside_dicom(self, tmp_path: Path) -> None:
        make_siim_acr(tmp_path, patients=2, size=32)
        tree = source(tmp_path)
        case = tree.scan()[0]
        assert case.image is not None
        assert b"1.2.840.10008.1.2.4.50" in case.image.read_bytes()
        assert tree.load(case).image.shape == (32, 32, 1)

    def test_monochrome1_is_inverted(self, tmp_path: Path) -> None:
        root = small(tmp_path, "1.2.1,-1")
        write_dicom(root / "stage_2_images/1.2.1.dcm", FILM, PhotometricInterpretation="MONOCHROME1")
        tree = source(root)
        np.testing.assert_array_equal(tree.load(tree.scan()[0]).image[..., 0].T, 255.0 - FILM)

    def test_a_film_that_changed_size_since_the_scan_is_refused(self, tmp_path: Path) -> None:
        root = small(tmp_path, "1.2.1,20 2")
        tree = source(root)
        case = tree.scan()[0]
        write_dicom(root / "stage_2_images/1.2.1.dcm", FILM[:3])
        with pytest.raises(DataError, match=r"film 1\.2\.1: its code runs to pixel 22, the film has 6 x 3 = 18"):
            tree.load(case)

    def test_an_unknown_case_is_refused(self, tmp_path: Path) -> None:
        tree = source(small(tmp_path, "1.2.1,-1"))
        with pytest.raises(DataError, match=r"it has no row for film '1\.2\.2'"):
            tree.load(Case("1.2.2", "p", image=tmp_path / "stage_2_images/1.2.2.dcm"))
        with pytest.raises(DataError, match="names no film"):
            tree.load(Case("1.2.2", "p"))

    def test_a_film_cut_short_is_refused_when_it_is_read(self, tmp_path: Path) -> None:
        tree = source(small(tmp_path, "1.2.1,-1"))
        case = tree.scan()[0]
        assert case.image is not None
        case.image.write_bytes(case.image.read_bytes()[:-8])
        with pytest.raises(DataError, match=r"1\.2\.1\.dcm: it cannot be read as a DICOM film"):
            tree.load(case)


class TestProblems:
    def test_films_without_a_row_are_left_out_with_a_warning(self, tmp_path: Path) -> None:
        tree = source(small(tmp_path, "1.2.1,-1"))
        (warning,) = [problem for problem in tree.problems() if problem.warning]
        assert "it has no row for 1 (1.2.2) of the 2 films, so they are left out" in str(warning)
        assert [case.id for case in tree.scan()] == ["1.2.1"]

    def test_an_incomplete_download_is_reported_once_and_the_rest_is_usable(self, tmp_path: Path) -> None:
        rows = [f"1.2.{number},-1" for number in range(1, 8)]
        tree = source(small(tmp_path, *rows))
        found = [str(problem) for problem in tree.problems()]
        assert "5 (1.2.3, 1.2.4, 1.2.5, ...) of its 7 films are not there, so they are left out" in found[0]
        assert "it holds 7 rows in stage_2_train.csv, published are 12954 (verified)" in found[1]
        assert "it holds 2 films, published are 12047 (verified)" in found[2]
        assert len(found) == 3
        assert len(tree.scan()) == 2

    def test_counts_of_stage_1_are_only_recalled(self, tmp_path: Path) -> None:
        make_siim_acr(tmp_path, patients=4, size=16, table="train-rle.csv")
        counts = [problem for problem in source(tmp_path).problems() if "published" in problem.what]
        assert [problem.warning for problem in counts] == [True]
        assert "it holds 6 films in dicom-images-train, published are 10675 (recalled)" in counts[0].what

    @pytest.mark.parametrize("code", ["1 2", "1", ""])
    def test_a_film_both_negative_and_something_else_is_left_out(self, tmp_path: Path, code: str) -> None:
        small(tmp_path, "1.2.1,-1", f"1.2.2,{code}", "1.2.2,-1")
        left_out(tmp_path, "line 3, 4: film 1.2.2: it has both an outline and -1, which means none", kept=["1.2.1"])

    @pytest.mark.parametrize("code", ["", "none", "--1", "-1.0", "-1 -1", "0"])
    def test_a_broken_label_never_becomes_a_negative_film(self, tmp_path: Path, code: str) -> None:
        tree = source(small(tmp_path, "1.2.1,1 2", f"1.2.2,{code}"))
        assert [(case.id, case.findings) for case in tree.scan()] == [("1.2.1", (1,))]
        with pytest.raises(DataError, match=r"film 1\.2\.2: its code"):
            tree.load(Case("1.2.2", "p", image=tmp_path / "stage_2_images/1.2.2.dcm"))

    def test_a_row_without_a_film_is_reported(self, tmp_path: Path) -> None:
        small(tmp_path, "1.2.1,-1", ",1 2")
        left_out(tmp_path, f"{tmp_path / 'stage_2_train.csv'}, line 3: it names no film", kept=["1.2.1"])

    def test_where_every_film_is_in_doubt_each_is_a_problem_and_nothing_is_left(self, tmp_path: Path) -> None:
        small(tmp_path, "1.2.1,1", "1.2.2,1")
        write_dicom(tmp_path / "stage_2_images/1.2.2.dcm", FILM, PatientID=None)
        errors = [str(problem) for problem in source(tmp_path).problems()]
        for part, error in zip(("film 1.2.1", "1.2.2.dcm: it has no PatientID", "film 1.2.2"), errors, strict=False):
            assert part in error
        refused(tmp_path, "no film is left that can be used", errors[0], "(2 more problems")

    @pytest.mark.parametrize("header", ["ImageId\n", "EncodedPixels,ImageId\n", "1.2.3,-1\n"])
    def test_a_missing_heading_is_refused(self, tmp_path: Path, header: str) -> None:
        root = small(tmp_path, "1.2.1,-1", header=header)
        refused(root, root / "stage_2_train.csv", f"its first line is '{header.strip()}', not 'ImageId,EncodedPixels'")

    def test_a_missing_value_is_a_broken_code(self, tmp_path: Path) -> None:
        left_out(small(tmp_path, "1.2.1", "1.2.2,-1"), "film 1.2.1: its code has 0 numbers", kept=["1.2.2"])

    def test_an_empty_or_missing_folder_or_table_is_refused(self, tmp_path: Path) -> None:
        refused(tmp_path, "no .dcm film below it", "Complete the download")
        refused(tmp_path / "absent", "no such folder")
        small(tmp_path, "1.2.1,-1")
        (tmp_path / "stage_2_train.csv").write_text("")
        refused(tmp_path, tmp_path / "stage_2_train.csv", "it is empty")
        (tmp_path / "stage_2_train.csv").unlink()
        refused(tmp_path, "no stage_2_train.csv or train-rle.csv in it", "`table`")

    def test_a_table_of_other_films_is_refused(self, tmp_path: Path) -> None:
        refused(small(tmp_path, "1.2.9,-1"), "no row of its table has a film here")

    def test_of_one_film_in_both_stages_the_first_is_kept_if_they_are_of_one_size(self, tmp_path: Path) -> None:
        root = small(tmp_path, "1.2.1,-1", "1.2.2,-1")
        copy, path = root / "stage_2_images/1.2.1.dcm", root / "dicom-images-train/1/2/1.2.1.dcm"
        path.parent.mkdir(parents=True)
        path.write_bytes(copy.read_bytes())
        left_out(root, f"{copy}: it is there once more as {path}", "Keep one of them", kept=["1.2.1", "1.2.2"])
        assert source(root).scan()[0].image == path
        write_dicom(path, np.zeros((40, 60)))
        left_out(root, f"{path}: the same film, of another size, is also {copy}", kept=["1.2.2"])

    def test_a_film_without_a_patient_is_left_out(self, tmp_path: Path) -> None:
        root = small(tmp_path, "1.2.1,-1", "1.2.2,-1")
        path = write_dicom(root / "stage_2_images/1.2.1.dcm", FILM, PatientID=None)
        left_out(root, f"{path}: it has no PatientID", kept=["1.2.2"])

    def test_a_film_with_a_damaged_header_is_left_out(self, tmp_path: Path) -> None:
        path = small(tmp_path, "1.2.1,-1", "1.2.2,-1") / "stage_2_images/1.2.1.dcm"
        path.write_bytes(b"not found")
        left_out(tmp_path, f"{path}: it cannot be read as a DICOM film", "so it is left out. ", kept=["1.2.2"])

    def test_a_uid_that_differs_from_the_name_is_a_warning(self, tmp_path: Path) -> None:
        root = small(tmp_path, "1.2.1,-1", "1.2.2,-1")
        path = write_dicom(root / "stage_2_images/1.2.1.dcm", FILM, SOPInstanceUID="1.2.99")
        (warning,) = [problem for problem in source(root).problems() if problem.warning]
        assert str(warning).startswith(f"{path}: its SOPInstanceUID is '1.2.99', not its name")
        assert len(source(root).scan()) == 2


class TestMadeTree:
    def test_half_of_the_films_show_air_that_is_darker_than_the_lung(self, tmp_path: Path) -> None:
        drawn = make_siim_acr(tmp_path, patients=8, size=64)
        assert sum(film.mask.any() for film in drawn) == 8
        assert {len(film.codes) for film in drawn} == {1, 2}
        tree = source(tmp_path)
        for case, film in zip(tree.scan(), drawn, strict=True):
            if film.mask.any():
                image = tree.load(case).image[..., 0].T
                assert np.median(image[film.mask]) < np.median(image) - 60

    def test_two_rows_of_one_film_overlap(self, tmp_path: Path) -> None:
        drawn = make_siim_acr(tmp_path, patients=4, size=64)
        twice = [film for film in drawn if len(film.codes) == 2]
        assert twice
        for film in twice:
            first, second = (decode_runs(code, 64, 64).astype(bool) for code in film.codes)
            assert (first & second).any()

    def test_the_table_of_stage_1_has_its_blanks(self, tmp_path: Path) -> None:
        make_siim_acr(tmp_path, patients=2, size=16, table="train-rle.csv")
        lines = (tmp_path / "train-rle.csv").read_text().splitlines()
        assert lines[0] == "ImageId, EncodedPixels"
        assert lines[1].endswith(", -1")
