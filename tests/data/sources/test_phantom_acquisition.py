"""The second nuisance of the phantom: resolution, sensitivity and field of view."""

import hashlib
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from sg_bench.data.sources.base import Candidate, Study
from sg_bench.data.sources.phantom import Organ, PhantomConfig, PhantomSource
from sg_bench.data.sources.phantom.acquisition import Acquisition, acquire, apply_acquisition, draw_acquisition

SHAPE = (24, 20, 16)
PLAIN = Acquisition((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), 1.0, 0.0, np.ones(SHAPE, np.float32))
"""An acquisition that changes nothing."""


@cache
def _load(modality: str, nuisance: str, *, index: int = 0, labelled: bool = True) -> Study:
    source = PhantomSource(PhantomConfig(modality=modality, labelled=labelled, nuisance=nuisance, patients=4), None)
    return source.load(source.scan()[index])


@pytest.fixture
def image():
    return np.random.default_rng(0).uniform(-900, 900, SHAPE).astype(np.float32)


class TestApplication:
    def test_a_plain_acquisition_changes_nothing(self, image):
        np.testing.assert_allclose(apply_acquisition(image, PLAIN), image, atol=1e-3)

    def test_thick_slices_average_along_z_alone(self, image):
        thick = apply_acquisition(image, replace(PLAIN, thickness=3.0))
        np.testing.assert_allclose(thick[..., 5], image[..., 4:7].mean(axis=2), atol=1e-2)

    def test_a_slice_of_two_voxels_weighs_its_neighbours_by_a_quarter(self, image):
        thick = apply_acquisition(image, replace(PLAIN, thickness=2.0))
        expected = 0.25 * image[..., 4] + 0.5 * image[..., 5] + 0.25 * image[..., 6]
        np.testing.assert_allclose(thick[..., 5], expected, atol=1e-2)

    def test_blur_smooths_the_plane_alone(self, image):
        flat = np.broadcast_to(np.linspace(-900, 900, 16, dtype=np.float32), SHAPE)
        blurred = replace(PLAIN, blur=0.8)
        np.testing.assert_allclose(apply_acquisition(flat, blurred), flat, atol=1e-2)
        assert (
            np.abs(np.diff(apply_acquisition(image, blurred), axis=0)).mean()
            < 0.5 * np.abs(np.diff(image, axis=0)).mean()
        )

    def test_sensitivity_scales_intensity_above_empty_space(self, image):
        halved = apply_acquisition(image, replace(PLAIN, sensitivity=np.full(SHAPE, 0.5, np.float32)))
        np.testing.assert_allclose(halved + 1000, (image + 1000) / 2, atol=1e-2)

    def test_a_field_of_view_of_another_size_moves_voxels_but_no_point_in_space(self):
        affine = np.diag([5.0, 5.0, 6.0, 1.0])
        label = np.zeros(SHAPE, np.uint8)
        label[14:17, 8:11, 6:9] = 1
        point = Candidate((75.0, 45.0, 42.0), positive=True)  # voxel (15, 9, 7)
        far = Candidate((0.0, 0.0, 0.0), positive=False)
        study = Study(np.where(label, 500, -1000).astype(np.float32), affine, label, [point, far])
        narrow = replace(PLAIN, field=(0.8, 0.8, 1.0), centre=(1.0, 0.0, 0.0))
        acquired = acquire(study, narrow)
        assert acquired.label is not None
        where = np.argwhere(acquired.label).mean(axis=0)
        assert acquired.affine @ (*where, 1) == pytest.approx((*point.position, 1), abs=2.5)
        assert acquired.candidates == [point]
        assert acquired.label.sum() > label.sum()
        assert acquired.image[acquired.label > 0].mean() > 0

    def test_what_is_out_of_the_nominal_field_is_empty(self, image):
        wide = apply_acquisition(image, replace(PLAIN, field=(1.5, 1.5, 1.0)))
        assert (wide[0] == -1000).all()


class TestDrawing:
    def test_draws_stay_in_their_ranges(self):
        drawn = [draw_acquisition(np.random.default_rng(seed), SHAPE) for seed in range(200)]
        for values, low, high in (
            ([each.field[0] for each in drawn], 0.85, 1.15),
            ([each.field[2] for each in drawn], 0.9, 1.1),
            ([each.thickness for each in drawn], 1, 2.5),
            ([each.blur for each in drawn], 0, 0.8),
        ):
            margin = 0.05 * (high - low)
            assert low <= min(values) < low + margin
            assert high - margin < max(values) <= high
        peaks = [np.abs(np.log(each.sensitivity) - np.log(each.sensitivity).mean()).max() for each in drawn]
        assert 0.1 <= min(peaks) < 0.12
        assert 0.32 < max(peaks) <= 0.351

    def test_a_film_has_one_slice(self):
        drawn = draw_acquisition(np.random.default_rng(0), (24, 20, 1))
        assert (drawn.field[2], drawn.centre[2], drawn.thickness) == (1.0, 0.0, 1.0)


class TestPatients:
    @pytest.mark.parametrize("modality", ["ct", "mri", "film"])
    def test_it_changes_labelled_images_each_in_its_own_way(self, modality):
        clean, acquired = _load(modality, "clean"), _load(modality, "acquisition")
        assert acquired.image.shape == clean.image.shape
        assert acquired.image.dtype == np.float32
        assert acquired.label is not None
        assert clean.label is not None
        assert acquired.label.dtype == clean.label.dtype
        assert set(np.unique(acquired.label)) <= set(np.unique(clean.label))
        assert np.abs(acquired.image - clean.image).mean() > 0.02 * np.ptp(clean.image)
        if modality != "film":
            other = _load(modality, "acquisition", index=1)
            assert other.affine.diagonal() != pytest.approx(acquired.affine.diagonal())

    def test_unlabelled_images_have_none(self):
        clean, acquired = (_load("film", nuisance, labelled=False) for nuisance in ("clean", "acquisition"))
        assert np.array_equal(clean.image, acquired.image)

    def test_the_liver_is_where_it_was_in_space(self):
        def centre(study: Study) -> np.ndarray:
            return (study.affine @ (*np.argwhere(study.label == Organ.LIVER).mean(axis=0), 1))[:3]

        clean, acquired = _load("ct", "clean", index=2), _load("ct", "acquisition", index=2)
        assert centre(acquired) == pytest.approx(centre(clean), abs=12)

    def test_a_brain_stays_stripped_of_its_skull(self):
        acquired = _load("mri", "acquisition")
        assert acquired.label is not None
        assert 0.1 < (acquired.image == 0).mean() < 0.9
        assert (acquired.image[acquired.label > 0] > 0).mean() > 0.99

    def test_a_study_is_the_same_in_any_process(self):
        image = _load("film", "acquisition", index=3).image
        assert (
            hashlib.sha256(image.tobytes()).hexdigest()
            == hashlib.sha256(
                PhantomSource(PhantomConfig(modality="film", labelled=True, nuisance="acquisition", patients=9), None)
                .load(PhantomSource(PhantomConfig(modality="film", labelled=True, patients=9), None).scan()[3])
                .image.tobytes()
            ).hexdigest()
        )
