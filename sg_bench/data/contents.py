"""What only reading shows of a data set: the values of its label maps against a card's, and masks that are empty."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sg_bench.config import PARTS, Split
from sg_bench.data.splits import IdLists, SplitParts, SplittableCase, assign
from sg_bench.errors import DataError

LabelCounts = dict[int, int]
"""Voxels of a label map by value, without 0."""
Masks = Mapping[str, Sequence[int]]
"""The label-map values of each class or region by name; that of a single target has the name ""."""


@dataclass
class Findings:
    """What reading shows, one line each."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def check_labels(self, label: str, masks: Masks, counts: Mapping[str, LabelCounts], labelled: int) -> None:
        """Add what is wrong with the values of the label maps of the task `label`, of which `labelled` exist."""
        values = {value for each in counts.values() for value in each}
        try:
            problems = label_problems(masks, values, len(counts), labelled)
        except DataError as error:
            self.errors.append(f"task '{label}': {error}")
        else:
            self.warnings += [f"task '{label}': {line}" for line in problems]

    def check_empty(
        self,
        label: str,
        masks: Masks,
        counts: Mapping[str, LabelCounts],
        cases: Sequence[SplittableCase],
        split: Split,
        lists: IdLists,
    ) -> None:
        """Add warnings of masks that are empty in the parts of the first fold."""
        parts = assign(cases, split, lists=lists)
        self.warnings += [f"task '{label}': {line}" for line in empty_masks(masks, counts, parts)]


def label_counts(label: NDArray[np.uint8] | None) -> LabelCounts:
    """Return the voxels of each value but 0; {} without a label map."""
    if label is None:
        return {}
    counts = np.bincount(np.asarray(label).ravel(order="K"))
    return {value: int(counts[value]) for value in np.flatnonzero(counts).tolist() if value}


def label_problems(masks: Masks, values: Iterable[int], read: int, labelled: int) -> list[str]:
    """Compare the values of label maps with those that a card names; return warnings.

    Args:
        masks: the values of each class or region.
        values: all values that occur, but 0.
        read: number of label maps that were read.
        labelled: number of label maps.

    Raises:
        DataError: all label maps were read, and a class or region is in none of them.
    """
    there = sorted(set(values))
    shown, problems = ", ".join(map(str, there)) or "nothing but 0", []
    for name, wanted in masks.items() if read else ():
        if {*wanted} & {*there}:
            continue
        some = "" if read == labelled else " that were read"
        what = f"{_values(wanted, name)} in none of {read} label maps{some}, which hold {shown}"
        if read == labelled:
            raise DataError(what, hint="Correct `target`, `classes` or `regions` of the card, or the label maps")
        problems.append(what)
    extra = set(there) - {value for wanted in masks.values() for value in wanted}
    if extra:
        problems.append(f"{_values(sorted(extra))} in the label maps, but not in the card: it counts as background")
    return problems


def empty_masks(masks: Masks, counts: Mapping[str, LabelCounts], parts: SplitParts) -> list[str]:
    """Return warnings of classes or regions that test or training cases do not show.

    Args:
        masks: the values of each class or region.
        counts: the voxels of each value, by case.
        parts: the cases of each part; those that `counts` lacks could not be read.
    """
    problems = []
    for part in (part for part in PARTS if part != "validation"):
        ids = [id_ for id_ in parts[part] if id_ in counts]
        for name, wanted in masks.items():
            empty = [id_ for id_ in ids if not any(counts[id_].get(value) for value in wanted)]
            what = f"'{name}'" if name else "the target"
            if ids and len(empty) == len(ids):
                then = "its score rewards silence" if part == "test" else "it cannot be learnt"
                problems.append(f"no {part} case shows {what}: {then}")
            elif empty and part == "test":
                some = f"{', '.join(empty[:3])}{', ...' if len(empty) > 3 else ''}"
                problems.append(
                    f"{len(empty)} of {len(ids)} test cases show nothing of {what} ({some}): there, predicting nothing "
                    "is perfect"
                )
    return problems


def _values(values: Sequence[int], name: str = "") -> str:
    what = "label values" if len(values) > 1 else "label value"
    return f"{what} {', '.join(map(str, values))}{f' ({name})' if name else ''}"
