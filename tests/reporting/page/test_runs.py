from collections.abc import Callable
from typing import Any

from sg_bench.config import key_of
from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.page.content import content_of
from sg_bench.reporting.page.runs import MAX_POINTS, SharedBranches, curve_of, data_of


def unpacked(value: Any, branches: list[dict[str, Any]]) -> Any:
    if isinstance(value, dict):
        return {name: unpacked(inner, branches) for name, inner in branches[value["$"]].items()}
    return [unpacked(inner, branches) for inner in value] if isinstance(value, list) else value


def test_a_packed_recipe_is_the_recipe(made: Callable[..., Evidence]) -> None:
    evidence = made(["a", "b"], ["ncc"], [(0, 0), (1, 0)])
    data = data_of(content_of(evidence))
    for found in data["runs"]["ncc"].values():
        for run in found:
            recipe = evidence.records[run["key"]]["recipe"]
            assert unpacked({"$": run["recipe"]}, data["branches"]) == recipe
            parts = data["branches"][run["recipe"]]
            for name in ("store", "initialisation"):
                assert data["keys"][parts[name]["$"]] == key_of(recipe[name])


def test_a_mapping_that_looks_like_a_reference_is_not_taken_for_one() -> None:
    branches = SharedBranches()
    number = branches.add({"a": {"$": 0}, "b": [{"$": {"$": 1}}]})
    assert unpacked({"$": number}, branches.branches) == {"a": {"$": 0}, "b": [{"$": {"$": 1}}]}


def test_what_runs_share_is_kept_once(made: Callable[..., Evidence]) -> None:
    one = data_of(content_of(made(["a"], ["ncc"], [(0, 0)])))
    many = data_of(content_of(made(["a"], ["ncc"], [(0, seed) for seed in range(50)])))
    assert len(many["branches"]) == len(one["branches"]) + 49  # only the top of a recipe names the seed


def test_a_long_curve_is_thinned_but_keeps_its_ends_and_the_chosen_weights() -> None:
    rows = [
        {"step": 10 * epoch, "best": epoch in (3, 333), "train": {"loss": 1 / epoch}, "validation": {"loss": 0.123456}}
        for epoch in range(1, 1001)
    ]
    branches = SharedBranches()
    curve = curve_of(rows, branches)
    shared = branches.branches[curve["steps"]]
    assert len(curve["train"]) == len(curve["validation"]) == len(shared["step"]) <= MAX_POINTS
    assert (shared["step"][0], shared["step"][-1], shared["epochs"]) == (10, 10_000, 1000)
    assert curve["best"] == 3330
    assert curve["validation"][0] == 0.1235


def test_a_short_curve_is_kept_completely_and_an_absent_loss_stays_absent() -> None:
    for count in (1, 2, MAX_POINTS):
        branches = SharedBranches()
        curve = curve_of([{"step": step, "train": {"loss": 1.0}} for step in range(count)], branches)
        assert branches.branches[curve["steps"]]["step"] == list(range(count))
        assert curve["validation"] == [None] * count
        assert curve["best"] is None
    assert curve_of([], SharedBranches()) == {}
