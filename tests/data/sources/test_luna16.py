from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from sg_bench.data.sources.base import Case, Study
from sg_bench.data.sources.luna16 import Luna16Config, Luna16Source
from sg_bench.errors import DataError
from tests.fixtures import one_line
from tests.fixtures.luna16 import Place, Scan, make_luna16

SMALL = (48, 48, 32)


def source(root: Path, **config: str) -> Luna16Source:
    return Luna16Source(Luna16Config.model_validate(config), root)


def voxel(study: Study, position: tuple[float, float, float]) -> np.ndarray:
    return np.linalg.solve(study.affine, (*position, 1))[:3]


def distances(study: Study, position: tuple[float, float, float]) -> np.ndarray:
    """Return how far each voxel of `study` is from `position`, in mm."""
    grid = np.meshgrid(*map(np.arange, study.image.shape), indexing="ij", sparse=True)
    squares = [
        (sum(step * axis for step, axis in zip(row[:3], grid, strict=True)) + row[3] - where) ** 2
        for row, where in zip(study.affine, position, strict=False)
    ]
    return np.sqrt(sum(squares))


def found(root: Path, **config: str) -> list[str]:
    """Return the problems without deviations from counts, which no small tree reaches."""
    return [str(problem) for problem in source(root, **config).problems() if "published are" not in problem.what]


@pytest.fixture
def scans(tmp_path: Path) -> list[Scan]:
    return make_luna16(tmp_path, shape=SMALL)


@pytest.fixture(scope="module")
def ten(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Scan]]:
    root = tmp_path_factory.mktemp("luna16")
    return root, make_luna16(root, every_subset=True, packed=True)


