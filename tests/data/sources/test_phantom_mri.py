import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy import ndimage

from sg_bench.data.sources.base import Study
from sg_bench.data.sources.phantom import PhantomConfig, PhantomSource

PATIENTS = 6
SEQUENCES = ("flair", "t1", "t1ce", "t2")
NECROSIS, OEDEMA, ENHANCING = 1, 2, 4
COUNTS_OF_VERSION_1 = [39, 705, 127]
MEAN_OF_VERSION_1 = 42.4155


def _load(index: int = 0, **settings) -> Study:
    source = PhantomSource(PhantomConfig(modality="mri", patients=PATIENTS, **settings), None)
    return source.load(source.scan()[index])


def _digest(study: Study) -> str:
    digest = hashlib.sha256(study.image.tobytes())
    digest.update(study.affine.tobytes())
    digest.update(b"" if study.label is None else study.label.tobytes())
    return digest.hexdigest()


def _ordinary(study: Study) -> float:
    """Return the median of the brain outside its tumour."""
    outside = study.image > 0 if study.label is None else (study.image > 0) & (study.label == 0)
    return float(np.median(study.image[outside]))


def _white(study: Study) -> float:
    """Return what white matter, the brightest tissue on T1, is like there."""
    return float(np.quantile(study.image[(study.image > 0) & (study.label == 0)], 0.8))


def _median(study: Study, lesion: int) -> float:
    return float(np.median(study.image[study.label == lesion]))


@pytest.fixture(scope="module")
def brains() -> dict[str, list[Study]]:
    return {name: [_load(index, labelled=True, sequence=name) for index in range(PATIENTS)] for name in SEQUENCES}


@pytest.fixture(scope="module")
def healthy() -> list[Study]:
    return [_load(index) for index in range(PATIENTS)]


class TestImage:
    def test_it_is_float32_on_a_centred_grid_of_4_mm(self, healthy):
        study = healthy[0]
        assert study.image.shape == (48, 48, 40)
        assert study.image.dtype == np.float32
        assert np.array_equal(np.diag(study.affine), (4, 4, 4, 1))
        assert study.affine @ (23.5, 23.5, 19.5, 1) == pytest.approx((0, 0, 0, 1))

    def test_the_field_of_view_does_not_depend_on_the_shape(self, brains):
        coarse = _load(0, labelled=True, shape=(32, 40, 36))
        assert np.diag(coarse.affine)[:3] * (32, 40, 36) == pytest.approx((192, 192, 160))
        centres = [
            (study.affine @ np.append(np.argwhere(study.label != 0).mean(axis=0), 1))[:3]
            for study in (coarse, brains["flair"][0])
        ]
        assert np.linalg.norm(centres[0] - centres[1]) < 12

    def test_around_the_brain_it_is_exactly_0_and_inside_it_is_above(self, brains):
        for study in (study for studies in brains.values() for study in studies):
            brain = study.image > 0
            parts, count = ndimage.label(brain)
            sizes = np.bincount(parts.ravel())[1:]
            assert np.isfinite(study.image).all()
            assert study.image.min() == 0
            assert 0.1 < brain.mean() < 0.6
            assert sizes.max() > 0.98 * brain.sum(), count
            assert ndimage.binary_fill_holes(brain).sum() == brain.sum()

    def test_the_brain_has_the_size_of_one(self, healthy):
        litres = [(study.image > 0).sum() * 64 / 1e6 for study in healthy]
        assert 0.9 < min(litres) < max(litres) < 2.0

    def test_each_scanner_has_its_own_units(self, healthy):
        levels = [_ordinary(study) for study in healthy]
        assert max(levels) > 1.3 * min(levels)
        assert min(levels) > 20

    def test_a_place_looks_more_like_the_same_place_in_other_brains_than_like_other_places(self, brains):
        places = [(slice(x, x + 16), slice(y, y + 16), slice(14, 30)) for x in (8, 24) for y in (8, 24)]
        crops = [[study.image[place].ravel() for place in places] for study in brains["t1"]]
        same, other = [], []
        for first, second in combinations(crops, 2):
            table = np.corrcoef(first, second)[: len(places), len(places) :]
            same.append(np.diag(table).mean())
            other.append(table[~np.eye(len(places), dtype=bool)].mean())
        assert np.mean(same) > np.mean(other) + 0.3


