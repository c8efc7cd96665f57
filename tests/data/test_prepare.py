from __future__ import annotations

import csv
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from sg_bench.config import Preparation
from sg_bench.data.prepare import PreparedCase, prepare, scaled
from sg_bench.data.sources.base import Candidate, Study, film_affine
from sg_bench.data.sources.folder import FolderConfig, FolderSource
from sg_bench.errors import DataError, UsageError

SHAPE = (5, 6, 7)
RAS = np.array([[1.5, 0, 0, -20], [0, 2, 0, 15], [0, 0, 2.5, 40], [0, 0, 0, 1]])
CORNER = (0, 5, 6)
"""Left, anterior, superior."""
MEGABYTE = 1 << 20


def marked() -> np.ndarray:
    """Return an image of different voxels with the marked corner as the brightest."""
    image = np.random.default_rng(0).permutation(np.prod(SHAPE)).reshape(SHAPE).astype(np.float32) - 500
    image[CORNER] = 900
    return image


def brightest(image: np.ndarray) -> tuple[int, ...]:
    return tuple(int(index) for index in np.unravel_index(image.argmax(), image.shape))


def stored_as(code: str) -> nib.Nifti1Image:
    ornt = nib.orientations
    turn = ornt.ornt_transform(ornt.axcodes2ornt("RAS"), ornt.axcodes2ornt(code))
    return nib.Nifti1Image(marked(), RAS).as_reoriented(turn)


def study_of(image: np.ndarray, affine: np.ndarray, **more: object) -> Study:
    return Study(image=image, affine=affine, **more)  # type: ignore[arg-type]


def world(affine: np.ndarray, voxel: tuple[float, ...]) -> tuple[float, float, float]:
    x, y, z = (affine @ [*voxel, 1])[:3].tolist()
    return x, y, z


class TestOrientation:
    @pytest.mark.parametrize("code", ["LPS", "RAS", "PIR", "SAL"])
    def test_however_it_was_stored_it_becomes_the_same_array(self, code: str, tmp_path: Path) -> None:
        (tmp_path / "images").mkdir()
        nib.save(stored_as(code), tmp_path / "images/a.nii.gz")
        folder = FolderSource(FolderConfig(), tmp_path)
        found = prepare(folder.load(folder.scan()[0]), Preparation())
        assert brightest(found.image) == CORNER
        np.testing.assert_array_equal(found.image, prepare(study_of(marked(), RAS), Preparation()).image)
        np.testing.assert_allclose(found.affine, RAS, atol=1e-5)
        assert found.spacing == pytest.approx((1.5, 2, 2.5))

    @pytest.mark.parametrize("matrix", [(1, 0, 0, 0, 1, 0, 0, 0, 1), (-1, 0, 0, 0, -1, 0, 0, 0, 1)])
    def test_a_metaimage_becomes_the_same_array(self, matrix: tuple[int, ...], tmp_path: Path) -> None:
        """The second is the TransformMatrix of some LUNA16 scans, which mirrors them in a reader that ignores it."""
        lps = marked()[::-1, ::-1] if matrix[0] == 1 else marked()
        image = sitk.GetImageFromArray(np.ascontiguousarray(lps.T))
        image.SetSpacing((1.5, 2, 2.5))
        image.SetDirection(matrix)
        first = world(RAS, (4, 5, 0) if matrix[0] == 1 else (0, 0, 0))
        image.SetOrigin((-first[0], -first[1], first[2]))
        (tmp_path / "images").mkdir()
        sitk.WriteImage(image, tmp_path / "images/a.mhd")
        folder = FolderSource(FolderConfig(), tmp_path)
        found = prepare(folder.load(folder.scan()[0]), Preparation())
        np.testing.assert_array_equal(found.image, prepare(study_of(marked(), RAS), Preparation()).image)
        np.testing.assert_allclose(found.affine, RAS, atol=1e-5)

    def test_another_orientation_may_be_asked_for(self) -> None:
        found = prepare(study_of(marked(), RAS), Preparation(orientation="PIR"))
        assert found.image.shape == (6, 7, 5)
        assert brightest(found.image) == (0, 0, 0)
        assert found.spacing == pytest.approx((2, 2.5, 1.5))
        assert world(found.affine, (0, 0, 0)) == pytest.approx(world(RAS, CORNER))

    def test_an_oblique_image_keeps_its_own_axes(self) -> None:
        tilted = RAS.copy()
        tilted[:3, :3] = [[0.9, -0.4, 0], [0.4, 0.9, 0], [0, 0, 1]] @ RAS[:3, :3]
        found = prepare(study_of(marked(), tilted), Preparation())
        np.testing.assert_allclose(found.affine, tilted)


