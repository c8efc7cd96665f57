"""One image is found again however it was prepared; two images are never taken for one."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sg_bench.config import Preparation
from sg_bench.data.fingerprint import SMALLEST, THRESHOLD, _averaged, difference, fingerprint, matches
from sg_bench.data.prepare import prepare
from sg_bench.data.sources.base import Study
from sg_bench.data.sources.volumes import read_volume
from sg_bench.data.symmetries import symmetries
from sg_bench.errors import DataError

PLAIN = np.eye(4)
Film = np.ndarray[Any, np.dtype[np.uint8]]


def smooth(seed: int, shape: tuple[int, ...] = (40, 44, 36)) -> np.ndarray:
    """Return a volume or film of blobs, of another body for each seed, in [0, 1]."""
    image = np.random.default_rng(seed).random(shape)
    for axis, side in enumerate(shape):
        if side > 1:
            image = np.sum([np.roll(image, step, axis) for step in range(-2, 3)], axis=0)
    return ((image - image.min()) / (image.max() - image.min())).astype(np.float16)


def of_film(film: Film) -> str:
    """Return the fingerprint of grey values (rows, columns) as a store would hold them."""
    return fingerprint((film.T[:, :, None] / 255).astype(np.float16), PLAIN)


def as_jpeg(quality: int) -> Callable[[Film], Film]:
    def encode(film: Film) -> Film:
        file = io.BytesIO()
        Image.fromarray(film).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file))

    return encode


def resized(side: int) -> Callable[[Film], Film]:
    return lambda film: np.asarray(Image.fromarray(film).resize((side, side), Image.Resampling.BILINEAR))


def with_gamma(gamma: float) -> Callable[[Film], Film]:
    return lambda film: np.round(255 * (film / 255.0) ** gamma).astype(np.uint8)


def stretched(film: Film) -> Film:
    low, high = np.percentile(film, [5, 95])
    return np.clip((film - low) / (high - low) * 255, 0, 255).astype(np.uint8)


def equalised(film: Film) -> Film:
    below = np.cumsum(np.bincount(film.ravel(), minlength=256))
    return (255 * below[film] / below[-1]).astype(np.uint8)


def several(film: Film) -> Film:
    return as_jpeg(50)(resized(200)(with_gamma(0.6)(stretched(film))))


CHANGES: dict[str, Callable[[Film], Film]] = {
    "jpeg 90": as_jpeg(90),
    "jpeg 50": as_jpeg(50),
    "224 pixels": resized(224),
    "512 pixels": resized(512),
    "64 pixels": resized(64),
    "gamma 0.5": with_gamma(0.5),
    "gamma 2.2": with_gamma(2.2),
    "stretched": stretched,
    "equalised": equalised,
    "several": several,
}


@pytest.fixture(scope="session")
def films(real_data: Path) -> list[Film]:
    """Return 621 chest films of as many patients."""
    paths = sorted((real_data / "nih_cxr14" / "images_256").glob("*.png"))
    assert len(paths) == 621
    return [np.asarray(Image.open(path).convert("L")) for path in paths]


class TestWhatMatches:
    @pytest.mark.parametrize("shape", [(80, 90, 1), (40, 44, 36)])
    def test_an_image_matches_itself_and_no_other(self, shape: tuple[int, ...]) -> None:
        prints = [fingerprint(smooth(seed, shape), PLAIN) for seed in range(12)]
        assert matches(prints, prints) == [(place, place) for place in range(12)]

    @given(st.permutations(range(6)), st.integers(0, 5))
    def test_matches_name_the_places_in_both_sequences(self, order: list[int], gap: int) -> None:
        prints = [fingerprint(smooth(seed, (32, 32, 1)), PLAIN) for seed in range(6)]
        shuffled = [prints[place] for place in order]
        shuffled.insert(gap, "")
        found = matches(prints, shuffled)
        assert sorted(found) == found
        assert {(first, shuffled[second]) for first, second in found} == set(enumerate(prints))

    def test_more_images_than_are_compared_at_once_are_all_compared(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sg_bench.data.fingerprint._BLOCK", 2)
        prints = [fingerprint(smooth(seed, (64, 64, 1)), PLAIN) for seed in range(7)]
        assert matches(prints, prints[::-1]) == [(place, 6 - place) for place in range(7)]

    @pytest.mark.parametrize("orientation", ["LPS", "ASR", "SPL", "PIR"])
    def test_the_orientation_of_the_axes_does_not_matter(self, orientation: str) -> None:
        study = Study(smooth(1).astype(np.float32), PLAIN)
        prints = []
        for axes in ("RAS", orientation):
            prepared = prepare(study, Preparation(orientation=axes, intensity="minmax"))
            prints.append(fingerprint(prepared.image, prepared.affine))
        assert difference(*prints) == 0

    @pytest.mark.parametrize("shape", [(80, 90, 1), (40, 44, 36)])
    def test_every_mirrored_or_turned_copy_matches_its_own_image_alone(self, shape: tuple[int, ...]) -> None:
        images = [smooth(seed, shape) for seed in range(4)]
        dimension = 2 if shape[2] == 1 else 3
        for order, mirrored in symmetries(dimension):
            turned = [np.flip(image.transpose(*order, *range(dimension, 3)), mirrored) for image in images]
            prints = [fingerprint(np.ascontiguousarray(image), PLAIN) for image in turned]
            plain = [fingerprint(image, PLAIN) for image in images]
            assert matches(plain, prints) == [(place, place) for place in range(4)]
            assert max(difference(*pair, turned=True) for pair in zip(plain, prints, strict=True)) < 0.01

    def test_a_crop_of_a_few_per_cent_matches_and_a_larger_one_does_not(self) -> None:
        image = smooth(1, (100, 100, 1))
        plain = fingerprint(image, PLAIN)
        crops = [fingerprint(np.ascontiguousarray(image[lost:, lost:]), PLAIN) for lost in (1, 20)]
        assert matches([plain], crops) == [(0, 0)]

    def test_a_film_never_matches_a_volume(self) -> None:
        film, volume = fingerprint(smooth(1, (64, 64, 1)), PLAIN), fingerprint(smooth(1), PLAIN)
        assert matches([film, volume], [volume, film]) == [(0, 1), (1, 0)]
        with pytest.raises(DataError, match="not two fingerprints of one kind"):
            difference(film, volume)


class TestAreaMeans:
    @pytest.mark.parametrize("shape", [(40, 44, 36), (64, 48, 1)])
    def test_however_it_is_turned_it_has_one_fingerprint(self, shape: tuple[int, int, int]) -> None:
        first = prepare(Study(smooth(3, shape).astype(np.float32), PLAIN), Preparation(clip=(0, 1)))
        for code in ("LPI", "SAL", "PIR"):
            other = prepare(
                Study(smooth(3, shape).astype(np.float32), PLAIN), Preparation(clip=(0, 1), orientation=code)
            )
            assert difference(fingerprint(first.image, first.affine), fingerprint(other.image, other.affine)) == 0

    def test_cells_that_end_inside_voxels_share_them(self) -> None:
        image = np.array([0, 1, 0.5], np.float16).reshape(3, 1, 1) * np.ones((3, 2, 4), np.float16)
        cells = _averaged(image, 2)
        assert cells.shape == (2, 2, 2)
        np.testing.assert_allclose(cells, np.broadcast_to(np.reshape([1 / 3, 2 / 3], (2, 1, 1)), (2, 2, 2)))


class TestWhatHasNone:
    @pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
    @pytest.mark.parametrize("shape", [(64, 64, 1), (40, 40, 40)])
    def test_a_constant_image_has_no_fingerprint(self, shape: tuple[int, ...], value: float) -> None:
        assert fingerprint(np.full(shape, value, np.float16), PLAIN) == ""

    def test_an_image_that_changes_along_one_axis_alone_has_none(self) -> None:
        ramp = np.broadcast_to(np.linspace(0, 1, 40, dtype=np.float16)[:, None, None], (40, 40, 40))
        assert fingerprint(ramp, PLAIN) == ""

    def test_a_tiny_image_has_none(self) -> None:
        side = SMALLEST["film"]
        assert fingerprint(smooth(0, (side - 1, 80, 1)), PLAIN) == ""
        assert fingerprint(smooth(0, (side, 80, 1)), PLAIN) != ""
        assert fingerprint(smooth(0, (40, 40, SMALLEST["volume"] - 1)), PLAIN) == ""

    def test_what_has_none_matches_nothing_not_even_itself(self) -> None:
        assert matches(["", ""], [""]) == []

    def test_images_with_one_bright_spot_are_not_taken_for_one(self) -> None:
        prints = []
        for place in (20, 60):
            film = np.zeros((80, 80, 1), np.float16)
            film[place : place + 3, place : place + 3] = 1
            prints.append(fingerprint(film, PLAIN))
        assert matches(prints, prints) == []

    @pytest.mark.parametrize("text", ["f2:AAAA", "f1:AAAA", "f1:???", "v1:", "f"])
    def test_a_fingerprint_of_another_version_is_refused(self, text: str) -> None:
        with pytest.raises(DataError, match=r"no fingerprint of version 1.*Prepare the data again"):
            matches([text], [text])


class TestRealFilms:
    def test_no_two_patients_match(self, films: list[Film]) -> None:
        prints = [of_film(film) for film in films]
        assert matches(prints, prints) == [(place, place) for place in range(621)]

    def test_a_changed_film_is_found_mirrored_turned_and_swapped(self, films: list[Film]) -> None:
        prints = [of_film(film) for film in films[::9]]
        for turn in (np.fliplr, np.flipud, np.rot90, np.transpose):
            changed = [of_film(np.ascontiguousarray(turn(several(film)))) for film in films[::9]]
            assert matches(prints, changed) == [(place, place) for place in range(len(prints))]

    @pytest.mark.parametrize("change", CHANGES)
    def test_a_changed_film_matches_its_own_and_no_other(self, films: list[Film], change: str) -> None:
        prints = [of_film(film) for film in films[::9]]
        changed = [of_film(CHANGES[change](film)) for film in films[::9]]
        assert matches(prints, changed) == [(place, place) for place in range(len(prints))]
        assert max(map(difference, prints, changed)) < THRESHOLD["film"] / 2

    def test_an_original_matches_its_small_copy(self, films: list[Film], real_data: Path) -> None:
        folder = real_data / "nih_cxr14"
        names = [path.name for path in sorted((folder / "images").glob("*.png"))]
        originals = [of_film(np.asarray(Image.open(folder / "images" / name).convert("L"))) for name in names]
        small = [of_film(np.asarray(Image.open(folder / "images_256" / name).convert("L"))) for name in names]
        assert len(names) == 8
        assert matches(originals, small) == [(place, place) for place in range(8)]


class TestRealVolumes:
    PREPARATIONS = {
        "native": Preparation(),
        "1.5 mm": Preparation(spacing=(1.5, 1.5, 1.5)),
        "6 mm": Preparation(spacing=(6, 6, 6)),
        "128 x 128": Preparation(shape=(128, 128, None)),
        "lung window": Preparation(clip=(-1350, 150)),
        "soft tissue, 2 mm": Preparation(clip=(-160, 240), spacing=(2, 2, 2)),
        "percentiles": Preparation(intensity="percentiles", clip=(0.5, 99.5)),
        "least to greatest, LPS": Preparation(intensity="minmax", orientation="LPS"),
    }

    @staticmethod
    def prints(paths: list[Path], preparation: Preparation) -> list[str]:
        prepared = [prepare(Study(*read_volume(path)), preparation) for path in paths]
        return [fingerprint(each.image, each.affine) for each in prepared]

    def test_a_chest_ct_is_found_again_in_every_preparation(self, real_data: Path) -> None:
        paths = sorted((real_data / "chest_ct_3mm").glob("*.nii.gz"))
        plain = self.prints(paths, Preparation())
        for name, preparation in self.PREPARATIONS.items():
            found = self.prints(paths, preparation)
            assert matches(plain, found) == [(0, 0), (1, 1), (2, 2)], name

    def test_sixty_hippocampi_are_distinguished_at_two_resolutions(self, real_data: Path) -> None:
        paths = sorted((real_data / "msd_hippocampus" / "imagesTr").glob("*.nii.gz"))
        plain = self.prints(paths, Preparation(intensity="minmax"))
        coarse = self.prints(paths, Preparation(intensity="percentiles", clip=(1, 99), spacing=(1.5, 1.5, 1.5)))
        assert len(paths) == 60
        assert matches(plain, coarse) == [(place, place) for place in range(60)]
