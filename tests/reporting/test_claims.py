"""Claims become verdicts on the seeds fixed beforehand; later changes are reported."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sg_bench.errors import SgBenchError
from sg_bench.reporting.claims import ClaimRow, claim_rows, claims_markdown, claims_report
from sg_bench.reporting.evidence import Evidence
from sg_bench.suite import Suite, suite_digest

FIXED: dict[str, Any] = {"pretraining_seeds": "0-4", "fine_tuning_seeds": "0-1"}
LEVELS = {"scratch": 0.5, "models_genesis": 0.51, "semantic_genesis": 0.6}


@dataclass(frozen=True)
class PlannedCell:
    key: str
    method: str
    task: str
    pretraining_seed: int
    fine_tuning_seed: int
    missing: str | None = None
    leak: str | None = None


def record(method: str, task: str, first: int, second: int, score: float | None) -> dict[str, Any]:
    recipe = {
        "task": {"name": task},
        "initialisation": {"method": method, "seed": first},
        "pretraining_seed": first,
        "fine_tuning_seed": second,
    }
    metrics = {"auc": score, "other": score}
    return {"status": "done", "metrics": metrics, "headline": "auc", "parity": None, "error": None, "recipe": recipe}


def evidence_of(pretraining: Iterable[int] = range(5), fine_tuning: Iterable[int] = range(2), **cell: Any) -> Evidence:
    """Return finished runs of three methods on ncc, whose levels are those above."""
    cells, records, seeds = [], {}, [(first, second) for first in pretraining for second in fine_tuning]
    for method, level in LEVELS.items():
        rng = np.random.default_rng(len(method))
        noise = {first: rng.normal(0, 0.01) for first in range(20)}
        for first, second in seeds:
            key = f"{method} {first} {second}"
            cells.append(PlannedCell(key, method, "ncc", first, second, **cell))
            records[key] = {**record(method, "ncc", first, second, level + noise[first] + 0.001 * second), "key": key}
    return Evidence(cells, records)


def suite_of(*claims: dict[str, Any], **settings: Any) -> Suite:
    plain = {"name": "better", "better": "semantic_genesis", "than": "scratch", "task": "ncc", **FIXED}
    return Suite.model_validate(
        {
            "name": "mine",
            "corpora": {"3d": {"name": "phantom", "source": "phantom"}},
            "methods": list(LEVELS),
            "tasks": ["ncc"],
            **FIXED,
            "claims": [{**plain, **claim} for claim in claims],
            **settings,
        }
    )


def row_of(evidence: Evidence, **claim: Any) -> ClaimRow:
    return claim_rows(suite_of(claim), evidence)[0]


class TestVerdicts:
    def test_the_unit_of_a_claim_is_the_pretraining(self) -> None:
        row = row_of(evidence_of())
        assert (row.outcome, row.metric, row.verdict.n) == ("supported", "auc", (5, 5))
        assert row.sentence == "semantic_genesis > scratch on ncc, auc"
        assert row.warnings == ()

    def test_one_pretraining_is_about_this_checkpoint_only(self) -> None:
        fixed = {"pretraining_seeds": 0, "fine_tuning_seeds": "0-5"}
        suite = suite_of(fixed, **fixed)
        row = claim_rows(suite, evidence_of([0], range(6)))[0]
        assert row.verdict.n == (6, 6)
        assert row.outcome == "supported, about this checkpoint only"

    def test_a_number_and_another_metric_can_be_claimed(self) -> None:
        row = row_of(evidence_of(), than=0.55, metric="other")
        assert "there is no metric 'other'" in row.verdict.reason
        row = row_of(evidence_of(), than=0.55)
        assert (row.outcome, row.sentence) == ("supported", "semantic_genesis > 55 % on ncc, auc")

    @pytest.mark.parametrize(
        ("break_", "reason"),
        [
            (lambda cells, records: records.pop("scratch 3 1"), "scratch has 9 of 10 runs: 1 not run"),
            (
                lambda cells, records: records["scratch 3 1"].update(status="failed", error={"kind": "method"}),
                "scratch has 9 of 10 runs: 1 failed (method)",
            ),
            (
                lambda cells, records: records["scratch 3 1"].update(metrics={"auc": None}),
                "scratch has 9 of 10 runs: 1 without a value of auc",
            ),
            (lambda cells, records: cells.pop(0), "scratch has 9 of 10 runs: 1 not part of this report"),
            (
                lambda cells, records: cells.__setitem__(0, PlannedCell("", "scratch", "ncc", 0, 0, "no data")),
                "scratch has 9 of 10 runs: 1 without data",
            ),
        ],
    )
    def test_a_run_that_lacks_leaves_the_claim_undecided_and_says_why(
        self, break_: Callable[[Any, Any], Any], reason: str
    ) -> None:
        evidence = evidence_of()
        cells, records = list(evidence.cells), dict(evidence.records)
        break_(cells, records)
        row = row_of(Evidence(cells, records))
        assert (row.outcome, row.verdict.p) == ("cannot be decided", None)
        assert row.verdict.reason == reason

    def test_before_anything_is_done_nothing_is_decided(self) -> None:
        row = row_of(Evidence(evidence_of().cells, {}))
        assert (row.outcome, row.metric, row.sentence) == ("cannot be decided", "", "semantic_genesis > scratch on ncc")


class TestLooks:
    def test_runs_of_other_seeds_do_not_count_and_are_told(self) -> None:
        more = evidence_of(range(7))
        row, plain = row_of(more), row_of(evidence_of())
        assert row.verdict == plain.verdict
        assert len(row.warnings) == 2
        assert (
            "scratch on ncc has 4 finished runs of seeds that were not fixed beforehand (5/0, 5/1, 6/0, 6/1)"
            in (row.warnings[1])
        )

    def test_runs_of_other_seeds_are_found_in_the_ledger_outside_the_plan(self) -> None:
        others = [
            record("scratch", "ncc", 9, 0, 0.5),
            record("scratch", "ncc", 0, 0, 0.5),
            record("scratch", "lcs", 9, 0, 0.5),
            record("models_genesis", "ncc", 9, 0, 0.5),
        ]
        (row,) = claim_rows(suite_of({}), evidence_of(), iter(others))
        assert len(row.warnings) == 1
        assert "scratch on ncc has 1 finished runs of seeds that were not fixed beforehand (9/0)" in row.warnings[0]

    def test_a_suite_with_more_seeds_than_its_claim_is_told(self) -> None:
        (row,) = claim_rows(suite_of({}, pretraining_seeds="0-5"), evidence_of())
        assert "the suite has 2 seeds (pretraining/fine-tuning) more" in row.warnings[0]

    def test_seeds_that_a_block_does_without_are_not_more(self) -> None:
        pair = {"methods": ["scratch", "semantic_genesis"], "tasks": ["ncc"], "fine_tuning_seeds": [0, 1]}
        (row,) = claim_rows(suite_of({}, fine_tuning_seeds="0-3"), evidence_of())
        assert "the suite has 10 seeds (pretraining/fine-tuning) more" in row.warnings[0]
        (row,) = claim_rows(suite_of({}, fine_tuning_seeds="0-3", blocks=[pair]), evidence_of())
        assert row.warnings == ()

    def test_a_part_of_a_suite_without_the_task_of_a_claim_decides_nothing(self) -> None:
        part = suite_of({}).model_copy(update={"tasks": ["lcs"]})
        (row,) = claim_rows(part, Evidence([], {}))
        assert row.outcome == "cannot be decided"

    def test_a_leak_is_told(self) -> None:
        row = row_of(evidence_of(leak="the corpus holds test patients"))
        assert "may have seen test data of ncc" in row.warnings[0]

    def test_claims_that_change_after_the_first_report_are_told_every_time(self, tmp_path: Path) -> None:
        first, second = suite_of({}), suite_of({"alpha": 0.1})
        assert not [line for line in claims_report(first, evidence_of(), tmp_path) if "changed" in line]
        remembered = (tmp_path / "claims.json").read_bytes()
        for _ in range(2):
            lines = claims_report(second, evidence_of(), tmp_path)
            assert [line for line in lines if line.startswith("Warning: claims were changed after the first report")]
        assert "changed after the first report" in (tmp_path / "tables/claims.md").read_text()
        assert (tmp_path / "claims.json").read_bytes() == remembered
        assert not [line for line in claims_report(first, evidence_of(), tmp_path) if "changed" in line]

    def test_claims_added_after_a_report_without_any_are_told(self, tmp_path: Path) -> None:
        assert claims_report(suite_of(), evidence_of(), tmp_path) == []
        assert "changed after the first report" in " ".join(claims_report(suite_of({}), evidence_of(), tmp_path))

    def test_a_report_without_a_result_is_no_look(self, tmp_path: Path) -> None:
        claims_report(suite_of(), Evidence(evidence_of().cells, {}), tmp_path)
        assert not (tmp_path / "claims.json").exists()

    def test_two_suites_in_one_folder_are_remembered_apart(self, tmp_path: Path) -> None:
        claims_report(suite_of({}), evidence_of(), tmp_path)
        lines = claims_report(suite_of({"alpha": 0.1}, name="other"), evidence_of(), tmp_path)
        assert not [line for line in lines if "changed" in line]
        remembered = json.loads((tmp_path / "claims.json").read_text())
        assert {name: len(found["claims"]) for name, found in remembered.items()} == {"mine": 1, "other": 1}

    @pytest.mark.parametrize("content", ["{", "[]", '{"mine": 3}', "\x00"])
    def test_a_damaged_memory_is_named(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "claims.json").write_text(content)
        with pytest.raises(SgBenchError, match=r"claims\.json is damaged"):
            claims_report(suite_of({}), evidence_of(), tmp_path)


class TestText:
    CLAIMS: tuple[dict[str, Any], ...] = (
        {},
        {"name": "a | b", "better": "models_genesis", "least_difference": 0.05, "family": "side"},
        {"name": "number", "than": 0.9, "test": "sign_flip"},
    )

    def test_each_claim_has_a_line_that_says_all(self, tmp_path: Path) -> None:
        lines = claims_report(suite_of(*self.CLAIMS), evidence_of(), tmp_path)
        assert len(lines) == 3
        assert lines[0].startswith("Claim 'better' (semantic_genesis > scratch on ncc, auc): supported: adjusted p ")
        assert "(Welch's t, difference +" in lines[0]
        assert "Hedges g" in lines[0]
        assert "n = 5 and 5, power" in lines[0]
        assert "(sign flip, difference -" in lines[2].replace(" (exact)", "")

    def test_the_table_is_whole_and_tells_digest_and_what_was_fixed(self) -> None:
        suite = suite_of(*self.CLAIMS)
        text = claims_markdown(suite, claim_rows(suite, evidence_of()))
        table = [line for line in text.splitlines() if line.startswith("|")]
        assert {line.replace("\\|", "").count("|") for line in table} == {11}
        assert len(table) == 5
        assert suite_digest(suite) in text
        assert "- a | b: pretraining seeds 0-4, fine-tuning seeds 0-1, alpha 0.05 of family 'side', least" in text

    def test_the_same_ledger_gives_the_same_bytes(self, tmp_path: Path) -> None:
        suite, evidence = suite_of(*self.CLAIMS), evidence_of()
        backwards = Evidence(evidence.cells, {key: evidence.records[key] for key in reversed(list(evidence.records))})
        for folder, found in (("a", evidence), ("b", backwards)):
            claims_report(suite, found, tmp_path / folder)
        for name in ("tables/claims.md", "claims.json"):
            assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()

    def test_a_suite_without_claims_leaves_no_table_behind(self, tmp_path: Path) -> None:
        claims_report(suite_of({}), evidence_of(), tmp_path)
        claims_report(suite_of(), evidence_of(), tmp_path)
        assert not (tmp_path / "tables/claims.md").exists()
