from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from sg_bench.data.sources.dicom import DicomSeries, read_series
from sg_bench.data.sources.lidc_idri.annotations import CHARACTERISTICS, Annotation, Outline
from sg_bench.data.sources.lidc_idri.consensus import (
    PlacedAnnotation,
    agreed,
    border,
    clusters,
    interior,
    nodules,
    place_annotation,
)
from sg_bench.errors import DataError
from tests.fixtures.lidc_idri import SERIES, TRAPS, WIDE, Box, circle, ramp, rectangle, write_series

SPACING = np.array([0.7, 0.8, 2.5])


def drawn(*rows: str) -> np.ndarray:
    """Return (column, row) of every # in a picture."""
    return np.array([(x, y) for y, row in enumerate(rows) for x, sign in enumerate(row) if sign == "#"])


def as_set(pixels: np.ndarray) -> set[tuple[int, ...]]:
    return set(map(tuple, pixels.tolist()))


def box(left: int, top: int, right: int, bottom: int, *, index: int = 0) -> np.ndarray:
    """Return the voxels of a solid box on one slice, both ends included."""
    return np.array([(x, y, index) for x in range(left, right + 1) for y in range(top, bottom + 1)])


def marking(reader: int, mask: np.ndarray, *, malignancy: int = 3) -> PlacedAnnotation:
    ratings = {**dict.fromkeys(CHARACTERISTICS, 1), "malignancy": malignancy}
    return PlacedAnnotation(Annotation(reader, "a", ratings, ()), mask, mask)


def outline(box: Box, *, index: int = 4, included: bool = True) -> Outline:
    return Outline(f"{SERIES}.{index + 1}", TRAPS.z(index), included, np.array(rectangle(box)))


def annotation(*outlines: Outline) -> Annotation:
    return Annotation(0, "a", dict.fromkeys(CHARACTERISTICS, 1), outlines)


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> DicomSeries:
    folder = tmp_path_factory.mktemp("series")
    write_series(folder, ramp(), SERIES, "LIDC-IDRI-0001")
    return read_series(sorted(folder.iterdir()))


class TestFilling:
    def test_a_rectangle_contains_its_inside_at_any_density_of_points(self) -> None:
        corners = np.array([(2, 3), (7, 3), (7, 6), (2, 6)])
        expected = {(x, y) for x in range(3, 7) for y in (4, 5)}
        for points in (corners, np.array(rectangle((2, 3, 7, 6))), corners[::-1], np.roll(corners, 2, axis=0)):
            assert as_set(interior(points)) == expected
            assert len(border(points)) == 2 * 6 + 2 * 2

    def test_a_diamond_of_diagonal_steps_does_not_leak(self) -> None:
        points = np.array([(2, 0), (3, 1), (4, 2), (3, 3), (2, 4), (1, 3), (0, 2), (1, 1)])
        assert as_set(interior(points)) == as_set(drawn(".....", "..#..", ".###.", "..#..", "....."))
        assert as_set(border(points)) == as_set(points)

    def test_a_part_one_pixel_wide_has_no_inside(self) -> None:
        tail = [(7, 4), (8, 4), (9, 4), (8, 4), (7, 4)]
        dense = rectangle((2, 3, 6, 6))
        at = dense.index((6, 4)) + 1
        points = np.array(dense[:at] + tail + dense[at:])
        assert as_set(interior(points)) == {(x, y) for x in (3, 4, 5) for y in (4, 5)}
        assert {(7, 4), (8, 4), (9, 4)} <= as_set(border(points))

    @pytest.mark.parametrize("points", [[(2, 2), (5, 2)], [(2, 2), (3, 2), (3, 3), (2, 3)], [(1, 1), (1, 1)]])
    def test_a_line_that_encloses_nothing_has_no_inside(self, points: list[tuple[int, int]]) -> None:
        assert interior(np.array(points)).shape == (0, 2)

    def test_a_line_that_goes_round_twice_encloses_the_same(self) -> None:
        once = rectangle((2, 3, 7, 6))
        assert as_set(interior(np.array(once + once))) == as_set(interior(np.array(once)))

    def test_a_crescent_whose_ends_touch_does_not_hold_what_is_between_them(self) -> None:
        outer = [(x, 0) for x in range(8)] + [(7, y) for y in range(1, 8)] + [(x, 7) for x in range(6, -1, -1)]
        tip = [(0, 6), (0, 5), (0, 4), (0, 3), (0, 4), (0, 5)]
        inner = [(x, 5) for x in range(1, 6)] + [(5, 4), (5, 3)] + [(x, 2) for x in range(5, -1, -1)] + [(0, 1)]
        points = np.array(outer + tip + inner)
        line = np.zeros((8, 8), dtype=bool)
        line[tuple(points.T)] = True
        assert ndimage.binary_fill_holes(line)[2, 3], "the ends do not touch"
        inside = {(x, y) for x in range(1, 7) for y in (1, 6)} | {(6, y) for y in range(1, 7)}
        assert as_set(interior(points)) == inside

    @settings(deadline=None, max_examples=50)
    @given(st.floats(10, 20), st.floats(10, 20), st.floats(1, 9))
    def test_circles_hold_what_flooding_cannot_reach(self, column: float, row: float, radius: float) -> None:
        points = np.array(circle(column, row, radius))
        line = np.zeros((32, 32), dtype=bool)
        line[tuple(border(points).T)] = True
        assert as_set(interior(points)) == as_set(np.argwhere(ndimage.binary_fill_holes(line) & ~line))