class TestSequences:
    def test_all_four_show_one_brain_with_one_label(self, brains):
        for studies in zip(*brains.values(), strict=True):
            assert all(np.array_equal(study.label, studies[0].label) for study in studies)
            assert all(np.array_equal(study.image > 0, studies[0].image > 0) for study in studies)

    def test_they_differ_in_contrast_and_not_in_scale_alone(self, brains):
        for first, second in combinations(SEQUENCES, 2):
            for one, other in zip(brains[first], brains[second], strict=True):
                brain = one.image > 0
                assert np.corrcoef(one.image[brain], other.image[brain])[0, 1] < 0.97

    def test_fluid_is_dark_on_t1_and_flair_and_bright_on_t2(self, brains):
        for index in range(PATIENTS):
            images = {name: brains[name][index].image / _ordinary(brains[name][index]) for name in SEQUENCES}
            brain = (images["t2"] > 0) & (brains["t2"][index].label == 0)
            fluid = brain & (images["t2"] > np.quantile(images["t2"][brain], 0.95))
            assert images["t1"][fluid].mean() < 0.75
            assert images["flair"][fluid].mean() < 0.75


class TestTumour:
    def test_a_labelled_brain_has_one_in_brats_classes(self, brains):
        for study in brains["flair"]:
            assert study.label.dtype == np.uint8
            assert set(np.unique(study.label)) == {0, NECROSIS, OEDEMA, ENHANCING}
            assert 100 < (study.label > 0).sum() < 1800
            assert study.candidates == []

    def test_an_unlabelled_brain_has_none(self, healthy):
        for study in healthy:
            assert study.label is None
            bright, _ = ndimage.label(study.image > 1.4 * _ordinary(study))
            assert np.bincount(bright.ravel())[1:].max() * 64 < 8000

    def test_it_is_inside_the_brain(self, brains):
        assert all((study.image[study.label > 0] > 0).all() for study in brains["flair"])

    def test_necrosis_is_in_the_enhancing_ring_and_the_ring_in_oedema(self, brains):
        for study in brains["flair"]:
            around = {part: ndimage.binary_dilation(study.label == part) & (study.label != part) for part in (1, 2, 4)}
            assert (study.label[around[NECROSIS]] == ENHANCING).mean() > 0.5
            assert OEDEMA in study.label[around[ENHANCING]]

    def test_on_flair_it_is_brighter_than_the_brain_around_it(self, brains):
        for study in brains["flair"]:
            whole = study.image[study.label > 0]
            assert np.median(whole) > 1.2 * _ordinary(study)
            assert _median(study, OEDEMA) > 1.3 * _ordinary(study)

    def test_on_t1_it_is_darker(self, brains):
        assert all(_median(study, OEDEMA) < 0.8 * _white(study) for study in brains["t1"])

    def test_only_contrast_medium_makes_the_ring_bright(self, brains):
        for before, after in zip(brains["t1"], brains["t1ce"], strict=True):
            assert _median(after, ENHANCING) > _white(after)
            assert _median(before, ENHANCING) < 0.8 * _white(before)

    def test_tumours_are_in_different_places(self, brains):
        centres = [np.argwhere(study.label > 0).mean(axis=0) for study in brains["flair"]]
        assert max(np.linalg.norm(first - second) for first, second in combinations(centres, 2)) > 10


