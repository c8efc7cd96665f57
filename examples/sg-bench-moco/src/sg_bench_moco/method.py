"""Find the key of a query's image among those of earlier batches.

Source: He et al., "Momentum contrast for unsupervised visual representation learning", arXiv:1911.05722.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from sg_bench.config import Stage
from sg_bench.methods import Batch, Losses, Projected, Promise, StudentAndTeacher, TeacherMethod
from sg_bench_moco.config import MoCoConfig


class MoCo(TeacherMethod):
    """Cross-entropy of a query's own key among the queue; the initialisation is the encoder of queries."""

    config: MoCoConfig
    promise = Promise("probe")

    def network(self) -> nn.Module:
        """Return the encoders of queries and of keys, and a queue of random keys."""
        network = StudentAndTeacher(self._projected(), self._projected())
        network.register_buffer("queue", normalize(torch.randn(self.config.queue, self.config.projection.outputs)))
        return network

    def _projected(self) -> nn.Module:
        backbone = self.new_encoder()
        return Projected(backbone, nn.Linear(backbone.channels[-1], self.config.projection.outputs))

    def stages(self) -> list[Stage]:
        """Return one stage."""
        return [Stage(name="pretrain", training=self.config.training, weights={"contrast": 1.0})]

    def losses(self, network: nn.Module, batch: Batch, stage: Stage) -> Losses:
        """Return the loss; the keys are carried to `after_step`."""
        queries = self.gathered(network, normalize(network(batch.inputs)))
        keys = self.gathered(network, normalize(network.teacher_outputs(batch.views[0])))
        logits = torch.cat([(queries * keys).sum(1, keepdim=True), queries @ network.queue.T], dim=1)
        loss = cross_entropy(logits / self.config.temperature, torch.zeros(len(logits)).to(logits).long())
        return Losses({"contrast": loss}, carried={"keys": keys})

    def after_step(self, network: nn.Module, step: int, steps: int, carried: dict[str, Tensor]) -> None:
        """Let the encoder of keys follow, and replace the oldest keys."""
        network.follow(self.config.momentum)
        network.queue.copy_(torch.cat([network.queue, carried["keys"]])[-self.config.queue :])
