"""Patterns from latents and volumes: the same place in the patients nearest to a reference, cut and labelled.

Source: Haghighi et al. 2020, section 2.1; constants in protocol C.2, in the behaviour that page requires.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from sg_bench.data.sampling import CropPlaces, CropStart, VolumeArray, cut
from sg_bench.discovery.settings import DiscoverySettings
from sg_bench.errors import MethodError

ReadVolume = Callable[[str], VolumeArray]
BLOCK = 256
"""Latents that are compared with a reference at once: 512 kB of the papers' latents."""


@dataclass(frozen=True)
class Window:
    """One cube to be cut: a pattern's `label` in one patient, at native scale or resized from another side."""

    label: int
    id: str
    start: CropStart
    size: tuple[int, int, int]
    validation: bool


@dataclass(frozen=True)
class Reference:
    """The definition of one pattern: a coordinate in one patient."""

    label: int
    id: str
    start: CropStart


class Ranking:
    """Orders some volumes by the L2 distance of their latents to that of a reference, exactly.

    Args:
        latents: of all volumes, (d,) each.
        ids: the volumes to be ordered.
    """

    def __init__(self, latents: Mapping[str, NDArray[np.float32]], ids: Sequence[str]) -> None:
        ordered = sorted(ids)
        self.ids, self.rows = np.array(ordered, object), {id_: row for row, id_ in enumerate(ordered)}
        self.latents = np.array([latents[id_] for id_ in ordered], np.float32).reshape(len(ids), -1)

    def nearest(self, origin: NDArray[np.float32], reference: str) -> list[str]:
        """Return the ids from nearest to farthest; `reference` before others at distance zero, further ties by id."""
        other = np.ones(len(self.ids), bool)
        if reference in self.rows:
            other[self.rows[reference]] = False
        found: list[str] = self.ids[np.lexsort((other, self._distances(origin)))].tolist()
        return found

    def _distances(self, origin: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the distances, (n,), to the same bits as np.linalg.norm of each difference.

        A difference and its product with itself, block by block in the cache: one large matrix product would be faster,
        but its rounding would exchange near neighbours.
        """
        squares = np.empty(len(self.latents), np.float32)
        for first in range(0, len(self.latents), BLOCK):
            difference = self.latents[first : first + BLOCK] - origin
            squares[first : first + BLOCK] = (difference[:, None, :] @ difference[:, :, None])[:, 0, 0]
        return np.sqrt(squares)


def nearest(latents: Mapping[str, NDArray[np.float32]], reference: str, ids: Sequence[str]) -> list[str]:
    """Return `ids` from nearest to farthest of the reference; a `Ranking` serves several references faster."""
    return Ranking(latents, ids).nearest(latents[reference], reference)


def at_random(reference: str, ids: list[str], rng: np.random.Generator) -> list[str]:
    """Return `ids` in a random order; the reference comes first if it is among them."""
    shuffled = [ids[number] for number in rng.permutation(len(ids))]
    return sorted(shuffled, key=lambda id_: id_ != reference)


def draw_references(
    settings: DiscoverySettings,
    parts: tuple[list[str], list[str]],
    shapes: Mapping[str, tuple[int, int, int]],
    volumes: ReadVolume,
    rng: np.random.Generator,
) -> list[Reference]:
    """Return C references, each in an unused random patient, no two closer than `min_distance` voxels.

    A place counts only if enough other volumes hold it: as many as are wanted, or half of a smaller corpus.

    Args:
        settings: how many, and where a place may lie.
        parts: training ids, from which references are taken, and validation ids.
        shapes: the voxels of every volume.
        volumes: the image of an id, (x, y, z) in [0, 1].
        rng: draws patients and places.

    Raises:
        MethodError: the corpus runs out of patients that hold an acceptable place.
    """
    found: list[Reference] = []
    train = parts[0]
    sizes = [np.array([shapes[id_] for id_ in part]).reshape(-1, 3) for part in parts]
    for id_ in (train[i] for i in rng.permutation(len(train))):
        if len(found) == settings.classes:
            break
        places = CropPlaces(volumes(id_), settings.crops)
        shared = partial(_shared, settings, sizes, shapes[id_])
        start = _coordinate(settings, places, shared, [reference.start for reference in found], rng)
        if start is not None:
            found.append(Reference(len(found), id_, start))
    if len(found) < settings.classes:
        raise MethodError(
            f"self-discovery found {len(found)} patterns in {len(train)} volumes, {settings.classes} were asked for",
            hint="Lower discovery.classes, discovery.crops.border or discovery.min_distance, or relax the air rule",
        )
    return found


def draw_windows(
    settings: DiscoverySettings,
    references: list[Reference],
    ranked: Callable[[Reference, bool], list[str]],
    shapes: Mapping[str, tuple[int, int, int]],
    rng: np.random.Generator,
) -> list[Window]:
    """Return every cube of every pattern, training first, by label, then from nearest to farthest patient.

    Args:
        settings: how many neighbours, which sides and offsets.
        references: one a pattern.
        ranked: the training (False) or validation (True) ids from nearest to farthest.
        shapes: the voxels of every volume; one that does not contain a pattern's window is left out.
        rng: draws sides and offsets.

    Raises:
        MethodError: there are validation volumes, but none holds some pattern's window.
    """
    windows: list[Window] = []
    for validation in (False, True):
        count = settings.validation_neighbours if validation else settings.neighbours
        for reference in references:
            candidates = ranked(reference, validation)
            whole = (id_ for id_ in candidates if _holds(shapes[id_], reference.start, settings))
            fitting = list(islice(whole, count))
            if candidates and not fitting:
                raise MethodError(
                    f"pattern {reference.label} at {reference.start} is inside none of {len(candidates)} volumes",
                    hint="Volumes differ too much in size: set a spacing in the corpus's preparation",
                )
            for id_ in fitting:
                windows.extend(_windows_of(settings, reference, id_, validation, rng))
    return windows


def cut_window(volume: VolumeArray, window: Window) -> VolumeArray:
    """Return the window's cube at its own size, before it is resized to the settings' cube."""
    return cut(volume, window.start, window.size)


def _coordinate(
    settings: DiscoverySettings,
    places: CropPlaces,
    shared: Callable[[CropStart], bool],
    taken: list[CropStart],
    rng: np.random.Generator,
) -> CropStart | None:
    """Return an accepted coordinate far enough from those taken, or None after `tries` draws."""
    if not places.large_enough:
        return None
    for _ in range(settings.crops.tries):
        start = places.draw(rng)
        repeated = any(np.linalg.norm(np.subtract(start, other)) < settings.min_distance for other in taken)
        if not repeated and shared(start) and places.accepts(start):
            return start
    return None


def _shared(
    settings: DiscoverySettings, parts: list[NDArray[np.int64]], own: tuple[int, int, int], start: CropStart
) -> bool:
    """Return whether the reference and enough volumes of each part, shapes (n, 3), contain the window at `start`."""
    if not _holds(own, start, settings):
        return False
    wanted, end = (settings.neighbours, settings.validation_neighbours), _end(settings, start)
    holding = [int((shapes >= end).all(axis=1).sum()) for shapes in parts]
    return all(n >= min(k, (len(shapes) + 1) // 2) for n, k, shapes in zip(holding, wanted, parts, strict=True))


def _holds(shape: tuple[int, int, int], start: CropStart, settings: DiscoverySettings) -> bool:
    """Return whether a volume contains the window with every side and offset that may be drawn."""
    low = settings.jitter[0] if settings.resolutions > 1 else 0
    inside = start[0] + low >= 0 and start[1] + low >= 0
    return inside and all(last <= side for last, side in zip(_end(settings, start), shape, strict=True))


def _end(settings: DiscoverySettings, start: CropStart) -> tuple[int, int, int]:
    """Return the least shape that contains the window at `start` with every side and offset that may be drawn."""
    (x, y, z), (sx, sy, sz) = start, settings.crops.cube
    reach = settings.jitter[1] + settings.sides[1] if settings.resolutions > 1 else 0
    return x + max(sx, reach), y + max(sy, reach), z + sz


def _windows_of(
    settings: DiscoverySettings, reference: Reference, id_: str, validation: bool, rng: np.random.Generator
) -> list[Window]:
    """Return one patient's windows: the cube itself and, for training, the same place in other in-plane sizes."""
    x, y, z = reference.start
    out = [Window(reference.label, id_, reference.start, settings.crops.cube, validation)]
    for _ in range(0 if validation else settings.resolutions - 1):
        side = int(rng.integers(*settings.sides, endpoint=True))
        dx, dy = (int(v) for v in rng.integers(*settings.jitter, size=2, endpoint=True))
        size = (side, side, settings.crops.cube[2])
        out.append(Window(reference.label, id_, (x + dx, y + dy, z), size, validation))
    return out
