"""What a run asks of a cluster and whether it is there, decided from numbers; nothing here starts Ray."""

from __future__ import annotations

from typing import Any

import pytest
from ray.core.generated import autoscaler_pb2

from sg_bench.errors import SgBenchError, UsageError
from sg_bench.running.cluster import demand
from sg_bench.running.cluster.demand import (
    RunDemand,
    autoscales,
    autoscales_v2,
    await_resources,
    check_local,
    worker_places,
)

CPUS = [{"CPU": 4.0}, {"CPU": 2.5, "memory": 1e9}, {"CPU": 0.0}]
CARDS = [{"CPU": 8.0, "GPU": 2.0}, {"CPU": 1.0, "GPU": 4.0}, {"CPU": 16.0}]


def test_a_worker_needs_a_processor_and_a_gpu_of_one_node() -> None:
    assert worker_places(CPUS, gpus=False) == 6
    assert worker_places(CARDS, gpus=True) == 3


@pytest.mark.parametrize(
    ("run", "nodes", "gpus", "met"),
    [
        (RunDemand(), CPUS, False, True),
        (RunDemand(), [{"CPU": 0.0}], False, False),
        (RunDemand(), [], False, False),
        (RunDemand(workers=6), CPUS, False, True),
        (RunDemand(workers=7), CPUS, False, False),
        (RunDemand(workers=3), CARDS, True, True),
        (RunDemand(workers=4), CARDS, True, False),
        (RunDemand(jobs=6), CPUS, False, True),
        (RunDemand(jobs=7), CPUS, False, False),
    ],
)
def test_more_than_a_cluster_has_is_noticed(
    run: RunDemand, nodes: list[dict[str, float]], gpus: bool, met: bool
) -> None:
    assert run.met(nodes, gpus=gpus) is met


def test_more_workers_than_this_machine_has_processors_or_gpus_are_refused_in_one_line() -> None:
    check_local(RunDemand(workers=2), 2, 0)
    with pytest.raises(UsageError) as caught:
        check_local(RunDemand(workers=4), 2, 0)
    assert str(caught.value) == (
        "pretraining.workers=4 asks for 4 processors, a local cluster here has 2 processors and 0 GPUs on 1 node. "
        "Lower pretraining.workers, or raise --jobs"
    )
    with pytest.raises(UsageError, match=r"asks for 2 processors and 2 GPUs, .* has 8 processors and 1 GPU"):
        check_local(RunDemand(workers=2), 8, 1)


@pytest.mark.parametrize(
    ("report", "scales"),
    [
        ({}, False),
        ({"autoscaler_report": None}, False),
        ({"autoscaler_report": {"active_nodes": {"node_1b0": 1}, "pending_nodes": []}}, False),
        ({"autoscaler_report": {"active_nodes": {"ray.head.default": 1}, "pending_nodes": []}}, True),
        ({"autoscaler_report": {"active_nodes": {}, "pending_nodes": [["10.0.0.2", "small-group", "starting"]]}}, True),
    ],
)
def test_a_cluster_with_named_types_of_nodes_has_an_autoscaler(report: dict[str, Any], scales: bool) -> None:
    assert autoscales(report) is scales


@pytest.mark.parametrize(
    ("version", "types", "scales"),
    [
        (0, ["small-group"], False),
        (3, ["headgroup", "small-group"], True),
        (3, ["", "node_1b0"], False),
        (3, [], False),
    ],
)
def test_version_2_of_the_autoscaler_is_seen_by_its_reports(version: int, types: list[str], scales: bool) -> None:
    messages: Any = autoscaler_pb2
    reply = messages.GetClusterStatusReply()
    reply.autoscaling_state.autoscaler_state_version = version
    for name in types:
        reply.cluster_resource_state.node_states.add().ray_node_type_name = name
    assert autoscales_v2(reply.SerializeToString()) is scales


class TestWaiting:
    """Waiting for nodes, with a cluster that is a list of what it has at each look."""

    @pytest.fixture
    def looks(self, monkeypatch: pytest.MonkeyPatch) -> list[list[dict[str, float]]]:
        found: list[list[dict[str, float]]] = []
        monkeypatch.setattr(demand, "node_resources", lambda: found.pop(0) if len(found) > 1 else found[0])
        monkeypatch.setattr(demand, "POLL", 0.0)
        monkeypatch.setattr(demand, "has_autoscaler", lambda: True)
        self.requested: list[Any] = []
        monkeypatch.setattr(demand, "request_resources", lambda bundles: self.requested.append(bundles))
        return found

    def test_an_autoscaler_is_asked_and_one_line_says_what_is_awaited(self, looks: list[Any]) -> None:
        looks += [[{"CPU": 1.0}], [{"CPU": 1.0}], [{"CPU": 1.0}, {"CPU": 1.0}]]
        lines: list[str] = []
        await_resources(RunDemand(workers=2), 60.0, lines.append)
        assert lines == [
            "Waiting for nodes, at most 60 s: pretraining.workers=2 asks for 2 processors, "
            "the Ray cluster has 1 processor and 0 GPUs on 1 node"
        ]
        assert self.requested == [[{"CPU": 1.0}] * 2, []]

    def test_after_the_time_it_is_the_infrastructures_failure(self, looks: list[Any]) -> None:
        looks += [[{"CPU": 1.0}]]
        with pytest.raises(SgBenchError, match=r"after 0 s of waiting\. .*--wait-for-resources") as caught:
            await_resources(RunDemand(jobs=3), 0.05, lambda line: None)
        assert (caught.value.kind, caught.value.exit_code) == ("infrastructure", 1)
        assert self.requested[-1] == []  # what was asked of the autoscaler would outlive this process

    def test_a_static_cluster_is_refused_at_once(self, looks: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(demand, "has_autoscaler", lambda: False)
        looks += [[{"CPU": 1.0}]]
        with pytest.raises(UsageError, match=r"^--jobs 3 asks for 3 processors, the Ray cluster has 1 processor"):
            await_resources(RunDemand(jobs=3), None, lambda line: None)
        assert self.requested == []
