"""What a chest film may show: which findings a patient has, known at once and without any anatomy."""

from __future__ import annotations

from sg_bench.data.sources.phantom.organs import FINDINGS
from sg_bench.data.sources.phantom.streams import PatientIdentity, RandomStream

HEALTHY = 0.15
"""Share of patients without any finding."""
PREVALENCE = (0.5, 0.55, 0.5, 0.55, 0.55)
"""Of each finding among the others, where it does not depend on the rest; far above any clinic's, so that two dozen
patients hold several with and without each."""


def draw_findings(identity: PatientIdentity) -> tuple[int, ...]:
    """Return 1 or 0 for each of `FINDINGS`."""
    health, *drawn = identity.generator(RandomStream.FINDINGS).random(1 + len(FINDINGS))
    return tuple(int(health >= HEALTHY and value < share) for value, share in zip(drawn, PREVALENCE, strict=True))
