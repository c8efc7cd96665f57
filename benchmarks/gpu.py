"""Measure one GPU: correctness against the CPU, training speed of the papers' networks, and jobs side by side.

    python benchmarks/gpu.py [--out results/hardware] [--sections correctness,loop]

Needs torch, numpy, scipy, pydantic and safetensors, no data and no network, and takes less than six minutes on one
card. Every section is measured by itself: one that fails leaves its error in the JSON file and the others go on.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import re
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from sg_bench.config import Shape
from sg_bench.data.cubes import ArrayCubes
from sg_bench.methods.base import Method
from sg_bench.networks.memory import channels_last
from sg_bench.registry import METHODS
from sg_bench.training.draws import Draw, epoch_batches
from sg_bench.training.loader import Loader, to_device
from sg_bench.training.loop import train, weighted_loss
from sg_bench.training.precision import autocast
from sg_bench.training.pretraining import Pretraining, fresh_network

CUBE, FILM = (64, 64, 32), (224, 224, 1)
BATCH = 64
PATTERNS = 44
"""Pseudo-labels of the papers' chest CT."""
NETWORKS: dict[str, tuple[str, Shape]] = {
    "unet3d": ("models_genesis", CUBE),
    "resnet18_unet": ("models_genesis", FILM),
}
PRECISIONS = ("bfloat16", "tf32", "float32")


def cuda() -> torch.device:
    """Return the GPU."""
    return torch.device("cuda")


def timed(work: Callable[[], object], *, warm_up: int = 3, repeats: int = 10) -> float:
    """Return the median seconds of `work` on the GPU."""
    for _ in range(warm_up):
        work()
    times = []
    for _ in range(repeats):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        work()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end) / 1000)
    return statistics.median(times)


@contextmanager
def arithmetic(precision: str) -> Any:
    """Set the precision of float32 matrix products and convolutions: TF32, or IEEE float32."""
    allowed = precision != "float32"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bfloat16"):
        yield


def configured(name: str, shape: Shape, **settings: Any) -> Method:
    """Return a method at the papers' width for images of one shape."""
    dimension = 2 if shape[2] == 1 else 3
    given = {"width": 32, "dimension": dimension, **settings}
    classes = PATTERNS if "patterns" in METHODS.config(name).needs else 0  # type: ignore[attr-defined]
    made: Method = METHODS.load(name)(METHODS.config(name).model_validate(given), classes)
    return made


def smooth_images(count: int, shape: Shape, seed: int = 0) -> np.ndarray[Any, Any]:
    """Return (count, x, y, z) float16 images in [0, 1] that vary as slowly as anatomy does."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.random((count, 1, *(max(1, side // 8) for side in shape)), dtype=np.float32))
    images = torch.nn.functional.interpolate(coarse, size=shape, mode="trilinear", align_corners=False)[:, 0]
    return np.asarray(images.numpy(), np.float16)


# ---- the card -------------------------------------------------------------------------------------------------------


def card() -> dict[str, Any]:
    """Return the card's name, memory, and its measured matrix and copy rates."""
    properties = torch.cuda.get_device_properties(0)
    size = 8192
    rates = {}
    for precision in PRECISIONS:
        kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
        left, right = (torch.randn(size, size, device=cuda(), dtype=kind) for _ in range(2))
        with arithmetic(precision):
            rates[precision] = round(2 * size**3 / timed(lambda a=left, b=right: a @ b) / 1e12, 1)  # type: ignore[misc]
    source = torch.randn(2**30, device=cuda())
    target = torch.empty_like(source)
    copied = 2 * source.numel() * 4 / timed(lambda: target.copy_(source)) / 1e12
    return {
        "name": properties.name,
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "multiprocessors": properties.multi_processor_count,
        "matrix_product_tflops": rates,
        "copy_tb_per_second": round(copied, 2),
        "software": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "numpy": np.__version__,
        },
    }


# ---- (a) correctness ------------------------------------------------------------------------------------------------


def correctness() -> dict[str, Any]:
    """Return whether batches arrive on the GPU as they were made, and how far losses differ from those on the CPU."""
    out: dict[str, Any] = {"batches": {}, "losses": {}}
    for name in ("models_genesis", "semantic_genesis"):
        for kind, shape in (("3d", CUBE), ("2d", FILM)):
            learner = pretraining(configured(name, shape), shape, 32)
            plain = [learner.batch("train", draws) for draws in epoch_draws(4, 8)]
            loader = Loader(cuda())
            copied = list(loader.batches(partial(learner.batch, "train"), epoch_draws(4, 8)))
            loader.close()
            equal = [
                torch.equal(there.inputs.cpu(), here.inputs) and torch.equal(there.targets.cpu(), here.targets)
                for here, there in zip(plain, copied, strict=True)
            ]
            out["batches"][f"{name} {kind}"] = {"equal": all(equal), "on_gpu": all(b.inputs.is_cuda for b in copied)}
    for name in ("models_genesis", "semantic_genesis"):
        shape = (32, 32, 16)
        method = configured(name, shape, width=16)
        batch = pretraining(method, shape, 32).batch("train", next(epoch_draws(1, 4)))
        stage = method.stages()[-1]
        reference = loss_and_gradient(method, batch, torch.device("cpu"), stage, "float32")
        for precision in PRECISIONS:
            loss, gradient = loss_and_gradient(method, batch, cuda(), stage, precision)
            out["losses"][f"{name} {precision}"] = {
                "relative_error_of_loss": abs(loss - reference[0]) / abs(reference[0]),
                "relative_error_of_gradient": float((gradient - reference[1]).norm() / reference[1].norm()),
            }
    return out


