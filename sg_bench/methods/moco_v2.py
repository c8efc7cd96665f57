"""MoCo v2: a query is more like the key of its own image than the keys of earlier batches in a queue.

Source: He et al., "Momentum contrast for unsupervised visual representation learning", arXiv:1911.05722, section 3;
Chen et al., "Improved baselines with momentum contrastive learning", arXiv:2003.04297. Batch norm here uses the
statistics of the complete batch over all processes, in place of shuffling the keys among them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from sg_bench.config import Stage
from sg_bench.methods.base import Batch, Losses, Promise
from sg_bench.methods.view_configs import MoCoV2Config
from sg_bench.methods.views import Projected, StudentAndTeacher, TeacherMethod, accuracy, mlp, product


class WithQueue(StudentAndTeacher):
    """Encoders of queries (the student) and of keys (the teacher), and the keys of earlier batches.

    Args:
        student: the encoder of queries with its projection.
        teacher: that of keys.
        keys: (n, outputs), the initial queue.
    """

    queue: Tensor
    place: Tensor

    def __init__(self, student: nn.Module, teacher: nn.Module, keys: Tensor) -> None:
        super().__init__(student, teacher)
        self.register_buffer("queue", normalize(keys, dim=1))
        self.register_buffer("place", torch.zeros((), dtype=torch.int64))

    def enqueue(self, keys: Tensor) -> None:
        """Replace the oldest keys by `keys`, of which at most the last as many as the queue holds are kept."""
        keys = keys[-len(self.queue) :]
        rows = (self.place + torch.arange(len(keys), device=keys.device)) % len(self.queue)
        self.queue[rows] = keys.to(self.queue)
        self.place.copy_((rows[-1] + 1) % len(self.queue))


class MoCoV2(TeacherMethod):
    """Cross-entropy of finding each image's key; the loss rises at first, as real keys fill the queue."""

    config: MoCoV2Config
    promise = Promise("probe")

    def network(self) -> nn.Module:
        """Return two encoders with projections, and a queue of random keys."""
        keys = torch.randn(self.config.queue, self.config.projection.outputs)
        return WithQueue(self._projected(), self._projected(), keys)

    def _projected(self) -> nn.Module:
        backbone, sizes = self.new_encoder(), self.config.projection
        return Projected(backbone, mlp([backbone.channels[-1], sizes.hidden, sizes.outputs]))

    def stages(self) -> list[Stage]:
        """Return one stage."""
        return [Stage(name="pretrain", training=self.config.training, weights={"contrast": 1.0})]

    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Losses:
        """Return the loss, and the share of images whose key is the most similar among those of the batch."""
        assert isinstance(network, WithQueue)
        queries = self.gathered(network, normalize(network(batch.inputs), dim=1))
        keys = self.gathered(network, normalize(network.teacher_outputs(batch.views[0]), dim=1))
        own = (queries * keys).sum(1, keepdim=True)
        logits = torch.cat([own, product(queries, network.queue.T)], dim=1) / self.config.temperature
        loss = cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64, device=logits.device))
        measures = {"instance_accuracy": accuracy(product(queries, keys.T))}
        return Losses({"contrast": loss}, measures, {"keys": keys.detach()})

    def after_step(self, network: nn.Module, step: int, steps: int, carried: dict[str, Tensor]) -> None:
        """Let the encoder of keys follow, and put the batch's keys into the queue."""
        assert isinstance(network, WithQueue)
        network.follow(self.config.momentum)
        network.enqueue(carried["keys"])
