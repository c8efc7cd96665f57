"""Verdicts on the claims of a suite, and warnings about claims or seeds that were changed after the first report."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sg_bench.config import key_of
from sg_bench.errors import SgBenchError, did_you_mean
from sg_bench.evaluation.metrics import METRICS, higher_is_better, metric_of, scale_of, unit_of
from sg_bench.ledger import Record
from sg_bench.reporting.documents import one_line
from sg_bench.reporting.evidence import Evidence, Run
from sg_bench.reporting.frame import Cell
from sg_bench.reporting.render import unit_sentence
from sg_bench.reporting.tables import oriented
from sg_bench.statistics.claims import ClaimData, ClaimVerdict, evaluate_claims
from sg_bench.statistics.units import SeedPair, units_of
from sg_bench.suite import Claim, Suite, claims_digest, suite_digest, suite_tasks
from sg_bench.workspace import read_json, write_atomic, write_json

FIRST_CLAIMS = "claims.json"
COLUMNS = ("claim", "verdict", "test", "p", "adjusted p", "difference", "Hedges g", "n", "power", "because")
LEGEND = (
    "Differences in percentage points. p is adjusted by Holm's correction inside the claim's family. n counts "
    "pretraining seeds, or with one pretraining its fine-tuning seeds: then the verdict is about this checkpoint only. "
    "power: the probability, at this n and in this family, of finding the least difference worth a claim if the suite "
    "states one, else the observed difference, which adds nothing to p; of a rank or sign-flip test, as the "
    "t-test's. Hedges g: of pairs, and against a number, of the differences. Not supported means that no difference "
    "was found, not that there is none."
)


@dataclass(frozen=True)
class ClaimRow:
    """One claim with its verdict and warnings."""

    claim: Claim
    metric: str
    """Metric of the claim, else the headline of the task; "" if the task has no finished run."""
    verdict: ClaimVerdict
    warnings: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """Return "a > b on ncs, iou_bin"."""
        than = self.claim.than
        if isinstance(than, float):
            than = f"{scale_of(self.metric) * than:g} {unit_of(self.metric)}".rstrip()
        sign = ">" if higher_is_better(self.metric) else "<"
        return f"{self.claim.better} {sign} {than} on {self.claim.task}{f', {self.metric}' if self.metric else ''}"

    @property
    def outcome(self) -> str:
        """Return the outcome, limited to the checkpoint if there is a single pretraining."""
        decided = self.verdict.outcome != "cannot be decided"
        about = ", about this checkpoint only" if decided and self.verdict.checkpoint_only else ""
        return f"{self.verdict.outcome}{about}"


def claims_report(suite: Suite, evidence: Evidence, out: Path, others: Iterable[Record] = ()) -> list[str]:
    """Write `out`/tables/claims.md, store the claims of the first report, and return the lines to print.

    Args:
        suite: has the claims; if it has none, that is stored too and no verdicts are printed.
        evidence: the planned cells and their records.
        out: the report's folder.
        others: all finished records of the ledger, searched for runs of other seeds; read only if there are claims.

    Raises:
        SgBenchError: `out`/claims.json is damaged.
    """
    changed = _changed_claims(suite, evidence, out)
    path = out / "tables" / "claims.md"
    if not suite.claims:
        path.unlink(missing_ok=True)
        return changed
    rows = claim_rows(suite, evidence, others)
    write_atomic(path, claims_markdown(suite, rows, changed))
    return [*(_line(row) for row in rows), *changed, *(text for row in rows for text in row.warnings)]


def claim_rows(suite: Suite, evidence: Evidence, others: Iterable[Record] = ()) -> list[ClaimRow]:
    """Return the verdicts of a suite's claims, in its order; `others` as for `claims_report`."""
    if not suite.claims:
        return []
    seeds = _FinishedSeeds(evidence, others)
    # A part of a suite has the claims of all of it, whose tasks it may lack.
    written = {task.label: name for task, name in zip(suite_tasks(suite), suite.tasks, strict=True)}
    metrics = [claim.metric or evidence.headline(claim.task) or "" for claim in suite.claims]
    claims_data = [_argument(claim, metric, evidence) for claim, metric in zip(suite.claims, metrics, strict=True)]
    return [
        ClaimRow(claim, metric, verdict, tuple(_warnings(claim, suite, written, evidence, seeds)))
        for claim, metric, verdict in zip(suite.claims, metrics, evaluate_claims(claims_data), strict=True)
    ]


