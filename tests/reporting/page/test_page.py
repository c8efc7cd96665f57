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
from sg_bench.reporting.figures import plots
from sg_bench.reporting.figures.layout import save
from sg_bench.reporting.page import write_page
from sg_bench.reporting.page.content import content_of
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
    assert {name for names in seen.all("aria-labelledby") for name in names.split()} <= set(ids)
    assert {address[1:] for address in seen.all("href") if address.startswith("#")} <= set(ids)


def test_every_planned_cell_appears_in_the_table_and_among_the_runs(evidence: Evidence, parsed: Any) -> None:
    seen = parsed(page(TITLE, evidence))
    runs = [
        (method, task, *run["seeds"], run["key"])
        for task, methods in seen.data["runs"].items()
        for method, found in methods.items()
        for run in found
    ]
    planned = [(c.method, c.task, c.pretraining_seed, c.fine_tuning_seed, c.key) for c in evidence.cells]
    assert sorted(runs) == sorted(planned)
    columns = [column["task"] for column in seen.data["columns"]]
    opened = {(seen.data["methods"][int(row)], columns[int(place)]) for row, place in _places(seen)}
    assert opened == {(cell.method, cell.task) for cell in evidence.cells}
    assert set(seen.data["cells"]) == {"-".join(place) for place in _places(seen)}


def test_every_link_of_a_written_report_leads_to_a_file(evidence: Evidence, parsed: Any, tmp_path: Path) -> None:
    write_report(tmp_path, TITLE, evidence.cells, evidence.records)
    (tmp_path / "figures").mkdir(exist_ok=True)
    (tmp_path / "figures" / "a name #1.svg").write_text("<svg/>")
    seen = parsed(write_page(tmp_path, TITLE, evidence).read_text())
    linked = [address for address in seen.all("href") if not address.startswith(("#", "data:"))]
    assert "figures/a%20name%20%231.svg" in linked
    assert all((tmp_path / address.replace("%20", " ").replace("%23", "#")).exists() for address in linked)
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
    assert all(label in run["why"] for run in _runs(seen) if run["state"] == "failed")


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


def ranks(seen: Any) -> list[str]:
    return [dict(lines).get("Rank", "") for lines in seen.data["cells"].values()]


def test_methods_that_are_not_separable_share_a_rank(made: Callable[..., Evidence], parsed: Any) -> None:
    few = parsed(page(TITLE, made(["a", "b", "c"], ["ncc"], [(0, 0), (0, 1)])))
    assert ranks(few) == ["1–3 of 3"] * 3
    enough = parsed(page(TITLE, made(["a", "b", "c"], ["ncc"], [(0, seed) for seed in range(10)])))
    assert ranks(enough) == ["3 of 3", "2 of 3", "1 of 3"]


def test_a_method_that_lacks_a_run_has_no_rank(evidence: Evidence, parsed: Any) -> None:
    seen = parsed(page(TITLE, evidence))
    incomplete = [dict(lines) for lines in seen.data["cells"].values() if dict(lines)["Runs with a value"] == "1 of 2"]
    assert incomplete
    assert not any("Rank" in lines for lines in incomplete)
    assert any("n = 1/2" in text for text in seen.inside["button"])


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
    assert any(statement in text for text in seen.inside["li"])


def test_a_leak_is_starred_and_its_reason_shown(made: Callable[..., Evidence], parsed: Any) -> None:
    evidence = made(["a", "b"], ["ncc"], [(0, 0)])
    key = evidence.cells[0].key
    leaking = {**evidence.records, key: {**evidence.records[key], "leak": "pretrained on the test patients"}}
    seen = parsed(page(TITLE, Evidence(evidence.cells, leaking)))
    assert "★" in next(text for text in seen.inside["button"] if "50.00" in text)
    assert any("a on ncc: pretrained on the test patients" in text for text in seen.inside["li"])


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
    return [name.split("-")[1:] for name in seen.all("id") if name.startswith("cell-")]


def test_a_secondary_metric_is_named_and_explained(made: Callable[..., Evidence], parsed: Any) -> None:
    found = made(["a", "b"], ["pxs"], [(0, 0), (0, 1)], metric="dice_case")
    for record in found.records.values():
        record["metrics"]["dice_positive"], record["secondary"] = 0.25, ["dice_positive"]
    text = page(TITLE, found)
    seen = parsed(text)
    assert [column["metric"] for column in seen.data["columns"]] == ["dice_case", "dice_positive"]
    assert "secondary" in seen.inside["i"]
    assert "Without it the headline metric would be misleading." in text


