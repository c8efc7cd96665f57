import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from sg_bench.data.sources.base import Study, film_affine
from sg_bench.data.sources.phantom import Organ, PhantomConfig, PhantomSource
from sg_bench.data.sources.phantom.anatomy import make_chest
from sg_bench.data.sources.phantom.disease import draw_disease
from sg_bench.data.sources.phantom.film import draw_exposure, expose, film_grid, outline_air
from sg_bench.data.sources.phantom.geometry import Canvas
from sg_bench.data.sources.phantom.patient import draw_patient
from sg_bench.data.sources.phantom.streams import PatientIdentity, RandomStream

SHAPE = (64, 64, 1)
PATIENTS = 12
CHEST_PATIENTS = 3
OUTLINED_OF_VERSION_1 = [274, 0, 0, 176, 0, 0, 0, 0]
MEANS_OF_VERSION_1 = [143.968, 169.601, 142.596, 152.019, 168.708, 154.307, 155.913, 166.378]
PNEUMOTHORAX = PhantomSource.findings.index("Pneumothorax")


def _source(**settings) -> PhantomSource:
    return PhantomSource(PhantomConfig(modality="film", **{"patients": PATIENTS, **settings}), None)


def _load(index: int = 0, **settings) -> Study:
    source = _source(**settings)
    return source.load(source.scan()[index])


