"""Synthetic weights under the published names and shapes, and the published networks as plain functions over them.

Written from the description of the files (protocol part E), apart from the networks that are tested.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sg_bench.networks.weights import StateDict

Shapes = dict[str, tuple[int, ...]]
DOWN = {
    "down_tr64": (1, 32, 64),
    "down_tr128": (64, 64, 128),
    "down_tr256": (128, 128, 256),
    "down_tr512": (256, 256, 512),
}
UP = {"up_tr256": (512, 768, 256), "up_tr128": (256, 384, 128), "up_tr64": (128, 192, 64)}
BLOCKS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


def norm(name: str, channels: int) -> Shapes:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {**{f"{name}.{part}": (channels,) for part in parts}, f"{name}.num_batches_tracked": ()}


def unet3d(classes: int = 0) -> Shapes:
    """Return the 106 entries of the U-Net, or those of the Y-Net with `classes`."""
    shapes: Shapes = {}
    for name, (first, middle, last) in DOWN.items():
        shapes |= _pair(name, first, middle, last)
    for name, (up, joined, last) in UP.items():
        shapes |= {f"{name}.up_conv.weight": (up, up, 2, 2, 2), f"{name}.up_conv.bias": (up,)}
        shapes |= _pair(name, joined, last, last)
    shapes |= {"out_tr.final_conv.weight": (1, 64, 1, 1, 1), "out_tr.final_conv.bias": (1,)}
    if classes:
        shapes |= {"clc_out.conv1.weight": (1024, 512, 3, 3, 3), "clc_out.conv1.bias": (1024,)}
        shapes |= norm("clc_out.bn1", 1024) | {"clc_out.fc1.weight": (classes, 1024), "clc_out.fc1.bias": (classes,)}
    return shapes


def resnet18() -> Shapes:
    """Return torchvision's 122 entries."""
    shapes: Shapes = {"conv1.weight": (64, 3, 7, 7)} | norm("bn1", 64)
    inputs = 64
    for level, width in enumerate((64, 128, 256, 512), 1):
        for block in (0, 1):
            name = f"layer{level}.{block}"
            shapes |= {f"{name}.conv1.weight": (width, inputs, 3, 3)} | norm(f"{name}.bn1", width)
            shapes |= {f"{name}.conv2.weight": (width, width, 3, 3)} | norm(f"{name}.bn2", width)
            if inputs != width:
                shapes |= {f"{name}.downsample.0.weight": (width, inputs, 1, 1)} | norm(f"{name}.downsample.1", width)
            inputs = width
    return shapes | {"fc.weight": (1000, 512), "fc.bias": (1000,)}


def medicalnet(depth: int) -> Shapes:
    """Return the entries of a MedicalNet file, without `module.`."""
    shapes: Shapes = {"conv1.weight": (64, 1, 7, 7, 7)} | norm("bn1", 64)
    inputs, wide = 64, 4 if depth == 50 else 1
    for level, (width, blocks) in enumerate(zip((64, 128, 256, 512), BLOCKS[depth], strict=True), 1):
        for block in range(blocks):
            name, outputs = f"layer{level}.{block}", width * wide
            sides = (1, 3, 1) if depth == 50 else (3, 3)
            steps = (inputs, width, width, outputs) if depth == 50 else (inputs, width, width)
            for number, side in enumerate(sides, 1):
                shapes[f"{name}.conv{number}.weight"] = (steps[number], steps[number - 1], side, side, side)
                shapes |= norm(f"{name}.bn{number}", steps[number])
            changes = inputs != outputs or (level == 2 and block == 0)
            if block == 0 and changes and depth in (10, 50):
                shapes |= {f"{name}.downsample.0.weight": (outputs, inputs, 1, 1, 1)}
                shapes |= norm(f"{name}.downsample.1", outputs)
            inputs = outputs
    return shapes


def filled(shapes: Shapes, seed: int = 0) -> StateDict:
    """Return tensors of these shapes, such that maps neither vanish nor explode."""
    draw = torch.Generator().manual_seed(seed)
    state: StateDict = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
        elif name.endswith("running_var"):
            state[name] = torch.rand(shape, generator=draw) + 0.5
        elif len(shape) > 1:
            fan = int(np.prod(shape[1:]))
            state[name] = torch.randn(shape, generator=draw) * (2 / fan) ** 0.5
        else:
            state[name] = torch.randn(shape, generator=draw) * 0.1 + ("bn" in name and name.endswith("weight"))
    return state


def write(path: Path, state: StateDict, prefix: str = "", **extra: Any) -> Path:
    """Write a torch file as the authors do: state dict, epoch, and the best loss as a numpy number."""
    named = OrderedDict((f"{prefix}{name}", tensor) for name, tensor in state.items())
    torch.save({"epoch": 12, "state_dict": named, "best_loss": np.float64(0.25), **extra}, path)
    return path


