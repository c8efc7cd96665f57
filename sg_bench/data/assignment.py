"""Assignment of patients to parts of given sizes: at random, or stratified by label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

P = TypeVar("P", bound=str)


class SplitUnit(NamedTuple):
    """One patient, who is assigned to a single part."""

    weight: int
    """How much the patient adds to a part's size: 1, or the number of cases."""
    labels: frozenset[str]
    """What to stratify by."""


def part_sizes(total: int, fractions: Mapping[P, float]) -> dict[P, int]:
    """Return the size of each part by largest remainders; a part with a fraction above 0 gets at least 1.

    `total` must be at least the number of such parts.
    """
    wanted = [part for part, fraction in fractions.items() if fraction > 0]
    exact = {part: total * fractions[part] / sum(fractions.values()) for part in wanted}
    sizes: dict[P, int] = {part: int(exact[part]) for part in wanted}
    by_remainder = sorted(wanted, key=lambda part: sizes[part] - exact[part])
    for part in by_remainder[: total - sum(sizes.values())]:
        sizes[part] += 1
    for part in wanted:
        if sizes[part] == 0:
            sizes[max(wanted, key=lambda other: sizes[other])] -= 1
            sizes[part] = 1
    return sizes


def assign_units(
    units: Sequence[SplitUnit], sizes: Sequence[int], generator: np.random.Generator, *, stratify: bool
) -> list[int]:
    """Return the index into `sizes` of the part that each unit is assigned to; no part stays empty.

    Args:
        units: at least as many as parts.
        sizes: target sum of weights of each part; together they equal the sum of all weights.
        generator: draws the order in which units are considered.
        stratify: spread each label over the parts by their sizes, the rarest label first (iterative stratification).

    Source: iterative stratification is that of Sechidis, Tsoumakas and Vlahavas, "On the stratification of multi-label
    data", ECML PKDD 2011. Unlike there, a full part takes no more units, so that the sizes are kept.
    """
    order = generator.permutation(len(units)).tolist()
    assigned = _stratified(units, sizes, order) if stratify else _sequential(units, sizes, order)
    for part in range(len(sizes)):
        if part not in assigned:  # move the lightest unit of the part with most units here
            fullest = max(range(len(sizes)), key=assigned.count)
            index = min((i for i, to in enumerate(assigned) if to == fullest), key=lambda i: units[i].weight)
            assigned[index] = part
    return assigned


def _sequential(units: Sequence[SplitUnit], sizes: Sequence[int], order: list[int]) -> list[int]:
    """Fill one part after the other, each with the first units that add up to its size; the last takes the rest."""
    assigned = [len(sizes) - 1] * len(units)
    for part, size in enumerate(sizes[:-1]):
        chosen = set(_subset_with_sum([units[index].weight for index in order], size))
        for position in chosen:
            assigned[order[position]] = part
        order = [index for position, index in enumerate(order) if position not in chosen]
    return assigned


def _subset_with_sum(weights: list[int], size: int) -> list[int]:
    """Return the positions of the first weights that sum to `size`, or to the nearest sum that is possible."""
    widest = max(weights, default=1)
    chosen: list[int] = []
    while size > 4 * widest and len(chosen) < len(weights):  # far from full, any weight fits
        size -= weights[len(chosen)]
        chosen.append(len(chosen))
    start, limit = len(chosen), (1 << (size + widest + 1)) - 1
    sums = [1]  # bit n: the weights from here to the end can sum to n
    for weight in reversed(weights[start:]):
        sums.append((sums[-1] | sums[-1] << weight) & limit)
    sums.reverse()
    left = min((n for n in range(size + widest + 1) if sums[0] >> n & 1), key=lambda n: (abs(n - size), n))
    for position, weight in enumerate(weights[start:], start):
        if weight <= left and sums[position - start + 1] >> (left - weight) & 1:
            chosen.append(position)
            left -= weight
    return chosen


def _stratified(units: Sequence[SplitUnit], sizes: Sequence[int], order: list[int]) -> list[int]:
    """Assign the units of the rarest label first, each to the part that lacks most of that label."""
    capacity, total = list(sizes), sum(sizes)
    remaining = Counter(label for unit in units for label in unit.labels)
    lacking = {label: [count * size / total for size in sizes] for label, count in remaining.items()}
    assigned: dict[int, int] = {}

    def assign(index: int, wanted: Sequence[float]) -> None:
        part = assigned[index] = _best_part(units[index].weight, capacity, wanted)
        capacity[part] -= units[index].weight
        for label in units[index].labels:
            lacking[label][part] -= 1

    while remaining:
        rarest = min(remaining, key=lambda label: (remaining[label], label))
        for index in order:
            if index not in assigned and rarest in units[index].labels:
                assign(index, lacking[rarest])
                remaining -= Counter(units[index].labels)
    for index in order:
        if index not in assigned:
            assign(index, capacity)
    return [assigned[index] for index in range(len(units))]


def _best_part(weight: int, capacity: Sequence[int], wanted: Sequence[float]) -> int:
    """Return the part with capacity for `weight` that wants most; if none has, the one with the most capacity."""
    fitting = [part for part, left in enumerate(capacity) if left >= weight]
    if not fitting:
        return max(range(len(capacity)), key=lambda part: capacity[part])
    return max(fitting, key=lambda part: (wanted[part], capacity[part]))
