from collections.abc import Callable
from typing import Any

from sg_bench.config import key_of
from sg_bench.reporting.evidence import Evidence
from sg_bench.reporting.page.content import content_of
from sg_bench.reporting.page.provenance import SharedBranches, data_of


def unpacked(value: Any, branches: list[dict[str, Any]]) -> Any:
    if isinstance(value, dict):
        return {name: unpacked(inner, branches) for name, inner in branches[value["$"]].items()}
    return [unpacked(inner, branches) for inner in value] if isinstance(value, list) else value


def test_a_packed_record_is_the_record(made: Callable[..., Evidence]) -> None:
    evidence = made(["a", "b"], ["ncc"], [(0, 0), (1, 0)])
    data = data_of(content_of(evidence))
    for found in data["runs"]["ncc"].values():
        for run in found:
            record = evidence.records[run["key"]]
            shown = unpacked({"$": run["record"]}, data["branches"])
            parts = {name: key_of(record["recipe"][name]) for name in ("store", "initialisation")}
            assert shown.pop("keys") == {"cell": run["key"], **parts}
            assert shown == {name: record[name] for name in shown}
            assert {"recipe", "metrics", "ran", "outputs", "counts", "loaded"} == set(shown)
            assert run["scores"] == record["metrics"]


def test_a_mapping_that_looks_like_a_reference_is_not_taken_for_one() -> None:
    branches = SharedBranches()
    number = branches.add({"a": {"$": 0}, "b": [{"$": {"$": 1}}]})
    assert unpacked({"$": number}, branches.branches) == {"a": {"$": 0}, "b": [{"$": {"$": 1}}]}


def test_what_runs_share_is_kept_once(made: Callable[..., Evidence]) -> None:
    one = data_of(content_of(made(["a"], ["ncc"], [(0, 0)])))
    many = data_of(content_of(made(["a"], ["ncc"], [(0, seed) for seed in range(50)])))
    own = 3  # the tops of a record and of its recipe, and the keys: they name the seed or the cell
    assert len(many["branches"]) <= len(one["branches"]) + 49 * own + 4  # and five different scores
