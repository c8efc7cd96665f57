"""Per-case scores and curves come back as they were, to the last bit, and damage to them is noticed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sg_bench.errors import SgBenchError
from sg_bench.ledger import Ledger
from sg_bench.ledger.tables import ScoreTable, parquet_bytes, read_table, rows_of, table_of
from sg_bench.workspace import Workspace

KEY = "ab" * 32
CURVES = [
    {
        "stage": "a",
        "epoch": 0,
        "step": 5,
        "lr": 1e-3,
        "best": True,
        "train": {"loss": 0.1, "dice": 0.30000000000000004},
    },
    {
        "stage": "b",
        "epoch": 0,
        "step": 9,
        "lr": 1e-4,
        "best": False,
        "train": {"loss": 0.2},
        "validation": {"loss": 0.5},
    },
]


def done(cases: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"key": KEY, "status": "done", "recipe": {}, "metrics": {"auc": 0.5}, "cases": cases, **more}


def put(root: Path, cases: list[dict[str, Any]], **more: Any) -> Ledger:
    ledger = Ledger(Workspace(root))
    ledger.put(done(cases, **more))
    return ledger


def file_of(ledger: Ledger, name: str = "cases") -> Path:
    (path,) = ledger.cells.glob(f"{KEY}.{name}-*.parquet")
    return path


def test_curves_come_back_as_they_were(tmp_path: Path) -> None:
    assert put(tmp_path, [], curves=CURVES).curves(KEY) == CURVES


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30))
def test_scores_come_back_to_the_last_bit(scores: list[float]) -> None:
    table = table_of({"case": f"p{n}", "score": score} for n, score in enumerate(scores))
    rows = rows_of(table)
    assert [float(row["score"]).hex() for row in rows] == [score.hex() for score in scores]


def test_scores_come_back_from_the_disk_as_columns(tmp_path: Path) -> None:
    cases: list[dict[str, Any]] = [
        {"case": "ä#0", "patient": "p", "score": [0.1, 0.7], "truth": [0, 1], "dice_positive": None},
        {"case": "ä#1", "patient": "p", "score": [0.2, 1 / 3], "truth": [1, 1], "dice_positive": 0.25},
    ]
    ledger = put(tmp_path, cases)
    frame = ledger.case_scores(KEY)
    assert [list(scores) for scores in frame["score"]] == [[0.1, 0.7], [0.2, 1 / 3]]
    assert frame["dice_positive"].isna().tolist() == [True, False]
    assert list(ledger.case_scores(KEY, ["patient", "unheard of"]).columns) == ["patient"]
    assert ledger.tables(KEY).case_rows(KEY) == cases


def test_an_identifier_that_is_not_valid_unicode_is_escaped(tmp_path: Path) -> None:
    assert list(put(tmp_path, [{"case": "caf\udce9"}]).case_scores(KEY)["case"]) == ["caf\\udce9"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [0.5, float("nan")]])
def test_what_json_cannot_hold_is_refused_before_anything_is_written(tmp_path: Path, value: Any) -> None:
    with pytest.raises(ValueError, match="JSON"):
        put(tmp_path, [{"case": "a", "score": value}])
    assert not list(tmp_path.rglob("*.parquet"))


def test_the_digest_is_of_the_content_and_not_of_the_file() -> None:
    rows: list[dict[str, Any]] = [
        {"case": "a", "score": 0.5, "patient": "p"},
        {"case": "b", "score": None, "patient": None},
    ]
    turned = [dict(reversed(row.items())) for row in rows]
    first = ScoreTable.of("cases", rows)
    assert ScoreTable.of("cases", turned).description == first.description
    others: list[list[dict[str, Any]]] = [
        [*rows[:1], {**rows[1], "score": 0.0}],
        rows[::-1],
        [{**row, "x": 1} for row in rows],
        rows[:1],
    ]
    digests = {ScoreTable.of("cases", other).description["sha256"] for other in others}
    assert len(digests) == 4
    assert first.description["sha256"] not in digests


@pytest.mark.parametrize("damage", ["absent", "cut off", "flipped", "another's"])
def test_a_damaged_table_is_an_error_that_names_it(tmp_path: Path, damage: str) -> None:
    ledger = put(tmp_path, [{"case": f"p{n}", "score": n / 7} for n in range(50)])
    path, tables = file_of(ledger), ledger.tables(KEY)
    content = path.read_bytes()
    if damage == "absent":
        path.unlink()
    elif damage == "another's":
        path.write_bytes(parquet_bytes(table_of([{"case": "p0", "score": 0.0}]), "00"))
    else:
        cut = content[:-30] if damage == "cut off" else bytes([*content[:60], content[60] ^ 0xFF, *content[61:]])
        path.write_bytes(cut)
    with pytest.raises(SgBenchError, match=rf"{path.name} is damaged: .*sg-bench run computes its cell again"):
        tables.case_scores(KEY)


def test_a_record_whose_table_is_gone_is_set_aside_and_computed_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = put(tmp_path, [{"case": "a"}])
    file_of(ledger).unlink()
    assert not ledger.done(KEY)
    assert "its cases are not there" in caplog.text
    ledger.put(done([{"case": "a"}]))
    assert ledger.done(KEY)


def test_a_conflict_and_a_rescored_record_keep_the_tables_of_each_outcome(tmp_path: Path) -> None:
    ledger = put(tmp_path, [{"case": "a", "score": 0.1}])
    ledger.put(done([{"case": "a", "score": 0.2}]))
    ledger.rescore(KEY, {"auc": 0.7}, [{"case": "a", "score": 0.3}], "9")
    assert len(list(ledger.cells.glob(f"{KEY}.cases-*.parquet"))) == 3
    assert ledger.tables(KEY).case_rows(KEY) == [{"case": "a", "score": 0.3}]


def test_a_record_of_225000_candidates_is_small_and_quick_to_look_at(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    scores = draw.random(225_000).astype(np.float16)
    uid = "1.3.6.1.4.1.14519.5.2.1.6279.6001.1009600000000000000000000000000"
    cases = [
        {
            "case": f"{uid}{n // 1260:03}#{n % 1260}",
            "patient": f"{uid}{n // 1260:03}",
            "score": float(score),
            "truth": 0,
        }
        for n, score in enumerate(scores)
    ]
    ledger = put(tmp_path, cases)
    assert file_of(ledger).stat().st_size < 1_500_000
    began = time.process_time()
    assert ledger.done(KEY)
    assert time.process_time() - began < 0.05
    table = read_table(file_of(ledger), (ledger.get(KEY) or {})["tables"]["cases"], columns=["score"])
    assert np.array_equal(table["score"].to_numpy(), scores.astype(np.float64))
