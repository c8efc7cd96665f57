"""The chest, painted from the outside to the inside.

All lengths are canonical (geometry.py). Later organs cover earlier ones, so the order in `paint_chest` matters.
"""

from __future__ import annotations

import numpy as np

from sg_bench.data.sources.phantom.disease import Disease, paint_disease, with_heart
from sg_bench.data.sources.phantom.geometry import Canvas, Ellipsoid, FloatVolume, VoxelGrid, overlap, pillar, soft
from sg_bench.data.sources.phantom.noise import smooth_noise
from sg_bench.data.sources.phantom.organs import Organ
from sg_bench.data.sources.phantom.patient import RIGHT, SIDES, Patient, Torso
from sg_bench.data.sources.phantom.pose import deform, draw_pose
from sg_bench.data.sources.phantom.streams import PatientIdentity, RandomStream
from sg_bench.data.sources.phantom.trees import Tubes, bronchi, lung_vessels, rasterise

THIN = 0.04
"""Width of the soft border of bones and airway walls."""
INSIDE_LUNG = (Organ.LUNG, Organ.AIRWAY, Organ.VESSEL)


def make_chest(identity: PatientIdentity, patient: Patient, grid: VoxelGrid, disease: Disease | None = None) -> Canvas:
    """Return the patient's chest without scanner noise.

    Args:
        identity: seeds everything except the anatomy.
        patient: the anatomy.
        grid: the voxels.
        disease: None for a healthy chest.
    """
    trees = identity.generator(RandomStream.TREES)
    vessels, airways = lung_vessels(trees), bronchi(trees)
    if disease:
        patient = with_heart(patient, disease.heart)
    canvas = paint_chest(patient, vessels, airways, grid)
    if disease:
        paint_disease(
            identity.generator(RandomStream.OUTLINES), canvas, lung_depths(patient, grid), patient.thorax, disease
        )
    posed = deform(canvas, draw_pose(identity.generator(RandomStream.POSE)))
    add_texture(identity.generator(RandomStream.TEXTURE), posed)
    return posed


def paint_chest(patient: Patient, vessels: Tubes, airways: Tubes, grid: VoxelGrid) -> Canvas:
    """Return the patient in canonical coordinates."""
    canvas = Canvas(grid)
    lungs = lung_depths(patient, grid)
    _paint_wall(canvas, patient)
    _paint_mediastinal_fat(canvas, patient)
    for depth, hu in zip(lungs, patient.hu.lungs, strict=True):
        canvas.paint(depth, hu, Organ.LUNG, edge=0.05)
    _paint_heart(canvas, patient)
    _paint_abdomen(canvas, patient)
    _paint_great_vessels(canvas, patient)
    _paint_spine(canvas, patient)
    _paint_sternum(canvas, patient.torso)
    _paint_trachea(canvas)
    inside = soft(np.maximum(*lungs), 0.05)
    _paint_lung_vessels(canvas, vessels, inside, patient.hu.blood - 10)
    _paint_bronchi(canvas, airways, inside)
    return canvas


def lung_depths(patient: Patient, grid: VoxelGrid) -> tuple[FloatVolume, FloatVolume]:
    """Return the depth inside the right and the left lung, with wall, heart, diaphragm and midline cut out."""
    x, _, z = grid.axes
    thorax = patient.thorax
    available = overlap(
        patient.torso.outline().depth(grid) - patient.torso.fat - 0.08,
        -thorax.heart.depth(grid),
    )
    right, left = (
        overlap(solid.depth(grid), z - _diaphragm(grid, thorax.diaphragm, side), side * x - 0.07, available)
        for solid, side in zip(thorax.lungs, SIDES, strict=True)
    )
    return right, left


def add_texture(rng: np.random.Generator, canvas: Canvas) -> None:
    """Add the texture of each tissue, in HU, in place."""
    grid, label = canvas.grid, canvas.label
    solid = ~np.isin(label, (Organ.BACKGROUND, *INSIDE_LUNG, Organ.PLEURAL_AIR))
    canvas.image += (12 * smooth_noise(rng, grid, 10) + 8 * smooth_noise(rng, grid, 25)) * solid
    canvas.image += (25 * smooth_noise(rng, grid, 8) + 30 * smooth_noise(rng, grid, 40)) * (label == Organ.LUNG)
    canvas.image += 6 * smooth_noise(rng, grid, 12) * (label == Organ.LIVER)
    canvas.image += 16 * smooth_noise(rng, grid, 6) * (label == Organ.SPLEEN)


