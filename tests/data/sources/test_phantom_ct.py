import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest

from sg_bench.data.sources.base import Study
from sg_bench.data.sources.phantom import Organ, PhantomConfig, PhantomSource

PATIENTS = 6
LABELS_OF_VERSION_1 = "6fd8ac7c594cc993dd998f6b67991efa82e321fe067f1eeb1b52d0a9e48ce122"
COUNTS_OF_VERSION_1 = [18563, 14993, 158]
MEAN_OF_VERSION_1 = -608.096


def _load(index: int = 0, **settings) -> Study:
    source = PhantomSource(PhantomConfig(patients=PATIENTS, **settings), None)
    return source.load(source.scan()[index])


def _digest(study: Study) -> str:
    digest = hashlib.sha256(study.image.tobytes())
    digest.update(study.affine.tobytes())
    digest.update(b"" if study.label is None else study.label.tobytes())
    digest.update(repr(study.candidates).encode())
    return digest.hexdigest()


def _voxel(study: Study, position: tuple[float, float, float]) -> tuple[int, int, int]:
    x, y, z = np.rint(np.linalg.solve(study.affine, (*position, 1)))[:3].astype(int)
    return int(x), int(y), int(z)


def _median(study: Study, organ: Organ) -> float:
    return float(np.median(study.image[study.label == organ]))


def _run(program: str, **environment: str) -> str:
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def labelled() -> list[Study]:
    return [_load(index, labelled=True) for index in range(PATIENTS)]


@pytest.fixture(scope="module")
def unlabelled() -> list[Study]:
    return [_load(index) for index in range(PATIENTS)]


class TestDeterminism:
    def test_a_patient_is_the_same_bits_on_every_call(self, labelled):
        assert _digest(_load(0, labelled=True)) == _digest(labelled[0])

    def test_a_patient_is_the_same_bits_in_another_process_without_torch_and_with_other_threads(self):
        program = (
            "import sys; sys.modules['torch'] = None\n"
            "import hashlib; from sg_bench.data.sources.phantom import PhantomConfig, PhantomSource\n"
            "source = PhantomSource(PhantomConfig(labelled=True, nuisance='scanner', patients=3), None)\n"
            "study = source.load(source.scan()[1])\n"
            "digest = hashlib.sha256(study.image.tobytes()); digest.update(study.affine.tobytes())\n"
            "digest.update(study.label.tobytes()); digest.update(repr(study.candidates).encode())\n"
            "print(digest.hexdigest())"
        )
        other = _run(program, OMP_NUM_THREADS="2", OPENBLAS_NUM_THREADS="2", PYTHONHASHSEED="7")
        assert other == _digest(_load(1, labelled=True, nuisance="scanner"))

    def test_global_random_state_is_neither_read_nor_touched(self, labelled):
        np.random.seed(5)  # noqa: NPY002
        before = repr(np.random.get_state())  # noqa: NPY002
        study = _load(0, labelled=True)
        assert repr(np.random.get_state()) == before  # noqa: NPY002
        assert _digest(study) == _digest(labelled[0])

    def test_the_number_of_patients_does_not_change_a_patient(self, unlabelled):
        source = PhantomSource(PhantomConfig(patients=1), None)
        assert _digest(source.load(source.scan()[0])) == _digest(unlabelled[0])

    def test_patients_populations_and_cohorts_all_differ(self, labelled, unlabelled):
        held_out = [_load(0, cohort="held_out"), _load(0, labelled=True, cohort="held_out")]
        images = [study.image for study in (*labelled, *unlabelled, *held_out)]
        assert all(np.corrcoef(a.ravel(), b.ravel())[0, 1] < 0.97 for a, b in combinations(images, 2))

    def test_version_1_still_yields_the_patients_that_results_were_made_from(self, labelled):
        study = labelled[0]
        counts = [int((study.label == organ).sum()) for organ in (Organ.LUNG, Organ.LIVER, Organ.NODULE)]
        assert counts == pytest.approx(COUNTS_OF_VERSION_1, abs=2)
        assert study.image.mean() == pytest.approx(MEAN_OF_VERSION_1, abs=0.05)
        assert hashlib.sha256(study.label.tobytes()).hexdigest() == LABELS_OF_VERSION_1