def unet3d_forward(w: StateDict, x: Tensor) -> Tensor:
    """Return the restored image, in evaluation, by the published names alone."""
    maps: list[Tensor] = []
    for name in DOWN:
        x = _twice(w, name, F.max_pool3d(x, 2) if maps else x)
        maps.append(x)
    for name, skip in zip(UP, reversed(maps[:-1]), strict=True):
        x = F.conv_transpose3d(x, w[f"{name}.up_conv.weight"], w[f"{name}.up_conv.bias"], stride=2)
        x = _twice(w, name, torch.cat([x, skip], 1))
    return torch.sigmoid(F.conv3d(x, w["out_tr.final_conv.weight"], w["out_tr.final_conv.bias"]))


def resnet18_forward(w: StateDict, x: Tensor) -> list[Tensor]:
    """Return the stem's and the four levels' maps of (B, 3, H, W), in evaluation."""
    x = F.relu(_norm(w, "bn1", F.conv2d(x, w["conv1.weight"], stride=2, padding=3)))
    maps, x = [x], F.max_pool2d(x, 3, stride=2, padding=1)
    for level in (1, 2, 3, 4):
        for block in (0, 1):
            name, stride = f"layer{level}.{block}", 2 if level > 1 and block == 0 else 1
            out = F.relu(_norm(w, f"{name}.bn1", F.conv2d(x, w[f"{name}.conv1.weight"], stride=stride, padding=1)))
            out = _norm(w, f"{name}.bn2", F.conv2d(out, w[f"{name}.conv2.weight"], padding=1))
            if stride == 2:
                x = _norm(w, f"{name}.downsample.1", F.conv2d(x, w[f"{name}.downsample.0.weight"], stride=2))
            x = F.relu(out + x)
        maps.append(x)
    return maps


def medicalnet_forward(w: StateDict, depth: int, x: Tensor) -> list[Tensor]:
    """Return the stem's and the four levels' maps of (B, 1, X, Y, Z), in evaluation."""
    x = F.relu(_norm(w, "bn1", F.conv3d(x, w["conv1.weight"], stride=2, padding=3)))
    maps, x = [x], F.max_pool3d(x, 3, stride=2, padding=1)
    for level, (blocks, apart) in enumerate(zip(BLOCKS[depth], (1, 1, 2, 4), strict=True), 1):
        for block in range(blocks):
            name, stride = f"layer{level}.{block}", 2 if level == 2 and block == 0 else 1
            out, last = x, 3 if depth == 50 else 2
            for number in range(1, last + 1):
                kernel = w[f"{name}.conv{number}.weight"]
                wide = kernel.shape[-1] == 3
                steps = stride if number == (2 if depth == 50 else 1) else 1
                around: dict[str, Any] = {"padding": apart, "dilation": apart} if wide else {}
                out = _norm(w, f"{name}.bn{number}", F.conv3d(out, kernel, stride=steps, **around))
                out = F.relu(out) if number < last else out
            x = F.relu(out + _shortcut(w, name, x, out))
        maps.append(x)
    return maps


def _shortcut(w: StateDict, name: str, x: Tensor, out: Tensor) -> Tensor:
    stride = x.shape[-1] // out.shape[-1]
    if f"{name}.downsample.0.weight" in w:
        return _norm(w, f"{name}.downsample.1", F.conv3d(x, w[f"{name}.downsample.0.weight"], stride=stride))
    less = F.avg_pool3d(x, kernel_size=1, stride=stride)
    return torch.cat([less, torch.zeros(len(x), out.shape[1] - x.shape[1], *less.shape[2:])], 1)


def _pair(name: str, first: int, middle: int, last: int) -> Shapes:
    shapes: Shapes = {}
    for place, (inputs, outputs) in enumerate(((first, middle), (middle, last))):
        unit = f"{name}.ops.{place}"
        shapes |= {f"{unit}.conv1.weight": (outputs, inputs, 3, 3, 3), f"{unit}.conv1.bias": (outputs,)}
        shapes |= norm(f"{unit}.bn1", outputs)
    return shapes


def _twice(w: StateDict, name: str, x: Tensor) -> Tensor:
    for place in (0, 1):
        unit = f"{name}.ops.{place}"
        x = F.conv3d(x, w[f"{unit}.conv1.weight"], w[f"{unit}.conv1.bias"], padding=1)
        x = F.relu(_norm(w, f"{unit}.bn1", x))
    return x


def _norm(w: StateDict, name: str, x: Tensor) -> Tensor:
    mean, variance = w[f"{name}.running_mean"], w[f"{name}.running_var"]
    return F.batch_norm(x, mean, variance, w[f"{name}.weight"], w[f"{name}.bias"])
