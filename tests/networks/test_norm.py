"""Batch norm over two processes equals batch norm over their joint batch; statistics are re-estimated exactly."""

from __future__ import annotations

import copy
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sg_bench.errors import MethodError
from sg_bench.networks.initialise import glorot_
from sg_bench.networks.norm import (
    CrossRankBatchNorm1d,
    CrossRankBatchNorm2d,
    CrossRankBatchNorm3d,
    convert_sync_batchnorm,
    reestimate,
    use_batch_statistics,
)
from sg_bench.networks.unet import UNet3D

pytestmark = pytest.mark.xdist_group("norm ranks")  # what several processes compute is computed once

HERE = Path(__file__).parent
train = runpy.run_path(str(HERE / "two_ranks.py"))["train"]
Job = dict[str, Any]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_batches(shape: tuple[int, ...], count: int = 2) -> list[torch.Tensor]:
    return [torch.rand(shape, generator=generator(seed)) for seed in range(count)]


def small_network() -> nn.Module:
    return glorot_(nn.Sequential(nn.Conv3d(1, 3, 3), nn.BatchNorm3d(3), nn.ReLU(), nn.Conv3d(3, 2, 1)), generator())


EXACT = [
    "one layer",
    "in a network",
    "uneven shares",
    "an empty share",
    "cumulative",
    "without affine",
    "features",
    "images",
]
ROUNDED = ["float32", "float32 far from zero"]


def affine(dtype: torch.dtype = torch.float64) -> nn.Module:
    norm = nn.BatchNorm3d(4)
    norm.weight.data, norm.bias.data = torch.tensor([1.0, 2, 3, 4]), torch.tensor([0.5, 0, -1, 2])
    return norm.to(dtype)


def jobs() -> dict[str, Job]:
    """Return the network, batches and targets of each comparison, the batches already cut in two for the ranks."""
    return {
        "one layer": job(affine(), (4, 4, 3, 5, 2)),
        "in a network": job(small_network().double(), (4, 1, 6, 6, 6)),
        "uneven shares": job(affine(), (5, 4, 3, 3, 3)),
        "an empty share": job(affine(), (2, 4, 3, 3, 3), cut=0),
        "cumulative": job(nn.BatchNorm3d(4, momentum=None).double(), (4, 4, 3, 3, 3)),
        "without affine": job(nn.BatchNorm3d(4, affine=False).double(), (4, 4, 3, 3, 3)),
        "features": job(nn.BatchNorm1d(4).double(), (4, 4)),
        "images": job(nn.BatchNorm2d(4).double(), (4, 4, 5, 6)),
        "float32": job(affine(torch.float32), (4, 4, 6, 6, 6)),
        "float32 far from zero": job(affine(torch.float32), (4, 4, 8, 8, 8), scale=0.1, shift=30),
    }


