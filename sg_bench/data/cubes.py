"""Cubes to train on, cut from a store on access or read from an array of cubes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sg_bench.config import CropRule, Shape
from sg_bench.data.area import area_means
from sg_bench.data.sampling import CropStart, cut, draw_places
from sg_bench.data.store import Store
from sg_bench.digests import npy_digest, read_sealed
from sg_bench.errors import DamagedError, DataError


class Cubes(Protocol):
    """Indexed images of one size."""

    def __len__(self) -> int:
        """Return the number of cubes."""

    def images(self, indices: Sequence[int]) -> NDArray[np.float32]:
        """Return (n, x, y, z) in [0, 1], or (n, channels, x, y, z)."""

    def labels(self, indices: Sequence[int]) -> NDArray[np.int64]:
        """Return the pseudo-label of each cube, (n,); 0 without pseudo-labels."""

    def case_ids(self) -> Sequence[str]:
        """Return the id of the case that each cube is cut from; "" where it is unknown."""


class CropCubes:
    """Cubes at given places of a store's volumes.

    Args:
        store: holds the volumes.
        places: (case id, start) of each cube.
        size: voxels along x, y, z.
    """

    def __init__(self, store: Store, places: Sequence[tuple[str, CropStart]], size: Shape) -> None:
        self.store, self.places, self.size = store, places, size

    def __len__(self) -> int:
        """Return the number of cubes."""
        return len(self.places)

    def images(self, indices: Sequence[int]) -> NDArray[np.float32]:
        """Return (n, x, y, z) in [0, 1], or (n, channels, x, y, z); voxels outside a volume are 0."""
        chosen = (self.places[index] for index in indices)
        return np.stack([cut(self.store.image(id_), start, self.size) for id_, start in chosen]).astype(np.float32)

    def labels(self, indices: Sequence[int]) -> NDArray[np.int64]:
        """Return zeros: crops have no pseudo-label."""
        return np.zeros(len(indices), np.int64)

    def case_ids(self) -> Sequence[str]:
        """Return the id of each cube's volume."""
        return [id_ for id_, _ in self.places]


class ArrayCubes:
    """Cubes stored in one array, memory-mapped or not.

    Args:
        cubes: (n, x, y, z) or (n, channels, x, y, z) in [0, 1].
        labels: pseudo-labels (n,); None: 0 for all.
        ids: of the cases that the cubes are cut from; None: unknown.
    """

    def __init__(
        self, cubes: NDArray[Any], labels: NDArray[np.int64] | None = None, ids: Sequence[str] | None = None
    ) -> None:
        self.cubes = cubes
        self._labels = labels if labels is not None else np.zeros(len(cubes), np.int64)
        self._ids = list(ids) if ids is not None else [""] * len(cubes)

    def __len__(self) -> int:
        """Return the number of cubes."""
        return len(self.cubes)

    def images(self, indices: Sequence[int]) -> NDArray[np.float32]:
        """Return (n, x, y, z) in [0, 1], or (n, channels, x, y, z)."""
        return np.take(self.cubes, indices, axis=0).astype(np.float32)

    def labels(self, indices: Sequence[int]) -> NDArray[np.int64]:
        """Return (n,)."""
        return self._labels[list(indices)]

    def case_ids(self) -> Sequence[str]:
        """Return the id of each cube's case."""
        return self._ids

    def permuted(self, rng: np.random.Generator) -> ArrayCubes:
        """Return the same cubes with their labels permuted at random."""
        return ArrayCubes(self.cubes, rng.permutation(self._labels), self._ids)


def random_crops(
    store: Store, ids: Sequence[str], rule: CropRule, per_volume: int, rngs: Mapping[str, np.random.Generator]
) -> CropCubes:
    """Return `per_volume` cubes of each volume at random accepted starts (fewer if the tries run out).

    Raises:
        DataError: no volume holds an acceptable cube.
    """
    places: list[tuple[str, CropStart]] = []
    for id_ in ids:
        image = store.image(id_)
        first = image if image.ndim == 3 else image[0]  # of several channels, the first is looked at for air
        places += [(id_, start) for start in draw_places(first, rule, per_volume, rngs[id_])]
    if ids and not places:
        shapes = sorted({store[id_].shape for id_ in ids})
        raise DataError(
            f"no volume of {len(ids)} (shapes {shapes[0]} to {shapes[-1]}) holds an acceptable {rule.cube} cube",
            hint="Lower crops.border or crops.cube, or set crops.air to null",
        )
    return CropCubes(store, places, rule.cube)


def whole_volumes(store: Store, ids: Sequence[str], shape: Shape) -> ArrayCubes:
    """Return each volume resized to `shape`, with all of its channels, in memory."""
    channels = store.image(ids[0]).shape[:-3] if ids else ()
    out = np.empty((len(ids), *channels, *shape), np.float16)
    for index, id_ in enumerate(ids):
        out[index] = resized(store.image(id_), shape)
    return ArrayCubes(out, ids=ids)


def resized(volume: NDArray[Any], shape: Sequence[int], dtype: type = np.float32) -> NDArray[Any]:
    """Return `volume` resized over the same field of view: area means along axes that shrink, else linear.

    Computed in float32, and returned as `dtype`, float32 or float16; only a part of a large volume is in memory. Each
    channel of a volume (channels, x, y, z) is resized by itself.
    """
    if volume.ndim == 4:
        return np.stack([resized(channel, shape, dtype) for channel in volume])
    import torch
    from torch.nn import functional

    smaller = tuple(min(new, old) for new, old in zip(shape, volume.shape, strict=True))
    image = torch.from_numpy(area_means(volume, smaller))
    if smaller != tuple(shape):
        grown = functional.interpolate(image[None, None], size=tuple(shape), mode="trilinear", align_corners=False)
        image = grown[0, 0]
    out: NDArray[Any] = (image.half() if dtype is np.float16 else image).numpy()
    return out


def pattern_cubes(folder: Path, *, validation: bool) -> ArrayCubes:
    """Return the training or validation cubes of a finished pattern folder (discovery/store.py).

    Raises:
        DamagedError: the folder is not a finished pattern folder, or its files are corrupt.
    """
    path = folder / "index.json"
    try:
        windows, digest = _pattern_index(path)
        path = folder / "cubes.npy"
        cubes = np.load(path, mmap_mode="r", allow_pickle=False)
        if len(windows) != len(cubes):
            raise ValueError(f"{len(cubes)} cubes, but the index has {len(windows)}")
        if digest is not None and digest != npy_digest(path, "cubes"):
            raise ValueError("the cubes have another digest than in the index")
    except (OSError, ValueError, EOFError, LookupError, TypeError) as error:
        raise DamagedError(f"{folder}: not a finished pattern folder ({error})", path=path) from error
    chosen = [row for row, window in enumerate(windows) if window["validation"] == validation]
    labels = np.array([windows[row]["label"] for row in chosen], np.int64)
    first, last = (chosen[0], chosen[-1] + 1) if chosen else (0, 0)
    return ArrayCubes(cubes[first:last], labels, [str(windows[row].get("id", "")) for row in chosen])


def _pattern_index(path: Path) -> tuple[list[dict[str, Any]], str | None]:
    """Return the windows of a pattern folder, and the digest of their cubes; None in a folder of schema 1.

    Raises:
        OSError: there is no index.
        ValueError: it is corrupt.
    """
    index = read_sealed(path)
    for window in index["windows"]:
        _ = window["label"], window["validation"]
    return index["windows"], index.get("cubes")