class TestCandidates:
    @pytest.mark.parametrize("code", ["LPS", "RAS", "PIR"])
    @pytest.mark.parametrize("spacing", [None, (1.0, 1.0, 1.0)])
    def test_they_stay_where_they_are_in_the_world(self, code: str, spacing: tuple[float, float, float] | None) -> None:
        image = stored_as(code)
        place = (-14.3, 21.7, 48.9)
        candidates = [Candidate(place, positive=True, diameter=4.5), Candidate((0, 0, 0), positive=False)]
        study = study_of(np.asarray(image.dataobj), image.affine, candidates=candidates)
        found = prepare(study, Preparation(spacing=spacing))
        assert world(found.affine, found.candidates[0].position) == pytest.approx(place)
        assert found.candidates[0][1:] == (True, 4.5, ())
        assert found.candidates[1][1:] == (False, None, ())

    def test_one_on_the_marked_corner_lands_on_it(self) -> None:
        image = stored_as("LPS")
        study = study_of(np.asarray(image.dataobj), image.affine, candidates=[Candidate(world(RAS, CORNER), True)])
        found = prepare(study, Preparation(orientation="SAL"))
        x, y, z = (round(index) for index in found.candidates[0].position)
        assert found.image[x, y, z] == found.image.max()


class TestSpacing:
    affine = np.diag([-0.7, -0.7, 2.5, 1.0])

    def ramp(self, affine: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
        """Return an image that is linear in world coordinates, as its interpolation must be."""
        at = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
        return (at @ [3.0, -5, 7]).astype(np.float32)

    @pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 2.0, 3.1)])
    def test_anisotropic_voxels_are_interpolated_linearly(self, spacing: tuple[float, float, float]) -> None:
        study = study_of(self.ramp(self.affine, (30, 40, 20)), self.affine)
        found = prepare(study, Preparation(spacing=spacing))
        assert found.spacing == pytest.approx(spacing)
        extent = np.array([21, 28, 50])
        np.testing.assert_allclose(found.image.shape * np.array(spacing), extent, atol=max(spacing) / 2)
        wanted = (self.ramp(found.affine, found.image.shape) + 1000) / 2000
        inner = (slice(2, -2),) * 3
        np.testing.assert_allclose(found.image[inner], wanted[inner], atol=1e-3)

    @pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.3, 0.3, 0.3), (5.0, 5.0, 5.0), (99.0, 1.0, 99.0)])
    def test_no_voxel_is_invented_beyond_the_edge(self, spacing: tuple[float, float, float]) -> None:
        study = study_of(np.full((11, 12, 13), 500, np.float32), self.affine)
        found = prepare(study, Preparation(spacing=spacing))
        np.testing.assert_allclose(found.image.astype(np.float32), 0.75)

    def test_the_wanted_spacing_leaves_the_voxels_alone(self) -> None:
        study = study_of(marked(), RAS)
        same = prepare(study, Preparation(spacing=(1.5, 2, 2.50001)))
        np.testing.assert_array_equal(same.image, prepare(study, Preparation()).image)

    def test_labels_stay_whole_numbers_and_on_their_image(self) -> None:
        label = np.zeros((30, 40, 20), np.uint8)
        label[10:20, 10:30, 5:12], label[2:5, 15:20, 7:9] = 200, 1
        image = label * np.float32(4)
        found = prepare(study_of(image, self.affine, label=label), Preparation(spacing=(1, 1, 1), clip=(0, 1000)))
        assert found.label is not None
        assert found.label.dtype == np.uint8
        assert found.label.shape == found.image.shape
        assert set(np.unique(found.label)) == {0, 1, 200}
        bright, inside = found.image > 0.4, found.label == 200
        assert 2 * (bright & inside).sum() / (bright.sum() + inside.sum()) > 0.95

    def test_one_slice_is_enough(self) -> None:
        found = prepare(study_of(marked()[:, :, :1], RAS), Preparation(spacing=(3, 3, 2.5)))
        assert found.image.shape == (2, 4, 1)


