"""Scanner nuisance: each image as if another device had scaled it.

Drawing and applying are apart, so that a nuisance can be recorded and replayed. It works on intensities in [0, 1],
that is (HU + 1000) / 2000.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sg_bench.data.sources.phantom.geometry import Volume
from sg_bench.recipes import Shape


@dataclass(frozen=True)
class ScannerNuisance:
    """v -> gain * v^gamma + offset + noise."""

    gamma: float
    gain: float
    offset: float
    noise: Volume
    """Added voxel by voxel, in [0, 1] units."""


def draw_nuisance(rng: np.random.Generator, shape: Shape) -> ScannerNuisance:
    """Draw gamma ~ U(.6, 1.7), gain ~ U(.8, 1.2), offset ~ U(-.08, .08) and white noise of SD ~ U(.01, .07)."""
    gamma, gain, offset = rng.uniform(0.6, 1.7), rng.uniform(0.8, 1.2), rng.uniform(-0.08, 0.08)
    deviation = np.float32(rng.uniform(0.01, 0.07))
    return ScannerNuisance(gamma, gain, offset, deviation * rng.standard_normal(shape, dtype=np.float32))


def apply_nuisance(hu: Volume, nuisance: ScannerNuisance) -> Volume:
    """Return the image in HU, within [-1000, 1000], as the other device would have shown it."""
    intensity = np.clip((hu + 1000) / 2000, 0, 1)
    curve: Volume = np.power(intensity, nuisance.gamma, dtype=np.float32)
    changed = np.clip(nuisance.gain * curve + nuisance.offset + nuisance.noise, 0, 1)
    return np.asarray(2000 * changed - 1000, dtype=np.float32)
