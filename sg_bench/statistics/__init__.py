"""Intervals, effect sizes, tests and power: arrays in, numbers out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sg_bench.lazy import lazy_exports

if TYPE_CHECKING:
    from sg_bench.statistics.effects import cliffs_delta, hedges_g, probability_of_improvement
    from sg_bench.statistics.families import dunnett, dunnett_t3, games_howell, holm, papers_test, welch_holm
    from sg_bench.statistics.intervals import ConfidenceInterval, bounded_interval, t_interval
    from sg_bench.statistics.power import detectable, power_of, units_needed
    from sg_bench.statistics.two_sample import TestResult, mann_whitney, paired_t, sign_flip, students_t, welch

__all__ = [
    "ConfidenceInterval",
    "TestResult",
    "bounded_interval",
    "cliffs_delta",
    "detectable",
    "dunnett",
    "dunnett_t3",
    "games_howell",
    "hedges_g",
    "holm",
    "mann_whitney",
    "paired_t",
    "papers_test",
    "power_of",
    "probability_of_improvement",
    "sign_flip",
    "students_t",
    "t_interval",
    "units_needed",
    "welch",
    "welch_holm",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        **dict.fromkeys(("cliffs_delta", "hedges_g", "probability_of_improvement"), "effects"),
        **dict.fromkeys(("dunnett", "dunnett_t3", "games_howell", "holm", "papers_test", "welch_holm"), "families"),
        **dict.fromkeys(("ConfidenceInterval", "bounded_interval", "t_interval"), "intervals"),
        **dict.fromkeys(("detectable", "power_of", "units_needed"), "power"),
        **dict.fromkeys(("TestResult", "mann_whitney", "paired_t", "sign_flip", "students_t", "welch"), "two_sample"),
    },
)