def _digest(study: Study) -> str:
    digest = hashlib.sha256(study.image.tobytes())
    digest.update(study.affine.tobytes())
    digest.update(b"" if study.label is None else study.label.tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Taken:
    """A chest with chosen findings, and its film."""

    chest: Canvas
    film: np.ndarray
    mask: np.ndarray

    def shadow(self, *organs: Organ) -> np.ndarray:
        """Return the rays that pass `organs`, (columns, rows)."""
        return np.isin(self.chest.label, organs).max(axis=1)[::-1, ::-1][:, :64]


@cache
def _take(index: int, *findings: str) -> Taken:
    identity = PatientIdentity(version=1, held_out=False, labelled=True, index=index)
    shown = tuple(int(name in findings) for name in PhantomSource.findings)
    disease = draw_disease(identity.generator(RandomStream.DISEASE), shown)
    chest = make_chest(identity, draw_patient(identity.generator(RandomStream.BUILD)), film_grid(SHAPE), disease)
    film = expose(chest, 64, draw_exposure(identity.generator(RandomStream.EXPOSURE), SHAPE))
    return Taken(chest, film[..., 0], outline_air(chest, 64)[..., 0] > 0)


@pytest.fixture(scope="module")
def labelled() -> list[Study]:
    source = _source(labelled=True)
    return [source.load(case) for case in source.scan()]


@pytest.fixture(scope="module")
def unlabelled() -> list[Study]:
    return [_load(index) for index in range(4)]


@pytest.fixture(scope="module")
def healthy() -> list[Taken]:
    return [_take(index) for index in range(CHEST_PATIENTS)]


class TestFilm:
    def test_it_is_columns_by_rows_by_one_in_grey_values(self, labelled, unlabelled):
        for study in (*labelled, *unlabelled):
            assert study.image.shape == SHAPE
            assert study.image.dtype == np.float32
            assert study.image.min() == 0
            assert study.image.max() == 255
            assert np.array_equal(study.affine, film_affine())
            assert study.candidates == []

    def test_any_size_shows_the_same_chest(self, unlabelled):
        large = _load(0, shape=(128, 96, 1)).image
        assert large.shape == (128, 96, 1)
        small = ndimage.zoom(large[..., 0], (0.5, 2 / 3), order=1)
        assert np.corrcoef(small.ravel(), unlabelled[0].image.ravel())[0, 1] > 0.98

    def test_it_is_bright_where_the_body_absorbs_with_the_head_up_and_the_heart_on_the_right(self, healthy):
        for taken in healthy:
            spine, lung, heart = (taken.shadow(organ) for organ in (Organ.SPINE, Organ.LUNG, Organ.HEART))
            around = ~taken.shadow(*(organ for organ in Organ if organ != Organ.BACKGROUND))
            assert taken.film[around].mean() < 15
            assert 15 < taken.film[lung & ~spine & ~heart].mean() < taken.film[spine].mean() - 60
            assert np.argwhere(lung)[:, 1].mean() < np.argwhere(taken.shadow(Organ.LIVER))[:, 1].mean()
            assert np.argwhere(heart)[:, 0].mean() > np.argwhere(spine)[:, 0].mean() + 2

    def test_it_is_the_shadow_of_the_ct_of_that_patient_and_of_no_other(self, unlabelled):
        scans = PhantomSource(PhantomConfig(patients=4), None)
        shadows = []
        for case in scans.scan():
            absorbed = np.maximum(scans.load(case).image + 1000, 0).sum(axis=1)[::-1, ::-1]
            shadows.append(ndimage.zoom(absorbed, (64 / 72, 80 / 48), order=1)[:, :64])
        similarity = [
            [np.corrcoef(film.image.ravel(), shadow.ravel())[0, 1] for shadow in shadows] for film in unlabelled
        ]
        assert np.diag(similarity).min() > 0.95
        assert np.argmax(similarity, axis=1).tolist() == [0, 1, 2, 3]

    def test_films_of_two_patients_differ(self, labelled, unlabelled):
        films = [study.image.ravel() for study in (*labelled, *unlabelled)]
        similarity = np.corrcoef(films) - np.eye(len(films))
        assert similarity.max() < 0.995


class TestFindings:
    @pytest.mark.parametrize(
        ("finding", "organ", "least"),
        [
            ("Effusion", Organ.PLEURAL_FLUID, 25),
            ("Nodule", Organ.NODULE, 12),
            ("Consolidation", Organ.CONSOLIDATION, 15),
        ],
    )
    def test_what_replaces_lung_is_brighter_than_the_same_lung_without_it(self, healthy, finding, organ, least):
        for index, without in enumerate(healthy):
            ill = _take(index, finding)
            place = ill.shadow(organ)
            assert place.sum() >= 10
            assert (ill.film - without.film)[place].mean() > least
            assert np.abs(ill.film - without.film)[~ndimage.binary_dilation(place, iterations=3)].mean() < 4

    def test_a_large_heart_is_wider_and_its_shadow_too(self, healthy):
        for index, without in enumerate(healthy):
            ill = _take(index, "Cardiomegaly")
            widths = [np.ptp(np.argwhere(taken.shadow(Organ.HEART))[:, 0]) + 1 for taken in (without, ill)]
            assert widths[1] >= 1.2 * widths[0]
            grown = ill.shadow(Organ.HEART) & ~without.shadow(Organ.HEART) & without.shadow(Organ.LUNG)
            assert (ill.film - without.film)[grown].mean() > 20

    def test_a_pneumothorax_is_darker_than_the_lung_that_was_there(self, healthy):
        for index, without in enumerate(healthy):
            ill = _take(index, "Pneumothorax")
            assert (ill.film - without.film)[ill.mask].mean() < -8

    def test_no_vessel_crosses_a_pneumothorax(self, healthy):
        before, after = [], []
        for index, without in enumerate(healthy):
            ill = _take(index, "Pneumothorax").chest
            crossed = (ill.label == Organ.PLEURAL_AIR) & (without.chest.label == Organ.VESSEL)
            before.extend(without.chest.image[crossed])
            after.extend(ill.image[crossed])
        assert len(before) > 50
        assert np.mean(before) > -300
        assert np.median(after) < -800

    def test_one_finding_does_not_move_another(self):
        alone, together = _take(0, "Pneumothorax"), _take(0, *PhantomSource.findings)
        outlined = together.mask & alone.mask
        assert outlined.sum() > 0.7 * max(together.mask.sum(), alone.mask.sum())
        nodule, among = _take(0, "Nodule").shadow(Organ.NODULE), together.shadow(Organ.NODULE)
        assert (nodule & among).sum() > 0.7 * nodule.sum()

    def test_every_nodule_is_visible_with_every_other_finding(self):
        for index in range(CHEST_PATIENTS):
            assert _take(index, *PhantomSource.findings).shadow(Organ.NODULE).sum() >= 8


class TestOutline:
    def test_a_film_is_outlined_exactly_when_it_has_a_pneumothorax(self, labelled):
        for case, study in zip(_source(labelled=True).scan(), labelled, strict=True):
            assert study.label.shape == SHAPE
            assert study.label.dtype == np.uint8
            assert set(np.unique(study.label)) <= {0, 1}
            if case.findings[PNEUMOTHORAX]:
                assert 0.03 < study.label.mean() < 0.2
            else:
                assert not study.label.any()

    def test_unlabelled_films_are_not_outlined(self, unlabelled):
        assert all(study.label is None for study in unlabelled)

    def test_it_is_in_the_field_of_one_lung(self, healthy):
        for index, without in enumerate(healthy):
            mask = _take(index, "Pneumothorax").mask
            assert (without.shadow(Organ.LUNG)[mask]).mean() > 0.9
            right = without.chest.grid.axes[0].ravel()[::-1] > 0
            assert min(mask[right].sum(), mask[~right].sum()) < 0.1 * mask.sum()

    def test_it_is_one_piece_but_for_specks(self, labelled):
        for study in labelled:
            if study.label.any():
                parts, _ = ndimage.label(study.label)
                assert np.bincount(parts.ravel())[1:].max() > 0.8 * study.label.sum()

    def test_both_sides_occur(self, labelled):
        sides = [np.argwhere(study.label)[:, 0].mean() > 32 for study in labelled if study.label.any()]
        assert set(sides) == {True, False}


class TestDeterminism:
    def test_a_film_is_the_same_bits_in_another_process_without_torch_and_with_other_threads(self):
        program = (
            "import sys; sys.modules['torch'] = None\n"
            "import hashlib; from sg_bench.data.sources.phantom import PhantomConfig, PhantomSource\n"
            "config = PhantomConfig(modality='film', labelled=True, nuisance='scanner', patients=99)\n"
            "source = PhantomSource(config, None); study = source.load(source.scan()[5])\n"
            "digest = hashlib.sha256(study.image.tobytes()); digest.update(study.affine.tobytes())\n"
            "digest.update(study.label.tobytes()); print(digest.hexdigest())"
        )
        environment = {**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2", "PYTHONHASHSEED": "7"}
        command = [sys.executable, "-c", program]
        other = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()
        assert other == _digest(_load(5, labelled=True, nuisance="scanner"))

    def test_version_1_still_yields_the_films_that_results_were_made_from(self, labelled):
        assert [int(study.label.sum()) for study in labelled[:8]] == pytest.approx(OUTLINED_OF_VERSION_1, abs=2)
        means = [float(study.image.mean()) for study in labelled[:8]]
        assert means == pytest.approx(MEANS_OF_VERSION_1, abs=0.05)


class TestNuisance:
    def test_the_scanner_changes_the_image_and_nothing_else(self, labelled):
        scanned = _load(5, labelled=True, nuisance="scanner")
        assert np.abs(labelled[5].image - scanned.image).mean() > 4
        assert _digest(replace(scanned, image=labelled[5].image)) == _digest(labelled[5])
        assert scanned.image.dtype == np.float32
        assert 0 <= scanned.image.min() < scanned.image.max() <= 255

    def test_each_film_has_a_scanner_of_its_own(self, labelled):
        shifts = [
            np.median(_load(index, labelled=True, nuisance="scanner").image) - np.median(labelled[index].image)
            for index in range(6)
        ]
        assert np.std(shifts) > 10

    def test_unlabelled_films_have_no_nuisance(self, unlabelled):
        assert _digest(_load(0, nuisance="scanner")) == _digest(unlabelled[0])
