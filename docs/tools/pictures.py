"""Draw the pictures of docs/statistics-explained.md by the statistics of the reports.

Usage: python docs/tools/pictures.py [FOLDER]     (docs/pictures by default; equal code gives equal bytes)

All scores are simulated: methods that are equal by construction, so every difference in these pictures is chance.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sg_bench.reporting.figures.style import BLUE, COLOURS, GREY, ORANGE, PAGE, figure_settings
from sg_bench.statistics import bounded_interval, detectable, students_t
from sg_bench.statistics.ties import separate

MEAN, SPREAD = 0.80, 0.02
"""True mean and standard deviation over seeds of every simulated method."""
METHODS = 9
RED = COLOURS[1]


def main(folder: Path) -> None:
    """Draw all pictures into a folder."""
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    pictures: dict[str, Callable[[Figure], None]] = {
        "intervals": intervals,
        "detectable": detectable_differences,
        "winner": winner,
        "false-winners": false_winners,
        "units": units,
    }
    for name, draw in pictures.items():
        with figure_settings():
            figure = Figure(figsize=(PAGE, 2.6), layout="constrained")
            draw(figure)
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None}, facecolor="white")


def scores(seed: int, *shape: int) -> np.ndarray:
    """Return scores of equal methods, of any shape."""
    return np.random.default_rng(seed).normal(MEAN, SPREAD, shape)


def intervals(figure: Any) -> None:
    """Twenty repetitions of one experiment with n = 2, 5 and 10 seeds, each with the interval of its mean."""
    axes = figure.subplots(1, 3, sharey=True)
    for axis, n in zip(axes, (2, 5, 10), strict=True):
        for place, values in enumerate(scores(n, 20, n)):
            found = bounded_interval(list(values))
            assert found
            misses = not found.low <= MEAN <= found.high
            axis.vlines(place, 100 * found.low, 100 * found.high, color=RED if misses else BLUE, linewidth=1.5)
            axis.plot(place, 100 * values.mean(), "o", color=RED if misses else BLUE, markersize=3)
        axis.axhline(100 * MEAN, color=GREY, linewidth=0.8)
        axis.set_title(f"n = {n} seeds")
        axis.set_xticks([])
        axis.set_xlabel("20 repetitions of the same experiment")
    axes[0].set_ylabel("mean score and 95 % interval (%)")


def detectable_differences(figure: Any) -> None:
    """The smallest difference that is found in four of five experiments, by the number of seeds."""
    axis = figure.subplots()
    numbers = [2, 3, 4, 5, 6, 8, 10, 15, 20, 30]
    for comparisons, colour in ((1, BLUE), (METHODS, RED)):
        found = [100 * SPREAD * detectable(n, n, comparisons) for n in numbers]
        label = "one comparison, planned" if comparisons == 1 else f"{comparisons} comparisons that share 5 %"
        axis.plot(numbers, found, "o-", color=colour, label=label)
    axis.set_yscale("log")
    axis.set_yticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"])
    axis.minorticks_off()
    axis.set_xticks(numbers)
    axis.grid(axis="y")
    axis.set_xlabel("seeds a method")
    axis.set_ylabel("difference in points\nfound with 80 % probability")
    axis.legend(title="standard deviation over seeds: 2 points")


def winner(figure: Any) -> None:
    """One experiment with equal methods, of those with a false winner: its tests, without and with adjustment."""
    values = 100 * scores(41, METHODS, 10)
    order = np.argsort(-values.mean(axis=1))
    names = [f"method {chr(ord('A') + place)}" for place in range(METHODS)]
    groups = {names[place]: list(values[place] / 100) for place in order}
    found = separate(groups)
    ranked = list(groups)
    axis = figure.subplots()
    for place, name in enumerate(ranked):
        colour = GREY if name != found.best else BLUE
        axis.plot([place] * 10, 100 * np.array(groups[name]), ".", color=colour, alpha=0.5)
        axis.hlines(100 * np.mean(groups[name]), place - 0.3, place + 0.3, color=colour, linewidth=2)
        if name != found.best:
            alone = students_t(groups[found.best], groups[name]).p
            axis.text(place, 87.2, f"{alone:.3f}", ha="center", color=RED if alone < 0.05 else GREY)
            axis.text(place, 86.2, f"{found.p[name]:.2f}", ha="center", color=GREY)
    axis.text(-0.45, 87.2, "p, t-test alone", ha="left", color=GREY)
    axis.text(-0.45, 86.2, "p, adjusted", ha="left", color=GREY)
    axis.set_xticks(range(METHODS), ranked)
    axis.set_xlim(-0.5, METHODS - 0.5)
    axis.set_ylim(74, 88.2)
    axis.set_ylabel("score (%), 10 seeds")


def false_winners(figure: Any) -> None:
    """How often the best of k equal methods is declared better than another."""
    axis = figure.subplots()
    numbers = [2, 3, 5, 7, 9, 12]
    alone = [100 * by_t_tests(scores(k, 5000, k, 10)).mean() for k in numbers]
    found = [100 * np.mean([adjusted(values) for values in scores(k, 300, k, 10)]) for k in numbers]
    axis.plot(numbers, alone, "o-", color=RED, label="a t-test of the best with each other method")
    axis.plot(numbers, found, "s-", color=BLUE, label="the report: adjusted for all pairs (Dunnett's T3)")
    axis.axhline(5, color=GREY, linewidth=0.8)
    axis.text(12, 7, "5 %, as promised", ha="right", color=GREY)
    axis.set_xticks(numbers)
    axis.set_ylim(0, None)
    axis.set_xlabel("equal methods, 10 seeds each")
    axis.set_ylabel("experiments with\na false winner (%)")
    axis.legend()


def by_t_tests(values: np.ndarray) -> np.ndarray:
    """Return of each experiment (runs, methods, seeds) whether a t-test declares its best better than any other."""
    from scipy.stats import ttest_ind

    best = values.mean(axis=2).argmax(axis=1)
    p = ttest_ind(values[np.arange(len(values)), best][:, None], values, axis=2).pvalue
    return np.asarray((p < 0.05).any(axis=1))  # p = 1 of the best with itself


def adjusted(values: np.ndarray) -> bool:
    """Return of one experiment (methods, seeds) whether its best is separated from any other as in a report."""
    return len(separate({str(place): list(each) for place, each in enumerate(values)}).inseparable) < len(values)


def units(figure: Any) -> None:
    """Two equal methods, five pretrainings with six fine-tunings each, that mislead if each run counts."""
    rng = np.random.default_rng(49)
    middles = rng.normal(MEAN, SPREAD, (2, 5, 1))
    values = middles + rng.normal(0, 0.003, (2, 5, 6))
    axis = figure.subplots()
    for method, colour in enumerate((BLUE, ORANGE)):
        for place, runs in enumerate(values[method]):
            axis.plot(6 * method + place + np.linspace(-0.25, 0.25, 6), 100 * runs, ".", color=colour)
            axis.hlines(100 * runs.mean(), 6 * method + place - 0.35, 6 * method + place + 0.35, color=colour)
        axis.text(6 * method + 2, 100 * values.max() + 0.6, f"method {'AB'[method]}", ha="center", color=colour)
    runs = students_t(list(values[0].ravel()), list(values[1].ravel())).p
    means = students_t(list(values[0].mean(axis=1)), list(values[1].mean(axis=1))).p
    axis.set_xticks([*range(5), *range(6, 11)], [str(seed) for seed in range(5)] * 2)
    axis.set_xlabel("pretraining seed; a dot is a fine-tuning run")
    axis.set_ylabel("score (%)")
    axis.set_title(f"as 2 x 30 runs: p = {runs:.2g}; as 2 x 5 repetitions: p = {means:.2f}", loc="left")
    axis.margins(y=0.15)


if __name__ == "__main__":
    if len(sys.argv) > 2 or sys.argv[1:2] in (["-h"], ["--help"]):
        raise SystemExit(__doc__)
    main(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1] / "pictures"))
