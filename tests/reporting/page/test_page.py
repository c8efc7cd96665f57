import base64
import hashlib
import random
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sg_bench.reporting import write_report
from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.page import write_page
from sg_bench.reporting.page.writing import page

TITLE = "A page"
NOTES = ["Made on the embedded phantom: a proving ground, not patients."]


def test_the_same_ledger_gives_the_same_bytes_whatever_the_order_of_its_records(
    evidence: Evidence, tmp_path: Path
) -> None:
    first = write_page(tmp_path, TITLE, evidence, notes=NOTES).read_bytes()
    keys = random.Random(0).sample(sorted(evidence.records), len(evidence.records))
    shuffled = Evidence(evidence.cells, {key: evidence.records[key] for key in keys})
    assert write_page(tmp_path, TITLE, shuffled, notes=NOTES).read_bytes() == first


def test_elements_are_closed_ids_are_unique_and_every_reference_has_its_target(evidence: Evidence, parsed: Any) -> None:
    seen = parsed(page(TITLE, evidence, notes=NOTES))
    ids = seen.all("id")
    assert len(ids) == len(set(ids))
    assert set(seen.all("aria-labelledby")) <= set(ids)
    assert {address[1:] for address in seen.all("href") if address.startswith("#")} <= set(ids)


def test_every_planned_cell_appears_in_the_table_and_among_the_runs(evidence: Evidence, parsed: Any) -> None:
    seen = parsed(page(TITLE, evidence))
    runs = [
        (method, task, *run["seeds"], run.get("key", ""))
        for task, methods in seen.data["runs"].items()
        for method, found in methods.items()
        for run in found
    ]
    planned = [(c.method, c.task, c.pretraining_seed, c.fine_tuning_seed, c.key) for c in evidence.cells]
    assert sorted(runs) == sorted(planned)
    columns = [column["task"] for column in seen.data["columns"]]
    opened = {(seen.data["methods"][int(row)], columns[int(place)]) for row, place in _places(seen)}
    assert opened == {(cell.method, cell.task) for cell in evidence.cells}
    assert set(seen.data["entries"]) == set(seen.all("data-place"))


def test_every_link_of_a_written_report_leads_to_a_file(evidence: Evidence, parsed: Any, tmp_path: Path) -> None:
    write_report(tmp_path, TITLE, evidence.cells, evidence.records)
    (tmp_path / "figures").mkdir(exist_ok=True)
    (tmp_path / "figures" / "a name #1.svg").write_text("<svg/>")
    seen = parsed(write_page(tmp_path, TITLE, evidence).read_text())
    linked = [address for address in seen.all("href") if not address.startswith(("#", "data:"))]
    assert "figures/a%20name%20%231.svg" in linked
    assert all((tmp_path / address.replace("%20", " ").replace("%23", "#")).is_file() for address in linked)
    assert "tables/main.md" in linked
    recorded = {run["key"] for run in _runs(seen) if run["state"] in ("done", "failed")}
    assert recorded == {path.stem for path in (tmp_path / "cells").glob("*.json")}


def test_no_text_of_the_ledger_becomes_an_element(
    hostile: Evidence, made: Callable[..., Evidence], parsed: Any
) -> None:
    label = hostile.methods[0].removeprefix("a ")
    claim = SimpleNamespace(
        outcome=label,
        sentence=label,
        claim=SimpleNamespace(name=label),
        verdict=SimpleNamespace(reason=label),
        warnings=(label,),
    )
    text = page(label, hostile, notes=[label], claims=[claim])  # type: ignore[list-item]
    seen = parsed(text)
    assert [tag for tag, _ in seen.elements].count("script") == 2
    assert not {"img", "iframe", "object"} & {tag for tag, _ in seen.elements}
    assert not [name for _, attributes in seen.elements for name in attributes if name.startswith("on")]
    assert text.count("<!--") == 0
    assert "alert(1)" in seen.inside["h1"][0]
    assert "{{ 7*7 }}" in seen.inside["h1"][0]
    assert seen.data["methods"] == hostile.methods
    assert {run["error"]["message"] for run in _runs(seen) if run["state"] == "failed"} == {label}


def test_only_the_scripts_and_styles_of_the_page_itself_may_run(evidence: Evidence, parsed: Any) -> None:
    seen = parsed(page(TITLE, evidence))
    policy = next(value for value in seen.all("content") if "default-src" in value)
    for text in (seen.inside["style"][0], seen.inside["script"][1]):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'")
    assert not seen.all("style")


def test_nothing_is_fetched_from_elsewhere(evidence: Evidence, parsed: Any) -> None:
    text = page(TITLE, evidence)
    assert not re.findall(r"(?:src|href|action)=\"(?:https?:)?//", text)
    assert not re.findall(r"url\(|@import|fetch\(|XMLHttp|import\(", text)


