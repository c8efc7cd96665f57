"""Recomputation of all metrics from the stored predictions, for comparison with the ledger; needs no network.

Predictions count only if the digest of their content is the one in the cell's record. Numbers that differ by less than
the rounding of another machine's library are the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sg_bench import __version__
from sg_bench.digests import OF_FILE, npz_digest
from sg_bench.errors import DataError, SgBenchError
from sg_bench.evaluation.metrics import mean_iou_keras_stream
from sg_bench.evaluation.predictions import Predictions
from sg_bench.evaluation.scoring import Scoring, score_predictions
from sg_bench.ledger import Ledger, Record, ScoreTables
from sg_bench.workspace import Workspace

PredictionState = Literal["same", "differs", "missing", "damaged"]
ROUNDING = 1e-12
UNKNOWN_TO_SCORING = ("patient",)
"""Fields of a case's row that come from the data, not from the predictions."""


@dataclass(frozen=True)
class Change:
    """One metric whose two values differ."""

    name: str
    old: str
    """In the ledger: a fraction at full precision, "undefined" or "absent"."""
    new: str
    """The metrics computed from the predictions."""


@dataclass(frozen=True)
class Rescored:
    """Metrics computed again from one finished cell's predictions, and how they differ from its record."""

    key: str
    state: PredictionState
    """missing: there are no predictions; damaged: these or the record's table are not what was recorded."""
    reason: str = ""
    """Why there is no comparison."""
    changes: tuple[Change, ...] = ()
    rows: int = 0
    """Number of test cases with different rows."""
    metrics: dict[str, float | None] = field(default_factory=dict, repr=False)
    cases: list[dict[str, Any]] = field(default_factory=list, repr=False)
    streamed: float | None = None
    """`mean_iou_keras_stream`, where it was asked for and exists."""


def rescore(record: Record, workspace: Workspace, *, stream: int | None = None) -> Rescored:
    """Score the stored predictions of a finished cell again and compare the result with its record.

    Args:
        record: of a finished cell.
        workspace: the folder with predictions/ and the cells/ of the record: a workspace, or a results folder that
            has both.
        stream: cases a batch, for `mean_iou_keras_stream` of a segmentation; None: not asked for.
    """
    key, path = record["key"], workspace.path("predictions", f"{record['key']}.npz")
    state, reason = _file_state(path, record["outputs"].get("predictions"))
    if state != "same":
        return Rescored(key, state, reason)
    task = record["recipe"]["task"]
    try:
        found = Predictions.load(path)
        scoring = Scoring.of(task)
        metrics, rows = score_predictions(scoring, found)
        one_mask = scoring.kind == "segmentation" and not scoring.several_masks
        streamed = _streamed(found, stream) if stream and one_mask else None
        recorded = ScoreTables({key: record}, workspace.path("cells")).case_rows(key)
    except SgBenchError as error:
        return Rescored(key, "damaged", str(error))
    cases = _with_patients(rows, recorded)
    changes, apart = tuple(_changes(record["metrics"], metrics)), _count_different(recorded, cases)
    state = "differs" if changes or apart else "same"
    return Rescored(key, state, "", changes, apart, metrics, cases, streamed)


def write(found: Rescored, ledger: Ledger) -> bool:
    """Write new values into the ledger, which keeps the old ones too; return whether there were any."""
    if found.state == "differs":
        ledger.rescore(found.key, dict(found.metrics), found.cases, __version__)
    return found.state == "differs"


def exit_code(found: Iterable[Rescored], *, written: bool = False) -> int:
    """Return 0 if all is the same (or `written`), 1 if something differs, 3 if predictions are missing or damaged."""
    states = {each.state for each in found}
    if "differs" in states and not written:
        return 1
    return 3 if states & {"missing", "damaged"} else 0


def _file_state(path: Path, digest: str | None) -> tuple[PredictionState, str]:
    if not path.is_file():
        return "missing", f"no predictions at {path}"
    if not digest:
        return "damaged", f"the record has no digest of its predictions, so {path} proves nothing"
    try:
        found = npz_digest(path, like=digest)
    except DataError as error:
        return "damaged", str(error)
    if found != digest:
        own, recorded = (each.removeprefix(OF_FILE)[:12] for each in (found, digest))
        return "damaged", f"{path} has the SHA-256 {own}..., in the record it is {recorded}..."
    return "same", ""


def _streamed(found: Predictions, batch_size: int) -> float | None:
    ids = sorted(found.truths)
    probabilities, truths = [found.probabilities[id_] for id_ in ids], [found.truths[id_] for id_ in ids]
    value = mean_iou_keras_stream(probabilities, truths, batch_size)
    return None if math.isnan(value) else value


def _with_patients(rows: list[dict[str, Any]], recorded: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    known = {row["case"]: {name: row[name] for name in UNKNOWN_TO_SCORING if name in row} for row in recorded}
    return [{**row, **known.get(row["case"], {})} for row in rows]


def _changes(old: Mapping[str, float | None], new: Mapping[str, float | None]) -> Iterable[Change]:
    for name in sorted({*old, *new}):
        if name not in old or name not in new or not _same(old[name], new[name]):
            yield Change(name, _text(old, name), _text(new, name))


def _count_different(old: Iterable[Mapping[str, Any]], new: Iterable[Mapping[str, Any]]) -> int:
    ours, theirs = ({row["case"]: row for row in rows} for rows in (old, new))
    return sum(not _same(ours.get(case), theirs.get(case)) for case in {*ours, *theirs})


def _same(old: Any, new: Any) -> bool:
    if isinstance(old, float) and isinstance(new, (int, float)):
        return math.isclose(old, new, rel_tol=0, abs_tol=ROUNDING)
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return old.keys() == new.keys() and all(_same(old[name], new[name]) for name in old)
    return bool(old == new)


def _text(metrics: Mapping[str, float | None], name: str) -> str:
    if name not in metrics:
        return "absent"
    value = metrics[name]
    return "undefined" if value is None else repr(value)
