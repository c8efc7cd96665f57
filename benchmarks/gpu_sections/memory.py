"""Ways to need less memory, compared with the complete batch, and the memory of processes against what is reserved."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu_sections.common import CUBE, configure, configured, cuda, epoch_draws, pretraining, smooth_images
from sg_bench.networks.build import task_model
from sg_bench.networks.configs import papers_network
from sg_bench.networks.memory import channels_last
from sg_bench.running.packing import CONTEXT_MIB, MARGIN, choose_card, jobs_on_card
from sg_bench.running.packing import CardLoad as Load
from sg_bench.training.gradients import Gradients, StepMemory
from sg_bench.training.loader import to_device
from sg_bench.training.loop import train, weighted_loss
from sg_bench.training.precision import configure_arithmetic
from sg_bench.training.pretraining import Pretraining

MIB = 1 << 20
SMALL = 16
"""Samples of a batch: a part of the papers' 64, so that all ways fit on any card."""
WAYS = {
    "complete": StepMemory(),
    "on_host": StepMemory(on_host=True),
    "micro_batches": StepMemory(micro_batch=SMALL // 4),
}


def memory() -> dict[str, Any]:
    """Return the cost and exactness of each way, an answered lack of memory, and what processes really take."""
    configure()
    out = {
        f"{precision} {title}": row for precision in ("bfloat16", "float32") for title, row in ways(precision).items()
    }
    return {**out, "out_of_memory": lack_of_memory(), "packing": packing()}


def learner(precision: str, batch: int = SMALL, **training: Any) -> Pretraining:
    """Return the pretraining of Models Genesis at the papers' width."""
    settings = {"batch_size": batch, "precision": precision, "optimiser": {"name": "adam", "lr": 1e-4}, **training}
    return pretraining(configured("models_genesis", CUBE, training=settings), CUBE, 32)


def ways(precision: str) -> dict[str, Any]:
    """Return seconds, peak memory and the difference of the gradients for each way of computing one batch.

    Batch norm uses running statistics, as micro-batches compute something else with those of the batch.
    """
    reference: list[Tensor] = []
    rows = {}
    for title, way in WAYS.items():
        subject = learner(precision)
        stage = subject.stages[-1]
        configure_arithmetic(stage.training)
        subject.network.to(cuda()).eval()
        channels_last(subject.network)
        batch = to_device(subject.batch("train", next(epoch_draws(1, SMALL))), cuda())
        gradients = Gradients(subject, weighted_loss, way)
        gradients.guarded = False
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        seconds = median_seconds(lambda g=gradients, b=batch, s=stage: g.compute(b, s))  # type: ignore[misc]
        found = [p.grad.double() for p in subject.network.parameters() if p.grad is not None]
        reference = reference or found
        error = sum(float((one - other).square().sum()) for one, other in zip(found, reference, strict=True))
        scale = sum(float(each.square().sum()) for each in reference)
        rows[title] = {
            "seconds": round(seconds, 4),
            "peak_memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2),
            "relative_error_of_gradient": (error / scale) ** 0.5,
        }
        print(precision, title, rows[title], flush=True)
    return rows


def median_seconds(work: Callable[[], object]) -> float:
    """Return the median seconds of five runs of `work`, after two more."""
    times = []
    for _ in range(7):
        torch.cuda.synchronize()
        started = time.perf_counter()
        work()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return sorted(times[2:])[2]


def lack_of_memory() -> dict[str, Any]:
    """Return how a training goes on that may only use two thirds of the memory that its batch needs."""
    whole, limited, notes = learner("bfloat16", **SHORT), learner("bfloat16", **SHORT), StepMemory()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    curves = train(whole, seed=0)
    needed = torch.cuda.max_memory_reserved()
    del whole
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(2 / 3 * needed / torch.cuda.get_device_properties(0).total_memory)
    try:
        again = train(limited, seed=0, memory=notes)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    return {"curves_are_equal": again == curves, **notes.describe(), "needed_gib": round(needed / 2**30, 2)}


SHORT: dict[str, Any] = {"epochs": 1, "steps_per_epoch": 6, "patience": None}


def packing() -> dict[str, Any]:
    """Return the memory that processes take on the card against what is reserved for them."""
    context = multiprocessing.get_context("spawn")
    rows = {}
    for count in (1, 4):
        barrier, results = context.Barrier(count + 1), context.Queue()
        workers = [context.Process(target=fine_tune, args=(barrier, results)) for _ in range(count)]
        torch.cuda.empty_cache()
        before = torch.cuda.mem_get_info()[0]
        for worker in workers:
            worker.start()
        peaks = [results.get(timeout=120) for _ in workers]
        taken = (before - torch.cuda.mem_get_info()[0]) / MIB
        barrier.wait(timeout=60)
        for worker in workers:
            worker.join()
        rows[str(count)] = {
            "reserved_by_pytorch_mib_each": round(max(peaks), 1),
            "cuda_context_mib_each": round((taken - sum(peaks)) / count, 1),
            "taken_mib": round(taken, 1),
            "reserved_by_packing_mib": round(count * (MARGIN * max(peaks) + CONTEXT_MIB), 1),
        }
    free = torch.cuda.mem_get_info()[0] / MIB
    peak = rows["1"]["reserved_by_pytorch_mib_each"]
    return {
        **rows,
        "jobs_on_this_card": jobs_on_card(peak, free, cores=16),
        "next_card": choose_card(peak, [Load(free, (peak,) * 4, 4)]),
    }


def fine_tune(barrier: Any, results: Any) -> None:
    """Take three steps of a classifier at the papers' size and hold the memory until all have."""
    configure()
    network = channels_last(task_model(papers_network(3), "classification").to(cuda())).train()
    optimiser = torch.optim.Adam(network.parameters(), 1e-4, fused=True)
    images = channels_last(torch.from_numpy(smooth_images(24, CUBE)).float()[:, None].to(cuda()))
    for _ in range(3):
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16):
            loss = network(images).float().square().mean()
        loss.backward()
        optimiser.step()
    torch.cuda.synchronize()
    results.put(torch.cuda.max_memory_reserved() / MIB)
    barrier.wait(timeout=120)
