"""Findings of a patient's chest film, drawn without computing the anatomy."""

from __future__ import annotations

from sg_bench.data.sources.phantom.organs import FINDINGS
from sg_bench.data.sources.phantom.streams import PatientIdentity, RandomStream

HEALTHY = 0.15
"""Fraction of patients without any finding."""
PREVALENCE = (0.5, 0.55, 0.5, 0.55, 0.55)
"""Prevalence of each finding among the other patients, independently; far above clinical values, so that two dozen
patients include several with and without each."""


def draw_findings(identity: PatientIdentity) -> tuple[int, ...]:
    """Return 1 or 0 for each of `FINDINGS`."""
    health, *drawn = identity.generator(RandomStream.FINDINGS).random(1 + len(FINDINGS))
    return tuple(int(health >= HEALTHY and value < share) for value, share in zip(drawn, PREVALENCE, strict=True))
