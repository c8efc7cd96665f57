"""How images and weights lie in memory: channels last, which convolutions on CPUs and GPUs compute faster."""

from __future__ import annotations

import itertools
from typing import TypeVar

import torch
from torch import Tensor, nn

_T = TypeVar("_T", Tensor, nn.Module)

FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


def channels_last(subject: _T) -> _T:
    """Return `subject` with channels last: a tensor of four or five axes, or all those of a network, in place.

    A network's parameters stay the same objects, so an optimiser that holds them need not know. Tensors of other
    numbers of axes are left as they are.
    """
    if isinstance(subject, nn.Module):
        for tensor in itertools.chain(subject.parameters(), subject.buffers()):
            tensor.data = channels_last(tensor.data)
        return subject
    return subject.contiguous(memory_format=FORMATS[subject.dim()]) if subject.dim() in FORMATS else subject
