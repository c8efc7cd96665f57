import csv
import io
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from sg_bench.config import key_of
from sg_bench.digests import write_sealed
from sg_bench.planning import Predicted, WorkspaceRun
from sg_bench.reporting import Table, main_table, markdown
from sg_bench.reporting.cost import DISCOVERY, NO_RECORD, cost_document
from sg_bench.workspace import Workspace, write_json

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def workspace(tmp_path: Path, study: Any) -> Workspace:
    """A workspace with the records of all pretrainings but that of models_genesis."""
    found = Workspace(tmp_path)
    recipes = [record["recipe"]["initialisation"] for record in study.records.values()]
    recipes += [recipe["patterns"]["autoencoder"] for recipe in recipes if recipe["patterns"]]
    for recipe in recipes:
        if recipe["method"] != "models_genesis":
            ran = {"wall_seconds": 1234.5, "processor_seconds": 1200.0, "peak_memory_mib": 1500.0}
            path = found.path("initialisations", key_of(recipe)) / "record.json"
            write_json(path, {"key": key_of(recipe), "ran": ran})
    return found


def lines(document_csv: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(document_csv)))


def test_the_cost_table_is_the_golden_one_to_the_byte(study_table: Table, workspace: Workspace) -> None:
    written = markdown.document(cost_document(study_table, workspace))
    assert written.encode() == (GOLDEN / "cost.md").read_bytes()


def test_pretraining_and_fine_tuning_stand_apart(study_table: Table, workspace: Workspace) -> None:
    found = lines(cost_document(study_table, workspace).csv)
    scratch = [line for line in found if line["method"] == "scratch"]
    assert [(line["stage"], line["task"], line["runs"]) for line in scratch] == [
        ("pretraining", "", "1"),
        ("fine-tuning", "ncc", "6"),
        ("fine-tuning", "ncc[fraction=0.1]", "6"),
        ("fine-tuning", "ncs", "6"),
    ]
    assert float(scratch[0]["wall_seconds"]) == 1234.5
    assert float(scratch[1]["wall_seconds"]) == 102.5
    assert float(scratch[1]["wall_seconds_all"]) == 615.0
    assert float(scratch[1]["peak_memory_mib"]) == 705.0


def test_the_encoder_of_discovery_is_counted_once_and_by_name(study_table: Table, workspace: Workspace) -> None:
    found = lines(cost_document(study_table, workspace).csv)
    assert [(line["stage"], line["runs"]) for line in found if line["method"] == DISCOVERY] == [("pretraining", "1")]


def test_an_unknown_cost_is_a_dash_with_its_reason(study_table: Table) -> None:
    assert NO_RECORD in markdown.document(cost_document(study_table))


def test_a_damaged_record_of_a_pretraining_costs_nothing_but_its_line(study_table: Table, workspace: Workspace) -> None:
    for path in workspace.root.rglob("record.json"):
        path.write_text("{")
    assert NO_RECORD in markdown.document(cost_document(study_table, workspace))


def test_times_of_different_machines_are_said_not_to_be_comparable(study: Any) -> None:
    first = next(iter(study.records.values()))
    first["ran"]["hardware"] = {"device": "A GPU", "processor": "Another", "cores": 16}
    written = markdown.document(cost_document(main_table(study.cells, study.records)))
    assert "A GPU (Another, 16 cores); A processor, 2 cores" in written
    assert "not comparable" in written


def test_records_that_tell_no_cost_leave_a_table_of_dashes(ledger: Any) -> None:
    written = markdown.document(cost_document(main_table(ledger.cells, ledger.records)))
    assert "No results yet." in written


def test_what_was_predicted_stands_next_to_what_it_took(study_table: Table, workspace: Workspace) -> None:
    scratch = [record for cell, record in study_table.done if (cell.method, cell.task) == ("scratch", "ncc")]
    predicted = {record["key"]: Predicted(41.0, 82.0) for record in scratch}
    run = WorkspaceRun(
        "a", "study", "here", 1, 0.0, 2, tuple(predicted), len(predicted), "A processor, 2 cores", predicted=predicted
    )
    write_sealed(workspace.path("runs", "a.json"), {"schema": 1, **asdict(run)})
    other = {**asdict(run), "hardware": "Another", "predicted": {key: asdict(Predicted(1.0, 1.0)) for key in predicted}}
    write_sealed(workspace.path("runs", "b.json"), {"schema": 1, **other, "id": "b"})
    document = cost_document(study_table, workspace)
    assert "Predicted and taken" in markdown.document(document)
    assert [cell.text for cell in document.tables[1].rows[0].cells[:5]] == ["fine-tuning", "6", "246", "615", "+150 %"]
    line = next(line for line in lines(document.csv) if line["stage"] == "fine-tuning, predicted")
    assert (line["runs"], float(line["wall_seconds_all"]), float(line["processor_seconds"])) == ("6", 246.0, 82.0)
