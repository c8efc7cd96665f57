"""What is done is kept, once: never lost, never counted twice."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from sg_bench.errors import SgBenchError
from sg_bench.ledger import SCHEMA, Ledger, mixed
from sg_bench.workspace import Workspace

KEY = "ab" * 32
OTHER = "cd" * 32


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(Workspace(tmp_path))


def done(key: str = KEY, score: float = 0.5, **more: Any) -> dict[str, Any]:
    return {"key": key, "status": "done", "recipe": {}, "metrics": {"auc": score}, "cases": [{"case": "a"}], **more}


def failed(key: str = KEY, kind: str = "method") -> dict[str, Any]:
    return {"key": key, "status": "failed", "recipe": {}, "error": {"kind": kind, "message": "it broke"}}


def files(ledger: Ledger) -> list[str]:
    return sorted(path.name for path in ledger.workspace.path("cells").glob("*.json"))


def whole(ledger: Ledger, key: str = KEY) -> dict[str, Any]:
    """Return a record with its cases as rows inside it, as it was put."""
    record = ledger.get(key)
    assert record is not None
    assert record.pop("tables").keys() == {"cases"}
    return {**record, "cases": ledger.tables(key).case_rows(key)}


def test_an_unknown_key_has_no_record(ledger: Ledger) -> None:
    assert ledger.get(KEY) is None
    assert not ledger.done(KEY)
    assert list(ledger.finished()) == []
    assert ledger.conflicts() == {}


def test_a_record_is_kept_with_its_schema(ledger: Ledger) -> None:
    ledger.put(done())
    assert whole(ledger) == {"schema": SCHEMA, **done()}
    assert ledger.done(KEY)


def test_the_same_cell_computed_again_is_one_record(ledger: Ledger) -> None:
    ledger.put(done(ran={"seconds": 1}))
    assert ledger.put(done(ran={"seconds": 2}))["ran"] == {"seconds": 1}
    assert files(ledger) == [f"{KEY}.json"]


def test_a_tuple_in_a_record_is_no_conflict_with_itself_read_back(ledger: Ledger) -> None:
    for _ in range(2):
        ledger.put(done(cases=[{"case": "a", "score": (0.5, 1.0)}]))
    assert ledger.conflicts() == {}


def test_another_outcome_under_one_key_leaves_the_first_and_is_kept_as_a_conflict(ledger: Ledger) -> None:
    ledger.put(done(score=0.5))
    assert ledger.put(done(score=0.6))["metrics"] == {"auc": 0.5}
    assert whole(ledger) == {"schema": SCHEMA, **done(score=0.5)}
    (name,) = ledger.conflicts()[KEY]
    assert json.loads(ledger.workspace.path("cells", name).read_text())["metrics"] == {"auc": 0.6}


def test_a_conflict_is_one_file_for_one_outcome_and_no_cell_of_its_own(ledger: Ledger) -> None:
    for score in (0.5, 0.6, 0.6, 0.7):
        ledger.put(done(score=score))
    assert len(ledger.conflicts()[KEY]) == 2
    assert [record["key"] for record in ledger.finished()] == [KEY]


def test_a_failure_never_replaces_what_was_done(ledger: Ledger) -> None:
    ledger.put(done())
    assert ledger.put(failed())["status"] == "done"
    assert ledger.done(KEY)
    assert ledger.conflicts() == {}


def test_a_failure_is_replaced_by_success(ledger: Ledger) -> None:
    ledger.put(failed())
    assert not ledger.done(KEY)
    ledger.put(done())
    assert ledger.done(KEY)
    assert files(ledger) == [f"{KEY}.json"]


def test_what_is_finished_is_listed_whichever_suite_asked_for_it(ledger: Ledger) -> None:
    ledger.put(done(OTHER))
    ledger.put(done())
    ledger.put(failed("ef" * 32))
    assert [record["key"] for record in ledger.finished()] == [KEY, OTHER]


@pytest.mark.parametrize(
    "content",
    ["", "{", '{"schema": 1, "key":', "[]", "null", "{}", '{"schema": "1"}', '{"schema": NaN}', b"\xff\xfe\x00"],
)
def test_a_damaged_record_is_set_aside_in_one_line_and_counts_as_not_computed(
    ledger: Ledger, content: str | bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = ledger.workspace.path("cells", f"{KEY}.json")
    path.parent.mkdir(parents=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert ledger.get(KEY) is None
    (line,) = caplog.messages
    assert line.startswith(f"Set aside as {KEY}.json.damaged: {path} is damaged: ")
    assert "\n" not in line
    assert line.endswith("The cell is computed again")
    assert path.with_name(f"{KEY}.json.damaged").is_file()
    ledger.put(done())
    assert [record["key"] for record in ledger.finished()] == [KEY]


def test_a_record_under_another_cells_name_is_damaged(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    ledger.put(done())
    ledger.workspace.path("cells", f"{KEY}.json").rename(ledger.workspace.path("cells", f"{OTHER}.json"))
    assert ledger.get(OTHER) is None
    assert f"it is the record of {KEY}" in caplog.text


def test_a_record_that_cannot_be_set_aside_is_an_error(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ledger.workspace.path("cells", f"{KEY}.json")
    path.parent.mkdir(parents=True)
    path.write_text("{")

    def refused(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "replace", refused)
    with pytest.raises(SgBenchError, match=r"is damaged: .*\. Delete it; the cell is computed again"):
        ledger.get(KEY)


def test_a_record_of_a_newer_version_asks_for_an_update(ledger: Ledger) -> None:
    ledger.put({**done(), "schema": SCHEMA + 1})
    with pytest.raises(SgBenchError, match=f"has schema {SCHEMA + 1}, known up to {SCHEMA}. Update sg-bench"):
        ledger.get(KEY)


def test_a_record_that_json_cannot_say_is_not_written(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="JSON"):
        ledger.put(done(score=float("nan")))
    assert ledger.get(KEY) is None


def test_a_failure_waits_for_who_is_writing_and_replaces_no_success(ledger: Ledger) -> None:
    other = Thread(target=ledger.put, args=[failed()])
    with ledger.workspace.lock("ledger"):
        other.start()
        other.join(0.2)
        assert other.is_alive()
        assert files_or_none(ledger) == []
    other.join()
    ledger.put(done())
    assert ledger.put(failed())["status"] == "done"


def files_or_none(ledger: Ledger) -> list[str]:
    return files(ledger) if ledger.workspace.path("cells").exists() else []


def test_cells_that_knew_one_store_with_two_contents_are_told(ledger: Ledger) -> None:
    def cell(key: str, content: str, store: str = "scans") -> dict[str, Any]:
        recipe = {"store": store, "initialisation": "scratch"}
        return {**done(key), "recipe": recipe, "outputs": {"store": content, "initialisation": "1"}}

    same = {KEY: cell(KEY, "1"), OTHER: cell(OTHER, "1")}
    assert mixed(same) == []
    assert mixed({**same, OTHER: cell(OTHER, "2", store="other scans")}) == []
    (reason,) = mixed({**same, OTHER: cell(OTHER, "2"), "ef": failed("ef")})
    assert reason.startswith("store ")
