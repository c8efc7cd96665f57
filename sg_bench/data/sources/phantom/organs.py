"""What the phantom calls its parts: the classes of a CT's label map, and the findings of a film."""

from __future__ import annotations

from enum import IntEnum

FINDINGS = ("Cardiomegaly", "Effusion", "Nodule", "Pneumothorax", "Consolidation")
"""Named and ordered as in ChestX-ray14."""


class Organ(IntEnum):
    """A voxel's class; 0 is the air around the patient."""

    BACKGROUND = 0
    LUNG = 1
    """Aerated parenchyma: neither airway, vessel nor nodule."""
    HEART = 2
    LIVER = 3
    SPLEEN = 4
    STOMACH = 5
    """Wall, content and gas."""
    AORTA = 6
    SPINE = 7
    RIBS = 8
    """Ribs and sternum."""
    AIRWAY = 9
    VESSEL = 10
    """Inside the lungs only."""
    BODY = 11
    """Muscle and fat: all that no other class names."""
    KIDNEY = 12
    NODULE = 13
    VENA_CAVA = 14
    OESOPHAGUS = 15
    PLEURAL_AIR = 16
    """A pneumothorax; this and the following are in the chests of films only."""
    PLEURAL_FLUID = 17
    CONSOLIDATION = 18
