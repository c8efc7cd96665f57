from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sg_bench.config import AirRule, CropRule
from sg_bench.data.sampling import CropPlaces, centred_start, cut, draw_places

HALF = np.float16(0.5)


def slow_tissue(volume: np.ndarray, start: tuple[int, ...], cube: tuple[int, ...], rule: AirRule) -> float:
    """Count voxel by voxel, as the official generator does."""
    deepest = rule.look_ahead - 1
    counts = []
    for x, y, z in np.ndindex(*cube):
        column = volume[start[0] + x, start[1] + y, start[2] + z : start[2] + z + rule.look_ahead]
        depth = next((ahead for ahead, value in enumerate(column) if value >= rule.threshold), deepest)
        counts.append(1 - depth / deepest)
    return float(np.mean(counts))


class TestCut:
    @given(
        shape=st.tuples(*[st.integers(1, 6)] * 3),
        start=st.tuples(*[st.integers(-9, 9)] * 3),
        size=st.tuples(*[st.integers(1, 8)] * 3),
    )
    def test_a_cube_is_the_volume_padded_with_air(
        self, shape: tuple[int, int, int], start: tuple[int, int, int], size: tuple[int, int, int]
    ) -> None:
        volume = 1 + np.arange(np.prod(shape)).reshape(shape)
        padded = np.pad(volume, 20)
        wanted = padded[tuple(slice(20 + a, 20 + a + n) for a, n in zip(start, size, strict=True))]
        np.testing.assert_array_equal(cut(volume, start, size), wanted)

    def test_a_padded_cube_keeps_the_volumes_type(self) -> None:
        assert cut(np.ones((2, 2, 2), np.float16), (-1, 0, 0), (2, 2, 2)).dtype == np.float16

    @pytest.mark.parametrize(("centre", "start"), [((8.0, 8.0, 8.0), 4), ((7.5, 7.5, 7.5), 4), ((7.4,) * 3, 3)])
    def test_a_centred_cube_has_its_centre_at_half_its_side(
        self, centre: tuple[float, float, float], start: int
    ) -> None:
        assert centred_start(centre, (8, 8, 8)) == (start,) * 3


class TestPlacesOfOfficialSize:
    @pytest.mark.parametrize("shape", [(300, 280, 110), (512, 512, 120), (265, 265, 96)])
    def test_starts_reach_both_ends_of_the_official_ranges_and_no_further(self, shape: tuple[int, int, int]) -> None:
        places = CropPlaces(np.broadcast_to(HALF, shape), CropRule(air=None))
        rng = np.random.default_rng(0)
        starts = np.array([places.draw(rng) for _ in range(6000)])
        assert starts.min(axis=0).tolist() == [100, 100, 30]
        assert starts.max(axis=0).tolist() == [shape[0] - 165, shape[1] - 165, shape[2] - 32 - 3 - 1 - 30 + 3]

    @pytest.mark.parametrize("shape", [(64, 64, 1), (64, 80, 1), (65, 64, 1)])
    def test_a_cube_that_fills_an_axis_has_its_one_place_there(self, shape: tuple[int, int, int]) -> None:
        places = CropPlaces(np.zeros(shape, np.float16), CropRule(cube=(64, 64, 1), border=(0, 0, 0), air=None))
        assert places.large_enough
        rng = np.random.default_rng(0)
        starts = np.array([places.draw(rng) for _ in range(300)])
        assert starts.min(axis=0).tolist() == [0, 0, 0]
        assert starts.max(axis=0).tolist() == [0, max(0, shape[1] - 64 - 1), 0]

    def test_a_volume_smaller_than_the_cube_has_none(self) -> None:
        rule = CropRule(cube=(64, 64, 1), border=(0, 0, 0), air=None)
        assert not CropPlaces(np.zeros((64, 63, 1)), rule).large_enough

    def test_with_the_air_rule_three_more_slices_stay_free(self) -> None:
        places = CropPlaces(np.zeros((265, 266, 100), np.float16), CropRule())
        assert (places.low.tolist(), places.high.tolist()) == ([100, 100, 30], [100, 101, 100 - 66])

    @pytest.mark.parametrize("shape", [(264, 265, 96), (265, 264, 96), (265, 265, 95), (64, 64, 32)])
    def test_volumes_below_265_by_265_by_96_hold_no_place(self, shape: tuple[int, int, int]) -> None:
        volume = np.zeros(shape, np.float16)
        assert CropPlaces(np.zeros((265, 265, 96), np.float16), CropRule()).large_enough
        assert not CropPlaces(volume, CropRule()).large_enough
        assert draw_places(volume, CropRule(), 4, np.random.default_rng(0)) == []

    def test_the_air_rule_equals_counting_voxel_by_voxel_on_an_official_volume(self) -> None:
        rng = np.random.default_rng(3)
        volume = np.zeros((270, 268, 100), np.float16)
        volume[:, :, ::7] = (rng.random((270, 268, 15)) * 0.6).astype(np.float16)
        places = CropPlaces(volume, CropRule())
        for start in [(100, 100, 30), (105, 103, 34), (102, 101, 31)]:
            assert places.tissue(start) == pytest.approx(slow_tissue(volume, start, (64, 64, 32), AirRule()), abs=1e-12)