class TestGeometry:
    def test_the_image_is_float32_on_a_centred_grid(self, unlabelled):
        study = unlabelled[0]
        assert study.image.shape == (72, 72, 48)
        assert study.image.dtype == np.float32
        assert np.array_equal(np.diag(study.affine), (5, 5, 6, 1))
        middle = study.affine @ (35.5, 35.5, 23.5, 1)
        assert middle == pytest.approx((0, 0, 0, 1))

    def test_the_field_of_view_does_not_depend_on_the_shape(self, labelled):
        shape = (48, 60, 40)
        small = _load(0, labelled=True, shape=shape)
        assert small.image.shape == shape
        assert np.diag(small.affine)[:3] * shape == pytest.approx((360, 360, 288))
        for organ in (Organ.LUNG, Organ.LIVER, Organ.HEART):
            centres = [
                (study.affine @ np.append(np.argwhere(study.label == organ).mean(axis=0), 1))[:3]
                for study in (small, labelled[0])
            ]
            assert np.linalg.norm(centres[0] - centres[1]) < 6

    def test_the_axes_point_right_anterior_superior(self, labelled):
        for study in labelled:
            at = {organ: np.argwhere(study.label == organ).mean(axis=0) for organ in np.unique(study.label)}
            assert at[Organ.LIVER][0] > 36 > at[Organ.SPLEEN][0]
            assert at[Organ.HEART][1] > at[Organ.SPINE][1] + 10
            assert at[Organ.LUNG][2] > at[Organ.LIVER][2] + 10

    def test_a_place_looks_more_like_the_same_place_in_other_patients_than_like_other_places(self, unlabelled):
        places = list(product((4, 36), (20, 36), (0, 24)))
        crops = [
            [study.image[x : x + 32, y : y + 32, z : z + 24].ravel() for x, y, z in places] for study in unlabelled
        ]
        same, other = [], []
        for first, second in combinations(crops, 2):
            table = np.corrcoef(first, second)[: len(places), len(places) :]
            same.append(np.diag(table).mean())
            other.append(table[~np.eye(len(places), dtype=bool)].mean())
        assert np.mean(same) > np.mean(other) + 0.3


class TestTissue:
    def test_organs_have_their_hounsfield_units(self, labelled):
        means = {organ: np.mean([_median(study, organ) for study in labelled]) for organ in Organ if organ <= 15}
        assert means[Organ.BACKGROUND] == pytest.approx(-1000, abs=20)
        assert means[Organ.LUNG] == pytest.approx(-830, abs=50)
        assert means[Organ.LIVER] == pytest.approx(60, abs=25)
        assert means[Organ.SPLEEN] == pytest.approx(means[Organ.LIVER], abs=25)
        assert means[Organ.SPINE] > 200
        assert means[Organ.AIRWAY] < -650

    def test_values_are_within_a_scanners_range(self, labelled, unlabelled):
        assert all(study.image.min() >= -1024 and study.image.max() <= 3071 for study in (*labelled, *unlabelled))

    def test_every_organ_is_there_in_every_patient(self, labelled):
        only_in_films = {Organ.PLEURAL_AIR, Organ.PLEURAL_FLUID, Organ.CONSOLIDATION}
        found = [set(np.unique(study.label)) for study in labelled]
        assert all(set(Organ) - only_in_films - {Organ.KIDNEY} <= organs for organs in found)
        assert not any(only_in_films & organs for organs in found)
        assert any(Organ.KIDNEY in study.label for study in labelled)


