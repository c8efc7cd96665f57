"""Rubik's cube: the answers are the order and the turns; all sub-cubes go through one encoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sg_bench.config import Stage, Training
from sg_bench.methods.configs import RubiksCubeConfig
from sg_bench.methods.rubiks_cube import RubiksCubeMethod, RubiksNetwork
from sg_bench.training.pretraining import fresh_network
from sg_bench.transforms.base import sample_batch
from sg_bench.transforms.rubik import joined, taken_apart

STAGE = Stage(name="pretrain", training=Training(), weights={"order": 0.5, "turned": 0.5})
METHOD = RubiksCubeMethod(RubiksCubeConfig(width=1))


def cubes(count: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).random((count, 1, 16, 16, 16), np.float32))


def network() -> RubiksNetwork:
    found = fresh_network(METHOD, 0).eval()
    assert isinstance(found, RubiksNetwork)
    return found


def test_the_answers_are_what_was_drawn() -> None:
    keys = range(3)
    params = sample_batch(METHOD.cube, keys, (16, 16, 16))
    batch = METHOD.make_batch(cubes(3), torch.zeros(3), params)
    assert torch.equal(batch.answers["order"], params["order"])
    assert torch.equal(batch.answers["turned"], params["turned"])
    assert torch.equal(batch.inputs, METHOD.cube.apply(cubes(3), params))


def test_each_sub_cube_is_seen_by_itself_in_its_own_place() -> None:
    one, seen = network(), cubes(2)
    maps = one.coarsest(seen)
    assert maps.shape == (16, 16, 1, 1, 1)
    pieces = taken_apart(seen).clone()
    pieces[1, 6] += 0.1
    changed = one.coarsest(joined(pieces))
    differs = [not torch.equal(a, b) for a, b in zip(maps, changed, strict=True)]
    assert differs == [number == 8 + 6 for number in range(16)]


def test_heads_are_for_100_orders_and_two_turns_of_eight_sub_cubes() -> None:
    order, turned = network()(cubes(2))
    assert (order.shape, turned.shape) == ((2, 100), (2, 8, 2))


def test_a_network_that_knows_nothing_pays_the_logarithms_of_100_and_of_2() -> None:
    one = network()
    with torch.no_grad():
        for name in ("order", "turned_x", "turned_z"):
            one.get_parameter(f"{name}.weight").zero_()
    keys = range(2)
    batch = METHOD.make_batch(cubes(2), torch.zeros(2), sample_batch(METHOD.cube, keys, (16, 16, 16)))
    terms = METHOD.losses(one, batch, STAGE).terms
    assert terms["order"].item() == pytest.approx(np.log(100), rel=1e-5)
    assert terms["turned"].item() == pytest.approx(np.log(2), rel=1e-5)


def test_order_and_turns_weigh_a_half_each() -> None:
    (stage,) = METHOD.stages()
    assert stage.weights == {"order": 0.5, "turned": 0.5}
