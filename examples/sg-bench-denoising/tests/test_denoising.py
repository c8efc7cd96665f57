"""The method keeps the contract of sg-bench, and its noise has the documented variance."""

import pytest
import torch
from sg_bench_denoising.config import DenoisingConfig
from sg_bench_denoising.method import Denoising

from sg_bench.testing import parametrize_with_checks


@parametrize_with_checks("denoising")
def test_it_keeps_the_contract(check):
    check()


@pytest.mark.parametrize("signal", [0.4, 0.6])
def test_its_noise_has_the_documented_variance(signal):
    images = torch.full((1, 1, 48, 48, 48), signal)
    params = {
        "deviation": torch.tensor([0.04]),
        "gain": torch.tensor([0.01]),
        "seed": torch.tensor([3]),
    }
    batch = Denoising(DenoisingConfig()).make_batch(images, torch.zeros(1).long(), params)
    assert batch.inputs.mean().item() == pytest.approx(signal, abs=0.002)
    assert batch.inputs.var().item() == pytest.approx(0.04**2 + 0.01 * signal, rel=0.02)
    assert torch.equal(batch.targets, images)
