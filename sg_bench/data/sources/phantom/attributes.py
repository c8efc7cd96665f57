"""What is known of a phantom patient besides images, as a user's table has it; drawn without computing the anatomy."""

from __future__ import annotations

from collections.abc import Sequence

from sg_bench.data.sources.phantom.patient import draw_patient
from sg_bench.data.sources.phantom.streams import PatientIdentity, RandomStream

WITHOUT_CONTRAST = 85.0
"""HU of blood below which no contrast medium was given: it adds 60 HU or more to 45 +- 6."""
LATE = 165.0
"""HU of blood from which the contrast is strong."""


def draw_attributes(identity: PatientIdentity, names: Sequence[str]) -> dict[str, str | float]:
    """Return some attributes of a chest.

    `contrast`: "native" or "enhanced"; `phase`: "native", "weak" or "strong" enhancement; `blood`: attenuation of the
    blood in HU, of which both are made.
    """
    blood = float(draw_patient(identity.generator(RandomStream.BUILD)).hu.blood)
    native = blood < WITHOUT_CONTRAST
    found: dict[str, str | float] = {
        "contrast": "native" if native else "enhanced",
        "phase": "native" if native else "weak" if blood < LATE else "strong",
        "blood": round(blood, 3),
    }
    return {name: found[name] for name in names}
