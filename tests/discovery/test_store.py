"""The whole of self-discovery on thirty tiny CTs with a landmark in one place (protocol part F)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sg_bench.config import CropRule
from sg_bench.data.cubes import pattern_cubes, resized
from sg_bench.discovery.patterns import Reference, Window, cut_window, draw_references, draw_windows, nearest
from sg_bench.discovery.settings import DiscoverySettings
from sg_bench.discovery.store import write_patterns
from sg_bench.workspace import read_json

CUBE = (16, 16, 8)
SETTINGS = DiscoverySettings(
    classes=3,
    neighbours=6,
    validation_neighbours=4,
    crops=CropRule(cube=CUBE, border=(4, 4, 2)),
    min_distance=5,
    sides=(12, 20),
    jitter=(-2, 2),
)
LANDMARK = (20, 22, 13)
SHAPE = (44, 44, 28)
NOISE = 0.02


def tiny_ct(seed: int) -> np.ndarray:
    """Return air with a noise of its own, and a bright landmark of 4x4x4 voxels where every patient has it."""
    volume = np.random.default_rng(seed).random(SHAPE) * NOISE
    x, y, z = LANDMARK
    volume[x - 2 : x + 2, y - 2 : y + 2, z - 2 : z + 2] += 0.9
    return volume.astype(np.float16)


class Discovered:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.volumes = {f"p{number:02}": tiny_ct(number) for number in range(30)}
        names = list(self.volumes)
        self.train, self.validation = names[:22], names[22:]
        latents = {id_: np.array([index % 7, index], np.float32) for index, id_ in enumerate(names)}
        rng = np.random.default_rng(3)
        shapes = dict.fromkeys(names, SHAPE)
        parts = (self.train, self.validation)
        self.references = draw_references(SETTINGS, parts, shapes, self.volumes.__getitem__, rng)

        def ranked(reference: Reference, held_out: bool) -> list[str]:
            return nearest(latents, reference.id, self.validation if held_out else self.train)

        self.windows = draw_windows(SETTINGS, self.references, ranked, shapes, rng)
        write_patterns(folder, self.references, self.windows, self.volumes.__getitem__, CUBE)
        self.cubes = np.load(folder / "cubes.npy")

    def native(self, label: int) -> list[int]:
        rows = enumerate(self.windows)
        return [row for row, w in rows if w.label == label and w.start == self.references[label].start]


@pytest.fixture(scope="module")
def discovered(tmp_path_factory: pytest.TempPathFactory) -> Discovered:
    return Discovered(tmp_path_factory.mktemp("patterns"))


def test_three_classes_are_saved_completely(discovered: Discovered) -> None:
    train, validation = (pattern_cubes(discovered.folder, validation=part) for part in (False, True))
    assert np.bincount(train.labels(range(len(train)))).tolist() == [6 * 3] * 3
    assert np.bincount(validation.labels(range(len(validation)))).tolist() == [4] * 3
    assert discovered.cubes.shape == (3 * 6 * 3 + 3 * 4, *CUBE)


def test_neighbours_show_the_landmark_in_the_same_place(discovered: Discovered) -> None:
    held = 0
    for label, reference in enumerate(discovered.references):
        place = np.subtract(LANDMARK, reference.start)
        rows = [row for row in discovered.native(label) if discovered.windows[row].size == CUBE]
        assert len(rows) >= 6 + 4
        if (place >= 2).all() and (place + 2 <= CUBE).all():
            held += 1
            x, y, z = place
            marked = np.zeros(CUBE, bool)
            marked[x - 2 : x + 2, y - 2 : y + 2, z - 2 : z + 2] = True
            for row in rows:
                np.testing.assert_array_equal(discovered.cubes[row] > 0.5, marked)
        spread = discovered.cubes[rows].astype(np.float32).std(axis=0)
        assert spread.max() < NOISE
    assert held


def test_patients_of_one_class_are_different_patients(discovered: Discovered) -> None:
    for label in range(3):
        train = {w.id for w in discovered.windows if w.label == label and not w.validation}
        validation = {w.id for w in discovered.windows if w.label == label and w.validation}
        assert (len(train), len(validation)) == (6, 4)
        assert train <= set(discovered.train)
        assert validation <= set(discovered.validation)


def test_coordinates_keep_their_distance_and_references_are_used_once(discovered: Discovered) -> None:
    starts = np.array([reference.start for reference in discovered.references], float)
    distances = np.linalg.norm(starts[:, None] - starts[None], axis=2)[~np.eye(3, dtype=bool)]
    assert distances.min() >= SETTINGS.min_distance
    assert len({reference.id for reference in discovered.references}) == 3


def test_no_cube_holds_nan_or_leaves_its_range(discovered: Discovered) -> None:
    assert np.isfinite(discovered.cubes).all()
    assert discovered.cubes.dtype == np.float16
    assert 0 <= discovered.cubes.min() <= discovered.cubes.max() <= 1


def test_every_row_is_its_window_down_to_the_last_of_each_class(discovered: Discovered) -> None:
    for row, window in enumerate(discovered.windows):
        wanted = resized(cut_window(discovered.volumes[window.id], window), CUBE).astype(np.float16)
        np.testing.assert_array_equal(discovered.cubes[row], wanted)


def test_the_index_says_where_each_cube_came_from(discovered: Discovered) -> None:
    index = read_json(discovered.folder / "index.json")
    again = [Window(**{**w, "start": tuple(w["start"]), "size": tuple(w["size"])}) for w in index["windows"]]
    assert again == discovered.windows
    assert [r["id"] for r in index["references"]] == [r.id for r in discovered.references]


def test_discovering_again_gives_the_same_bytes(discovered: Discovered, tmp_path: Path) -> None:
    Discovered(tmp_path)
    for name in ("cubes.npy", "index.json"):
        assert (tmp_path / name).read_bytes() == (discovered.folder / name).read_bytes()


def test_each_volume_is_read_once(discovered: Discovered, tmp_path: Path) -> None:
    read: list[str] = []

    def volume(id_: str) -> np.ndarray:
        read.append(id_)
        return discovered.volumes[id_]

    write_patterns(tmp_path, discovered.references, discovered.windows, volume, CUBE)
    assert len(read) == len(set(read))