class TestShape:
    def test_the_field_of_view_stays(self) -> None:
        found = prepare(study_of(marked(), RAS), Preparation(shape=(2, 12, None)))
        assert found.image.shape == (2, 12, 7)
        assert found.spacing == pytest.approx((5 * 1.5 / 2, 6 * 2 / 12, 2.5))
        first = np.linalg.inv(RAS) @ found.affine @ [-0.5, -0.5, -0.5, 1]
        assert first[:3] == pytest.approx((-0.5, -0.5, -0.5))

    def test_what_shrinks_is_the_mean_of_what_it_covers(self) -> None:
        image = marked()
        found = prepare(study_of(image, RAS), Preparation(shape=(5, 3, 7), clip=(-1000, 1000)))
        wanted = scaled(image, Preparation()).reshape(5, 3, 2, 7).mean(axis=2)
        np.testing.assert_allclose(found.image, wanted, atol=1e-3)

    def test_a_voxel_that_is_covered_in_part_counts_in_part(self) -> None:
        image = np.array([0, 1000, 0], np.float32).reshape(3, 1, 1)
        found = prepare(study_of(image, np.eye(4)), Preparation(shape=(2, None, None), clip=(0, 1000)))
        assert found.image.ravel().tolist() == pytest.approx([1 / 3, 1 / 3], abs=1e-3)

    def test_what_grows_is_linear_between_the_old_centres(self) -> None:
        image = np.array([0, 1000], np.float32).reshape(2, 1, 1)
        found = prepare(study_of(image, np.eye(4)), Preparation(shape=(4, None, None), clip=(0, 1000)))
        assert found.image.ravel().tolist() == [0, 0.25, 0.75, 1]

    @pytest.mark.parametrize("shape", [(7, 13, 11), (40, 9, 3), (64, 64, 64)])
    def test_the_mean_stays_where_all_axes_shrink_and_nothing_is_invented_where_they_grow(
        self, shape: tuple[int, int, int]
    ) -> None:
        draw = np.random.default_rng(0).uniform(-900, 900, (44, 26, 33)).astype(np.float32)
        found = prepare(study_of(draw, RAS), Preparation(shape=shape)).image
        whole = scaled(draw, Preparation())
        assert found.shape == shape
        assert whole.min() - 1e-3 <= found.min() <= found.max() <= whole.max() + 1e-3
        if all(new < old for new, old in zip(shape, draw.shape, strict=True)):
            assert found.mean(dtype=np.float64) == pytest.approx(whole.mean(dtype=np.float64), abs=1e-4)

    def test_labels_take_the_nearest_voxel(self) -> None:
        label = np.array([1, 2, 3, 4, 5, 6], np.uint8).reshape(6, 1, 1)
        study = study_of(label.astype(np.float32), np.eye(4), label=label)
        for count, wanted in ((2, [2, 5]), (3, [2, 4, 6]), (12, [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6])):
            found = prepare(study, Preparation(shape=(count, None, None))).label
            assert found is not None
            assert found.dtype == np.uint8
            assert found.ravel().tolist() == wanted

    @pytest.mark.parametrize("code", ["LPS", "PIR", "SAL"])
    def test_it_counts_along_the_oriented_axes(self, code: str) -> None:
        image = stored_as(code)
        study = study_of(np.asarray(image.dataobj), image.affine, candidates=[Candidate((-14.3, 21.7, 48.9), True)])
        for preparation in (Preparation(shape=(3, None, 9)), Preparation(spacing=(3, 1, 2))):
            found, wanted = prepare(study, preparation), prepare(study_of(marked(), RAS), preparation)
            np.testing.assert_allclose(found.image, wanted.image, atol=1e-3)
            np.testing.assert_allclose(found.affine, wanted.affine, atol=1e-5)
            assert world(found.affine, found.candidates[0].position) == pytest.approx((-14.3, 21.7, 48.9))


