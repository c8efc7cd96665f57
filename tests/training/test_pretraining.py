from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from sg_bench.networks.norm import CrossRankBatchNorm3d
from sg_bench.registry import METHODS
from sg_bench.training.draws import Draw, Purpose
from sg_bench.training.loop import train
from sg_bench.training.pretraining import Pretraining, fresh_network, on_device

Make = Callable[..., Pretraining]


def draws(indices: list[int], seed: int = 0) -> list[Draw]:
    return [Draw(index, (seed, Purpose.TRAIN, 0, 0, place)) for place, index in enumerate(indices)]


def test_weights_are_drawn_from_the_seed_alone() -> None:
    method = METHODS.load("scratch")(METHODS.config("scratch").model_validate({"width": 1}))
    states = []
    for seed in (0, 0, 1):
        torch.rand(3)  # global random numbers, which must not matter
        states.append(fresh_network(method, seed).state_dict())
    name = "down_tr64.ops.0.conv1.weight"
    assert torch.equal(states[0][name], states[1][name])
    assert not torch.equal(states[0][name], states[2][name])


def test_methods_that_share_layers_start_from_the_same_weights() -> None:
    scratch = METHODS.load("scratch")(METHODS.config("scratch").model_validate({"width": 1}))
    semantic = METHODS.load("semantic_genesis")(METHODS.config("semantic_genesis").model_validate({"width": 1}), 3)
    wanted, found = fresh_network(scratch, 5).state_dict(), fresh_network(semantic, 5).state_dict()
    assert wanted.keys() < found.keys()
    assert all(torch.equal(tensor, found[name]) for name, tensor in wanted.items())


def test_a_batch_is_made_of_its_draws_and_nothing_else(semantic: Make) -> None:
    learner = semantic()
    one, again = (learner.batch("train", draws([2, 0, 7])) for _ in range(2))
    assert torch.equal(one.inputs, again.inputs)
    assert one.labels.tolist() == [2, 0, 1]
    np.testing.assert_array_equal(one.targets[:, 0].numpy(), learner.cubes["train"].images([2, 0, 7]))
    assert not torch.equal(learner.batch("train", draws([2, 0, 7], seed=1)).inputs, one.inputs)


def test_a_samples_corruption_does_not_depend_on_its_neighbours_in_the_batch(semantic: Make) -> None:
    learner = semantic()
    whole = learner.batch("train", draws([2, 0, 7])).inputs
    alone = learner.batch("train", [draws([2, 0, 7])[1]]).inputs
    assert torch.equal(whole[1:2], alone)


def test_batch_norms_become_those_that_ranks_share(semantic: Make) -> None:
    kinds = {type(m) for m in semantic().network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    assert kinds == {CrossRankBatchNorm3d}


def test_images_get_one_channel_last_in_memory() -> None:
    tensor = on_device(np.zeros((2, 3, 4, 5), np.float32), torch.device("cpu"))
    assert tensor.shape == (2, 1, 3, 4, 5)
    assert tensor.is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("maker", ["semantic", "autoencoder"])
def test_a_whole_training_leaves_global_random_numbers_alone(maker: str, request: pytest.FixtureRequest) -> None:
    def states() -> list[str]:
        numpy_state = np.random.get_state(legacy=True)  # noqa: NPY002
        return [str(random.getstate()), str([str(part) for part in numpy_state]), str(torch.get_rng_state().tolist())]

    learner = request.getfixturevalue(maker)(norm_eval="reestimated", epochs=3)
    before = states()
    train(learner, seed=0)
    assert states() == before


def test_training_changes_no_cube(semantic: Make) -> None:
    learner = semantic()
    before = learner.cubes["train"].images(range(10))
    train(learner, seed=0)
    np.testing.assert_array_equal(learner.cubes["train"].images(range(10)), before)