def claims_markdown(suite: Suite, rows: Sequence[ClaimRow], warnings: Sequence[str] = ()) -> str:
    """Return the table of verdicts, the warnings, and what was fixed beforehand, as Markdown."""
    head = [f"# Claims of {suite.title or suite.name}", f"Digest of the suite: `{suite_digest(suite)}`"]
    table = [_grid(COLUMNS), _grid(["---"] * len(COLUMNS)), *(_grid(_texts(row)) for row in rows)]
    fixed = [f"- {one_line(row.claim.name)}: {_fixed(row)}" for row in rows]
    emphasised = [f"**{one_line(text)}**" for text in (*warnings, *(text for row in rows for text in row.warnings))]
    units = unit_sentence(row.metric for row in rows)
    apart = f" {units} A difference is positive where the first side is better." if units else ""
    blocks = [*head, "\n".join(table), *emphasised, "Fixed beforehand:\n\n" + "\n".join(fixed), LEGEND + apart]
    return "\n\n".join(blocks) + "\n"


# ---- from claims to their data -------------------------------------------------------------------------------------


def _argument(claim: Claim, metric: str, evidence: Evidence) -> ClaimData:
    methods = [name for name in (claim.better, claim.than) if isinstance(name, str)]
    lacking = [text for name in methods for text in _lacking(claim, name, metric, evidence)]
    sides = [oriented(units_of(_scores(claim, name, metric, evidence)), metric) for name in methods]
    number = claim.than if isinstance(claim.than, float) else 0.0
    return ClaimData(
        claim.name,
        sides[0],
        (number if higher_is_better(metric) else -number) if isinstance(claim.than, float) else sides[1],
        claim.test,
        claim.alternative,
        claim.alpha,
        claim.family,
        claim.least_difference,
        tuple(_unknown_metric(claim, evidence) or lacking),
        scale_of(metric),
    )


def _fixed_seeds(claim: Claim) -> list[SeedPair]:
    return [(first, second) for first in claim.pretraining_seeds for second in claim.fine_tuning_seeds]


def _scores(claim: Claim, method: str, metric: str, evidence: Evidence) -> dict[SeedPair, float]:
    fixed = set(_fixed_seeds(claim))
    found = evidence.scores(method, claim.task, metric)
    return {seeds: score for seeds, score in found.items() if seeds in fixed}


def _unknown_metric(claim: Claim, evidence: Evidence) -> list[str]:
    """Return the error of a claim whose metric does not exist."""
    if not claim.metric or metric_of(claim.metric):
        return []
    return [f"there is no metric '{claim.metric}'. {did_you_mean(claim.metric, METRICS)}"]


def _lacking(claim: Claim, method: str, metric: str, evidence: Evidence) -> list[str]:
    """Return "scratch has 8 of 10 runs: 1 failed (method), 1 not run", or nothing if there are all."""
    fixed, found = _fixed_seeds(claim), _scores(claim, method, metric, evidence)
    cells = {
        (cell.pretraining_seed, cell.fine_tuning_seed): cell
        for cell in evidence.cells
        if (cell.method, cell.task) == (method, claim.task)
    }
    states = Counter(_state(cells.get(seeds), metric, evidence) for seeds in fixed if seeds not in found)
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    return [f"{method} has {len(found)} of {len(fixed)} runs: {counts}"] if states else []


def _state(cell: Cell | None, metric: str, evidence: Evidence) -> str:
    if cell is None:
        return "not part of this report"
    if cell.missing:
        return "without data"
    record = evidence.records.get(cell.key)
    if record is None:
        return "not run"
    if record["status"] == "done":
        return f"without a value of {metric}"
    return f"failed ({(record.get('error') or {}).get('kind', 'unknown')})"


# ---- changes after the first report ------------------------------------------------------------------------------


class _FinishedSeeds:
    """Seeds of all finished runs of each method and task, planned or not."""

    def __init__(self, evidence: Evidence, others: Iterable[Record]) -> None:
        self._found: dict[tuple[str, str], set[SeedPair]] = {}
        homes: dict[str, set[tuple[str, str]]] = {}
        for place, runs in evidence.runs.items():
            self._found[place] = {run.seeds for run in runs}
            homes.setdefault(_lineage(runs[0].record), set()).add(place)
        for record in others:
            for place in homes.get(_lineage(record), ()):
                recipe = record["recipe"]
                self._found[place].add((recipe["pretraining_seed"], recipe["fine_tuning_seed"]))

    def of(self, method: str, task: str) -> set[SeedPair]:
        return self._found.get((method, task), set())


def _lineage(record: Record) -> str:
    """Return the key of a recipe without its seeds, which is common to the runs of one method on one task."""
    recipe: Mapping[str, Any] = record.get("recipe") or {}
    names = ("pretraining_seed", "fine_tuning_seed")
    kept = {name: value for name, value in recipe.items() if name not in names}
    initialisation = dict(kept.get("initialisation") or {})
    initialisation.pop("seed", None)
    return key_of({**kept, "initialisation": initialisation})