class TestFilms:
    film = np.random.default_rng(0).uniform(0, 255, (60, 80, 1)).astype(np.float32)
    mask = (film > 200).astype(np.uint8)

    def test_a_film_stays_as_it_is(self) -> None:
        found = prepare(study_of(self.film, film_affine(), label=self.mask), Preparation(clip=(0, 255)))
        np.testing.assert_array_equal(found.image, (self.film / 255).astype(np.float16))
        np.testing.assert_array_equal(found.label, self.mask)
        np.testing.assert_array_equal(found.affine, film_affine())

    @pytest.mark.parametrize("depth", [None, 1, 32])
    def test_a_film_is_shrunk_in_its_plane_alone(self, depth: int | None) -> None:
        settings = Preparation(shape=(30, 20, depth), clip=(0, 255))
        found = prepare(study_of(self.film, film_affine((0.15, 0.15)), label=self.mask), settings)
        wanted = self.film.reshape(30, 2, 20, 4).mean(axis=(1, 3)) / 255
        np.testing.assert_allclose(found.image[:, :, 0], wanted, atol=1e-3)
        assert found.image.shape == (30, 20, 1)
        assert found.label is not None
        assert found.label.shape == (30, 20, 1)
        assert found.spacing == pytest.approx((0.3, 0.6, 1))

    def test_a_spacing_leaves_its_depth_alone(self) -> None:
        found = prepare(study_of(self.film, film_affine()), Preparation(spacing=(2, 2, 0.5), clip=(0, 255)))
        assert (found.image.shape, found.spacing) == ((30, 40, 1), (2, 2, 1))


class TestMemory:
    @pytest.mark.parametrize(("settings", "share"), [({}, 0.5), ({"spacing": (1, 1, 1)}, 0.16)])
    def test_beyond_the_study_only_the_prepared_image_in_half_precision_is_held(
        self, settings: dict[str, object], share: float
    ) -> None:
        image = np.full((256, 256, 400), 40, np.float32, order="F")
        study = study_of(image, np.diag([-0.7, -0.7, 0.625, 1]))
        prepare(study_of(image[:8, :8, :8], study.affine), Preparation())  # imports what takes memory for itself
        tracemalloc.start()
        try:
            prepare(study, Preparation.model_validate(settings))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        working_memory = 2 * MEGABYTE
        assert peak < share * image.nbytes + working_memory


class TestIntensity:
    def test_hounsfield_units_are_clipped_then_scaled(self) -> None:
        image = np.array([-3024, -1000, 0, 500, 1000, 3071], np.float32).reshape(6, 1, 1)
        found = prepare(study_of(image, np.eye(4)), Preparation())
        assert found.image.dtype == np.float16
        assert found.image.ravel().tolist() == [0, 0, 0.5, 0.75, 1, 1]
        assert image.min() == -3024, "the study is not changed"

    def test_padding_is_clipped_before_it_is_interpolated(self) -> None:
        image = np.full((8, 8, 8), -1000, np.float32)
        image[:4], image[4:] = -3024, 1000
        found = prepare(study_of(image, np.eye(4)), Preparation(spacing=(0.5, 1, 1)))
        assert found.image[7:9, 4, 4].tolist() == pytest.approx([0.25, 0.75])

    def test_minmax_spans_0_to_1(self) -> None:
        image = marked()
        out = scaled(image, Preparation(intensity="minmax"))
        assert (out.min(), out.max()) == (0, 1)
        np.testing.assert_allclose(out, (image - image.min()) / (image.max() - image.min()), atol=1e-6)

    def test_percentiles_cut_off_the_extremes(self) -> None:
        image = np.arange(1000, dtype=np.float32).reshape(10, 10, 10)
        out = scaled(image, Preparation(intensity="percentiles", clip=(10, 90)))
        assert (out == 0).mean() == pytest.approx(0.1, abs=0.002)
        assert (out == 1).mean() == pytest.approx(0.1, abs=0.002)

    @pytest.mark.parametrize("settings", [{"intensity": "minmax"}, {"intensity": "percentiles", "clip": (1, 99)}])
    def test_a_constant_image_is_a_data_error_that_names_it(self, settings: dict[str, object]) -> None:
        study = study_of(np.full((3, 3, 3), 7, np.float32), np.eye(4))
        with pytest.raises(DataError, match=r"^scans/a\.nii: .* cannot scale it, .*single value 7\. ") as error:
            prepare(study, Preparation.model_validate(settings), name="scans/a.nii")
        assert "\n" not in str(error.value)

    def test_clip_must_hold_percentiles(self) -> None:
        with pytest.raises(UsageError, match="two percentiles"):
            scaled(marked(), Preparation(intensity="percentiles"))