def pretraining(method: Method, shape: Shape, samples: int) -> Pretraining:
    """Return the pretraining of a method on smooth images."""
    cubes = ArrayCubes(smooth_images(samples, shape), np.arange(samples) % PATTERNS)
    return Pretraining(method, fresh_network(method, 0), cubes, ArrayCubes(smooth_images(1, shape)[:0]), cuda())


def epoch_draws(steps: int, batch: int) -> Iterator[list[Draw]]:
    """Return the draws of an epoch over 32 samples."""
    return epoch_batches(0, 0, 0, samples=32, batch_size=batch, steps=steps)


def loss_and_gradient(
    method: Method, batch: Any, device: torch.device, stage: Any, precision: str
) -> tuple[float, Tensor]:
    """Return the loss of a batch and its gradient, flattened, on the CPU."""
    network = fresh_network(method, 0).to(device)
    moved = to_device(batch, device)
    context = arithmetic(precision) if device.type == "cuda" else torch.autocast("cpu", enabled=False)
    with context:
        loss = weighted_loss(method.losses(network, moved, stage), stage)
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad.double().cpu().flatten() for p in network.parameters() if p.grad is not None]
    return float(loss.detach()), torch.cat(gradients)


# ---- (b) networks ---------------------------------------------------------------------------------------------------


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


# ---- (c) loop -------------------------------------------------------------------------------------------------------


def loop() -> dict[str, Any]:
    """Return the speed of the training loop against bare steps on ready tensors, for both recipes."""
    out = {}
    for title, name, shape, steps, deterministic in (
        ("models_genesis unet3d", "models_genesis", CUBE, 24, False),
        ("semantic_genesis unet3d", "semantic_genesis", CUBE, 24, False),
        ("models_genesis unet3d deterministic", "models_genesis", CUBE, 12, True),
        ("models_genesis resnet18_unet", "models_genesis", FILM, 100, False),
        ("semantic_genesis resnet18_unet", "semantic_genesis", FILM, 100, False),
    ):
        out[title] = loop_row(name, shape, steps, deterministic=deterministic)
        print(title, out[title], flush=True)
        torch.cuda.empty_cache()
    return out


def loop_row(name: str, shape: Shape, steps: int, *, deterministic: bool) -> dict[str, Any]:
    """Return the speed of one training loop in bfloat16."""
    training = {
        "batch_size": BATCH,
        "epochs": 3,
        "steps_per_epoch": steps,
        "patience": None,
        "optimiser": {"name": "adam", "lr": 1e-4},
        "precision": "bfloat16",
    }
    semantics = {"semantics": {"warm_up_epochs": 0}} if name == "semantic_genesis" else {}
    method = configured(name, shape, training=training, **semantics)
    learner = pretraining(method, shape, 256)
    ends: list[float] = []

    def progress(done: int, total: int | None) -> None:
        if done % steps in (0, WARM_UP):
            torch.cuda.synchronize()
            ends.append(time.perf_counter())

    configure(deterministic=deterministic)
    train(learner, seed=0, progress=progress)
    epoch = (ends[-1] - ends[-3]) / steps
    steady = (ends[-1] - ends[-2]) / (steps - WARM_UP)
    bare = bare_step(learner, steps)
    configure(deterministic=False)
    return {
        "bare_step_ms": round(1000 * bare, 2),
        "loop_step_ms": round(1000 * epoch, 2),
        "loop_step_ms_after_warm_up": round(1000 * steady, 2),
        "ratio": round(bare / epoch, 3),
        "ratio_after_warm_up": round(bare / steady, 3),
        "images_per_second": round(BATCH / epoch, 1),
    }


WARM_UP = 4
"""Steps at the start of an epoch while the loader's threads fill their queue."""


