"""Perceptual fingerprints, which find the same image again after different preparations.

The field of view is averaged onto a coarse grid. One bit is the sign of the mixed difference of neighbouring cells:
of 2 x 2 cells on a film, of 2 x 2 x 2 in a volume. The mixed difference cancels what varies along fewer axes, which all
chests have in common, so that films of two patients differ in about half of their bits; with plain differences they
would differ in a third. A second bit is set where the difference exceeds the image's own noise; only bits that
exceed it in both images are compared.

Measured on real images, as the share of compared bits that differ. Of 621 chest films, each of another patient, any
two differ in 0.34 or more, however one of them is mirrored or turned; a film differs from its own copy in 0.10 or less
(JPEG at quality 50, shrunk to a quarter, gamma 0.5 to 2.2, contrast stretched or equalised, and several of these,
mirrored, turned or with its axes swapped), in 0.16 at JPEG quality 20. Of 282 CT and MRI volumes, any two of different
patients differ in 0.37 or more, however turned; a volume differs from itself in 0.25 or less under another intensity
window, orientation or resolution, and in 0.28 or less with hardly more voxels than the grid has cells. Sequences of one
patient on one grid may match, as intended.

A crop is found if it loses little. Of 69 films: all that lose 2 % at one side, 39 that lose 3 %, none that loses 4 %;
or 3 % of their length at both sides together. Of 66 volumes: all that lose 4 % at one side of each axis, 52 that lose
6 %, one that loses 8 %; or 60 that lose 6 % at both sides together. Among these crops were the only false alarms: two
brains in one atlas, one of them cropped by 6 %, differ in 0.29.

Not detected: copies that are rotated by other than right angles or cropped more, parts of a volume, its single slices.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sg_bench.data.symmetries import LEAST_SIMILAR, Symmetry, invariants, symmetries
from sg_bench.errors import DataError

CELLS = {"film": (32, 32), "volume": (16, 16, 16)}
"""Differences along each axis: 1024 bits for a film, 4096 for a volume."""
SMALLEST = {"film": 32, "volume": 8}
"""Pixels or voxels along the shortest side; a smaller image has no fingerprint."""
NOISE = 0.05
"""Differences below this fraction of the root mean square of all differences count as noise."""
THRESHOLD = {"film": 0.25, "volume": 0.3}
"""Largest fraction of compared bits in which two copies of one image differ."""
LEAST_COMPARED = 1 / 6
"""Least fraction of all bits that must exceed the noise in both images; with fewer, images do not match."""
_VERSION = "1"
_BLOCK = 2048
"""Number of fingerprints of either side that are compared at once."""

MatchedPair = tuple[int, int]


def fingerprint(image: NDArray[np.float16], affine: NDArray[np.float64]) -> str:
    """Return the fingerprint of a prepared image; "" if it is too small or too uniform.

    Args:
        image: (x, y, z), intensities in [0, 1]; a film is (columns, rows, 1).
        affine: 4x4, voxel indices to world mm, RAS+; gives the orientation of the array axes.

    Returns:
        The kind of image, this module's version, and the bits in base 64: 348 characters for a film.
    """
    shape = _facing_ras(image, affine).shape
    kind = "film" if shape[2] == 1 else "volume"
    if min(shape[: len(CELLS[kind])]) < SMALLEST[kind]:
        return ""
    cells = _facing_ras(_averaged(image, CELLS[kind][0] + 1), affine).squeeze()
    for axis in range(cells.ndim):
        cells = np.diff(cells, axis=axis)
    spread = float(np.sqrt(np.square(cells).mean()))
    if spread < np.finfo(np.float16).eps / 10:
        return ""
    planes = np.packbits([(cells > 0).ravel(), (np.abs(cells) > NOISE * spread).ravel()])
    return f"{kind[0]}{_VERSION}:{base64.b64encode(planes.tobytes()).decode()}"


def matches(first: Sequence[str], second: Sequence[str]) -> list[MatchedPair]:
    """Return the index pairs (into `first`, into `second`) of matching fingerprints, sorted.

    A mirrored, turned or axis-swapped copy matches too. Empty fingerprints and fingerprints of different kinds (film,
    volume) do not match. All pairs are compared, about six million per second.

    Raises:
        DataError: a fingerprint is of another version or invalid.
    """
    found: list[MatchedPair] = []
    for kind in CELLS:
        ours, theirs = _decoded(first, kind), _decoded(second, kind)
        if len(ours.places) and len(theirs.places):
            pairs = {*_pairs(ours, theirs, THRESHOLD[kind]), *_turned_pairs(ours, theirs, kind)}
            found += [(int(ours.places[row]), int(theirs.places[column])) for row, column in pairs]
    return sorted(found)


def difference(first: str, second: str, *, turned: bool = False) -> float:
    """Return the fraction of compared bits in which two fingerprints of one kind differ; 1 if too few are compared.

    With `turned`, it is the least fraction over all mirrored, turned and axis-swapped copies of the second.

    Raises:
        DataError: as for `matches`; or the kinds differ, or a fingerprint is empty.
    """
    kind = next((kind for kind in CELLS if first[:1] == second[:1] == kind[0]), None)
    if kind is None:
        raise DataError(f"'{first[:3]}' and '{second[:3]}' are not two fingerprints of one kind", hint=_AGAIN)
    ours, theirs = _decoded([first], kind), _decoded([second], kind)
    least = LEAST_COMPARED * np.prod(CELLS[kind])
    found = 1.0
    for each in symmetries(len(CELLS[kind]))[: None if turned else 1]:
        wrong, compared = _compared(ours, _turned(theirs, each, kind))
        found = min(found, float(wrong[0] / compared[0]) if compared[0] >= least else 1.0)
    return found


_AGAIN = "Prepare the data again with this version"


class _Planes(NamedTuple):
    """Fingerprints of one kind, unpacked."""

    places: NDArray[np.int64]
    """Index of each in the input sequence."""
    signs: NDArray[np.uint64]
    """(fingerprints, words)"""
    clear: NDArray[np.uint64]
    """(fingerprints, words): the bits that exceed the noise."""

    def of(self, rows: slice | NDArray[np.int64]) -> _Planes:
        return _Planes(self.places[rows], self.signs[rows], self.clear[rows])


def _facing_ras(image: NDArray[Any], affine: NDArray[np.float64]) -> NDArray[Any]:
    """Return a view of `image` whose axes point as nearly as possible right, anterior and superior."""
    strength = np.abs(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))
    order = [0, 0, 0]
    for _ in range(3):
        world, axis = np.unravel_index(int(np.argmax(strength)), strength.shape)
        order[world] = int(axis)
        strength[world, :], strength[:, axis] = -1, -1
    directions = [slice(None, None, -1 if affine[world, axis] < 0 else 1) for world, axis in enumerate(order)]
    return image.transpose(order)[tuple(directions)]


def _averaged(image: NDArray[np.float16], count: int) -> NDArray[np.float64]:
    """Return area means on `count` cells along each axis longer than one voxel; cells may end inside a voxel."""
    from sg_bench.data.kernels import sum_slices

    longer = np.ascontiguousarray(image).squeeze()
    slices = longer.view(np.uint16).reshape(len(longer), -1)
    sums = np.zeros((count, slices.shape[1]), np.float32)
    sum_slices(slices, _weights(len(longer), count).astype(np.float32), sums)
    out = sums.reshape(count, *longer.shape[1:]).astype(np.float64)
    for axis in range(1, out.ndim):
        out = np.moveaxis(np.tensordot(_weights(longer.shape[axis], count), out, axes=(1, axis)), 0, axis)
    return out.reshape([1 if size == 1 else count for size in image.shape])


def _weights(size: int, cells: int) -> NDArray[np.float64]:
    """Return (cells, size): the weight of each voxel in the mean of each cell."""
    edges = np.linspace(0, size, cells + 1)
    voxels = np.arange(size)
    inside = np.minimum(edges[1:, None], voxels + 1) - np.maximum(edges[:-1, None], voxels)
    weights: NDArray[np.float64] = np.clip(inside, 0, None) * (cells / size)
    return weights


def _decoded(fingerprints: Sequence[str], kind: str) -> _Planes:
    places = [place for place, text in enumerate(fingerprints) if text[:1] == kind[0]]
    bits = int(np.prod(CELLS[kind]))
    raw = b"".join(_bytes(fingerprints[place], 2 * bits // 8) for place in places)
    words = np.frombuffer(raw, dtype=np.uint64).reshape(len(places), 2, bits // 64)
    return _Planes(np.asarray(places, dtype=np.int64), words[:, 0], words[:, 1])


def _bytes(text: str, size: int) -> bytes:
    version, _, code = text[1:].partition(":")
    try:
        found = base64.b64decode(code, validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if version != _VERSION or len(found) != size:
        raise DataError(f"'{text[:12]}...' is no fingerprint of version {_VERSION}", hint=_AGAIN)
    return found


def _pairs(first: _Planes, second: _Planes, threshold: float) -> Iterator[MatchedPair]:
    """Yield the index pairs of matching rows."""
    least = LEAST_COMPARED * first.signs.shape[1] * 64
    for top, ours in _blocks(first):
        for left, theirs in _blocks(second):
            balance = _signed(ours) @ _signed(theirs).T
            likely = np.argwhere(balance >= (1 - 2 * threshold) * least)
            wrong, compared = _compared(ours.of(likely[:, 0]), theirs.of(likely[:, 1]))
            for row, column in likely[(wrong <= threshold * compared) & (compared >= least)]:
                yield top + int(row), left + int(column)


def _turned_pairs(first: _Planes, second: _Planes, kind: str) -> Iterator[MatchedPair]:
    """Yield the index pairs of rows that match once the axes of the second are mirrored or swapped."""
    least = LEAST_COMPARED * first.signs.shape[1] * 64
    means = [invariants(_signed(second.of(rows)), CELLS[kind]) for rows in _rows(second)]
    for rows in _rows(first):
        mine = invariants(_signed(first.of(rows)), CELLS[kind])
        for columns, theirs in zip(_rows(second), means, strict=True):
            likely = np.argwhere(mine @ theirs.T >= LEAST_SIMILAR) + np.array([rows.start, columns.start])
            for part in (likely[start : start + _BLOCK] for start in range(0, len(likely), _BLOCK)):
                ours, others = first.of(part[:, 0]), second.of(part[:, 1])
                for each in symmetries(len(CELLS[kind]))[1:]:
                    wrong, compared = _compared(ours, _turned(others, each, kind))
                    close = (wrong <= THRESHOLD[kind] * compared) & (compared >= least)
                    yield from ((int(row), int(column)) for row, column in part[close])


def _turned(planes: _Planes, symmetry: Symmetry, kind: str) -> _Planes:
    """Return fingerprints as those of the images with their axes changed."""
    signs, clear = (
        symmetry.of(np.unpackbits(part.view(np.uint8), axis=1).reshape(-1, *CELLS[kind])).reshape(len(part), -1)
        for part in (planes.signs, planes.clear)
    )
    packed = (np.packbits(part, axis=1).view(np.uint64) for part in (signs ^ (symmetry.sign < 0), clear))
    return _Planes(planes.places, *packed)


def _rows(planes: _Planes) -> list[slice]:
    count = len(planes.places)
    return [slice(start, min(start + _BLOCK, count)) for start in range(0, count, _BLOCK)]


def _blocks(planes: _Planes) -> Iterator[tuple[int, _Planes]]:
    for start in range(0, len(planes.places), _BLOCK):
        yield start, planes.of(slice(start, start + _BLOCK))


def _signed(planes: _Planes) -> NDArray[np.float32]:
    """Return (fingerprints, bits): 1 or -1, and 0 where a bit does not exceed the noise.

    The product of two rows is the number of agreeing bits minus that of differing bits, so that one matrix product
    compares all pairs.
    """
    signs, clear = (np.unpackbits(part.view(np.uint8), axis=1) for part in (planes.signs, planes.clear))
    return (signs.astype(np.float32) * 2 - 1) * clear


def _compared(first: _Planes, second: _Planes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each row the number of differing bits and the number of compared bits."""
    both = first.clear & second.clear
    wrong = both & (first.signs ^ second.signs)
    return np.bitwise_count(wrong).sum(axis=1, dtype=np.int64), np.bitwise_count(both).sum(axis=1, dtype=np.int64)
