"""Memory format of images and weights: channels last, which is faster for convolutions on CPUs and GPUs."""

from __future__ import annotations

import itertools
from typing import TypeVar

import torch
from torch import Tensor, nn

_T = TypeVar("_T", Tensor, nn.Module)

FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


def channels_last(subject: _T) -> _T:
    """Return a tensor of four or five axes, or all such tensors of a network (in place), with channels last.

    A network's parameters stay the same objects, so optimisers keep working. Tensors with another number of axes are
    unchanged.
    """
    if isinstance(subject, nn.Module):
        for tensor in itertools.chain(subject.parameters(), subject.buffers()):
            tensor.data = channels_last(tensor.data)
        return subject
    return subject.contiguous(memory_format=FORMATS[subject.dim()]) if subject.dim() in FORMATS else subject