def configure(*, deterministic: bool = True) -> None:
    """Configure torch as a worker process does."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    torch.backends.cudnn.benchmark = not deterministic


def bare_step(learner: Pretraining, steps: int) -> float:
    """Return the seconds of one training step on a batch that is ready on the card."""
    stage = learner.stages[-1]
    batch = to_device(learner.batch("train", next(epoch_draws(1, BATCH))), cuda())
    network = learner.network.train()
    optimiser = torch.optim.Adam(network.parameters(), 1e-4, fused=True)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with autocast(cuda(), stage.training.precision):
            loss = weighted_loss(learner.losses(batch, stage), stage)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    for _ in range(3):
        step()
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(steps):
        step()
    torch.cuda.synchronize()
    return (time.perf_counter() - started) / steps


# ---- (d) a small Semantic Genesis -----------------------------------------------------------------------------------


def semantic_genesis() -> dict[str, Any]:
    """Return how a demo-sized Semantic Genesis learns on the card, and whether it resumes to the same weights."""
    shape, classes = (16, 16, 8), 12
    rng = np.random.default_rng(0)
    places = smooth_images(classes, (24, 24, 16), seed=1).astype(np.float32)
    cubes, labels = [], []
    for number in range(classes * 16):
        label = number % classes
        start = rng.integers(2, 7, 3)
        window = places[label][tuple(slice(s, s + n) for s, n in zip(start, shape, strict=True))]
        cubes.append(np.clip(window + rng.normal(0, 0.05, shape), 0, 1))
        labels.append(label)
    images, classes_of = np.stack(cubes).astype(np.float16), np.array(labels)
    data = [ArrayCubes(images[part], classes_of[part]) for part in (slice(0, 144), slice(144, None))]

    def learner(precision: str) -> Pretraining:
        training = {"batch_size": 16, "epochs": 10, "steps_per_epoch": 10, "patience": None}
        training["precision"] = precision
        given = {
            "width": 4,
            "training": training,
            "semantics": {"warm_up_epochs": 4, "weight_classification": 0.1},
            "transforms": {"in_painting": {"border": 1}, "out_painting": {"border": 1}},
        }
        kind = METHODS.config("semantic_genesis")
        method = METHODS.load("semantic_genesis")(kind.model_validate(given), classes)
        return Pretraining(method, fresh_network(method, 0), data[0], data[1], cuda())

    configure()
    out: dict[str, Any] = {}
    finals: dict[str, list[Tensor]] = {}
    for precision in AUTOCAST:
        subject = learner(precision)
        started = time.perf_counter()
        curves = train(subject, seed=0)
        out[precision] = {
            "seconds": round(time.perf_counter() - started, 2),
            "first_loss": curves[0]["train"]["loss"],
            "last_loss": curves[-1]["train"]["loss"],
            "validation_accuracy": curves[-1]["validation"]["accuracy"],
            "chance": 1 / classes,
        }
        finals[precision] = [tensor.cpu() for tensor in subject.network.state_dict().values()]
        out[precision]["resumes_to_the_same_bits"] = resumes_exactly(learner, precision, finals[precision])
    return out


AUTOCAST: tuple[str, ...] = ("bfloat16", "tf32", "float32")
"""Precisions in which the small Semantic Genesis is trained."""


class StoppedError(Exception):
    """Raised in the middle of a training."""


def resumes_exactly(learner: Callable[[str], Pretraining], precision: str, finals: list[Tensor]) -> bool:
    """Return whether a training that is interrupted at its 55th of 100 steps ends with the same weights."""

    def stop(done: int, total: int | None) -> None:
        if done == 55:
            raise StoppedError

    with tempfile.TemporaryDirectory() as name:
        with suppress(StoppedError):
            train(learner(precision), seed=0, folder=Path(name), progress=stop, checkpoint_seconds=0)
        again = learner(precision)
        train(again, seed=0, folder=Path(name), checkpoint_seconds=0)
    weights = [tensor.cpu() for tensor in again.network.state_dict().values()]
    return all(torch.equal(one, other) for one, other in zip(weights, finals, strict=True))


# ---- (e) side by side -----------------------------------------------------------------------------------------------


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
    network = channels_last(task_model(3, "classification", size["width"]).to(cuda())).train()
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


# ---- all of it ------------------------------------------------------------------------------------------------------


def main() -> int:
    """Measure the sections asked for and write one JSON file, named after the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/hardware"), help="folder of the JSON file")
    parser.add_argument("--sections", default="correctness,loop,semantic_genesis,side_by_side,networks")
    parser.add_argument("--minutes", type=float, default=5.5, help="after this long, compiled networks are left out")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("This benchmark needs a CUDA device, and torch sees none.", file=sys.stderr)
        return 1
    began = time.monotonic()
    found: dict[str, Any] = {"card": card(), "seconds": {}, "networks": {}}
    sections: dict[str, Callable[[], dict[str, Any]]] = {
        "correctness": correctness,
        "loop": loop,
        "semantic_genesis": semantic_genesis,
        "side_by_side": side_by_side,
        "networks": lambda: networks(began + 60 * arguments.minutes - 45, found["networks"]),
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    stem = re.sub(r"[^a-z0-9]+", "-", found["card"]["name"].lower()).strip("-")
    path = arguments.out / f"{stem}.json"
    for name in arguments.sections.split(","):
        started = time.monotonic()
        try:
            found[name] = sections[name]()
        except Exception:  # one failed section must not lose the others
            found[name] = {**found.get(name, {}), "error": traceback.format_exc(limit=8)}
            torch.cuda.empty_cache()
        found["seconds"][name] = round(time.monotonic() - started, 1)
        path.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
        print(name, found["seconds"][name], "s", found[name].get("error", ""), flush=True)
    print(f"{path} ({time.monotonic() - began:.0f} s)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
