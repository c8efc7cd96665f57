"""Resampling of slices that are no regular grid: tilted gantry, drifting positions, uneven distances."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg_bench.data.grids import Affine
from sg_bench.data.sources.dicom import DicomSeries


def on_regular_grid(volume: NDArray[Any], series: DicomSeries, *, nearest: bool = False) -> tuple[NDArray[Any], Affine]:
    """Return slices on a regular grid at right angles, and its affine; a regular series as it is.

    The grid has the pixels of the lowest slice, extended so that all slices are inside, and slices at the series's own
    distance. Values are interpolated linearly, or by nearest neighbour; outside of a slice they are the image's
    smallest, or 0 for nearest neighbour.

    Args:
        volume: (columns, rows, slices), in the order of the series.
        series: where its slices are.
        nearest: for label maps.
    """
    if series.regular:
        return volume, series.affine
    low = np.floor(series.places[:, :2].min(axis=0) + 1e-6).astype(int)
    high = np.ceil(series.places[:, :2].max(axis=0) - 1e-6).astype(int)
    shape = (volume.shape[0] + high[0] - low[0], volume.shape[1] + high[1] - low[1])
    outside = 0 if nearest else float(volume.min())
    moved = np.stack(
        [
            _shifted(volume[:, :, index], place - low, shape, outside, nearest=nearest)
            for index, place in enumerate(series.places[:, :2])
        ],
        axis=2,
    )
    affine = series.affine.copy()
    affine[:3, 3] += series.affine[:3, :2] @ low
    return _even(moved, series.places[:, 2], nearest=nearest), affine


def _shifted(
    pixels: NDArray[Any], shift: NDArray[np.float64], shape: tuple[int, int], outside: float, *, nearest: bool
) -> NDArray[Any]:
    """Return a slice moved by `shift` pixels within a larger one of `shape`."""
    from scipy import ndimage

    padded = np.full(shape, outside, pixels.dtype)
    padded[: pixels.shape[0], : pixels.shape[1]] = pixels
    return np.asarray(ndimage.shift(padded, shift, order=0 if nearest else 1, mode="constant", cval=outside))


def _even(volume: NDArray[Any], places: NDArray[np.float64], *, nearest: bool) -> NDArray[Any]:
    """Return slices at 0, 1, 2 and so on of those at `places`, which ascend from 0."""
    wanted = np.arange(int(np.floor(places[-1] + 0.5)) + 1).clip(0, places[-1])
    above = np.searchsorted(places, wanted, side="left").clip(1, len(places) - 1)
    share = ((wanted - places[above - 1]) / (places[above] - places[above - 1])).astype(np.float32)
    if nearest:
        return np.ascontiguousarray(volume[:, :, np.where(share > 0.5, above, above - 1)])
    return np.asarray(volume[:, :, above - 1] * (1 - share) + volume[:, :, above] * share, np.float32)
