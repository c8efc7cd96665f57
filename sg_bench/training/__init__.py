"""The training loop, and what it trains: pretraining and fine-tuning. Importing this package does not import torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sg_bench.lazy import lazy_exports

if TYPE_CHECKING:
    from sg_bench.training.draws import Draw, Purpose, generator
    from sg_bench.training.fine_tuning import FineTuning, task_network
    from sg_bench.training.loop import Learner, train
    from sg_bench.training.pretraining import Pretraining, fresh_network
    from sg_bench.training.ranks import World

__all__ = [
    "Draw",
    "FineTuning",
    "Learner",
    "Pretraining",
    "Purpose",
    "World",
    "fresh_network",
    "generator",
    "task_network",
    "train",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        **dict.fromkeys(("Draw", "Purpose", "generator"), "draws"),
        **dict.fromkeys(("FineTuning", "task_network"), "fine_tuning"),
        **dict.fromkeys(("Learner", "train"), "loop"),
        **dict.fromkeys(("Pretraining", "fresh_network"), "pretraining"),
        "World": "ranks",
    },
)
