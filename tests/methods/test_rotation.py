"""Rotation: the labels are the turns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sg_bench.config import Stage, Training
from sg_bench.errors import MethodError
from sg_bench.methods.configs import RotationConfig
from sg_bench.methods.rotation import Rotation
from sg_bench.training.pretraining import fresh_network
from sg_bench.transforms.streams import RandomStreams

STAGE = Stage(name="pretrain", training=Training(), weights={"rotation": 1.0})


def cubes(count: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).random((count, 1, 8, 8, 8), np.float32))


def test_the_answer_is_the_number_of_quarters_by_which_the_input_was_turned() -> None:
    images = cubes(1).expand(4, -1, -1, -1, -1)
    batch = Rotation(RotationConfig(width=1)).make_batch(images, torch.zeros(4), {"turn": torch.arange(4)})
    assert batch.answers["turn"].tolist() == [0, 1, 2, 3]
    for quarters, image in enumerate(batch.inputs):
        assert torch.equal(image, images[0].rot90(quarters, (1, 2)))


def test_there_are_four_turns_or_ten() -> None:
    ways = {
        axes: Rotation(RotationConfig.model_validate({"width": 1, "turns": {"axes": axes}})) for axes in ("z", "all")
    }
    outputs = {axes: method.network().eval()(cubes(2)).shape for axes, method in ways.items()}
    assert outputs == {"z": (2, 4), "all": (2, 10)}


def test_ten_turns_want_cubic_crops_and_films_have_four() -> None:
    ten = RotationConfig.model_validate({"turns": {"axes": "all"}})
    with pytest.raises(MethodError, match="cubic images"):
        Rotation(ten).sample_params(RandomStreams([0]), (64, 64, 32))
    with pytest.raises(ValueError, match="a film turns in its plane only"):
        RotationConfig.model_validate({"dimension": 2, "turns": {"axes": "all"}})


def test_a_network_that_knows_nothing_pays_the_logarithm_of_four_and_tells_a_quarter() -> None:
    method = Rotation(RotationConfig(width=1))
    network = fresh_network(method, 0).eval()
    with torch.no_grad():
        network.get_parameter("output.weight").zero_()
    batch = method.make_batch(cubes(4), torch.zeros(4), {"turn": torch.arange(4)})
    losses = method.losses(network, batch, STAGE)
    assert losses.terms["rotation"].item() == pytest.approx(np.log(4), rel=1e-6)
    assert losses.measures["rotation_accuracy"].item() == 0.25
