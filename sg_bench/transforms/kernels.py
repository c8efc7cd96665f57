"""Loops over the voxels of a batch, compiled by Numba: they work in place and release the GIL.

Images are (B, C, X, Y, Z) float32 in [0, 1]; the loops go over the images of `rows`, and further arguments belong to
those rows, one after the other. Compiled code is cached on disk, so only the first run on a machine compiles.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

from sg_bench.transforms.base import Images
from sg_bench.transforms.streams import FIRST, GOLDEN, SECOND

Image = NDArray[np.float32]
"""(C, X, Y, Z)."""
Rows = NDArray[np.int64]
Function = TypeVar("Function")

_S30, _S27, _S31, _S32, _S40 = (np.uint64(bits) for bits in (30, 27, 31, 32, 40))
_LOW = np.uint64(0xFFFFFFFF)


def _compiled(function: Function) -> Function:
    compiled: Any = numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    return compiled  # type: ignore[no-any-return]


@_compiled
def _word(seed: np.uint64, position: np.uint64) -> np.uint64:
    """Return the 64-bit word of SplitMix64 at a position, as `streams.mix` does."""
    word = seed + (position + np.uint64(1)) * GOLDEN
    word = (word ^ (word >> _S30)) * FIRST
    word = (word ^ (word >> _S27)) * SECOND
    return word ^ (word >> _S31)


@_compiled
def _below(word: np.uint64, bound: int | np.int64) -> np.int64:
    """Return an integer in [0, bound) from the upper 32 bits of a word."""
    return np.int64(((word >> _S32) * np.uint64(bound)) >> _S32)


@_compiled
def draw_blocks(seed: np.uint64, longest: NDArray[np.int64], shape: NDArray[np.int64], out: NDArray[np.int64]) -> None:
    """Fill `out` (blocks, 6) with starts and sides along x, y, z; sides are 1 to `longest`."""
    for block in range(len(out)):
        for axis in range(3):
            word = _word(seed, np.uint64(3 * block + axis))
            side = 1 + _below(word, longest[axis])
            out[block, 3 + axis] = side
            free = np.uint64(shape[axis] - side + 1)
            out[block, axis] = np.int64(((word & _LOW) * free) >> _S32)


@_compiled
def shuffle_sources(
    seed: np.uint64, blocks: NDArray[np.int64], shape: NDArray[np.int64], out: NDArray[np.int32]
) -> None:
    """Fill `out` (X * Y * Z,) with the voxel whose value each voxel takes; the last block that covers it counts."""
    for voxel in range(len(out)):
        out[voxel] = voxel
    largest = 1
    for block in range(len(blocks)):
        largest = max(largest, blocks[block, 3] * blocks[block, 4] * blocks[block, 5])
    order = np.empty(largest, np.int32)
    position = np.uint64(3 * len(blocks))
    for block in range(len(blocks)):
        x0, y0, z0 = blocks[block, 0], blocks[block, 1], blocks[block, 2]
        dx, dy, dz = blocks[block, 3], blocks[block, 4], blocks[block, 5]
        count = 0
        for x in range(x0, x0 + dx):
            for y in range(y0, y0 + dy):
                first = (x * shape[1] + y) * shape[2] + z0
                for z in range(dz):  # Fisher and Yates, inside out
                    other = _below(_word(seed, position), count + 1)
                    position += np.uint64(1)
                    order[count] = order[other]
                    order[other] = first + z
                    count += 1
        count = 0
        for x in range(x0, x0 + dx):
            for y in range(y0, y0 + dy):
                first = (x * shape[1] + y) * shape[2] + z0
                for z in range(dz):
                    out[first + z] = order[count]
                    count += 1


@_compiled
def shuffle(images: Images, rows: Rows, seeds: NDArray[np.uint64], longest: NDArray[np.int64], count: int) -> None:
    """Permute the voxels inside `count` random blocks of each image, the same in every channel."""
    shape = np.array(images.shape[2:])
    blocks = np.empty((count, 6), np.int64)
    sources = np.empty(shape.prod(), np.int32)
    for number in range(len(rows)):
        draw_blocks(seeds[number], longest, shape, blocks)
        shuffle_sources(seeds[number], blocks, shape, sources)
        flat = images[rows[number]].reshape(images.shape[1], -1)
        original = flat.copy()
        for channel in range(flat.shape[0]):
            for voxel in range(flat.shape[1]):
                flat[channel, voxel] = original[channel, sources[voxel]]


@_compiled
def map_intensities(images: Images, rows: Rows, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Replace each value by y(x), linear between the nodes (rows, nodes); x increases from 0 to 1."""
    for number in range(len(rows)):
        _map_image(images[rows[number]], x[number], y[number])


