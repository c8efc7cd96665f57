"""Whether a cluster has what a run asks for, before anything starts."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ray.autoscaler.sdk import request_resources
from ray.core.generated import autoscaler_pb2
from ray.exceptions import RayError
from ray.experimental.internal_kv import _internal_kv_get, internal_kv_get_gcs_client

from sg_bench.errors import SgBenchError, UsageError
from sg_bench.running.cluster.nodes import alive_nodes

WAIT = 900.0
"""Seconds to wait for an autoscaler: booting a machine and pulling an image take minutes."""
POLL = 2.0
STATUS_TIMEOUT = 10
STATUS = b"__autoscaling_status"
"""Key under which Ray's autoscaler reports."""
STATIC_NODE = "node_"
"""Beginning of the type of a node that no autoscaler has started."""


@dataclass(frozen=True)
class RunDemand:
    """What a run needs at once at the least."""

    workers: int = 1
    """Of the largest pretraining: a processor each, and a GPU where the cluster has any."""
    jobs: int = 1
    """Processors that were asked for by --jobs."""

    def asked(self, *, gpus: bool) -> str:
        """Return what is asked for, as a part of a sentence."""
        parts = []
        if self.workers > 1:
            parts.append(f"pretraining.workers={self.workers} asks for {_amount(self.workers, gpus=gpus)}")
        if self.jobs > 1:
            parts.append(f"--jobs {self.jobs} asks for {self.jobs} processors")
        return " and ".join(parts) or f"a job asks for {_amount(1, gpus=gpus)}"

    def met(self, nodes: Sequence[Mapping[str, float]], *, gpus: bool) -> bool:
        """Return whether nodes with these resources can hold all workers, and have the processors."""
        return worker_places(nodes, gpus=gpus) >= self.workers and _total(nodes, "CPU") >= self.jobs


def worker_places(nodes: Sequence[Mapping[str, float]], *, gpus: bool) -> int:
    """Return how many workers of a pretraining fit on the nodes at once."""
    return sum(
        min(int(node.get("CPU", 0)), int(node.get("GPU", 0))) if gpus else int(node.get("CPU", 0)) for node in nodes
    )


def _described(nodes: Sequence[Mapping[str, float]]) -> str:
    """Return what the nodes have, as a part of a sentence."""
    cpus, gpus = int(_total(nodes, "CPU")), int(_total(nodes, "GPU"))
    return f"{_count(cpus, 'processor')} and {_count(gpus, 'GPU')} on {_count(len(nodes), 'node')}"


def check_local(demand: RunDemand, processors: int, gpus: int) -> None:
    """Refuse what a cluster on this machine would never have.

    Raises:
        UsageError: names what is asked and what is there.
    """
    node = {"CPU": float(processors), "GPU": float(gpus)}
    if not demand.met([node], gpus=gpus > 0):
        hint = "Lower pretraining.workers" + (", or raise --jobs" if processors < demand.workers else "")
        raise UsageError(f"{demand.asked(gpus=gpus > 0)}, a local cluster here has {_described([node])}", hint=hint)


def await_resources(demand: RunDemand, wait: float | None, log: Callable[[str], None]) -> None:
    """Return once the connected cluster has what is asked for; at once where it has, or where no time is given.

    Args:
        demand: what is asked.
        wait: seconds; None waits only where an autoscaler can add nodes, for 15 minutes.
        log: prints one line.

    Raises:
        UsageError: the cluster has less, and nothing is waited for.
        SgBenchError: it still has less after the time.
    """
    scaled = has_autoscaler()
    limit = wait if wait is not None else WAIT if scaled else 0.0
    end, asked_for, printed = time.monotonic() + limit, False, ""
    try:
        while True:
            nodes = node_resources()
            gpus = _total(nodes, "GPU") > 0
            if demand.met(nodes, gpus=gpus):
                break
            sentence = f"{demand.asked(gpus=gpus)}, the Ray cluster has {_described(nodes)}"
            if not limit:
                raise UsageError(sentence, hint=_remedy(demand))
            if time.monotonic() >= end:
                raise SgBenchError(
                    f"{sentence}, after {limit:.0f} s of waiting",
                    hint="Look at `ray status` for why no node comes, or give it more time with --wait-for-resources",
                )
            if scaled and not asked_for:
                request_resources(bundles=_bundles(demand, gpus=gpus))
                asked_for = True
            if sentence != printed:
                log(f"Waiting for nodes, at most {limit:.0f} s: {sentence}")
                printed = sentence
            time.sleep(min(POLL, max(0.1, end - time.monotonic())))
    finally:
        if asked_for:
            request_resources(bundles=[])  # it would outlive this process; what runs asks for itself


def node_resources() -> list[dict[str, float]]:
    """Return the resources in all of each living node of the connected cluster."""
    return [dict(node["Resources"]) for node in alive_nodes()]


def has_autoscaler() -> bool:
    """Return whether something can add nodes to the connected cluster: `ray up`, KubeRay with autoscaling."""
    with contextlib.suppress(ValueError, RuntimeError, RayError):
        client: Any = internal_kv_get_gcs_client()  # type: ignore[no-untyped-call]
        reported = json.loads(_internal_kv_get(STATUS) or b"{}")
        return autoscales(reported) or autoscales_v2(client.get_cluster_status(timeout_s=STATUS_TIMEOUT))
    return False


def autoscales(status: Mapping[str, Any]) -> bool:
    """Return whether a report of Ray's monitor is an autoscaler's; one of a static cluster knows no types of nodes."""
    report = status.get("autoscaler_report") or {}
    types = [*report.get("active_nodes", {}), *(each[1] for each in report.get("pending_nodes", []))]
    return any(not name.startswith(STATIC_NODE) for name in types)


def autoscales_v2(status: bytes) -> bool:
    """Return whether version 2 of Ray's autoscaler, as on Kubernetes, has reported to the server of a cluster."""
    messages: Any = autoscaler_pb2
    reply = messages.GetClusterStatusReply()
    reply.ParseFromString(status)
    types = [node.ray_node_type_name for node in reply.cluster_resource_state.node_states]
    reported = reply.autoscaling_state.autoscaler_state_version > 0
    return reported and any(name and not name.startswith(STATIC_NODE) for name in types)


def _bundles(demand: RunDemand, *, gpus: bool) -> list[dict[str, float]]:
    worker = {"CPU": 1.0, "GPU": 1.0} if gpus else {"CPU": 1.0}
    return [worker] * demand.workers + [{"CPU": 1.0}] * max(0, demand.jobs - demand.workers)


def _remedy(demand: RunDemand) -> str:
    changes = (["pretraining.workers"] if demand.workers > 1 else []) + (["--jobs"] if demand.jobs > 1 else [])
    return f"Lower {' and '.join(changes)}, or add nodes" if changes else "Add nodes with processors"


def _total(nodes: Sequence[Mapping[str, float]], name: str) -> float:
    return sum(node.get(name, 0.0) for node in nodes)


def _amount(workers: int, *, gpus: bool) -> str:
    text = _count(workers, "processor")
    return f"{text} and {_count(workers, 'GPU')}" if gpus else text


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
