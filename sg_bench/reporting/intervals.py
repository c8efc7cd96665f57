"""The confidence interval of a mean score that tables, figures and the page print."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sg_bench.evaluation.metrics import bounds_of
from sg_bench.statistics.intervals import ConfidenceInterval, bounded_interval, t_interval


def score_interval(values: Sequence[float], metric: str) -> ConfidenceInterval | None:
    """Return the 95 % interval of the mean of a metric; None for fewer than two values.

    It is the t-interval on the logit scale, which cannot leave the bounds of the metric; without bounds the t-interval.

    Args:
        values: (n,) scores of independent units.
        metric: its name.
    """
    bounds = bounds_of(metric)
    return bounded_interval(values, low=bounds[0], high=bounds[1]) if bounds else t_interval(values)


def interval_sentences(metrics: Iterable[str]) -> Iterator[str]:
    """Yield which interval `score_interval` gives for these metrics, for a legend."""
    names = list(dict.fromkeys(metrics))
    if any(bounds_of(name) for name in names):
        yield "95 % interval: of the mean over units, by t on the logit scale, so it stays within the metric's range."
    unbounded = [name for name in names if not bounds_of(name)]
    if unbounded:
        yield f"95 % interval of {', '.join(unbounded)}: by t, since the metric has no known range."