class TestAirRule:
    @pytest.mark.parametrize("look_ahead", [2, 3, 5])
    def test_the_mean_count_equals_counting_voxel_by_voxel(self, look_ahead: int) -> None:
        volume = np.random.default_rng(look_ahead).random((9, 8, 15)).astype(np.float16)
        rule = CropRule(cube=(4, 3, 5), border=(0, 0, 0), air=AirRule(threshold=0.8, look_ahead=look_ahead))
        places = CropPlaces(volume, rule)
        assert rule.air is not None
        for start in np.ndindex(5, 5, 15 - 5 - look_ahead):
            assert places.tissue(start) == pytest.approx(slow_tissue(volume, start, rule.cube, rule.air), abs=1e-12)

    @pytest.mark.parametrize(("hu", "tissue"), [(-150, 1.0), (-151, 0.0)])
    def test_a_voxel_is_tissue_from_minus_150_hu_on(self, hu: int, tissue: float) -> None:
        volume = np.full((8, 8, 16), (hu + 1000) / 2000, np.float16)
        places = CropPlaces(volume, CropRule(cube=(4, 4, 4), border=(0, 0, 0)))
        assert places.tissue((1, 1, 1)) == tissue

    @pytest.mark.parametrize(("slices", "accepted"), [(1, True), (2, False)])
    def test_a_cube_of_more_than_fifteen_per_cent_tissue_is_refused(self, slices: int, accepted: bool) -> None:
        volume = np.zeros((4, 4, 24), np.float16)
        volume[:, :, 4 : 4 + slices] = 1  # each slice counts 1/10, and the air before them 1/20
        places = CropPlaces(volume[:, :, :], CropRule(cube=(2, 2, 10), border=(0, 0, 0)))
        assert places.tissue((0, 0, 2)) == pytest.approx(0.1 * slices + 0.05)
        assert places.accepts((0, 0, 2)) == accepted

    def test_only_the_cube_and_the_slices_after_it_are_read(self) -> None:
        volume = np.full((6, 6, 12), np.nan)
        volume[1:3, 2:4, 3:6] = 1
        places = CropPlaces(volume, CropRule(cube=(2, 2, 2), border=(0, 0, 0)))
        assert places.tissue((1, 2, 3)) == 1.0
        volume[1:3, 2:4, 3:5] = 0
        assert places.tissue((1, 2, 3)) == pytest.approx(0.25)  # the slice after the cube is tissue


class TestDrawPlaces:
    RULE = CropRule(cube=(4, 4, 4), border=(1, 1, 1), air=None, tries=5)

    def test_as_many_places_as_asked_for_inside_the_borders(self) -> None:
        starts = draw_places(np.zeros((12, 12, 12), np.float16), self.RULE, 40, np.random.default_rng(0))
        assert len(starts) == 40
        assert np.min(starts) == 1
        assert np.max(starts) == 12 - 4 - 1 - 1

    def test_tries_run_out_where_there_is_too_little_air(self) -> None:
        rule = self.RULE.model_copy(update={"air": AirRule()})
        assert draw_places(np.ones((16, 16, 16), np.float16), rule, 3, np.random.default_rng(0)) == []

    def test_the_same_generator_draws_the_same_places(self) -> None:
        volume = np.zeros((20, 20, 20), np.float16)
        drawn = [draw_places(volume, self.RULE, 5, np.random.default_rng(4)) for _ in range(2)]
        assert drawn[0] == drawn[1]
