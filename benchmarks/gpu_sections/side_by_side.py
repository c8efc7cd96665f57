"""Processes that fine-tune on one card side by side."""

from __future__ import annotations

import multiprocessing
import time
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.gpu_sections.common import (
    CUBE,
    arithmetic,
    configure,
    cuda,
    smooth_images,
)
from sg_bench.networks.configs import papers_network
from sg_bench.networks.memory import channels_last


def side_by_side() -> dict[str, Any]:
    """Return the throughput of 1 to 8 processes that fine-tune on one card, at two sizes."""
    out = {}
    sizes = (
        ("demo", {"width": 4, "shape": (16, 16, 8)}, (1, 2, 4, 8)),
        ("paper", {"width": 32, "shape": CUBE}, (1, 4)),
    )
    for title, size, counts in sizes:
        out[title] = {str(count): cells(count, size) for count in counts}
        print(title, out[title], flush=True)
    return out


def cells(count: int, size: dict[str, Any], seconds: float = 3.0) -> dict[str, Any]:
    """Return the steps per second of `count` processes together, and the peak memory of one."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(count), context.Queue()
    workers = [context.Process(target=cell, args=(size, seconds, barrier, results)) for _ in range(count)]
    started = time.monotonic()
    for worker in workers:
        worker.start()
    rows = [results.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join()
    return {
        "steps_per_second": round(sum(row["steps"] / row["seconds"] for row in rows), 1),
        "peak_memory_gib_each": round(max(row["peak"] for row in rows), 2),
        "start_and_run_s": round(time.monotonic() - started, 1),
    }


def cell(size: dict[str, Any], seconds: float, barrier: Any, results: Any) -> None:
    """Fine-tune a classifier of the papers' for some seconds; one process of `cells`."""
    from sg_bench.networks.build import task_model

    configure()
    shape = size["shape"]
    network = channels_last(task_model(papers_network(3, size["width"]), "classification").to(cuda())).train()
    optimiser = torch.optim.Adam(network.parameters(), 1e-4, fused=True)
    store = torch.from_numpy(smooth_images(64, shape)).float()
    truths = (torch.arange(24, device=cuda()) % 2).float()[:, None]
    rng = np.random.default_rng(0)

    def step() -> None:
        images = channels_last(store[rng.integers(0, 64, 24)][:, None].to(cuda()))
        optimiser.zero_grad(set_to_none=True)
        with arithmetic("bfloat16"):
            logits = network(images)
        nn.functional.binary_cross_entropy_with_logits(logits.float(), truths).backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    for _ in range(3):
        step()
    torch.cuda.synchronize()
    barrier.wait()
    started, steps = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        step()
        torch.cuda.synchronize()
        steps += 1
    results.put(
        {
            "steps": steps,
            "seconds": time.perf_counter() - started,
            "peak": torch.cuda.max_memory_reserved() / 2**30,
        }
    )