class TestOfficialLayout:
    def test_case_and_patient_are_the_series_and_the_group_is_the_subset(self, ten: tuple[Path, list[Scan]]) -> None:
        root, scans = ten
        cases = source(root).scan()
        assert [(case.id, case.group) for case in cases] == [(scan.uid, scan.group) for scan in scans]
        assert [case.group for case in cases] == [f"subset{index}" for index in range(10)]
        assert all(case.patient == case.id for case in cases)
        assert cases[3].files() == [scans[3].header, scans[3].header.with_suffix(".zraw")]

    def test_lung_masks_and_clutter_are_no_scans(self, tmp_path: Path, scans: list[Scan]) -> None:
        masks = tmp_path / "seg-lungs-LUNA16"
        shutil.copytree(tmp_path / "subset0", masks)
        (tmp_path / "subset0" / f"._{scans[0].header.name}").write_bytes(b"x")
        assert [case.image for case in source(tmp_path).scan()] == [scan.header for scan in scans]

    def test_every_place_in_the_world_is_where_the_file_has_it(self, ten: tuple[Path, list[Scan]]) -> None:
        root, scans = ten
        luna = source(root)
        for case, scan in zip(luna.scan(), scans, strict=True):
            study = luna.load(case)
            assert len(study.candidates) == len(scan.places)
            for candidate, place in zip(study.candidates, scan.places, strict=True):
                np.testing.assert_allclose(voxel(study, candidate.position), place.voxel, atol=1e-3)
                assert candidate.positive is (place.diameter is not None)
                assert candidate.diameter is None

    def test_the_made_scans_have_nodules_and_others_in_every_subset(self, ten: tuple[Path, list[Scan]]) -> None:
        for scan in ten[1]:
            assert len(scan.nodules) in (1, 2)
            assert len(scan.places) - len(scan.nodules) in (2, 3)
        assert [scan.turned for scan in ten[1]].count(True) == 2

    @pytest.mark.parametrize("shape", [None, (96, 96, 64)])
    def test_a_positive_is_on_its_bright_ball_even_if_the_scan_is_rotated(self, tmp_path: Path, shape) -> None:
        scans = make_luna16(tmp_path, shape=shape)
        assert [scan.turned for scan in scans] == [False, True]
        assert "TransformMatrix = -1 0 0 0 -1 0 0 0 1" in scans[1].header.read_text()
        luna = source(tmp_path)
        for case, scan in zip(luna.scan(), scans, strict=True):
            study = luna.load(case)
            positives = [candidate for candidate in study.candidates if candidate.positive]
            assert len(positives) == len(scan.nodules)
            for candidate in positives:
                bright = (distances(study, candidate.position) < 14) & (study.image > 50)
                middle = np.argwhere(bright).mean(axis=0)
                assert np.abs(middle - voxel(study, candidate.position)).max() < 1

    def test_the_rotated_scan_reveals_a_reader_that_ignores_its_direction(
        self, scans: list[Scan], tmp_path: Path
    ) -> None:
        luna = source(tmp_path)
        study = luna.load(luna.scan()[1])
        inside = [study.image[tuple(np.rint(place.voxel).astype(int))] for place in scans[1].nodules]
        mirrored = [study.image[tuple(np.rint(_mirrored(place)).astype(int))] for place in scans[1].nodules]
        assert min(inside) > 0
        assert max(mirrored) < 0

    @pytest.mark.parametrize("folder", ["CSVFILES", "candidates_V2", "candidates_V2.csv"])
    def test_the_tables_may_be_in_a_folder(self, tmp_path: Path, folder: str, scans: list[Scan]) -> None:
        table = (tmp_path / "candidates_V2.csv").rename(tmp_path / "moved")
        (tmp_path / folder).mkdir()
        table = table.rename(tmp_path / folder / "candidates_V2.csv")
        luna = source(tmp_path)
        assert luna.tables() == [table]
        assert len(luna.load(luna.scan()[0]).candidates) == len(scans[0].places)

    def test_nested_folders_of_mirrors_are_read(self, tmp_path: Path, scans: list[Scan]) -> None:
        (tmp_path / "subset0").rename(tmp_path / "inner")
        (tmp_path / "subset0").mkdir()
        (tmp_path / "inner").rename(tmp_path / "subset0/subset0")
        assert [case.group for case in source(tmp_path).scan()] == ["subset0", "subset0"]
        assert found(tmp_path) == []
        assert [case.id for case in source(tmp_path / "subset0").scan()] == [scan.uid for scan in scans]

    def test_a_path_may_hold_any_letters(self, tmp_path: Path) -> None:
        root = tmp_path / "肺 Ωμέγα für"
        scans = make_luna16(root, shape=SMALL)
        luna = source(root)
        assert luna.load(luna.scan()[1]).image.shape == SMALL
        assert len(scans) == 2


def _mirrored(place: Place) -> tuple[float, float, float]:
    x, y, z = place.voxel
    return SMALL[0] - 1 - x, SMALL[1] - 1 - y, z