class TestCandidates:
    def test_unlabelled_patients_carry_no_label_and_no_candidates(self, unlabelled):
        assert all(study.label is None and study.candidates == [] for study in unlabelled)

    def test_a_patient_has_2_to_5_nodules_and_4_to_6_hard_negatives(self, labelled):
        for study in labelled:
            positives = sum(candidate.positive for candidate in study.candidates)
            assert 2 <= positives <= 5
            assert 4 <= len(study.candidates) - positives <= 6

    def test_positive_candidates_are_on_nodules_of_their_diameter(self, labelled):
        for study in labelled:
            positives = [candidate for candidate in study.candidates if candidate.positive]
            assert all(study.label[_voxel(study, candidate.position)] == Organ.NODULE for candidate in positives)
            assert all(13 <= candidate.diameter <= 36 for candidate in positives)
            volume = (study.label == Organ.NODULE).sum() * 150
            expected = sum(np.pi / 6 * candidate.diameter**3 for candidate in positives)
            assert 0.4 < volume / expected < 2

    def test_negative_candidates_are_on_vessels_at_least_40_mm_from_any_nodule(self, labelled):
        for study in labelled:
            nodules = np.argwhere(study.label == Organ.NODULE) * (5, 5, 6)
            for candidate in (candidate for candidate in study.candidates if not candidate.positive):
                voxel = _voxel(study, candidate.position)
                assert study.label[voxel] == Organ.VESSEL
                assert candidate.diameter is None
                assert np.linalg.norm(nodules - np.array(voxel) * (5, 5, 6), axis=1).min() >= 40

    def test_the_smallest_shape_has_candidates_on_their_labels_too(self):
        study = _load(0, labelled=True, shape=(48, 48, 32))
        assert study.label is not None
        for candidate in study.candidates:
            on_nodule = study.label[_voxel(study, candidate.position)] == Organ.NODULE
            assert on_nodule == candidate.positive

    def test_attenuation_alone_does_not_separate_nodules_from_vessels(self, labelled):
        nodules, vessels = (
            [
                study.image[_voxel(study, candidate.position)]
                for study in labelled
                for candidate in study.candidates
                if candidate.positive == positive
            ]
            for positive in (True, False)
        )
        assert min(nodules) < max(vessels)
        assert min(vessels) < max(nodules)


class TestNuisance:
    def test_the_scanner_changes_the_image_and_nothing_else(self, labelled):
        clean, scanned = labelled[0], _load(0, labelled=True, nuisance="scanner")
        assert np.abs(clean.image - scanned.image).mean() > 20
        assert _digest(replace(scanned, image=clean.image)) == _digest(clean)
        assert scanned.image.dtype == np.float32
        assert scanned.image.min() >= -1000
        assert scanned.image.max() <= 1000

    def test_each_image_has_a_scanner_of_its_own(self):
        livers = [_median(_load(index, labelled=True, nuisance="scanner"), Organ.LIVER) for index in range(PATIENTS)]
        assert np.std(livers) > 80

    def test_unlabelled_images_have_no_nuisance(self, unlabelled):
        assert _digest(_load(0, nuisance="scanner")) == _digest(unlabelled[0])

    def test_gamma_gain_offset_and_noise_act_in_this_order(self):
        from sg_bench.data.sources.phantom.nuisance import ScannerNuisance, apply_nuisance

        noise = np.array([0.0, 0.1, 0.0], np.float32)
        nuisance = ScannerNuisance(gamma=2.0, gain=0.8, offset=0.05, noise=noise)
        hu = np.array([-3000, 0, 1000], np.float32)
        assert apply_nuisance(hu, nuisance) == pytest.approx([-900, -300, 700], abs=1e-3)

    def test_drawn_nuisances_stay_in_their_ranges(self):
        from sg_bench.data.sources.phantom.nuisance import draw_nuisance

        drawn = [draw_nuisance(np.random.default_rng(seed), (8, 8, 8)) for seed in range(300)]
        for name, low, high in (("gamma", 0.6, 1.7), ("gain", 0.8, 1.2), ("offset", -0.08, 0.08)):
            values = [getattr(nuisance, name) for nuisance in drawn]
            margin = 0.05 * (high - low)
            assert low <= min(values) < low + margin
            assert high - margin < max(values) <= high
        deviations = [nuisance.noise.std() for nuisance in drawn]
        assert 0.009 < min(deviations) < 0.015
        assert 0.06 < max(deviations) < 0.076
