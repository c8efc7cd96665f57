"""Who trains, who validates, who tests: always whole patients, always the same for one seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from sg_bench.errors import DataError, UsageError
from sg_bench.recipes import Split

Part = Literal["train", "validation", "test"]


def assign(cases: Sequence[tuple[str, str]], split: Split) -> dict[Part, list[str]]:
    """Divide `cases`, pairs of (id, patient), into the three parts by patient.

    The fractions count patients, rounded so that every part with a fraction above zero gets at least one. The
    outcome depends on the set of patients and on `split`, not on the order of `cases`.

    Returns:
        The ids of each part, sorted; a part with fraction zero is empty.

    Raises:
        DataError: fewer patients than parts to fill, or one id given twice.
    """
    _refuse_duplicates([case for case, _ in cases])
    patients = sorted({patient for _, patient in cases})
    sizes = _sizes(len(patients), {"train": split.train, "validation": split.validation, "test": split.test})
    drawn = iter(np.random.default_rng([split.seed]).permutation(len(patients)))
    part_of = {patients[next(drawn)]: part for part, size in sizes.items() for _ in range(size)}
    parts: dict[Part, list[str]] = {"train": [], "validation": [], "test": []}
    for case, patient in sorted(cases):
        parts[part_of[patient]].append(case)
    return parts


def nested_subset(ids: list[str], fraction: float, seed: int) -> list[str]:
    """Return `fraction` of `ids` (at least one), sorted; for one seed, a smaller subset lies inside a larger one.

    Raises:
        UsageError: `fraction` is not in (0, 1].
        DataError: `ids` is empty or holds an id twice.
    """
    if not 0 < fraction <= 1:
        raise UsageError(f"fraction must be above 0 and at most 1, not {fraction}")
    if not ids:
        raise DataError("no case to take a fraction of", hint="Check the split: its training part is empty")
    _refuse_duplicates(ids)
    ordered = sorted(ids)
    order = np.random.default_rng([seed]).permutation(len(ordered))
    count = max(1, round(fraction * len(ordered)))
    return sorted(ordered[index] for index in order[:count])


def _sizes(patients: int, fractions: dict[Part, float]) -> dict[Part, int]:
    """Return how many patients each part gets: largest remainders, and no wanted part left empty."""
    wanted = [part for part, fraction in fractions.items() if fraction > 0]
    if patients < len(wanted):
        raise DataError(
            f"{patients} patients cannot fill {len(wanted)} parts ({', '.join(wanted)})",
            hint="Add data, or set a part's fraction to 0",
        )
    exact = {part: patients * fractions[part] / sum(fractions.values()) for part in wanted}
    sizes: dict[Part, int] = {part: int(exact[part]) for part in wanted}
    by_remainder = sorted(wanted, key=lambda part: sizes[part] - exact[part])
    for part in by_remainder[: patients - sum(sizes.values())]:
        sizes[part] += 1
    for part in wanted:
        if sizes[part] == 0:
            sizes[max(wanted, key=lambda other: sizes[other])] -= 1
            sizes[part] = 1
    return sizes


def _refuse_duplicates(ids: list[str]) -> None:
    seen: set[str] = set()
    for case in ids:
        if case in seen:
            raise DataError(f"case '{case}' is listed twice", hint="Give every case its own id")
        seen.add(case)