class TestTables:
    def test_annotations_are_positives_with_a_diameter(self, tmp_path: Path, scans: list[Scan]) -> None:
        luna = source(tmp_path, candidates="annotations")
        for case, scan in zip(luna.scan(), scans, strict=True):
            candidates = luna.load(case).candidates
            assert [candidate.diameter for candidate in candidates] == [place.diameter for place in scan.nodules]
            assert all(candidate.positive for candidate in candidates)

    def test_the_forerunner_can_be_chosen(self, tmp_path: Path, scans: list[Scan]) -> None:
        luna = source(tmp_path, candidates="candidates")
        counted = [len(luna.load(case).candidates) for case in luna.scan()]
        assert sum(counted) == (sum(len(scan.places) for scan in scans) + 1) // 2

    def test_without_candidates_no_table_is_needed(self, tmp_path: Path, scans: list[Scan]) -> None:
        for table in tmp_path.glob("*.csv"):
            table.unlink()
        luna = source(tmp_path, candidates="none")
        assert luna.load(luna.scan()[0]).candidates == []
        assert luna.tables() == []
        assert found(tmp_path, candidates="none") == []
        assert len(luna.manifest()["cases"]) == len(scans)

    def test_the_manifest_holds_the_table_by_content(self, tmp_path: Path, scans: list[Scan]) -> None:
        before = source(tmp_path).manifest()
        table = tmp_path / "candidates_V2.csv"
        table.write_text(table.read_text().replace(",1\n", ",0\n"))
        after = source(tmp_path).manifest()
        assert before["cases"] == after["cases"]
        assert before["tables"] != after["tables"]

    @pytest.mark.usefixtures("scans")
    def test_a_scan_that_the_table_does_not_name_has_no_candidates(self, tmp_path: Path) -> None:
        luna = source(tmp_path)
        first, second = luna.scan()
        table = tmp_path / "candidates_V2.csv"
        table.write_text("".join(line for line in table.open() if second.id not in line))
        assert luna.load(first).candidates
        assert luna.load(second).candidates == []
        assert found(tmp_path) == []

    def test_an_unknown_table_is_refused_by_the_config(self) -> None:
        with pytest.raises(ValidationError, match="candidates_V2"):
            Luna16Config.model_validate({"candidates": "candidates_V3"})

    def test_a_table_of_the_real_length_is_read_once_and_quickly(self, tmp_path: Path, scans: list[Scan]) -> None:
        row = f"{scans[0].uid},-128.6994211,-175.3192718,-298.3875064,0\n"
        head, body = (tmp_path / "candidates_V2.csv").read_text().split("\n", 1)
        (tmp_path / "candidates_V2.csv").write_text(f"{head}\n{body}{row * 750_000}")
        luna = source(tmp_path)
        case = luna.scan()[1]
        started = time.monotonic()
        luna.load(case)
        assert time.monotonic() - started < 30
        (tmp_path / "candidates_V2.csv").unlink()
        assert len(luna.load(case).candidates) == len(scans[1].places)


