"""A patient's anatomy: sizes, positions and attenuations of the organs, drawn around a common anatomy.

Lengths and positions are canonical (geometry.py): half fields of view, (right, anterior, superior); attenuations are in
HU. Because of the common anatomy, one position looks similar in all patients.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sg_bench.data.sources.phantom.geometry import Ellipsoid

RIGHT, LEFT = 1, -1
SIDES = (RIGHT, LEFT)
WIDEST = 0.95
"""Largest half width: a wider torso would touch the border of canonical space, which the pose extends outwards."""


@dataclass(frozen=True)
class Torso:
    """The body wall."""

    half_width: float
    half_depth: float
    fat: float
    """Thickness of the subcutaneous fat."""
    rib_period: float
    """Distance between ribs along z."""
    phase: float
    """Shift of ribs and vertebrae along z."""
    spine_radius: float

    def outline(self) -> Ellipsoid:
        """Return the skin as a box-like cylinder."""
        return Ellipsoid((0, 0, 0), (self.half_width, self.half_depth, math.inf), power=2.4)


@dataclass(frozen=True)
class Thorax:
    """Organs above the diaphragm."""

    lungs: tuple[Ellipsoid, Ellipsoid]
    """Right and left, before heart and diaphragm are cut out of them."""
    heart: Ellipsoid
    diaphragm: float
    """Height of the diaphragm's rim."""
    descending_aorta: float
    """Position along x."""


@dataclass(frozen=True)
class Abdomen:
    """Organs below the diaphragm, which differ in position and shape but hardly in attenuation."""

    liver: tuple[Ellipsoid, Ellipsoid]
    """Right and left lobe, before wall and diaphragm are cut out."""
    spleen: Ellipsoid
    stomach: Ellipsoid
    gas: Ellipsoid | None
    """The bubble in the stomach."""
    kidneys: tuple[Ellipsoid, Ellipsoid]


@dataclass(frozen=True)
class Attenuation:
    """HU of each tissue."""

    skin_fat: float
    cavity_fat: float
    mediastinal_fat: float
    muscle: float
    lungs: tuple[float, float]
    liver: float
    spleen: float
    stomach: float
    kidneys: tuple[float, float]
    myocardium: float
    blood: float
    """Higher with contrast medium."""
    rib: float
    vertebra: float


@dataclass(frozen=True)
class Patient:
    """The individual anatomy of a patient."""

    torso: Torso
    thorax: Thorax
    abdomen: Abdomen
    hu: Attenuation


def draw_patient(rng: np.random.Generator) -> Patient:
    """Draw a patient's anatomy."""
    return Patient(_torso(rng), _thorax(rng), _abdomen(rng), _attenuation(rng))


def _torso(rng: np.random.Generator) -> Torso:
    return Torso(
        half_width=min(rng.normal(0.90, 0.03), WIDEST),
        half_depth=rng.normal(0.74, 0.03),
        fat=0.06 + abs(rng.normal(0, 0.03)),
        rib_period=rng.normal(0.24, 0.01),
        phase=rng.uniform(0, 0.06),
        spine_radius=rng.normal(0.13, 0.008),
    )


def _thorax(rng: np.random.Generator) -> Thorax:
    right, left = (
        draw_solid(rng, (side * 0.45, -0.02, 0.15), (0.36, 0.50, 0.78), place=0.02, size=0.04, power=2.3)
        for side in SIDES
    )
    return Thorax(
        lungs=(right, left),
        heart=draw_solid(rng, (-0.13, 0.20, -0.18), (0.30, 0.27, 0.32), place=0.03, size=0.06),
        diaphragm=rng.normal(-0.35, 0.06),
        descending_aorta=rng.normal(-0.13, 0.015),
    )


def _abdomen(rng: np.random.Generator) -> Abdomen:
    lobes = (
        draw_solid(rng, (0.42, 0.05, -0.60), (0.43, 0.52, 1.00), place=0.03, size=0.03, power=2.4),
        draw_solid(rng, (0.02, 0.25, -0.75), (0.35, 0.28, 0.30), place=0.03, size=0.12),
    )
    right, left = (
        draw_solid(rng, (side * 0.30, -0.36, -1.0), (0.12, 0.13, 0.25), place=0.02, size=0.03) for side in SIDES
    )
    gas = draw_solid(rng, (-0.38, 0.32, -0.66), (0.15, 0.09, 0.15), place=0.04, size=0.2)
    return Abdomen(
        liver=lobes,
        spleen=draw_solid(rng, (-0.58, -0.28, -0.72), (0.17, 0.22, 0.24), place=0.04, size=0.08),
        stomach=draw_solid(rng, (-0.38, 0.20, -0.70), (0.26, 0.27, 0.26), place=0.04, size=0.08),
        gas=gas if rng.random() < 0.7 else None,
        kidneys=(right, left),
    )


def _attenuation(rng: np.random.Generator) -> Attenuation:
    organs = rng.normal(60, 12)
    contrast = rng.uniform(60, 180) if rng.random() < 0.4 else 0.0
    return Attenuation(
        skin_fat=rng.normal(-100, 10),
        cavity_fat=rng.normal(-85, 12),
        mediastinal_fat=rng.normal(-30, 20),
        muscle=rng.normal(45, 10),
        lungs=(rng.normal(-850, 30), rng.normal(-850, 30)),
        liver=rng.normal(organs, 6),
        spleen=rng.normal(organs, 6),
        stomach=rng.normal(organs - 10, 15),
        kidneys=(rng.normal(organs - 15, 8), rng.normal(organs - 15, 8)),
        myocardium=rng.normal(50, 8),
        blood=rng.normal(45, 6) + contrast,
        rib=rng.normal(350, 60),
        vertebra=rng.normal(220, 30),
    )


def draw_solid(
    rng: np.random.Generator,
    centre: tuple[float, float, float],
    radii: tuple[float, float, float],
    *,
    place: float,
    size: float,
    power: float = 2.0,
) -> Ellipsoid:
    """Draw an organ with a shift of its centre of SD `place` and a log-normal scale of each radius of SD `size`."""
    x, y, z = (rng.normal(mean, place) for mean in centre)
    width, depth, height = (radius * math.exp(rng.normal(0, size)) for radius in radii)
    return Ellipsoid((x, y, z), (width, depth, height), power)
