"""Label classes of the phantom's CT and findings of its films."""

from __future__ import annotations

from enum import IntEnum

FINDINGS = ("Cardiomegaly", "Effusion", "Nodule", "Pneumothorax", "Consolidation")
"""Names and order as in ChestX-ray14."""


class Organ(IntEnum):
    """Class of a voxel; 0 is the air around the patient."""

    BACKGROUND = 0
    LUNG = 1
    """Aerated parenchyma without airways, vessels and nodules."""
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
    """Muscle, fat and all other tissue."""
    KIDNEY = 12
    NODULE = 13
    VENA_CAVA = 14
    OESOPHAGUS = 15
    PLEURAL_AIR = 16
    """A pneumothorax; this and the following are in the chests of films only."""
    PLEURAL_FLUID = 17
    CONSOLIDATION = 18