def _diaphragm(grid: VoxelGrid, rim: float, side: int) -> FloatVolume:
    """Return the height of one dome at each (x, y); the right one is higher, above the liver."""
    x, y, _ = grid.axes
    lowest = rim - 0.1 + (0.05 if side == RIGHT else 0.0)
    dome = 1 - np.square((x - side * 0.42) / 0.5) - np.square((y - 0.05) / 0.65)
    height: FloatVolume = lowest + 0.28 * np.sqrt(np.maximum(dome, 0))
    return height


def _paint_wall(canvas: Canvas, patient: Patient) -> None:
    """Paint skin, fat, muscle, ribs and abdominal fat."""
    torso, hu = patient.torso, patient.hu
    _, _, z = canvas.grid.axes
    body = torso.outline().depth(canvas.grid)
    canvas.paint(body, hu.skin_fat, Organ.BODY)
    canvas.paint(body - torso.fat, hu.muscle, Organ.BODY)
    canvas.paint(_ribs(canvas.grid, torso), hu.rib, Organ.RIBS, edge=THIN)
    cavity = overlap(body - torso.fat - 0.1, patient.thorax.diaphragm + 0.05 - z)
    canvas.cover(0.85 * soft(cavity), hu.cavity_fat, Organ.BODY)


def _ribs(grid: VoxelGrid, torso: Torso) -> FloatVolume:
    """Return the depth inside the ribs: rings in the wall that slope down anteriorly."""
    _, y, z = grid.axes
    wall = torso.outline().depth(grid) - torso.fat - 0.03
    along = (z + 0.28 * y + torso.phase) % torso.rib_period - torso.rib_period / 2
    depth: FloatVolume = 0.035 - np.hypot(0.7 * wall, along)
    return depth


def _paint_mediastinal_fat(canvas: Canvas, patient: Patient) -> None:
    _, _, z = canvas.grid.axes
    region = Ellipsoid((-0.02, 0, 0), (0.17, 0.4, np.inf)).depth(canvas.grid)
    canvas.paint(overlap(region, z + 0.2), patient.hu.mediastinal_fat, Organ.BODY)


def _paint_heart(canvas: Canvas, patient: Patient) -> None:
    depth = patient.thorax.heart.depth(canvas.grid)
    canvas.paint(depth, patient.hu.myocardium, Organ.HEART)
    canvas.paint(depth - 0.08, patient.hu.blood, Organ.HEART)


def _paint_abdomen(canvas: Canvas, patient: Patient) -> None:
    grid, abdomen, hu = canvas.grid, patient.abdomen, patient.hu
    canvas.paint(abdomen.spleen.depth(grid), hu.spleen, Organ.SPLEEN)
    stomach = abdomen.stomach.depth(grid)
    canvas.paint(stomach, hu.stomach, Organ.STOMACH)
    if abdomen.gas:
        canvas.paint(overlap(abdomen.gas.depth(grid), stomach), -800)
    for kidney, attenuation in zip(abdomen.kidneys, hu.kidneys, strict=True):
        canvas.paint(kidney.depth(grid), attenuation, Organ.KIDNEY)
    canvas.paint(_liver(grid, patient), hu.liver, Organ.LIVER)


def _liver(grid: VoxelGrid, patient: Patient) -> FloatVolume:
    """Return the depth inside both lobes, with wall and diaphragm cut out."""
    _, _, z = grid.axes
    lobes = np.maximum(*(lobe.depth(grid) for lobe in patient.abdomen.liver))
    wall = patient.torso.outline().depth(grid) - patient.torso.fat - 0.05
    domes: FloatVolume = np.maximum(*(_diaphragm(grid, patient.thorax.diaphragm, side) for side in SIDES))
    return overlap(lobes, wall, domes - 0.01 - z)