def test_why_a_cell_is_incomplete_is_shown_on_hover_and_in_text(evidence: Evidence, parsed: Any) -> None:
    seen = parsed(page(TITLE, evidence))
    for reason in ("method: it broke", "data: it broke", "no data for 'brats': give its folder with --data brats=PATH"):
        assert reason in seen.all("title")
        assert any(f": {reason}" in text for text in seen.inside["button"])


def test_methods_that_are_not_separable_share_a_rank(made: Callable[..., Evidence], parsed: Any) -> None:
    few = parsed(page(TITLE, made(["a", "b", "c"], ["ncc"], [(0, 0), (0, 1)])))
    assert [re.findall(r"rank \S+", text)[0] for text in few.inside["button"][3:6]] == ["rank 1–3"] * 3
    enough = parsed(page(TITLE, made(["a", "b", "c"], ["ncc"], [(0, seed) for seed in range(10)])))
    ranks = [re.findall(r"rank \S+", text)[0] for text in enough.inside["button"] if "rank" in text]
    assert ranks == ["rank 3", "rank 2", "rank 1"]


def test_a_method_that_lacks_a_run_has_no_rank(evidence: Evidence, parsed: Any) -> None:
    seen = parsed(page(TITLE, evidence))
    incomplete = [text for text in seen.inside["button"] if "n = 1/2" in text]
    assert incomplete
    assert not any("rank" in text for text in incomplete)


@pytest.mark.parametrize(
    ("seeds", "statement"),
    [
        ([(0, 0), (0, 1)], "about this checkpoint only"),
        ([(0, 0), (1, 0)], "intervals are pretraining seeds"),
        ([(0, 0), (0, 1)], "n = 2 is below 5"),
        ([(0, 0), (0, 1)], "not the variation over patients"),
    ],
)
def test_the_page_states_what_its_numbers_cannot_support(
    seeds: list[tuple[int, int]], statement: str, made: Callable[..., Evidence], parsed: Any
) -> None:
    seen = parsed(page(TITLE, made(["a", "b"], ["ncc"], seeds)))
    assert any(statement in text for text in seen.inside["dd"])


def test_a_leak_is_starred_and_its_reason_shown(made: Callable[..., Evidence], parsed: Any) -> None:
    evidence = made(["a", "b"], ["ncc"], [(0, 0)])
    key = evidence.cells[0].key
    leaking = {**evidence.records, key: {**evidence.records[key], "leak": "pretrained on the test patients"}}
    seen = parsed(page(TITLE, Evidence(evidence.cells, leaking)))
    assert "★" in next(text for text in seen.inside["button"] if "50.00" in text)
    assert "a on ncc: pretrained on the test patients" in seen.inside["dd"]


def test_the_numbers_are_those_of_the_tables(evidence: Evidence, parsed: Any, tmp_path: Path) -> None:
    seen = parsed(page(TITLE, evidence))
    table = write_report(tmp_path, TITLE, evidence.cells, evidence.records).read_text()
    shown = [re.findall(r"(\d+\.\d\d)\s+±\s+(\S+)", text) for text in seen.inside["button"]]
    numbers = [" ± ".join(found[0]) for found in shown if found]
    assert len(numbers) > 8
    assert all(number in table for number in numbers)


def test_a_suite_of_which_nothing_was_run_has_a_page(evidence: Evidence, parsed: Any) -> None:
    seen = parsed(page(TITLE, Evidence(evidence.cells, {})))
    assert any("not run" in text for text in seen.inside["button"])


def _runs(seen: Any) -> list[dict[str, Any]]:
    return [run for methods in seen.data["runs"].values() for found in methods.values() for run in found]


def _places(seen: Any) -> list[list[str]]:
    return [place.split("-") for place in seen.all("data-place")]


def test_a_secondary_metric_is_named_and_explained(made: Callable[..., Evidence], parsed: Any) -> None:
    found = made(["a", "b"], ["pxs"], [(0, 0), (0, 1)], metric="dice_case")
    for record in found.records.values():
        record["metrics"]["dice_positive"], record["secondary"] = 0.25, ["dice_positive"]
    text = page(TITLE, found)
    seen = parsed(text)
    assert [column["metric"] for column in seen.data["columns"]] == ["dice_case", "dice_positive"]
    assert "secondary metric" in seen.inside["small"]
    assert "Without it the headline metric would be misleading." in text


def test_folds_are_not_called_one_split(made: Callable[..., Evidence]) -> None:
    found = made(["a", "b"], ["dxc"], [(0, 0), (0, 1)])
    assert "all runs share one split" in page(TITLE, found)
    for record in found.records.values():
        record["recipe"]["task"]["split"]["folds"] = 5
    text = page(TITLE, found)
    assert "all runs share one split" not in text
    assert "each fine-tuning seed tests on another fold" in text
