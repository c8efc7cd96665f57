"""Scanner nuisance: random intensity changes as between scanners.

Drawing and application are separate, so that a nuisance can be recorded and replayed. It acts on intensities scaled to
[0, 1]: (HU + 1000) / 2000 in CT, by the maximum in MRI, grey value / 255 in films.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sg_bench.config import Shape
from sg_bench.data.sources.phantom.geometry import FloatVolume


@dataclass(frozen=True)
class ScannerNuisance:
    """v -> gain * v^gamma + offset + noise."""

    gamma: float
    gain: float
    offset: float
    noise: FloatVolume
    """Added to each voxel, in units of [0, 1]."""


def draw_nuisance(rng: np.random.Generator, shape: Shape) -> ScannerNuisance:
    """Draw gamma ~ U(.6, 1.7), gain ~ U(.8, 1.2), offset ~ U(-.08, .08) and white noise of SD ~ U(.01, .07)."""
    gamma, gain, offset = rng.uniform(0.6, 1.7), rng.uniform(0.8, 1.2), rng.uniform(-0.08, 0.08)
    deviation = np.float32(rng.uniform(0.01, 0.07))
    return ScannerNuisance(gamma, gain, offset, deviation * rng.standard_normal(shape, dtype=np.float32))


def apply_nuisance(
    image: FloatVolume, nuisance: ScannerNuisance, *, low: float = -1000, high: float = 1000
) -> FloatVolume:
    """Apply a nuisance to an image; the result is within [`low`, `high`] (default: HU).

    Args:
        image: intensities; `low` is scaled to 0 and `high` to 1, with clipping.
        nuisance: drawn for this image's shape.
        low: lower end of the intensity range.
        high: upper end of the intensity range.
    """
    intensity = np.clip((image - low) / (high - low), 0, 1)
    curve: FloatVolume = np.power(intensity, nuisance.gamma, dtype=np.float32)
    changed = np.clip(nuisance.gain * curve + nuisance.offset + nuisance.noise, 0, 1)
    return np.asarray((high - low) * changed + low, dtype=np.float32)
