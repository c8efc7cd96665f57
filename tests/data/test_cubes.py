from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sg_bench.config import CropRule
from sg_bench.data.cubes import ArrayCubes, CropCubes, pattern_cubes, random_crops, resized, whole_volumes
from sg_bench.data.sampling import CropStart
from sg_bench.data.store import Store
from sg_bench.errors import DataError

MakeStore = Callable[..., Store]
RULE = CropRule(cube=(8, 8, 4), border=(1, 1, 1), air=None)


@pytest.fixture
def store(tmp_path: Path, make_store: MakeStore) -> Store:
    draw = np.random.default_rng(0)
    return make_store(tmp_path / "store", {f"p{n}": {"image": draw.random((16 + n, 14, 12))} for n in range(4)})


class TestCropCubes:
    def test_cubes_are_cut_at_their_starts_in_the_requested_order(self, store: Store) -> None:
        places: list[tuple[str, CropStart]] = [("p1", (2, 3, 4)), ("p0", (-4, 0, 0))]
        cubes = CropCubes(store, places, (8, 8, 4))
        images = cubes.images([1, 0])
        assert (images.shape, images.dtype.name, len(cubes)) == ((2, 8, 8, 4), "float32", 2)
        np.testing.assert_array_equal(images[1], store.image("p1")[2:10, 3:11, 4:8])
        np.testing.assert_array_equal(images[0, 4:], store.image("p0")[:4, :8, :4])
        assert not images[0, :4].any()
        assert cubes.labels([0, 1]).tolist() == [0, 0]

    def test_every_volume_gives_its_share_from_its_own_random_numbers(self, store: Store) -> None:
        def drawn(ids: list[str]) -> list[tuple[str, CropStart]]:
            rngs = {id_: np.random.default_rng([7, number]) for number, id_ in enumerate(store.ids)}
            return list(random_crops(store, ids, RULE, 3, rngs).places)

        places = drawn(["p0", "p2"])
        assert [id_ for id_, _ in places] == ["p0"] * 3 + ["p2"] * 3
        assert drawn(["p2"]) == places[3:]

    def test_volumes_that_are_all_too_small_are_an_error(self, store: Store) -> None:
        rngs = {id_: np.random.default_rng(0) for id_ in store.ids}
        with pytest.raises(DataError, match=r"no volume of 4 .*border"):
            random_crops(store, store.ids, CropRule(), 3, rngs)

    def test_no_volumes_give_no_cubes(self, store: Store) -> None:
        assert len(random_crops(store, [], RULE, 3, {})) == 0


class TestResized:
    def test_shrinking_takes_means_over_blocks(self) -> None:
        volume = np.random.default_rng(0).random((8, 6, 4)).astype(np.float16)
        wanted = volume.astype(np.float32).reshape(4, 2, 3, 2, 2, 2).mean(axis=(1, 3, 5))
        np.testing.assert_allclose(resized(volume, (4, 3, 2)), wanted, rtol=1e-6)

    def test_growing_is_linear_over_the_same_field_of_view(self) -> None:
        ramp = np.broadcast_to(np.arange(8, dtype=np.float32)[:, None, None], (8, 4, 4))
        grown = resized(ramp, (16, 8, 4))
        np.testing.assert_allclose(grown[1:-1, 0, 0], np.arange(0.25, 7, 0.5))
        assert (grown[0, 0, 0], grown[-1, 0, 0]) == (0, 7)

    @pytest.mark.parametrize("side", [50, 64, 79])
    def test_a_pattern_of_any_side_becomes_the_papers_cube_within_its_range(self, side: int) -> None:
        volume = np.random.default_rng(side).random((side, side, 32)).astype(np.float16)
        out = resized(volume, (64, 64, 32))
        assert (out.shape, out.dtype.name) == ((64, 64, 32), "float32")
        assert volume.min() <= out.min() <= out.max() <= volume.max()
        assert out.mean() == pytest.approx(float(volume.mean(dtype=np.float64)), abs=1e-3)

    def test_complete_volumes_are_resized_to_one_shape(self, store: Store) -> None:
        cubes = whole_volumes(store, ["p3", "p0"], (8, 8, 8))
        assert cubes.images([0, 1]).shape == (2, 8, 8, 8)
        np.testing.assert_allclose(cubes.images([1])[0], resized(store.image("p0"), (8, 8, 8)), atol=1e-3)
        assert len(whole_volumes(store, [], (8, 8, 8))) == 0


class TestPatternCubes:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        np.save(tmp_path / "cubes.npy", np.arange(5 * 8, dtype=np.float16).reshape(5, 2, 2, 2))
        windows = [{"label": n % 2, "validation": n >= 3} for n in range(5)]
        (tmp_path / "index.json").write_text(json.dumps({"windows": windows}))
        return tmp_path

    def test_training_and_validation_share_nothing_and_keep_their_labels(self, folder: Path) -> None:
        train, validation = pattern_cubes(folder, validation=False), pattern_cubes(folder, validation=True)
        assert (len(train), len(validation)) == (3, 2)
        assert (train.labels([2, 0]).tolist(), validation.labels([0, 1]).tolist()) == ([0, 0], [1, 0])
        assert train.images([1]).ravel()[0] == 8
        assert validation.images([0, 1])[:, 0, 0, 0].tolist() == [24, 32]
        assert train.images([0]).dtype == np.float32

    def test_patterns_without_validation_give_none(self, folder: Path) -> None:
        windows = [{"label": 0, "validation": False}] * 5
        (folder / "index.json").write_text(json.dumps({"windows": windows}))
        assert len(pattern_cubes(folder, validation=True)) == 0

    @pytest.mark.parametrize("harm", ["no index", "no json", "no windows", "no array", "empty", "cut off", "too few"])
    def test_a_damaged_folder_is_an_error_that_names_it(self, folder: Path, harm: str) -> None:
        cubes, index = folder / "cubes.npy", folder / "index.json"
        harms: dict[str, Callable[[], object]] = {
            "no index": index.unlink,
            "no json": lambda: index.write_text("{"),
            "no windows": lambda: index.write_text("{}"),
            "no array": cubes.unlink,
            "empty": lambda: cubes.write_bytes(b""),
            "cut off": lambda: cubes.write_bytes(cubes.read_bytes()[:-3]),
            "too few": lambda: np.save(cubes, np.zeros((4, 2, 2, 2), np.float16)),
        }
        harms[harm]()
        with pytest.raises(DataError, match=r"not a finished pattern folder.*computes it again") as caught:
            pattern_cubes(folder, validation=False)
        assert str(folder) in str(caught.value)


def test_array_cubes_without_labels_are_labelled_zero() -> None:
    assert ArrayCubes(np.zeros((3, 2, 2, 2))).labels([2, 1]).tolist() == [0, 0]
