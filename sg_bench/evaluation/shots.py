"""Few shots: so many training samples of each class, nested from few to many under one seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sg_bench.data.identity import stable_hash
from sg_bench.data.store import Store
from sg_bench.errors import DataError
from sg_bench.evaluation.crops import Crop, truth_of
from sg_bench.tasks import Task


def few_shots(
    task: Task, store: Store, ids: Sequence[str], crops: Sequence[Crop], seed: int
) -> tuple[list[str], list[Crop]]:
    """Return the cases and crops of `task.shots`: all that are given if it is None.

    A classification keeps that many crops of each class, and of each finding, a segmentation that many cases that show
    the target, a class or a region, and a regression that many crops. They are those with the smallest hashes of the
    seed and the id.

    Args:
        task: the task card.
        store: the task's data.
        ids: of the training cases.
        crops: those of `candidate_or_image_crops`; a foreground task has none.
        seed: the fine-tuning seed.

    Raises:
        DataError: there are fewer of one class.
    """
    if task.shots is None:
        return list(ids), list(crops)
    if task.kind == "segmentation":
        chosen = _cases_with_target(task, store, ids, crops, seed)
        return chosen, [crop for crop in crops if crop.case in chosen]
    if task.kind == "regression":
        _check_enough(task.shots, len(crops), "samples")
        few = [crops[index] for index in sorted(_ranked([crop.id for crop in crops], seed)[: task.shots])]
    else:
        truths = [truth_of(store, task, crop) for crop in crops]
        few = _few_of_each(task, crops, truths, seed)
    cases = {crop.case for crop in few}
    return [id_ for id_ in ids if id_ in cases], few


def _few_of_each(task: Task, crops: Sequence[Crop], truths: Sequence[NDArray[np.bool_]], seed: int) -> list[Crop]:
    """Return the crops that are among the first `task.shots` of a class, of any finding, in the order of `crops`."""
    assert task.shots is not None
    ranked = _ranked([crop.id for crop in crops], seed)
    chosen: set[int] = set()
    for output in range(task.outputs):
        name = f" of {task.output_names[output]}" if task.output_names else ""
        for value, what in ((True, "positive"), (False, "negative"))[: 1 if task.exclusive else 2]:
            found = [index for index in ranked if bool(truths[index][output]) == value]
            _check_enough(task.shots, len(found), f"{what} samples{name}")
            chosen.update(found[: task.shots])
    return [crops[index] for index in sorted(chosen)]


def _cases_with_target(task: Task, store: Store, ids: Sequence[str], crops: Sequence[Crop], seed: int) -> list[str]:
    """Return the first `task.shots` cases, ranked by `seed`, that show the target; labels are read until they do."""
    assert task.shots is not None
    candidates = task.sampling.places == "candidates"
    positive = {crop.case for crop in crops if crop.positive}
    found: list[str] = []
    for index in _ranked(ids, seed):
        id_ = ids[index]
        shown = id_ in positive if candidates else bool(np.isin(store.label(id_), task.foreground).any())
        if shown:
            found.append(id_)
        if len(found) == task.shots:
            return sorted(found)
    _check_enough(task.shots, len(found), "cases that show the target")
    return sorted(found)


def _ranked(ids: Sequence[str], seed: int) -> list[int]:
    return sorted(range(len(ids)), key=lambda index: stable_hash(f"{seed} {ids[index]}"))


def _check_enough(wanted: int, found: int, what: str) -> None:
    if found < wanted:
        raise DataError(
            f"shots={wanted} needs {wanted} {what}, and the training cases hold {found}",
            hint="Choose fewer shots, or another split",
        )
