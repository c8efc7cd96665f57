"""Random initial weights, drawn like those of the papers' Keras networks."""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

_Network = TypeVar("_Network", bound=nn.Module)


def glorot_(network: _Network, generator: torch.Generator) -> _Network:
    """Initialise every convolution, linear layer and batch norm of `network` in place, and return it.

    Weights are uniform in +-sqrt(6 / (fan_in + fan_out)), biases zero; batch norm is reset with its running statistics.
    All numbers are drawn from `generator`, layer by layer in the network's order, so one seed gives the same weights on
    every device.

    Source: Glorot and Bengio 2010, equation 16; the Keras default.
    """
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, (_ConvNd, nn.Linear)):
                _fill(module.weight, generator)
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, _BatchNorm):
                module.reset_parameters()
    return network


def glorot_bound(weight: Tensor) -> float:
    """Return sqrt(6 / (fan_in + fan_out)) of a weight (outputs, inputs, *kernel).

    A transposed convolution has a weight (inputs, outputs, *kernel), with the same sum of fan_in and fan_out.
    """
    places = math.prod(weight.shape[2:])
    return math.sqrt(6 / (places * (weight.shape[0] + weight.shape[1])))


def _fill(weight: Tensor, generator: torch.Generator) -> None:
    bound = glorot_bound(weight)
    drawn = torch.empty(weight.shape, dtype=torch.float32, device=generator.device)
    weight.copy_(drawn.uniform_(-bound, bound, generator=generator))
