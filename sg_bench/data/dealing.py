"""How patients are dealt out to parts of given sizes: at random, or so that each label has its share in every part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

P = TypeVar("P", bound=str)


class Hand(NamedTuple):
    """What is dealt as a whole: one patient."""

    weight: int
    """What it counts towards a part's size."""
    labels: frozenset[str]
    """What every part should have its share of."""


def shares(total: int, fractions: Mapping[P, float]) -> dict[P, int]:
    """Return how many of `total` each part gets: largest remainders, and no part with a fraction above 0 left empty.

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


def deal(hands: Sequence[Hand], sizes: Sequence[int], generator: np.random.Generator, *, stratify: bool) -> list[int]:
    """Return the place in `sizes` that each hand goes to; no part stays empty.

    Args:
        hands: at least as many as parts.
        sizes: what the weights of each part should sum to; their sum is that of all weights.
        generator: where the order of the hands comes from.
        stratify: give each label its share in every part, the rarest label first (iterative stratification).

    Source: iterative stratification is that of Sechidis, Tsoumakas and Vlahavas, "On the stratification of multi-label
    data", ECML PKDD 2011. Here a part that is full takes no more, so that sizes are kept.
    """
    order = generator.permutation(len(hands)).tolist()
    dealt = _by_label(hands, sizes, order) if stratify else _in_turn(hands, sizes, order)
    return _none_empty(hands, dealt, len(sizes))


def _in_turn(hands: Sequence[Hand], sizes: Sequence[int], order: list[int]) -> list[int]:
    """Fill one part after the other, each with the first hands that make up its size; the last takes the rest."""
    dealt = [len(sizes) - 1] * len(hands)
    for part, size in enumerate(sizes[:-1]):
        chosen = set(_filling([hands[place].weight for place in order], size))
        for turn in chosen:
            dealt[order[turn]] = part
        order = [place for turn, place in enumerate(order) if turn not in chosen]
    return dealt


def _filling(weights: list[int], size: int) -> list[int]:
    """Return the places of the first weights that sum to `size`, or as nearly as any do."""
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
    for place, weight in enumerate(weights[start:], start):
        if weight <= left and sums[place - start + 1] >> (left - weight) & 1:
            chosen.append(place)
            left -= weight
    return chosen


def _by_label(hands: Sequence[Hand], sizes: Sequence[int], order: list[int]) -> list[int]:
    room, total = list(sizes), sum(sizes)
    having = Counter(label for hand in hands for label in hand.labels)
    want = {label: [count * size / total for size in sizes] for label, count in having.items()}
    dealt: dict[int, int] = {}
    while having:
        rarest = min(having, key=lambda label: (having[label], label))
        for place in order:
            if place not in dealt and rarest in hands[place].labels:
                dealt[place] = _neediest(hands[place].weight, room, want[rarest])
                _take(hands[place], dealt[place], room, want)
                having -= Counter(hands[place].labels)
    for place in order:
        if place not in dealt:
            dealt[place] = _neediest(hands[place].weight, room, room)
            _take(hands[place], dealt[place], room, want)
    return [dealt[place] for place in range(len(hands))]


def _neediest(weight: int, room: Sequence[int], want: Sequence[float]) -> int:
    """Return the part that wants most, among those with room, else the one with most room."""
    fitting = [part for part, left in enumerate(room) if left >= weight]
    if not fitting:
        return max(range(len(room)), key=lambda part: room[part])
    return max(fitting, key=lambda part: (want[part], room[part]))


def _take(hand: Hand, part: int, room: list[int], want: Mapping[str, list[float]]) -> None:
    room[part] -= hand.weight
    for label in hand.labels:
        want[label][part] -= 1


def _none_empty(hands: Sequence[Hand], dealt: list[int], parts: int) -> list[int]:
    """Return `dealt` with the lightest hand of the fullest part moved into each part that has none."""
    for part in range(parts):
        if part not in dealt:
            fullest = max(range(parts), key=dealt.count)
            place = min((p for p, to in enumerate(dealt) if to == fullest), key=lambda p: hands[p].weight)
            dealt[place] = part
    return dealt