def test_folds_are_not_called_one_split(made: Callable[..., Evidence]) -> None:
    found = made(["a", "b"], ["dxc"], [(0, 0), (0, 1)])
    assert "all runs share one split" in page(TITLE, found)
    for record in found.records.values():
        record["recipe"]["task"]["split"]["folds"] = 5
    text = page(TITLE, found)
    assert "all runs share one split" not in text
    assert "each fine-tuning seed tests on another fold" in text


@pytest.mark.parametrize(
    ("methods", "seeds", "answer"),
    [
        (["a", "b"], 2, "No best method can be named on ncc: n = 2 fine-tuning seeds of a method; a test needs 5."),
        (["a"], 6, "No best method can be named on ncc: There is only one method."),
        (["a", "b", "c"], 10, "The best method can be named on 1 of 1 task: c on ncc."),
    ],
)
def test_the_page_opens_with_the_answer(
    methods: list[str], seeds: int, answer: str, made: Callable[..., Evidence], parsed: Any
) -> None:
    seen = parsed(page(TITLE, made(methods, ["ncc"], [(0, seed) for seed in range(seeds)])))
    assert answer in seen.inside["p"]


def test_methods_that_cannot_be_told_apart_are_named_with_the_power_of_the_test(
    made: Callable[..., Evidence], parsed: Any
) -> None:
    found = made(["a", "b", "c"], ["ncc"], [(0, seed) for seed in range(10)])
    for cell in found.cells:
        found.records[cell.key]["metrics"]["auc"] = (
            0.7 + 0.01 * (7 * cell.fine_tuning_seed % 10) + 0.001 * ord(cell.method)
        )
    text = " ".join(parsed(page(TITLE, found)).inside["span"])
    assert "not separable" in text
    assert re.search(
        r"are not separable from it, p ≥ \d\.\d\d\. n = 10 has 80 % power from 1\.\d standard deviations on", text
    )


@pytest.mark.parametrize(("count", "columns"), [(3, 10), (20, 10), (7, 3)])
def test_no_table_of_the_page_has_more_columns_than_fit(
    count: int, columns: int, made: Callable[..., Evidence], parsed: Any
) -> None:
    methods, tasks = [f"method {number}" for number in range(count)], [f"task{number}" for number in range(columns)]
    content = content_of(made(methods, tasks, [(0, 0)]))
    assert content.transposed == (count <= 6)
    assert all(len(block) <= 8 for block in content.blocks)
    assert [shown.number for block in content.blocks for shown in block] == list(range(columns))
    seen = parsed(page(TITLE, content.evidence))
    assert len(_places(seen)) == count * columns


def test_figures_are_inlined_with_ids_of_their_own_and_without_styles_and_sections_without_any_are_left_out(
    made: Callable[..., Evidence], parsed: Any, tmp_path: Path
) -> None:
    evidence = made(["a", "b"], ["ncc", "lcs"], [(0, 0), (0, 1)])
    before = parsed(page(TITLE, evidence))
    assert "Scores" not in before.inside["h2"]
    assert not {"svg", "figure"} & {tag for tag, _ in before.elements}
    figures = [plot for plot in plots(evidence) if plot.name in ("scores", "seed-spread")]
    for plot in figures:
        save(plot, tmp_path / "figures")
    text = write_page(tmp_path, TITLE, evidence, figures=figures).read_text()
    seen = parsed(text)
    ids = seen.all("id")
    assert len(ids) == len(set(ids))
    assert {address[1:] for address in seen.all("href") if address.startswith("#")} <= set(ids)
    assert set(re.findall(r"url\(#([^)]+)\)", text)) <= set(ids)
    assert not seen.all("style")
    assert seen.inside["title"][1:] == ["Scores of all methods", "Spread over seeds"]
    assert seen.inside["desc"] == [plot.caption for plot in figures] == seen.inside["figcaption"]
    assert not any(plot.caption[:40] in drawn for plot in figures for drawn in seen.inside["text"])
    assert "Labels and learning" not in seen.inside["h2"]


def test_the_page_states_what_it_stands_on(made: Callable[..., Evidence], parsed: Any) -> None:
    seen = parsed(page(TITLE, made(["a", "b"], ["ncc"], [(0, 0), (0, 1)])))
    facts = dict(zip(seen.inside["dt"], seen.inside["dd"], strict=True))
    assert facts["Design"] == "2 methods × 1 task × 1 pretraining seed × 2 fine-tuning seeds"
    assert facts["Data"] == "ncc: phantom"
    assert facts["Commit"] == "c0ffee"
    assert facts["Cost of fine-tuning"] == "4 runs: 6.0 s of wall time"
    assert "Command" not in facts