def _paint_great_vessels(canvas: Canvas, patient: Patient) -> None:
    """Paint ascending aorta, arch, descending aorta, superior vena cava and oesophagus."""
    grid, blood = canvas.grid, patient.hu.blood
    _, _, z = grid.axes
    left = patient.thorax.descending_aorta
    canvas.paint(pillar(grid, 0.03, -0.31, 0.045), 35, Organ.OESOPHAGUS, edge=THIN)
    canvas.paint(overlap(pillar(grid, left, -0.31, 0.085), 0.45 - z), blood, Organ.AORTA)
    canvas.paint(overlap(pillar(grid, 0.0, 0.08, 0.085), 0.45 - z, z + 0.05), blood, Organ.AORTA)
    canvas.paint(_aortic_arch(grid, left), blood, Organ.AORTA)
    canvas.paint(overlap(pillar(grid, 0.13, 0.05, 0.055), z), blood, Organ.VENA_CAVA, edge=THIN)


def _aortic_arch(grid: VoxelGrid, left: float) -> FloatVolume:
    """Return the depth inside the arch from the ascending (x = 0) to the descending aorta (x = `left`)."""
    x, y, z = grid.axes
    share = np.clip((0.08 - y) / 0.39, 0, 1)
    tube = 0.085 - np.hypot(x - left * share, z - 0.45 - 0.12 * np.sin(np.pi * share))
    return overlap(tube, 0.10 - y, y + 0.35)


def _paint_spine(canvas: Canvas, patient: Patient) -> None:
    """Paint vertebrae with a dense shell, the discs between them and the spinous processes."""
    grid, torso = canvas.grid, patient.torso
    _, _, z = grid.axes
    disc = np.sin(2 * np.pi * (z + torso.phase) / 0.2) > 0.75
    depth = Ellipsoid((0, -0.5, 0), (torso.spine_radius, torso.spine_radius * 0.9, np.inf)).depth(grid)
    canvas.paint(depth, np.where(disc, np.float32(90), np.float32(patient.hu.vertebra)), Organ.SPINE, edge=THIN)
    canvas.cover(soft(0.03 - np.abs(depth - 0.02), THIN) * ~disc, 500, Organ.SPINE)
    process = Ellipsoid((0, -0.62, 0), (0.045, 0.09, np.inf)).depth(grid)
    canvas.paint(overlap(process, torso.outline().depth(grid) - torso.fat), 300, Organ.SPINE, edge=THIN)


def _paint_sternum(canvas: Canvas, torso: Torso) -> None:
    _, _, z = canvas.grid.axes
    front = torso.half_depth - torso.fat - 0.07
    plate = Ellipsoid((0, front, 0), (0.12, 0.04, np.inf)).depth(canvas.grid)
    canvas.paint(overlap(plate, z + 0.1), 250, Organ.RIBS, edge=THIN)


def _paint_trachea(canvas: Canvas) -> None:
    _, _, z = canvas.grid.axes
    lumen = overlap(pillar(canvas.grid, 0, -0.2, 0.065), z - 0.22)
    canvas.paint(lumen + 0.02, 20, edge=THIN)
    canvas.paint(lumen, -950, Organ.AIRWAY, edge=THIN)


def _paint_lung_vessels(canvas: Canvas, vessels: Tubes, inside: FloatVolume, hu: float) -> None:
    coverage = rasterise(canvas.grid, vessels) * inside
    lung = canvas.label == Organ.LUNG
    canvas.cover(coverage, hu)
    canvas.label[(coverage > 0.5) & lung] = Organ.VESSEL


def _paint_bronchi(canvas: Canvas, airways: Tubes, inside: FloatVolume) -> None:
    """Paint bronchi, with a wall inside the lungs and as lumen only in the mediastinum."""
    mediastinum = soft(Ellipsoid((-0.02, 0, 0), (0.17, 0.4, np.inf)).depth(canvas.grid), 0.05)
    canvas.cover(0.6 * inside * rasterise(canvas.grid, airways, widen=4.5), -100)
    lumen = rasterise(canvas.grid, airways) * np.maximum(inside, mediastinum)
    canvas.cover(lumen, -960, Organ.AIRWAY)
