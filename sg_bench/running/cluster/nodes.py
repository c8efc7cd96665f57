"""What the nodes of a cluster have."""

from __future__ import annotations

from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sg_bench.running.packing import Card, list_cards

CARDS_TIMEOUT = 120.0
"""Seconds for the nodes of a cluster to list their GPUs."""


def cluster_cards() -> list[Card]:
    """Return the GPUs of all nodes, or [] if a node does not answer: jobs then have a GPU each."""
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU")]  # type: ignore[no-untyped-call]
    task: Any = ray.remote(num_cpus=0, max_retries=0)(list_cards)
    places = [NodeAffinitySchedulingStrategy(node, soft=False) for node in nodes]
    asked = [task.options(scheduling_strategy=place).remote() for place in places]
    try:
        return [card for cards in ray.get(asked, timeout=CARDS_TIMEOUT) for card in cards]
    except RayError:
        return []
