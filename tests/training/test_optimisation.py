from __future__ import annotations

import torch
from torch import nn

from sg_bench.config import Optimiser, Training
from sg_bench.training.optimisation import make_optimiser


def stepped(name: str) -> float:
    """Return a weight of 1 after a step with a gradient of 1, a learning rate of 0.1 and a weight decay of 0.5."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.ones_(layer.weight)
    training = Training(optimiser=Optimiser.model_validate({"name": name, "lr": 0.1, "weight_decay": 0.5}))
    optimiser = make_optimiser(layer, training)
    layer(torch.ones(1, 1)).sum().backward()
    optimiser.step()
    return round(layer.weight.item(), 4)


def test_the_weight_decay_of_adamw_is_not_part_of_the_gradient() -> None:
    assert stepped("adam") == 0.9  # a step has the length of the learning rate whatever the gradient
    assert stepped("adamw") == 0.85
    assert stepped("sgd") == 0.85


def test_adamw_ignores_what_adam_ignores() -> None:
    assert Optimiser(name="adamw").without_effect() == Optimiser(name="adam").without_effect() == {"momentum"}
    assert Optimiser(name="sgd").without_effect() == {"betas", "eps"}
