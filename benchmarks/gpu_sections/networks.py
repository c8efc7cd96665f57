"""Speed and peak memory of the papers' networks, and the rate at which batches are made."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import torch
from torch import nn

from benchmarks.gpu_sections.common import (
    BATCH,
    CUBE,
    FILM,
    arithmetic,
    configured,
    cuda,
    epoch_draws,
    pretraining,
    timed,
)
from sg_bench.config import Shape
from sg_bench.methods.base import Method
from sg_bench.networks.memory import channels_last
from sg_bench.training.loader import Loader
from sg_bench.training.pretraining import fresh_network

NETWORKS: dict[str, tuple[str, Shape]] = {
    "unet3d": ("models_genesis", CUBE),
    "resnet18_unet": ("models_genesis", FILM),
}


def networks(deadline: float, found: dict[str, Any]) -> dict[str, Any]:
    """Return images/s, TFLOP/s and peak memory of the papers' networks, and the rate at which batches are made."""
    variants = [
        ("bfloat16", False, False),
        ("bfloat16", False, True),
        ("tf32", False, False),
        ("bfloat16", True, False),
        ("float32", False, True),
        ("tf32", True, False),
    ]
    for precision, compiled, deterministic in variants:
        for title, (name, shape) in NETWORKS.items():
            method = configured(name, shape)
            if title not in found:
                flops = training_flops(method, shape)
                found[title] = {"batch": BATCH, "shape": shape, "gflop_per_image": round(flops / 1e9, 1)}
                found[title]["loader"] = loader_rates(shape)
            row = f"{precision}{' compiled' if compiled else ''}{' deterministic' if deterministic else ''}"
            if time.monotonic() > deadline:
                found[title][row] = "not measured: out of time"
                continue
            flops = int(found[title]["gflop_per_image"] * 1e9)
            found[title][row] = network_row(
                method, shape, precision, flops, compiled=compiled, deterministic=deterministic
            )
            print(title, row, found[title][row], flush=True)
            torch.cuda.empty_cache()
    return found


def loader_rates(shape: Shape) -> dict[str, Any]:
    """Return how many images a second the loader corrupts and copies to the card, by recipe and threads."""
    out: dict[str, Any] = {}
    for recipe in ("models_genesis", "semantic_genesis"):
        learner = pretraining(configured(recipe, shape), shape, 32)
        for threads in (1, 4, 8):
            loader = Loader(cuda(), threads)
            batches = loader.batches(partial(learner.batch, "train"), epoch_draws(threads * 4 + 2, BATCH))
            next(batches)
            started = time.perf_counter()
            count = sum(len(batch.inputs) for batch in batches)
            torch.cuda.synchronize()
            rate = count / (time.perf_counter() - started)
            loader.close()
            out[f"{recipe}, {threads} threads"] = {"images_per_second": round(rate, 1)}
    print("loader", shape, out, flush=True)
    return out


def training_flops(method: Method, shape: Shape) -> int:
    """Return the floating-point operations of one image, forward and backward."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        network, image = method.network(), torch.empty(1, 1, *shape)
    with FlopCounterMode(display=False) as counter:
        network(image).sum().backward()
    return int(counter.get_total_flops())


def network_row(
    method: Method, shape: Shape, precision: str, flops: int, *, compiled: bool, deterministic: bool
) -> dict[str, Any]:
    """Return the speed of one network in one precision."""
    torch.backends.cudnn.benchmark = not deterministic
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    torch.cuda.reset_peak_memory_stats()
    try:
        network = channels_last(fresh_network(method, 0).to(cuda())).train()
        optimiser = torch.optim.Adam(network.parameters(), 1e-4, fused=True)
        images = channels_last(torch.rand(BATCH, 1, *shape, device=cuda()))
        forward = torch.compile(network) if compiled else network
        started = time.monotonic()

        def step() -> None:
            optimiser.zero_grad(set_to_none=True)
            with arithmetic(precision):
                loss = nn.functional.mse_loss(forward(images).float(), images)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()

        step()
        torch.cuda.synchronize()
        first = time.monotonic() - started
        seconds = timed(step, warm_up=2, repeats=6)
    except torch.OutOfMemoryError:
        return {"out_of_memory": True}
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.benchmark = False
        torch._dynamo.reset()
    return {
        "images_per_second": round(BATCH / seconds, 1),
        "step_ms": round(1000 * seconds, 2),
        "first_step_s": round(first, 1),
        "tflops": round(BATCH * flops / seconds / 1e12, 1),
        "peak_memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2),
    }