@_compiled
def _map_image(image: Image, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Replace each value of one image by y(x).

    A table of evenly spaced intensities leads to the first node to look at, so that no search is needed.
    """
    cells, last = 4096, len(x) - 2
    first = np.empty(cells + 1, np.int32)
    node = 0
    for cell in range(cells + 1):
        while node < last and x[node + 1] < cell / cells:
            node += 1
        first[cell] = node
    flat = image.reshape(-1)
    for voxel in range(len(flat)):
        value = min(max(np.float64(flat[voxel]), 0.0), 1.0)
        node = first[int(value * cells)]
        while node < last and x[node + 1] < value:
            node += 1
        width = x[node + 1] - x[node]
        share = (value - x[node]) / width if width > 0 else 1.0
        mapped = y[node] + (y[node + 1] - y[node]) * min(max(share, 0.0), 1.0)
        flat[voxel] = min(max(mapped, 0.0), 1.0)


@_compiled
def paint(
    images: Images,
    rows: Rows,
    starts: NDArray[np.int64],
    sides: NDArray[np.int64],
    inside: bool,
    noise: bool,
    seeds: NDArray[np.uint64],
    values: NDArray[np.float64],
) -> None:
    """Fill the inside or the outside of the boxes (rows, boxes, 3) with noise in [0, 1) or one value per image."""
    for number in range(len(rows)):
        image = images[rows[number]]
        _paint_image(image, starts[number], sides[number], inside, noise, seeds[number], values[number])


@_compiled
def _paint_image(
    image: Image,
    starts: NDArray[np.int64],
    sides: NDArray[np.int64],
    inside: bool,
    noise: bool,
    seed: np.uint64,
    value: float,
) -> None:
    """Fill the inside or the outside of all boxes, the same in every channel, with noise in [0, 1) or one value."""
    channels, nx, ny, nz = image.shape
    covered = np.empty(nz, np.bool_)
    for x in range(nx):
        for y in range(ny):
            covered[:] = False
            for box in range(len(starts)):
                if 0 <= x - starts[box, 0] < sides[box, 0] and 0 <= y - starts[box, 1] < sides[box, 1]:
                    covered[starts[box, 2] : starts[box, 2] + sides[box, 2]] = True
            for z in range(nz):
                if covered[z] == inside:
                    filling = np.float32(value)
                    if noise:
                        word = _word(seed, np.uint64((x * ny + y) * nz + z))
                        filling = np.float32(word >> _S40) * np.float32(2.0**-24)
                    for channel in range(channels):
                        image[channel, x, y, z] = filling


@_compiled
def deform(images: Images, rows: Rows, moved: NDArray[np.float32]) -> None:
    """Read each voxel from the place to which `moved` (rows, 2, X, Y, Z), in voxels along x and y, leads.

    Interpolation is linear, and edges are mirrored: an image continues as d c b a | a b c d | d c b a.
    """
    for number in range(len(rows)):
        _deform_image(images[rows[number]], moved[number])


@_compiled
def _deform_image(image: Image, moved: NDArray[np.float32]) -> None:
    """Deform one image by displacements (2, X, Y, Z)."""
    channels, nx, ny, nz = image.shape
    original = image.copy()
    for x in range(nx):
        for y in range(ny):
            for z in range(nz):
                px = _mirrored(np.float32(x) + moved[0, x, y, z], nx)
                py = _mirrored(np.float32(y) + moved[1, x, y, z], ny)
                x0, y0 = int(px), int(py)
                x1, y1 = min(x0 + 1, nx - 1), min(y0 + 1, ny - 1)
                fx, fy = px - np.float32(x0), py - np.float32(y0)
                for channel in range(channels):
                    low = original[channel, x0, y0, z] * (np.float32(1) - fy) + original[channel, x0, y1, z] * fy
                    high = original[channel, x1, y0, z] * (np.float32(1) - fy) + original[channel, x1, y1, z] * fy
                    image[channel, x, y, z] = low * (np.float32(1) - fx) + high * fx


@_compiled
def _mirrored(place: np.float32, size: int) -> np.float32:
    """Return a place inside [0, size - 1] that holds the value of a place outside."""
    last, period = np.float32(size - 1), np.float32(2 * size)
    if place < np.float32(-0.5) or place > last + np.float32(0.5):
        place = (place + np.float32(0.5)) % period
        if place > np.float32(size):
            place = period - place
        place -= np.float32(0.5)
    return min(max(place, np.float32(0)), last)