def _warnings(
    claim: Claim, suite: Suite, written: Mapping[str, str], evidence: Evidence, seeds: _FinishedSeeds
) -> Iterator[str]:
    fixed = set(_fixed_seeds(claim))
    for method in (claim.better, claim.than):
        beyond = sorted(seeds.of(method, claim.task) - fixed) if isinstance(method, str) else []
        if beyond:
            names = ", ".join(f"{first}/{second}" for first, second in beyond[:10]) + (", ..." if beyond[10:] else "")
            yield (
                f"Warning: claim '{claim.name}': seeds may have been added after the first report: {method} on "
                f"{claim.task} has "
                f"{len(beyond)} finished runs of seeds that were not fixed beforehand ({names}); they are ignored"
            )
    planned = {
        seed
        for name in (claim.better, claim.than)
        if isinstance(name, str)
        for seed in suite.fine_tuning_seeds_of(name, written.get(claim.task, ""))
    }
    more = sum((first, second) not in fixed for first in suite.pretraining_seeds for second in planned)
    if more:
        yield (
            f"Warning: claim '{claim.name}': the suite has {more} seeds (pretraining/fine-tuning) more than were fixed "
            "for the claim; they are ignored"
        )
    if any(
        _leaks(run) for name in (claim.better, claim.than) for run in evidence.runs.get((str(name), claim.task), [])
    ):
        yield f"Warning: claim '{claim.name}': a pretraining may have seen test data of {claim.task}"


def _leaks(run: Run) -> bool:
    return bool(getattr(run.cell, "leak", None) or run.record.get("leak"))


def _changed_claims(suite: Suite, evidence: Evidence, out: Path) -> list[str]:
    """Store the claims at the first report with a result; return a warning if they differ from the stored ones."""
    path, digest = out / FIRST_CLAIMS, claims_digest(suite)
    try:
        first = read_json(path)[suite.name]["digest"] if path.exists() else None
    except KeyError:
        first = None
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError) as error:
        raise SgBenchError(f"{path} is damaged: {error}", hint="Restore it: it has the first claims") from error
    if first is None:
        if evidence.runs:
            _store(path, suite, digest)
        return []
    digests = f"their digest is {digest[:12]}, that of the first report {first[:12]} ({path.name})"
    return [] if first == digest else [f"Warning: claims were changed after the first report: {digests}"]


def _store(path: Path, suite: Suite, digest: str) -> None:
    stored = read_json(path) if path.exists() else {}
    claims = [claim.model_dump(mode="json") for claim in suite.claims]
    write_json(path, {**stored, suite.name: {"digest": digest, "claims": claims}})


# ---- text --------------------------------------------------------------------------------------------------------


def _texts(row: ClaimRow) -> list[str]:
    verdict = row.verdict
    return [
        f"{row.claim.name}: {row.sentence}",
        f"**{row.outcome}**",
        f"{verdict.test}, {row.claim.alternative}",
        _p(verdict.p),
        f"{_p(verdict.adjusted)} ({row.claim.family}, {verdict.comparisons})",
        "–" if verdict.difference is None else f"{scale_of(row.metric) * verdict.difference:+.2f}",
        _number(verdict.effect),
        _n(verdict.n),
        _number(verdict.power),
        verdict.reason,
    ]


def _line(row: ClaimRow) -> str:
    verdict = row.verdict
    unit, scale = unit_of(row.metric), scale_of(row.metric)
    points = " points" if unit == "%" else f" {unit}".rstrip()
    numbers = [
        "" if verdict.difference is None else f"difference {scale * verdict.difference:+.2f}{points}",
        f"Hedges g {verdict.effect:.2f}" if verdict.effect is not None else "",
        f"n = {_n(verdict.n)}",
        f"power {verdict.power:.2f}" if verdict.power is not None else "",
    ]
    found = ", ".join(number for number in numbers if number)
    return f"Claim '{row.claim.name}' ({row.sentence}): {row.outcome}: {verdict.reason} ({verdict.test}, {found})"


def _fixed(row: ClaimRow) -> str:
    claim, least = row.claim, ""
    if claim.least_difference is not None:
        points = "points" if unit_of(row.metric) == "%" else unit_of(row.metric)
        least = f", least difference {scale_of(row.metric) * claim.least_difference:.2f} {points}".rstrip()
    return (
        f"pretraining seeds {_ranges(claim.pretraining_seeds)}, fine-tuning seeds {_ranges(claim.fine_tuning_seeds)}, "
        f"alpha {claim.alpha:g} of family '{one_line(claim.family)}'{least}"
    )


def _ranges(seeds: Iterable[int]) -> str:
    """Return "0-4, 7" for seeds 0, 1, 2, 3, 4 and 7."""
    runs: list[list[int]] = []
    for seed in sorted(seeds):
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _n(n: tuple[int, int | None]) -> str:
    return f"{n[0]}" if n[1] is None else f"{n[0]} and {n[1]}"


def _grid(texts: Iterable[str]) -> str:
    return f"| {' | '.join(one_line(text).replace('|', chr(92) + '|') for text in texts)} |"