class TestSpots:
    def test_every_labelled_brain_has_bright_spots_that_are_no_tumour(self, brains):
        found = [
            self._bright_spots(study, ndimage.binary_dilation(study.label > 0, iterations=2))
            for study in brains["flair"]
        ]
        assert min(found) >= 1
        assert sum(found) >= 2 * PATIENTS

    def test_every_unlabelled_brain_has_them_too(self, healthy):
        found = [self._bright_spots(study, np.zeros(study.image.shape, bool)) for study in healthy]
        assert min(found) >= 1

    @staticmethod
    def _bright_spots(study: Study, tumour: np.ndarray) -> int:
        """Count groups of two voxels or more that are brighter on FLAIR than noise makes the brain."""
        brain = (study.image > 0) & ~tumour
        threshold = 1.3 * _ordinary(study)
        parts, _ = ndimage.label(brain & (ndimage.gaussian_filter(study.image, 0.5) > threshold))
        return int((np.bincount(parts.ravel())[1:] >= 2).sum())


class TestDeterminism:
    def test_a_brain_is_the_same_bits_in_another_process_without_torch_and_with_other_threads(self):
        program = (
            "import sys; sys.modules['torch'] = None\n"
            "import hashlib; from sg_bench.data.sources.phantom import PhantomConfig, PhantomSource\n"
            "config = PhantomConfig(modality='mri', sequence='t2', labelled=True, nuisance='scanner', patients=9)\n"
            "source = PhantomSource(config, None); study = source.load(source.scan()[1])\n"
            "digest = hashlib.sha256(study.image.tobytes()); digest.update(study.affine.tobytes())\n"
            "digest.update(study.label.tobytes()); print(digest.hexdigest())"
        )
        environment = {**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2", "PYTHONHASHSEED": "7"}
        command = [sys.executable, "-c", program]
        other = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()
        assert other == _digest(_load(1, labelled=True, sequence="t2", nuisance="scanner"))

    def test_patients_populations_and_cohorts_all_differ(self, brains, healthy):
        held_out = [_load(0, cohort="held_out"), _load(0, labelled=True, cohort="held_out")]
        masks = [study.image > 0 for study in (*brains["flair"], *healthy, *held_out)]
        assert all((first != second).sum() > 200 for first, second in combinations(masks, 2))

    def test_version_1_still_yields_the_brains_that_results_were_made_from(self, brains):
        study = brains["flair"][0]
        counts = [int((study.label == part).sum()) for part in (NECROSIS, OEDEMA, ENHANCING)]
        assert counts == pytest.approx(COUNTS_OF_VERSION_1, abs=2)
        assert study.image.mean() == pytest.approx(MEAN_OF_VERSION_1, rel=1e-3)


class TestNuisance:
    def test_the_scanner_changes_the_image_and_nothing_else(self, brains):
        clean, scanned = brains["flair"][0], _load(0, labelled=True, nuisance="scanner")
        assert np.abs(clean.image - scanned.image)[clean.image > 0].mean() > 0.02 * clean.image.max()
        assert _digest(replace(scanned, image=clean.image)) == _digest(clean)
        assert scanned.image.dtype == np.float32

    def test_the_background_stays_0_and_no_value_leaves_the_scale(self, brains):
        for index, clean in enumerate(brains["flair"]):
            scanned = _load(index, labelled=True, nuisance="scanner").image
            assert not scanned[clean.image == 0].any()
            assert scanned.min() >= 0
            assert scanned.max() <= clean.image.max()

    def test_each_sequence_has_a_scanner_of_its_own(self, brains):
        shifts = [
            np.median(_load(0, labelled=True, sequence=name, nuisance="scanner").image[brains[name][0].image > 0])
            / np.median(brains[name][0].image[brains[name][0].image > 0])
            for name in SEQUENCES
        ]
        assert np.std(shifts) > 0.05

    def test_unlabelled_brains_have_no_nuisance(self, healthy):
        assert _digest(_load(0, nuisance="scanner")) == _digest(healthy[0])
