from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from sg_bench.config import Preparation
from sg_bench.data.prepare import prepare
from sg_bench.data.sources.lidc_idri import LidcIdriConfig, LidcIdriSource
from sg_bench.data.sources.lidc_idri.annotations import read_annotations
from sg_bench.errors import DataError
from sg_bench.registry import SOURCES
from tests.fixtures.lidc_idri import LONE, SERIES, UID, Mark, Roi, make_lidc_idri, ramp, rectangle, write_xml

WIDE_VOXELS = 9 * 5 * 3
LONE_VOXELS = 4 * 6
HOLE_VOXELS = 4 * 3
VOXEL = 0.7 * 0.8 * 2.5


def source(root: Path, **config: Any) -> LidcIdriSource:
    return LidcIdriSource(LidcIdriConfig(**config), root)


def errors(root: Path) -> list[str]:
    return [str(problem) for problem in source(root).problems() if not problem.warning]


def series_folder(root: Path) -> Path:
    return root / "LIDC-IDRI-0001" / f"{SERIES}.0" / SERIES


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_lidc_idri(tmp_path)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_lidc_idri(tmp_path_factory.mktemp("cohort"), patients=3)


class TestScan:
    def test_a_case_is_a_ct_series_with_its_xml_and_the_film_is_passed_over(self, tree: Path) -> None:
        (case,) = source(tree).scan()
        assert (case.id, case.patient) == (SERIES, "LIDC-IDRI-0001")
        assert case.label == series_folder(tree) / "069.xml"
        assert [path.name for path in case.files()] == ["000001.dcm", "069.xml", *(f"{i:06}.dcm" for i in range(2, 13))]

    def test_both_layouts_and_a_tree_of_xml_are_found(self, cohort: Path) -> None:
        cases = source(cohort).scan()
        assert [case.id for case in cases] == [f"{UID}.2.{number}" for number in (1, 2, 3, 4)]
        assert [str(case.label.parent.relative_to(cohort)).split("/")[0] for case in cases if case.label] == [
            "LIDC-IDRI-0001",
            "LIDC-XML-only",
            "LIDC-IDRI-0003",
            "LIDC-IDRI-0001",
        ]

    def test_two_series_of_one_patient_share_the_patient(self, cohort: Path) -> None:
        patients = Counter(case.patient for case in source(cohort).scan())
        assert patients == {"LIDC-IDRI-0001": 2, "LIDC-IDRI-0002": 1, "LIDC-IDRI-0003": 1}

    def test_folders_may_have_any_name_and_depth(self, tree: Path, tmp_path: Path) -> None:
        before = source(tree).load(source(tree).scan()[0])
        shutil.move(series_folder(tree), tmp_path / "new" / "a" / "b" / "patient 9")
        after = source(tmp_path / "new").load(source(tmp_path / "new").scan()[0])
        assert after.candidates == before.candidates

    def test_the_manifest_lists_slices_and_xml(self, tree: Path) -> None:
        (entry,) = source(tree).manifest()["cases"]
        assert len(entry["files"]) == 13
        assert [name for name, _ in entry["files"] if name.endswith(".xml")] == [
            f"LIDC-IDRI-0001/{SERIES}.0/{SERIES}/069.xml"
        ]

    def test_the_registry_knows_it_and_a_folder_that_is_not_ascii_is_read(self, tmp_path: Path) -> None:
        tree = make_lidc_idri(tmp_path / "Größe 肺")
        found = SOURCES.load("lidc_idri")(SOURCES.config("lidc_idri")(), tree)
        assert found.load(found.scan()[0]).label.sum() == WIDE_VOXELS

    @pytest.mark.parametrize("config", [{"min_readers": 0}, {"min_readers": 5}, {"agreement": 0}, {"readers": "all"}])
    def test_settings_out_of_range_are_refused(self, config: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            LidcIdriConfig(**config)


class TestConsensus:
    def test_the_mask_holds_what_two_of_three_readers_include_and_no_line(self, tree: Path) -> None:
        study = source(tree).load(source(tree).scan()[0])
        expected = np.zeros((40, 32, 12), dtype=np.uint8)
        expected[11:20, 9:14, 4:7] = 1
        assert study.label is not None
        np.testing.assert_array_equal(study.label, expected)
        np.testing.assert_array_equal(study.image, ramp())

    def test_a_hole_counts_as_a_vote_against(self, tree: Path) -> None:
        (case,) = source(tree).scan()
        assert (source(tree, agreement=1.0).load(case).label == 1).sum() == 8 * 5 * 3 - HOLE_VOXELS

    def test_its_candidate_is_at_the_centre_of_mass_with_the_spheres_diameter(self, tree: Path) -> None:
        study = source(tree).load(source(tree).scan()[0])
        (candidate,) = study.candidates
        centre = study.affine @ [15, 11, 5, 1]
        np.testing.assert_allclose(candidate.position, centre[:3])
        assert candidate.positive
        assert candidate.target == ()
        assert candidate.diameter == pytest.approx((6 * WIDE_VOXELS * VOXEL / np.pi) ** (1 / 3))

    @pytest.mark.parametrize(("least", "voxels"), [(1, WIDE_VOXELS + LONE_VOXELS), (2, WIDE_VOXELS), (4, 0)])
    def test_a_nodule_needs_its_readers(self, tree: Path, least: int, voxels: int) -> None:
        few = source(tree, min_readers=least)
        study = few.load(few.scan()[0])
        assert study.label is not None
        assert study.label.sum() == voxels
        assert len(study.candidates) == (voxels > 0) + (voxels > WIDE_VOXELS)

    def test_two_annotations_of_one_reader_are_one_reader(self, tree: Path) -> None:
        lone = Mark("lone", [Roi(9, rectangle(LONE))])
        write_xml(series_folder(tree) / "069.xml", SERIES, [[lone, lone], [lone]])
        (case,) = source(tree).scan()
        assert [nodule.readers for nodule in source(tree).nodules(case)] == [(0, 0, 1)]
        assert source(tree, min_readers=3).load(case).candidates == []
        assert len(source(tree, min_readers=2).load(case).candidates) == 1

    def test_nodules_have_readers_volumes_and_ratings(self, tree: Path) -> None:
        wide, lone = source(tree).nodules(source(tree).scan()[0])
        assert (wide.readers, wide.malignancies) == ((0, 1, 2), (4, 5, 3))
        assert wide.volumes == pytest.approx((123 * VOXEL, 135 * VOXEL, 135 * VOXEL))
        assert wide.volume == pytest.approx(135 * VOXEL)
        assert (lone.readers, lone.malignancies) == ((3,), (1,))
        assert lone.volume == pytest.approx(24 * VOXEL)


class TestEach:
    def test_each_reader_has_a_bit(self, tree: Path) -> None:
        each = source(tree, readers="each")
        label = each.load(each.scan()[0]).label
        assert label is not None
        assert [int((label >> reader & 1).sum()) for reader in range(4)] == [123, 135, 135, LONE_VOXELS]
        assert label[11, 9, 4] == 0b011
        assert label[14, 11, 5] == 0b110
        assert label[20, 9, 4] == 0b100

    def test_each_annotation_is_a_candidate_whose_target_is_its_readers_mask(self, tree: Path) -> None:
        each = source(tree, readers="each")
        study = each.load(each.scan()[0])
        assert study.label is not None
        assert [int(np.isin(study.label, candidate.target).sum()) for candidate in study.candidates] == [
            123,
            135,
            135,
            LONE_VOXELS,
        ]
        assert all(0 not in candidate.target and len(candidate.target) == 128 for candidate in study.candidates)

    def test_targets_live_through_preparation(self, tree: Path) -> None:
        each = source(tree, readers="each")
        prepared = prepare(each.load(each.scan()[0]), Preparation(spacing=None))
        assert prepared.label is not None
        for candidate in prepared.candidates:
            places = np.argwhere(np.isin(prepared.label, candidate.target))
            np.testing.assert_allclose(places.mean(axis=0), candidate.position, atol=1e-4)


class TestProblems:
    def test_a_whole_tree_has_none_but_its_size(self, tree: Path) -> None:
        assert [str(problem) for problem in source(tree).problems()] == [
            f"{tree}: it holds 1 CT series, published are 1018 (recalled). "
            "Complete the download, or set `subset: true` in the source's config if a part is what you want",
            f"{tree}: it holds 1 patients, published are 1010 (recalled). "
            "Complete the download, or set `subset: true` in the source's config if a part is what you want",
        ]

    def test_an_empty_folder_and_a_missing_one_are_errors(self, tmp_path: Path) -> None:
        assert errors(tmp_path) == [
            f"{tmp_path}: no CT series (.dcm files) in it or below. Give the folder that holds the patients' folders"
        ]
        for root in (tmp_path / "absent", None):
            with pytest.raises(DataError, match="no such folder"):
                LidcIdriSource(LidcIdriConfig(), root).scan()

    def test_a_series_without_xml_is_an_error(self, tree: Path) -> None:
        (series_folder(tree) / "069.xml").unlink()
        with pytest.raises(DataError) as error:
            source(tree).scan()
        assert str(error.value) == (
            f"{series_folder(tree)}: no XML of its series {SERIES} under the root. "
            "Download the annotations, or remove the series"
        )

    def test_an_xml_of_an_unknown_series_is_a_warning(self, tree: Path) -> None:
        stray = write_xml(tree / "LIDC-XML-only" / "157" / "999.xml", "1.2.3", [])
        (problem, *_) = source(tree).problems()
        assert str(problem) == f"{stray}: its series is not here. Download the series if you want it"
        assert problem.warning
        assert len(source(tree).scan()) == 1

    def test_one_series_in_two_folders_is_an_error(self, tree: Path) -> None:
        shutil.copytree(series_folder(tree), tree / "again")
        assert errors(tree) == [
            f"{tree}/again: its series {SERIES} is also in {series_folder(tree)}, which is used. "
            "Keep one of the two folders"
        ]
        assert [case.image.parent for case in source(tree).scan()] == [series_folder(tree)]

    def test_two_different_xml_of_one_series_are_an_error_and_copies_are_none(self, tree: Path) -> None:
        first = series_folder(tree) / "069.xml"
        copy = tree / "LIDC-XML-only" / "157" / "069.xml"
        copy.parent.mkdir(parents=True)
        shutil.copy(first, copy)
        assert errors(tree) == []
        assert source(tree).scan()[0].label == first
        write_xml(copy, SERIES, [])
        assert errors(tree) == [f"{first}: {copy} has other annotations of the same series. Keep the one that is right"]

    @pytest.mark.parametrize("name", ["069-resubmitted.xml", "Resubmitted 069.xml"])
    def test_a_resubmitted_xml_takes_the_place_of_the_earlier_one(self, tree: Path, name: str) -> None:
        newer = write_xml(tree / "LIDC-XML-only" / "157" / name, SERIES, [[Mark("a", [Roi(9, rectangle(LONE))])]])
        assert errors(tree) == []
        (case,) = source(tree).scan()
        assert case.label == newer
        assert [nodule.readers for nodule in source(tree).nodules(case)] == [(0,)]

    def test_a_malformed_xml_is_an_error(self, tree: Path) -> None:
        (tree / "x.xml").write_text("<LidcReadMessage><Response")
        (found,) = errors(tree)
        assert found.startswith(f"{tree}/x.xml: it cannot be read as XML (")

    def test_damage_behind_the_head_of_an_xml_is_among_the_problems(self, tree: Path) -> None:
        path = series_folder(tree) / "069.xml"
        path.write_bytes(path.read_bytes()[:-500])
        assert [text.split(" (")[0] for text in errors(tree)] == [f"{path}: it cannot be read as XML"]
        with pytest.raises(DataError, match="cannot be read as XML"):
            source(tree).load(source(tree).scan()[0])

    def test_all_come_at_once(self, tree: Path) -> None:
        (series_folder(tree) / "069.xml").write_text("<LidcReadMessage")
        shutil.copytree(series_folder(tree), tree / "again")
        (tree / "broken").mkdir()
        (tree / "broken" / "1.dcm").write_text("not found")
        assert len(errors(tree)) == 5
        with pytest.raises(DataError, match=r"\(4 more problems of this kind or another\)"):
            source(tree).scan()

    def test_a_series_in_doubt_stops_no_other(self, cohort: Path) -> None:
        whole = source(cohort).scan()
        series = next(path for path in sorted(cohort.rglob("*.xml")) if path.parent.glob("*.dcm"))
        lost = next(case.id for case in whole if case.label == series)
        series.rename(cohort / "kept.txt")
        left = source(cohort).scan()
        (cohort / "kept.txt").rename(series)
        assert [case.id for case in left] == [case.id for case in whole if case.id != lost]


class TestLoading:
    def test_an_outline_on_a_missing_slice_names_the_xml(self, tree: Path) -> None:
        (series_folder(tree) / "000001.dcm").unlink()
        path = write_xml(series_folder(tree) / "069.xml", SERIES, [[Mark("top", [Roi(11, rectangle(LONE))])]])
        (case,) = source(tree).scan()
        with pytest.raises(DataError) as error:
            source(tree).load(case)
        assert str(error.value).startswith(f"{path}: top of reader 1: no slice at z -72.5 mm, where it has an outline")
        assert source(tree, gaps="allow").nodules(case) == []

    def test_a_missing_slice_is_refused_unless_allowed(self, tree: Path) -> None:
        (series_folder(tree) / "000007.dcm").unlink()
        (case,) = source(tree).scan()
        with pytest.raises(DataError, match="1 gaps between slices"):
            source(tree).load(case)
        study = source(tree, gaps="allow").load(case)
        assert study.label is not None
        assert study.label.shape == (40, 32, 11)
        assert study.label.sum() == 9 * 5 * 2

    def test_the_cohorts_masks_are_its_nodules(self, cohort: Path) -> None:
        for case in source(cohort).scan():
            study = source(cohort).load(case)
            assert study.label is not None
            assert study.image.shape == study.label.shape == (64, 64, 24)
            assert len(study.candidates) == 2
            assert 100 < study.label.sum() < 600
            inside = study.image[study.label == 1]
            assert np.median(inside) > -20
            assert study.image.min() == -3024
            assert all(len(nodule.readers) == 4 for nodule in source(cohort).nodules(case))

    def test_neither_pydicom_nor_scipy_is_imported_for_the_config(self) -> None:
        program = "import sys, sg_bench.data.sources.lidc_idri; print(*sys.modules)"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        modules = done.stdout.split()
        assert "sg_bench.data.sources.lidc_idri" in modules
        assert not {"pydicom", "scipy", "torch", "torchio", "monai"} & set(modules)


class TestRealData:
    def test_three_nodules_of_a_patient_are_seen_by_four_readers_and_one_by_one(self, real_data: Path) -> None:
        lidc = source(real_data / "lidc_idri")
        (case,) = lidc.scan()
        assert case.patient == "LIDC-IDRI-0003"
        assert [nodule.readers for nodule in lidc.nodules(case)] == [(0, 1, 2, 3)] * 3 + [(3,)]
        study = lidc.load(case)
        assert study.label is not None
        assert study.image.shape == (512, 512, 28)
        assert [len(nodule.mask) for nodule in lidc.nodules(case)] == [3241, 261, 704, 2542]
        assert len(study.candidates) == 3

    def test_what_is_marked_is_denser_than_the_lung_around_it(self, real_data: Path) -> None:
        from scipy import ndimage

        lidc = source(real_data / "lidc_idri")
        study = lidc.load(lidc.scan()[0])
        assert study.label is not None
        around = ndimage.binary_dilation(study.label == 1, iterations=6) & (study.label == 0)
        assert np.median(study.image[around]) < np.median(study.image[study.label == 1]) - 300

    @pytest.mark.parametrize(("name", "annotations"), [("069", 4), ("071", 2), ("072", 13)])
    def test_annotations_of_at_least_3_mm_are_counted(self, real_data: Path, name: str, annotations: int) -> None:
        (path,) = (real_data / "lidc_idri").rglob(f"{name}.xml")
        assert len(read_annotations(path)) == annotations