class TestDefects:
    def refuse(self, root: Path, *parts: object, only: str = "", **config: str) -> None:
        """Assert that `problems` and `load` report an unusable table, or one unusable series (`only`)."""
        (problem,) = found(root, **config)
        luna = source(root, **config)
        cases = luna.scan()
        with pytest.raises(DataError) as error:
            luna.load(next(case for case in cases if only in ("", case.id)))
        if only:
            assert all(luna.load(case).candidates for case in cases if case.id != only)
        for part in parts:
            assert str(part) in problem
        one_line(error, *parts)

    @pytest.mark.usefixtures("scans")
    def test_a_missing_table_is_a_problem_and_stops_reading_not_scanning(self, tmp_path: Path) -> None:
        (tmp_path / "candidates_V2.csv").unlink()
        self.refuse(tmp_path, tmp_path, "no candidates_V2.csv", "`candidates` to 'none'")
        with pytest.raises(DataError, match="no candidates_V2"):
            source(tmp_path).manifest()

    @pytest.mark.usefixtures("scans")
    def test_a_missing_column_is_named(self, tmp_path: Path) -> None:
        table = tmp_path / "candidates_V2.csv"
        table.write_text(table.read_text().replace("coordY", "y"))
        self.refuse(tmp_path, table, "no column coordY, only seriesuid, coordX, y, coordZ, class")

    @pytest.mark.usefixtures("scans")
    @pytest.mark.parametrize("cell", ["abc", "", "nan", "inf"])
    def test_a_coordinate_that_is_no_number_is_named(self, tmp_path: Path, cell: str) -> None:
        table = tmp_path / "candidates_V2.csv"
        lines = table.read_text().splitlines()
        uid, _, *rest = lines[2].split(",")
        table.write_text("\n".join([*lines[:2], ",".join([uid, cell, *rest]), *lines[3:]]))
        self.refuse(tmp_path, table, f"row 2 (series {uid}): coordX is '", "not a number of mm; 1 such rows", only=uid)

    @pytest.mark.usefixtures("scans")
    @pytest.mark.parametrize(("name", "cell", "wanted"), [("candidates_V2", "2", "0 or 1"), ("annotations", "0", "mm")])
    def test_a_class_or_diameter_that_means_nothing_is_named(
        self, tmp_path: Path, name: str, cell: str, wanted: str
    ) -> None:
        table = tmp_path / f"{name}.csv"
        head, row, *rest = table.read_text().splitlines()
        table.write_text("\n".join([head, row.rpartition(",")[0] + f",{cell}", *rest]))
        self.refuse(tmp_path, table, "row 1", f"is '{cell}", wanted, only=row.partition(",")[0], candidates=name)

    @pytest.mark.usefixtures("scans")
    @pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00rubbish\xff", b'seriesuid,"coordX\n1,2'])
    def test_a_table_that_is_no_csv_is_named(self, tmp_path: Path, content: bytes) -> None:
        table = tmp_path / "candidates_V2.csv"
        table.write_bytes(content)
        self.refuse(tmp_path, table, "Download or unpack it again")

    def test_series_that_only_the_table_knows_are_a_warning_and_an_error_if_all_are(
        self, tmp_path: Path, scans: list[Scan]
    ) -> None:
        scans[0].header.unlink()
        (warning,) = [each for each in source(tmp_path).problems() if "series" in each.what]
        assert warning.warning
        assert f"1 of its 2 series are not among the scans, such as '{scans[0].uid}'" in warning.what
        (tmp_path / "candidates_V2.csv").write_text("seriesuid,coordX,coordY,coordZ,class\nnobody,1,2,3,0\n")
        (problem,) = [each for each in source(tmp_path).problems() if "series" in each.what]
        assert not problem.warning
        assert "1 of its 1 series" in problem.what

    def test_a_missing_data_file_drops_that_scan_and_is_a_problem(self, tmp_path: Path, scans: list[Scan]) -> None:
        scans[0].header.with_suffix(".raw").unlink()
        assert [case.id for case in source(tmp_path).scan()] == [scans[1].uid]
        (problem,) = found(tmp_path)
        assert f"{scans[0].header}: its data file '{scans[0].uid}.raw' is missing" in problem

    @pytest.mark.parametrize("packed", [False, True])
    def test_a_data_file_cut_short_is_seen_without_reading_it(self, tmp_path: Path, packed: bool) -> None:
        header = make_luna16(tmp_path, shape=SMALL, packed=packed)[0].header
        data = header.with_suffix(".zraw" if packed else ".raw")
        size = data.stat().st_size
        data.write_bytes(data.read_bytes()[:-1])
        assert len(source(tmp_path).scan()) == 1
        (problem,) = found(tmp_path)
        assert f"{header}: its data file '{data.name}' is truncated: {size} bytes are expected, {size - 1}" in problem

    def test_packed_data_that_do_not_unpack_are_refused(self, tmp_path: Path) -> None:
        header = make_luna16(tmp_path, shape=SMALL, packed=True)[0].header
        data = header.with_suffix(".zraw")
        data.write_bytes(bytes(data.stat().st_size))
        luna = source(tmp_path)
        with pytest.raises(DataError) as error:
            luna.load(luna.scan()[0])
        one_line(error, header, "its compressed voxels are corrupt", "Download or export the file again")

    @pytest.mark.parametrize(
        ("old", "new", "what"),
        [
            ("DimSize = 48 48 32\n", "", "no DimSize"),
            ("DimSize = 48 48 32", "DimSize = 48 48", "DimSize is '48 48', not three"),
            ("DimSize = 48 48 32", "DimSize = 48 -48 32", "DimSize is '48 -48 32', not three"),
            ("MET_SHORT", "MET_STRING", "ElementType is 'MET_STRING', not one of MET_SHORT"),
            ("ElementDataFile = ", "ElementDataFile = ../", "is missing or in another folder"),
            ("ElementDataFile = ", "ElementDataFile = LOCAL\n", "'LOCAL'"),
        ],
    )
    def test_a_header_that_makes_no_sense_drops_that_scan(
        self, tmp_path: Path, scans: list[Scan], old: str, new: str, what: str
    ) -> None:
        text = scans[0].header.read_text()
        assert old in text
        scans[0].header.write_text(text.replace(old, new))
        assert [case.id for case in source(tmp_path).scan()] == [scans[1].uid]
        (problem,) = found(tmp_path)
        assert problem.startswith(f"{scans[0].header}: ")
        assert what in problem

    def test_a_header_that_cannot_be_opened_is_a_problem(self, tmp_path: Path, scans: list[Scan]) -> None:
        scans[0].header.unlink()
        scans[0].header.symlink_to(tmp_path / "nowhere")
        assert found(tmp_path) == [
            f"{scans[0].header}: its header cannot be read (No such file or directory). Download or unpack it again"
        ]

    def test_a_series_in_two_subsets_is_used_once_and_reported(self, tmp_path: Path, scans: list[Scan]) -> None:
        shutil.copytree(tmp_path / "subset0", tmp_path / "subset1")
        assert [case.group for case in source(tmp_path).scan()] == ["subset0", "subset0"]
        problems = found(tmp_path)
        assert len(problems) == 2
        assert f"one id, '{scans[0].uid}'" in problems[0]
        assert str(scans[0].header) in problems[0]
        assert "Keep one of them" in problems[0]

    def test_every_defect_is_listed_at_once(self, tmp_path: Path, scans: list[Scan]) -> None:
        scans[0].header.with_suffix(".raw").unlink()
        scans[1].header.write_text("hello")
        (tmp_path / "candidates_V2.csv").unlink()
        problems = [str(problem) for problem in source(tmp_path).problems()]
        assert len(problems) == 4
        for problem, part in zip(problems, ["is missing", "no DimSize", "no candidates_V2.csv", "0 CT"], strict=True):
            assert part in problem

    def test_scanning_fails_only_if_nothing_is_usable(self, tmp_path: Path, scans: list[Scan]) -> None:
        for scan in scans:
            scan.header.with_suffix(".raw").unlink()
        with pytest.raises(DataError) as error:
            source(tmp_path).scan()
        one_line(error, scans[0].header, "is missing", "(1 more problems")

    def test_an_empty_or_missing_tree_is_an_error_with_a_next_step(self, tmp_path: Path) -> None:
        with pytest.raises(DataError) as error:
            source(tmp_path).scan()
        one_line(error, tmp_path, "no subset0 to subset9", "Unpack LUNA16 there")
        for root in (tmp_path / "absent", None):
            with pytest.raises(DataError, match="no such folder"):
                Luna16Source(Luna16Config(), root).scan()
            assert len(Luna16Source(Luna16Config(), root).problems()) == 1

    @pytest.mark.usefixtures("scans")
    def test_counts_are_errors_where_verified_and_warnings_where_recalled(self, tmp_path: Path) -> None:
        counts = {each.what: each.warning for each in source(tmp_path).problems() if "published are" in each.what}
        assert [warning for what, warning in counts.items() if "2 CT scans, published are 888 (verified)" in what] == [
            False
        ]
        assert [warning for what, warning in counts.items() if "754975 (recalled)" in what] == [True]
        assert [warning for what, warning in counts.items() if "1557 (recalled)" in what] == [True]
        annotated = [str(problem) for problem in source(tmp_path, candidates="annotations").problems()]
        assert any("rows of annotations.csv, published are 1186 (verified)" in problem for problem in annotated)

    def test_a_case_without_an_image_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="names no image"):
            source(tmp_path).load(Case("a", "a"))


class TestRealData:
    def test_every_annotated_nodule_is_in_its_scan_and_on_tissue(self, real_data: Path) -> None:
        luna = source(real_data / "luna16", candidates="annotations")
        cases = luna.scan()
        assert [case.group for case in cases] == ["subset0", "subset0"]
        nodules = [(study, each) for case in cases for study in [luna.load(case)] for each in study.candidates]
        assert len(nodules) == 4
        for study, nodule in nodules:
            place = voxel(study, nodule.position)
            assert (place >= 0).all()
            assert (place <= np.array(study.image.shape) - 1).all()
            assert study.image[distances(study, nodule.position) <= 2].mean() > -500

    def test_what_is_missing_from_the_sample_is_reported(self, real_data: Path) -> None:
        problems = source(real_data / "luna16", candidates="annotations").problems()
        assert len(problems) == 3
        assert problems[0].warning
        assert "566 of its 568 series" in problems[0].what
        assert "1117 rows of annotations.csv" in problems[2].what
