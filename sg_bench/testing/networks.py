"""The contract of a registered network, checked on the CPU in one dimension."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn

from sg_bench.config import Shape, key_of
from sg_bench.errors import MethodError
from sg_bench.networks.backbone import Backbone, UNet
from sg_bench.networks.build import encoder, task_model, unet, ynet
from sg_bench.networks.configs import NetworkChoice
from sg_bench.networks.decoder import on_axes
from sg_bench.networks.weights import load_into, split_state
from sg_bench.registry import NETWORKS
from sg_bench.testing.checks import require
from sg_bench.testing.contract import refuse_heavy_imports
from sg_bench.training.pretraining import build_initialised

SIDES: dict[int, Shape] = {2: (32, 64, 1), 3: (32, 32, 16)}
"""Images of the checks, unless others are given."""
PATTERNS = 3


def check_network(
    name: str, dimension: int, settings: Mapping[str, Any] | None = None, *, shape: Shape | None = None
) -> None:
    """Check that a network keeps the contract of `Backbone` in 2 or 3 dimensions.

    Args:
        name: its name in the registry.
        dimension: 2 or 3.
        settings: that make it small.
        shape: (X, Y, Z) of the images of the check, Z = 1 in two dimensions.

    Raises:
        ContractError: says what the contract asks for and what was found.
    """
    refuse_heavy_imports(NETWORKS.entry(name).config)
    choice = NetworkChoice.model_validate({"name": name, "config": {**(settings or {}), "dimension": dimension}})
    again = NetworkChoice.model_validate_json(choice.model_dump_json())
    require(key_of(again) == key_of(choice), "a config changes its key when it is written to JSON and read again")
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, choice.config.in_channels, *(shape or SIDES[dimension]), generator=generator)
    reason = choice.config.refusal(tuple(images.shape[2:]))  # type: ignore[arg-type]  # three sides
    require(not reason, f"its config refuses images of {tuple(images.shape[2:])}: {reason}; give the check a shape")
    alone = build_initialised(partial(encoder, choice), 0).train()
    whole = build_initialised(partial(unet, choice), 0).train()
    _check_maps(alone, images)
    _check_decoder(whole, images)
    _check_state(choice, alone, whole, images)
    _check_purposes(choice, images)
    _check_odd_sizes(choice, images)


def _check_maps(network: Backbone, images: Tensor) -> None:
    """Maps have the declared channels and strides, and every parameter gets a gradient from the coarsest."""
    maps = network.features(images)
    dimension = network.dimension
    sides = images.shape[2 : 2 + dimension]
    for found, channels, stride in zip_longest(maps, network.channels, network.strides):
        require(None not in (found, channels, stride), f"{len(maps)} maps, channels or strides are not as many")
        grid = [-(-side // own) for side, own in zip(sides, on_axes(stride, dimension), strict=True)]
        declared, shape = (len(images), channels, *grid), tuple(found.shape)
        require(shape == declared, f"a map is {shape}, and its declared channels and stride give {declared}")
    torch.autograd.backward(maps[-1].float().square().mean())
    _require_gradients(network, "the coarsest map")
    with torch.autocast("cpu", torch.bfloat16):
        require(bool(network.features(images)[-1].isfinite().all()), "its maps in bfloat16 hold NaN or infinity")


def _check_decoder(network: UNet, images: Tensor) -> None:
    """Images are restored on their grid in [0, 1], and every weight gets a gradient."""
    restored = network(images)
    require(restored.shape[2:] == images.shape[2:], f"restored images are {tuple(restored.shape)}")
    require(bool(((restored >= 0) & (restored <= 1)).all()), "restored images are not in [0, 1]")
    torch.autograd.backward((restored - images.mean(dim=1, keepdim=True)).square().mean())
    _require_gradients(network, "restored images", biases=False)


def _check_state(choice: NetworkChoice, alone: Backbone, whole: UNet, images: Tensor) -> None:
    """Encoder and decoder are split, and load into new networks that then compute the same."""
    parts = split_state(whole)
    names = sorted(parts[0].keys() ^ alone.state_dict().keys())
    require(not names, f"the encoder of its U-Net and the encoder alone differ in {', '.join(names[:3])}")
    require(bool(parts[1]), "its U-Net has no tensor whose name begins with one of DECODER")
    other, third = encoder(choice).eval(), unet(choice).eval()
    load_into(other, *parts, need_decoder=False)
    load_into(third, *parts, need_decoder=True)
    with torch.no_grad():
        wanted = whole.eval()(images)
        require(torch.equal(third(images), wanted), "a U-Net with the same tensors computes something else")
        pairs = zip(other.features(images), whole.features(images), strict=True)
        require(all(torch.equal(*pair) for pair in pairs), "the encoder alone computes other maps than in the U-Net")


def _check_purposes(choice: NetworkChoice, images: Tensor) -> None:
    """It classifies, segments, is probed, and takes a pattern head, which is no part of an initialisation."""
    headed = ynet(choice, PATTERNS)
    shape = tuple(headed(images)[1].shape)
    require(shape == (len(images), PATTERNS), f"logits of {PATTERNS} patterns are {shape}")
    names = {**dict.fromkeys(split_state(headed)[0]), **dict.fromkeys(split_state(headed)[1])}
    require(names.keys() == unet(choice).state_dict().keys(), "a pattern head is part of its initialisation")
    for kind, frozen in (("classification", False), ("segmentation", False), ("segmentation", True)):
        logits = task_model(choice, kind, 2, frozen=frozen).eval()(images)  # type: ignore[arg-type]
        wanted = (len(images), 2, *(images.shape[2:] if kind == "segmentation" else ()))
        require(tuple(logits.shape) == wanted, f"logits of a {kind} are {tuple(logits.shape)}, not {wanted}")


def _check_odd_sizes(choice: NetworkChoice, images: Tensor) -> None:
    """A size is refused by the config and by the network, or by neither."""
    odd = torch.nn.functional.pad(images, (0, 0, 0, 0, 0, 1))
    reason = choice.config.refusal(tuple(odd.shape[2:]))  # type: ignore[arg-type]  # three sides
    network = unet(choice)
    try:
        shape = tuple(network(odd).shape[2:])
    except MethodError:
        require(
            bool(reason),
            f"it cannot take images of {tuple(odd.shape[2:])}, and `refusal` of its config does not say so",
        )
        return
    require(not reason, f"it takes images of {tuple(odd.shape[2:])}, which its config refuses: {reason}")
    require(shape == tuple(odd.shape[2:]), f"images of {tuple(odd.shape[2:])} are restored as {shape}")


def _require_gradients(network: nn.Module, source: str, *, biases: bool = True) -> None:
    """Check that every parameter has a gradient; that of a bias before a norm may be zero."""
    named = [(name, each.grad, biases or not name.endswith("bias")) for name, each in network.named_parameters()]
    dead = [name for name, grad, needed in named if grad is None or (needed and not grad.abs().max())]
    require(not dead, f"{source} give no gradient to {', '.join(dead[:3])} ({len(dead)} of {len(named)})")
    network.zero_grad()
