"""Settings of a suite without effect are told when it is planned."""

from __future__ import annotations

from typing import Any

from sg_bench.planning.settings import unused_settings
from sg_bench.suite import Suite

CONTENT: dict[str, Any] = {
    "name": "own",
    "tasks": ["ncs[data=phantom]"],
    "methods": ["scratch"],
    "corpora": {"3d": {"name": "phantom", "source": "phantom"}, "2d": {"name": "films", "source": "phantom"}},
    "pretraining": {"crops": {"cube": [16, 16, 16]}, "training": {"epochs": 1}},
    "discovery": {"neighbours_by": "pixels"},
    "network": {"2d": "resnet_unet"},
}


def unused(**changes: Any) -> list[str]:
    content = {**CONTENT, **changes}
    return [line.partition("`")[2].partition("`")[0] for line in unused_settings(Suite(**content), content)]


def test_what_no_method_or_task_uses_is_named() -> None:
    assert unused() == [
        "pretraining.crops",
        "pretraining.training",
        "discovery",
        "corpora.3d",
        "corpora.2d",
        "network.2d",
    ]
    assert unused(methods=["scratch", "models_genesis"]) == ["discovery", "corpora.2d", "network.2d"]
    assert unused(methods=["semantic_genesis"], network={}) == ["pretraining.crops", "corpora.2d"]


def test_settings_of_an_extended_suite_and_unknown_methods_are_left_alone() -> None:
    assert unused_settings(Suite(**CONTENT), {"methods": ["scratch"]}) == []
    assert unused(methods=["of_another_package"]) == []
