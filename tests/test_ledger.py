"""What is done is kept, once: never lost, never counted twice."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from sg_bench.digests import read_sealed
from sg_bench.ledger import SCHEMA, Ledger, NewerRecordError, mixed
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
    before = path.read_bytes()
    assert (ledger.get(KEY), ledger.get(KEY)) == (None, None)
    (line,) = caplog.messages
    assert line.startswith(f"Skipped: {path} is damaged: ")
    assert line.endswith("sg-bench run sets it aside and computes the cell again")
    assert path.read_bytes() == before, "reading moves nothing"
    (line,) = ledger.set_aside([KEY, OTHER])
    assert line.startswith(f"Set aside as damaged/cells/{KEY}.json: {path} is damaged: ")
    assert "\n" not in line
    assert line.endswith("The cell is computed again")
    assert (ledger.workspace.root / "damaged" / "cells" / path.name).read_bytes() == before
    assert ledger.set_aside([KEY, OTHER]) == []
    ledger.put(done())
    assert [record["key"] for record in ledger.finished()] == [KEY]


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": -1},
        {"schema": True},
        {"schema": 1, "outputs": 3},
        {"schema": 0, "recipe": []},
        {"schema": 0, "status": "done", "recipe": {"task": 1}},
        {"status": "finished"},
        {"metrics": [0.5]},
        {"tables": {"cases": {"rows": 1}}},
        {"tables": {"cases": None}},
        {"rescored": 5},
        {"status": "failed"},
        {"status": "failed", "error": {"kind": "method"}},
    ],
)
def test_json_that_is_no_record_is_damaged(ledger: Ledger, changes: dict[str, Any]) -> None:
    ledger.put(done())
    path = ledger.cells / f"{KEY}.json"
    record = read_sealed(path) | changes
    path.write_text(json.dumps(record))
    assert ledger.get(KEY) is None
    assert len(ledger.set_aside([KEY])) == 1
    assert not path.exists()


@pytest.mark.parametrize(("old", "new"), [('"auc": 0.5', '"auc": 0.6'), ('"status": "done"', '"status": "d0ne"')])
def test_a_record_that_has_another_digest_than_it_states_is_damaged(
    ledger: Ledger, old: str, new: str, caplog: pytest.LogCaptureFixture
) -> None:
    ledger.put(done())
    path = ledger.cells / f"{KEY}.json"
    path.write_text(path.read_text().replace(old, new))
    assert ledger.get(KEY) is None
    assert "its content has another digest than it states" in caplog.text


def test_a_damaged_record_is_set_aside_before_another_takes_its_place(ledger: Ledger) -> None:
    ledger.put(done())
    path = ledger.cells / f"{KEY}.json"
    for number in range(2):
        path.write_text("{" * (number + 1))
        ledger.put(done())
        assert ledger.done(KEY)
    aside = ledger.workspace.root / "damaged" / "cells"
    assert {each.name: each.read_text() for each in aside.iterdir()} == {path.name: "{", f"{path.name}.2": "{{"}


def test_only_the_damaged_tables_of_a_damaged_record_are_moved(ledger: Ledger) -> None:
    ledger.put(done(curves=[{"stage": "a", "epoch": 0}]))
    cases, curves = (next(ledger.cells.glob(f"*.{name}-*")) for name in ("cases", "curves"))
    cases.write_bytes(cases.read_bytes()[:-9])
    assert ledger.done(KEY), "a table is read only where it is needed"
    (line,) = ledger.set_aside([KEY], check_tables=True)
    assert cases.name in line
    aside = ledger.workspace.root / "damaged" / "cells"
    assert sorted(each.name for each in aside.iterdir()) == sorted([cases.name, f"{KEY}.json"])
    assert curves.exists()


def test_a_record_under_another_cells_name_is_damaged(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    ledger.put(done())
    ledger.workspace.path("cells", f"{KEY}.json").rename(ledger.workspace.path("cells", f"{OTHER}.json"))
    assert ledger.get(OTHER) is None
    assert f"it is the record of {KEY}" in caplog.text


def test_a_record_that_cannot_be_set_aside_is_skipped_and_setting_it_aside_an_error(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ledger.workspace.path("cells", f"{KEY}.json")
    path.parent.mkdir(parents=True)
    path.write_text("{")

    def refused(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "rename", refused)
    assert ledger.get(KEY) is None
    with pytest.raises(OSError, match="Read-only file system"):
        ledger.set_aside([KEY])


def test_a_record_of_a_newer_version_asks_for_an_update_and_is_neither_read_nor_replaced(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    ledger.put({**done(), "schema": SCHEMA + 1})
    before = (ledger.cells / f"{KEY}.json").read_bytes()
    assert ledger.get(KEY) is None
    assert f"has schema {SCHEMA + 1}, known up to {SCHEMA}. Update sg-bench" in caplog.text
    assert (ledger.newer(KEY), ledger.newer(OTHER)) == (True, False)
    assert ledger.set_aside([KEY]) == []
    with pytest.raises(NewerRecordError, match="Update sg-bench"):
        ledger.put(done())
    assert (ledger.cells / f"{KEY}.json").read_bytes() == before


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