class TestMarking:
    def test_its_mask_is_the_inside_without_the_line(self, series: DicomSeries) -> None:
        mask = place_annotation(annotation(outline(WIDE), outline(WIDE, index=5)), series).mask
        assert as_set(mask) == as_set(box(11, 9, 19, 13, index=4)) | as_set(box(11, 9, 19, 13, index=5))

    def test_included_outlines_of_one_slice_are_joined(self, series: DicomSeries) -> None:
        mask = place_annotation(annotation(outline((2, 2, 6, 6)), outline((5, 2, 9, 6))), series).mask
        assert as_set(mask) == as_set(box(3, 3, 5, 5, index=4)) | as_set(box(6, 3, 8, 5, index=4))

    def test_an_excluded_outline_takes_its_line_with_it_and_only_from_its_own_slice(self, series: DicomSeries) -> None:
        hole = outline((13, 10, 16, 12), included=False)
        for outlines in ((outline(WIDE), outline(WIDE, index=5), hole), (hole, outline(WIDE), outline(WIDE, index=5))):
            mask = place_annotation(annotation(*outlines), series).mask
            assert as_set(box(11, 9, 19, 13, index=4)) - as_set(mask) == as_set(box(13, 10, 16, 12, index=4))
            assert as_set(box(11, 9, 19, 13, index=5)) <= as_set(mask)

    def test_a_slice_is_found_by_its_name_and_else_by_its_height(self, series: DicomSeries) -> None:
        named = replace(outline(WIDE, index=4), z=TRAPS.z(9))
        placed = replace(outline(WIDE, index=4), image="1.2.3", z=TRAPS.z(4) + 0.009)
        for each in (named, placed):
            assert set(place_annotation(annotation(each), series).mask[:, 2]) == {4}

    def test_an_outline_on_no_slice_is_refused_or_left_out(self, series: DicomSeries) -> None:
        astray = replace(outline(WIDE), image="1.2.3", z=TRAPS.z(4) + 0.02)
        with pytest.raises(DataError, match=r"a of reader 1: no slice at z -89\.98 mm.*`gaps`"):
            place_annotation(annotation(astray), series)
        kept = place_annotation(annotation(astray, outline(WIDE, index=5)), series, gaps="allow")
        assert set(kept.mask[:, 2]) == {5}
        assert len(place_annotation(annotation(astray), series, gaps="allow").outlined) == 0

    def test_a_point_outside_the_image_is_refused(self, series: DicomSeries) -> None:
        with pytest.raises(DataError, match=r"\(column, row\) \(9, 32\), the slice has 40 columns and 32 rows"):
            place_annotation(annotation(outline((5, 30, 9, 32))), series)