class TestRealData:
    def prepared(self, root: Path, **settings: object) -> list[tuple[Study, PreparedCase]]:
        folder = FolderSource(FolderConfig(images="*.nii.gz"), root)
        studies = [folder.load(case) for case in folder.scan()]
        return [(study, prepare(study, Preparation.model_validate(settings))) for study in studies]

    def test_chest_cts_face_one_way_with_the_spine_behind(self, real_data: Path) -> None:
        for study, found in self.prepared(real_data / "chest_ct_3mm"):
            np.testing.assert_allclose(np.diag(found.affine), [3, 3, 3, 1])
            np.testing.assert_allclose(found.image, scaled(study.image, Preparation())[::-1, ::-1], atol=1e-3)
            assert (found.image.min(), found.image.max()) == (0, 1)
            body, bone = np.argwhere(found.image > 0.45), found.image > 0.75
            x, y, _ = body.mean(axis=0).round().astype(int).tolist()
            midline = bone[x - 6 : x + 7]
            assert midline[:, :y].sum() > 2 * midline[:, y:].sum(), "the spine outweighs the sternum"

    def test_lung_is_dark_and_muscle_in_the_middle(self, real_data: Path) -> None:
        for _, found in self.prepared(real_data / "chest_ct_3mm", spacing=(4, 4, 4)):
            x, y, _ = (np.array(found.image.shape) // 2).tolist()
            core = found.image[x - 40 : x + 40, y - 20 : y + 20]
            assert ((core > 0.02) & (core < 0.25)).mean() > 0.15, "lung, -950 to -500 HU"
            assert ((core > 0.48) & (core < 0.56)).mean() > 0.15, "soft tissue, -40 to 120 HU"

    def test_luna_annotations_land_on_soft_tissue(self, real_data: Path) -> None:
        with (real_data / "luna16/CSVFILES/annotations.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        folder = FolderSource(FolderConfig(images="subset*/*.mhd"), real_data / "luna16")
        for case, nodules in zip(folder.scan(), (3, 1), strict=True):
            mine = [row for row in rows if row["seriesuid"] == case.id]
            assert len(mine) == nodules
            lps = np.array([[float(row[f"coord{axis}"]) for axis in "XYZ"] for row in mine])
            study = folder.load(case)
            study.candidates.extend(Candidate((-x, -y, z), positive=True) for x, y, z in lps.tolist())
            found = prepare(study, Preparation())
            for candidate in found.candidates:
                x, y, z = (round(index) for index in candidate.position)
                assert np.median(found.image[x - 2 : x + 3, y - 2 : y + 3, z]) * 2000 - 1000 > -150


class TestChannels:
    def test_each_channel_is_scaled_by_itself_on_one_grid(self) -> None:
        several = np.stack([marked(), marked()[::-1] * 7 - 3])
        preparation = Preparation(intensity="minmax", spacing=(2.0, 2.0, 2.0), orientation="PIR")
        found = prepare(study_of(several, RAS), preparation)
        for index, channel in enumerate(several):
            alone = prepare(study_of(channel, RAS), preparation)
            np.testing.assert_array_equal(found.image[index], alone.image)
            np.testing.assert_array_equal(found.affine, alone.affine)

    def test_a_constant_channel_is_named(self) -> None:
        several = np.stack([marked(), np.full(SHAPE, 40, np.float32)])
        with pytest.raises(DataError, match="p1, channel 1: minmax cannot scale it"):
            prepare(study_of(several, RAS), Preparation(intensity="minmax"), name="p1")


def test_an_image_in_another_unit_than_its_window_is_refused() -> None:
    deep = (np.arange(48 * 50, dtype=np.float32) * 27).reshape(48, 50, 1)
    with pytest.raises(DataError, match=r"a film: 100% of its voxels are above 255, the end .* set `clip`"):
        prepare(study_of(deep, film_affine()), Preparation(clip=(0, 255)), name="a film")
    assert prepare(study_of(deep, film_affine()), Preparation(intensity="minmax")).image.max() == 1
