"""Patterns from latents and volumes: the same place in the patients nearest to a reference, cut and labelled.

Source: Haghighi et al. 2020, section 2.1; constants in protocol C.2, in the behaviour that page requires.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sg_bench.data.sampling import CropPlaces, CropStart, VolumeArray, cut
from sg_bench.discovery.settings import DiscoverySettings
from sg_bench.errors import MethodError

ReadVolume = Callable[[str], VolumeArray]


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


def nearest(latents: Mapping[str, NDArray[np.float32]], reference: str, ids: list[str]) -> list[str]:
    """Return `ids` from nearest to farthest by L2 distance of their latents to the reference's.

    The reference itself comes before others at distance zero; further ties go by id.
    """
    origin = latents[reference]
    return sorted(ids, key=lambda id_: (float(np.linalg.norm(latents[id_] - origin)), id_ != reference, id_))


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
    for id_ in (train[i] for i in rng.permutation(len(train))):
        if len(found) == settings.classes:
            break
        places = CropPlaces(volumes(id_), settings.crops)
        shared = partial(_shared, settings, [[shapes[other] for other in part] for part in parts], shapes[id_])
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
            fitting = [id_ for id_ in candidates if _holds(shapes[id_], reference.start, settings)][:count]
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
    settings: DiscoverySettings, parts: list[list[tuple[int, int, int]]], own: tuple[int, int, int], start: CropStart
) -> bool:
    """Return whether the reference and enough volumes of each part contain the window at `start`."""
    wanted = (settings.neighbours, settings.validation_neighbours)
    holding = [sum(_holds(shape, start, settings) for shape in shapes) for shapes in parts]
    enough = [n >= min(k, (len(shapes) + 1) // 2) for n, k, shapes in zip(holding, wanted, parts, strict=True)]
    return _holds(own, start, settings) and all(enough)


def _holds(shape: tuple[int, ...], start: CropStart, settings: DiscoverySettings) -> bool:
    """Return whether a volume contains the window with every side and offset that may be drawn."""
    cube = settings.crops.cube
    grown = settings.resolutions > 1
    low, high = settings.jitter if grown else (0, 0)
    side = settings.sides[1] if grown else 0
    in_plane = all(
        start[axis] + low >= 0 and start[axis] + max(cube[axis], high + side) <= shape[axis] for axis in (0, 1)
    )
    return in_plane and start[2] + cube[2] <= shape[2]


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