def job(network: nn.Module, shape: tuple[int, ...], cut: int = 2, scale: float = 1, shift: float = 0) -> Job:
    dtype = next(buffer.dtype for buffer in network.buffers())
    batches = [(scale * batch + shift).to(dtype) for batch in random_batches(shape)]
    outputs = [copy.deepcopy(network)(batch).shape for batch in batches]
    targets = [torch.rand(output, generator=generator(9)).to(dtype) for output in outputs]
    shares = [[(x[:cut], x[cut:]) for x in part] for part in (batches, targets)]
    return {"network": network, "batches": shares[0], "targets": shares[1]}


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Job]]:
    """Return what each of two processes found in each job."""
    folder = tmp_path_factory.mktemp("ranks")
    torch.save(jobs(), folder / "job.pt")
    paths = os.pathsep.join(filter(None, [str(HERE.parents[1]), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, str(HERE / "two_ranks.py")]
    started = [subprocess.Popen([*command, str(rank), str(folder)], env=environment) for rank in range(2)]
    try:
        assert [process.wait(timeout=120) for process in started] == [0, 0]
    finally:
        for process in started:
            process.kill()
    return [torch.load(folder / f"rank{rank}.pt", weights_only=False) for rank in range(2)]


def alone(work: Job, dtype: torch.dtype) -> Job:
    """Return what one process with ordinary batch norm finds in the joint batches."""
    network = copy.deepcopy(work["network"]).to(dtype).train()
    batches, targets = ([torch.cat(shares).to(dtype) for shares in work[part]] for part in ("batches", "targets"))
    result: Job = train(network, batches, targets)
    reestimate(network, batches, "cpu")
    return {**result, "reestimated": dict(network.named_buffers())}


def joined(ranks: list[dict[str, Job]], name: str, part: str) -> list[torch.Tensor]:
    return [torch.cat(shares) for shares in zip(*(rank[name][part] for rank in ranks), strict=True)]


@pytest.mark.parametrize("name", EXACT)
def test_two_ranks_normalise_and_learn_as_one_process_does(ranks: list[dict[str, Job]], name: str) -> None:
    whole = alone(jobs()[name], torch.float64)
    for part in ("outputs", "input_gradients"):
        torch.testing.assert_close(joined(ranks, name, part), whole[part], rtol=1e-9, atol=1e-9)
    for rank in ranks:
        torch.testing.assert_close(rank[name]["gradients"], whole["gradients"], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", EXACT)
def test_two_ranks_keep_the_running_statistics_of_one_process(ranks: list[dict[str, Job]], name: str) -> None:
    whole = alone(jobs()[name], torch.float64)
    for rank in ranks:
        torch.testing.assert_close(rank[name]["buffers"], whole["buffers"], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(rank[name]["reestimated"], whole["reestimated"], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ROUNDED)
def test_two_ranks_round_no_worse_than_one_process(ranks: list[dict[str, Job]], name: str) -> None:
    exact, ordinary = (alone(jobs()[name], dtype) for dtype in (torch.float64, torch.float32))
    for part in ("outputs", "input_gradients"):
        for ours, theirs, true in zip(joined(ranks, name, part), ordinary[part], exact[part], strict=True):
            assert ours.dtype == torch.float32
            assert error(ours, true) <= max(1e-5, 2 * error(theirs, true))
    for rank in ranks:
        for statistic, true in exact["buffers"].items():
            assert error(rank[name]["buffers"][statistic], true) <= 1e-5


def error(found: torch.Tensor, true: torch.Tensor) -> float:
    """Return the largest deviation, as a share of the largest value."""
    return float((found.double() - true).abs().max() / true.abs().max())


def test_in_one_process_it_is_ordinary_batch_norm_bit_for_bit() -> None:
    ordinary, cross = nn.BatchNorm3d(3), CrossRankBatchNorm3d(3)
    for batch in random_batches((2, 3, 4, 4, 4)):
        assert torch.equal(ordinary(batch), cross(batch))
    assert torch.equal(ordinary.eval()(batch), cross.eval()(batch))
    assert all(torch.equal(a, b) for a, b in zip(ordinary.buffers(), cross.buffers(), strict=True))


def test_converting_keeps_names_parameters_and_modes() -> None:
    network = nn.Sequential(UNet3D(2), nn.BatchNorm2d(3), nn.BatchNorm1d(3)).eval()
    before = dict(network.named_parameters())
    state = network.state_dict()
    assert convert_sync_batchnorm(network) is network
    after = dict(network.named_parameters())
    assert all(after[name] is before[name] for name in before)
    assert list(network.state_dict()) == list(state)
    kinds = [type(module) for module in network.modules()]
    converted = (CrossRankBatchNorm3d, CrossRankBatchNorm2d, CrossRankBatchNorm1d)
    assert [kinds.count(kind) for kind in converted] == [14, 1, 1]
    assert not {nn.BatchNorm3d, nn.BatchNorm2d, nn.BatchNorm1d} & set(kinds)
    assert not any(module.training for module in network.modules())


def test_a_batch_norm_handed_over_by_itself_is_converted_too() -> None:
    assert isinstance(convert_sync_batchnorm(nn.BatchNorm3d(3)), CrossRankBatchNorm3d)


def test_reestimated_statistics_are_the_plain_average_over_batches() -> None:
    norm, batches = nn.BatchNorm3d(3).eval(), random_batches((2, 3, 4, 4, 4), 3)
    norm.load_state_dict({**norm.state_dict(), "running_mean": torch.full((3,), 99.0)})
    reestimate(norm, iter(batches), "cpu")
    means = torch.stack([batch.mean(dim=(0, 2, 3, 4)) for batch in batches])
    variances = torch.stack([batch.transpose(0, 1).flatten(1).var(dim=1) for batch in batches])
    found = norm.state_dict()
    torch.testing.assert_close(found["running_mean"], means.mean(0))
    torch.testing.assert_close(found["running_var"], variances.mean(0))


def test_reestimating_changes_nothing_but_the_statistics() -> None:
    unet = UNet3D(2)
    network = nn.Sequential(unet, nn.Dropout(0.5))
    unet.down_tr64.eval()
    modes = [module.training for module in network.modules()]
    before, randomness = copy.deepcopy(list(network.parameters())), torch.get_rng_state()
    reestimate(network, random_batches((2, 1, 16, 16, 8)), "cpu")
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(a, b) and b.grad is None for a, b in zip(before, network.parameters(), strict=True))
    assert {m.momentum for m in network.modules() if isinstance(m, nn.BatchNorm3d)} == {0.1}
    assert torch.equal(randomness, torch.get_rng_state())


def test_reestimating_from_nothing_is_an_error_and_leaves_the_statistics() -> None:
    norm = nn.BatchNorm3d(2)
    norm(torch.rand(2, 2, 2, 2, 2))
    before = copy.deepcopy(list(norm.buffers()))
    with pytest.raises(MethodError, match="no batches"):
        reestimate(norm, [], "cpu")
    assert all(torch.equal(a, b) for a, b in zip(before, norm.buffers(), strict=True))


def test_modes_and_momentum_come_back_after_a_failure() -> None:
    norm = nn.BatchNorm3d(2).eval()
    with pytest.raises(ValueError, match="expected 5D"):
        reestimate(norm, [torch.zeros(1, 2)], "cpu")
    assert (norm.momentum, norm.training) == (0.1, False)


def test_batch_statistics_normalise_as_training_does_and_leave_no_trace() -> None:
    network, (batch, _) = UNet3D(2), random_batches((2, 1, 16, 16, 16))
    trained = network(batch).detach()
    network.eval()
    state, running = copy.deepcopy(network.state_dict()), network(batch)
    with use_batch_statistics(network), torch.no_grad():
        assert not network.training
        torch.testing.assert_close(network(batch), trained)
    assert not torch.allclose(running, trained)
    assert all(torch.equal(state[name], tensor) for name, tensor in network.state_dict().items())
    assert torch.equal(network(batch), running)


def test_batch_statistics_end_with_an_error_inside() -> None:
    network = convert_sync_batchnorm(UNet3D(2)).train()
    with pytest.raises(MethodError), use_batch_statistics(network):
        network(torch.zeros(1))
    assert network.training
    assert len(network.state_dict()) == 106