class TestClusters:
    def test_masks_are_linked_up_to_the_slice_thickness(self) -> None:
        near, far = box(10, 0, 10, 0), box(15, 0, 15, 0)
        assert clusters([near, far], SPACING, 3.5) == [[0, 1]]
        assert clusters([near, far], SPACING, 3.4) == [[0], [1]]

    def test_distances_are_in_mm_along_each_axis(self) -> None:
        first = box(0, 0, 0, 0)
        for other, distance in ((box(2, 0, 2, 0), 1.4), (box(0, 2, 0, 2), 1.6), (box(0, 0, 0, 0, index=2), 5.0)):
            assert clusters([first, other], SPACING, distance) == [[0, 1]]
            assert clusters([first, other], SPACING, distance - 0.01) == [[0], [1]]

    def test_a_mask_within_another_means_the_same_nodule(self) -> None:
        assert clusters([box(0, 0, 30, 30), box(14, 14, 16, 16)], SPACING, 0.5) == [[0, 1]]

    def test_links_are_passed_on(self) -> None:
        assert clusters([box(0, 0, 0, 0), box(6, 0, 6, 0), box(3, 0, 3, 0)], SPACING, 2.5) == [[0, 1, 2]]

    def test_the_distance_shrinks_while_one_has_more_than_four_members(self) -> None:
        left = [box(0, 0, 3, 3)] * 4
        right = [box(6, 0, 9, 3)] * 4
        apart = [box(30, 0, 30, 0), box(32, 0, 32, 0)]
        assert clusters(left[:2] + right[:2] + apart, SPACING, 2.5) == [[0, 1, 2, 3], [4, 5]]
        assert clusters(left[:3] + right[:2], SPACING, 2.5) == [[0, 1, 2], [3, 4]]
        assert clusters(left + right + apart, SPACING, 2.5) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]

    def test_masks_that_cannot_be_separated_stay_together(self) -> None:
        assert clusters([box(0, 0, 3, 3)] * 5, SPACING, 2.5) == [[0, 1, 2, 3, 4]]

    def test_no_masks_make_no_clusters(self) -> None:
        assert clusters([], SPACING, 2.5) == []


class TestAgreement:
    @pytest.mark.parametrize(("agreement", "columns"), [(0.25, 5), (0.5, 4), (0.51, 3), (0.75, 3), (1.0, 2)])
    def test_a_voxel_needs_its_share_of_the_readers(self, agreement: float, columns: int) -> None:
        group = [marking(reader, box(0, 0, last, 0)) for reader, last in enumerate((4, 3, 2, 1))]
        assert len(agreed(group, agreement)) == columns

    def test_half_of_three_readers_are_two(self) -> None:
        group = [marking(0, box(0, 0, 2, 0)), marking(1, box(0, 0, 1, 0)), marking(2, box(0, 0, 0, 0))]
        assert as_set(agreed(group, 0.5)) == as_set(box(0, 0, 1, 0))

    def test_two_parts_of_one_reader_are_one_vote(self) -> None:
        group = [marking(0, box(0, 0, 1, 0)), marking(0, box(1, 0, 2, 0)), marking(1, box(1, 0, 2, 0))]
        assert as_set(agreed(group, 1.0)) == as_set(box(1, 0, 2, 0))

    def test_nodules_have_readers_volumes_and_ratings(self, series: DicomSeries) -> None:
        one = [marking(0, box(0, 0, 3, 3), malignancy=5), marking(2, box(0, 0, 3, 1), malignancy=2)]
        found = nodules([one[0], marking(1, box(30, 0, 31, 0)), one[1]], series)
        assert [nodule.readers for nodule in found] == [(0, 2), (1,)]
        assert found[0].malignancies == (5, 2)
        assert found[0].volumes == pytest.approx((16 * 1.4, 8 * 1.4))
        assert found[0].volume == pytest.approx(16 * 1.4)

    def test_readers_may_agree_on_nothing(self, series: DicomSeries) -> None:
        (nodule,) = nodules([marking(0, box(0, 0, 1, 1)), marking(1, box(2, 0, 3, 1))], series, agreement=1)
        assert (nodule.volume, nodule.mask.shape) == (0, (0, 3))


def test_an_outline_without_inside_still_counts_as_a_reading(series: DicomSeries) -> None:
    thin = Outline(f"{SERIES}.5", TRAPS.z(4), True, np.array([(12, 10), (16, 10)]))
    markings = [
        place_annotation(annotation(thin), series),
        replace(place_annotation(annotation(outline(WIDE)), series)),
    ]
    markings[1] = replace(markings[1], annotation=replace(markings[1].annotation, reader=1))
    (nodule,) = nodules(markings, series, agreement=0.5)
    assert nodule.readers == (0, 1)
    assert nodule.volumes[0] == 0
    assert len(nodule.mask) == 45
