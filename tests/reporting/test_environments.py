"""A table whose runs used different software or devices names them; a uniform one has no note."""

from collections.abc import Mapping
from typing import Any

import pytest

from sg_bench.reporting import main_table, markdown
from sg_bench.reporting.environments import environment_notes
from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.page.writing import page
from sg_bench.reporting.writing import documents

SOFTWARE = {"python": "3.11.7", "sg-bench": "0.1.0", "torch": "2.13.0+cpu", "monai": "1.6.1", "numpy": "2.4.6"}


def set_environment(
    study: Any, changed: Mapping[str, str] | None = None, *, method: str = "", task: str = "", seeds: int = 99
) -> None:
    """Set the environment of the runs of a method and a task; "" stands for all of them."""
    for cell in study.cells:
        if method in ("", cell.method) and task in ("", cell.task) and cell.fine_tuning_seed < seeds:
            ran = study.records[cell.key]["ran"]
            ran["software"] = {**SOFTWARE, **(changed or {})}
            ran["hardware"] = {**ran["hardware"], "device": (changed or {}).get("device", "cpu")}


def notes(study: Any) -> list[str]:
    return environment_notes(main_table(study.cells, study.records))


@pytest.mark.parametrize(
    ("where", "changed", "note"),
    [
        (
            {"method": "mine"},
            {"torch": "2.12.1+cu128"},
            "Different versions of torch within one task: "
            "2.12.1 (mine); 2.13.0 (scratch, models_genesis, semantic_genesis).",
        ),
        (
            {"method": "scratch", "task": "ncs"},
            {"device": "NVIDIA H100"},
            "Different devices within one task: NVIDIA H100 (scratch); cpu (models_genesis, semantic_genesis, mine).",
        ),
        (
            {"method": "scratch", "seeds": 2},
            {"sg-bench": "0.2.0"},
            "Different versions of sg-bench within one task: 0.1.0 (scratch on ncc (4 of 6 runs) and "
            "ncc[fraction=0.1] (4 of 6 runs) and ncs (4 of 6 runs), models_genesis, semantic_genesis, mine); "
            "0.2.0 (scratch on ncc (2 of 6 runs) and ncc[fraction=0.1] (2 of 6 runs) and ncs (2 of 6 runs)).",
        ),
        (
            {"method": "mine"},
            {"python": "3.12.0"},
            "Different versions of python within one task: "
            "3.11 (scratch, models_genesis, semantic_genesis); 3.12 (mine).",
        ),
    ],
)
def test_what_differs_within_a_task_is_named_with_its_methods(
    study: Any, where: dict[str, Any], changed: dict[str, str], note: str
) -> None:
    set_environment(study)
    set_environment(study, changed, **where)
    assert notes(study) == [note]


@pytest.mark.parametrize(
    ("where", "changed"),
    [
        ({}, {}),
        ({"method": "mine"}, {"python": "3.11.2"}),  # the minor version is the same
        ({"method": "mine"}, {"torch": "2.13.0+cu128"}),  # the build is that of the device
        ({"method": "mine"}, {"pandas": "9.9"}),  # computes no score
        ({"task": "ncs"}, {"torch": "2.12.0", "device": "NVIDIA H100"}),  # tasks are never compared with each other
    ],
)
def test_a_uniform_table_has_no_note(study: Any, where: dict[str, Any], changed: dict[str, str]) -> None:
    set_environment(study)
    set_environment(study, changed, **where)
    assert notes(study) == []


def test_records_without_an_environment_are_ignored(study: Any) -> None:
    set_environment(study, method="mine")
    for record in study.records.values():
        record["ran"].pop("hardware")
    assert notes(study) == []
    next(iter(study.records.values()))["ran"] = None
    assert notes(study) == []


def test_the_note_stands_under_each_table_that_compares_the_runs_and_on_the_page(study: Any) -> None:
    set_environment(study)
    set_environment(study, {"torch": "2.12.1"}, method="mine")
    table, note = main_table(study.cells, study.records), "Different versions of torch within one task: 2.12.1 (mine"
    written = {document.stem: markdown.document(document) for document in documents("title", table)}
    noted = {stem for stem, text in written.items() if note in text}
    assert {"main", "label-efficiency", "significance", "across-tasks"} <= noted
    assert "cost" not in noted
    text = page("title", Evidence(study.cells, study.records))
    assert "Software and devices" in text
    assert note in text
