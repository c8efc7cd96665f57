"""One of test_norm.py's two gloo processes: `python two_ranks.py RANK FOLDER`, from job.pt to rank<RANK>.pt."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from sg_bench.networks.norm import convert_sync_batchnorm, reestimate


def train(network: nn.Module, batches: list[torch.Tensor], targets: list[torch.Tensor]) -> dict[str, Any]:
    """Return what one pass with a summed loss leaves: outputs, gradients of inputs and parameters, statistics."""
    outputs, inputs = [], []
    for batch, target in zip(batches, targets, strict=True):
        inputs.append(batch.clone().requires_grad_())
        outputs.append(network(inputs[-1]))
        ((outputs[-1] - target) ** 2).sum().backward()
    return {
        "outputs": [output.detach() for output in outputs],
        "input_gradients": [x.grad for x in inputs],
        "gradients": {name: parameter.grad for name, parameter in network.named_parameters()},
        "buffers": {name: buffer.clone() for name, buffer in network.named_buffers()},
    }


def main(rank: int, folder: Path) -> None:
    """Run every job on this rank's share of each batch."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    results = {}
    for name, job in torch.load(folder / "job.pt", weights_only=False).items():
        network = convert_sync_batchnorm(job["network"]).train()
        batches, targets = ([batch[rank] for batch in job[part]] for part in ("batches", "targets"))
        result = train(network, batches, targets)
        for gradient in result["gradients"].values():
            dist.all_reduce(gradient)
        reestimate(network, batches, "cpu")
        result["reestimated"] = dict(network.named_buffers())
        results[name] = result
    torch.save(results, folder / f"rank{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
